"""Bright nuclei on a dark ground: their areas against discs of known radius."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from models import fluorescence, segmentation
from models.segmentation import Segmentation
from models.windows import find_objects

CLASSES = ("nucleus", "background", "border")
AREAS = (64, 128, 400, 1256, 4000)


def discs(area: int, brightness: int, blur: float, count: int = 9) -> NDArray[np.uint8]:
    """A grey picture of `count` discs, whose pixels at the edge are partly covered, with noise."""
    radius = (area / np.pi) ** 0.5
    random = np.random.default_rng(area + brightness)
    pitch = round(max(3 * radius, 2 * radius + 16))
    across = round(count**0.5)
    y, x = np.mgrid[: pitch * across, : pitch * across]
    coverage = np.zeros(y.shape)
    for place in range(count):
        middle = np.array(divmod(place, across)) * pitch + pitch / 2 + random.uniform(-2, 2, 2)
        away = np.hypot(y - middle[0], x - middle[1])
        coverage = np.maximum(coverage, np.clip(radius - away + 0.5, 0, 1))
    gray = 10 + (brightness - 10) * gaussian_filter(coverage, blur)
    return np.rint(np.clip(gray + random.normal(0, 2, gray.shape), 0, 255)).astype(np.uint8)


@pytest.mark.parametrize(("brightness", "blur"), [(50, 1), (90, 1), (150, 0.5), (250, 0), (250, 1)])
def test_discs_of_known_radius_have_their_areas_within_5_percent(
    brightness: int, blur: float
) -> None:
    network = segmentation.load("nuclei")
    for area in AREAS:
        photo = np.repeat(discs(area, brightness, blur)[:, :, np.newaxis], 3, axis=2)

        found = find_objects(network.run, network.classes, network.card.input, photo)

        areas = np.bincount(found.numbers.ravel())[1:]
        assert len(areas) == 9, area
        assert np.mean(areas) == pytest.approx(area, rel=0.05)


def test_a_single_large_and_bright_nucleus_is_one() -> None:
    gray = np.full((700, 700), 5, np.uint8)
    y, x = np.mgrid[:700, :700]
    gray[np.hypot(y - 350, x - 300) <= 40] = 250
    photo = np.repeat(gray[:, :, np.newaxis], 3, axis=2)
    network = segmentation.load("nuclei")

    found = find_objects(network.run, network.classes, network.card.input, photo)

    assert found.numbers.max() == 1
    assert np.count_nonzero(found.numbers) == pytest.approx(np.count_nonzero(gray == 250), rel=0.05)


def test_only_grey_pictures_that_are_dark_are_fluorescence() -> None:
    dark = discs(400, 90, 1)
    photo = np.repeat(dark[:, :, np.newaxis], 3, axis=2)
    stained = photo.copy()
    stained[:, :, 2] += 20

    found = fluorescence.gray_of(photo)

    assert found is not None
    np.testing.assert_array_equal(found, dark)
    assert fluorescence.gray_of(255 - photo) is None
    assert fluorescence.gray_of(stained) is None


def test_a_picture_is_dimmed_to_the_brightness_of_known_nuclei() -> None:
    bright, dark = discs(400, 250, 1), discs(400, 60, 1)
    nuclei = np.bincount(bright[bright > 240], minlength=256)

    shown = fluorescence.dimmed(bright, nuclei)[:, :, 1]

    assert np.median(shown[bright > 240]) == pytest.approx(80, abs=2)
    assert np.corrcoef(shown.ravel(), bright.ravel())[0, 1] > 0.999
    nuclei = np.bincount(dark[dark > 50], minlength=256)
    np.testing.assert_array_equal(fluorescence.dimmed(dark, nuclei)[:, :, 1], dark)


def rings(size: int = 200) -> tuple[NDArray[np.uint8], Segmentation]:
    """A bright disc of radius 40, and a network that sees background in its middle."""
    y, x = np.mgrid[:size, :size]
    away = np.hypot(y - size / 2, x - size / 2)
    answer = np.zeros((size, size, 3), np.float32)
    answer[:, :, 0] = (away <= 40) & (away > 20)
    answer[:, :, 1] = 1 - answer[:, :, 0]
    return np.where(away <= 40, 200, 10).astype(np.uint8), Segmentation(answer, CLASSES)


def test_what_is_as_bright_as_the_nuclei_around_it_is_nucleus() -> None:
    gray, seen = rings()

    filled = fluorescence.fill(seen, gray)

    found = filled.segmentation
    np.testing.assert_array_equal(found.mask == 1, gray == 200)
    assert found.instances().max() == 1
    np.testing.assert_allclose(found.probabilities.sum(axis=2), 1)
    assert filled.levels[200] == filled.levels.sum()
    assert filled.missed / filled.levels.sum() == pytest.approx((20 / 37) ** 2, rel=0.05)


def test_what_is_dark_stays_background() -> None:
    gray, seen = rings()
    gray[seen.probabilities[:, :, 1] == 1] = 10
    nothing = Segmentation(np.full((20, 20, 3), 1 / 3, np.float32), CLASSES)

    for segmentation_, picture in ((seen, gray), (nothing, gray[:20, :20])):
        filled = fluorescence.fill(segmentation_, picture)
        np.testing.assert_array_equal(
            filled.segmentation.probabilities, segmentation_.probabilities
        )
        assert filled.missed == 0


def test_what_lies_outside_of_an_edge_is_taken_off_and_what_has_none_stays() -> None:
    y, x = np.mgrid[:60, :90]
    disc, dim = np.hypot(y - 30, x - 25), np.hypot(y - 30, x - 68)
    gray = np.select([disc <= 12, dim <= 10], [100, 16], 10).astype(np.uint8)
    wide = binary_dilation(disc <= 12) + 2 * binary_dilation(dim <= 10).astype(np.int32)

    trimmed = fluorescence.trim(wide, gray)

    np.testing.assert_array_equal(trimmed == 1, disc <= 12)
    np.testing.assert_array_equal(trimmed == 2, wide == 2)  # too faint to say
    everywhere = np.ones((20, 20), np.int32)
    np.testing.assert_array_equal(fluorescence.trim(everywhere, gray[:20, :20]), everywhere)


def test_where_a_nucleus_is_dim_its_edge_is_too() -> None:
    """A disc whose brightness falls by half from one side to the other keeps its dim side."""
    y, x = np.mgrid[:60, :60]
    disc = np.hypot(y - 30, x - 30) <= 16
    gray = np.where(disc, 10 + 120 * (1 - 0.7 * (x - 14) / 32), 10).astype(np.uint8)
    wide = binary_dilation(disc).astype(np.int32)

    trimmed = fluorescence.trim(wide, gray)

    np.testing.assert_array_equal(trimmed == 1, disc)


def test_the_mask_shows_what_is_measured() -> None:
    """What is trimmed off a nucleus is background, in a large picture too."""
    photo = np.repeat(discs(400, 90, 1)[:, :, np.newaxis], 3, axis=2)
    network = segmentation.load("nuclei")
    spec = network.card.input
    in_windows = replace(spec, height=384, width=384)

    for picture, seen in ((photo, spec), (np.tile(photo, (5, 5, 1)), in_windows)):
        found = find_objects(network.run, network.classes, seen, picture)

        background = network.classes.index("background") + 1
        shown = found.segmentation.resized(*found.mask.shape).mask
        for mask in (found.mask, shown):
            assert not ((mask != background) & (found.numbers == 0)).any()
            assert np.mean((mask == background) & (found.numbers > 0)) < 1e-4
