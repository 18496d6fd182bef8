"""Masks corrected by strokes, against shapes whose truth is known, and slow references."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from models import correcting
from models.correcting import Corrector, Stroke, correct_regions, correctable, overlap
from models.images import Photo
from models.segmentation import Segmentation

CLASSES = ("pet", "background", "border")
CAT, MEADOW = (200, 120, 40), (40, 130, 60)
SIDE = 128


def boxes(*places: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """A mask of boxes: left, top, right, bottom."""
    mask = np.zeros((SIDE, SIDE), bool)
    for left, top, right, bottom in places:
        mask[top:bottom, left:right] = True
    return mask


def photo_of(mask: NDArray[np.bool_]) -> Photo:
    """A cat on a meadow, with a little noise."""
    photo = np.where(mask[:, :, np.newaxis], CAT, MEADOW).astype(float)
    photo += np.random.default_rng(0).normal(0, 3, photo.shape)
    return np.clip(photo, 0, 255).astype(np.uint8)


def found(mask: NDArray[np.bool_], size: tuple[int, int] | None = None) -> Segmentation:
    """A network's answer, not very sure of itself, without a border."""
    answer = np.zeros((*mask.shape, 3), np.float32)
    answer[mask], answer[~mask] = (0.9, 0.1, 0), (0.1, 0.9, 0)
    return Segmentation(answer, CLASSES, size)


def sure(pet: NDArray[np.floating]) -> Segmentation:
    """A network's answer, from the probability of a pet at each place, without a border."""
    return Segmentation(np.stack([pet, 1 - pet, 0 * pet], axis=2).astype(np.float32), CLASSES)


def click(keep: bool, column: float, row: float, radius: float = 0.0) -> Stroke:
    return Stroke(keep, (((column + 0.5) / SIDE, (row + 0.5) / SIDE),), radius)


def of_pet(segmentation: Segmentation) -> NDArray[np.bool_]:
    return segmentation.foreground() > 0.5


def share(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


BODY, EAR = (20, 50, 80, 110), (60, 25, 80, 50)


def test_a_click_brings_an_ear_that_is_missing_up_to_its_edges() -> None:
    truth = boxes(BODY, EAR)
    corrector = Corrector(found(boxes(BODY)), photo_of(truth))

    corrected = of_pet(corrector.correct([click(True, 70, 37)]))

    assert share(corrected, truth) > 0.97
    assert share(of_pet(corrector.found), truth) < 0.9


def test_a_click_takes_away_a_cushion_that_came_along() -> None:
    truth = boxes(BODY)
    with_cushion = found(boxes(BODY, (80, 80, 100, 110)))
    corrector = Corrector(with_cushion, photo_of(truth))

    corrected = of_pet(corrector.correct([click(False, 90, 95)]))

    assert share(corrected, truth) > 0.95
    assert share(of_pet(with_cushion), truth) < 0.9


def test_far_from_all_strokes_nothing_changes() -> None:
    corrector = Corrector(found(boxes(BODY)), photo_of(boxes(BODY, EAR)))

    corrected = corrector.correct([click(True, 118, 10)])

    places = np.argwhere((corrected.answer != corrector.found.answer).any(axis=2))
    unit = SIDE / 256
    far = correcting.MOST_FAR * unit + correcting.WIDEST * unit
    assert len(places) > 0
    assert np.abs(places - (10, 118)).max() < far


@pytest.mark.parametrize("seed", range(4))
def test_what_was_painted_is_as_the_last_stroke_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    strokes = [
        Stroke(bool(random.integers(2)), tuple(map(tuple, random.random((3, 2)))), 0.03)
        for _ in range(6)
    ]
    photo = random.integers(0, 256, (40, 90, 3), dtype=np.uint8)

    corrected = Corrector(found(random.random((48, 48)) < 0.5, (40, 90)), photo).correct(strokes)

    expected = np.full((48, 48), -1)
    for stroke in strokes:
        expected[stroke.painted(48, 48, (40, 90))] = stroke.keep
    inside = corrected.resized(48, 48).mask != 2
    np.testing.assert_array_equal(inside[expected >= 0], expected[expected >= 0] == 1)
    np.testing.assert_allclose(corrected.answer.sum(axis=2), 1, atol=1e-5)
    assert corrected.answer.dtype == np.float32
    assert corrected.shape == (40, 90)


def test_the_brush_covers_what_is_within_its_radius_of_the_line() -> None:
    stroke = Stroke(True, ((0.2, 0.3), (0.7, 0.5), (0.6, 0.9)), 0.05)

    painted = stroke.painted(100, 200, (100, 200))

    rows, columns = np.mgrid[:100, :200] + 0.5
    nearest = np.full((100, 200), np.inf)
    corners = np.array(stroke.points) * (200, 100)
    for start, end in pairwise(corners):
        for share in np.linspace(0, 1, 400):
            column, row = start + share * (end - start)
            nearest = np.minimum(nearest, np.hypot(rows - row, columns - column))
    radius = 0.05 * 200
    assert painted[nearest < radius - 1].all()
    assert not painted[nearest > radius + 1].any()


def test_a_squashed_picture_is_painted_in_the_photos_proportions() -> None:
    painted = Stroke(True, ((0.5, 0.5),), 0.1).painted(100, 100, (100, 400))

    rows, columns = np.nonzero(painted)
    assert np.ptp(rows) == pytest.approx(80, abs=2)
    assert np.ptp(columns) == pytest.approx(20, abs=2)


def test_strokes_are_taken_back_one_by_one() -> None:
    photo, start = photo_of(boxes(BODY, EAR)), found(boxes(BODY))
    strokes = [click(True, 70, 37), click(False, 30, 100, 0.02), click(True, 100, 20)]
    corrector = Corrector(start, photo)
    corrector.correct(strokes)

    for count in (2, 1, 3):
        again = corrector.correct(strokes[:count]).answer
        fresh = Corrector(start, photo).correct(strokes[:count]).answer
        np.testing.assert_array_equal(again, fresh)
    assert corrector.correct([]) is start


def test_the_photos_size_does_not_matter() -> None:
    truth, start = boxes(BODY, EAR), boxes(BODY)
    small = photo_of(truth)
    large = small.repeat(4, axis=0).repeat(4, axis=1)
    strokes = [click(True, 70, 37, 0.02)]

    corrected = Corrector(found(start), small).correct(strokes)
    same = Corrector(found(start, (4 * SIDE, 4 * SIDE)), large).correct(strokes)

    assert share(of_pet(corrected), of_pet(same.resized(SIDE, SIDE))) > 0.99


@pytest.mark.parametrize("inside", [False, True])
def test_masks_of_one_class_alone_can_be_corrected(inside: bool) -> None:
    start = found(np.full((SIDE, SIDE), inside))
    corrector = Corrector(start, photo_of(boxes(BODY)))

    corrected = of_pet(corrector.correct([click(not inside, 50, 80)]))

    assert corrected[80, 50] != inside
    assert corrected[5, 120] == inside


def test_a_model_without_a_border_is_corrected_too() -> None:
    truth = boxes(BODY, EAR)
    start = found(boxes(BODY))
    two = Segmentation(start.answer[:, :, :2].copy(), ("pet", "background"))

    corrected = Corrector(two, photo_of(truth)).correct([click(True, 70, 37)])

    assert corrected.answer.shape == (SIDE, SIDE, 2)
    assert share(corrected.mask == 1, truth) > 0.97
    assert correctable(("pet", "background"))
    assert correctable(CLASSES)
    assert not correctable(("cat", "dog", "background"))
    assert not correctable(("cat", "border"))


@pytest.mark.parametrize(
    ("points", "radius"),
    [
        ((), 0.1),
        (((0.5, 1.2),), 0.1),
        (((-0.1, 0.5),), 0.1),
        (((float("nan"), 0.5),), 0.1),
        (((0.5, 0.5),) * (correcting.MOST_POINTS + 1), 0.1),
        (((0.5, 0.5),), 1.5),
        (((0.5, 0.5),), float("nan")),
    ],
)
def test_strokes_that_cannot_be_are_refused(
    points: tuple[tuple[float, float], ...], radius: float
) -> None:
    with pytest.raises(ValueError, match=r"stroke|brush"):
        Stroke(True, points, radius)


def test_overlap_counts_the_border_as_the_pets() -> None:
    one, other = found(boxes((0, 0, 40, 40))), found(boxes((0, 0, 40, 20)))
    one.answer[50:60, :16] = (0, 0, 1)

    assert overlap(one, other) == pytest.approx(800 / (1600 + 160))
    assert overlap(found(boxes()), found(boxes())) == 1


def test_regions_follow_a_correction() -> None:
    left, right = (10, 20, 50, 90), (60, 20, 110, 90)
    regions = boxes(right).astype(np.uint8) + 2 * boxes(left).astype(np.uint8)
    before = found(boxes(left, right))
    grown, cut, fresh = (10, 5, 50, 90), (60, 20, 110, 40), (20, 100, 60, 127)

    corrected = correct_regions(regions, before, found(boxes(grown, cut, fresh)))

    expected = boxes(grown) * 1 + boxes(fresh) * 2 + boxes(cut) * 3
    assert [boxes(each).sum() for each in (grown, fresh, cut)] == [3400, 1080, 1000]
    wrong = corrected != expected
    assert corrected.dtype == np.uint8
    assert wrong.mean() < 0.01


def test_a_pet_that_is_removed_is_none_any_more_and_specks_are_none_either() -> None:
    left, right, speck = (10, 20, 50, 90), (60, 20, 110, 90), (120, 120, 124, 124)
    regions = boxes(right).astype(np.uint8) + 2 * boxes(left).astype(np.uint8)

    corrected = correct_regions(
        regions, found(boxes(left, right)), found(boxes(left, speck, (60, 20, 63, 23)))
    )

    np.testing.assert_array_equal(corrected, boxes(left))


def test_what_only_a_closer_look_took_for_pet_is_removed_where_the_correction_reaches() -> None:
    seen, shown, doubtful = (10, 20, 110, 90), (10, 20, 80, 90), (80, 20, 110, 90)
    regions = boxes(seen).astype(np.uint8)
    before = np.where(boxes(shown), 1, np.where(boxes(doubtful), 0.3, 0))

    nothing = correct_regions(regions, sure(before), sure(np.zeros((SIDE, SIDE))))
    untouched = correct_regions(regions, sure(before), sure(np.where(boxes(shown), 0, before)))

    assert not nothing.any()
    np.testing.assert_array_equal(untouched, boxes(doubtful))
