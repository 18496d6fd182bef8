"""What happens to uploaded pictures."""

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from models import thresholding
from ui import photo_input, threshold
from ui.uploads import Upload

DEEP = np.arange(700, 4795, dtype=np.uint16).reshape(45, 91)


@pytest.fixture
def tiff(tmp_path: Path) -> Upload:
    """A deep picture as Gradio stores it, of a kind that browsers cannot show."""
    folder = tmp_path / "0123abcd"
    folder.mkdir()
    Image.fromarray(DEEP).save(folder / "cells.tif")
    return Upload(str(folder / "cells.tif"))


def test_a_picture_that_no_browser_shows_keeps_its_own_numbers(tiff: Upload) -> None:
    answer: tuple[Any, ...] = photo_input._accept(tiff, None)
    replacement, accepted, _ = answer
    shown = replacement.picture

    assert accepted is tiff
    assert shown.endswith(".png")
    np.testing.assert_array_equal(np.asarray(Image.open(shown)), tiff.whole)
    assert photo_input._accept(Upload(shown), tiff) == (gr.skip(),) * 3  # its own echo
    cut = thresholding.otsu(DEEP)
    assert f"cut {cut:.0f}" in threshold.show_methods(accepted, "luminance")[0]


def test_the_previous_picture_comes_back_if_the_next_is_unusable(
    tiff: Upload, tmp_path: Path
) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("this is no picture")

    answer: tuple[Any, ...] = photo_input._accept(Upload(str(path)), tiff)

    assert answer[0].picture.endswith(f"photo-{tiff.key}.png")
    assert answer[1] == gr.skip()
