"""The figures in the embedded models' cards, checked on a part of the real test split."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models import pipeline, store
from models.images import Photo, open_photo
from models.turning import QUARTERS, back, turn_array
from training import composites, evaluate_pets, pets
from training.evaluation.models import open_model
from training.evaluation.scores import score_breeds, score_masks

PICTURES = 250
FEW = 15

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def examples(real_root: Path) -> list[pets.Example]:
    everything = pets.split(real_root, "test")
    chosen = np.random.default_rng(0).choice(len(everything), PICTURES, replace=False)
    return [everything[index] for index in sorted(chosen)]


@pytest.fixture(scope="module")
def labels(real_root: Path) -> list[str]:
    return [breed.name for breed in pets.breeds(real_root)]


def test_the_breed_model_is_as_good_as_its_card_says(
    examples: list[pets.Example], labels: list[str], tmp_path: Path
) -> None:
    claimed = store.read_card("breeds").facts["metrics"]["test"]
    assert claimed["pictures"] == 3669
    model = open_model("breeds")
    measured = score_breeds(model, examples, labels, tmp_path)
    for figure in ("top1", "top5"):
        error = np.sqrt(claimed[figure] * (1 - claimed[figure]) / PICTURES)
        assert measured[figure] == pytest.approx(claimed[figure], abs=3 * error)


def test_the_mask_model_is_as_good_as_its_card_says(
    examples: list[pets.Example], labels: list[str], tmp_path: Path
) -> None:
    card = store.read_card("pet")
    claimed = card.facts["metrics"]["test"]
    assert claimed["pictures"] == 3669 - 7
    model = open_model("pet")
    measured = score_masks(model, pets.with_masks(examples), labels, tmp_path)
    for size in (f"at {card.input.height} px", "at the photo's own size"):
        for figure, tolerance in (("pixel_accuracy", 0.01), ("mean_iou", 0.02)):
            assert measured[size][figure] == pytest.approx(claimed[size][figure], abs=tolerance)


def test_the_labels_are_the_data_set_s(real_root: Path) -> None:
    known = [(breed.name, breed.species) for breed in pets.breeds(real_root)]
    card = store.read_card("breeds")
    assert [(label.name, label.species) for label in card.labels] == known
    assert tuple(label.name for label in store.read_card("pet").labels) == pets.MASK_CLASSES


@pytest.fixture(scope="module")
def held_out(real_root: Path) -> list[pets.Example]:
    """Some pictures that no network was trained on."""
    everything = pets.with_masks(pets.split(real_root, "validation"))
    chosen = np.random.default_rng(0).choice(len(everything), 2 * FEW, replace=False)
    return [everything[index] for index in chosen]


def wide_scene(
    example: pets.Example, other: pets.Example, random: np.random.Generator
) -> tuple[Photo, NDArray[np.bool_]]:
    """A pet before another picture's background, five times as wide as high, and where it is."""
    photo, classes = open_photo(example.photo), composites.read_classes(example)
    height, width = classes.shape
    ground = composites.without_pet(open_photo(other.photo), composites.read_classes(other), random)
    strip = Image.fromarray(np.concatenate([ground, ground[:, ::-1]], axis=1))
    scene = np.array(strip.resize((5 * height, height)))
    left = int(random.integers(0, 5 * height - width + 1))
    there = np.zeros(scene.shape[:2], bool)
    there[:, left : left + width] = classes != composites.BACKGROUND
    scene[there] = photo[classes != composites.BACKGROUND]
    return scene, there


def test_a_pet_is_found_in_a_picture_five_times_as_wide_as_high(
    held_out: list[pets.Example],
) -> None:
    random = np.random.default_rng(0)
    found = 0
    for example, other in zip(held_out[:FEW], held_out[FEW:], strict=True):
        scene, true = wide_scene(example, other, random)
        masks = [pet.mask for pet in pipeline.analyze(scene)]
        found += any((mask & true).sum() > 0.5 * (mask | true).sum() for mask in masks)
    assert found >= FEW - 2


def test_pictures_on_their_side_are_seen_upright(held_out: list[pets.Example]) -> None:
    seen = []
    for example, turn in zip(held_out[:FEW], QUARTERS * FEW, strict=False):
        pets_found = pipeline.analyze(turn_array(open_photo(example.photo), turn))
        seen.append((turn != 0, pipeline.turn_of(pets_found) == back(turn)))
    assert all(right for turned, right in seen if not turned)
    assert np.mean([right for turned, right in seen if turned]) > 0.7


def test_the_right_number_of_pets_is_found_in_most_photos_of_several(
    real_root: Path,
) -> None:
    several = evaluate_pets.with_several("trainval")
    counts = evaluate_pets.counted("trainval")
    chosen = [example for example in pets.split(real_root, "trainval") if example.name in several]
    right = [len(pipeline.analyze(open_photo(e.photo))) == counts[e.name] for e in chosen]
    assert len(right) >= 15
    assert np.mean(right) >= 0.75
