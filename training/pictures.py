"""Photos of a data set as arrays, decoded once."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.images import open_photo
from models.preprocessing import InputSpec, resize_photo

T = TypeVar("T")
R = TypeVar("R")


class HasPhoto(Protocol):
    """An example of any data set that names its picture's file."""

    @property
    def photo(self) -> Path:
        """The picture's file."""


def read_all(read: Callable[[T], R], examples: Sequence[T], what: str) -> list[R]:
    """Read all examples side by side, with a progress bar."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm(pool.map(read, examples), total=len(examples), desc=f"reading {what}"))


def decode(examples: Sequence[HasPhoto], spec: InputSpec, what: str) -> NDArray[np.uint8]:
    """All photos at the size that the specification wants: `(n, height, width, 3)` uint8.

    Decoding costs more than a small network's step: done once, it is not repeated every epoch.
    """
    if not examples:
        return np.empty((0, spec.height, spec.width, 3), np.uint8)
    return np.stack(
        read_all(lambda example: resize_photo(open_photo(example.photo), spec), examples, what)
    )
