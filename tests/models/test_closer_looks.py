"""Closer looks at pets: what is seen, to which pet it belongs, and how it improves the mask."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from models import segmentation
from models.looks import Look, averaged, close_up, point_out, settle
from models.regions import Box, numbered
from models.runtime import Network

AddModel = Callable[..., Path]


def look(window: Box, *true: tuple[slice, slice]) -> Look:
    left, top, right, bottom = window
    belonging = np.zeros((bottom - top, right - left), np.uint8)
    for part in true:
        belonging[part] = 255
    return Look(window, window, belonging)


def settled(looks: list[Look], height: int, width: int) -> NDArray[np.uint8]:
    return numbered(settle(looks, height, width), height, width)


def test_a_pixel_goes_to_the_surer_of_two_claims() -> None:
    first = look((0, 0, 60, 40), (slice(5, 35), slice(5, 55)))
    second = Look((30, 0, 100, 40), (30, 0, 100, 40), np.full((40, 70), 200, np.uint8))
    regions = settled([first, second], 40, 100)
    assert (regions[5:35, 5:55] == 2).all()  # the smaller area
    assert (regions[:, 60:] == 1).all()
    assert (regions[:4, 30:] == 1).all()
    assert (regions[:, :4] == 0).all()


def test_a_head_beside_its_body_is_one_pet() -> None:
    head = look((0, 0, 40, 40), (slice(2, 38), slice(2, 38)))
    whole = look((0, 0, 100, 60), (slice(2, 38), slice(2, 38)), (slice(20, 58), slice(30, 98)))
    for looks in ([head, whole], [whole, head]):
        regions = settled(looks, 80, 120)
        assert regions.max() == 1
        assert regions[50, 80] == regions[5, 5] == 1


def test_a_pet_whose_mask_runs_on_over_another_is_still_one_of_two() -> None:
    # The look at the right one sees both; the boxes say that they are two.
    window = (0, 0, 100, 60)
    left = Look((0, 0, 50, 60), window, np.full((60, 100), 0, np.uint8))
    left.belonging[:, :50] = 255
    right = Look((40, 0, 100, 60), window, np.full((60, 100), 200, np.uint8))
    for looks in ([left, right], [right, left]):
        regions = settled(looks, 60, 100)
        assert regions.max() == 2
        assert regions[30, 10] != regions[30, 90]


def test_close_looks_that_see_nothing_give_no_pets() -> None:
    empty = Look((10, 10, 30, 30), (10, 10, 30, 30), np.zeros((8, 8), np.uint8))
    assert settle([empty], 50, 50) == []
    assert settle([], 50, 50) == []


def test_a_close_look_is_the_box_with_a_margin_inside_the_photo() -> None:
    assert close_up((100, 100, 200, 140), 400, 400) == (84, 84, 216, 156)
    assert close_up((0, 0, 100, 50), 60, 90) == (0, 0, 90, 60)


def test_what_is_outside_the_box_is_halfway_to_grey() -> None:
    seen = np.full((10, 10, 3), 250, np.uint8)
    pointed = point_out(seen, (2.4, 3.0, 8.0, 20.0))
    assert (pointed[3:, 2:8] == 250).all()
    assert (pointed[:3] == 189).all()
    assert (pointed[:, 8:] == 189).all()
    assert (seen == 250).all()


@pytest.mark.parametrize(
    ("changes", "side"), [({}, 64), ({"halved": True}, 32), ({"close_side": 48}, 48)], ids=str
)
def test_looking_closer_sees_a_small_pet_large(
    changes: dict[str, Any], side: int, add_segmenter: AddModel
) -> None:
    # Red is pet, green is background.
    add_segmenter(weights=np.eye(3) * 20, height=64, width=64, **changes)
    photo = np.zeros((400, 600, 3), np.uint8)
    photo[..., 1] = 255
    photo[200:230, 300:340] = (255, 0, 0)
    photo[200:230, 400:440] = (255, 0, 0)
    found = segmentation.load("pet").look_closer(photo, (300, 200, 340, 230))
    assert found.answer is not None
    assert found.answer.shape == (side, side, 3)
    regions = settled([found], 400, 600)
    assert regions[201:229, 301:339].all()
    regions[195:235, 295:345] = 0
    assert not regions.any()


class OneSided:
    """Stands in for a network that takes the left half of whatever it sees for a pet."""

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        answers = np.zeros(batch.shape, np.float32)
        answers[:, :, : batch.shape[2] // 2, 0] = 1
        answers[..., 1] = 1 - answers[..., 0]
        return answers


@pytest.mark.parametrize("mirror", [False, True], ids=["as it is", "mirrored too"])
def test_only_whole_photos_are_seen_mirrored_too(mirror: bool, add_segmenter: AddModel) -> None:
    add_segmenter(weights=np.eye(3), height=64, width=64, close_side=32, mirror=mirror)
    card = segmentation.load("pet").card
    segmenter = segmentation.Segmenter(card, cast("Network", OneSided()))
    assert not card.close_as_whole
    photo = np.zeros((80, 100, 3), np.uint8)
    pet = segmenter.predict(photo).answer[:, :, 0]
    assert pet.shape == (64, 64)
    np.testing.assert_array_equal(pet[:, :32], 0.5 if mirror else 1)
    np.testing.assert_array_equal(pet[:, 32:], 0.5 if mirror else 0)
    look = segmenter.look_closer(photo, (0, 0, 100, 80)).answer
    assert look is not None
    for closer in (look, segmenter.glance(photo).answer):
        assert closer.shape == (32, 32, 3)
        np.testing.assert_array_equal(closer[:, :16, 0], 1)
        np.testing.assert_array_equal(closer[:, 16:, 0], 0)


def test_a_pet_reaches_to_the_edge_of_its_box_unless_another_is_near(
    add_segmenter: AddModel,
) -> None:
    # Halfway between red and green, a place is doubtful: it is rather pet than background.
    add_segmenter(weights=np.eye(3) * 20, height=64, width=64)
    photo = np.full((200, 200, 3), (0, 255, 0), np.uint8)
    box = (50, 50, 150, 150)
    photo[50:150, 50:150] = (128, 126, 0)
    segmenter = segmentation.load("pet")

    def area(*others: Box) -> int:
        (region,) = settle([segmenter.look_closer(photo, box, others)], 200, 200)
        return region.area

    assert area() == area((180, 0, 200, 20)) == pytest.approx(100 * 100, rel=0.1)
    assert area((120, 120, 180, 180)) < 0.9 * area()


def answer_of(pet: NDArray[np.floating]) -> NDArray[np.float32]:
    """A network's answer, from the probability of a pet at each place."""
    return np.stack([pet, 1 - pet, np.zeros_like(pet)], axis=2).astype(np.float32)


def closer(window: Box, pet: NDArray[np.floating]) -> Look:
    return Look(window, window, np.zeros((2, 2), np.uint8), answer_of(pet))


def test_a_closer_look_counts_the_more_the_larger_it_sees() -> None:
    whole = answer_of(np.full((64, 64), 0.2))
    half = closer((200, 100, 600, 300), np.full((64, 64), 0.8))
    all_of_it = closer((0, 0, 800, 400), np.full((64, 64), 0.8))

    found = averaged(whole, [half], 400, 800)

    assert found.shape == whole.shape
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-5)
    pet = found[:, :, 0]
    np.testing.assert_allclose(pet[22:42, 22:42], (0.2 + 2 * 0.8) / 3, atol=1e-5)
    outside = np.ones((64, 64), bool)
    outside[16:48, 16:48] = False
    np.testing.assert_allclose(pet[outside], 0.2, atol=1e-5)
    # It fades to the edge of its window, but not to that of the photo.
    assert (np.diff(pet[32, 15:19]) > 0.05).all()
    equal = averaged(whole, [all_of_it], 400, 800)[:, :, 0]
    np.testing.assert_allclose(equal, 0.5, atol=1e-5)
    smaller = closer((0, 0, 800, 400), np.full((60, 60), 0.8))
    np.testing.assert_allclose(averaged(whole, [smaller], 400, 800), whole)


@pytest.mark.parametrize(
    "window",
    [(0, 0, 400, 300), (37, 51, 311, 288), (0, 120, 90, 300), (333, 7, 400, 60)],
    ids=str,
)
def test_closer_looks_lie_where_they_were_taken(window: Box) -> None:
    def ramp(rows: int, columns: int, box: Box) -> NDArray[np.float64]:
        """What a network would answer whose probability rises with column and row."""
        x = box[0] + (np.arange(columns) + 0.5) * (box[2] - box[0]) / columns
        y = box[1] + (np.arange(rows) + 0.5) * (box[3] - box[1]) / rows
        return (x / 400 + y[:, np.newaxis] / 300) / 2

    whole = answer_of(ramp(96, 128, (0, 0, 400, 300)))

    found = averaged(whole, [closer(window, ramp(256, 256, window))], 300, 400)

    # Interpolation has nothing to go on beyond the edge of the crop.
    np.testing.assert_allclose(found, whole, atol=2e-3)
    assert averaged(whole, [], 300, 400) == pytest.approx(whole)


def test_what_lies_between_the_places_of_an_answer_is_not_seen() -> None:
    whole = answer_of(np.full((8, 8), 0.2))
    tiny = closer((110, 110, 190, 190), np.full((8, 8), 0.9))
    np.testing.assert_allclose(averaged(whole, [tiny], 800, 800), whole)


def test_a_look_that_was_told_which_pet_is_meant_hides_no_other() -> None:
    whole = answer_of(np.full((8, 8), 0.9))
    told = Look((0, 0, 40, 80), (0, 0, 80, 80), np.zeros((8, 8), np.uint8))
    np.testing.assert_allclose(averaged(whole, [told], 80, 80), whole)
