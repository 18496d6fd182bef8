"""Regions kept as runs, held against the pictures that they stand for."""

import numpy as np
import pytest
from PIL import Image

from models.regions import HALF, Box, Region, claimed, numbered, of_numbers


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    """`(height, width)` uint8 with soft round shapes."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def drawn(claim: tuple[Box, np.ndarray], height: int, width: int) -> np.ndarray:
    """A claim enlarged bilinearly at once to float numbers; 0 outside of its window."""
    (left, top, right, bottom), belonging = claim
    image = Image.fromarray(belonging.astype(np.float32))
    photo = np.zeros((height, width), np.float32)
    photo[top:bottom, left:right] = np.asarray(
        image.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    )
    return photo


@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1, 40), (33, 64)])
def test_a_region_is_its_mask(shape: tuple[int, int], density: float) -> None:
    mask = np.random.default_rng(3).random(shape) < density
    mask[0, 0] = True

    region = Region.of_mask(mask)

    np.testing.assert_array_equal(region.mask, mask)
    assert (region.area, region.share) == (mask.sum(), mask.mean())
    rows, columns = np.nonzero(mask)
    assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.parametrize("size", [(20, 28), (8, 88), (53, 60), (130, 12)])
def test_a_part_at_another_size_is_that_of_pillow(size: tuple[int, int]) -> None:
    mask = blobs(1, 60, 80) > 128
    box = (10, 5, 70, 58)

    sampled = Region.of_mask(mask).sampled(box, *size)

    part = Image.fromarray(mask).crop(box).resize(size[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(sampled.mask, np.asarray(part))


def test_numbers_become_regions_and_back() -> None:
    numbers = np.zeros((40, 50), np.uint8)
    numbers[5:20, 5:20], numbers[10:35, 30:45], numbers[36, 2] = 1, 2, 3

    regions = of_numbers(numbers)

    assert [region.area for region in regions] == [225, 375, 1]
    np.testing.assert_array_equal(numbered(regions, 40, 50), numbers)
    joined = regions[0].joined(regions[1])
    np.testing.assert_array_equal(joined.mask, (numbers == 1) | (numbers == 2))


@pytest.mark.parametrize("window", [(0, 0, 400, 300), (60, 40, 390, 280), (10, 10, 30, 20)])
def test_a_claim_is_enlarged_as_pillow_does(window: Box) -> None:
    claim = window, blobs(2, 24, 32)

    (region,) = claimed([claim], 300, 400)

    assert region is not None
    expected = drawn(claim, 300, 400)
    different = region.mask != (expected > HALF + 0.5)
    assert different.mean() < 2e-3
    assert (
        np.abs(expected[different] - HALF - 0.5).max(initial=0) < 1.5
    )  # between two whole numbers


def test_of_several_claims_the_surer_wins() -> None:
    claims = [((0, 0, 300, 200), blobs(4, 20, 30)), ((100, 50, 400, 300), blobs(5, 25, 30))]
    both = np.stack([drawn(claim, 300, 400) for claim in claims])

    first, second = claimed(claims, 300, 400)

    assert first is not None
    assert second is not None
    assert not (first.mask & second.mask).any()
    clear = np.abs(both[0] - both[1]) > 2
    for region, own in ((first, 0), (second, 1)):
        expected = (both[own] > HALF + 0.5) & (both[own] > both[1 - own])
        sure = clear & (np.abs(both[own] - HALF - 0.5) > 1.5)
        np.testing.assert_array_equal(region.mask[sure], expected[sure])


def test_a_claim_that_gets_nothing_has_no_region() -> None:
    sure, doubtful = (np.full((4, 4), value, np.uint8) for value in (255, 200))

    regions = claimed(
        [((0, 0, 9, 9), sure), ((2, 2, 7, 7), doubtful), ((0, 0, 9, 9), sure // 4)], 10, 10
    )

    assert regions[0] is not None
    assert regions[0].area == 81
    assert regions[1:] == [None, None]
