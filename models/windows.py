"""Objects of large pictures: windows that overlap, at full size, and no object cut at a seam."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.picture import Photo
from models.preprocessing import prepare, scaled_size
from models.segmentation import Segmentation, Segmenter, at_photo_size

MARGIN = 96  # pixels along a window's edge that are not used: about as far as the network looks
LARGEST_OBJECT = 256  # pixels: an object up to this size is never cut by its window's edge
KEPT_SIDE = 1024  # pixels of the longer side of the probabilities that are kept for display

Progress = Callable[[float], None]
Box = tuple[slice, slice]


def find_objects(
    segmenter: Segmenter, photo: Photo, progress: Progress = lambda share: None
) -> tuple[Segmentation, NDArray[np.int32]]:
    """Segment a photo at its own size, however large, and take the objects apart.

    A photo that is larger than the network's input is segmented in overlapping windows. Each
    pixel's probabilities come from the window that shows the most around it; then each object is
    taken from the one window whose core contains its centroid.

    Parameters
    ----------
    segmenter
        A model with instances, whose input keeps the photo's scale ("fit").
    photo
        `(height, width, 3)` uint8 RGB.
    progress
        Called with the share of the work that is done, in [0, 1]. If it raises, the work stops.

    Returns
    -------
    The segmentation, with probabilities reduced for display where the photo is large; and
    `(height, width)` int32: 0 background, else 1 to n.
    """
    spec = segmenter.card.input
    height, width = photo.shape[:2]
    if scaled_size(height, width, spec) == (height, width):
        result = segmenter.predict(photo)
        return result, result.instances()
    side = min(spec.height, spec.width)
    probabilities = np.empty((height, width, len(segmenter.classes)), np.float16)
    seen = list(windows(height, width, side, MARGIN))
    for number, (window, core) in enumerate(seen):
        part = photo[window]
        (small,) = segmenter.run(prepare(part, spec))
        answer = at_photo_size(small, segmenter.classes, spec, *part.shape[:2]).probabilities
        probabilities[core] = answer[_within(window, core)]
        progress(0.5 * (number + 1) / len(seen))
    numbers = np.zeros((height, width), np.int32)
    count = 0
    seen = list(windows(height, width, side, LARGEST_OBJECT // 2))
    for number, (window, core) in enumerate(seen):
        seen_again = Segmentation(probabilities[window].astype(np.float32), segmenter.classes)
        count = _take(seen_again.instances(), window, core, numbers, count)
        progress(0.5 + 0.5 * (number + 1) / len(seen))
    return _to_look_at(probabilities, segmenter.classes), numbers


def windows(height: int, width: int, side: int, margin: int) -> Iterator[tuple[Box, Box]]:
    """Windows of a picture, each with its core; the cores cover the picture once.

    A core lies `margin` pixels inside its window, except at the picture's edges.

    Examples
    --------
    >>> [(core[1].start, core[1].stop) for _, core in windows(10, 30, 20, 2)]
    [(0, 15), (15, 30)]
    """
    for top, bottom in _cores(height, side, margin):
        for left, right in _cores(width, side, margin):
            window = tuple(
                slice(max(start - margin, 0), min(end + margin, length))
                for start, end, length in ((top, bottom, height), (left, right, width))
            )
            yield (window[0], window[1]), (slice(top, bottom), slice(left, right))


def _cores(length: int, side: int, margin: int) -> Iterator[tuple[int, int]]:
    """Parts of a length that are equal, and with their margins not longer than a side."""
    count = 1 if length <= side else math.ceil(length / (side - 2 * margin))
    edges = [length * number // count for number in range(count + 1)]
    yield from pairwise(edges)


def _within(window: Box, core: Box) -> Box:
    """Where a core lies in its window."""
    rows, columns = (
        slice(inner.start - outer.start, inner.stop - outer.start)
        for outer, inner in zip(window, core, strict=True)
    )
    return rows, columns


def _take(
    found: NDArray[np.int32], window: Box, core: Box, numbers: NDArray[np.int32], count: int
) -> int:
    """Number the objects of a window whose centroids its core holds; return the new count."""
    from scipy.ndimage import find_objects as boxes_of

    rows, columns = _within(window, core)
    for index, box in enumerate(boxes_of(found), start=1):
        if box is None:
            continue
        inside = found[box] == index
        y, x = np.nonzero(inside)
        row, column = y.mean() + box[0].start, x.mean() + box[1].start
        if not (rows.start <= row < rows.stop and columns.start <= column < columns.stop):
            continue
        place = tuple(
            slice(part.start + outer.start, part.stop + outer.start)
            for part, outer in zip(box, window, strict=True)
        )
        target = numbers[place]
        free = inside & (target == 0)
        # What two windows see a little differently at their seam is one object all the same.
        if 2 * np.count_nonzero(free) > np.count_nonzero(inside):
            count += 1
            target[free] = count
    return count


def _to_look_at(probabilities: NDArray[np.float16], classes: tuple[str, ...]) -> Segmentation:
    height, width = probabilities.shape[:2]
    scale = min(KEPT_SIDE / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = np.stack(
        [
            np.asarray(
                Image.fromarray(probabilities[:, :, index].astype(np.float32)).resize(
                    size, Image.Resampling.BOX
                )
            )
            for index in range(len(classes))
        ],
        axis=2,
    )
    return Segmentation(small, classes, (height, width))
