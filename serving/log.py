"""One line of JSON for each request and each answer: what happened, and nothing of whose photo.

What libraries log comes out as such a line, too, without its text: they quote what visitors send.
"""

import hashlib
import json
import logging
import secrets
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType

LONGEST = 2_000  # characters of a line; what is longer loses parts of its facts

logger = logging.getLogger("petscope")

_SALT = secrets.token_bytes(16)  # lives as long as the process: nobody can compare two days' lines


def write(event: str, **facts: object) -> None:
    """Write a line. The facts are numbers and words of our own, never what a visitor wrote."""
    logger.info(_line({"time": round(time.time(), 3), "event": event, **facts}))


def _line(facts: dict[str, object]) -> str:
    """The facts as JSON of at most `LONGEST` characters; of lists the last parts are kept."""
    longest = LONGEST
    while len(line := json.dumps(facts)) > LONGEST and longest:
        longest //= 2
        facts = {name: _cut(value, longest) for name, value in facts.items()}
    return line


def _cut(value: object, longest: int) -> object:
    if isinstance(value, str):
        return value[:longest]
    if isinstance(value, list):
        return [_cut(each, longest) for each in value[-longest:] if longest]
    return value


def pseudonym(client: str) -> str:
    """A name for a client by which lines can be put together, but the client not be found."""
    return hashlib.blake2s(client.encode(), key=_SALT, digest_size=4).hexdigest()


def start() -> None:
    """Write the lines to standard error, and let nothing else get there by the `logging` module."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.captureWarnings(True)
    # Python itself would write a trace with messages and paths.
    threading.excepthook = thread_fault
    sys.unraisablehook = lambda raised: _fault(raised.exc_type, raised.exc_traceback)
    root = logging.getLogger()
    root.handlers[:] = [_Others(logging.WARNING)]
    # Some libraries write to standard error by themselves.
    for name in list(logging.root.manager.loggerDict):
        other = logging.getLogger(name)
        if other is not logger:
            other.handlers.clear()
            other.propagate = True


class _Others(logging.Handler):
    """Takes what libraries log: from where, and no word of it."""

    def emit(self, record: logging.LogRecord) -> None:
        kind, _, trace = record.exc_info or (None, None, None)
        write(
            "library",
            logger=record.name[:100],
            level=record.levelname,
            at=f"{Path(record.pathname).name}:{record.lineno}",
            **({"kind": kind.__name__, "trace": _places(trace)} if kind else {}),
        )


def fault() -> None:
    """Write the exception that is being handled: its kind and where in the code it arose.

    Not its message, in which libraries quote paths, that is the names of visitors' photos.
    """
    kind, _, trace = sys.exc_info()
    _fault(kind, trace)


def thread_fault(raised: threading.ExceptHookArgs) -> None:
    """Write where an error in a thread came from, for `threading.excepthook`."""
    _fault(raised.exc_type, raised.exc_traceback)


def _fault(kind: type[BaseException] | None, trace: TracebackType | None) -> None:
    write("fault", kind=getattr(kind, "__name__", None), at=_places(trace))


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-12:]
    return [
        f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
        for frame in frames
    ]
