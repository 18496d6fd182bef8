"""Folders of your own pictures, and unreadable pictures."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.images import open_photo
from training import data_sets, folders
from training.archives import DataError

COUNTS = {"rose": 10, "tulip": 20}


def picture(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), (value, 50, 50)).save(path)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    root = tmp_path / "flowers"
    for name, count in COUNTS.items():
        for number in range(count):
            picture(root / name / f"{number}.jpg")
    (root / "rose" / "._0.jpg").write_bytes(b"another system's notes")
    (root / "readme.txt").write_text("tulips and roses")
    return root


@pytest.fixture
def cups(tmp_path: Path) -> Path:
    """Photos with masks beside them: labels of two discs, or white on black."""
    root = tmp_path / "cups"
    for number in range(6):
        picture(root / f"{number}.jpg")
        mask = np.zeros((8, 12), np.uint8)
        mask[1:7, 1:5], mask[1:7, 5:9] = 1, 2 if number else 1
        Image.fromarray(mask).save(root / f"{number}.png")
    picture(root / "photo.png")
    Image.fromarray(np.full((8, 12), 255, np.uint8)).save(root / "photo_mask.png")
    picture(root / "without.jpg")
    return root


def test_classes_are_folders_and_parts_do_not_overlap(flowers: Path) -> None:
    data = data_sets.open_folder(flowers, masks=False)
    assert data.name == "flowers"
    assert data.labels == ({"name": "rose"}, {"name": "tulip"})
    sizes = {"test": (2, 4), "validation": (2, 3), "train": (6, 13)}
    names: list[str] = []
    for part, counts in sizes.items():
        examples = data.split(part, 0)
        assert tuple(sum(one.label == label for one in examples) for label in (0, 1)) == counts
        assert all(one.name.startswith(("rose/", "tulip/")[one.label]) for one in examples)
        names += [one.name for one in examples]
    assert len(names) == len(set(names)) == 30
    folds = [one.name for fold in range(5) for one in data.split("validation", fold)]
    assert len(folds) == len(set(folds))


def test_masks_lie_beside_their_photos(cups: Path) -> None:
    found = folders.examples(cups, masks=True)
    assert {one.photo.name: one.mask and one.mask.name for one in found} == {
        **{f"{number}.jpg": f"{number}.png" for number in range(6)},
        "photo.png": "photo_mask.png",
    }
    classes = found[1].read_classes()
    assert classes.shape == (8, 12)
    assert classes[0, 0] == 1
    assert classes[3, 2] == 0
    assert (classes[2:6, 4:6] == 2).all()  # two that touch keep a border between them
    assert found[0].read_classes()[3, 4] == 0  # one does not
    assert found[0].read_classes(4, 6).shape == (4, 6)
    assert set(np.unique(found[-1].read_classes())) == {0}  # white everywhere: no border


@pytest.mark.parametrize(
    ("files", "masks", "reason"),
    [
        ([], False, "must hold two or more folders"),
        ([f"rose/{n}.jpg" for n in range(9)], False, "must hold two or more folders"),
        ([f"{a}/{n}.jpg" for a in "ab" for n in range(3)], False, r"see a \(3\), b \(3\)"),
        ([*(f"{a}/{n}.jpg" for a in "ab" for n in range(5)), "x.jpg"], False, "outside of the"),
        ([f"{n}.jpg" for n in range(9)], True, "0 photos with a mask"),
    ],
)
def test_a_folder_without_a_data_set_is_reported(
    files: list[str], masks: bool, reason: str, tmp_path: Path
) -> None:
    for name in files:
        picture(tmp_path / "own" / name)
    (tmp_path / "own").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=reason):
        data_sets.open_folder(tmp_path / "own", masks=masks)
    with pytest.raises(DataError, match="is not a folder"):
        data_sets.open_folder(tmp_path / "none", masks=masks)


def test_a_model_s_own_folder_is_found_again_and_must_have_its_classes(
    flowers: Path, tmp_path: Path
) -> None:
    labels = [{"name": "rose"}, {"name": "tulip"}]
    facts = {"task": "classification", "data": "flowers", "labels": labels}
    with pytest.raises(DataError, match="give its folder with --folder"):
        data_sets.open_for(facts)
    assert data_sets.open_for(facts | {"folder": str(flowers)}).labels == tuple(labels)
    moved = flowers.rename(tmp_path / "moved")
    assert data_sets.open_for(facts, folder=moved).labels == tuple(labels)
    shutil.copytree(moved / "rose", moved / "violet")
    with pytest.raises(DataError, match="other classes than the model: rose, tulip"):
        data_sets.open_for(facts, folder=moved)


def test_damaged_pictures_are_named_before_anything_begins_or_left_out(
    flowers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_sets.open_folder(flowers, masks=False)
    examples = data.split("train", 0)
    damaged, empty, missing = (one.photo for one in examples[:3])
    damaged.write_bytes(damaged.read_bytes()[:200])
    empty.write_bytes(b"")
    missing.unlink()

    with pytest.raises(DataError) as refused:
        data.check(examples, masks=False, skip_damaged=False)
    sentence = str(refused.value)
    assert sentence.startswith("3 of 19 pictures cannot be used: ")
    assert all(str(path) in sentence for path in (damaged, empty, missing))
    assert sentence.endswith("leave them out with --skip-damaged.")
    assert "\n" not in sentence

    capsys.readouterr()
    kept = data.check(examples, masks=False, skip_damaged=True)
    assert kept == examples[3:]
    said = capsys.readouterr().err
    assert all(f"left out: {path} (" in said for path in (damaged, empty, missing))


def test_readable_files_are_remembered_until_they_change(
    flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_sets.open_folder(flowers, masks=False)
    examples = data.split("train", 0)
    read: list[Path] = []
    really = open_photo

    def count(path: Path) -> np.ndarray:
        read.append(path)
        return really(path)

    monkeypatch.setattr(data_sets, "open_photo", count)
    data.check(examples, masks=False, skip_damaged=False)
    assert len(read) == len(examples)
    picture(examples[4].photo, value=200)
    data.check(examples, masks=False, skip_damaged=False)
    assert read[len(examples) :] == [examples[4].photo]


def test_a_missing_or_differently_sized_mask_is_damaged(cups: Path) -> None:
    data = data_sets.open_folder(cups, masks=True)
    examples = data.split("trainval", 0)
    Image.new("L", (5, 5)).save(examples[0].mask)
    examples[1].mask.unlink()
    with pytest.raises(DataError, match=r"2 of 6 .*different sizes.*1\.png is missing"):
        data.check(examples, masks=True, skip_damaged=False)
    assert len(data.check(examples, masks=True, skip_damaged=True)) == 4
    assert len(data.check(examples, masks=False, skip_damaged=False)) == 6
