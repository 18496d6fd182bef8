"""Photos of a data set as arrays, decoded once; and a check that all of them can be read."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.errors import one_line
from models.images import open_photo
from models.preprocessing import InputSpec, resize_photo
from training.archives import DataError

SHOWN = 3  # damaged files listed in an error

T = TypeVar("T")
R = TypeVar("R")


class HasPhoto(Protocol):
    """An example of any data set that names its picture's file."""

    @property
    def photo(self) -> Path:
        """The picture's file."""


E = TypeVar("E", bound=HasPhoto)


def read_all(read: Callable[[T], R], examples: Sequence[T], what: str) -> list[R]:
    """Read all examples in parallel, with a progress bar."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm(pool.map(read, examples), total=len(examples), desc=f"reading {what}"))


def decode(examples: Sequence[HasPhoto], spec: InputSpec, what: str) -> NDArray[np.uint8]:
    """All photos at the input's size: `(n, height, width, 3)` uint8.

    Decoding takes longer than a small network's step, so it is done once instead of every epoch.
    """
    if not examples:
        return np.empty((0, spec.height, spec.width, 3), np.uint8)
    return np.stack(
        read_all(lambda example: resize_photo(open_photo(example.photo), spec), examples, what)
    )


def few(examples: Sequence[T], count: int) -> list[T]:
    """At most `count` of the examples, evenly spread over all of them."""
    return list(examples[:: max(len(examples) // count, 1)][:count])


def _reason(error: Exception) -> str:
    """Why an example cannot be used, as a part of a sentence."""
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename} is missing"
    return one_line(error)


def check(
    examples: Sequence[E],
    read: Callable[[E], Sequence[Path]],
    remembered: Path,
    *,
    kind: str = "photo",
    skip_damaged: bool = False,
) -> list[E]:
    """Read each example's files, unless they were read before; return the usable examples.

    Parameters
    ----------
    examples
        The examples to check.
    read
        Reads an example's files and returns their paths, or raises.
    remembered
        File that records what could be read, with each file's size and modification time. If it
        cannot be written, everything is read again next time.
    kind
        What is read of an example; each kind is recorded separately.
    skip_damaged
        Leave out what cannot be read, with a message, instead of raising.

    Raises
    ------
    training.archives.DataError
        If files cannot be read, with the names of the first.
    """
    known: dict[str, list[list[str | int]]] = {}
    with suppress(OSError, ValueError):
        known = json.loads(remembered.read_text())

    def key(example: E) -> str:
        return f"{kind} {os.path.relpath(example.photo, remembered.parent)}"

    fresh = [example for example in examples if not _unchanged(known.get(key(example)))]
    reasons: dict[str, str] = {}

    def attempt(example: E) -> None:
        try:
            known[key(example)] = [_state(path) for path in read(example)]
        except Exception as error:  # anything that a decoder raises for damaged bytes
            known.pop(key(example), None)
            reasons[key(example)] = _reason(error)

    if fresh:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in tqdm(pool.map(attempt, fresh), total=len(fresh), desc="checking pictures"):
                pass
        with suppress(OSError):
            remembered.write_text(json.dumps(known))
    damaged = [example for example in fresh if key(example) in reasons]
    told = [f"{example.photo} ({reasons[key(example)]})" for example in damaged]
    if not damaged:
        return list(examples)
    if not skip_damaged:
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        raise DataError(
            f"{len(told)} of {len(examples)} pictures cannot be used: {', '.join(told[:SHOWN])}"
            f"{more}. Repair them, or leave them out with --skip-damaged."
        )
    for line in told:
        print(f"left out: {line}", file=sys.stderr)
    return [example for example in examples if key(example) not in reasons]


def _state(path: Path) -> list[str | int]:
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]


def _unchanged(states: list[list[str | int]] | None) -> bool:
    if states is None:
        return False
    with suppress(OSError):
        return all(_state(Path(str(state[0]))) == state for state in states)
    return False
