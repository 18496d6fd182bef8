"""Masks as run lengths, as in COCO's annotations ("uncompressed RLE").

The pixels are taken column by column. The first number counts the zeros before the first one, the
second the ones that follow, and so on; so a mask that begins with a one begins with a count of 0.
Source: COCO's data format, https://cocodataset.org/#format-data.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def encode(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths of a mask.

    Parameters
    ----------
    mask
        `(height, width)` bool.

    Returns
    -------
    Counts of zeros and ones in turn; their sum is `height * width`.

    Examples
    --------
    >>> encode(np.array([[False, True], [True, True]]))
    [1, 3]
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    edges = np.concatenate([[0], changes, [pixels.size]])
    counts = np.diff(edges).tolist()
    return [0, *counts] if pixels.size and pixels[0] else counts


def decode(counts: Sequence[int], height: float, width: float) -> NDArray[np.bool_]:
    """The mask of these run lengths: `(height, width)` bool.

    Height and width may be whole floats, which is what pandas makes of a column that lacks some.

    Raises
    ------
    ValueError
        When the counts are not those of a mask of this size.

    Examples
    --------
    >>> decode([1, 3], 2, 2)
    array([[False,  True],
           [ True,  True]])
    """
    height, width = int(height), int(width)
    lengths = np.asarray(counts, np.int64)
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"These are no run lengths of a mask of {width} x {height} pixels.")
    pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return pixels.reshape((height, width), order="F")
