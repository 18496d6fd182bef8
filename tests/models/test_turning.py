"""Photos that lie on their side: looked at upright, and answered as they are."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models import album, breeds, images, pipeline, segmentation
from models.breeds import BreedClassifier, Classification, Others
from models.cards import Label, OtherClass, Refusal, SecondHead, Upright
from models.images import Photo
from models.picture import Picture
from models.regions import Region
from models.turning import QUARTERS, Turn, back, turn_array, turn_box, turn_image

AddModel = Callable[..., Path]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
GREEN, BLUE, RED = (0, 255, 0), (0, 0, 255), (255, 0, 0)

# The mask model takes green as background and all else as pet.
MASK = np.array([[0.0, -20, 0], [0, 20, 0], [0, 0, 0]])
RULE = Upright({0: 1.0}, 0.0, sure=0.5, margin=1.0)


class Compass:
    """Names a pet rightly if its red part is on top, and sees how far it is."""

    def __init__(self, rule: Upright | None, kind: str = "dog") -> None:
        # It is refused wherever that is not a dog.
        refusal = Refusal({}, 5.0 if kind == "dog" else -5.0, 0.5)
        self.card = SimpleNamespace(upright=rule, refusal=refusal)
        classes = (
            OtherClass("collie", "dog"),
            OtherClass("cup", "thing"),
            OtherClass("cat", "cat"),
        )
        self.others = Others(SecondHead(classes, 1.0, {}))
        self.looks = 0

    def classify(
        self, photo: Image.Image, window: tuple[int, int, int, int] | None = None
    ) -> Classification:
        self.looks += 1
        seen = np.asarray(photo.crop(window) if window else photo, float)[:, :, 0] / 255
        half = len(seen) // 2
        score = 10 * (seen[:half].mean() - seen[-half:].mean())
        right = 0.9 if score > 0.5 else 0.2
        rows, columns = np.mgrid[:8, :8].astype(np.float32)
        return Classification(
            np.array([right, 1 - right], np.float32),
            (Label("Pug", "dog"), Label("Sphynx", "cat")),
            np.stack([8 - rows, columns]),  # the pug's head is on top
            np.array([score, 99.0, 0.0], np.float32),
            self.others,
        )

    def turned_logits(
        self, photo: Image.Image, turns: Sequence[Turn]
    ) -> list[NDArray[np.float32] | None]:
        return [self.classify(turn_image(photo, turn)).other_logits for turn in turns]


@pytest.fixture
def photo(add_segmenter: AddModel) -> Photo:
    """A pet with a red head, upright, not in the middle."""
    add_segmenter(weights=MASK, height=256, width=256)
    drawn = np.full((400, 600, 3), GREEN, np.uint8)
    drawn[90:290, 100:200] = BLUE
    drawn[90:150, 100:200] = RED
    return drawn


def recognize(photo: Photo, judge: Compass) -> list[pipeline.Pet]:
    return pipeline.recognize(photo, segmentation.load("pet"), cast("BreedClassifier", judge))


@pytest.mark.parametrize("turn", QUARTERS)
def test_a_turned_photo_is_answered_as_the_upright_one_where_it_lies(
    photo: Photo, turn: Turn
) -> None:
    (upright,) = recognize(photo, Compass(RULE))
    turned = turn_array(photo, turn)
    (pet,) = recognize(turned, Compass(RULE))

    assert upright.turn == 0
    assert pet.turn == back(turn)
    assert pet.breeds[0] == upright.breeds[0]
    np.testing.assert_array_equal(pet.mask, turn_array(upright.mask, turn))
    assert pet.box == turn_box(upright.box, turn, 400, 600)
    assert pet.crop == turn_box(upright.crop, turn, 400, 600)
    np.testing.assert_array_equal(pet.seen(turned), turn_array(upright.seen(photo), turn))
    evidence = pet.answer.evidence("Pug", 40, 40)
    assert evidence is not None
    expected = upright.answer.evidence("Pug", 40, 40)
    assert expected is not None
    np.testing.assert_allclose(evidence, turn_array(expected, turn), atol=1e-6)
    described = pipeline.describe(turned, pets=[pet])
    assert described["turn"] == back(turn)
    assert described["pets"][0]["box"] == pet.box


def test_without_the_rule_it_is_answered_as_it_is(photo: Photo) -> None:
    (pet,) = recognize(turn_array(photo, 180), Compass(None))
    assert (pet.turn, pet.breeds[0].name) == (0, "Sphynx")


def test_a_photo_that_is_surely_upright_is_looked_at_once(photo: Photo) -> None:
    judge = Compass(RULE)
    recognize(photo, judge)
    assert judge.looks == 1


def test_an_upright_pet_that_is_hardly_better_turned_stays(photo: Photo) -> None:
    judge = Compass(replace(RULE, sure=100.0, margin=100.0))
    (pet,) = recognize(turn_array(photo, 180), judge)
    assert (pet.turn, judge.looks) == (0, 4)


def test_things_are_not_turned(photo: Photo) -> None:
    (cup,) = recognize(turn_array(photo, 90), Compass(RULE, kind="thing"))
    assert cup.turn == 0
    assert cup.otherwise is not None
    assert cup.otherwise.name == "cup"


def test_pets_that_were_corrected_by_hand_are_named_upright(photo: Photo) -> None:
    turned = turn_array(photo, 270)
    (pet,) = recognize(turned, Compass(RULE))
    judge = cast("BreedClassifier", Compass(RULE))
    (again,) = pipeline.name_pets(turned, [pet.region], judge, pet.turn)
    assert (again.turn, again.breeds, again.crop) == (90, pet.breeds, pet.crop)
    np.testing.assert_array_equal(again.mask, pet.mask)


@pytest.mark.parametrize("turn", QUARTERS)
def test_boxes_regions_and_pictures_turn_like_arrays(turn: Turn) -> None:
    random = np.random.default_rng(turn)
    mask = np.zeros((7, 12), bool)
    mask[2:5, 3:11] = random.random((3, 8)) < 0.6
    expected: NDArray[np.bool_] = np.rot90(mask, -turn // 90)

    region = Region.of_mask(mask)
    np.testing.assert_array_equal(region.turned(turn).mask, expected)
    assert region.turned(turn).box == turn_box(region.box, turn, 7, 12)
    image = Image.fromarray((mask * 255).astype(np.uint8))
    np.testing.assert_array_equal(np.asarray(turn_image(image, turn)) > 0, expected)
    assert turn_box(turn_box((3, 2, 11, 5), turn, 7, 12), back(turn), *expected.shape) == (
        3,
        2,
        11,
        5,
    )


def test_a_picture_turns_with_its_values_and_pixels() -> None:
    photo = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    values = np.arange(24, dtype=np.uint16).reshape(4, 6)
    deep = Picture(photo, values, (4, 6), channels=(), pixel_size=(0.5, 0.25)).turned(90)
    np.testing.assert_array_equal(deep.photo, np.rot90(photo, -1))
    np.testing.assert_array_equal(deep.values, np.rot90(values, -1))
    assert (deep.size, deep.pixel_size) == ((6, 4), (0.25, 0.5))
    assert not Picture(photo, photo, (2, 3)).turned(180).deep


def test_a_mask_of_a_turned_photo_is_where_the_photo_is(photo: Photo) -> None:
    segmenter, judge = segmentation.load("pet"), cast("BreedClassifier", Compass(RULE))
    upright, _ = pipeline.outline(photo, segmenter, judge)
    found, (pet,) = pipeline.outline(turn_array(photo, 90), segmenter, judge)
    assert pet.turn == back(90)
    np.testing.assert_array_equal(found.mask, turn_array(upright.mask, 90))


@pytest.mark.usefixtures("fresh_models")
@pytest.mark.parametrize("name", ["kitten_with_wool.jpg", "german_shepherd.jpg"])
def test_examples_on_their_side_are_recognized(name: str) -> None:
    upright = images.open_photo(EXAMPLES / name)
    expected = pipeline.describe(upright)
    assert expected["turn"] == 0
    for turn in QUARTERS[1:]:
        pets = pipeline.analyze(turn_array(upright, turn))
        assert pipeline.turn_of(pets) == back(turn)
        found = pipeline.describe(turn_array(upright, turn), pets=pets)["pets"]
        assert [pet["breeds"][0]["name"] for pet in found] == [
            pet["breeds"][0]["name"] for pet in expected["pets"]
        ]
        for pet, true in zip(found, expected["pets"], strict=True):
            box = turn_box(true["box"], turn, *upright.shape[:2])
            assert pet["box"] == pytest.approx(box, abs=0.02 * max(upright.shape))


@pytest.mark.usefixtures("fresh_models")
def test_an_album_has_the_turn_and_a_cut_out_as_of_the_upright_photo(tmp_path: Path) -> None:
    upright = images.open_photo(EXAMPLES / "kitten_with_wool.jpg")
    cut_outs = []
    for turn in (0, 90):
        file = tmp_path / f"cat{turn}.png"
        Image.fromarray(turn_array(upright, turn)).save(file)
        folder = tmp_path / f"album{turn}"
        entry = album.examine(
            file, file.name, folder, [RED] * 3, [BLUE], lambda number, pet: "?", 100
        )
        assert entry.facts is not None
        assert entry.facts["turn"] == back(turn)
        line = album.table([entry]).splitlines()[1].split(",")
        assert line[album.COLUMNS.index("turn")] == str(back(turn))
        cut_outs.append(np.asarray(Image.open(folder / "cut-outs" / f"cat{turn}-cut-out.png")))
    straight, lying = cut_outs
    difference = np.abs(turn_array(straight, 90)[..., 3].astype(int) - lying[..., 3])
    assert difference.mean() < 2


@pytest.mark.usefixtures("fresh_models")
def test_the_rule_of_the_embedded_model_is_of_its_head() -> None:
    card = breeds.load().card
    assert card.upright is not None
    assert card.second_head is not None
    assert set(card.upright.weights) <= set(range(len(card.second_head.classes)))
