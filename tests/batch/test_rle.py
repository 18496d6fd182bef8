"""Run lengths, compared with a decoder that goes pixel by pixel."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from numpy.typing import NDArray

from batch import rle, rows
from models.regions import Region

DOCS = Path(__file__).parent.parent.parent / "docs" / "batch.md"


def decode_slowly(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), bool)
    position, value = 0, False
    for count in counts:
        for _ in range(count):
            mask[position % height, position // height] = value
            position += 1
        value = not value
    assert position == height * width
    return mask


@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1, 40), (64, 33)])
def test_both_decoders_restore_the_mask(shape: tuple[int, int], density: float) -> None:
    mask = np.random.default_rng(7).random(shape) < density

    counts = rle.encode(Region.of_mask(mask))

    assert np.array_equal(decode_slowly(counts, *shape), mask)
    assert np.array_equal(rle.decode(counts, *shape), mask)
    assert 0 not in counts[1:]


def test_the_counts_are_those_of_coco() -> None:
    # Column by column: 0 1, 1 1, 0 0.
    for mask, counts in (([[0, 1, 0], [1, 1, 0]], [1, 3, 2]), ([[1, 0], [1, 0]], [0, 2, 2])):
        assert rle.encode(Region.of_mask(np.array(mask, bool))) == counts


def test_the_example_in_the_docs_works_with_failed_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").mkdir()
    pet = {"box": [1, 0, 3, 1], "mask": [2, 1, 1, 1, 1]}
    with rows.PartFile(rows.part_file(tmp_path / "results", 0), {}) as file:
        file.add({"name": "bad.jpg", "error": "The file is empty."})
        file.add({"name": "cat.jpg", "width": 3, "height": 2, "pets": [pet]})
    (recipe,) = re.findall("```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)

    exec(recipe)  # noqa: S102

    assert capsys.readouterr().out == "cat.jpg 2\n"
    frame = ds.dataset("results").to_table().to_pandas()
    (row,) = (row for row in frame[frame.error.isna()].itertuples() if len(row.pets))
    assert isinstance(row.width, float)
    expected = [[False, True, True], [False, False, False]]
    assert rle.decode(row.pets[0]["mask"], row.height, row.width).tolist() == expected


@pytest.mark.parametrize("counts", [[3], [1, 1, 5], [-1, 7], []])
def test_counts_of_another_size_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="no run lengths of a mask of 3 x 2 pixels"):
        rle.decode(counts, 2, 3)
