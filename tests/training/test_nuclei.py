import io
import json
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from skimage.segmentation import find_boundaries

from models.preprocessing import prepare
from training import keras_unet, nuclei, train_unet
from training.archives import DataError

COLORS = {"fluorescence": ((10, 10, 10), (150, 150, 150)), "bright": ((220,) * 3, (120,) * 3)}
COLORS["stained"] = ((230, 200, 230), (110, 40, 130))
COUNTS = {"fluorescence": 20, "bright": 10, "stained": 10}


def picture(kind: str, number: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Two touching discs, on the background of their kind."""
    y, x = np.mgrid[:40, :56]
    left = np.hypot(y - 20, x - 16 - number % 3) < 9
    right = (np.hypot(y - 20, x - 33) < 9) & ~left
    ground, color = COLORS[kind]
    photo = np.full((40, 56, 3), ground, np.uint8)
    photo[left | right] = color
    return photo, [left, right]


def files() -> dict[str, bytes]:
    """The archive's files, in the official layout."""
    content = {}
    for kind, count in COUNTS.items():
        for number in range(count):
            photo, masks = picture(kind, number)
            name = f"{kind}{number}"
            pictures = {f"images/{name}.png": photo}
            pictures |= {f"masks/{i}.png": np.uint8(255) * mask for i, mask in enumerate(masks)}
            for path, array in pictures.items():
                file = io.BytesIO()
                Image.fromarray(array).save(file, "PNG")
                content[f"{name}/{path}"] = file.getvalue()
    return content


@pytest.fixture(scope="session")
def tiny_nuclei(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    with tarfile.open(source / "stage1_train.tar.gz", "w:gz") as archive:
        for name, content in files().items():
            member = tarfile.TarInfo(f"stage1_train/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return nuclei.prepare(tmp_path_factory.mktemp("nuclei"), source)


def test_the_official_zip_gives_the_same(tiny_nuclei: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "stage1_train.zip", "w") as archive:
        for name, content in files().items():
            archive.writestr(name, content)
    root = nuclei.prepare(tmp_path / "root", tmp_path)
    assert [one.name for one in nuclei.examples(root)] == [
        one.name for one in nuclei.examples(tiny_nuclei)
    ]


def test_a_zip_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "stage1_train.zip", "w") as archive:
        archive.writestr("../outside.png", b"")
    with pytest.raises(DataError, match="refused"):
        nuclei.prepare(tmp_path / "root", tmp_path)
    assert not (tmp_path / "outside.png").exists()


def test_a_source_without_the_archive_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must hold stage1_train"):
        nuclei.prepare(tmp_path / "root", tmp_path)


def test_kinds_are_recognised_by_colour(tiny_nuclei: Path) -> None:
    for example in nuclei.examples(tiny_nuclei):
        assert example.name.startswith(example.kind)


def test_splits_are_disjoint_and_hold_every_kind_alike(tiny_nuclei: Path) -> None:
    parts = {name: nuclei.split(tiny_nuclei, name) for name in nuclei.SPLITS}
    names = [example.name for part in parts.values() for example in part]
    assert len(names) == len(set(names)) == 40
    assert Counter(one.kind for one in parts["test"]) == {
        "fluorescence": 4,
        "bright": 2,
        "stained": 2,
    }
    assert parts["test"] == nuclei.split(tiny_nuclei, "test")
    with pytest.raises(ValueError, match="must be one of"):
        nuclei.split(tiny_nuclei, "trainval")


def test_instances_are_the_mask_files(tiny_nuclei: Path) -> None:
    example = next(one for one in nuclei.examples(tiny_nuclei) if one.name == "stained1")
    labels = nuclei.read_instances(example)
    for number, mask in enumerate(picture("stained", 1)[1], start=1):
        np.testing.assert_array_equal(labels == number, mask)


def test_the_border_is_each_nucleus_outermost_pixels() -> None:
    labels = np.zeros((30, 40), np.int32)
    labels[5:20, 5:20] = 1
    labels[5:20, 20:35] = 2  # touches the first
    labels[25:, :] = 3  # cut by the picture's edge
    classes = nuclei.classes_of(labels)
    border = find_boundaries(labels, connectivity=1, mode="inner")
    np.testing.assert_array_equal(classes == 2, border)
    np.testing.assert_array_equal(classes == 1, labels == 0)
    np.testing.assert_array_equal(nuclei.classes_of(np.stack([labels, labels]))[1], classes)


def test_windows_show_picture_and_nuclei_alike() -> None:
    random = np.random.default_rng(0)
    photo, (left, right) = picture("fluorescence", 0)
    labels = left + 2 * right.astype(np.int32)
    for side in (24, 48, 64):
        window, numbers = nuclei.random_window(photo, labels, side, random)
        assert window.shape == (side, side, 3)
        np.testing.assert_array_equal(window[..., 0] > 100, numbers > 0)


def test_a_dry_run_of_the_nuclei_network(
    tiny_nuclei: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_unet, "WINDOW", 32)
    words = [
        *("nuclei", "--root", str(tiny_nuclei), "--out", str(tmp_path), "--dry-run"),
        *("--filters", "2", "--depth", "2", "--batch", "4", "--verbose", "0"),
    ]
    run = train_unet.train(**vars(train_unet.parse_arguments(words)))
    facts = json.loads((run / "run.json").read_text())
    assert facts["data"] == "DSB 2018 nuclei"
    assert facts["instances"]
    assert [label["name"] for label in facts["labels"]] == ["nucleus", "background", "border"]
    model = keras.models.load_model(run / "model.keras")
    photo, _ = picture("stained", 0)
    batch = prepare(photo, keras_unet.nuclei_spec(4))
    assert model(batch).shape == (1, 40, 56, 3)
