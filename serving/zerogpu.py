"""Spaces on ZeroGPU hardware, which lends a GPU for moments to functions marked by `spaces.GPU`.

These networks answer on the CPU sooner than such a function gets a GPU: each call asks a scheduler
over the network, and the first call after a while starts a process, CUDA and sessions in it. It
would also use up the visitor's daily GPU minutes. So the Space answers on its CPU.
"""

import os


def declare() -> None:
    """Mark a function on ZeroGPU, where the Hub stops a Space that has none when it starts.

    Call it before the page is launched; on other hardware it does nothing.
    """
    # As the package itself reads this variable.
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return
    import spaces  # installed by the Hub

    @spaces.GPU(duration=1)  # type: ignore[untyped-decorator]
    def never_called() -> None:
        pass
