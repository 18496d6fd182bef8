"""The protocol of clicks, on shapes whose middle is known, and with a mask model that is wrong."""

from pathlib import Path

import numpy as np
import pytest

from bench import clicks
from models import detection
from tests import wrong_half
from training import clicking, pets


def test_the_next_click_is_in_the_middle_of_the_largest_error() -> None:
    truth, mask = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    truth[10:21, 10:31] = True  # missed
    mask[40:49, 60:65] = True  # came along

    row, column, keep = clicking.next_click(mask, truth)

    assert keep
    assert row == 15  # all of these are as far from the edge
    assert 15 <= column <= 25
    mask |= truth
    row, column, keep = clicking.next_click(mask, truth)
    assert not keep
    assert column == 62
    assert 42 <= row <= 46


def test_an_error_at_the_pictures_edge_is_not_clicked_at_the_edge() -> None:
    truth = np.zeros((50, 50), bool)
    truth[:, :21] = True

    _, column, _ = clicking.next_click(np.zeros_like(truth), truth)

    assert column == 10


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pets.Example:
    monkeypatch.setattr(detection, "default", lambda: None)
    return wrong_half.example(tmp_path)


def test_clicks_are_given_until_the_mask_is_good_enough(example: pets.Example) -> None:
    course = clicks.click_through(example, wrong_half.WRONG_HALF)

    assert course.overlaps[0] == pytest.approx(0.5)
    assert course.enough
    assert 1 <= course.clicks <= 3
    assert len(course.seconds) == course.clicks


@pytest.mark.parametrize("method", clicks.METHODS.values(), ids=list(clicks.METHODS))
def test_all_methods_mend_it(example: pets.Example, method: clicks.Method) -> None:
    course = clicks.click_through(example, wrong_half.WRONG_HALF, method)

    assert course.enough
    table = clicks.comparison({"it": [course]}, "validation")
    assert f"| it | 1 | {course.clicks:.2f} | {course.clicks} | 0 |" in table


def test_the_table_counts_what_never_becomes_good_enough_as_most() -> None:
    inside = np.ones((1, 1), np.bool_)
    good = clicks.Course("a", (0.95,), (), inside)
    mended = clicks.Course("b", (0.5, 0.8, 0.92), (0.01, 0.02), inside)
    never = clicks.Course("c", (0.5,) * (clicking.MOST + 1), (0.03,) * clicking.MOST, inside)

    table = clicks.table([good, mended, never], "test")

    assert "| clicks to 90 % IoU, mean of all | 7.33 |" in table
    assert "| their clicks, mean | 11.00 |" in table
    assert "| at 90 % without a click | 33.3% |" in table
    assert "| after at most 1, 3, 5 clicks | 33.3%, 66.7%, 66.7% |" in table
    assert "| not at 90 % after 20 clicks | 1 |" in table
    assert "| milliseconds of a click, median | 30 |" in table
