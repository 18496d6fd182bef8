"""What all command lines share: however they end, they print no traceback.

    from models import commandline

    if __name__ == "__main__":
        commandline.quiet_interrupts()  # before slow imports
    ...
    if __name__ == "__main__":
        commandline.run(main)

It imports only the standard library.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

# The exit codes that shells give to a command ended by Ctrl-C, and by a reader, such as `head`,
# that left.
INTERRUPTED, UNREAD = 130, 141

STOPPED = "Stopped."


def quiet_interrupts() -> None:
    """From now on, let Ctrl-C end this process with a message instead of a traceback."""
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
    """Keep Ctrl-C from processes that are started in this block; their parent ends them.

    Otherwise each of them would print a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can, and only it receives Ctrl-C
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def run(main: Callable[[], int | None], stopped: str = STOPPED) -> NoReturn:
    """Run a command line and exit with its code; Ctrl-C and a closed pipe are not errors.

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
            sys.stdout.flush()  # while the error of a closed pipe can still be caught
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Python flushes the rest when it exits, and would report an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)
    sys.exit(code)
