"""Segments a pet (or another subject): a probability per class and pixel, at photo size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import store, watershed
from models.cards import Card
from models.images import Photo
from models.lazy import lazy
from models.looks import Look, belonging, close_up, meet, point_out
from models.preprocessing import (
    InputSpec,
    as_image,
    input_size,
    normalize,
    prepare,
    resize_photo,
    scaled_size,
)
from models.regions import Box
from models.runtime import Network
from models.scaling import (
    plane_of,
    reduced_size,
    scale_maps,
    scale_numbers,
    scaled,
    scaled_rows,
    strips,
)
from models.turning import Turn, turn_array

BILINEAR = Image.Resampling.BILINEAR
STRIP = 500_000  # pixels decided at a time


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
        return self.answer if self.size is None else scale_maps(self.answer, *self.size)

    @lazy
    def mask(self) -> NDArray[np.uint8]:
        """`(height, width)` uint8: 1 for the first class, 2 for the second, and so on.

        For the pet model these are the data set's values: 1 pet, 2 background, 3 border.
        """
        height, width = self.shape
        planes = [plane_of(self.answer, index) for index in range(len(self.classes))]
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

    def _ramp(self) -> Image.Image:
        """Subject plus half the border, stretched, at the answer's size and not yet clipped."""
        ramp = self.answer[:, :, self.classes.index(self.subject)] * np.float32(2)
        if "border" in self.classes:
            ramp += self.answer[:, :, self.classes.index("border")]
        ramp -= np.float32(0.5)
        return Image.fromarray(ramp)

    def instances(self) -> NDArray[np.int32]:
        """Separate the foreground into objects: `(height, width)` int32, 0 background, else 1 to n.

        See `models.watershed.instances`.
        """
        height, width = self.shape
        scale = min((watershed.LARGEST_FLOOD / (height * width)) ** 0.5, 1.0)
        maps = self.resized(*scaled(height, width, scale)).probabilities
        interior = maps[:, :, self.classes.index(self.subject)]
        inside = maps[:, :, self.classes.index("background")] < 0.5
        return scale_numbers(watershed.instances(interior, inside), height, width)

    def regions(self) -> NDArray[np.uint8]:
        """The single pets: `(height, width)` uint8, 0 background, else 1 to n by falling area.

        See `models.watershed.pets`.
        """
        height, width = self.shape
        rows, columns = reduced_size(height, width, watershed.REGION_SIDE)
        plane = plane_of(self.answer, self.classes.index(self.subject))
        interior = np.asarray(plane.resize((columns, rows), BILINEAR))
        inside = self.resized(rows, columns).foreground() > 0.5
        small = watershed.pets(interior, inside)
        if not small.any():
            return np.zeros((height, width), np.uint8)
        image = Image.fromarray(small)
        regions = np.array(image.resize((width, height), Image.Resampling.NEAREST))
        ramp = self._ramp()
        for strip in strips(height, width, STRIP):
            regions[strip] *= scaled_rows(ramp, strip, height, width) > 0.5
        return regions


def shares(mask: NDArray[np.uint8], classes: Sequence[str]) -> dict[str, float]:
    """Share of a mask that each class covers, in [0, 1]."""
    counts = Image.fromarray(mask).histogram()[1:]
    return {name: count / mask.size for name, count in zip(classes, counts, strict=False)}


def subject(classes: Sequence[str]) -> str:
    """The first class that is neither background nor border."""
    return next(name for name in classes if name not in ("background", "border"))


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
    return scale_maps(answer, rows, columns, (0, 0, across, down))


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

    def glance(self, photo: Photo | Image.Image) -> Segmentation:
        """Segment a photo as a whole in the time of a closer look, and as coarsely.

        The parameter is that of `predict`. It shows where there may be pets.
        """
        spec = self.card.close_input
        image = as_image(photo)
        (small,) = self._answer(prepare(image, spec))
        return at_photo_size(small, self.classes, spec, image.height, image.width)

    def look_closer(self, photo: Photo | Image.Image, box: Box, others: Sequence[Box] = ()) -> Look:
        """Segment the surroundings of one pet, seen larger than in the whole photo.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB, or the same as a Pillow image.
        box
            `(left, top, right, bottom)` around the pet, in pixels of the photo.
        others
            The same around the photo's other pets.
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
        (small,) = self._answer(np.ascontiguousarray(normalize(seen[np.newaxis], spec)))
        answer = without_padding(small, spec, bottom - top, right - left)
        foreground = Segmentation(answer, self.classes).foreground()
        if self.card.pointing:
            return Look(box, window, belonging(foreground))
        alone = not any(meet(window, other) for other in others)
        mine = belonging(foreground, inside(*foreground.shape), alone)
        return Look(box, window, mine, answer)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Segment a prepared batch of whole photos, and their mirror images if the card says so.

        Returns
        -------
        `(batch, rows, columns, classes)` float32 probabilities; rows and columns are those of the
        input, or as many parts of it, such as half as many.
        """
        if not self.card.mirror:
            return self._answer(batch)
        across = 3 if self.card.input.layout == "NCHW" else 2
        mirrored = self._answer(np.ascontiguousarray(np.flip(batch, across)))
        return (self._answer(batch) + mirrored[:, :, ::-1]) * np.float32(0.5)

    def _answer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's answers to a prepared batch, as `run` returns them."""
        output = self._network.run(batch)
        return np.moveaxis(output, 1, 3) if self.card.output_layout == "NCHW" else output


@cache
def load(name: str = "pet") -> Segmenter:
    """Load a mask model once; later calls return the same one.

    Raises
    ------
    models.cards.ModelError
        When the model is missing or damaged.
    """
    return Segmenter(*store.load(name, "segmentation"))
