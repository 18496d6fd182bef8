"""The figures in the embedded models' cards, checked on a part of the real test split."""

from pathlib import Path

import numpy as np
import pytest

from models import store
from training import pets
from training.evaluation.models import open_model
from training.evaluation.scores import score_breeds, score_masks

PICTURES = 250

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
