"""The measurement of albums: rates of results, and how far two builds' rows are apart."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batch import rows
from bench import albums


def row(**others: object) -> dict[str, object]:
    breeds = [{"name": "Pug", "species": "dog", "probability": 0.9}]
    pet = {"box": [1, 0, 3, 1], "breeds": breeds, "mask": [2, 1, 1, 1, 1]}
    return {"name": "a.jpg", "width": 3, "height": 2, "cuts": [9.0], "pets": [pet | others]}


@pytest.mark.parametrize(("workers", "parts", "seconds"), [(1, 2, 7), (2, 1, 4)])
def test_the_rate_begins_when_each_worker_has_finished_a_part(
    tmp_path: Path, workers: int, parts: int, seconds: int
) -> None:
    for number, second in enumerate((107, 100, 103)):
        path = rows.part_file(tmp_path, number)
        path.touch()
        os.utime(path, (second, second))

    assert albums.rate(tmp_path, workers) == pytest.approx(parts * albums.PART / seconds)


def test_rows_are_compared_as_they_are_read_back(tmp_path: Path) -> None:
    with rows.PartFile(rows.part_file(tmp_path, 0), {}) as file:
        file.add(row())
    ours = albums.rows(tmp_path)

    assert set(albums.differences(ours, ours).values()) == {0}
    breeds = [{"name": "Pug", "species": "dog", "probability": 0.85}]
    other = row(box=[1, 0, 3, 2], mask=[2, 1, 3], breeds=breeds)
    found = albums.differences(ours, {"a.jpg": other})
    assert found == pytest.approx({"photos": 0, "pixels": 1, "probability": 0.05, "outline": 1 / 6})
    assert albums.differences(ours, {"a.jpg": row() | {"cuts": None}})["photos"] == 1


def test_a_photo_is_as_large_as_a_camera_s(tmp_path: Path) -> None:
    example = albums.ROOT / "examples" / "cat_chelsea.png"

    albums.write_photo(3, example, tmp_path)

    with Image.open(tmp_path / "003.jpg") as image:
        assert image.size == (4032, 3024)
        assert np.asarray(image.crop((0, 0, 99, 99))).std(axis=(0, 1)).min() > 2


def test_the_table_names_both_builds_and_what_two_workers_reach() -> None:
    facts = {"photos": 60, "cores": 2, "processor": "P", "date": "2026-01-02", "bytes": 3e6}
    found = {"photos": 0, "pixels": 1, "probability": 0.001, "outline": 0.0004}
    rates = {"this": {1: 6.0, 2: 10.8}, "other": {1: 4.0, 2: 7.0}}

    text = albums.text(facts | rates | {"differences": found})

    assert "| one worker | 6.00 | 4.00 |" in text
    assert "| of 2 x one | 90% | 88% |" in text
    assert "0.04% of a photo's pixels" in text
