"""A visitor's photo, and everything that is found in it."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import (
    breeds,
    correcting,
    drawing,
    framing,
    matting,
    measuring,
    micrographs,
    pipeline,
    previews,
    segmentation,
    store,
    thresholding,
)
from models.correcting import Corrector, Stroke
from models.images import Photo
from models.looks import Look
from models.picture import AXES, FIRST, PhotoError, Picture, Place
from models.pipeline import Pet
from models.preprocessing import as_image, scaled_size
from models.regions import numbered, of_numbers
from models.scaling import scale_numbers
from models.segmentation import Segmenter
from models.thresholding import Channel, Histogram, Settings
from models.turning import Turn, turn_array
from serving import decoding
from ui.memory import Memory

memory = Memory(100_000_000)  # for the results of all visitors' uploads

Result = TypeVar("Result")


@dataclass(frozen=True)
class Instances:
    """The objects that a mask model found: number, outlines in the preview, and measurements.

    `numbers` has the label of each pixel's object at full size, and 0 for the background; `mask`
    has each pixel's class.
    """

    count: int
    outlines: NDArray[np.bool_]
    objects: measuring.Objects
    numbers: NDArray[np.integer]
    mask: NDArray[np.uint8]


@dataclass
class Search:
    """A search for objects: how much of it is done, in [0, 1], and whether it should stop."""

    share: float = 0.0
    stopped: bool = False

    def go_on(self, share: float) -> None:
        """Record the progress; raises `PhotoError` if the search should stop."""
        self.share = share
        if self.stopped:
            raise PhotoError("search_stopped")


@dataclass(frozen=True)
class MaskResult:
    """A mask model's answer for an upload's preview.

    Only models that separate objects give `instances`.
    """

    segmentation: segmentation.Segmentation
    instances: Instances | None
    seconds: float
    device: str


@dataclass(frozen=True)
class Looks:
    """A mask model's closer looks at the pets detected in an upload's preview."""

    looks: Sequence[Look]
    seconds: float


@dataclass(frozen=True)
class PetsResult:
    """The pets of an upload's preview."""

    pets: Sequence[Pet]
    seconds: float
    device: str

    @property
    def any_known(self) -> bool:
        """Whether the breeds of at least one of them are not refused."""
        return any(not pet.refused for pet in self.pets)

    @property
    def turn(self) -> Turn:
        """Degrees, clockwise, by which the photo must be turned to be upright."""
        return pipeline.turn_of(self.pets)


@dataclass(frozen=True)
class BreedResult:
    """The most probable breeds of an upload as a whole, best first, and what else it may show."""

    ranking: Sequence[breeds.Breed]
    otherwise: breeds.Otherwise | None
    seconds: float
    device: str


@dataclass(frozen=True)
class Edge:
    """A visitor's choices for a cut-out's edge.

    Attributes
    ----------
    only
        Numbers of the pets that stay; all of them if it is empty.
    grow, softness
        As for `framing.adjust_edge`.
    """

    only: tuple[int, ...] = ()
    grow: float = 0.0
    softness: float = 0.0


@dataclass(frozen=True)
class CutOutResult:
    """The pet of an upload's preview: `(height, width, 4)` uint8 RGBA."""

    cut_out: NDArray[np.uint8]
    seconds: float


@dataclass(frozen=True)
class _Decoded:
    preview: Photo
    whole: Photo | None  # if it had to be decoded for the preview
    picture: Picture  # with a photo at the preview's detail
    values: NDArray[Any] | None  # if they differ from the photo's


@dataclass(frozen=True)
class Upload:
    """An uploaded photo, and everything that is found in it.

    Each result is computed on first use, once for all tabs, and kept for a while. Arrays must not
    be modified.

    Every result that needs the file raises `PhotoError` if it is unusable, or was deleted after
    long disuse.

    Attributes
    ----------
    path
        Where Gradio stores the file, in a folder named after the content.
    place
        Which picture to use if the file has several.
    strokes
        The visitor's corrections of its mask.
    turn
        Degrees, clockwise, by which the visitor turned it.
    """

    path: str
    memory: Memory = field(default=memory, repr=False, compare=False)
    place: Place = FIRST
    strokes: tuple[Stroke, ...] = ()
    turn: Turn = 0

    @property
    def key(self) -> str:
        """A name that distinguishes it from other uploads and says nothing about the photo.

        Strokes do not change it.
        """
        folder = Path(self.path).parent.name
        chosen = [(name, getattr(self.place, name)) for name in AXES]
        parts = (f"{name}{index}" for name, index in chosen if index is not None)
        return "-".join([folder, *parts, *([f"turn{self.turn}"] if self.turn else [])])

    @property
    def name(self) -> str:
        """The file's name without its ending, for what is saved of it."""
        return Path(self.path).stem

    @property
    def picture(self) -> Picture:
        """The picture with its file's own values; its photo may be reduced."""
        return self._decoded.picture

    @property
    def preview(self) -> Photo:
        """The photo at viewing size, as networks get it, too; saved files have its own size."""
        return self._decoded.preview

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole photo in pixels."""
        return self._decoded.picture.size

    @property
    def whole(self) -> Photo:
        """The photo at full size."""
        decoded = self._decoded
        if decoded.whole is not None:
            return decoded.whole
        return self._once("whole", lambda: _read_only(_read(self).photo))

    def gray(self, channel: Channel) -> NDArray[Any]:
        """One channel at full size in the file's own values, `(height, width)`."""
        return self._once(("gray", channel), lambda: _gray(self, channel))

    def histogram(self, channel: Channel) -> Histogram:
        """How often each grey value occurs in a channel at full size."""
        return self._once(
            ("histogram", channel), lambda: thresholding.histogram(self.gray(channel))
        )

    def prepared(self, settings: Settings) -> NDArray[Any]:
        """The channel to threshold with these settings, blurred if they say so."""
        if not settings.blur:
            return self.gray(settings.channel)
        name = ("prepared", settings.channel, settings.blur)
        return self._once(name, lambda: thresholding.prepare(self._values, settings))

    @property
    def coloured(self) -> bool:
        """Whether the file's values are red, green and blue."""
        return self._values.ndim == 3

    @property
    def number_type(self) -> np.dtype[Any]:
        """Type of the file's own values."""
        return self._values.dtype

    def mask(self, model: str) -> MaskResult:
        """A mask model's result for the photo, with the visitor's corrections."""
        if not self.strokes or not self.correctable(model):
            return self._once(("mask", model), lambda: _segment(self, model))
        return self._once(("mask", model, self.strokes), lambda: _correct(self, model))

    def looks(self, segmenter: Segmenter, preview: Image.Image) -> Looks:
        """A mask model's closer looks at the pets, which their outlines and the mask need."""
        name = ("looks", segmenter.card.name)
        return self._once(name, lambda: _look_closer(preview, segmenter))

    @property
    def uncorrected(self) -> "Upload":
        """The same without the visitor's corrections."""
        return replace(self, strokes=()) if self.strokes else self

    def correctable(self, model: str) -> bool:
        """Whether strokes can correct this mask model's result."""
        card = segmentation.load(model).card
        classes = [label.name for label in card.labels]
        return not card.instances and correcting.correctable(classes)

    def search(self, model: str) -> Search:
        """The search for objects behind `mask`; it stays stopped until `stopped` is reset."""
        return self._once(("search", model), Search)

    def is_large(self, model: str) -> bool:
        """Whether a mask model looks for objects in it window by window, which takes a while."""
        card = store.read_card(model)
        return card.instances and scaled_size(*self.size, card.input) != self.size

    @property
    def pets(self) -> PetsResult:
        """The pets with their breeds."""
        return self._once(("pets", self.strokes), lambda: _recognize(self))

    @property
    def breed(self) -> BreedResult:
        """The breeds that the whole photo looks like."""
        return self._once("breed", lambda: _classify(self))

    @property
    def ranking(self) -> Sequence[breeds.Breed]:
        """The breeds of its only pet, best first; else those of the whole photo."""
        found = self.pets.pets
        return found[0].breeds if len(found) == 1 else self.breed.ranking

    def cut_out(self, edge: Edge = Edge()) -> CutOutResult:
        """The pet cut out of the preview."""
        return self._once(("cut-out", self.strokes, edge), lambda: _cut_preview(self, edge))

    def whole_mask(self, model: str) -> NDArray[np.uint8]:
        """The mask at full size, `(height, width)`; not kept."""
        found = self.mask(model)
        if found.instances is not None:
            return found.instances.mask
        return found.segmentation.resized(*self.size).mask

    def whole_cut_out(self, edge: Edge = Edge()) -> NDArray[np.uint8]:
        """The pet cut out at full size, `(height, width, 4)` uint8 RGBA; not kept."""
        return _cut(self, self.whole, edge)

    @property
    def _values(self) -> NDArray[Any]:
        """The file's own values, `(height, width)` or `(height, width, 3)`."""
        values = self._decoded.values
        return self.whole if values is None else values

    @property
    def _decoded(self) -> _Decoded:
        return self._once("decoded", lambda: _decode(self))

    def _once(self, name: Hashable, compute: Callable[[], Result]) -> Result:
        return self.memory.get((self.path, self.place, self.turn, name), compute)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _read(upload: Upload, side: int = 0) -> Picture:
    return decoding.open_picture(upload.path, side, upload.place).turned(upload.turn)


def _decode(upload: Upload) -> _Decoded:
    picture = _read(upload, previews.SIDE)
    photo = _read_only(picture.photo)
    whole = photo if photo.shape[:2] == picture.size else None
    values = _read_only(np.ascontiguousarray(picture.counted)) if picture.deep else None
    preview = _read_only(previews.preview(photo))
    if not picture.deep:  # not kept if it was decoded for the preview only
        picture = replace(picture, photo=preview, values=preview)
    return _Decoded(preview, whole, picture, values)


def _gray(upload: Upload, channel: Channel) -> NDArray[Any]:
    return _read_only(thresholding.prepare(upload._values, Settings(channel=channel)))


def _look_closer(preview: Image.Image, segmenter: Segmenter) -> Looks:
    start = time.perf_counter()
    looks = pipeline.look_closer(preview, segmenter)
    return Looks(looks, time.perf_counter() - start)


def _segment(upload: Upload, model: str) -> MaskResult:
    segmenter = segmentation.load(model)
    if not segmenter.card.instances:
        image = as_image(upload.preview)
        pets = "pet" in segmenter.classes
        closer = upload.looks(segmenter, image) if pets else Looks((), 0.0)
        start = time.perf_counter()
        result = pipeline.segment(image, segmenter, closer.looks)
        shown = result.resized(*upload.preview.shape[:2])
        seconds = closer.seconds + time.perf_counter() - start
        return MaskResult(shown, None, seconds, segmenter.device)
    # Objects are counted and measured in pixels of the photo, in the file's own values.
    picture = upload.picture
    if not picture.deep:
        picture = replace(picture, photo=upload.whole, values=upload.whole)
    start = time.perf_counter()
    search = upload.search(model)
    search.go_on(0)
    examined = micrographs.examine(picture, segmenter, search.go_on)
    seconds = time.perf_counter() - start
    found = examined.found
    shown = found.segmentation.resized(*upload.preview.shape[:2])
    outlines = drawing.instance_outlines(scale_numbers(found.numbers, *shown.shape))
    count = len(examined.objects)
    numbers = _read_only(found.numbers.astype(np.min_scalar_type(count)))
    mask = _read_only(found.mask)
    instances = Instances(count, outlines, examined.objects, numbers, mask)
    return MaskResult(shown, instances, seconds, segmenter.device)


def _correct(upload: Upload, model: str) -> MaskResult:
    found = upload.uncorrected.mask(model)
    corrector = upload._once(
        ("corrector", model), lambda: Corrector(found.segmentation, upload.preview)
    )
    start = time.perf_counter()
    corrected = corrector.correct(upload.strokes)
    seconds = found.seconds + time.perf_counter() - start
    return MaskResult(corrected, None, seconds, found.device)


def _recognize(upload: Upload) -> PetsResult:
    photo = upload.preview  # about the size at which the networks see the smallest pet
    model = store.default("segmentation")
    segmenter, classifier = segmentation.load(model), breeds.load(store.default("classification"))
    image = as_image(photo)
    seconds, start = 0.0, time.perf_counter()
    if upload.strokes and upload.correctable(model):
        before, after = (each.mask(model).segmentation for each in (upload.uncorrected, upload))
        seen = upload.uncorrected.pets
        found = numbered([pet.region for pet in seen.pets], *photo.shape[:2])
        numbers = correcting.correct_regions(found, before, after)
        pets = pipeline.name_pets(image, of_numbers(numbers), classifier, seen.turn)
    else:
        closer = upload.looks(segmenter, image)
        seconds, start = closer.seconds, time.perf_counter()
        pets = pipeline.recognize(image, segmenter, classifier, closer.looks)
    return PetsResult(pets, seconds + time.perf_counter() - start, classifier.device)


def _classify(upload: Upload) -> BreedResult:
    classifier = breeds.load(store.default("classification"))
    photo = turn_array(upload.preview, upload.pets.turn)
    start = time.perf_counter()
    answer = classifier.classify(photo)
    return BreedResult(
        answer.top(), answer.otherwise, time.perf_counter() - start, classifier.device
    )


def _cut_preview(upload: Upload, edge: Edge) -> CutOutResult:
    seconds = upload.mask(store.default("segmentation")).seconds
    start = time.perf_counter()
    cut_out = _read_only(_cut(upload, upload.preview, edge))
    return CutOutResult(cut_out, seconds + time.perf_counter() - start)


def _cut(upload: Upload, photo: Photo, edge: Edge) -> NDArray[np.uint8]:
    """The pets of an upload, cut out of a copy of any size."""
    model = store.default("segmentation")
    foreground = upload.mask(model).segmentation.foreground()

    def change(opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if edge.only:
            regions = [pet.region for pet in upload.pets.pets]
            numbers = numbered(regions, *upload.preview.shape[:2])
            opacity = framing.keep_only(opacity, numbers, edge.only)
        return framing.adjust_edge(opacity, edge.grow, edge.softness)

    spec = segmentation.load(model).card.input
    return matting.extract(photo, np.round(foreground * 255).astype(np.uint8), spec, change)
