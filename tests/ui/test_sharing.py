"""From a link's parameters to the page's controls, and back."""

import gradio as gr
import pytest

from ui import histogram
from ui.sharing import read, written

CLASSES = gr.Slider(2, 8, value=3, step=1)
OPACITY = gr.Slider(0, 1, value=0.5, step=0.05)
CHANNEL = gr.Dropdown([("red", "red"), ("blue", "blue")])
GROUND = gr.Radio([("A colour", "color"), ("The photo, blurred", "blurred")])
BORDER = gr.Checkbox(value=True)
COLOR = gr.ColorPicker("#2f7fd1")
CUTS = gr.HTML()


@pytest.mark.parametrize(
    ("control", "value", "text"),
    [
        (CLASSES, 5, "5"),
        (OPACITY, 0, "0"),
        (OPACITY, 0.35, "0.35"),
        (OPACITY, 1, "1"),
        (CHANNEL, "blue", "blue"),
        (GROUND, "blurred", "blurred"),
        (BORDER, False, "no"),
        (BORDER, True, "yes"),
        (COLOR, "#10ff00", "#10ff00"),
    ],
)
def test_a_value_comes_back_from_its_link(control: gr.Component, value: object, text: str) -> None:
    assert written(control, value) == text
    assert read(control, text) == value


@pytest.mark.parametrize("color", ["rgba(16, 255, 0, 1)", "rgb(16, 255, 0)", "#10FF00"])
def test_a_colour_is_written_in_one_way(color: str) -> None:
    assert written(COLOR, color) == "#10ff00"


def test_cuts_come_back_for_whatever_chart_is_drawn_next() -> None:
    text = written(CUTS, {"key": "some chart", "cuts": [80, 140]})

    assert text == "80,140"
    assert read(CUTS, text) == {"key": histogram.ANY, "cuts": [80, 140]}


@pytest.mark.parametrize(
    "value", [None, "", 7, [], {}, {"cuts": "80"}, {"cuts": [140, 80]}, {"cuts": [{}]}]
)
def test_what_holds_no_cuts_is_not_written(value: object) -> None:
    assert written(CUTS, value) is None


@pytest.mark.parametrize(
    ("control", "text"),
    [
        (CLASSES, "9"),
        (CLASSES, "3.5"),
        (CLASSES, "1e0"),
        (OPACITY, "0.51"),
        (OPACITY, "nan"),
        (OPACITY, "-1"),
        (CHANNEL, "smell"),
        (CHANNEL, ""),
        (BORDER, "True"),
        (COLOR, "blau"),
        (COLOR, "url(//evil)"),
        (COLOR, "#12345"),
        (COLOR, "rgb(999, 0, 0)"),
        (CUTS, "80;140"),
        (CUTS, "80,"),
        (CUTS, "1000"),
        (CUTS, "-3,5"),
        (CUTS, "80,140" * 10_000 + "x"),
        *((control, None) for control in (CLASSES, CHANNEL, BORDER, COLOR, CUTS)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_nonsense_changes_nothing(control: gr.Component, text: str | None) -> None:
    assert read(control, text) == gr.skip()
