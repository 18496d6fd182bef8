"""Masks as run lengths, as in COCO's annotations ("uncompressed RLE").

The pixels are taken column by column. The first number counts the zeros before the first one, the
second the ones that follow, and so on; so a mask that begins with a one begins with a count of 0.
Source: COCO's data format, https://cocodataset.org/#format-data.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.regions import Region


def encode(region: Region) -> list[int]:
    """Run lengths of a region's mask.

    Returns
    -------
    Counts of zeros and ones in turn; their sum is `height * width`.

    Examples
    --------
    >>> encode(Region.of_mask(np.array([[False, True], [True, True]])))
    [1, 3]
    """
    height, width = region.shape
    # A run that reaches a column's end goes on in the next one.
    apart = region.starts[1:] != region.stops[:-1]
    starts = np.concatenate([region.starts[:1], region.starts[1:][apart]])
    stops = np.concatenate([region.stops[:-1][apart], region.stops[-1:]])
    edges = np.stack([starts, stops], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    return counts if counts[-1] else counts[:-1]


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
