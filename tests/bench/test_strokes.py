"""The benchmark of strokes: what it clicks, and what it says."""

import io

from PIL import Image

from bench import strokes


def test_the_photo_has_the_size_that_the_table_names() -> None:
    assert max(Image.open(io.BytesIO(strokes.photo())).size) == strokes.SIDE


def test_each_click_is_somewhere_else() -> None:
    assert len(set(strokes.places())) == strokes.CLICKS


def test_each_click_is_answered_on_the_server() -> None:
    seconds = strokes.on_server(strokes.photo())

    assert len(seconds) == strokes.CLICKS
    assert min(seconds) > 0


def test_the_table_has_the_median_in_milliseconds() -> None:
    assert "| a | 20 | 10 to 90 |" in strokes.table({"a": [0.09, 0.02, 0.01]})
