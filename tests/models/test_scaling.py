"""Strips of a scaled picture equal those of the whole picture scaled at once."""

import numpy as np
import pytest
from PIL import Image

from models.scaling import reduced_size, scaled, scaled_rows, strips


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 3), (300, 451), (2, 5000)])
def test_strips_are_all_rows_once_and_of_few_pixels(height: int, width: int) -> None:
    rows = [row for each in strips(height, width, 1000) for row in range(each.start, each.stop)]

    assert rows == list(range(height))
    for each in strips(height, width, 1000):
        assert (each.stop - each.start) * width <= max(1000, width)


@pytest.mark.parametrize("mode", ["L", "F"])
def test_strips_join_to_the_picture_scaled_at_once(mode: str) -> None:
    plane = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7), np.uint8)).convert(
        mode
    )

    joined = np.concatenate(
        [scaled_rows(plane, rows, 100, 90) for rows in strips(100, 90, 90 * 13)]
    )

    whole = np.asarray(plane.resize((90, 100), Image.Resampling.BILINEAR))
    assert joined.dtype == whole.dtype
    np.testing.assert_allclose(joined.astype(float), whole, atol=1 if mode == "L" else 1e-3)


def test_no_side_vanishes() -> None:
    assert scaled(10_000, 2, 0.01) == (100, 1)
    assert reduced_size(3, 65_535, 100) == (1, 100)
    assert reduced_size(30, 40, 100) == (30, 40)
