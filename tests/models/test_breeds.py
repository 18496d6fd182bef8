"""Breeds, with networks so small that their answers are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models import breeds, store
from models.breeds import Breed, BreedClassifier
from models.cards import ModelError
from models.images import Photo, open_photo
from models.turning import QUARTERS, turn_array

AddModel = Callable[..., Path]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
needs_weights = pytest.mark.skipif(
    not (store.EMBEDDED / "breeds.json").exists(), reason="no breed model is embedded yet"
)

LABELS = [
    {"name": "Bengal", "species": "cat"},
    {"name": "Pug", "species": "dog"},
    {"name": "Sphynx", "species": "cat"},
    {"name": "Beagle", "species": "dog"},
]
OTHERS = np.array([[3.0, 0, 1], [0, -2, 0]])
HEAD = {
    "names": ["wolf", "cup"],
    "kinds": [
        {"kind": "dog", "first": 0, "last": 0},
        {"kind": "thing", "first": 1, "last": 1},
    ],
    "breeds": {},
    "temperature": 2.0,
}
WEIGHTS = np.array([[1.0, 0, 0], [0, 2, 0], [0, 0, 3], [-1, -1, -1]])


def plain_photo(*color: int, height: int = 20, width: int = 30) -> Photo:
    return np.full((height, width, 3), color, np.uint8)


def expected_probabilities(photo: Photo) -> NDArray[np.float64]:
    means = photo.mean(axis=(0, 1)) / 255 * 2 - 1
    powers = np.exp(WEIGHTS @ means)
    return powers / powers.sum()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("color", "order"),
    [
        ((255, 30, 0), ["Bengal", "Beagle", "Pug", "Sphynx"]),
        ((0, 255, 0), ["Pug", "Beagle", "Bengal", "Sphynx"]),
        ((128, 140, 255), ["Sphynx", "Pug", "Bengal", "Beagle"]),
        ((0, 0, 0), ["Beagle", "Bengal", "Pug", "Sphynx"]),
    ],
)
def test_breeds_come_most_probable_first(
    color: tuple[int, int, int], order: list[str], layout: str, add_classifier: AddModel
) -> None:
    add_classifier(weights=WEIGHTS, labels=LABELS, layout=layout)
    photo = plain_photo(*color)

    ranking = breeds.load("breeds").predict(photo)

    assert [breed.name for breed in ranking] == order
    species = {label["name"]: label["species"] for label in LABELS}
    assert [breed.species for breed in ranking] == [species[name] for name in order]
    expected = sorted(expected_probabilities(photo), reverse=True)
    assert [breed.probability for breed in ranking] == pytest.approx(expected, abs=1e-5)
    assert sum(breed.probability for breed in ranking) == pytest.approx(1)
    assert all(type(breed.probability) is float for breed in ranking)


@pytest.mark.parametrize("top", [0, 1, 2, 4, 50])
def test_the_number_of_breeds_is_the_requested_or_the_known_one(
    top: int, add_classifier: AddModel
) -> None:
    add_classifier(weights=WEIGHTS, labels=LABELS)
    classifier = breeds.load("breeds")
    photo = plain_photo(200, 90, 10)

    ranking = classifier.predict(photo, top)

    assert ranking == classifier.predict(photo, 4)[:top]
    assert len(ranking) == min(top, 4)


def test_five_breeds_are_the_default(add_classifier: AddModel) -> None:
    add_classifier(weights=np.arange(27).reshape(9, 3) / 30)

    ranking = breeds.load("breeds").predict(plain_photo(250, 250, 250))

    assert [breed.name for breed in ranking] == [f"breed {i}" for i in (8, 7, 6, 5, 4)]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2), (300, 451)], ids=str)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_photos_of_every_shape_get_an_answer(
    layout: str, size: tuple[int, int], add_classifier: AddModel
) -> None:
    add_classifier(weights=WEIGHTS, labels=LABELS, layout=layout)
    photo = plain_photo(30, 60, 220, height=size[0], width=size[1])

    probabilities = [breed.probability for breed in breeds.load("breeds").predict(photo)]

    expected = sorted(expected_probabilities(photo), reverse=True)
    assert probabilities == pytest.approx(expected, abs=1e-5)


def test_breeds_need_no_species(add_classifier: AddModel) -> None:
    labels = [{"name": name} for name in ("first", "second", "third")]
    add_classifier(labels=labels)

    [best, *_] = breeds.load("breeds").predict(plain_photo(0, 255, 0))

    assert best == Breed("second", None, best.probability)


def test_a_batch_is_answered_in_the_order_of_the_labels(add_classifier: AddModel) -> None:
    add_classifier(weights=WEIGHTS, labels=LABELS, layout="NCHW")
    classifier = breeds.load("breeds")
    batch = np.random.default_rng(0).normal(size=(3, 3, 24, 32)).astype(np.float32)

    together = classifier.run(batch)

    assert together.shape == (3, 4)
    powers = np.exp(batch.mean(axis=(2, 3)) @ WEIGHTS.T)
    np.testing.assert_allclose(together, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


def test_a_model_is_loaded_once(add_classifier: AddModel) -> None:
    path = add_classifier("breeds")
    first = breeds.load("breeds")
    path.unlink()

    assert breeds.load("breeds") is first
    assert first.device in ("CPU", "GPU")
    assert first.card.name == "breeds"


def test_the_breed_model_is_the_default(add_classifier: AddModel) -> None:
    add_classifier("breeds")

    assert breeds.load().card.name == "breeds"
    assert breeds.load() is breeds.load()


@pytest.mark.usefixtures("folder")
def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelError, match="no model 'breeds'"):
        breeds.load()


def test_a_mask_model_knows_no_breeds(add_segmenter: AddModel) -> None:
    add_segmenter("pet")

    with pytest.raises(ModelError, match="is for segmentation"):
        breeds.load("pet")


def test_the_photo_is_left_as_it_is(add_classifier: AddModel) -> None:
    add_classifier()
    photo = plain_photo(1, 2, 3, height=24, width=32)
    photo.flags.writeable = False

    breeds.load("breeds").predict(photo)


def test_the_evidence_is_where_the_photo_supports_the_breed(add_classifier: AddModel) -> None:
    add_classifier(weights=WEIGHTS, labels=LABELS, activation=True, height=8, width=8)
    photo = plain_photo(0, 0, 0, height=80, width=160)
    photo[:, :40, 0] = 255  # supports the Bengal, and counts against the Beagle
    photo[:, 120:, 1] = 255  # supports the Pug

    answer = breeds.load().classify(photo)

    assert [breed.name for breed in answer.top(1)] == ["Beagle"]
    bengal, pug = (answer.evidence(name, 80, 160) for name in ("Bengal", "Pug"))
    assert bengal is not None
    assert pug is not None
    assert bengal.shape == (80, 160)
    assert bengal.dtype == np.float32
    assert (bengal.min(), bengal.max()) == (0, 1)
    assert bengal[:, :20].min() > 0.75
    assert bengal[:, 60:].max() < 0.1
    np.testing.assert_allclose(pug, bengal[:, ::-1], atol=0.1)


def test_a_breed_without_support_has_no_evidence(add_classifier: AddModel) -> None:
    add_classifier(weights=WEIGHTS, labels=LABELS, activation=True)

    answer = breeds.load().classify(plain_photo(0, 0, 0))

    evidence = answer.evidence("Pug", 20, 30)
    assert evidence is not None
    assert (evidence == 0).all()


def test_a_model_without_maps_ranks_but_explains_nothing(add_classifier: AddModel) -> None:
    add_classifier(weights=WEIGHTS, labels=LABELS)
    photo = plain_photo(255, 30, 0)

    answer = breeds.load().classify(photo)

    assert answer.top(4) == breeds.load().predict(photo)
    assert answer.evidence("Bengal", 20, 30) is None


@needs_weights
@pytest.mark.usefixtures("fresh_models")
def test_the_embedded_model_takes_a_cat_for_a_cat() -> None:
    ranking = breeds.load().predict(open_photo(EXAMPLES / "cat_chelsea.png"))

    assert len(ranking) == 5
    assert ranking[0].species == "cat"
    probabilities = [breed.probability for breed in ranking]
    assert probabilities == sorted(probabilities, reverse=True)


def second_logits(classifier: BreedClassifier, photo: Photo) -> NDArray[np.float32]:
    """The second head's logits for a photo as it is."""
    logits = classifier.classify(photo).other_logits
    assert logits is not None
    assert classifier.card.second_head is not None
    return logits * np.float32(classifier.card.second_head.temperature)


@needs_weights
@pytest.mark.usefixtures("fresh_models")
def test_turned_photos_are_looked_at_together_as_each_alone() -> None:
    photo = open_photo(EXAMPLES / "cat_chelsea.png")
    classifier = breeds.load()

    together = classifier.turned_logits(photo, QUARTERS)

    for turn, logits in zip(QUARTERS, together, strict=True):
        alone = second_logits(classifier, turn_array(photo, turn))
        assert np.corrcoef(logits, alone)[0, 1] > 0.99


@pytest.mark.usefixtures("fresh_models")
def test_parts_of_a_photo_are_seen_by_the_second_head_alone(add_classifier: AddModel) -> None:
    add_classifier(others=OTHERS, otherwise=HEAD)
    classifier = breeds.load()
    photo = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    windows = [(0, 0, 20, 30), (10, 5, 50, 25)]

    logits = classifier.other_logits(photo, windows)

    for window, its in zip(windows, logits, strict=True):
        expected = classifier.classify(photo, window).other_logits
        assert expected is not None
        np.testing.assert_allclose(its, expected, rtol=1e-6)


@pytest.mark.usefixtures("fresh_models")
def test_turned_photos_that_are_not_squashed_are_looked_at_one_by_one(
    add_classifier: AddModel,
) -> None:
    add_classifier(resize="letterbox", others=OTHERS, otherwise=HEAD)
    classifier = breeds.load()
    photo = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)

    together = classifier.turned_logits(photo, QUARTERS)

    for turn, logits in zip(QUARTERS, together, strict=True):
        alone = second_logits(classifier, turn_array(photo, turn))
        np.testing.assert_allclose(logits, alone, rtol=1e-6)


@needs_weights
@pytest.mark.usefixtures("fresh_models")
def test_the_embedded_model_gives_probabilities_of_37_breeds() -> None:
    ranking = breeds.load().predict(open_photo(EXAMPLES / "coffee_cup.jpg"), top=100)

    assert len({breed.name for breed in ranking}) == 37
    assert sum(breed.probability for breed in ranking) == pytest.approx(1, abs=1e-4)


def test_the_default_model_is_of_its_own_task(
    add_segmenter: AddModel, add_classifier: AddModel
) -> None:
    add_segmenter("a", default=True)
    with pytest.raises(ModelError, match="no model for classification"):
        store.default("classification")
    add_classifier("kennel")

    assert store.default("classification") == "kennel"
