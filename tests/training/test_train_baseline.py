import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from models.images import open_photo
from training import pets, train_baseline
from training.train_baseline import BLOCK, CELL, METHODS, ORIENTATIONS, SIDE, Part

ROOT = Path(__file__).parents[2]
OUTPUTS = {"run.json", "settings.json", "learning_curve.png", "predictions.png"}


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def stripes(along: int) -> np.ndarray:
    """Bright and dark stripes along an axis."""
    bright = np.indices((SIDE, SIDE))[1 - along] // 10 % 2 * 200
    return np.repeat(bright[..., np.newaxis], 3, axis=2).astype(np.uint8)


def cells(features: np.ndarray) -> np.ndarray:
    """HOG features as `(block row, block column, cell row, cell column, direction)`."""
    blocks = SIDE // CELL - BLOCK + 1
    return features.reshape(blocks, blocks, BLOCK, BLOCK, ORIENTATIONS)


def test_pixel_features_are_grey_values_from_0_to_1() -> None:
    photo = np.zeros((2, 3, 3), np.uint8)
    photo[0, 1] = 255
    photo[1, 2] = (255, 0, 0)
    features = train_baseline.pixel_features(photo)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, [0, 1, 0, 0, 0, 0.299], atol=0.5 / 255)


def test_hog_features_of_a_photo_without_edges_are_zero() -> None:
    features = train_baseline.hog_features(np.full((SIDE, SIDE, 3), 90, np.uint8))
    assert features.dtype == np.float32
    assert not features.any()


def test_hog_features_tell_the_direction_of_edges() -> None:
    lying, standing = (cells(train_baseline.hog_features(stripes(along))) for along in (1, 0))
    strongest = [part.sum(axis=(0, 1, 2, 3)).argmax() for part in (lying, standing)]
    assert strongest[0] != strongest[1]
    np.testing.assert_allclose(lying[..., strongest[1]], 0)
    np.testing.assert_allclose(standing[..., strongest[0]], 0)


def test_hog_features_do_not_change_with_the_light() -> None:
    photo = noise() // 2
    brighter = train_baseline.hog_features(photo * 2)
    np.testing.assert_allclose(train_baseline.hog_features(photo), brighter, atol=1e-3)


def test_a_mirrored_photo_has_its_hog_features_mirrored() -> None:
    features = cells(train_baseline.hog_features(noise()))
    mirrored = cells(train_baseline.hog_features(noise()[:, ::-1]))
    assert features.min() >= 0
    assert features.max() <= 1
    # Directions become their supplements. The first and the last histogram bin are left out: both
    # end at vertical edges, which keep their bin.
    expected = features[:, ::-1, :, ::-1, ::-1]
    np.testing.assert_allclose(mirrored[..., 1:-1], expected[..., 1:-1], atol=0.01)
    assert np.abs(mirrored - features).max() > 0.05


def test_the_gaussian_kernel_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    first, second = (random.random((count, 500), dtype=np.float32) for count in (7, 9))
    second[0] = first[0]
    kernel = train_baseline.gaussian_kernel(first, second, gamma=0.01)
    assert kernel.dtype == np.float32
    assert kernel.max() == kernel[0, 0] == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(kernel, rbf_kernel(first, second, gamma=0.01), rtol=1e-4)


def test_the_gaussian_svm_is_scikit_learns_default() -> None:
    random = np.random.default_rng(0)
    features = random.random((60, 20), dtype=np.float32)
    labels = (features[:, 0] + features[:, 1] > 1).astype(np.intp)
    others = random.random((40, 20), dtype=np.float32)
    fast = train_baseline.gaussian_svm(features, labels, cost=2.0)
    default = SVC(C=2.0).fit(features, labels)
    np.testing.assert_allclose(
        fast.decision_function(others), default.decision_function(others), atol=1e-3
    )


def toy_part(pictures: int, seed: int) -> Part:
    """Dark cats and bright dogs, each beside its mirror image."""
    random = np.random.default_rng(seed)
    labels = np.arange(pictures) % 3 // 2
    features = random.normal(labels[:, np.newaxis], 0.1, (2, pictures, 12)).astype(np.float32)
    return Part(np.zeros((pictures, 4, 4, 3), np.uint8), features, labels)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_easily_separable_classes_are_learnt(method: train_baseline.Method) -> None:
    cost = method.costs[-1]
    train_part, held_out = toy_part(48, seed=0), toy_part(24, seed=1)
    assert train_baseline.accuracy(train_baseline.fit(method, train_part, cost), held_out) == 1
    rows = train_baseline.learning_curve(method, cost, train_part, held_out)
    assert [row["pictures"] for row in rows] == [6, 12, 24, 36, 48]
    assert rows[-1]["accuracy"] == rows[-1]["val_accuracy"] == 1


def test_training_uses_photos_and_mirror_images_with_their_labels() -> None:
    seen: dict[str, Any] = {}

    def remember(features: np.ndarray, labels: np.ndarray, cost: float) -> SVC:
        seen.update(features=features, labels=labels, cost=cost)
        return SVC()

    method = train_baseline.Method("", train_baseline.pixel_features, remember, (1.0,), True)
    part = toy_part(6, seed=0)
    train_baseline.fit(method, part, 0.5)
    np.testing.assert_array_equal(seen["features"], [*part.features[0], *part.features[1]])
    assert seen["labels"].tolist() == [0, 0, 1, 0, 0, 1] * 2
    assert seen["cost"] == 0.5


def test_parts_are_taken_from_and_joined_picture_by_picture() -> None:
    part, other = toy_part(6, seed=0), toy_part(3, seed=1)
    some = part.take([5, 0]).join(other)
    assert some.labels.tolist() == [1, 0, 0, 0, 1]
    assert some.photos.shape == (5, 4, 4, 3)
    np.testing.assert_array_equal(some.features[:, :2], part.features[:, [5, 0]])
    np.testing.assert_array_equal(some.features[:, 2:], other.features)


def test_figures_against_a_truth_counted_by_hand() -> None:
    cat, dog = 0, 1
    truth = np.array([cat, cat, cat, dog, dog, dog, dog, dog])
    prediction = np.array([cat, dog, cat, dog, dog, dog, cat, dog])
    figures = train_baseline.species_figures(truth, prediction)
    assert figures == {
        "pictures": 8,
        "accuracy": 6 / 8,
        "commoner_share": 5 / 8,
        "precision": {"cat": pytest.approx(2 / 3), "dog": pytest.approx(4 / 5)},
        "recall": {"cat": pytest.approx(2 / 3), "dog": pytest.approx(4 / 5)},
        "f1": {"cat": pytest.approx(2 / 3), "dog": pytest.approx(4 / 5)},
        "confusion": [[2, 1], [1, 4]],
    }


@pytest.mark.parametrize("name", ["official", "random"])
def test_no_picture_is_in_two_parts_of_a_split(tiny_pets: Path, name: str) -> None:
    parts = train_baseline.divide(tiny_pets, name)
    names = [example.name for part in parts for example in part]
    assert all(parts)
    assert len(names) == len(set(names)) == 54
    official_test = {example.name for example in pets.split(tiny_pets, "test")}
    assert ({example.name for example in parts[2]} == official_test) == (name == "official")


def test_the_random_split_is_tested_on_the_shared_fifth(tiny_pets: Path) -> None:
    train_part, held_out, test = train_baseline.divide(tiny_pets, "random")
    examples, fifth = pets.random_split(tiny_pets)
    assert test == fifth
    assert {example.name for example in [*train_part, *held_out]} == {
        example.name for example in examples
    }


def test_examples_become_photos_features_and_species(tiny_pets: Path) -> None:
    examples = pets.split(tiny_pets, "validation")
    part = train_baseline.load(tiny_pets, examples, METHODS["pixels"], True, "held-out")
    species = [train_baseline.SPECIES[label] for label in part.labels]
    assert species == ["cat" if example.name[0].isupper() else "dog" for example in examples]
    assert part.photos.shape == (len(examples), SIDE, SIDE, 3)
    photo, mirrored = part.features.reshape(2, len(examples), SIDE, SIDE)
    np.testing.assert_array_equal(mirrored, photo[:, :, ::-1])
    whole = open_photo(examples[0].photo).mean() / 255
    assert photo[0].mean() == pytest.approx(whole, abs=0.1)


@pytest.mark.parametrize(("method", "split"), [("pixels", "official")])
def test_a_dry_run_on_the_command_line(
    tiny_pets: Path, tmp_path: Path, method: str, split: str
) -> None:
    out = tmp_path / "run"
    words = [method, "--root", str(tiny_pets), "--out", str(out), "--split", split, "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-m", "training.train_baseline", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    out = out.with_name("run-dry-run")
    assert {path.name for path in out.iterdir()} == OUTPUTS
    assert all(path.stat().st_size for path in out.iterdir())
    run = json.loads((out / "run.json").read_text())
    assert run["command"].startswith(f"python -m training.train_baseline {method} ")
    assert run["split"] == split
    assert run["cost"] in METHODS[method].costs
    assert run["input"]["height"] == run["input"]["width"] == SIDE
    for part in ("held_out", "test"):
        figures = run[part]
        confusion = np.array(figures["confusion"])
        assert confusion.sum() == figures["pictures"]
        assert figures["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())
        assert f"accuracy {figures['accuracy']:.4f} on {figures['pictures']}" in done.stdout
    best = run["held_out_accuracy_by_cost"][str(run["cost"])]
    assert best == max(run["held_out_accuracy_by_cost"].values()) == run["held_out"]["accuracy"]
    assert run["learning_curve"][-1]["val_accuracy"] == run["held_out"]["accuracy"]


def test_help_explains_methods_and_splits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        train_baseline.parse_arguments(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for word in ("pixels", "hog", "--split", "official", "--dry-run", "runs/baseline-METHOD"):
        assert word in text
