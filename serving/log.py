"""One line of JSON for each request and each answer: what happened, and nothing of whose photo."""

import hashlib
import json
import logging
import secrets
import sys
import time
import traceback
from pathlib import Path

logger = logging.getLogger("petscope")

_SALT = secrets.token_bytes(16)  # lives as long as the process: nobody can compare two days' lines


def write(event: str, **facts: object) -> None:
    """Write a line. The facts are numbers and words of our own, never what a visitor wrote."""
    logger.info(json.dumps({"time": round(time.time(), 3), "event": event, **facts}))


def pseudonym(client: str) -> str:
    """A name for a client by which lines can be put together, but the client not be found."""
    return hashlib.blake2s(client.encode(), key=_SALT, digest_size=4).hexdigest()


def start() -> None:
    """Write the lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def fault(*_: object) -> None:
    """Write the exception that is being handled: its kind and where in the code it arose.

    Not its message, in which libraries quote paths, that is the names of visitors' photos.
    """
    kind, _, trace = sys.exc_info()
    frames = [
        f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)
    ]
    write("fault", kind=getattr(kind, "__name__", None), at=frames[-12:])
