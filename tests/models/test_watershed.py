"""Masks of discs and other shapes, separated into objects."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.filters import gaussian

from models import watershed
from models.segmentation import Segmentation

PETS = ("pet", "background", "border")
CELLS = ("nucleus", "background", "border")


def cells(interior: NDArray[np.bool_], border: NDArray[np.bool_]) -> Segmentation:
    """A certain answer: nuclei, their border, and background elsewhere."""
    classes = np.select([interior, border], [0, 2], 1)
    return Segmentation(np.eye(3, dtype=np.float32)[classes] * 0.96 + np.float32(0.02 / 1.5), CELLS)


def disc(row: float, column: float, radius: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(rows - row, columns - column) < radius


def test_two_discs_that_touch_are_told_apart_by_the_border_between_them() -> None:
    shape = (40, 70)
    left, right = disc(20, 20, 15, shape), disc(20, 49, 15, shape)
    inner = disc(20, 20, 13, shape) | disc(20, 49, 13, shape)

    instances = cells(inner, left | right).instances()

    assert instances.dtype == np.int32
    assert instances.shape == shape
    assert sorted(np.unique(instances)) == [0, 1, 2]
    np.testing.assert_array_equal(instances > 0, left | right)
    both = left & right
    assert (instances[left & ~both] == instances[20, 20]).all()
    assert (instances[right & ~both] == instances[20, 49]).all()
    assert instances[20, 20] != instances[20, 49]


def test_two_discs_without_a_border_between_them_are_told_apart_by_their_waist() -> None:
    shape = (40, 70)
    left, right = disc(20, 20, 15, shape), disc(20, 45, 15, shape)
    both = left | right

    instances = cells(both, both).instances()

    assert sorted(np.unique(instances)) == [0, 1, 2]
    np.testing.assert_array_equal(instances > 0, both)
    # The waist is in the middle between the two centres.
    columns = np.arange(70)
    assert (instances[both & (columns < 32)] == instances[20, 20]).all()
    assert (instances[both & (columns > 33)] == instances[20, 45]).all()


def test_a_weak_border_parts_two_halves_of_a_disc() -> None:
    shape = (40, 40)
    whole = disc(20, 20, 12, shape)
    probabilities = cells(whole, whole).probabilities.copy()
    probabilities[:, 19:22] = np.where(
        whole[:, 19:22, np.newaxis],
        np.array([0.6, 0.05, 0.35], np.float32),
        probabilities[:, 19:22],
    )

    assert Segmentation(probabilities, CELLS).instances().max() == 2
    assert cells(whole, whole).instances().max() == 1


def test_a_long_nucleus_is_one() -> None:
    rows, columns = np.mgrid[:40, :90]
    ellipse = ((rows - 20) / 9) ** 2 + ((columns - 45) / 35) ** 2 < 1

    instances = cells(ellipse, ellipse).instances()

    np.testing.assert_array_equal(instances, ellipse.astype(np.int32))


def test_specks_are_no_instances_and_leave_no_gap_in_the_numbers() -> None:
    shape = (30, 60)
    specks = np.zeros(shape, np.bool_)
    specks[2:4, 2:4] = True  # before the others in every order
    specks[20, 20:25] = True
    nuclei = np.zeros(shape, np.bool_)
    nuclei[10:14, 10:14] = True
    nuclei[20:25, 40:50] = True

    instances = cells(specks | nuclei, np.zeros(shape, np.bool_)).instances()

    np.testing.assert_array_equal(instances > 0, nuclei)
    assert sorted(np.unique(instances)) == [0, 1, 2]
    # Whatever else is in the picture.
    assert (cells(specks, np.zeros(shape, np.bool_)).instances() == 0).all()


def test_nuclei_everywhere_are_one_instance() -> None:
    everywhere = np.ones((20, 30), np.bool_)

    assert (cells(everywhere, everywhere).instances() == 1).all()


def test_a_mask_of_background_has_no_instances() -> None:
    nothing = np.zeros((20, 30), np.bool_)

    assert (cells(nothing, nothing).instances() == 0).all()
    # A border around nothing is ignored.
    assert (cells(nothing, disc(10, 15, 6, (20, 30))).instances() == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_random_discs_are_found_one_by_one(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shape, truth = (160, 200), np.zeros((160, 200), np.int32)
    placed: list[tuple[float, float, float]] = []
    for radius in generator.uniform(4, 14, 60):
        row, column = generator.uniform(0, shape[0]), generator.uniform(0, shape[1])
        # They may touch and be cut off by the picture's edge, but not overlap.
        if all(np.hypot(row - r, column - c) > radius + other for r, c, other in placed):
            placed.append((row, column, radius))
            truth[disc(row, column, radius, shape)] = len(placed)
    blurred = gaussian((truth > 0).astype(np.float32), 1)
    probabilities = np.stack([blurred, 1 - blurred, np.zeros_like(blurred)], axis=2)
    assert len(placed) > 15

    instances = Segmentation(probabilities, CELLS).instances()

    seen = [number for number in range(1, len(placed) + 1) if (truth == number).sum() >= 30]
    found = 0
    for number in seen:
        whole = truth == number
        likely = np.bincount(instances[whole]).argmax()
        overlap, union = whole & (instances == likely), whole | (instances == likely)
        found += int(likely > 0 and overlap.sum() > 0.5 * union.sum())
    assert found >= 0.95 * len(seen)
    assert len(seen) <= instances.max() <= len(placed)


def pets(*shapes: NDArray[np.bool_]) -> Segmentation:
    return Segmentation(cells(np.logical_or.reduce(shapes), shapes[0] & False).probabilities, PETS)


def test_pets_that_do_not_touch_are_numbered_by_falling_area() -> None:
    shape = (200, 300)
    small, large = disc(60, 50, 30, shape), disc(100, 200, 70, shape)

    regions = pets(small, large).regions()

    assert regions.dtype == np.uint8
    np.testing.assert_array_equal(regions, np.select([large, small], [1, 2]))


def test_two_pets_whose_bodies_meet_are_told_apart_at_the_thin_place() -> None:
    shape = (200, 400)
    left, right = disc(100, 110, 80, shape), disc(100, 290, 80, shape)
    bridge = np.zeros(shape, np.bool_)
    bridge[94:106, 180:220] = True

    regions = pets(left, right, bridge).regions()

    assert sorted(np.unique(regions)) == [0, 1, 2]
    np.testing.assert_array_equal(regions > 0, left | right | bridge)
    assert (regions[left] == regions[100, 110]).all()
    assert (regions[right] == regions[100, 290]).all()


def test_head_legs_and_tail_are_one_pet() -> None:
    shape = (300, 400)
    rows, columns = np.mgrid[:300, :400]
    body = ((rows - 140) / 60) ** 2 + ((columns - 200) / 130) ** 2 < 1
    head = disc(70, 330, 45, shape)
    legs = (rows > 140) & (rows < 270) & np.isin(columns // 18, (6, 8, 14, 16))
    tail = (abs(rows - 110 + (columns - 80) // 2) < 5) & (columns > 20) & (columns < 110)

    regions = pets(body, head, legs, tail).regions()

    np.testing.assert_array_equal(regions, (body | head | legs | tail).astype(np.int32))


def test_specks_are_no_pets() -> None:
    shape = (200, 300)
    pet, speck, patch = (
        disc(100, 100, 80, shape),
        disc(20, 280, 6, shape),  # less than a hundredth of the picture
        disc(100, 260, 20, shape),  # less than a tenth of the pet
    )

    np.testing.assert_array_equal(pets(pet, speck, patch).regions(), pet.astype(np.int32))
    np.testing.assert_array_equal(pets(patch).regions(), patch.astype(np.int32))
    assert (pets(speck).regions() == 0).all()


def test_a_photo_without_a_pet_and_one_full_of_pet() -> None:
    nothing = np.zeros((50, 1000), np.bool_)

    assert (pets(nothing).regions() == 0).all()
    assert (pets(~nothing).regions() == 1).all()


def test_pets_are_told_apart_at_any_size_of_the_photo() -> None:
    shape = (1000, 1500)
    left, right = disc(500, 400, 300, shape), disc(500, 1100, 250, shape)

    regions = pets(left, right).regions()

    np.testing.assert_array_equal(regions, np.select([left, right], [1, 2]))


def test_a_large_photo_is_taken_apart_at_a_smaller_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (400, 700)
    left, right = disc(200, 200, 150, shape), disc(200, 490, 150, shape)
    inner = disc(200, 200, 130, shape) | disc(200, 490, 130, shape)
    result = cells(inner, left | right)
    exact = result.instances()
    monkeypatch.setattr(watershed, "LARGEST_FLOOD", 10_000)

    instances = result.instances()

    assert instances.dtype == np.int32
    assert instances.shape == shape
    assert instances.max() == exact.max() == 2
    assert (instances == exact).mean() > 0.98
