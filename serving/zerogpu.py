"""A Space on ZeroGPU hardware, whose GPU is lent for moments to functions that `spaces.GPU` marks.

These networks answer on the CPU sooner than such a function has a GPU: for each call a scheduler is
asked over the network, and the first call in a while starts a process, CUDA and sessions in it. It
would also use up the minutes of GPU that a visitor has on a day. So the Space answers from its CPU.
"""

import os


def declare() -> None:
    """Mark a function, on ZeroGPU, where the Hub ends a Space without one while it starts.

    To be called before the page is launched; elsewhere it does nothing.
    """
    # As the package itself reads it.
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return
    import spaces  # the Hub installs it

    @spaces.GPU(duration=1)  # type: ignore[untyped-decorator]
    def never_called() -> None:
        pass
