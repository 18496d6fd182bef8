"""Strokes from the browser: what they change, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import store
from models.correcting import MOST_STROKES, Stroke
from ui import brush, examples, mask, page
from ui.memory import Memory
from ui.uploads import Upload

STROKE = {"keep": True, "points": [[0.05, 0.05], [0.1, 0.05]], "radius": 0.02}


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Upload:
    path = tmp_path_factory.mktemp("abc") / "cat.png"
    path.write_bytes((examples.FOLDER / "cat_chelsea.png").read_bytes())
    return Upload(str(path), Memory(50_000_000))


def drawn(upload: Upload, *strokes: dict[str, Any]) -> dict[str, Any]:
    return {"open": True, "key": upload.key, "serial": 3, "strokes": list(strokes)}


def test_strokes_make_another_upload_whose_mask_and_pets_follow(upload: Upload) -> None:
    corrected, area, layer = brush.take_strokes(upload, drawn(upload, STROKE))

    assert isinstance(corrected, Upload)
    assert corrected != upload
    assert corrected.uncorrected == upload
    assert corrected.key == upload.key
    assert corrected.strokes == (Stroke(True, ((0.05, 0.05), (0.1, 0.05)), 0.02),)
    assert 'data-serial="3"' in str(layer)
    assert 'data-answer="yes"' in str(layer)
    assert not isinstance(area, str)  # the canvas is open already
    model = store.default("segmentation")
    height, width = upload.preview.shape[:2]
    place = round(0.05 * height), round(0.07 * width)
    assert upload.mask(model).segmentation.mask[place] != 1
    assert corrected.mask(model).segmentation.mask[place] == 1
    assert corrected.whole_mask(model)[place] == 1
    assert corrected.cut_out().cut_out[place][3] > 127
    assert mask.changes(upload, model) == ""
    assert "IoU" in mask.changes(corrected, model)


def test_a_removed_pet_is_none_any_more(upload: Upload) -> None:
    assert len(upload.pets.pets) == 1
    over = [[x, y] for y in np.linspace(0, 1, 12).tolist() for x in (0.0, 1.0)]
    stroke = {"keep": False, "points": over, "radius": 0.08}

    corrected, _, _ = brush.take_strokes(upload, drawn(upload, stroke))

    assert isinstance(corrected, Upload)
    assert corrected.pets.pets == []
    current, message, *_ = page.follow_strokes(corrected, upload)
    assert current is corrected
    assert "No cat or dog" in str(message)


def test_strokes_of_another_photo_change_nothing(upload: Upload) -> None:
    said = drawn(upload, STROKE) | {"key": "another"}
    other = replace(upload, path=str(Path(upload.path).with_name("other.png")), strokes=())

    assert not isinstance(brush.take_strokes(upload, said)[0], Upload)
    assert not any(isinstance(each, Upload) for each in page.follow_strokes(upload, other))
    assert not any(isinstance(each, Upload) for each in page.follow_strokes(upload, None))


@pytest.mark.parametrize(
    "strokes",
    [
        "none",
        [{}],
        [None],
        [STROKE | {"points": []}],
        [STROKE | {"points": [[0.5]]}],
        [STROKE | {"points": [["a", "b"]]}],
        [STROKE | {"points": [[0.5, 7]]}],
        [STROKE | {"radius": None}],
        [STROKE | {"radius": float("inf")}],
        [STROKE] * (MOST_STROKES + 1),
    ],
)
def test_strokes_that_cannot_be_change_nothing(upload: Upload, strokes: object) -> None:
    said = {"open": True, "key": upload.key, "serial": "x", "strokes": strokes}

    assert brush.read_strokes(said) is None
    corrected, _, layer = brush.take_strokes(upload, said)
    assert not isinstance(corrected, Upload)
    assert 'data-strokes="[]"' in str(layer)


@pytest.mark.parametrize("said", [None, "", [], {"open": False}, {"strokes": []}])
def test_a_canvas_that_is_closed_is_a_button(upload: Upload, said: object) -> None:
    area, layer = brush.show_canvas(upload, said)

    assert str(area).startswith("<button")
    assert layer == ""
    assert brush.show_canvas(None, said) == ("", "")


def test_nuclei_are_not_corrected(upload: Upload) -> None:
    assert brush.show_canvas(upload, {"open": True}, "nuclei") == ("", "")
