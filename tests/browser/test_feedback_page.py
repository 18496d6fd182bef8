"""“This is wrong” on a phone: correct, choose a breed, agree, send; and what was written then."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.conftest import serve
from tests.browser.test_access import bars
from tests.browser.test_brush import can_draw
from tests.browser.visits import SCREENSHOTS, comes_to_rest, open_tab, opened

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The owner's folder."""
    return tmp_path_factory.mktemp("owner") / "kept"


@pytest.fixture(scope="module")
def address(kept: Path) -> Iterator[str]:
    with serve(GRADIO_SSR_MODE="False", PETSCOPE_FEEDBACK=str(kept)) as (address, _):
        yield address


def trimap_in(folder: Path) -> np.ndarray:
    (file,) = (folder / "annotations" / "trimaps").iterdir()
    return np.asarray(Image.open(file))


def test_a_finger_corrects_a_mask_and_sends_it(browser: Browser, address: str, kept: Path) -> None:
    context = browser.new_context(has_touch=True, is_mobile=True, reduced_motion="reduce")
    with opened(context, address, 390, "light") as page:
        page.locator("#examples button").filter(has_text="Chelsea").tap()
        expect(page.locator("#pets .feedback-open")).to_be_visible()
        open_tab(page, "Cut out")
        comes_to_rest(page)
        form = page.locator("#feedback-cut-out .feedback-form")
        page.locator("#feedback-cut-out .feedback-open").tap()
        expect(form.get_by_role("heading", name="What is wrong?")).to_be_focused()
        expect(form).to_contain_text("kept in a folder of whoever runs this page")
        send, agree = form.get_by_role("button", name="Send"), form.get_by_role("checkbox")
        expect(send).to_be_disabled()
        sizes = form.locator("button, select, label").evaluate_all(
            "all => all.map((each) => each.getBoundingClientRect().height)"
        )
        assert min(sizes) >= 44
        form.get_by_role("combobox").select_option("Egyptian Mau")
        agree.tap()
        expect(send).to_be_enabled()
        comes_to_rest(page)
        assert bars(page) == []
        page.screenshot(path=SCREENSHOTS / "feedback-phone.png", full_page=True)

        # A correction: what was agreed to was another outline.
        shown = form.get_attribute("data-shown")
        page.locator("#brush-cut-out .brush-open").tap()
        canvas = page.locator("#brush-cut-out canvas")
        expect(page.locator("#brush-cut-out .brush-layer")).to_be_attached()
        can_draw(page, "cut-out")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        page.touchscreen.tap(box["x"] + 0.95 * box["width"], box["y"] + 0.05 * box["height"])
        expect(page.locator("#brush-cut-out .brush-said")).to_contain_text("now covers")
        expect(form).not_to_have_attribute("data-shown", str(shown))
        expect(agree).not_to_be_checked()
        expect(send).to_be_disabled()
        expect(form.get_by_role("combobox")).to_have_value("Egyptian Mau")
        assert not list((kept / "images").iterdir())

        agree.tap()
        send.tap()
        thanks = page.locator("#feedback-cut-out .feedback-kept")
        expect(thanks).to_contain_text("Thank you")
        expect(thanks).to_be_focused()
        comes_to_rest(page)
        assert bars(page) == []
        page.screenshot(path=SCREENSHOTS / "feedback-thanks-phone.png", full_page=True)
        name = thanks.locator("code").inner_text()
    context.close()

    assert re.fullmatch("[0-9a-f]{32}", name)
    lines = (kept / "annotations" / "list.txt").read_text().splitlines()
    assert [line for line in lines if line[0] != "#"] == [f"{name} 12 1 6"]
    photo = Image.open(kept / "images" / f"{name}.jpg")
    trimap = trimap_in(kept)
    assert trimap.shape == (photo.height, photo.width)
    added = trimap[round(0.05 * photo.height), round(0.95 * photo.width)]
    assert added != 2  # what the finger added is no background
    assert set(np.unique(trimap)) == {1, 2, 3}


def test_one_of_several_pets_in_the_dark_and_in_german(
    browser: Browser, address: str, kept: Path
) -> None:
    context = browser.new_context(reduced_motion="reduce", locale="de-DE")
    with opened(context, address, 1280, "dark") as page:
        before = set((kept / "images").iterdir())
        page.locator("#examples button").filter(has_text="Zwei Tiere").click()
        button = page.locator("#pets .feedback-open[data-pet='2']")
        button.click()
        form = page.locator("#feedback-pets .feedback-form")
        expect(form.get_by_role("heading", name="Was stimmt bei Tier 2 nicht?")).to_be_focused()
        expect(form).to_contain_text("in einem Ordner")
        comes_to_rest(page)
        assert bars(page) == []
        page.screenshot(path=SCREENSHOTS / "feedback-desktop.png", full_page=True)
        form.get_by_role("button", name="Abbrechen").click()
        expect(form).to_have_count(0)
        button.click()
        form.get_by_role("checkbox").check()
        form.get_by_role("button", name="Senden").click()
        expect(page.locator("#feedback-pets .feedback-kept")).to_contain_text("Danke")
        whole = page.locator("#photo img").first.evaluate("image => image.naturalWidth")
    context.close()

    (new,) = set((kept / "images").iterdir()) - before
    assert Image.open(new).width < min(whole, 1000)  # the pet with its surroundings
    listed = (kept / "annotations" / "list.txt").read_text()
    assert re.search(f"^{new.stem} 0 [12] 0$", listed, re.MULTILINE)
