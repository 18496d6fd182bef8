"""A photo that crashes, blocks or overfills its process gets an error, the next one a row."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from skimage.filters import threshold_otsu

from batch import rle, rows
from batch.analyst import Analyst, AnalystError
from models import pipeline, runtime, store
from models.images import open_photo

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CAT = EXAMPLES / "cat_chelsea.png"


@pytest.fixture
def analyst(hostile_photos: None) -> Iterator[Analyst]:
    analyst = Analyst(classes=3, seconds=60)
    yield analyst
    analyst.close()


def test_a_row_agrees_with_the_pipeline(analyst: Analyst, monkeypatch: pytest.MonkeyPatch) -> None:
    # With another number of threads, sums are computed in another order: here, too, on one core.
    monkeypatch.setattr(runtime.running, "answers", lambda: 1024)
    row = analyst.row(CAT.read_bytes())

    photo = open_photo(CAT)
    pets = pipeline.analyze(photo)
    expected = pipeline.describe(photo, pets=pets)
    (pet,) = pets
    mask = rle.decode(row["pets"][0].pop("mask"), *photo.shape[:2])
    np.testing.assert_array_equal(mask, pet.mask)
    assert (row["width"], row["height"], row["cuts"]) == (451, 300, expected["cuts"])
    assert row["pets"][0]["box"] == list(expected["pets"][0]["box"])
    assert row["pets"][0]["breeds"][0]["name"] == expected["pets"][0]["breeds"][0]["name"]
    assert row["pets"][0]["share"] == pytest.approx(pet.share, rel=1e-3)


def test_cuts_of_a_deep_picture_are_in_its_own_values() -> None:
    """Compared with scikit-image on the file's values."""
    noise = np.random.default_rng(0).normal(0, 40, (60, 80))
    values = (700 + noise + 2000 * (np.arange(80) > 40)).astype(np.uint16)
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")

    row = rows.columns(content.getvalue(), classes=2)

    assert row["cuts"] == [threshold_otsu(values)]


def test_bad_photos_get_an_error_and_the_others_a_row(analyst: Analyst, tmp_path: Path) -> None:
    sentences = [
        analyst.row(content)["error"]
        for content in (b"CRASH", b"no picture", b"", b"MEMORY", b"BUG")
    ]

    assert "ended the program that looked at it, 3 times" in sentences[0]
    assert "not a picture" in sentences[1]
    assert "is empty" in sentences[2]
    assert "too much memory" in sentences[3]
    assert all(sentence.endswith(".") for sentence in sentences)
    # A photo whose process was killed once, as for lack of memory, is tried again.
    again = analyst.row(b"ONCE" + str(tmp_path / "tried").encode())
    assert "not a picture" in again["error"]
    assert analyst.row(CAT.read_bytes())["pets"]


def test_a_photo_that_takes_too_long_gets_an_error(
    hostile_photos: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.analyst.ATTEMPTS", 1)
    analyst = Analyst(classes=3, seconds=0.5)

    row = analyst.row(b"HANG")

    assert row == {
        "error": "The photo took longer than 0.5 seconds, 1 times: please save it again."
    }
    analyst.close()


def test_its_process_has_one_busy_thread_and_ends_with_its_parent() -> None:
    analyst = Analyst(classes=3, seconds=60)
    process = psutil.Process(analyst._process.pid)

    for _ in range(3):
        analyst.row(CAT.read_bytes())

    used = sorted(thread.user_time + thread.system_time for thread in process.threads())
    assert sum(used[:-1]) < used[-1] / 10
    analyst._pipe.close()  # as the system does when a process dies
    process.wait(120)


def test_missing_models_are_not_blamed_on_a_photo(tmp_path: Path) -> None:
    with pytest.raises(AnalystError, match="no model in the folder"):
        Analyst(classes=3, seconds=5, environment={store.SOURCE_VARIABLE: str(tmp_path)})
