"""Objects of large pictures, found in windows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from models import segmentation
from models.images import open_photo
from models.measuring import iou
from models.picture import Photo
from models.windows import Progress, find_objects, windows

ROOT = Path(__file__).parents[2]


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


def found(photo: Photo, progress: Progress = lambda share: None) -> NDArray[np.int32]:
    """The numbers of a photo's nuclei."""
    network = segmentation.load("nuclei")
    return find_objects(network.run, network.classes, network.card.input, photo, progress).numbers


@pytest.mark.parametrize("size", [(10, 30), (100, 1000), (777, 1024), (3000, 129)])
def test_the_cores_cover_a_picture_once_and_lie_inside_their_windows(
    size: tuple[int, int],
) -> None:
    covered = np.zeros(size, int)
    for window, core in windows(*size, 128, 20, 4):
        covered[core] += 1
        assert all(part.start % 4 == 0 for part in (*window, *core))
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

    numbers = found(photo, told.append)

    areas = np.bincount(numbers.ravel())[1:]
    assert len(areas) == count
    true_area = np.count_nonzero(np.hypot(*np.mgrid[-30:31, -30:31]) <= radius)
    assert np.abs(areas / true_area - 1).max() < 0.05
    if side > 1024:
        assert told == sorted(told)
        assert told[-1] == 1


def test_small_windows_find_the_nuclei_of_one_large_window() -> None:
    """None is cut at a seam: each has its counterpart, nearly pixel by pixel."""
    network = segmentation.load("nuclei")
    photo = open_photo(ROOT / "examples" / "nuclei.png")[:400, :400]
    spec = network.card.input
    small = replace(spec, height=336, width=336)

    whole, parts = (
        find_objects(network.run, network.classes, each, photo).numbers for each in (spec, small)
    )

    assert whole.max() == parts.max() > 30
    shared = [
        iou(inside, parts == np.bincount(parts[inside]).argmax())
        for inside in (whole == number for number in range(1, whole.max() + 1))
    ]
    assert min(shared) > 0.95


def test_the_progress_callback_can_stop_the_work() -> None:
    photo, _ = discs(1100, 20, 64)

    def stop(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        found(photo, stop)
