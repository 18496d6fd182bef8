"""Pets found and named, with networks so small that their answers are known."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from PIL import Image

from models import breeds, detection, judging, pipeline, segmentation
from models.cards import ModelError
from models.images import open_photo
from models.looks import Look
from models.measuring import iou
from models.regions import Box, Region, of_numbers
from models.segmentation import Segmentation, Segmenter

AddModel = Callable[..., Path]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PHOTOS = Path(__file__).parents[3] / "shared" / "photos"
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)

# The mask model takes green as background and all else as pet; the classifier takes red as a Pug.
MASK = np.array([[0.0, -20, 0], [0, 20, 0], [0, 0, 0]])
CLASSES = ("pet", "background", "border")
LABELS = [{"name": "Pug", "species": "dog"}, {"name": "Sphynx", "species": "cat"}]
BREEDS = np.array([[5.0, 0, 0], [0, 0, 5]])


@pytest.fixture
def models(add_segmenter: AddModel, add_classifier: AddModel) -> None:
    add_segmenter(weights=MASK, height=256, width=256)
    add_classifier(weights=BREEDS, labels=LABELS, activation=True)


@pytest.mark.usefixtures("models")
def test_each_pet_is_found_and_named() -> None:
    photo = np.full((300, 800, 3), GREEN, np.uint8)
    photo[100:180, 80:160] = RED
    photo[60:260, 560:700] = BLUE

    large, small = pipeline.analyze(photo)

    assert large.breeds[0].name == "Sphynx"
    assert small.breeds[0].name == "Pug"
    for pet, box in ((large, (560, 60, 700, 260)), (small, (80, 100, 160, 180))):
        assert pet.box == pytest.approx(box, abs=4)  # the mask is scaled
        assert pet.share == pytest.approx((box[2] - box[0]) * (box[3] - box[1]) / 240_000, rel=0.1)
        left, upper, right, lower = pet.box
        assert pet.mask[upper:lower, left:right].mean() > 0.95
        assert pet.mask.sum() == pet.mask[upper:lower, left:right].sum()
    # The classifier did not see the other pet.
    assert large.crop[0] > 160
    assert small.crop[2] < 560
    assert large.answer.evidence("Sphynx", 100, 100) is not None


@pytest.mark.usefixtures("models")
def test_a_pet_beside_a_large_one_is_named_for_itself() -> None:
    photo = np.full((300, 600, 3), GREEN, np.uint8)
    photo[20:280, 20:360] = BLUE
    photo[120:240, 372:492] = RED

    large, small = pipeline.analyze(photo)

    assert small.crop[0] < 355
    assert small.breeds[0].name == "Pug"
    assert large.breeds[0].name == "Sphynx"


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (40, 3), (300, 400)])
def test_a_photo_without_a_pet_has_none_and_one_of_a_pet_alone_has_one(
    shape: tuple[int, int],
) -> None:
    assert pipeline.analyze(np.full((*shape, 3), GREEN, np.uint8)) == []
    (pet,) = pipeline.analyze(np.full((*shape, 3), RED, np.uint8))
    assert pet.box == pet.crop == (0, 0, shape[1], shape[0])
    assert pet.share == 1
    assert pet.breeds[0].name == "Pug"


@pytest.mark.parametrize(
    ("share", "color", "refused"),
    [
        (0.25, BLUE, False),
        (0.25, (140, 0, 130), True),  # between both breeds
        (0.02, BLUE, True),  # unambiguous, but very small
    ],
)
def test_small_and_ambiguous_regions_are_refused(
    add_segmenter: AddModel,
    add_classifier: AddModel,
    share: float,
    color: tuple[int, int, int],
    refused: bool,
) -> None:
    add_segmenter(weights=MASK, height=256, width=256)
    rule = {"log_share": 1.0, "entropy": -4.0, "intercept": 3.0, "threshold": 0.5}
    add_classifier(weights=BREEDS, labels=LABELS, refusal={"rule": rule})
    photo = np.full((400, 400, 3), GREEN, np.uint8)
    side = round(400 * share**0.5)
    photo[200 - side // 2 : 200 + side // 2, 200 - side // 2 : 200 + side // 2] = color

    (pet,) = pipeline.analyze(photo)

    entropy = -sum(p * np.log(p) for p in pet.answer.probabilities)
    assert pet.answer.entropy == pytest.approx(entropy, abs=1e-5)
    score = np.log(pet.share) - 4 * entropy + 3
    assert pet.known == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-5)
    assert pet.refused == refused
    (described,) = pipeline.describe(photo)["pets"]
    assert (described["known"], described["refused"]) == (pet.known, refused)


# A second head on the same means: red is a pug too, green an Airedale, blue a cat or a cup.
HEAD = {
    "names": ["Airedale", "pug", "tabby", "Siamese cat", "otter", "cup"],
    "kinds": [
        {"kind": "dog", "first": 0, "last": 1},
        {"kind": "cat", "first": 2, "last": 3},
        {"kind": "other animal", "first": 4, "last": 4},
        {"kind": "thing", "first": 5, "last": 5},
    ],
    "breeds": {"Pug": 1},
    "temperature": 0.5,
}
OTHERS = np.array([[0, 2.0, 0], [3, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 1.2]])
NEVER = {"intercept": -5.0, "threshold": 0.5}


@pytest.mark.parametrize(
    ("color", "name", "kind"),
    [
        ((0, 250, 130), "Airedale", "dog"),
        ((130, 130, 255), "cat", "cat"),  # both cats together are more than the cup
        (RED, "otter", "other animal"),  # not a pug: it was refused as one
    ],
)
def test_what_is_none_of_the_breeds_is_named_for_what_it_is(
    add_segmenter: AddModel,
    add_classifier: AddModel,
    color: tuple[int, int, int],
    name: str,
    kind: str,
) -> None:
    everything = np.array([[20.0, 20, 20], [-20, -20, -20], [0, 0, 0]])
    add_segmenter(weights=everything, height=256, width=256)
    add_classifier(
        weights=BREEDS,
        labels=LABELS,
        activation=True,
        others=OTHERS,
        otherwise=HEAD,
        refusal={"rule": NEVER},
    )
    photo = np.full((40, 40, 3), color, np.uint8)
    everywhere = Region.of_mask(np.ones((40, 40), np.bool_))

    (pet,) = pipeline.name_pets(photo, [everywhere], breeds.load())

    assert pet.refused
    assert pet.otherwise is not None
    assert (pet.otherwise.name, pet.otherwise.kind) == (name, kind)
    # The pug is left out, and both cats are one.
    logits = OTHERS @ (np.array(color) / 255 * 2 - 1) / float(str(HEAD["temperature"]))
    powers = np.exp(logits) * [1, 0, 1, 1, 1, 1]
    chosen = {"Airedale": powers[0], "cat": powers[2] + powers[3], "otter": powers[4]}[name]
    assert pet.otherwise.probability == pytest.approx(chosen / powers.sum(), abs=1e-5)
    (described,) = pipeline.describe(photo, pets=[pet])["pets"]
    assert described["otherwise"] == {
        "name": name,
        "kind": kind,
        "probability": pet.otherwise.probability,
    }


def test_a_second_head_s_signs_are_those_that_a_rule_can_weigh(add_classifier: AddModel) -> None:
    add_classifier(
        weights=BREEDS, labels=LABELS, activation=True, others=OTHERS, otherwise=HEAD, height=8
    )
    answer = breeds.load().classify(np.full((40, 40, 3), (255, 64, 0), np.uint8))

    means = np.array([1, 64 / 255 * 2 - 1, -1])
    logits = OTHERS @ means / HEAD["temperature"]
    shares = np.exp(logits) / np.exp(logits).sum()
    assert answer.top(1)[0].name == "Pug"
    assert (
        answer.signs
        == pytest.approx(
            {
                "entropy": answer.entropy,
                "breed": 5.0,
                "other_pet": logits[0],  # what a pug is seen as does not count
                "other_thing": max(logits[4:]),
                "known_pet": np.log(shares[1:4].sum()),
                "agreement": np.log(shares[1]),
            },
            abs=2e-2,
        )
    )


@pytest.mark.usefixtures("models")
def test_what_is_not_refused_is_nothing_otherwise() -> None:
    (pet,) = pipeline.analyze(np.full((40, 40, 3), RED, np.uint8))

    assert pet.otherwise is None
    assert (
        pipeline.describe(np.zeros((4, 4, 3), np.uint8), pets=[pet])["pets"][0]["otherwise"] is None
    )


@pytest.mark.usefixtures("models")
def test_without_a_rule_nothing_is_refused() -> None:
    (pet,) = pipeline.analyze(np.full((40, 40, 3), (140, 0, 130), np.uint8))

    assert not pet.refused


@pytest.mark.parametrize(
    ("box", "crop"),
    [
        # a margin on all sides: 35 % of the longer side
        ((400, 300, 500, 400), (365, 265, 535, 435)),
        # at an edge the crop is moved, not cut off
        ((0, 300, 100, 400), (0, 265, 170, 435)),
        ((900, 700, 1000, 800), (830, 630, 1000, 800)),
        # a narrow pet gets a crop at most twice as long as wide
        ((500, 200, 510, 600), (330, 60, 680, 740)),
        # at most as large as the photo
        ((50, 0, 950, 800), (0, 0, 1000, 800)),
    ],
)
def test_the_classifier_sees_the_pet_with_its_surroundings(box: Box, crop: Box) -> None:
    found = pipeline.crop_box(box, 800, 1000)

    assert found == pytest.approx(crop, abs=6)
    left, upper, right, lower = found
    assert left <= box[0] < box[2] <= right
    assert upper <= box[1] < box[3] <= lower


@pytest.mark.usefixtures("fresh_models")
def test_the_embedded_models_find_the_cat() -> None:
    photo = open_photo(EXAMPLES / "cat_chelsea.png")
    (cat,) = pipeline.analyze(photo)

    assert cat.breeds[0].species == "cat"
    assert cat.share > 0.3


def test_a_missing_model_is_named(add_segmenter: AddModel) -> None:
    add_segmenter(weights=MASK)

    with pytest.raises(ModelError, match="no model for classification"):
        pipeline.analyze(np.zeros((5, 5, 3), np.uint8))


@pytest.mark.usefixtures("models")
def test_a_given_segmentation_is_not_computed_again() -> None:
    photo = np.full((300, 400, 3), GREEN, np.uint8)
    photo[100:200, 100:300] = BLUE
    regions = of_numbers(segmentation.load().predict(photo).regions())

    (pet,) = pipeline.name_pets(photo, regions, breeds.load())

    np.testing.assert_array_equal(pet.mask, pipeline.analyze(photo)[0].mask)


class Judge:
    """Stands in for a classifier: `known` gives the probability for a crop by its share.

    What it refuses is otherwise something of the `kind`.
    """

    def __init__(self, known: Callable[[float], float], kind: str = "dog") -> None:
        self.otherwise = SimpleNamespace(kind=kind)
        self.card = SimpleNamespace(refusal=self, upright=None)
        self.threshold = 0.5
        self.probability = lambda signs: known(np.exp(signs["log_share"]))

    def classify(self, seen: object, window: object = None) -> SimpleNamespace:
        return SimpleNamespace(signs={}, otherwise=self.otherwise)


def grows(share: float) -> float:
    return min(share, 1.0)


def sees(
    regions: np.ndarray, closely: Callable[[Image.Image, Box, Sequence[Box]], Look] | None = None
) -> Segmenter:
    """Stands in for a mask model that sees these regions at a glance."""
    segmenter = SimpleNamespace(
        card=SimpleNamespace(instances=False),
        glance=lambda photo: SimpleNamespace(regions=lambda: regions),
        look_closer=closely,
    )
    return cast("Segmenter", segmenter)


HALVES = np.repeat([[1] * 60 + [2] * 40], 50, axis=0).astype(np.uint8)
APART = np.repeat([[1] * 60 + [0] * 10 + [2] * 30], 50, axis=0).astype(np.uint8)
THREE = np.repeat([[2] * 25 + [1] * 45 + [0] * 10 + [3] * 20], 50, axis=0).astype(np.uint8)


@pytest.mark.parametrize(
    ("regions", "known", "expected"),
    [
        (HALVES, grows, HALVES > 0),
        (APART, grows, APART),  # they do not meet
        (HALVES, lambda share: grows(share) + 0.2, HALVES),  # each is a pet alone
        (HALVES, lambda share: 0.9 - share, HALVES),  # less probable together
        (THREE, grows, np.where(THREE == 3, 2, THREE > 0)),
    ],
)
def test_a_part_that_is_not_a_pet_by_itself_is_joined_with_its_pet(
    regions: np.ndarray,
    known: Callable[[float], float],
    expected: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = np.zeros((*regions.shape, 3), np.uint8)
    detected(monkeypatch)

    judge = cast("breeds.BreedClassifier", Judge(known))
    pets = pipeline.recognize(photo, sees(regions), judge)

    assert len(pets) == expected.max()
    for number, pet in enumerate(pets, start=1):
        np.testing.assert_array_equal(pet.mask, expected == number)


@pytest.mark.parametrize(
    ("kind", "boxes", "number"),
    [
        ("thing", [], 0),
        ("other animal", [], 1),
        ("thing", [(0, 0, 60, 50)], 1),  # the detector saw it, too
    ],
)
def test_what_only_the_mask_shows_and_looks_like_a_thing_is_not_found(
    kind: str, boxes: list[Box], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    detected(monkeypatch, *boxes)
    judge = Judge(lambda share: 0.1, kind)
    if not number:
        judge.card.upright = object()  # looking at its turns would fail
    photo = np.zeros((*HALVES.shape, 3), np.uint8)
    segmenter = sees((HALVES == 1).astype(np.uint8), filled)
    pets = pipeline.recognize(photo, segmenter, cast("breeds.BreedClassifier", judge))
    assert len(pets) == number


def test_pets_that_a_detector_separated_are_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.zeros((*HALVES.shape, 3), np.uint8)
    boxes = (0, 0, 60, 50), (60, 0, 100, 50)
    detected(monkeypatch, *boxes)
    judge = cast("breeds.BreedClassifier", Judge(grows))
    pets = pipeline.recognize(photo, sees(HALVES, filled), judge)
    assert [pet.region.area for pet in pets] == [60 * 50, 40 * 50]


@pytest.mark.usefixtures("fresh_models")
def test_a_kitten_behind_its_ball_of_wool_is_one_pet() -> None:
    (kitten,) = pipeline.analyze(open_photo(EXAMPLES / "kitten_with_wool.jpg"))

    assert not kitten.refused
    assert kitten.breeds[0].species == "cat"


@pytest.mark.realdata
@pytest.mark.usefixtures("fresh_models")
def test_three_dogs_side_by_side_are_three() -> None:
    path = PHOTOS / "chihuahua_3dogs.jpg"
    if not path.exists():
        pytest.skip("../shared/photos is not beside the repository")
    assert len(pipeline.analyze(open_photo(path))) == 3


def detected(
    monkeypatch: pytest.MonkeyPatch,
    *boxes: Box,
    probabilities: Sequence[float] | None = None,
    others: Sequence[float] | None = None,
) -> None:
    number = len(boxes)
    found = [
        SimpleNamespace(box=box, probability=probability, other=other)
        for box, probability, other in zip(
            boxes, probabilities or [0.9] * number, others or [0.0] * number, strict=True
        )
    ]
    detector = SimpleNamespace(detect=lambda photo: found, card=SimpleNamespace(candidates=None))
    monkeypatch.setattr(detection, "default", lambda: detector)


class AnyPet:
    """Stands in for a classifier to which all is alike."""

    card = SimpleNamespace(refusal=None, upright=None)

    def classify(self, seen: Image.Image, window: Box | None = None) -> SimpleNamespace:
        return SimpleNamespace()


LEFT, RIGHT = (20, 20, 100, 100), (160, 20, 240, 100)
EVERYTHING = np.ones((120, 260), np.uint8)


def in_colours(left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    photo = np.full((120, 260, 3), GREEN, np.uint8)
    for (x, y, x_end, y_end), colour in ((LEFT, left), (RIGHT, right)):
        photo[y:y_end, x:x_end] = colour
    return photo


def filled(_: Image.Image, box: Box, others: Sequence[Box]) -> Look:
    return Look(box, box, np.full((box[3] - box[1], box[2] - box[0]), 255, np.uint8))


def decided(photo: np.ndarray) -> list[pipeline.Pet]:
    judge = cast("breeds.BreedClassifier", AnyPet())
    return pipeline.recognize(photo, sees(EVERYTHING, filled), judge)


def boxes_of(photo: np.ndarray) -> list[Box]:
    return sorted(pet.box for pet in decided(photo))


def with_rule(monkeypatch: pytest.MonkeyPatch, *pets: int) -> None:
    """The detector's card has a rule, to which these of its boxes are pets."""
    detected = cast("SimpleNamespace", detection.default())
    detected.card.candidates = SimpleNamespace()
    monkeypatch.setattr(judging, "judge", lambda photo, found, *rest: [found[n] for n in pets])
    monkeypatch.setattr(breeds, "load", lambda name: SimpleNamespace(others=SimpleNamespace()))


def test_the_rule_decides_which_boxes_are_pets(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = in_colours(RED, RED)
    for pets, expected in (((0, 1), [LEFT, RIGHT]), ((1,), [RIGHT]), ((), [(0, 0, 260, 120)])):
        detected(monkeypatch, LEFT, RIGHT)
        with_rule(monkeypatch, *pets)
        assert boxes_of(photo) == expected


def test_what_is_two_pets_to_the_rule_is_not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    puppy = (40, 40, 80, 80)
    detected(monkeypatch, LEFT, puppy)
    assert boxes_of(in_colours(RED, RED)) == [LEFT]
    with_rule(monkeypatch, 0, 1)
    looks = iter((200, 255))  # the puppy is in front

    def look(photo: Image.Image, box: Box, others: Sequence[Box]) -> Look:
        return Look(box, box, np.full((box[3] - box[1], box[2] - box[0]), next(looks), np.uint8))

    judge = cast("breeds.BreedClassifier", AnyPet())
    found = pipeline.recognize(in_colours(RED, RED), sees(EVERYTHING, look), judge)
    assert [pet.region.area for pet in found] == [80 * 80 - 40 * 40, 40 * 40]


def test_what_the_detector_rather_takes_for_another_animal_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for other, expected in ((0.4, [LEFT, RIGHT]), (0.6, [LEFT])):
        detected(monkeypatch, LEFT, RIGHT, probabilities=[0.9, 0.5], others=[0, other])
        assert boxes_of(in_colours(RED, RED)) == expected
    detected(monkeypatch, LEFT, probabilities=[0.5], others=[0.6])
    assert boxes_of(in_colours(RED, RED)) == [(0, 0, 260, 120)]  # the photo as a whole


@pytest.mark.usefixtures("fresh_models")
def test_a_cow_in_a_meadow_is_one_animal_that_is_no_pet_and_stands_upright() -> None:
    (cow,) = pipeline.analyze(open_photo(EXAMPLES / "cow.jpg"))

    assert cow.refused
    assert (cow.otherwise and cow.otherwise.kind) == "other animal"
    assert cow.turn == 0


def test_pixels_of_a_box_that_is_left_out_go_to_the_pet(monkeypatch: pytest.MonkeyPatch) -> None:
    bird = (60, 40, 100, 80)
    detected(monkeypatch, bird, LEFT)
    with_rule(monkeypatch, 1)
    assert [pet.region.area for pet in decided(in_colours(RED, RED))] == [80 * 80]


@pytest.mark.usefixtures("models")
def test_two_pets_that_touch_are_two_where_the_detector_sees_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = np.full((300, 600, 3), GREEN, np.uint8)
    photo[50:250, 100:300] = RED
    photo[50:250, 300:480] = BLUE
    (one,) = pipeline.analyze(photo)
    assert one.box == pytest.approx((100, 50, 480, 250), abs=4)
    detected(monkeypatch, (100, 50, 300, 250), (300, 50, 480, 250))
    first, second = pipeline.analyze(photo)
    assert [first.breeds[0].name, second.breeds[0].name] == ["Pug", "Sphynx"]
    assert first.box == pytest.approx((100, 50, 300, 250), abs=12)
    assert second.box == pytest.approx((300, 50, 480, 250), abs=12)


@pytest.mark.usefixtures("models")
def test_a_tiny_pet_of_a_wide_picture_is_found_by_its_box(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.full((135, 1080, 3), GREEN, np.uint8)
    photo[60:80, 470:497] = RED  # a quarter of a percent
    assert pipeline.analyze(photo) == []
    detected(monkeypatch, (469, 59, 498, 81))
    (pet,) = pipeline.analyze(photo)
    assert pet.box == pytest.approx((470, 60, 497, 80), abs=3)


def test_the_mask_shows_what_only_a_closer_look_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    box = (300, 400, 460, 560)
    detected(monkeypatch, box)
    nothing = np.broadcast_to(np.array([0.1, 0.9, 0], np.float32), (64, 64, 3))
    a_pet = np.broadcast_to(np.array([0.9, 0.1, 0], np.float32), (64, 64, 3))
    segmenter = SimpleNamespace(
        predict=lambda photo: Segmentation(nothing, CLASSES, (photo.height, photo.width)),
        look_closer=lambda _, box, others: Look(box, box, np.full((64, 64), 255, np.uint8), a_pet),
    )
    judge = cast("breeds.BreedClassifier", Judge(lambda share: 1.0))
    photo = np.zeros((800, 800, 3), np.uint8)

    found, (pet,) = pipeline.outline(photo, cast("Segmenter", segmenter), judge)

    assert pet.box == box
    assert iou(found.mask != 2, pet.mask) > 0.75


ANSWER = np.random.default_rng(0).random((64, 64, 3), np.float32)
LARGER = np.random.default_rng(1).random((96, 96, 3), np.float32)


@pytest.mark.parametrize(
    ("close_as_whole", "expected"),
    [
        (True, ANSWER),
        (False, LARGER),  # the look, which shows no more, says nothing new
    ],
)
def test_a_pet_that_fills_the_photo_is_looked_at_once(
    close_as_whole: bool, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = (0, 0, 80, 60)
    detected(monkeypatch, box)
    segmenter = SimpleNamespace(
        card=SimpleNamespace(close_as_whole=close_as_whole),
        classes=CLASSES,
        predict=lambda photo: Segmentation(LARGER, CLASSES, (photo.height, photo.width)),
        look_closer=lambda _, box, others: Look(box, box, np.full((64, 64), 255, np.uint8), ANSWER),
    )
    judge = cast("breeds.BreedClassifier", Judge(lambda share: 1.0))

    found, _ = pipeline.outline(
        np.zeros((60, 80, 3), np.uint8), cast("Segmenter", segmenter), judge
    )

    assert found.shape == (60, 80)
    np.testing.assert_allclose(found.answer, expected, atol=1e-6)


@pytest.mark.usefixtures("models")
def test_without_a_detection_the_whole_photo_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = np.full((300, 600, 3), GREEN, np.uint8)
    photo[50:250, 100:300] = RED
    for boxes in ([], [(400, 100, 500, 200)]):
        detected(monkeypatch, *boxes)
        (pet,) = pipeline.analyze(photo)
        assert pet.box == pytest.approx((100, 50, 300, 250), abs=4)
