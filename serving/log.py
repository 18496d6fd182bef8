"""One line of JSON for each request and each answer: what happened, and nothing of whose photo.

What libraries log comes out as such a line, too, without its text: they quote what visitors send.
"""

import hashlib
import json
import logging
import secrets
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType

LONGEST = 2_000  # characters of a line

logger = logging.getLogger("petscope")

_SALT = secrets.token_bytes(16)  # lives as long as the process: nobody can compare two days' lines


def write(event: str, **facts: object) -> None:
    """Write a line. The facts are numbers and words of our own, never what a visitor wrote."""
    logger.info(json.dumps({"time": round(time.time(), 3), "event": event, **facts})[:LONGEST])


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
    write("fault", kind=getattr(kind, "__name__", None), at=_places(trace))


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-12:]
    return [
        f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
        for frame in frames
    ]
