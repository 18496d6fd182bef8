"""How the Threshold tab's server side handles the cuts that a browser sends."""

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
from ui import histogram, lab, method_marks, threshold
from ui.texts import TEXTS
from ui.uploads import Upload

CAT = Path(__file__).parent.parent.parent / "examples" / "cat_chelsea.png"


def key(classes: int = 3, path: Path = CAT) -> str:
    """The key in this photo's chart."""
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
        r"Your cuts at 80, 140: class separation ([\d.]+)% of the best", html.unescape(score)
    )
    assert said
    assert float(said[1]) == pytest.approx(100 * share, abs=0.1)
    assert float(said[1]) <= 100 * share
    assert chart == chosen == gr.skip()  # the sliders stay where the visitor left them


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
    assert "Your cut at 114: class separation 99.9% of the best possible" in html.unescape(score)


def test_cuts_as_good_as_the_best_reach_all_of_it(tmp_path: Path) -> None:
    stripes = np.array([[10, 10, 100, 100, 200, 200]] * 5, np.uint8)
    path = tmp_path / "stripes.png"
    Image.fromarray(stripes).save(path)

    score = show({"key": key(path=path), "cuts": [50, 150]}, path=path)[4]

    assert "class separation 100.0% of the best possible" in score


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


DEEP = np.arange(700, 4795, dtype=np.uint16).reshape(45, 91)


@pytest.fixture
def deep(tmp_path: Path) -> Upload:
    """A 12-bit picture saved as 16 bits by microscope software."""
    path = tmp_path / "deep.png"
    Image.fromarray(DEEP).save(path)
    return Upload(str(path))


def test_a_deep_picture_is_cut_and_counted_in_its_own_numbers(deep: Upload) -> None:
    cut = thresholding.otsu(DEEP)
    assert cut > 255

    answer: tuple[Any, ...] = threshold.show_classes(deep, 2, "luminance", None)
    _, file, chart, _, _, table, _ = answer

    np.testing.assert_array_equal(np.asarray(Image.open(file)), cut < DEEP)
    assert f"700 to {cut:.0f}" in html.unescape(table)
    assert f"> {cut:.0f} to 4794" in html.unescape(table)
    assert f'aria-valuenow="{cut:.0f}"' in chart
    assert ">700</span>" in chart
    methods, _, curve = threshold.show_methods(deep, "luminance")
    assert f"cut {cut:.0f}" in methods
    assert f"the best is {cut:.0f}, Otsu’s cut" in html.unescape(curve)
    own = {"key": threshold.chart_key(deep, 2, "luminance"), "cuts": [1000]}
    moved: tuple[Any, ...] = threshold.show_classes(deep, 2, "luminance", own)
    np.testing.assert_array_equal(np.asarray(Image.open(moved[1])), DEEP > 1000)
    beyond = {**own, "cuts": [100]}
    assert threshold.show_classes(deep, 2, "luminance", beyond)[3] is None


def test_each_method_says_what_lies_above_its_cut_and_gives_its_mask(deep: Upload) -> None:
    methods = html.unescape(threshold.show_methods(deep, "luminance")[0])

    for name in ("mean", "percentile", "huang"):
        cut = thresholding.find_cut(DEEP, name)
        share = np.count_nonzero(cut < DEEP) / DEEP.size
        (panel,) = re.findall(rf"<figure>(?:(?!<figure>).)*data-method=.{name}.", methods)
        assert f"{share:.1%} foreground" in panel
        file = threshold.write_method(deep, "luminance", name)
        np.testing.assert_array_equal(np.asarray(Image.open(file)) > 0, cut < DEEP)
    odds: list[Any] = [None, [], "sauvola", {"cuts": []}]
    for odd in odds:
        with pytest.raises(gr.Error, match="no cut"):
            threshold.write_method(deep, "luminance", odd)


@pytest.mark.parametrize("seed", range(8))
def test_the_methods_names_stand_beside_their_cuts_and_never_over_another(seed: int) -> None:
    places = np.random.default_rng(seed).normal(0.45, 0.1, 16).clip(0, 1)
    names = [str(TEXTS["en"][f"method.{name}"]) for name in thresholding.METHODS]

    marks = method_marks.arranged(zip(names, places.tolist(), strict=True))

    assert sorted(mark.name for mark in marks) == sorted(names)
    taken: dict[int, list[tuple[float, float]]] = {}
    for mark in marks:
        left, right = mark.span
        assert 0 <= left < right <= method_marks.NARROWEST
        assert all(right <= start or end <= left for start, end in taken.get(mark.row, []))
        taken.setdefault(mark.row, []).append((left, right))


@pytest.mark.parametrize("channel", ["hue", "lightness", "lab_a", "lab_b"])
def test_a_channel_of_floats_has_a_chart_and_masks(channel: thresholding.Channel) -> None:
    upload = Upload(str(CAT))

    answer: tuple[Any, ...] = threshold.show_classes(upload, 3, channel, None)
    _, file, chart, _, _, table, _ = answer

    gray = thresholding.gray_channel(open_photo(CAT), channel)
    cuts = thresholding.multi_otsu(gray, 3)
    expected = thresholding.classify(gray, cuts)
    np.testing.assert_array_equal(np.asarray(Image.open(file)), expected)
    for pixels in np.bincount(expected.ravel()):
        assert f"<td>{pixels:,}</td>" in table
    assert len(re.findall(r'role="slider"', chart)) == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_a_scale_shows_each_pixel_in_the_bar_that_counts_it(dtype: type[Any]) -> None:
    gray = np.random.default_rng(0).gamma(3, 20, (40, 50)) * (1 if dtype == np.uint8 else 30) - 3
    gray = gray.clip(0, 250 if dtype == np.uint8 else None).astype(dtype)
    counted = thresholding.histogram(gray)

    scale, counts = histogram.scale_of(counted)

    assert scale.bars == len(counts) <= histogram.BARS
    shown = np.bincount(scale.bar(gray).ravel(), minlength=scale.bars)
    if np.issubdtype(dtype, np.integer):
        np.testing.assert_array_equal(shown, counts)
    assert np.abs(shown - counts).max() <= 2  # rounding at the edges of floats' bars
    low, high = scale.limits
    assert low <= gray.min()
    assert gray.max() <= high + 1e-3


def mask(upload: Upload, method: str, **changed: object) -> tuple[Any, ...]:
    usual = {"blur": 0, "window": 15, "k": 0.2, "hysteresis": 0, "inner": False, "objects": "light"}
    values = usual | changed
    return lab.show_mask(upload, method, "luminance", *[values[name] for name in ORDER])


ORDER = ("blur", "window", "k", "hysteresis", "inner", "objects")


@pytest.mark.parametrize("method", ["huang", "sauvola", "local_otsu"])
def test_the_mask_is_that_of_the_controls(method: str, deep: Upload) -> None:
    for upload in (deep, Upload(str(CAT))):
        file, line, *_, code = mask(upload, method, blur=1.0, objects="dark", hysteresis=0.1)

        k = 0.2 if method == "sauvola" else None
        window = thresholding.Settings.window if method == "huang" else 15
        settings = thresholding.Settings(
            method, blur=1.0, window=window, k=k, hysteresis=0.1, dark=True
        )
        expected = thresholding.segment(upload.prepared(settings), settings).mask
        np.testing.assert_array_equal(np.asarray(Image.open(file)) > 0, expected)
        assert f"{expected.mean():.1%}" in line
        assert code.visible is False


def test_what_belongs_to_a_method_is_shown_with_it() -> None:
    seen = {name: [each.visible for each in lab.show_controls(name)] for name in lab.METHODS}

    assert seen["otsu"] == [False, False, True]
    assert seen["sauvola"] == [True, True, False]
    assert seen["local_otsu"] == [True, False, False]
    assert lab.usual_k("phansalkar") == 0.25
    assert lab.usual_k("otsu") == gr.skip()


def test_the_python_is_that_of_the_controls() -> None:
    values = ("niblack", "red", 0, 21, -0.1, 0, False, "light")

    code = lab.show_snippet(Upload(str(CAT)), *values)

    assert "filters.threshold_niblack(gray, 21, -0.1)" in code.value
    assert repr(CAT.name) in code.value
    assert lab.show_snippet(None, *values).visible is False


def test_a_method_without_a_cut_says_so(tmp_path: Path) -> None:
    path = tmp_path / "flat.png"
    Image.fromarray(np.full((9, 9), 7, np.uint8)).save(path)

    file, line, download, *_ = mask(Upload(str(path)), "otsu")

    assert file is None
    assert "nothing to separate" in line
    assert download.interactive is False
    assert lab.show_mask(None, *("otsu", "red", 0, 3, 0, 0, False, "light"))[0] is None
