"""The command line, with networks so small that their answers are known."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import images, store
from models.__main__ import main

AddModel = Callable[..., Path]

RED, GREEN = (255, 0, 0), (0, 255, 0)
# The mask model takes green as background and all else as pet; the classifier takes red as a Pug.
MASK = np.array([[0.0, -20, 0], [0, 20, 0], [0, 0, 0]])
LABELS = [{"name": "Pug", "species": "dog"}, {"name": "Sphynx", "species": "cat"}]
BREEDS = np.array([[5.0, 0, 0], [0, 0, 5]])


@pytest.fixture
def photo(tmp_path: Path, add_segmenter: AddModel, add_classifier: AddModel) -> str:
    """A red pet on green ground."""
    add_segmenter(weights=MASK, height=256, width=256)
    add_classifier(weights=BREEDS, labels=LABELS)
    pixels = np.full((256, 256, 3), GREEN, np.uint8)
    pixels[100:200, 60:160] = RED
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_a_photo_is_described_in_one_line_of_json(
    photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([photo, "--classes", "2"]) == 0

    (line,) = capsys.readouterr().out.splitlines()
    described = json.loads(line)
    (pet,) = described.pop("pets")
    assert described == {
        "photo": photo,
        "width": 256,
        "height": 256,
        "turn": 0,
        "cuts": [76.0],
    }
    assert pet["box"] == [60, 100, 160, 200]
    assert pet["share"] == pytest.approx(0.1526, abs=1e-4)
    assert [breed["name"] for breed in pet["breeds"]] == ["Pug", "Sphynx"]
    assert pet["breeds"][0]["species"] == "dog"
    assert sum(breed["probability"] for breed in pet["breeds"]) == pytest.approx(1)


def test_a_bad_file_gets_an_error_and_the_others_a_line(
    photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "notes.jpg"
    bad.write_text("no picture")

    assert main([str(bad), photo]) == 1

    said = capsys.readouterr()
    assert said.err.startswith(f"{bad}: ")
    assert len(said.err.splitlines()) == 1
    # Two colours are too few for three classes.
    assert json.loads(said.out)["cuts"] is None


def test_the_environment_limits_photos(
    photo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("MAX_BYTES", "MAX_PIXELS"):  # restored afterwards
        monkeypatch.setattr(images, name, getattr(images, name))
    monkeypatch.setenv("PETSCOPE_MAX_MEGABYTES", "0.00001")
    assert main([photo]) == 1
    assert "The file is larger than" in capsys.readouterr().err

    monkeypatch.setenv("PETSCOPE_MAX_MEGABYTES", "many")
    with pytest.raises(SystemExit) as ended:
        main([photo])
    assert ended.value.code == 2
    assert "PETSCOPE_MAX_MEGABYTES is not a number: many" in capsys.readouterr().err


def test_a_missing_model_is_reported_in_one_sentence(
    photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "breeds.json").unlink()

    assert main([photo]) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert "no model for classification" in said.err


def test_cuts_of_a_deep_picture_are_in_its_own_values(
    photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compared with scikit-image on the file's values; of a stack, the chosen plane."""
    import tifffile
    from skimage.filters import threshold_otsu

    path = tmp_path / "stack.tif"
    noise = np.random.default_rng(0).normal(0, 40, (2, 60, 80))
    values = (700 + noise + 2000 * (np.arange(80) > 40)).astype(np.uint16)
    values[1] += 500
    tifffile.imwrite(path, values, imagej=True, metadata={"axes": "ZYX"})

    assert main([str(path), "--classes", "2"]) == 0
    assert main([str(path), "--classes", "2", "--z", "2"]) == 0
    assert main([str(path), "--z", "3"]) == 1

    said = capsys.readouterr()
    cuts = [json.loads(line)["cuts"] for line in said.out.splitlines()]
    assert cuts == [[threshold_otsu(values[0])], [threshold_otsu(values[1])]]
    assert "ends with z 2" in said.err


def test_models_of_a_folder_are_filled_up_with_the_built_in_ones(
    photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with only nuclei is completed by the embedded pet outline and breeds."""
    monkeypatch.delenv(store.SOURCE_VARIABLE)
    nuclei = tmp_path / "nuclei"
    nuclei.mkdir()
    card = json.loads((tmp_path / "pet.json").read_text())
    card["labels"] = [{"name": name} for name in ("nucleus", "background", "border")]
    (nuclei / "a-nuclei.json").write_text(json.dumps(card))
    (nuclei / "a-nuclei.onnx").write_bytes((tmp_path / "pet.onnx").read_bytes())

    assert main([photo, "--models", str(nuclei)]) == 0
    with_folder = json.loads(capsys.readouterr().out)
    assert store.default("segmentation", "nucleus") == "a-nuclei"
    assert main([photo]) == 0
    assert json.loads(capsys.readouterr().out) == with_folder
    assert main([photo, "--models", str(tmp_path / "none")]) == 1
    assert "is neither a folder nor a repository" in capsys.readouterr().err
    store.choose(None)


def test_objects_are_counted_and_measured_on_request(
    photo: str, capsys: pytest.CaptureFixture[str], add_segmenter: AddModel
) -> None:
    add_segmenter("cells", weights=MASK, height=256, width=256, instances=True)

    assert main([photo, "--count", "cells"]) == 0

    described = json.loads(capsys.readouterr().out)
    assert described["count"] == 1
    (row,) = described["objects"]
    assert (row["number"], row["area"]) == (1, 10_000)
    assert (row["left"], row["top"], row["right"], row["bottom"]) == (60, 100, 160, 200)
    assert (row["mean_red"], row["mean_green"]) == (255, 0)


@pytest.mark.parametrize(
    ("model", "sentence"), [("none", "no model .none."), ("pet", "pet does not tell objects apart")]
)
def test_a_model_that_cannot_count_is_said_in_one_sentence(
    photo: str, capsys: pytest.CaptureFixture[str], model: str, sentence: str
) -> None:
    with pytest.raises(SystemExit):
        sys.exit(main([photo, "--count", model]))

    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(sentence, said.err)
