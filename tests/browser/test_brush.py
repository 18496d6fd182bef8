"""Correcting a mask by hand, by mouse, finger and keyboard."""

import re

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_access import bars
from tests.browser.visits import (
    SCREENSHOTS,
    Served,
    comes_to_rest,
    downloaded,
    on_desktop,
    open_tab,
    opened,
)

pytestmark = pytest.mark.browser


def open_brush(page: Page, tab: str, name: str) -> None:
    """Choose an example, and open the canvas of a tab."""
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, tab)
    page.locator(f"#brush-{name} .brush-open").click()
    expect(page.locator(f"#brush-{name} canvas")).to_be_visible()
    expect(page.locator(f"#brush-{name} .brush-layer")).to_be_attached()
    can_draw(page, name)


def can_draw(page: Page, name: str) -> None:
    """Wait until the canvas has the photo, before which it takes no strokes."""
    comes_to_rest(page)
    page.wait_for_function(
        """(brush) => {
          const [canvas, photo] = ["canvas", "img"].map((part) => brush.querySelector(part));
          return photo.naturalWidth && canvas.width === photo.naturalWidth;
        }""",
        arg=page.locator(f"#brush-{name}").element_handle(),
    )


def place(page: Page, name: str, x: float, y: float) -> tuple[float, float]:
    canvas = page.locator(f"#brush-{name} canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


@on_desktop
def test_strokes_by_mouse_and_keys_change_all_that_is_made_of_the_mask(page: Page) -> None:
    open_brush(page, "Cut out", "cut-out")
    before = np.asarray(downloaded(page, "#cut-out-download"))[:, :, 3]
    said, undo = page.locator("#brush-cut-out .brush-said"), page.locator("#brush-cut-out .undo")
    expect(undo).to_be_disabled()

    page.locator("#brush-cut-out .keep").click()
    page.mouse.move(*place(page, "cut-out", 0.05, 0.05))
    page.mouse.down()
    page.mouse.move(*place(page, "cut-out", 0.15, 0.05), steps=4)
    page.mouse.up()

    expect(said).to_contain_text("now covers")
    expect(undo).to_be_enabled()
    comes_to_rest(page)
    page.screenshot(path=SCREENSHOTS / "brush-desktop.png", full_page=True)
    kept = np.asarray(downloaded(page, "#cut-out-download"))[:, :, 3]
    height, width = kept.shape
    row, column = round(0.05 * height), round(0.1 * width)
    assert before[row, column] == 0
    assert kept[row, column] > 127
    open_tab(page, "Pets")
    open_tab(page, "Mask")
    expect(page.locator("#legend")).to_contain_text("What changed")
    page.locator("#brush-mask .brush-open").click()
    expect(page.locator("#brush-mask .undo")).to_be_enabled()
    can_draw(page, "mask")
    canvas = page.locator("#brush-mask canvas")
    canvas.focus()

    page.keyboard.press("r")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#brush-mask .brush-said")).to_contain_text("48%, 50%")
    page.keyboard.press("Enter")

    expect(page.locator("#brush-mask .brush-said")).to_contain_text("now covers")
    comes_to_rest(page)
    removed = np.asarray(downloaded(page, "#mask-download"))
    assert removed[height // 2, round(0.48 * width)] == 2
    assert removed[row, column] == 1

    page.keyboard.press("Shift+Tab")
    canvas.focus()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")

    expect(page.locator("#brush-mask .undo")).to_be_disabled()
    comes_to_rest(page)
    open_tab(page, "Cut out")
    again = np.asarray(downloaded(page, "#cut-out-download"))[:, :, 3]
    np.testing.assert_array_equal(again, before)


def spread_two_fingers(page: Page, x: float, y: float) -> None:
    """Spread two fingers around a place, as to zoom."""
    hand = page.context.new_cdp_session(page)
    for distance in range(10, 90, 5):
        fingers = [{"x": x - distance, "y": y, "id": 0}, {"x": x + distance, "y": y, "id": 1}]
        kind = "touchMove" if distance > 10 else "touchStart"
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
        page.evaluate("new Promise(requestAnimationFrame)")
    hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_finger_draws_and_two_do_not(browser: Browser, served: Served) -> None:
    context = browser.new_context(has_touch=True, is_mobile=True, reduced_motion="reduce")
    with opened(context, served[0], 390, "dark") as page:
        open_brush(page, "Cut out", "cut-out")
        heights = page.locator("#brush-cut-out button").evaluate_all(
            "buttons => buttons.map((button) => button.getBoundingClientRect().height)"
        )
        assert min(heights) >= 44
        page.locator("#brush-cut-out .remove").tap()

        x, y = place(page, "cut-out", 0.5, 0.5)
        spread_two_fingers(page, x, y)
        page.wait_for_function("visualViewport.scale > 1.2")
        expect(page.locator("#brush-cut-out .undo")).to_be_disabled()
        page.screenshot(path=SCREENSHOTS / "brush-pinched.png")

        page.touchscreen.tap(*place(page, "cut-out", 0.5, 0.5))

        expect(page.locator("#brush-cut-out .brush-said")).to_contain_text("now covers")
        layer = page.locator("#brush-cut-out .brush-layer")
        expect(layer).to_have_attribute("data-strokes", re.compile(r'^\[{"keep": false, .*}\]$'))
        comes_to_rest(page)
        assert bars(page) == []
        page.screenshot(path=SCREENSHOTS / "brush-phone.png", full_page=True)
    context.close()
