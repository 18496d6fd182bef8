"""From a photo to the pets in it: where each is, and which breed."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat

from models import breeds, detection, segmentation, store, thresholding
from models.breeds import Breed, BreedClassifier, Classification
from models.detection import Detector
from models.images import Photo
from models.picture import Values
from models.segmentation import Segmenter

Box = tuple[int, int, int, int]

MOST_PETS = 20  # of one photo that are looked at
MARGIN = 0.35  # of the box's longer side, around what the classifier sees
LONGEST = 2.0  # ratio of the sides of what it sees, where the photo has room


@dataclass(frozen=True)
class Pet:
    """One pet of a photo.

    Attributes
    ----------
    box
        `(left, top, right, bottom)` in pixels of the photo, right and bottom exclusive.
    mask
        `(height, width)` bool at the photo's size.
    crop
        `(left, top, right, bottom)` of what the classifier saw: the pet with its surroundings.
    seen
        What it saw: that part of the photo, with other pets painted over.
    answer
        What the classifier says of it.
    known
        Probability that it is a pet of one of the breeds, in [0, 1], as against any other thing;
        None of a model without a rule for that.
    refused
        Whether that is so little that the breeds are not to be believed.
    """

    box: Box
    mask: NDArray[np.bool_]
    crop: Box
    seen: Photo
    answer: Classification
    known: float | None = None
    refused: bool = False

    @property
    def breeds(self) -> list[Breed]:
        """The five most probable breeds, best first."""
        return self.answer.top()

    @property
    def share(self) -> float:
        """Part of the photo that the pet covers, in [0, 1]."""
        return float(np.count_nonzero(self.mask) / self.mask.size)


def load() -> list[Segmenter | BreedClassifier | Detector]:
    """Load the default models, so that no photo waits for them.

    Raises
    ------
    models.store.ModelError
        When a model is missing or damaged.
    """
    detector = detection.default()
    return [
        segmentation.load(store.default("segmentation")),
        breeds.load(store.default("classification")),
        *([detector] if detector else []),
    ]


def analyze(photo: Photo) -> list[Pet]:
    """Find the pets of a photo and name the breed of each, the largest pet first.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB.

    Raises
    ------
    models.store.ModelError
        When a model is missing or damaged.

    Examples
    --------
    >>> from models.images import open_photo
    >>> (cat,) = analyze(open_photo("examples/cat_chelsea.png"))
    >>> cat.breeds[0].species
    'cat'
    """
    segmenter = segmentation.load(store.default("segmentation"))
    classifier = breeds.load(store.default("classification"))
    regions, told_apart = find(photo, segmenter, lambda: segmenter.predict(photo).regions())
    return recognize(photo, regions, classifier, told_apart)[0]


def find(
    photo: Photo, segmenter: Segmenter, whole: Callable[[], NDArray[np.uint8]]
) -> tuple[NDArray[np.uint8], bool]:
    """Find the pets of a photo one by one: boxes first, then a closer look into each.

    So a small pet is seen as large as one that fills the photo, and pets that overlap are told
    apart.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB.
    segmenter
        The mask model that looks closer.
    whole
        Gives the regions of the photo as a whole, `(height, width)` as of `Segmentation.regions`:
        they count where no pet is detected, or there is no detector.

    Returns
    -------
    `(height, width)` uint8: 0 background, else 1 to n by falling area; and whether a detector told
    the pets apart.

    Raises
    ------
    models.store.ModelError
        When a model is missing or damaged.
    """
    detector = detection.default()
    found = detector.detect(photo)[:MOST_PETS] if detector else []
    if found:
        looks = [segmenter.look_closer(photo, each.box) for each in found]
        regions = segmentation.settle(looks, *photo.shape[:2])
        if regions.any():
            return regions, True
    return whole(), False


def recognize(
    photo: Photo, regions: NDArray[np.integer], classifier: BreedClassifier, told_apart: bool
) -> tuple[list[Pet], NDArray[np.integer]]:
    """Name the pets that were found, and join what a mask model took apart by mistake.

    A body without its head, as behind a ball of wool, is no pet of any breed by itself. Such a part
    is joined with one that it meets if together they are more surely a pet than either is. A
    detector knows better: of two dogs side by side, one may well be of no known breed.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB.
    regions
        `(height, width)`: 0 background, 1 to n the pets, as of `Segmentation.regions`.
    classifier
        What names them.
    told_apart
        Whether a detector told them apart, so that none are joined.

    Returns
    -------
    The pets, the largest first, and the regions with their numbers.
    """
    pets = name_pets(photo, regions, classifier)
    return (pets, regions) if told_apart else _joined(photo, pets, regions, classifier)


def _joined(
    photo: Photo, pets: list[Pet], regions: NDArray[np.integer], classifier: BreedClassifier
) -> tuple[list[Pet], NDArray[np.integer]]:
    """As `recognize`, of pets that have their names; those that are not joined keep them."""
    for one, other in combinations(range(len(pets)), 2):
        parts = pets[one], pets[other]
        if any(pet.refused for pet in parts) and _meet(parts[0].box, parts[1].box):
            joined = np.where(regions == other + 1, one + 1, regions)
            whole = _name(photo, joined, one + 1, classifier)
            if (whole.known or 0) > max(pet.known or 0 for pet in parts):
                left = {number: pet for number, pet in enumerate(pets, 1) if number != other + 1}
                left[one + 1] = whole
                order = sorted(left, key=lambda number: -np.count_nonzero(left[number].mask))
                ranks = np.zeros(len(pets) + 1, regions.dtype)
                ranks[order] = np.arange(1, len(order) + 1)
                # Without checks of the indices it takes a tenth of the time.
                numbered = np.take(ranks, joined, mode="clip")
                return _joined(photo, [left[number] for number in order], numbered, classifier)
    return pets, regions


def name_pets(photo: Photo, regions: NDArray[np.integer], classifier: BreedClassifier) -> list[Pet]:
    """Name the breed of each region, 1 to n of `(height, width)`, as of one pet.

    See `recognize`, which doubts the regions.
    """
    count = int(regions.max())
    return [_name(photo, regions, number, classifier) for number in range(1, count + 1)]


def _name(
    photo: Photo, regions: NDArray[np.integer], number: int, classifier: BreedClassifier
) -> Pet:
    mask = regions == number
    box = bounding_box(mask)
    left, upper, right, lower = crop = crop_box(box, *photo.shape[:2])
    seen = _alone(photo[upper:lower, left:right], regions[upper:lower, left:right], number)
    answer = classifier.classify(seen)
    rule = classifier.card.refusal
    known = rule.probability(np.count_nonzero(mask) / mask.size, answer.entropy) if rule else None
    refused = rule is not None and known is not None and known < rule.threshold
    return Pet(box, mask, crop, seen, answer, known, refused)


def _meet(one: Box, other: Box) -> bool:
    """Whether two boxes overlap or touch."""
    return all(
        max(one[axis], other[axis]) <= min(one[axis + 2], other[axis + 2]) for axis in (0, 1)
    )


def _alone(photo: Photo, regions: NDArray[np.integer], number: int) -> Photo:
    """The photo with the pets of other numbers painted over in the mean colour of the rest."""
    others = (regions > 0) & (regions != number)
    if not others.any():
        return photo
    alone = Image.fromarray(photo)
    mean = ImageStat.Stat(alone, Image.fromarray(~others)).mean
    alone.paste(tuple(int(value) for value in mean), mask=Image.fromarray(others))
    return np.asarray(alone)


def describe(
    photo: Photo,
    classes: int = 3,
    pets: Sequence[Pet] | None = None,
    values: Values | None = None,
) -> dict[str, Any]:
    """All that is found in a photo, ready for JSON.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB.
    classes
        Number of brightness classes.
    pets
        What `analyze` found, if that was asked before.
    values
        What is counted, where that is not the photo: `Picture.counted`.

    Returns
    -------
    `width`, `height`; `cuts`, the grey values in the file's own numbers that part the brightness
    classes, or null where there are too few different ones; and `pets`, each with its `box` (left,
    top, right, bottom), its `share` of the photo, five `breeds` with name, species and probability,
    how probably it is `known`, one of the breeds at all, and whether it is `refused` because that
    is too little.

    Raises
    ------
    models.store.ModelError
        When a model is missing or damaged.
    """
    try:
        gray = thresholding.gray_channel(photo if values is None else values)
        cuts = thresholding.multi_otsu(gray, classes).tolist()
    except thresholding.ThresholdError:
        cuts = None
    return {
        "width": photo.shape[1],
        "height": photo.shape[0],
        "cuts": cuts,
        "pets": [
            {
                "box": pet.box,
                "share": pet.share,
                "known": pet.known,
                "refused": pet.refused,
                "breeds": [asdict(breed) for breed in pet.breeds],
            }
            for pet in (analyze(photo) if pets is None else pets)
        ],
    }


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """The smallest box around the true pixels of a `(height, width)` mask that has some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def crop_box(box: Box, height: int, width: int) -> Box:
    """What the classifier sees of a pet: its box with a margin, not too narrow, inside the photo.

    The classifier squashes it to a square, and was trained on whole photos.
    """
    left, upper, right, lower = box
    margin = MARGIN * max(right - left, lower - upper)
    wide, high = right - left + 2 * margin, lower - upper + 2 * margin
    wide, high = max(wide, high / LONGEST), max(high, wide / LONGEST)
    (left, right), (upper, lower) = (
        _span((start + end) / 2, length, limit)
        for start, end, length, limit in ((left, right, wide, width), (upper, lower, high, height))
    )
    return left, upper, right, lower


def _span(middle: float, length: float, limit: int) -> tuple[int, int]:
    """The interval of this length around the middle, moved and cut to lie in [0, limit]."""
    length = min(length, limit)
    start = min(max(middle - length / 2, 0), limit - length)
    return round(start), max(round(start + length), round(start) + 1)
