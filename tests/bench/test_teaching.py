"""What is corrected, written and compared when corrected photos teach a network."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import teaching
from bench.clicks import Course
from bench.teaching import Figures
from training import data_sets, pets
from training.evaluation.models import Model, open_model

HEIGHT, WIDTH = 6, 8


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pets in the official layout: 100 in trainval, of one breed, and one in the test split."""
    folder = tmp_path / "pets"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    trimap = np.full((HEIGHT, WIDTH), 2, np.uint8)
    trimap[1:4, 2:5] = 1
    names = [f"Bengal_{number}" for number in range(101)]
    for name in names:
        Image.new("RGB", (WIDTH, HEIGHT), "grey").save(folder / "images" / f"{name}.jpg")
        Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
    lines = [f"{name} 1 1 1" for name in names]
    for listed, part in (("list", lines), ("trainval", lines[:-1]), ("test", lines[-1:])):
        (folder / "annotations" / f"{listed}.txt").write_text("\n".join(part) + "\n")
    (folder / ".complete").touch()
    return folder


def test_the_worst_masks_are_corrected_and_join_the_training(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "CORRECTED", 2)
    examples = pets.split(root, "validation")
    inside = np.ones((HEIGHT, WIDTH), np.bool_)
    starts = np.linspace(0.5, 0.9, len(examples))[::-1]  # the last one is the worst
    courses = [
        Course(example.name, (start, 0.95), (0.01,), inside)
        for example, start in zip(examples, starts, strict=True)
    ]
    facts = teaching.correct(examples, courses, tmp_path / "corrected", root)
    worst = [examples[-1].name, examples[-2].name]
    assert facts["names"] == worst
    assert facts["before"] == pytest.approx(starts[-2:].mean())
    assert facts["after"] == 0.95
    assert facts["clicks"] == 1
    data = data_sets.open_pets(root, more=tmp_path / "corrected")
    train, held_out = data.training_parts(masks=True, skip_damaged=False, dry_run=False)
    assert [example.name for example in train[-2:]] == worst
    assert (pets.read_trimap(train[-1].trimap) == pets.PET).all()
    assert set(worst).isdisjoint(example.name for example in held_out)
    assert len(held_out) == len(examples) - 2


def test_a_sample_is_drawn_by_the_seed_and_is_the_same_with_corrections(
    root: Path, tmp_path: Path
) -> None:
    def drawn(data: data_sets.DataSet, seed: int) -> list[str]:
        train, _ = data.training_parts(
            masks=True, skip_damaged=False, dry_run=False, sample=20, seed=seed
        )
        return [example.name for example in train]

    plain = data_sets.open_pets(root)
    chosen = pets.split(root, "validation")[0]
    teaching.write(tmp_path / "more", {chosen: np.ones((HEIGHT, WIDTH), np.uint8)}, root)
    taught = data_sets.open_pets(root, more=tmp_path / "more")
    assert len(drawn(plain, 1)) == 20
    assert drawn(plain, 1) != drawn(plain, 2)
    assert drawn(taught, 1) == [*drawn(plain, 1), chosen.name]


def test_a_network_is_measured_picture_by_picture(root: Path) -> None:
    embedded = open_model("pet")

    def all_pet(batch: np.ndarray) -> np.ndarray:
        answer = np.zeros((1, *batch.shape[1:3], 3), np.float32)
        answer[..., 0] = 1
        return answer

    model = Model("pet", "segmentation", embedded.labels, embedded.input, {}, None, all_pet)
    figures = teaching.measure(model, pets.split(root, "test"))
    assert figures.overlaps.tolist() == [9 / 48]  # the pet has 3 x 3 of 6 x 8 pixels
    assert figures.confusions.tolist() == [[[9, 0, 0], [39, 0, 0], [0, 0, 0]]]


def test_figures_are_those_of_the_pictures_that_stay() -> None:
    confusions = np.array([[[3, 1, 0], [0, 4, 0], [0, 0, 2]], [[0, 9, 0], [9, 0, 0], [0, 0, 1]]])
    figures = Figures(np.array([0.6, 0.2]), confusions)
    assert figures.iou() == pytest.approx(0.4)
    first = figures.only(np.array([True, False]))
    assert first.iou() == 0.6
    assert first.mean_iou() == pytest.approx((3 / 4 + 4 / 5 + 1) / 3)


def test_a_gain_has_the_interval_of_its_mean() -> None:
    differences = np.random.default_rng(1).normal(0.01, 0.05, 400)
    error = differences.std() / np.sqrt(len(differences))
    low, high = teaching.interval(differences)
    assert low == pytest.approx(differences.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(differences.mean() + 1.96 * error, abs=0.1 * error)
    assert teaching.interval(np.full(5, 0.25)) == (0.25, 0.25)


def test_the_table_compares_with_the_control_of_the_same_seed() -> None:
    confusion = np.eye(3, dtype=np.int64)[np.newaxis]
    before, *others = (
        Figures(np.array([value]), confusion) for value in (0.5, 0.6, 0.7, 0.65, 0.8)
    )
    first, second = teaching.table(before, others[:2], others[2:]).splitlines()[2:]
    assert "| 0.5000 | 0.6500 | 0.7250 | +0.0750 (+0.0750 to +0.0750) | +0.0500, +0.1000 |" in first
    assert second.endswith("| 1.0000 | 1.0000 | 1.0000 | +0.0000 | +0.0000, +0.0000 |")
