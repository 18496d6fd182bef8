"""Every answer that the page gives to a photo is measured."""

from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from bench import stages
from ui import page


@pytest.fixture(scope="module")
def blocks() -> gr.Blocks:
    return page.build()


def test_the_handlers_are_those_that_follow_a_photo(blocks: gr.Blocks) -> None:
    [first] = stages.FIRST["Pets"]
    [current] = [
        each for each in stages.handler(blocks, first).outputs if isinstance(each, gr.State)
    ]

    change = current._id, "change"
    following = {each.name for each in blocks.fns.values() if change in each.targets}

    assert following == {name for names in stages.OTHERS.values() for name in names}


def test_the_photos_are_a_phone_s_and_a_smaller_one(tmp_path: Path) -> None:
    phone, small = stages.write_photos(tmp_path).values()

    with Image.open(phone) as image:
        assert image.size == (4032, 3024)
        assert image.getexif()[stages.ORIENTATION] == stages.TURNED
    assert 2e6 < phone.stat().st_size < 8e6
    with Image.open(small) as image:
        assert image.size == (1280, 960)
