"""Edges and frames of cut-outs, against discs whose distances are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models import framing

SIDE = 200


def disc(radius: float, row: float = 99.5, column: float = 99.5) -> NDArray[np.uint8]:
    """An antialiased disc's opacity."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    away = np.hypot(rows - row, columns - column)
    return np.rint(np.clip(radius - away + 0.5, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("grow", [-0.05, -0.01, 0.01, 0.05])
def test_an_edge_moves_by_a_share_of_the_longer_side(grow: float) -> None:
    moved = framing.adjust_edge(disc(50), grow)

    area = (moved / 255).sum()
    assert area == pytest.approx(np.pi * (50 + grow * SIDE) ** 2, rel=0.02)
    np.testing.assert_array_equal(framing.adjust_edge(disc(50)), disc(50))


def test_an_edge_is_blurred() -> None:
    soft = framing.adjust_edge(disc(50), softness=0.02)

    profile = soft[100, 100:].astype(float) / 255
    slope = -np.diff(profile)
    places = np.arange(len(slope)) + 1  # from the middle, which is between two pixels
    middle = (slope * places).sum() / slope.sum()
    deviation = np.sqrt((slope * (places - middle) ** 2).sum() / slope.sum())
    assert middle == pytest.approx(50, abs=0.7)
    assert deviation == pytest.approx(0.02 * SIDE, rel=0.1)


@pytest.mark.parametrize("opacity", [0, 255])
@pytest.mark.parametrize("grow", [-0.1, 0.1])
def test_what_has_no_edge_stays(opacity: int, grow: float) -> None:
    flat = np.full((20, 30), opacity, np.uint8)

    np.testing.assert_array_equal(framing.adjust_edge(flat, grow, 0.01), flat)


def test_some_pets_stay_with_what_is_nearest_to_them() -> None:
    opacity = np.full((100, 100), 200, np.uint8)
    numbers = np.zeros((50, 50), np.uint8)
    numbers[20:30, 5:15], numbers[20:30, 35:45] = 1, 2

    left = framing.keep_only(opacity, numbers, [1])

    assert (left[:, :46] == 200).all()
    assert (left[:, 54:] == 0).all()
    np.testing.assert_array_equal(framing.keep_only(opacity, numbers, [1, 2]), opacity)
    np.testing.assert_array_equal(framing.keep_only(opacity, numbers * 0, [1]), opacity)


def test_a_sticker_has_a_white_outline_and_a_shadow_below() -> None:
    cut = np.dstack([np.full((SIDE, SIDE, 3), (200, 10, 20), np.uint8), disc(50)])

    sticker = framing.add_outline(cut, 10)

    np.testing.assert_array_equal(sticker[100, 100], (200, 10, 20, 255))
    np.testing.assert_array_equal(sticker[100, 100 + 55], (255, 255, 255, 255))
    below, above = sticker[100 + 64, 100], sticker[100 - 66, 100]
    assert tuple(below[:3]) == (0, 0, 0)
    assert 20 < below[3] <= 255 * framing.SHADOW
    assert above[3] < below[3]
    white = (sticker[:, :, :3] == 255).all(axis=2) & (sticker[:, :, 3] == 255)
    assert white.sum() == pytest.approx(np.pi * (60**2 - 50**2), rel=0.06)
    outside = np.hypot(*(np.argwhere(sticker[:, :, 3] > 2) - 99.5).T).max()
    assert outside <= 50 + framing.room(10) + 1
    assert framing.add_outline(cut, 0) is cut


def test_the_frame_has_the_margin_on_all_sides() -> None:
    opacity = disc(30, 60, 150)

    left, top, right, bottom = framing.frame(opacity, True, 0.1, False)

    assert (left, top) == pytest.approx((120 - 20, 30 - 20), abs=1)
    assert (right, bottom) == pytest.approx((180 + 20, 90 + 20), abs=1)
    assert framing.frame(opacity, False, 0.1, False) == (0, 0, SIDE, SIDE)
    assert framing.frame(opacity * 0, True, 0.1, False) == (0, 0, SIDE, SIDE)


def test_a_square_frame_is_never_smaller_and_may_leave_the_photo() -> None:
    wide = np.zeros((100, 300), np.uint8)
    wide[40:60, 20:290] = 255

    left, top, right, bottom = framing.frame(wide, True, 0.0, True)

    assert right - left == bottom - top == 270
    assert (left, top) == (20, 50 - 135)
    assert framing.frame(wide, False, 0.0, True) == (0, -100, 300, 200)


def test_what_lies_beyond_the_photo_is_empty_or_repeats_its_edge() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)

    cut = framing.framed(picture, (1, -1, 6, 2))
    repeated = framing.framed(picture, (1, -1, 6, 2), beyond=None)

    assert cut.shape == repeated.shape == (3, 5, 3)
    np.testing.assert_array_equal(cut[1:, :3], picture[:, 1:])
    assert not cut[0].any()
    assert (framing.framed(picture, (1, -1, 6, 2), beyond=255)[0] == 255).all()
    np.testing.assert_array_equal(repeated[0, :3], picture[0, 1:])
    np.testing.assert_array_equal(repeated[1, 3:], np.repeat(picture[:1, 3:], 2, axis=1)[0])
