"""Cut-outs against a slow guided filter that follows the paper, and hand-made references."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from models import matting
from models.images import Photo
from models.matting import blur_background, cover, cut_out, lay_over, refine

RED, GREEN, BLUE = (200, 40, 30), (40, 160, 60), (30, 60, 200)


def random_photo(height: int, width: int) -> Photo:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def halves(height: int, width: int, edge: int) -> Photo:
    """Red left of the edge and green right of it."""
    photo = np.empty((height, width, 3), np.uint8)
    photo[:, :edge], photo[:, edge:] = RED, GREEN
    return photo


def ramp(height: int, width: int, middle: float, length: float) -> NDArray[np.uint8]:
    """A mask that falls from 255 on the left to 0 on the right."""
    fall = 0.5 - (np.arange(width) + 0.5 - middle) / length
    return np.tile(np.round(255 * fall.clip(0, 1)).astype(np.uint8), (height, 1))


def slow_guided_filter(
    guide: NDArray[np.float64], mask: NDArray[np.float64], radius: int
) -> NDArray[np.float64]:
    """Equations 19 to 21 of "Guided image filtering", window by window."""

    def windows(values: NDArray[np.float64]) -> NDArray[np.float64]:
        edges = [(radius, radius)] * 2 + [(0, 0)] * (values.ndim - 2)
        padded = np.pad(values, edges, mode="symmetric")
        size = 2 * radius + 1
        return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))

    height, width = mask.shape
    slopes, offsets = np.empty((height, width, 3)), np.empty((height, width))
    colors, values = windows(guide), windows(mask)
    for row in range(height):
        for column in range(width):
            pixels = colors[row, column].reshape(3, -1)
            wanted = values[row, column].ravel()
            covariance = np.cov(pixels, bias=True) + matting.REGULARIZATION * np.eye(3)
            shared = (pixels * wanted).mean(axis=1) - pixels.mean(axis=1) * wanted.mean()
            slopes[row, column] = np.linalg.solve(covariance, shared)
            offsets[row, column] = wanted.mean() - slopes[row, column] @ pixels.mean(axis=1)
    mean_slopes = windows(slopes).mean(axis=(-2, -1))
    return (mean_slopes * guide).sum(axis=2) + windows(offsets).mean(axis=(-2, -1))


@pytest.mark.parametrize("grain", [1.0, 1.7])
def test_refining_is_the_papers_filter_with_raised_contrast(grain: float) -> None:
    photo = random_photo(17, 24)
    photo[:, 13:] //= 3
    mask = ramp(17, 24, 11, 9)

    opacity = refine(photo, mask, grain)

    expected = mask / 255
    for _ in range(matting.PASSES):
        filtered = slow_guided_filter(photo / 255, expected, round(matting.RADIUS * grain))
        expected = ((filtered - 0.5) * matting.CONTRAST + 0.5).clip(0, 1)
    assert opacity.dtype == np.uint8
    np.testing.assert_allclose(opacity, expected * 255, atol=1)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (50, 60), (700, 1500)])
def test_a_constant_mask_stays_as_it_is(shape: tuple[int, int], value: int) -> None:
    opacity = refine(random_photo(*shape), np.full(shape, value, np.uint8), 4)

    assert (opacity == value).all()


@pytest.mark.parametrize("scale", [1, 8])
def test_an_edge_of_the_photo_attracts_the_mask_s(scale: int) -> None:
    photo = halves(100 * scale, 200 * scale, 100 * scale)
    mask = ramp(100 * scale, 200 * scale, 94 * scale, 20 * scale)  # too far left, and wide
    assert mask[0, 98 * scale] < 100

    opacity = refine(photo, mask, 5 * scale)

    # Within a pixel of the reduced photo on which it is computed.
    assert opacity[:, : 98 * scale].min() >= 250
    assert opacity[:, 102 * scale :].max() <= 5


def test_a_photo_of_one_colour_keeps_the_mask_s_edge_in_its_place() -> None:
    opacity = refine(np.full((80, 120, 3), 90, np.uint8), ramp(80, 120, 60, 20), 2)

    assert (opacity[:, 30] == 255).all()
    assert (opacity[:, 90] == 0).all()
    assert abs(opacity[:, 59:61].mean() - 127.5) < 2


def test_strips_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matting, "WORKING_SIDE", 64)
    photo, mask = random_photo(150, 200), ramp(150, 200, 90, 60)
    whole = refine(photo, mask, 3)
    whole_cut = cut_out(photo, whole, 3)
    monkeypatch.setattr(matting, "STRIP", 1400)  # seven rows

    opacity = refine(photo, mask, 3)

    np.testing.assert_allclose(opacity.astype(int), whole, atol=1)
    np.testing.assert_allclose(cut_out(photo, whole, 3).astype(int), whole_cut, atol=1)


def test_a_cut_out_keeps_sure_pixels_and_forgets_the_background() -> None:
    photo, opacity = random_photo(30, 40), ramp(30, 40, 20, 10)
    photo.flags.writeable = opacity.flags.writeable = False

    cut = cut_out(photo, opacity, 1)

    assert cut.dtype == np.uint8
    np.testing.assert_array_equal(cut[:, :, 3], opacity)
    np.testing.assert_array_equal(cut[opacity == 255][:, :3], photo[opacity == 255])
    assert not cut[opacity == 0].any()


def test_the_soft_edge_gets_the_foreground_s_own_colour() -> None:
    opacity = ramp(60, 100, 50, 12)
    share = opacity[:, :, np.newaxis] / 255
    photo = np.round(share * RED + (1 - share) * GREEN).astype(np.uint8)
    soft = (opacity > 25) & (opacity < 255)

    cut = cut_out(photo, opacity, 4)

    before, after = (
        np.abs(picture[soft][:, :3].astype(float) - RED).mean() for picture in (photo, cut)
    )
    assert after < before / 3


def test_laying_over_mixes_by_opacity() -> None:
    cut = np.dstack([random_photo(20, 30), random_photo(20, 30)[::-1, :, 0]])
    background = random_photo(20, 30)[:, ::-1]
    background.flags.writeable = False
    share = cut[:, :, 3:] / 255

    for ground in (background, BLUE):
        laid = lay_over(cut, ground)
        assert laid.dtype == np.uint8
        expected = share * cut[:, :, :3] + (1 - share) * np.asarray(ground)
        np.testing.assert_allclose(laid, expected, atol=1)


@pytest.mark.parametrize("size", [(90, 300), (300, 90), (37, 37), (1, 1)])
def test_a_picture_covers_with_its_middle(size: tuple[int, int]) -> None:
    height, width = size
    thirds = np.repeat(np.array([RED, GREEN, BLUE], np.uint8), (100, 400, 100), axis=0)
    wide = np.tile(thirds, (200, 1, 1))

    covered = cover(wide, height, width)

    assert covered.shape == (height, width, 3)
    # Enlarging and reducing use a few pixels beyond the edge.
    np.testing.assert_allclose(covered[height // 2, width // 2], GREEN, atol=8)
    if width <= height * 2:  # so the blue and the red are cut off
        np.testing.assert_allclose(covered, np.full_like(covered, GREEN), atol=8)


def test_nothing_of_the_foreground_glows_in_the_blurred_background() -> None:
    photo, opacity = np.full((200, 300, 3), GREEN, np.uint8), np.zeros((200, 300), np.uint8)
    photo[60:140, 100:200], opacity[60:140, 100:200] = RED, 255

    blurred = blur_background(photo, opacity)

    assert blurred.shape == photo.shape
    np.testing.assert_allclose(blurred[opacity == 0], np.tile(GREEN, (52000, 1)), atol=2)


def test_the_background_is_blurred() -> None:
    photo = random_photo(200, 300)

    blurred = blur_background(photo, np.zeros((200, 300), np.uint8))

    assert blurred.std() < photo.std() / 8
    assert blurred.mean() == pytest.approx(photo.mean(), abs=1)


def test_twelve_megapixels_take_less_than_three_seconds_of_a_core() -> None:
    photo = np.tile(random_photo(300, 400), (10, 10, 1))
    mask = ramp(3000, 4000, 2000, 300)
    start = time.process_time()

    cut = cut_out(photo, refine(photo, mask, 15.6), 15.6)

    assert time.process_time() - start < 3
    assert cut.shape == (3000, 4000, 4)


@pytest.mark.parametrize("shape", [(40, 60), (5, 3), (1, 30), (1, 1)])
@pytest.mark.parametrize("radius", [1, 6])
def test_means_of_windows_mirror_the_picture_as_scipy_does(
    shape: tuple[int, int], radius: int
) -> None:
    plane = np.random.default_rng(0).random(shape, np.float32)

    means = matting._window_mean(plane, radius)

    expected = uniform_filter(plane.astype(np.float64), 2 * radius + 1, mode="reflect")
    np.testing.assert_allclose(means, expected, atol=1e-6)
