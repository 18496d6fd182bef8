"""Counts grey values with the bins of `skimage.exposure.histogram`.

Integer pictures have one bin for each of their levels, float pictures equal bins from their minimum
to their maximum. Only integers that span more than `MAX_LEVELS` levels are binned like floats: a
table of 2^32 levels would not fit into memory.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import ExplainedError

MAX_LEVELS = 2**16
STRIP = 2**20  # pixels whose offsets are in memory at a time: eight bytes each


class ThresholdError(ExplainedError):
    """A picture has no such thresholds; the text is one sentence for the visitor."""


class Histogram(NamedTuple):
    """How often each grey value occurs in a picture.

    All functions of this package that need no more than this accept it instead of a picture.

    Attributes
    ----------
    counts
        `(n,)` int64: pixels at each level.
    centers
        `(n,)` float64, rising: the levels' grey values.
    """

    counts: NDArray[np.int64]
    centers: NDArray[np.float64]


def histogram(gray: NDArray[Any], bins: int = 256, max_levels: int = MAX_LEVELS) -> Histogram:
    """Count the pixels at each grey level.

    As in scikit-image, integer pictures have one bin per level, and float pictures `bins` equal
    bins from their minimum to their maximum. Integer pictures that span more than `max_levels`
    levels have `max_levels` equal bins.

    Parameters
    ----------
    gray
        Array of any shape, integer or float, finite.
    bins
        Number of bins of a float picture.
    max_levels
        The largest span of an integer picture with one bin per level.

    Raises
    ------
    ThresholdError
        If the picture has no pixels.
    """
    if gray.size == 0:
        raise ThresholdError("threshold_empty")
    if gray.dtype == np.uint8:
        # Pillow counts bytes directly; `bincount` first converts each to eight.
        image = Image.fromarray(np.ascontiguousarray(gray).reshape(1, -1))
        counts = np.array(image.histogram())
        low, high = np.flatnonzero(counts)[[0, -1]]
        return Histogram(counts[low : high + 1], np.arange(low, high + 1, dtype=np.float64))
    if gray.dtype == bool or np.issubdtype(gray.dtype, np.integer):
        low, high = int(gray.min()), int(gray.max())
        if high - low < max_levels:
            return Histogram(_levels(gray, low, high), np.arange(low, high + 1, dtype=np.float64))
        bins = max_levels
    counts, edges = np.histogram(gray, bins=bins)
    centers = (edges[:-1] + edges[1:]) / 2
    # NumPy's edges of a float32 picture are float32.
    return Histogram(counts, centers.astype(np.float64))


def counted(picture: NDArray[Any] | Histogram, bins: int = 256) -> Histogram:
    """A picture's histogram, or the histogram that was given instead."""
    return picture if isinstance(picture, Histogram) else histogram(picture, bins)


def _levels(gray: NDArray[Any], low: int, high: int) -> NDArray[np.int64]:
    counts = np.zeros(high - low + 1, np.int64)
    flat = gray.reshape(-1)
    for start in range(0, flat.size, STRIP):
        strip = flat[start : start + STRIP]
        if strip.dtype != np.uint64:  # whose values may not fit into int64
            strip = strip.astype(np.int64)
        counts += np.bincount((strip - low).astype(np.int64), minlength=len(counts))
    return counts
