"""From a photo to the pets in it: the place and breed of each."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat

from models import breeds, detection, judging, previews, segmentation, store, thresholding
from models.breeds import Breed, BreedClassifier, Classification, Otherwise
from models.cards import Candidates
from models.detection import Detector
from models.images import Photo
from models.looks import Look, averaged, meet, settle
from models.picture import Values
from models.preprocessing import as_image
from models.regions import Box, Region, enlarged, of_numbers
from models.segmentation import Segmentation, Segmenter
from models.thresholding import Histogram
from models.turning import QUARTERS, Turn, back, turn_box, turn_image

MOST_PETS = 20  # of one photo that are analysed
MOST_JUDGED = 3  # of its largest pets that show whether it is upright
MARGIN = 0.35  # share of the box's longer side, as a margin for the classifier
LONGEST = 2.0  # largest ratio of the sides of its crop, if the photo has room


@dataclass(frozen=True)
class Pet:
    """One pet in a photo.

    Attributes
    ----------
    region
        Its pixels.
    crop
        `(left, top, right, bottom)` of what the classifier saw: the pet with its surroundings.
    others
        The other pets of the photo, which the classifier did not see.
    answer
        The classifier's answer.
    known
        Probability, in [0, 1], that it is a pet of one of the breeds rather than anything else;
        None for a model without such a rule.
    refused
        Whether that is too low to trust the breeds.
    turn
        Degrees, clockwise, by which the photo must be turned for the pet to be upright, as the
        classifier saw it; the same for all pets of a photo. All else is in the photo as it is.
    """

    region: Region
    crop: Box
    others: tuple[Region, ...]
    answer: Classification
    known: float | None = None
    refused: bool = False
    turn: Turn = 0

    @property
    def box(self) -> Box:
        """`(left, top, right, bottom)` in pixels of the photo, right and bottom exclusive."""
        return self.region.box

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`(height, width)` bool at the photo's size."""
        return self.region.mask

    @property
    def breeds(self) -> list[Breed]:
        """The five most probable breeds, best first."""
        return self.answer.top()

    @property
    def otherwise(self) -> Otherwise | None:
        """What it is more probably, if it is refused and the model knows other things too."""
        return self.answer.otherwise if self.refused else None

    @property
    def is_animal(self) -> bool:
        """Whether it is of one of the breeds, or some other dog or cat."""
        otherwise = self.otherwise
        return not self.refused or (otherwise is not None and otherwise.kind in ("dog", "cat"))

    @property
    def share(self) -> float:
        """Share of the photo that the pet covers, in [0, 1]."""
        return self.region.share

    def seen(self, photo: Photo) -> Photo:
        """What the classifier saw of the photo: its crop, with other pets painted over."""
        left, upper, right, lower = self.crop
        alone = _alone(Image.fromarray(photo), self.crop, self.others) if self.others else None
        return photo[upper:lower, left:right] if alone is None else np.asarray(alone)


def load() -> list[Segmenter | BreedClassifier | Detector]:
    """Load the default models, so that no photo waits for them.

    Raises
    ------
    models.cards.ModelError
        When a model is missing or damaged.
    """
    detector = detection.default()
    return [
        segmentation.load(store.default("segmentation")),
        breeds.load(store.default("classification")),
        *([detector] if detector else []),
    ]


def analyze(photo: Photo | Image.Image, preview: Photo | None = None) -> list[Pet]:
    """Find the pets in a photo and name the breed of each, the largest pet first.

    The networks see a preview, as on the page; the answers are at the photo's own size.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB, or the same as a Pillow image.
    preview
        That of `previews.of_file`, if the photo comes from a file; else the photo is reduced.

    Raises
    ------
    models.cards.ModelError
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
    image = as_image(previews.preview(photo) if preview is None else preview)
    pets = recognize(image, segmenter, classifier)
    height, width = photo.size[::-1] if isinstance(photo, Image.Image) else photo.shape[:2]
    return at_size(pets, height, width)


def at_size(pets: Sequence[Pet], height: int, width: int) -> list[Pet]:
    """The pets of a preview in a photo of this size, with the same answers."""
    if not pets or pets[0].region.shape == (height, width):
        return list(pets)
    rows, columns = pets[0].region.shape
    regions = enlarged([pet.region for pet in pets], height, width)
    scale = np.array([width / columns, height / rows] * 2)
    found = []
    for pet, region in zip(pets, regions, strict=True):
        left, top, right, bottom = np.rint(np.array(pet.crop) * scale).astype(int).tolist()
        others = tuple(each for each in regions if each is not region)
        found.append(replace(pet, region=region, crop=(left, top, right, bottom), others=others))
    return found


def look_closer(photo: Photo | Image.Image, segmenter: Segmenter) -> list[Look]:
    """Look closer at each pet that is detected in a photo, the most certain first.

    What the detector rather takes for a cow, or another animal that is no pet, gets no look. Where
    it sees several boxes, the rule of its card decides which are pets: see `models.judging`.

    Raises
    ------
    models.cards.ModelError
        When a model is missing or damaged.
    """
    image = as_image(photo)
    detector = detection.default()
    detected = detector.detect(image) if detector else []
    found = [each for each in detected if each.other <= each.probability][:MOST_PETS]
    if rule := _rule():
        found = judging.judge(image, found, _judge(), rule)
    looks = []
    for each in found:
        others = [other.box for other in found if other is not each]
        look = segmenter.look_closer(image, each.box, others)
        looks.append(replace(look, probability=each.probability))
    return looks


def _rule() -> Candidates | None:
    """The default detector's rule that decides between its boxes."""
    detector = detection.default()
    return detector.card.candidates if detector else None


def _judge() -> BreedClassifier:
    """The breed model that is asked which boxes are pets, if it has a second head."""
    return breeds.load(store.default("classification"))


def _settled(photo: Image.Image, looks: Sequence[Look]) -> list[Region]:
    """The pixels of each pet; what the rule took for two pets is never one."""
    merge = not (_rule() and _judge().others)
    return settle(looks, photo.height, photo.width, merge=merge)


def recognize(
    photo: Photo | Image.Image,
    segmenter: Segmenter,
    classifier: BreedClassifier,
    looks: Sequence[Look] | None = None,
) -> list[Pet]:
    """Find the pets in a photo and name them, the largest first.

    Each pet that is detected is seen closely, so a small one is as large as one that fills the
    photo, and overlapping ones are separated. Where none is detected, or there is no detector, what
    a glance at the whole photo shows counts.

    A body without its head, as behind a ball of wool, is not a pet of any breed by itself. Such a
    part of the photo as a whole is joined with an adjacent one if together they are more probably a
    pet than either alone. What a detector separated stays apart: of two dogs side by side, one may
    well be of no known breed.

    Where one of the pets does not seem upright, they are seen at the other quarter turns too. Where
    they are upright at one of them, the photo is searched again so turned, and the answer turned
    back.

    Where a detector sees nothing, a part of the mask that looks like a thing is not among them.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB, or the same as a Pillow image.
    segmenter
        The mask model.
    classifier
        The model that names the pets, and says whether they are upright if its card has a rule.
    looks
        The photo's `look_closer`, if it is there already.

    Raises
    ------
    models.cards.ModelError
        When a model is missing or damaged.
    """
    image = as_image(photo)
    looks = look_closer(image, segmenter) if looks is None else looks
    pets = _as_it_is(image, looks, segmenter, classifier)
    if turn := _turn(image, pets, classifier) if pets else 0:
        turned = turn_image(image, turn)
        closer = look_closer(turned, segmenter)
        again = _as_it_is(turned, closer, segmenter, classifier)
        # Cups and clouds have no upright that the rule knows.
        if any(pet.is_animal for pet in again):
            return [_turned_back(pet, turn) for pet in again]
    return pets


def _as_it_is(
    photo: Image.Image,
    looks: Sequence[Look],
    segmenter: Segmenter,
    classifier: BreedClassifier,
) -> list[Pet]:
    """Like `recognize`, for a photo that is taken as upright."""
    if regions := _settled(photo, looks):
        return _named(photo, regions, classifier)
    if segmenter.card.instances:
        return []
    regions = of_numbers(segmenter.glance(photo).regions())
    pets = _joined(photo, _named(photo, regions, classifier), classifier)
    if not detection.default():
        return pets
    # What no detector sees and what looks like a thing is an error of the mask.
    return [pet for pet in pets if not (pet.otherwise and pet.otherwise.kind == "thing")]


def _turn(photo: Image.Image, pets: Sequence[Pet], classifier: BreedClassifier) -> Turn:
    """The turn after which the pets of a photo, named in it as it is, are upright."""
    rule = classifier.card.upright
    if rule is None:
        return 0
    judged = pets[:MOST_JUDGED]
    first = [pet.answer.upright(rule) for pet in judged]
    if min(first) >= rule.sure:
        return 0
    crops = [_alone(photo, pet.crop, pet.others) or photo.crop(pet.crop) for pet in judged]
    scores = [
        [rule.score(logits) for logits in classifier.turned_logits(crop, QUARTERS[1:])]
        for crop in crops
    ]
    return QUARTERS[int(np.argmax([np.mean(first) + rule.margin, *np.mean(scores, axis=0)]))]


def _turned_back(pet: Pet, turn: Turn) -> Pet:
    """A pet of a turned photo, in the photo as it was before."""
    undone = back(turn)
    return replace(
        pet,
        region=pet.region.turned(undone),
        crop=turn_box(pet.crop, undone, *pet.region.shape),
        others=tuple(other.turned(undone) for other in pet.others),
        answer=pet.answer.turned(undone),
        turn=turn,
    )


def outline(
    photo: Photo | Image.Image, segmenter: Segmenter, classifier: BreedClassifier
) -> tuple[Segmentation, list[Pet]]:
    """The mask of a photo, seen upright, and its pets as `recognize` finds them.

    The parameters are those of `recognize`.
    """
    image = as_image(photo)
    looks = look_closer(image, segmenter)
    found = segment(image, segmenter, looks)
    pets = recognize(image, segmenter, classifier, looks)
    if turn := turn_of(pets):
        turned = turn_image(image, turn)
        found = segment(turned, segmenter, look_closer(turned, segmenter)).turned(back(turn))
    return found, pets


def segment(
    photo: Photo | Image.Image, segmenter: Segmenter, looks: Sequence[Look]
) -> Segmentation:
    """The mask of a photo: the answer to the whole, averaged with those of its `look_closer`."""
    image = as_image(photo)
    whole = next((look for look in looks if look.window == (0, 0, image.width, image.height)), None)
    if whole is None or whole.answer is None or not segmenter.card.close_as_whole:
        found = segmenter.predict(image)
    else:  # a pet that fills the photo was looked at in all of it
        found = Segmentation(whole.answer, segmenter.classes, (image.height, image.width))
        looks = [look for look in looks if look is not whole]
    return replace(found, answer=averaged(found.answer, looks, *found.shape))


def _joined(photo: Image.Image, pets: list[Pet], classifier: BreedClassifier) -> list[Pet]:
    """Like `recognize`, for named pets; those that are not joined keep their names."""
    for one, other in combinations(pets, 2):
        if (one.refused or other.refused) and meet(one.box, other.box):
            others = [pet for pet in pets if pet is not one and pet is not other]
            region = one.region.joined(other.region)
            whole = _name(photo, region, [pet.region for pet in others], classifier)
            if (whole.known or 0) > max(one.known or 0, other.known or 0):
                left = sorted([whole, *others], key=lambda pet: -pet.region.area)
                return _joined(photo, left, classifier)
    return pets


def name_pets(
    photo: Photo | Image.Image,
    regions: Sequence[Region],
    classifier: BreedClassifier,
    turn: Turn = 0,
) -> list[Pet]:
    """Name the breed of each region, as of one pet, in the photo after a turn.

    See `recognize`, which also questions the regions and finds the turn.
    """
    image = turn_image(as_image(photo), turn)
    pets = _named(image, [region.turned(turn) for region in regions], classifier)
    return [_turned_back(pet, turn) for pet in pets] if turn else pets


def _named(image: Image.Image, regions: Sequence[Region], classifier: BreedClassifier) -> list[Pet]:
    return [
        _name(image, region, [each for each in regions if each is not region], classifier)
        for region in regions
    ]


def _name(
    photo: Image.Image, region: Region, others: Sequence[Region], classifier: BreedClassifier
) -> Pet:
    crop = crop_box(region.box, photo.height, photo.width)
    alone = _alone(photo, crop, others)
    answer = classifier.classify(photo, crop) if alone is None else classifier.classify(alone)
    rule = classifier.card.refusal
    if rule is None:
        return Pet(region, crop, tuple(others), answer)
    known = rule.probability(signs(region.share, answer))
    return Pet(region, crop, tuple(others), answer, known, known < rule.threshold)


def signs(share: float, answer: Classification) -> dict[str, float]:
    """The inputs, by name, of a card's rule for a region that covers a share of the photo."""
    return {"log_share": math.log(share), **answer.signs}


def _alone(photo: Image.Image, crop: Box, others: Sequence[Region]) -> Image.Image | None:
    """A crop with other pets painted over in the mean colour of the rest; None without others."""
    left, upper, right, lower = crop
    near = [other for other in others if meet(other.box, crop)]
    parts = [other.sampled(crop, lower - upper, right - left) for other in near]
    if not any(part.area for part in parts):
        return None
    hidden = np.any([part.mask for part in parts], axis=0)
    alone = photo.crop(crop)
    mean = ImageStat.Stat(alone, Image.fromarray(~hidden)).mean
    alone.paste(tuple(int(value) for value in mean), mask=Image.fromarray(hidden))
    return alone


def describe(
    photo: Photo | Image.Image,
    classes: int = 3,
    pets: Sequence[Pet] | None = None,
    values: Values | None = None,
    preview: Photo | None = None,
) -> dict[str, Any]:
    """Everything that is found in a photo, ready for JSON.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB, or the same as a Pillow image.
    classes
        Number of brightness classes.
    pets
        The result of `analyze`, if already computed.
    values
        The values for the cuts, if these are not the photo: `Picture.counted`.
    preview
        As for `analyze`.

    Returns
    -------
    `width`, `height`; `cuts`, the values between the brightness classes, or null if there are too
    few different ones; `turn`, by how many degrees, clockwise, the photo must be turned to be
    upright: 90, 180 or 270 if its pets were recognized so, else 0; and `pets`, each with its `box`
    (left, top, right, bottom), its `share` of the photo, five `breeds` with name, species and
    probability, the probability that it is `known`, one of the breeds at all, whether it is
    `refused` because that is too low, and what it is `otherwise`: name, kind ("dog", "cat", "other
    animal" or "thing") and probability, or null if it is not refused or the model does not know.
    Boxes are in the photo as it is, not as it should be turned.

    Raises
    ------
    models.cards.ModelError
        When a model is missing or damaged.
    """
    image = as_image(photo)
    found = analyze(image, preview) if pets is None else pets
    try:
        gray = _luminance(image) if values is None else thresholding.gray_channel(values)
        cuts = thresholding.multi_otsu(gray, classes).tolist()
    except thresholding.ThresholdError:
        cuts = None
    return {
        "width": image.width,
        "height": image.height,
        "cuts": cuts,
        "turn": turn_of(found),
        "pets": [
            {
                "box": pet.box,
                "share": pet.share,
                "known": pet.known,
                "refused": pet.refused,
                "breeds": [asdict(breed) for breed in pet.breeds],
                "otherwise": asdict(pet.otherwise) if pet.otherwise else None,
            }
            for pet in found
        ],
    }


def turn_of(pets: Sequence[Pet]) -> Turn:
    """The turn after which the photo of these pets is upright."""
    return pets[0].turn if pets else 0


def _luminance(photo: Image.Image) -> Histogram:
    """The histogram of `thresholding.gray_channel`, without an array of the photo."""
    counts = photo.convert("L").histogram()
    return Histogram(np.array(counts), np.arange(len(counts), dtype=np.float64))


def crop_box(box: Box, height: int, width: int) -> Box:
    """The classifier's crop of a pet: its box with a margin, not too narrow, inside the photo.

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
    """The interval of this length around the middle, moved and cut to fit into [0, limit]."""
    length = min(length, limit)
    start = min(max(middle - length / 2, 0), limit - length)
    return round(start), max(round(start + length), round(start) + 1)
