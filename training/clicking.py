"""Simulated clicks on what is wrong in a mask, as people would give them.

"Deep Interactive Object Selection" (Xu, Price, Cohen, Yang, Huang, CVPR 2016): the next click comes
into the middle of the largest connected error, until the mask's intersection over union with the
truth is high enough, or too many clicks are given.
"""

import numpy as np
from numpy.typing import NDArray

ENOUGH = 0.9  # intersection over union
MOST = 20  # clicks


def next_click(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int, bool]:
    """Row and column of the middle of the largest error, and whether the subject misses it.

    The middle is the place that is farthest from the error's edge, and from the picture's.
    """
    from scipy.ndimage import distance_transform_edt, label

    largest, missed, error = 0, True, mask
    for keep, wrong in ((True, truth & ~mask), (False, mask & ~truth)):
        pieces, count = label(wrong)
        if count:
            areas = np.bincount(pieces.ravel())[1:]
            if areas.max() > largest:
                largest, missed = int(areas.max()), keep
                error = pieces == areas.argmax() + 1
    depth = distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(row), int(column), missed


def overlap(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 of two empty masks."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0
