"""Segments a pet (or another subject): a probability per class and pixel, at photo size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import store
from models.cards import Card
from models.images import Photo
from models.lazy import lazy
from models.preprocessing import (
    InputSpec,
    as_image,
    input_size,
    normalize,
    prepare,
    resize_photo,
    scaled_size,
)
from models.regions import HALF, Region, claimed
from models.runtime import Network
from models.scaling import reduced_size, scaled, scaled_rows, strips
from models.turning import Turn, turn_array

# Probabilities of the interior at which distances to its edge are measured, and how much deeper, in
# pixels, two parts must be than the neck between them to count as two. Anything that is nowhere
# that deep is noise.
INTERIOR_LEVELS = (0.5, 0.7, 0.85, 0.95)
NECK = 0.5
BILINEAR = Image.Resampling.BILINEAR
STRIP = 500_000  # pixels decided at a time
LARGEST_FLOOD = 1_500_000  # pixels; larger photos are separated into objects at this size

# Unlike nuclei, pets are few and have necks, legs and tails. All but the first are shares.
REGION_SIDE = 256  # pixels; longer side of the mask on which they are separated
SMALLEST_OF_PHOTO = 0.01  # a smaller region is taken as an error of the mask
SMALLEST_OF_LARGEST = 0.1  # likewise, of the largest region's area
THINNEST_NECK = 0.2  # of a part's thickness: parts joined by less are separate
SMOOTHING_REACH = 4  # pixels: `gaussian_filter` ends after four standard deviations of one pixel
BOX_INSIDE = 0.9  # of the smaller of two boxes, for one pet that was found twice
SAME_PET = 0.7  # of the smaller of two masks: with a larger overlap they are one pet
CLOSE_MARGIN = 0.15  # of a box's longer side, as a margin for a closer look
SMALLEST_PART = 0.3  # of the region's area: smaller parts are heads, legs and tails
FADE = 0.08  # of a close look's side, along which it counts for less and less towards its edge


@dataclass(frozen=True)
class Segmentation:
    """A mask model's answer for a photo.

    A large photo's probabilities take many times the memory of the photo, and are rarely needed at
    its size: they are kept as the network gave them, and scaled on demand.

    Attributes
    ----------
    answer
        `(rows, columns, classes)` float32 in [0, 1], summing to 1 over the classes: the network's
        answer to the whole photo.
    classes
        Names of the classes, in the order of the last axis.
    size
        Height and width of the photo, if they differ from those of the answer.
    """

    answer: NDArray[np.float32]
    classes: tuple[str, ...]
    size: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the photo."""
        return self.size or (self.answer.shape[0], self.answer.shape[1])

    @lazy
    def probabilities(self) -> NDArray[np.float32]:
        """`(height, width, classes)` float32 at the photo's size, interpolated bilinearly."""
        return self.answer if self.size is None else _scale(self.answer, *self.size)

    @lazy
    def mask(self) -> NDArray[np.uint8]:
        """`(height, width)` uint8: 1 for the first class, 2 for the second, and so on.

        For the pet model these are the data set's values: 1 pet, 2 background, 3 border.
        """
        height, width = self.shape
        planes = [_plane(self.answer, index) for index in range(len(self.classes))]
        mask = np.ones((height, width), np.uint8)
        for rows in strips(height, width, STRIP):
            # Class by class: `argmax` takes 1.5 times as long, and eight bytes per pixel.
            best = scaled_rows(planes[0], rows, height, width)
            strip = mask[rows]
            for index, plane in enumerate(planes[1:], start=2):
                values = scaled_rows(plane, rows, height, width)
                np.putmask(strip, values > best, index)
                best = np.maximum(best, values)
        return mask

    @lazy
    def shares(self) -> dict[str, float]:
        """Share of the photo that each class covers, in [0, 1]."""
        return shares(self.mask, self.classes)

    @property
    def subject(self) -> str:
        """Name of the class that is neither background nor border: "pet", "nucleus"."""
        return subject(self.classes)

    def turned(self, turn: Turn) -> "Segmentation":
        """The same for the photo after a turn."""
        size = self.shape[::-1] if turn in (90, 270) else self.shape
        return Segmentation(turn_array(self.answer, turn), self.classes, size)

    def resized(self, height: int, width: int) -> "Segmentation":
        """The same for the photo at another size."""
        return Segmentation(self.answer, self.classes, (height, width))

    def probability_maps(self, side: int) -> NDArray[np.uint8]:
        """Small pictures of the probabilities: `(classes, rows, columns)` uint8, 255 for 1.

        They have the photo's aspect ratio, and no side is longer than `side`.
        """
        small = self.resized(*reduced_size(*self.shape, side))
        return np.moveaxis(np.round(small.probabilities * 255).astype(np.uint8), 2, 0)

    def foreground(self) -> NDArray[np.float32]:
        """How much of each pixel belongs to the subject: `(height, width)` float32 in [0, 1].

        A pet's outline runs along the middle of the border class, so a border pixel counts
        half; the ramp is then stretched so that doubtful pixels inside and outside become sure.
        """
        height, width = self.shape
        # Scaling first and clipping afterwards gives the same as the probabilities at the photo's
        # size.
        ramp = np.asarray(self._ramp().resize((width, height), BILINEAR))
        return np.clip(ramp, 0, 1)

    def belonging(self, box: tuple[float, float, float, float] | None) -> NDArray[np.uint8]:
        """How certainly each place in the network's answer belongs to one pet, the largest.

        Small parts that are not connected with it are left out.

        Parameters
        ----------
        box
            `(left, top, right, bottom)` in pixels of the answer, for a model that cannot be told
            which pet is meant: the further from the box's centre, the less a place belongs to it.

        Returns
        -------
        `(rows, columns)` uint8, of the answer's size: above 127 for the pet.
        """
        from skimage.measure import label

        ramp = np.asarray(self._ramp(), np.float32).clip(0, 1)
        if box is not None:
            ramp *= _nearness(ramp.shape, box)
        parts = label(ramp > 0.5, connectivity=2)
        areas = np.bincount(parts.ravel())
        areas[0] = 0
        small = np.flatnonzero(areas < SMALLEST_OF_LARGEST * areas.max())
        ramp[np.isin(parts, small[small > 0])] = 0
        return np.round(ramp * 255).astype(np.uint8)

    def _ramp(self) -> Image.Image:
        """Subject plus half the border, stretched, at the answer's size and not yet clipped."""
        ramp = self.answer[:, :, self.classes.index(self.subject)] * np.float32(2)
        if "border" in self.classes:
            ramp += self.answer[:, :, self.classes.index("border")]
        ramp -= np.float32(0.5)
        return Image.fromarray(ramp)

    def instances(self) -> NDArray[np.int32]:
        """Separate the foreground into objects: `(height, width)` int32, 0 background, else 1 to n.

        A pixel's depth is its distance from the edge of the interior, averaged over several
        probability thresholds for the interior: so a weak border between two objects counts, and so
        does the waist of their common outline. Each depth's peak is a seed, and the other pixels go
        to the seed whose flood reaches them first: marker-controlled watershed (Meyer, Beucher,
        "Morphological segmentation", J. Vis. Commun. Image Represent. 1990) on the distances
        (Vincent, Soille, "Watersheds in digital spaces", PAMI 1991).
        """
        from scipy.ndimage import distance_transform_edt, gaussian_filter
        from skimage.measure import label
        from skimage.morphology import h_maxima
        from skimage.segmentation import watershed

        height, width = self.shape
        scale = min((LARGEST_FLOOD / (height * width)) ** 0.5, 1.0)
        rows, columns = scaled(height, width, scale)
        maps = self.resized(rows, columns).probabilities
        interior = np.pad(maps[:, :, self.classes.index(self.subject)], 1)
        inside = np.pad(maps[:, :, self.classes.index("background")] < 0.5, 1)
        distances = [distance_transform_edt(interior > level) for level in INTERIOR_LEVELS]
        depth = gaussian_filter(np.mean(distances, axis=0), 1)  # roughness of the pixel grid
        seeds = (h_maxima(depth, NECK) > 0) & (depth >= NECK) & inside
        instances = watershed(-depth, label(seeds, connectivity=2), mask=inside)[1:-1, 1:-1]
        return scale_numbers(instances, height, width)

    def regions(self) -> NDArray[np.uint8]:
        """The single pets: `(height, width)` uint8, 0 background, else 1 to n by falling area.

        They are the connected regions of the foreground that are large enough, divided where only a
        thin neck connects two parts, as with two pets that touch.
        """
        from skimage.segmentation import expand_labels

        height, width = self.shape
        rows, columns = reduced_size(height, width, REGION_SIDE)
        plane = _plane(self.answer, self.classes.index(self.subject))
        interior = np.asarray(plane.resize((columns, rows), BILINEAR))
        inside = self.resized(rows, columns).foreground() > 0.5
        window = _window(inside)
        parts = np.zeros(inside.shape, np.int32)
        parts[window] = _part(inside[window], interior[window])
        areas = np.bincount(parts.ravel())[1:]
        smallest = max(SMALLEST_OF_PHOTO * parts.size, SMALLEST_OF_LARGEST * max(areas, default=0))
        order = [index for index in np.argsort(-areas, kind="stable") if areas[index] >= smallest]
        ranks = np.zeros(len(areas) + 1, np.int32)
        ranks[np.array(order, int) + 1] = np.arange(1, len(order) + 1)
        # A pixel at the mask's edge may have fallen between the pixels of the small mask.
        kept = np.zeros(parts.shape, np.uint8)  # each covers at least a hundredth, so there are few
        near = ranks[parts[window]]
        kept[window] = np.where(parts[window] > 0, near, expand_labels(near, distance=2))
        if not kept.any():
            return np.zeros((height, width), np.uint8)
        image = Image.fromarray(kept)
        regions = np.array(image.resize((width, height), Image.Resampling.NEAREST))
        ramp = self._ramp()
        for strip in strips(height, width, STRIP):
            regions[strip] *= scaled_rows(ramp, strip, height, width) > 0.5
        return regions


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

    box: tuple[int, int, int, int]
    window: tuple[int, int, int, int]
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


def averaged(whole: Segmentation, looks: Sequence[Look]) -> Segmentation:
    """A photo's segmentation, averaged with what closer looks at its pets have seen.

    The larger a look shows its part of the photo, the more it counts; one that shows it smaller
    than the whole photo does is left out. Towards the edge of its window, beyond which it has seen
    nothing, a look counts less and less.

    Parameters
    ----------
    whole
        The answer to the photo as a whole.
    looks
        Of the same model at the same photo.
    """
    height, width = whole.shape
    rows, columns = whole.answer.shape[:2]
    total = whole.answer.copy()
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
        part = _scale(look.answer, len(down.weights), len(across.weights), box)
        total[down.places, across.places] += weight * part
        weights[down.places, across.places] += weight
    return Segmentation(total / weights, whole.classes, whole.size)


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


def one_inside(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    """Whether nearly all of the smaller of two boxes is inside the larger.

    This is so for a head and the whole animal. The mask of a half-hidden pet often covers the other
    pet too, but its box ends elsewhere.
    """
    wide, high = (
        min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis]) for axis in (0, 1)
    )
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide > 0 and high > 0 and wide * high > BOX_INSIDE * min(areas)


def _nearness(
    shape: tuple[int, ...], box: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """1 around the centre of a box, falling to 0 slightly outside it: `shape` float32."""
    left, top, right, bottom = box
    y, x = np.ogrid[: shape[0], : shape[1]]
    across = np.abs(2 * x - left - right + 1) / max(right - left, 1)
    down = np.abs(2 * y - top - bottom + 1) / max(bottom - top, 1)
    return np.clip(2.2 - 1.6 * np.maximum(across, down), 0, 1).astype(np.float32)


def shares(mask: NDArray[np.uint8], classes: Sequence[str]) -> dict[str, float]:
    """Share of a mask that each class covers, in [0, 1]."""
    counts = Image.fromarray(mask).histogram()[1:]
    return {name: count / mask.size for name, count in zip(classes, counts, strict=False)}


def subject(classes: Sequence[str]) -> str:
    """The first class that is neither background nor border."""
    return next(name for name in classes if name not in ("background", "border"))


def close_up(box: tuple[int, int, int, int], height: int, width: int) -> tuple[int, int, int, int]:
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


def _window(inside: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The window in which `regions` has something to do; processing less takes less time.

    The true pixels get a margin as wide as the smoothing, so that the result stays the same.
    """
    if not inside.any():
        return slice(0), slice(0)
    down, across = (
        slice(max(int(places[0]) - SMOOTHING_REACH, 0), int(places[-1]) + 1 + SMOOTHING_REACH)
        for places in (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    )
    return down, across


def _part(inside: NDArray[np.bool_], interior: NDArray[np.float32]) -> NDArray[np.int32]:
    """Label the parts of a mask, 1 to n: unconnected parts, and parts connected by a thin neck.

    As in `instances`, but peaks of the depth are compared by ratio: a part counts if the path to a
    deeper one leads through a neck of less than `THINNEST_NECK` of its own depth.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.measure import label
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    depth = gaussian_filter(distance_transform_edt(np.pad(interior > 0.5, 1)), 1)
    relief = np.log(np.maximum(depth, 0.5))
    seeds = label((h_maxima(relief, -np.log(THINNEST_NECK)) > 0) & (depth >= 1), connectivity=2)
    regions = label(np.pad(inside, 1), connectivity=2)
    parts = watershed(-relief, seeds, mask=regions > 0)
    # Seeds of small parts are removed, and their neighbours flood their place.
    areas = np.bincount(parts.ravel(), minlength=seeds.max() + 1)
    peaks = np.flatnonzero(np.bincount(seeds.ravel()))[1:]
    region_of = {peak: regions[seeds == peak][0] for peak in peaks}
    region_areas = np.bincount(regions.ravel())
    kept = [peak for peak in peaks if areas[peak] >= SMALLEST_PART * region_areas[region_of[peak]]]
    if len(kept) < len(peaks):
        seeds[~np.isin(seeds, kept)] = 0
        parts = watershed(-relief, seeds, mask=regions > 0)
    # A region without a seed is one part.
    alone = (regions > 0) & (parts == 0)
    return (parts + np.where(alone, regions + parts.max(), 0))[1:-1, 1:-1].astype(np.int32)


def at_photo_size(
    small: NDArray[np.float32], classes: tuple[str, ...], spec: InputSpec, height: int, width: int
) -> Segmentation:
    """Turn a network's answer to one photo into the photo's segmentation.

    Parameters
    ----------
    small
        `(rows, columns, classes)` float32 probabilities of the whole input, as of `Segmenter.run`.
    classes
        Names of the classes, in the order of the last axis.
    spec
        How the photo was prepared for the network.
    height, width
        The photo's own size.
    """
    return Segmentation(without_padding(small, spec, height, width), classes, (height, width))


def without_padding(
    answer: NDArray[np.float32], spec: InputSpec, height: int, width: int
) -> NDArray[np.float32]:
    """The part of a network's answer that shows the photo.

    The parameters are those of `at_photo_size`.
    """
    down, across = (
        places * side / padded
        for places, side, padded in zip(
            answer.shape[:2],
            scaled_size(height, width, spec),
            input_size(height, width, spec),
            strict=True,
        )
    )
    rows, columns = math.ceil(down), math.ceil(across)
    if (rows, columns) == (down, across):
        return answer[:rows, :columns]
    # In an answer that is smaller than the input, the photo may end within a place.
    return _scale(answer, rows, columns, (0, 0, across, down))


class Segmenter:
    """A mask model ready to use."""

    def __init__(self, card: Card, network: Network) -> None:
        self.card = card
        self.classes = tuple(label.name for label in card.labels)
        self._network = network

    @property
    def device(self) -> str:
        """Where the model runs, "CPU" or "GPU"."""
        return self._network.device

    @property
    def any_size(self) -> bool:
        """Whether the network takes inputs of other sizes than its card's."""
        rows = 2 if self.card.input.layout == "NCHW" else 1
        return self._network.input_shape[rows : rows + 2] == (None, None)

    def predict(self, photo: Photo | Image.Image) -> Segmentation:
        """Segment a photo as a whole.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB, or the same as a Pillow image.

        Examples
        --------
        >>> from models.images import open_photo
        >>> segmentation = load("pet").predict(open_photo("examples/cat_chelsea.png"))
        >>> segmentation.probabilities.shape
        (300, 451, 3)
        """
        image = as_image(photo)
        (small,) = self.run(prepare(image, self.card.input))
        return at_photo_size(small, self.classes, self.card.input, image.height, image.width)

    def look_closer(self, photo: Photo | Image.Image, box: tuple[int, int, int, int]) -> "Look":
        """Segment the surroundings of one pet, seen larger than in the whole photo.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB, or the same as a Pillow image.
        box
            `(left, top, right, bottom)` around the pet, in pixels of the photo.
        """
        spec = self.card.close_input
        image = as_image(photo)
        window = left, top, right, bottom = close_up(box, image.height, image.width)
        seen = resize_photo(image, spec, window)

        def inside(rows: int, columns: int) -> tuple[float, float, float, float]:
            """The box in the window when that has so many rows and columns."""
            across, down = columns / (right - left), rows / (bottom - top)
            return (
                (box[0] - left) * across,
                (box[1] - top) * down,
                (box[2] - left) * across,
                (box[3] - top) * down,
            )

        if self.card.pointing:
            seen = point_out(seen, inside(*scaled_size(bottom - top, right - left, spec)))
        (small,) = self.run(np.ascontiguousarray(normalize(seen[np.newaxis], spec)))
        found = at_photo_size(small, self.classes, spec, bottom - top, right - left)
        if self.card.pointing:
            return Look(box, window, found.belonging(None))
        return Look(box, window, found.belonging(inside(*found.answer.shape[:2])), found.answer)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Segment a prepared batch.

        Returns
        -------
        `(batch, rows, columns, classes)` float32 probabilities; rows and columns are those of the
        input, or as many parts of it, such as half as many.
        """
        output = self._network.run(batch)
        return np.moveaxis(output, 1, 3) if self.card.output_layout == "NCHW" else output


def scale_numbers(numbers: NDArray[np.integer], height: int, width: int) -> NDArray[np.int32]:
    """Scale an array of labels, which must not be mixed: each pixel takes the nearest one."""
    image = Image.fromarray(numbers.astype(np.int32))
    return np.array(image.resize((width, height), Image.Resampling.NEAREST))


def _scale(
    maps: NDArray[np.float32],
    height: int,
    width: int,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.float32]:
    """Scale `(h, w, classes)` probabilities, or a box of them, to `(height, width, classes)`.

    They are interpolated bilinearly. In memory, each class is one plane: they are written and read
    in this order.
    """
    planes = np.empty((maps.shape[2], height, width), np.float32)
    for index, plane in enumerate(planes):
        plane[:] = np.asarray(_plane(maps, index).resize((width, height), BILINEAR, box))
    return np.moveaxis(planes, 0, 2)


def _plane(maps: NDArray[np.float32], index: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(maps[:, :, index]))


@cache
def load(name: str = "pet") -> Segmenter:
    """Load a mask model once; later calls return the same one.

    Raises
    ------
    models.cards.ModelError
        When the model is missing or damaged.
    """
    return Segmenter(*store.load(name, "segmentation"))
