"""Run lengths, held against a decoder that goes pixel by pixel."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from batch import rle


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
def test_both_decoders_give_the_mask_back(shape: tuple[int, int], density: float) -> None:
    mask = np.random.default_rng(7).random(shape) < density

    counts = rle.encode(mask)

    assert np.array_equal(decode_slowly(counts, *shape), mask)
    assert np.array_equal(rle.decode(counts, *shape), mask)
    assert 0 not in counts[1:]


def test_the_counts_are_those_of_coco() -> None:
    # Column by column: 0 1, 1 1, 0 0.
    assert rle.encode(np.array([[0, 1, 0], [1, 1, 0]], bool)) == [1, 3, 2]
    assert rle.encode(np.array([[1, 0], [1, 0]], bool)) == [0, 2, 2]


@pytest.mark.parametrize("counts", [[3], [1, 1, 5], [-1, 7], []])
def test_counts_of_another_size_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="no run lengths of a mask of 3 x 2 pixels"):
        rle.decode(counts, 2, 3)
