"""Objects of large pictures, found in windows."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from models import segmentation
from models.windows import find_objects, windows


def discs(side: int, radius: int, pitch: int, seed: int = 0) -> tuple[NDArray[np.uint8], int]:
    """A photo of discs on a jittered grid, and their number."""
    random = np.random.default_rng(seed)
    photo = np.full((side, side), 8.0)
    places = range(pitch // 2, side - pitch // 2 + 1, pitch)
    reach = np.arange(-radius - 2, radius + 3)
    inside = reach[:, np.newaxis] ** 2 + reach**2 <= radius**2
    for top in places:
        for left in places:
            y, x = np.array([top, left]) + random.integers(-2, 3, 2)
            window = photo[y - radius - 2 : y + radius + 3, x - radius - 2 : x + radius + 3]
            window[inside] = 70
    photo = gaussian_filter(photo, 1)
    photo += random.normal(0, 2, photo.shape)
    gray = np.clip(photo, 0, 255).astype(np.uint8)
    return np.repeat(gray[:, :, np.newaxis], 3, axis=2), len(places) ** 2


@pytest.mark.parametrize("size", [(10, 30), (100, 1000), (777, 1024), (3000, 129)])
def test_the_cores_cover_a_picture_once_and_lie_inside_their_windows(
    size: tuple[int, int],
) -> None:
    covered = np.zeros(size, int)
    for window, core in windows(*size, 128, 20):
        covered[core] += 1
        for outer, inner, length in zip(window, core, size, strict=True):
            assert outer.stop - outer.start <= 128
            assert inner.start - outer.start == min(20, inner.start)
            assert outer.stop - inner.stop == min(20, length - inner.stop)
    assert (covered == 1).all()


@pytest.mark.parametrize("side", [64, 400, 1300])
def test_discs_have_their_areas_in_small_and_large_pictures(side: int) -> None:
    radius = 20
    photo, count = discs(side, radius, 64)
    told: list[float] = []

    _, numbers = find_objects(segmentation.load("nuclei"), photo, told.append)

    areas = np.bincount(numbers.ravel())[1:]
    assert len(areas) == count
    true_area = np.count_nonzero(np.hypot(*np.mgrid[-30:31, -30:31]) <= radius)
    assert np.abs(areas / true_area - 1).max() < 0.05
    if side > 1024:
        assert told == sorted(told)
        assert told[-1] == 1


def test_the_progress_callback_can_stop_the_work() -> None:
    photo, _ = discs(1100, 20, 64)

    def stop(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        find_objects(segmentation.load("nuclei"), photo, stop)
