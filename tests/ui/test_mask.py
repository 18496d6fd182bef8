"""The search for objects in a large picture: how far it has come, stopped, and gone on with."""

import csv
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from threading import Event

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from models import micrographs
from models.measuring import measure_objects
from models.micrographs import Examined
from models.picture import Picture
from models.segmentation import Segmentation, Segmenter
from models.windows import FoundObjects
from ui import examples, mask, mask_lesson
from ui.memory import Memory
from ui.uploads import Upload

SIZE = (1100, 40)


@pytest.fixture
def upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upload:
    """A picture that is higher than the network's input."""
    path = tmp_path / "folder" / "large.png"
    path.parent.mkdir()
    Image.new("L", SIZE[::-1]).save(path)
    monkeypatch.setattr(mask, "REFRESH", 0.02)
    return Upload(str(path), Memory(10_000_000))


def search(until: Event) -> Callable[..., Examined]:
    """A search that goes on until it may end, and finds one object."""

    def examine(
        picture: Picture, network: Segmenter, progress: Callable[[float], None]
    ) -> Examined:
        assert picture.size == SIZE
        while not until.wait(0.01):
            progress(0.25)
        numbers = np.zeros(SIZE, np.int32)
        numbers[10:20, 10:20] = 1
        answer = np.full((*SIZE, 3), 1 / 3, np.float32)
        found = FoundObjects(
            Segmentation(answer, network.classes), np.ones(SIZE, np.uint8), numbers
        )
        return Examined(found, measure_objects(numbers))

    return examine


def test_a_large_picture_s_search_says_how_far_it_has_come(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = Event()
    monkeypatch.setattr(micrographs, "examine", search(may_end))
    answers = []

    for answer in mask.show_overlay(upload, "nuclei", 0.5, True):
        answers.append(answer)
        if "25%" in answer[0]:
            may_end.set()

    assert "<progress" in answers[-2][0]
    assert "Objects found: 1" in str(answers[-1][2])


def test_a_stopped_search_stays_stopped_until_it_is_asked_for_again(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = Event()
    monkeypatch.setattr(micrographs, "examine", search(may_end))

    answers = []
    for answer in mask.show_overlay(upload, "nuclei", 0.5, True):
        answers.append(answer)
        mask.stop_search(upload, "nuclei")

    assert "The search was stopped" in answers[-1][0]
    assert mask_lesson.show_objects(upload, "nuclei")[0] == ""
    assert "The search was stopped" in next(mask.show_overlay(upload, "nuclei", 0.5, True))[0]
    first = mask.search_again(upload, "nuclei")
    may_end.set()
    *_, answer = mask.show_overlay(upload, "nuclei", 0.5, True)
    assert "Objects found: 1" in str(answer[2])
    assert mask.search_again(upload, "nuclei") != first


def test_what_is_said_of_nuclei_adds_up_and_is_that_of_the_csv_file() -> None:
    nuclei = Upload(str(examples.FOLDER / "nuclei.png"))

    *_, answer = mask.show_overlay(nuclei, "nuclei", 0.5, True)
    shares = [Decimal(share) for share in re.findall(r"<td>([\d.]+)%</td>", str(answer[2]))]
    said, download, _ = mask_lesson.show_objects(nuclei, "nuclei")

    nucleus, background, border = shares
    assert nucleus + background + border == 100
    assert f"<td>{nucleus + border}%</td>" in said
    assert isinstance(download, gr.DownloadButton)
    file = download.value["path"] if isinstance(download.value, dict) else download.value
    with Path(file).open() as table:
        rows = {int(row["number"]): row for row in csv.DictReader(table)}
    pointed = re.findall(r"No\. (\d+): ([\d,]+) px, centre at x ([\d.]+), y ([\d.]+)", said)
    assert len(pointed) == len(rows)
    for number, area, x, y in pointed:
        row = rows[int(number)]
        assert int(area.replace(",", "")) == int(row["area"])
        assert (float(x), float(y)) == pytest.approx(
            (float(row["centroid_x"]), float(row["centroid_y"])), abs=0.051
        )
