"""A visitor's photo, and all that is found in it."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from models import breeds, drawing, matting, measuring, pipeline, segmentation, store, thresholding
from models.drawing import reduced
from models.images import Photo
from models.picture import AXES, FIRST, Picture, Place
from models.pipeline import Pet
from models.stains import micrograph
from models.thresholding import Channel, Histogram, Settings
from models.windows import find_objects
from serving import decoding
from ui.memory import Memory

# Pixels of the longer side of what is for looking at; files to keep have the photo's own size. A
# phone's photo has 4,000 or more, and a JPEG is decoded at a quarter of its size in 60 % of the
# time of a half.
PREVIEW_SIDE = 1000

memory = Memory(100_000_000)  # for the results of all visitors' uploads

Result = TypeVar("Result")


@dataclass(frozen=True)
class Instances:
    """How many objects a mask model found, their outlines in the preview, and measurements.

    `numbers` has the number of each pixel's object, in all detail, and 0 for the background.
    """

    count: int
    outlines: NDArray[np.bool_]
    objects: measuring.Objects
    numbers: NDArray[np.integer]


@dataclass(frozen=True)
class MaskResult:
    """What a mask model says of an upload, for its preview.

    `instances` is there for models whose subject comes in several pieces.
    """

    segmentation: segmentation.Segmentation
    instances: Instances | None
    seconds: float
    device: str


@dataclass(frozen=True)
class PetsResult:
    """The pets of an upload, and their numbers at each pixel of its preview."""

    pets: Sequence[Pet]
    regions: NDArray[np.integer]
    seconds: float
    device: str

    @property
    def any_known(self) -> bool:
        """Whether at least one of them is of a breed that the classifier knows."""
        return any(not pet.refused for pet in self.pets)


@dataclass(frozen=True)
class BreedResult:
    """The most probable breeds of an upload as a whole, best first."""

    ranking: Sequence[breeds.Breed]
    seconds: float
    device: str


@dataclass(frozen=True)
class CutOutResult:
    """The pet of an upload's preview: `(height, width, 4)` uint8 RGBA."""

    cut_out: NDArray[np.uint8]
    seconds: float


@dataclass(frozen=True)
class _Decoded:
    preview: Photo
    whole: Photo | None  # where it had to be decoded for the preview
    picture: Picture  # with a photo of the preview's detail
    values: NDArray[Any] | None  # where they are others than the photo's


@dataclass(frozen=True)
class Upload:
    """A photo that was uploaded, and what is found in it.

    Each result is computed when it is first asked for, once for all tabs, and kept for a while.
    Arrays are not to be written to.

    Every result that needs the file raises `PhotoError` where it cannot be used, or was deleted
    because it lay unused for long.

    Attributes
    ----------
    path
        Where Gradio stores the file: in a folder that is named for the content.
    place
        Which of its pictures, of a file with several.
    """

    path: str
    memory: Memory = field(default=memory, repr=False, compare=False)
    place: Place = FIRST

    @property
    def key(self) -> str:
        """A name that tells it from other uploads, and nothing about the photo."""
        folder = Path(self.path).parent.name
        chosen = [(name, getattr(self.place, name)) for name in AXES]
        parts = (f"{name}{index}" for name, index in chosen if index is not None)
        return "-".join([folder, *parts])

    @property
    def picture(self) -> Picture:
        """What its file says of it, with its own numbers; the photo may lack detail."""
        return self._decoded.picture

    @property
    def preview(self) -> Photo:
        """The photo at the size to look at, which has more detail than a network takes in."""
        return self._decoded.preview

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole photo in pixels."""
        return self._decoded.picture.size

    @property
    def whole(self) -> Photo:
        """The photo in all detail."""
        decoded = self._decoded
        if decoded.whole is not None:
            return decoded.whole
        return self._once(
            "whole", lambda: _read_only(decoding.open_picture(self.path, place=self.place).photo)
        )

    def gray(self, channel: Channel) -> NDArray[Any]:
        """One channel in all detail and in the file's own numbers, `(height, width)`."""
        return self._once(("gray", channel), lambda: _gray(self, channel))

    def histogram(self, channel: Channel) -> Histogram:
        """How often each grey value occurs in a channel, in all detail."""
        return self._once(
            ("histogram", channel), lambda: thresholding.histogram(self.gray(channel))
        )

    def prepared(self, settings: Settings) -> NDArray[Any]:
        """What these settings part: a channel, blurred where they say so."""
        if not settings.blur:
            return self.gray(settings.channel)
        name = ("prepared", settings.channel, settings.blur)
        return self._once(name, lambda: thresholding.prepare(self._values, settings))

    @property
    def coloured(self) -> bool:
        """Whether the file's numbers are those of red, green and blue."""
        return self._values.ndim == 3

    @property
    def number_type(self) -> np.dtype[Any]:
        """Of the file's own numbers."""
        return self._values.dtype

    def mask(self, model: str) -> MaskResult:
        """What a mask model says of the photo."""
        return self._once(("mask", model), lambda: _segment(self, model))

    @property
    def pets(self) -> PetsResult:
        """The pets with their breeds."""
        return self._once("pets", lambda: _recognize(self))

    @property
    def breed(self) -> BreedResult:
        """The breeds that the photo as a whole looks like."""
        return self._once("breed", lambda: _classify(self))

    @property
    def cut_out(self) -> CutOutResult:
        """The pet cut out of the preview."""
        return self._once("cut-out", lambda: _cut_preview(self))

    def whole_mask(self, model: str) -> NDArray[np.uint8]:
        """The mask in all detail, `(height, width)`; not kept."""
        return self.mask(model).segmentation.resized(*self.size).mask

    def whole_cut_out(self) -> NDArray[np.uint8]:
        """The pet cut out in all detail, `(height, width, 4)` uint8 RGBA; not kept."""
        return _cut(self, self.whole)

    @property
    def _values(self) -> NDArray[Any]:
        """The file's own numbers, `(height, width)` or `(height, width, 3)`."""
        values = self._decoded.values
        return self.whole if values is None else values

    @property
    def _decoded(self) -> _Decoded:
        return self._once("decoded", lambda: _decode(self.path, self.place))

    def _once(self, name: Hashable, compute: Callable[[], Result]) -> Result:
        return self.memory.get((self.path, self.place, name), compute)


def to_preview(photo: Photo) -> Photo:
    """The photo, reduced where it is clearly larger than need be: a little would only blur it."""
    return reduced(photo, PREVIEW_SIDE) if max(photo.shape) > 1.1 * PREVIEW_SIDE else photo


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _decode(path: str, place: Place) -> _Decoded:
    picture = decoding.open_picture(path, PREVIEW_SIDE, place)
    photo = _read_only(picture.photo)
    whole = photo if photo.shape[:2] == picture.size else None
    values = _read_only(np.ascontiguousarray(picture.counted)) if picture.deep else None
    preview = _read_only(to_preview(photo))
    if not picture.deep:  # what was decoded for the preview alone is not kept
        picture = replace(picture, photo=preview, values=preview)
    return _Decoded(preview, whole, picture, values)


def _gray(upload: Upload, channel: Channel) -> NDArray[Any]:
    return _read_only(thresholding.prepare(upload._values, Settings(channel=channel)))


def _segment(upload: Upload, model: str) -> MaskResult:
    segmenter = segmentation.load(model)
    if not segmenter.card.instances:
        start = time.perf_counter()
        result = segmenter.predict(upload.preview)
        shown = result.resized(*upload.preview.shape[:2])
        return MaskResult(shown, None, time.perf_counter() - start, segmenter.device)
    # Objects are counted and measured in pixels of the photo, in the numbers of the file.
    picture = upload.picture
    if not picture.deep:
        picture = replace(picture, photo=upload.whole, values=upload.whole)
    start = time.perf_counter()
    result, numbers = find_objects(segmenter, micrograph(picture))
    seconds = time.perf_counter() - start
    shown = result.resized(*upload.preview.shape[:2])
    outlines = drawing.instance_outlines(segmentation.scale_numbers(numbers, *shown.shape))
    objects = measuring.measure_objects(
        numbers, picture.values, picture.channels, picture.pixel_size
    )
    count = int(numbers.max())
    kept = numbers.astype(np.min_scalar_type(count))
    instances = Instances(count, outlines, objects, _read_only(kept))
    return MaskResult(shown, instances, seconds, segmenter.device)


def _recognize(upload: Upload) -> PetsResult:
    photo = upload.preview  # here the smallest pet has about the pixels that are looked at
    model = store.default("segmentation")
    segmenter, classifier = segmentation.load(model), breeds.load(store.default("classification"))

    def whole() -> NDArray[np.uint8]:
        found = upload.mask(model)
        if found.instances is None:
            return found.segmentation.regions()
        return np.zeros(photo.shape[:2], np.uint8)

    start = time.perf_counter()
    regions: NDArray[np.integer] = pipeline.find(photo, segmenter, whole)
    pets, regions = pipeline.recognize(photo, regions, classifier)
    return PetsResult(pets, regions, time.perf_counter() - start, classifier.device)


def _classify(upload: Upload) -> BreedResult:
    classifier = breeds.load(store.default("classification"))
    photo = upload.preview
    start = time.perf_counter()
    ranking = classifier.predict(photo)
    return BreedResult(ranking, time.perf_counter() - start, classifier.device)


def _cut_preview(upload: Upload) -> CutOutResult:
    seconds = upload.mask(store.default("segmentation")).seconds
    start = time.perf_counter()
    cut_out = _read_only(_cut(upload, upload.preview))
    return CutOutResult(cut_out, seconds + time.perf_counter() - start)


def _cut(upload: Upload, photo: Photo) -> NDArray[np.uint8]:
    """The pet of an upload, cut out of a copy of any size."""
    model = store.default("segmentation")
    foreground = upload.mask(model).segmentation.foreground()
    return matting.extract(
        photo, np.round(foreground * 255).astype(np.uint8), segmentation.load(model).card.input
    )
