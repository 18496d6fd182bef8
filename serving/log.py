"""One line of JSON for each request and each answer: what happened, and nothing about the photo.

Libraries' log records become such lines too, without their text, which may quote what visitors
sent.
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

LONGEST = 2_000  # characters of a line; a longer one loses some of its facts
SAME_FAULT = 60.0  # seconds for which further faults at the same place are only counted
PLACES = 1_000  # of faults that are remembered

logger = logging.getLogger("petscope")

_lock = threading.Lock()
# For each place: when a fault was last logged, and how many occurred since.
_faults: dict[tuple[object, ...], tuple[float, int]] = {}

_SALT = secrets.token_bytes(16)  # lives as long as the process: nobody can compare two days' lines


def write(event: str, **facts: object) -> None:
    """Write a line. The facts are numbers and the app's own words, never what a visitor wrote."""
    logger.info(_line({"time": round(time.time(), 3), "event": event, **facts}))


def _line(facts: dict[str, object]) -> str:
    """The facts as JSON of at most `LONGEST` characters; of long lists, the last items are kept."""
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
    """A pseudonym that connects a client's lines without revealing the client."""
    return hashlib.blake2s(client.encode(), key=_SALT, digest_size=4).hexdigest()


def start() -> None:
    """Write the lines to standard error, and let the `logging` module write nothing else there."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.captureWarnings(True)
    # Python itself would write a traceback with messages and paths.
    threading.excepthook = thread_fault
    sys.unraisablehook = lambda raised: _fault(raised.exc_type, raised.exc_traceback)
    root = logging.getLogger()
    root.handlers[:] = [_Others(logging.WARNING)]
    # Some libraries write to standard error themselves.
    for name in list(logging.root.manager.loggerDict):
        other = logging.getLogger(name)
        if other is not logger:
            other.handlers.clear()
            other.propagate = True


class _Others(logging.Handler):
    """Logs where a library's record came from, without its text."""

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
    """Write the exception that is being handled: its type, and where in the code it arose.

    Its message is left out: libraries quote paths in it, and so the names of visitors' photos.
    """
    kind, _, trace = sys.exc_info()
    _fault(kind, trace)


def odd() -> None:
    """Log the exception being handled, which the content of a request caused."""
    kind, _, trace = sys.exc_info()
    write("odd", kind=getattr(kind, "__name__", None), at=_places(trace)[-3:])


def thread_fault(raised: threading.ExceptHookArgs) -> None:
    """Write where an error in a thread came from, for `threading.excepthook`."""
    _fault(raised.exc_type, raised.exc_traceback)


def _fault(kind: type[BaseException] | None, trace: TracebackType | None) -> None:
    """Log a fault, but only once a minute for each place, so that no other fault goes unnoticed."""
    places, now = _places(trace), time.monotonic()
    with _lock:
        last, unsaid = _faults.pop((kind, *places), (-SAME_FAULT, 0))
        again = now - last < SAME_FAULT
        _faults[(kind, *places)] = (last, unsaid + 1) if again else (now, 0)
        if len(_faults) > PLACES:
            del _faults[next(iter(_faults))]
    if not again:
        more = {"unsaid": unsaid} if unsaid else {}
        write("fault", kind=getattr(kind, "__name__", None), at=places, **more)


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-12:]
    return [
        f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
        for frame in frames
    ]
