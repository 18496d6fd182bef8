"""Closer looks: a mask model sees each detected pet larger than in the whole photo.

`models.segmentation.Segmenter.look_closer` takes a look; `settle` decides which pixels belong to
which pet, and `averaged` improves the whole photo's mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.images import Photo
from models.regions import HALF, Box, Region, claimed
from models.scaling import reduced_size, scale_maps
from models.watershed import REGION_SIDE, SMALLEST_OF_LARGEST

BILINEAR = Image.Resampling.BILINEAR
CLOSE_MARGIN = 0.15  # of a box's longer side, as a margin for a closer look
BOX_INSIDE = 0.9  # of the smaller of two boxes, for one pet that was found twice
SAME_PET = 0.7  # of the smaller of two masks: with a larger overlap they are one pet
FADE = 0.08  # of a close look's side, along which it counts for less and less towards its edge


@dataclass(frozen=True)
class Look:
    """A mask model's answer for one pet seen closely.

    Attributes
    ----------
    box
        `(left, top, right, bottom)` around the pet, as the detector has it, in pixels of the photo.
    window
        The same for its crop: the box with a margin.
    belonging
        `(rows, columns)` uint8, of any size: how certainly each place in it belongs to the pet;
        above 127 it does.
    answer
        The network's answer to the crop: `(rows, columns, classes)` float32. None of a model that
        was told which pet is meant, and so takes the others for background.
    probability
        Of the box, in [0, 1].
    """

    box: Box
    window: Box
    belonging: NDArray[np.uint8]
    answer: NDArray[np.float32] | None = None
    probability: float = 1.0

    def on(self, height: int, width: int, photo: tuple[int, int]) -> NDArray[np.uint8]:
        """The same for the whole photo, of size `photo`, as `(height, width)` uint8; 0 outside."""
        down, across = height / photo[0], width / photo[1]
        left, right = (round(edge * across) for edge in self.window[::2])
        top, bottom = (round(edge * down) for edge in self.window[1::2])
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        canvas = np.zeros((height, width), np.uint8)
        canvas[top:bottom, left:right] = np.asarray(
            Image.fromarray(self.belonging).resize((right - left, bottom - top), BILINEAR)
        )[: height - top, : width - left]
        return canvas


def close_up(box: Box, height: int, width: int) -> Box:
    """The mask model's crop for a close look at a pet: its box with a margin, in the photo.

    Parameters
    ----------
    box
        `(left, top, right, bottom)` in pixels.
    height, width
        The photo's size.

    Returns
    -------
    `(left, top, right, bottom)`, right and bottom exclusive.
    """
    left, top, right, bottom = box
    margin = round(CLOSE_MARGIN * max(right - left, bottom - top)) + 1
    return (
        max(left - margin, 0),
        max(top - margin, 0),
        min(right + margin, width),
        min(bottom + margin, height),
    )


def point_out(seen: Photo, box: tuple[float, float, float, float]) -> Photo:
    """Show the mask model which pet is meant: everything outside its box is faded halfway to grey.

    The model was trained to segment only the pet in the box if something is greyed, and all pets if
    nothing is.

    Parameters
    ----------
    seen
        `(height, width, 3)` uint8 RGB, at the network's size.
    box
        `(left, top, right, bottom)` in pixels of it.
    """
    left, top, right, bottom = (max(round(edge), 0) for edge in box)
    pointed = seen // 2 + np.uint8(64)
    pointed[top:bottom, left:right] = seen[top:bottom, left:right]
    return pointed


def belonging(
    foreground: NDArray[np.float32],
    box: tuple[float, float, float, float] | None = None,
    alone: bool = True,
) -> NDArray[np.uint8]:
    """How certainly each place belongs to one pet, the largest, in a closer look at it.

    Small parts that are not connected with it are left out.

    Parameters
    ----------
    foreground
        `(rows, columns)` float32, as of `Segmentation.foreground`, of the look's window.
    box
        `(left, top, right, bottom)` in places of it, for a model that cannot be told which pet is
        meant: outside the box, the further away a place is, the less it belongs to the pet.
    alone
        Whether no other pet is near. Otherwise that already begins inside the box.

    Returns
    -------
    `(rows, columns)` uint8: above 127 for the pet.
    """
    from skimage.measure import label

    certainty = foreground if box is None else foreground * _nearness(foreground.shape, box, alone)
    parts = label(certainty > 0.5, connectivity=2)
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    small = np.flatnonzero(areas < SMALLEST_OF_LARGEST * areas.max())
    certainty = np.where(np.isin(parts, small[small > 0]), np.float32(0), certainty)
    return np.round(certainty * 255).astype(np.uint8)


def _nearness(
    shape: tuple[int, ...], box: tuple[float, float, float, float], alone: bool
) -> NDArray[np.float32]:
    """1 in a box, or around its centre if it is not `alone`, falling to 0 outside it: `shape`."""
    left, top, right, bottom = box
    y, x = np.ogrid[: shape[0], : shape[1]]
    across = np.abs(2 * x - left - right + 1) / max(right - left, 1)
    down = np.abs(2 * y - top - bottom + 1) / max(bottom - top, 1)
    # At a box's edge, ears and tails are as much of the pet as the rest, if nobody else's are near.
    slope = 1.2 if alone else 1.6
    return np.clip(2.2 - slope * np.maximum(across, down), 0, 1).astype(np.float32)


def meet(one: Box, other: Box) -> bool:
    """Whether two boxes overlap or touch."""
    return all(
        max(one[axis], other[axis]) <= min(one[axis + 2], other[axis + 2]) for axis in (0, 1)
    )


def settle(looks: Sequence[Look], height: int, width: int, *, merge: bool = True) -> list[Region]:
    """Decide for each pixel to which of several pets it belongs, if any.

    Two looks at the same pet, such as at its head and at the whole animal, count as one. A pixel
    claimed twice goes to the more certain claim.

    Parameters
    ----------
    looks
        One for each pet, the most certain first.
    height, width
        The photo's size.
    merge
        Whether looks at the same pet may be among them.

    Returns
    -------
    The pets that have pixels, by falling area.
    """
    kept = _merged(looks, height, width) if merge else looks
    divided = claimed([(look.window, look.belonging) for look in kept], height, width)
    return sorted((region for region in divided if region), key=lambda region: -region.area)


def _merged(looks: Sequence[Look], height: int, width: int) -> list[Look]:
    """The looks, of each pet only one."""
    rows, columns = reduced_size(height, width, REGION_SIDE)
    kept: list[Look] = []
    masks: list[NDArray[np.bool_]] = []
    for look in looks:
        mask = look.on(rows, columns, (height, width)) > HALF
        if not mask.any():
            continue
        same = [
            index
            for index, (other, its_mask) in enumerate(zip(kept, masks, strict=True))
            if _same(mask, its_mask) and one_inside(look.box, other.box)
        ]
        if not same:
            kept.append(look)
            masks.append(mask)
        elif len(same) == 1 and np.count_nonzero(mask) > np.count_nonzero(masks[same[0]]):
            kept[same[0]], masks[same[0]] = look, mask
    return kept


def _same(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    """Whether two masks show the same pet: most of the smaller is inside the larger."""
    smaller = min(np.count_nonzero(one), np.count_nonzero(other))
    return bool(np.count_nonzero(one & other) > SAME_PET * smaller)


def one_inside(one: Box, other: Box) -> bool:
    """Whether nearly all of the smaller of two boxes is inside the larger.

    This is so for a head and the whole animal. The mask of a half-hidden pet often covers the other
    pet too, but its box ends elsewhere.
    """
    wide, high = (
        min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis]) for axis in (0, 1)
    )
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide > 0 and high > 0 and wide * high > BOX_INSIDE * min(areas)


def averaged(
    whole: NDArray[np.float32], looks: Sequence[Look], height: int, width: int
) -> NDArray[np.float32]:
    """A mask model's answer to a photo, averaged with its closer looks at the photo's pets.

    The larger a look shows its part of the photo, the more it counts; one that shows it smaller
    than the whole photo does is left out. Towards the edge of its window, beyond which it has seen
    nothing, a look counts less and less.

    Parameters
    ----------
    whole
        `(rows, columns, classes)` float32: the answer to the photo as a whole.
    looks
        Of the same model at the same photo.
    height, width
        The photo's size.

    Returns
    -------
    `(rows, columns, classes)` float32, as `whole`.
    """
    rows, columns = whole.shape[:2]
    total = whole.copy()
    weights = np.ones((rows, columns, 1), np.float32)
    for look in looks:
        if look.answer is None:
            continue
        left, top, right, bottom = look.window
        across = _covered(left, right, width, columns)
        down = _covered(top, bottom, height, rows)
        if not (len(across.weights) and len(down.weights)):
            continue  # the window is smaller than a place
        seen_rows, seen_columns = look.answer.shape[:2]
        density = seen_rows * seen_columns / ((right - left) * (bottom - top))
        zoom = (density * height * width / (rows * columns)) ** 0.5
        if zoom < 1:
            continue
        weight = np.minimum.outer(down.weights, across.weights)[:, :, np.newaxis]
        weight *= np.float32(zoom)
        box = (
            across.first * seen_columns,
            down.first * seen_rows,
            across.last * seen_columns,
            down.last * seen_rows,
        )
        part = scale_maps(look.answer, len(down.weights), len(across.weights), box)
        total[down.places, across.places] += weight * part
        weights[down.places, across.places] += weight
    return total / weights


class _Covered(NamedTuple):
    """The places of an answer that a window covers wholly, along one axis.

    `first` and `last` are where they begin and end in the window, in [0, 1]; `weights` are in
    [0, 1] too.
    """

    places: slice
    first: float
    last: float
    weights: NDArray[np.float32]


def _covered(start: int, end: int, length: int, places: int) -> _Covered:
    """What a window from `start` to `end`, in a photo of a `length` in pixels, covers."""
    begin, side = start * places / length, (end - start) * places / length
    covered = slice(math.ceil(begin), max(int(end * places / length), math.ceil(begin)))
    first, last = ((each - begin) / side for each in (covered.start, covered.stop))
    middles = (np.arange(covered.start, covered.stop) + 0.5 - begin) / side
    weights = np.ones(len(middles), np.float32)
    if start > 0:
        weights = np.minimum(weights, middles / FADE)
    if end < length:
        weights = np.minimum(weights, (1 - middles) / FADE)
    return _Covered(covered, first, min(last, 1.0), weights.astype(np.float32))
