"""What every command line has in common: however it ends, there is no traceback.

    from models import commandline

    if __name__ == "__main__":
        commandline.quiet_interrupts()  # before what takes long to import
    ...
    if __name__ == "__main__":
        commandline.run(main)

It imports the standard library alone.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

# What shells say of a command that Ctrl-C ended, and of one whose reader, such as `head`, left.
INTERRUPTED, UNREAD = 130, 141

STOPPED = "Stopped."


def quiet_interrupts() -> None:
    """Let Ctrl-C end this process with a word, and not with a traceback, from now on."""
    usual = sys.excepthook

    def say(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(f"\n{STOPPED}", file=sys.stderr)
        else:
            usual(kind, error, traceback)

    sys.excepthook = say


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started in this block: who started them ends them.

    It would make each of them print a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can, and is told of Ctrl-C
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def run(main: Callable[[], int | None], stopped: str = STOPPED) -> NoReturn:
    """Run a command line and exit with its code; Ctrl-C and a closed pipe are no errors.

    Parameters
    ----------
    main
        Does the work; returns the exit code, or None for 0.
    stopped
        What Ctrl-C prints.
    """
    try:
        try:
            code = main()
        finally:
            sys.stdout.flush()  # while somebody hears that nobody reads it
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Python writes what is left at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)
    sys.exit(code)
