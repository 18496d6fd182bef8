"""Objects in large pictures: overlapping windows at full size, without objects cut at seams."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import fluorescence
from models.picture import Photo
from models.preprocessing import InputSpec, prepare, scaled_size
from models.scaling import reduced_size
from models.segmentation import Segmentation, at_photo_size

# Unused pixels along a window's edge: about the reach of the network. The network halves its input
# several times, so windows begin where one large window would be halved.
MARGIN = 96
LARGEST_OBJECT = 256  # pixels: an object up to this size is never cut by its window's edge
KEPT_SIDE = 1024  # pixels, longer side of the probabilities kept for display

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A prepared batch to float32 probabilities, as `models.segmentation.Segmenter.run`."""

Progress = Callable[[float], None]
Box = tuple[slice, slice]


@dataclass(frozen=True)
class FoundObjects:
    """The objects found in a picture.

    Attributes
    ----------
    segmentation
        The network's answer, with probabilities reduced for display if the picture is large.
    mask
        `(height, width)` uint8 at the picture's size, as in `Segmentation.mask`.
    numbers
        `(height, width)` int32: 0 background, else 1 to n, the objects.
    """

    segmentation: Segmentation
    mask: NDArray[np.uint8]
    numbers: NDArray[np.int32]


def find_objects(
    run: Run,
    classes: tuple[str, ...],
    spec: InputSpec,
    photo: Photo,
    progress: Progress = lambda share: None,
) -> FoundObjects:
    """Segment a photo at its own size, however large, and separate the objects.

    A photo that is larger than the network's input is segmented in overlapping windows. Each
    pixel's probabilities come from the window that shows the most around it; then each object is
    taken from the one window whose core contains its centroid. The edges of bright objects on a
    dark background are where the brightness rises; see `models.fluorescence`.

    Parameters
    ----------
    run
        A network that separates objects.
    classes
        Names of its classes, in the order of the last axis.
    spec
        Its input; the photo keeps its scale ("fit").
    photo
        `(height, width, 3)` uint8 RGB.
    progress
        Called with the share of the work that is done, in [0, 1]. If it raises, the work stops.
    """
    gray = fluorescence.gray_of(photo)
    height, width = photo.shape[:2]
    large = scaled_size(height, width, spec) != (height, width)
    whole = slice(0, height), slice(0, width)
    side = min(spec.height, spec.width)
    seen = list(windows(height, width, side, MARGIN, spec.multiple)) if large else [(whole, whole)]
    answer = np.empty((height, width, len(classes)), np.float16 if large else np.float32)
    mask = np.empty((height, width), np.uint8)
    outside = np.zeros((height, width), np.bool_)  # trimmed off an object
    background = classes.index("background")

    def look(photo: Photo, done: float) -> Photo | None:
        """Segment a photo; return a changed one if the network misses bright nuclei in it."""
        levels, missed = np.zeros(256, np.int64), 0
        for number, (window, core) in enumerate(seen):
            part = photo[window]
            (small,) = run(prepare(part, spec))
            found = at_photo_size(small, classes, spec, *part.shape[:2])
            if gray is not None:
                filled = fluorescence.fill(found, gray[window])
                found = filled.segmentation
                levels, missed = levels + filled.levels, missed + filled.missed
            kept = _within(window, core)
            answer[core], mask[core] = found.probabilities[kept], found.mask[kept]
            progress(done + (number + 1) / len(seen) / 3)
        if gray is None or missed <= fluorescence.MOST_MISSED * levels.sum():
            return None
        return fluorescence.dimmed(gray, levels)

    def take_apart(window: Box, core: Box) -> NDArray[np.int32]:
        """The objects of a window; what is trimmed off them in its core becomes background."""
        found = Segmentation(answer[window].astype(np.float32), classes).instances()
        if gray is None:
            return found
        trimmed = fluorescence.trim(found, gray[window])
        kept = _within(window, core)
        outside[core] = (found[kept] > 0) & (trimmed[kept] == 0)
        return trimmed

    if (dimmed := look(photo, 0)) is not None:
        look(dimmed, 1 / 3)
    if large:
        numbers, count = np.zeros((height, width), np.int32), 0
        seen = list(windows(height, width, side, LARGEST_OBJECT // 2))
        for number, (window, core) in enumerate(seen):
            count = _take(take_apart(window, core), window, core, numbers, count)
            progress(2 / 3 + (number + 1) / len(seen) / 3)
    else:
        numbers = take_apart(whole, whole)
    outside &= numbers == 0
    answer[outside], mask[outside] = np.arange(len(classes)) == background, background + 1
    shown = _to_look_at(answer, classes) if large else Segmentation(answer, classes)
    return FoundObjects(shown, mask, numbers)


def windows(
    height: int, width: int, side: int, margin: int, multiple: int = 1
) -> Iterator[tuple[Box, Box]]:
    """Windows of a picture, each with its core; the cores cover the picture once.

    A core lies `margin` pixels inside its window, except at the picture's edges, and begins at a
    multiple of `multiple`: so does the window, if its margin is one.

    Examples
    --------
    >>> [(core[1].start, core[1].stop) for _, core in windows(10, 30, 20, 2)]
    [(0, 15), (15, 30)]
    """
    for top, bottom in _cores(height, side, margin, multiple):
        for left, right in _cores(width, side, margin, multiple):
            window = tuple(
                slice(max(start - margin, 0), min(end + margin, length))
                for start, end, length in ((top, bottom, height), (left, right, width))
            )
            yield (window[0], window[1]), (slice(top, bottom), slice(left, right))


def _cores(length: int, side: int, margin: int, multiple: int) -> Iterator[tuple[int, int]]:
    """Roughly equal parts of a length that, with their margins, are not longer than a side."""
    if length <= side:
        yield 0, length
        return
    count = math.ceil(length / ((side - 2 * margin) // multiple * multiple))
    step = math.ceil(length / count / multiple) * multiple
    yield from pairwise([*range(0, length, step), length])


def _within(window: Box, core: Box) -> Box:
    """The place of a core in its window."""
    rows, columns = (
        slice(inner.start - outer.start, inner.stop - outer.start)
        for outer, inner in zip(window, core, strict=True)
    )
    return rows, columns


def _take(
    found: NDArray[np.int32], window: Box, core: Box, numbers: NDArray[np.int32], count: int
) -> int:
    """Label the objects of a window whose centroids are in its core; return the new count."""
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
        # An object that two windows see slightly differently at their seam is still one object.
        if 2 * np.count_nonzero(free) > np.count_nonzero(inside):
            count += 1
            target[free] = count
    return count


def _to_look_at(probabilities: NDArray[np.float16], classes: tuple[str, ...]) -> Segmentation:
    height, width = probabilities.shape[:2]
    rows, columns = reduced_size(height, width, KEPT_SIDE)
    small = np.stack(
        [
            np.asarray(
                Image.fromarray(probabilities[:, :, index].astype(np.float32)).resize(
                    (columns, rows), Image.Resampling.BOX
                )
            )
            for index in range(len(classes))
        ],
        axis=2,
    )
    return Segmentation(small, classes, (height, width))
