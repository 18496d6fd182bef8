"""What the Threshold tab's server side makes of the cuts that a browser sends."""

import html
import math
import re
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from models import thresholding
from models.images import open_photo
from ui import histogram, threshold
from ui.uploads import Upload

CAT = Path(__file__).parent.parent.parent / "examples" / "cat_chelsea.png"


def key(classes: int = 3, path: Path = CAT) -> str:
    """What the chart of this photo bears."""
    chart = threshold.show_classes(Upload(str(path)), classes, "luminance", None)[2]
    (found,) = re.findall(r'data-key="([^"]+)"', str(chart))
    return html.unescape(found)


def show(chosen: object, classes: int = 3, path: Path = CAT) -> tuple[Any, ...]:
    return threshold.show_classes(Upload(str(path)), classes, "luminance", chosen)


@pytest.mark.parametrize("cuts", [[80, 140], [0, 255], [90.5, 91]])
def test_the_visitor_s_cuts_are_taken(cuts: list[float]) -> None:
    chosen = histogram.chosen_cuts({"key": "a b", "cuts": cuts}, "a b", 3)

    assert chosen is not None
    assert chosen.dtype == np.float64
    assert chosen.tolist() == cuts


def test_the_picture_the_table_and_the_score_are_those_of_the_visitor_s_cuts() -> None:
    _, file, chart, chosen, score, table, _ = show({"key": key(), "cuts": [80, 140]})

    gray = thresholding.gray_channel(open_photo(CAT))
    np.testing.assert_array_equal(np.asarray(Image.open(file)), (gray > 80) * 1 + (gray > 140))
    for pixels in (gray <= 80, (gray > 80) & (gray <= 140), gray > 140):
        assert f"<td>{pixels.sum():,}</td>" in table
    best = thresholding.variance_of_cuts(gray, thresholding.multi_otsu(gray, 3))
    share = thresholding.variance_of_cuts(gray, np.array([80.0, 140.0])) / best
    said = re.search(
        r"Your cuts at 80, 140 separate the classes ([\d.]+)% as well", html.unescape(score)
    )
    assert said
    assert float(said[1]) == pytest.approx(100 * share, abs=0.1)
    assert float(said[1]) <= 100 * share
    assert chart == chosen == gr.skip()  # the sliders stay where the visitor put them


@pytest.mark.parametrize(
    "chosen",
    [
        None,
        "cuts",
        7,
        [],
        [80, 140],
        {},
        {"cuts": [80, 140], "key": "of another photo"},
        {"cuts": [80, 140], "key": []},
        {"cuts": None},
        {"cuts": "80, 140"},
        {"cuts": {"0": 80, "1": 140}},
        {"cuts": []},
        {"cuts": [100]},
        {"cuts": [50, 100, 150]},
        {"cuts": [100] * 100_000},
        {"cuts": [140, 80]},
        {"cuts": [80, 80]},
        {"cuts": [-1, 80]},
        {"cuts": [80, 256]},
        {"cuts": [80, 10**400]},
        {"cuts": [math.nan, 80]},
        {"cuts": [80, math.inf]},
        {"cuts": ["80", "140"]},
        {"cuts": [None, 80]},
        {"cuts": [[80], [140]]},
        {"cuts": [{}, 140]},
        {"cuts": ["<script>", 140]},
    ],
    ids=lambda chosen: repr(chosen)[:40],
)
def test_anything_else_than_cuts_falls_back_to_otsus(chosen: object) -> None:
    if isinstance(chosen, dict):
        chosen = {"key": key(), **chosen}

    _, file, chart, kept, score, _, _ = show(chosen)

    gray = thresholding.gray_channel(open_photo(CAT))
    expected = thresholding.classify(gray, thresholding.multi_otsu(gray, 3))
    np.testing.assert_array_equal(np.asarray(Image.open(file)), expected)
    assert re.findall(r'aria-valuenow="(\d+)"', chart) == ["90", "132"]
    assert score == ""
    assert kept is None


def test_cuts_of_other_classes_or_another_channel_are_not_taken() -> None:
    chosen = {"key": key(3), "cuts": [80, 140]}

    assert show(chosen, classes=4)[3] is None
    assert threshold.show_classes(Upload(str(CAT)), 3, "red", chosen)[3] is None
    assert show(chosen)[3] == gr.skip()


def test_the_best_cuts_get_no_score() -> None:
    assert show({"key": key(), "cuts": [90, 132]})[4] == ""
    score = show({"key": key(2), "cuts": [114]}, classes=2)[4]
    assert "Your cut at 114 separates the classes 99.9% as well as Otsu’s does" in html.unescape(
        score
    )


def test_cuts_as_good_as_the_best_reach_all_of_it(tmp_path: Path) -> None:
    stripes = np.array([[10, 10, 100, 100, 200, 200]] * 5, np.uint8)
    path = tmp_path / "stripes.png"
    Image.fromarray(stripes).save(path)

    score = show({"key": key(path=path), "cuts": [50, 150]}, path=path)[4]

    assert "the classes 100.0% as well" in score


def test_the_sliders_stay_between_their_neighbours_and_inside_the_histogram() -> None:
    gray = np.array([[12, 50, 51, 100, 240]], np.uint8)
    cuts = np.array([50.0, 51.0, 100.0])

    chart = histogram.draw(gray, thresholding.histogram(gray), cuts, cuts)

    bounds = [
        [int(value) for value in re.findall(rf'aria-value{name}="(\d+)"', chart)]
        for name in ("min", "now", "max")
    ]
    assert bounds == [[12, 51, 52], [50, 51, 100], [50, 99, 239]]


def test_cuts_of_a_link_are_drawn_and_become_the_visitor_s_own() -> None:
    chosen = {"key": histogram.ANY, "cuts": [80, 140]}
    _, file, chart, kept, score, _, _ = show(chosen)

    gray = thresholding.gray_channel(open_photo(CAT))
    np.testing.assert_array_equal(np.asarray(Image.open(file)), (gray > 80) * 1 + (gray > 140))
    assert re.findall(r'aria-valuenow="(\d+)"', chart) == ["80", "140"]
    assert re.findall(r'data-best="(\d+)"', chart) == ["90", "132"]
    assert "disabled" not in chart
    assert "Your cuts at 80, 140" in score
    assert kept == {"key": key(), "cuts": [80, 140]}
    assert show(kept)[3] == gr.skip()


def test_cuts_of_a_link_wait_for_its_photo_and_are_dropped_where_they_do_not_fit() -> None:
    chosen = {"key": histogram.ANY, "cuts": [80, 140]}

    assert threshold.show_classes(None, 3, "luminance", chosen)[3] == gr.skip()
    assert show(chosen, classes=4)[3] is None
    assert (
        threshold.show_classes(None, 3, "luminance", {"key": key(), "cuts": [80, 140]})[3] is None
    )
