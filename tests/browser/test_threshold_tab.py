"""The Threshold tab: cuts that can be dragged, the classes between them, all methods."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from models.thresholding import GLOBAL_METHODS, METHODS
from tests.browser.visits import (
    comes_to_rest,
    downloaded,
    expect_size,
    on_desktop,
    on_phone,
    open_tab,
    picture_file,
    upload,
)
from ui import theme

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@on_desktop
def test_a_picture_of_few_values_is_explained(page: Page) -> None:
    open_tab(page, "Threshold")
    for values, sentence in (((7, 7), "1 different"), ((0, 255), "2 different")):
        picture = np.full((60, 90, 3), values[0], np.uint8)
        picture[:, 45:] = values[1]
        upload(page, "flat.png", picture_file("PNG", Image.fromarray(picture)))
        choose_classes(page, 3)
        expect(page.get_by_text(sentence)).to_be_visible()
        expect(page.locator("#histogram .grey-values")).to_be_visible()
        expect(page.locator("#methods figure")).to_have_count(len(METHODS))


@on_desktop
def test_a_deep_picture_keeps_its_numbers_and_a_mask_shows_its_python(page: Page) -> None:
    gray = np.arange(700, 4795, dtype=np.uint16).reshape(45, 91)
    open_tab(page, "Threshold")
    upload(page, "cells.tif", picture_file("TIFF", Image.fromarray(gray)))
    expect(page.locator("#lab-message")).to_contain_text("cut 2746")
    expect(page.locator("#cuts tbody tr").first).to_contain_text("700 to")
    page.locator("#histogram .logarithmic").click()
    expect(page.locator("#histogram .logarithmic")).to_have_attribute("aria-pressed", "true")
    page.locator("#lab-method input").click()
    page.get_by_role("option", name="Local Otsu").click()
    expect(page.locator("#lab-message")).to_contain_text("Local Otsu")
    expect(page.locator("#lab-window")).to_be_visible()
    page.locator("#lab-snippet").click()
    expect(page.locator("#lab-code textarea")).to_have_value(re.compile(r"local_otsu\(gray, 51\)"))
    assert np.unique(np.asarray(downloaded(page, "#lab-download"))).tolist() == [0, 255]


@on_phone
def test_the_controls_change_the_classes(page: Page) -> None:
    page.locator("#examples button").filter(has_text="Chelsea, a cat").click()
    open_tab(page, "Threshold")
    choose_classes(page, 5)
    expect(page.locator("#cuts tbody tr")).to_have_count(5)
    expect(page.locator("#histogram .cut")).to_have_count(4)
    comes_to_rest(page)
    before = page.locator("#histogram .grey-values").get_attribute("aria-label")
    page.locator("#channel input").click()
    page.get_by_role("option", name="saturation").click()
    expect(page.locator("#histogram .grey-values")).not_to_have_attribute(
        "aria-label", before or ""
    )
    comes_to_rest(page)
    mask = downloaded(page, "#classes-download")
    assert mask.size == (451, 300)
    assert np.unique(np.asarray(mask)).tolist() == [0, 1, 2, 3, 4]


def open_cat_for_cutting(page: Page) -> None:
    """The Threshold tab with a picture of 451 x 300 pixels, cut at 90 and 132, fully loaded."""
    upload(page, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())
    open_tab(page, "Threshold")
    choose_classes(page, 3)
    expect(page.locator("#histogram .cut")).to_have_count(2)
    expect(page.locator("#methods figure")).to_have_count(len(METHODS))
    expect_size(page.locator("#classes-picture img"), 451, 300)
    comes_to_rest(page)
    slider(page, 1).scroll_into_view_if_needed()


def choose_classes(page: Page, classes: int) -> None:
    number = page.locator("#classes input[type=number]")
    number.fill(str(classes))
    number.press("Enter")


def slider(page: Page, number: int) -> Locator:
    return page.get_by_role("slider", name=f"Cut {number}")


def expect_cuts(page: Page, *cuts: int) -> None:
    for number, cut in enumerate(cuts, start=1):
        expect(slider(page, number)).to_have_attribute("aria-valuenow", str(cut))


def cat_cut_at(*cuts: int) -> NDArray[np.integer]:
    gray = np.asarray(Image.open(EXAMPLES / "cat_chelsea.png").convert("RGB").convert("L"))
    return np.sum([gray > cut for cut in cuts], axis=0)


def live_picture(page: Page) -> NDArray[np.uint8]:
    """The pixels of the picture that is painted in the browser."""
    address = page.locator("#classes-picture canvas").evaluate("canvas => canvas.toDataURL()")
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def expect_areas(page: Page, *cuts: int) -> None:
    """The table counts the pixels between these cuts."""
    for cells, pixels in zip(
        page.locator("#cuts tbody tr").all(), np.bincount(cat_cut_at(*cuts).ravel()), strict=True
    ):
        expect(cells).to_contain_text(f"{pixels:,}")


@on_desktop
def test_keys_move_a_cut_and_everything_follows(page: Page) -> None:
    open_cat_for_cutting(page)
    first = page.locator("#classes-picture img").get_attribute("src") or ""

    slider(page, 1).press("ArrowRight")

    expect_cuts(page, 91, 132)
    expect(page.locator("#score")).to_contain_text(
        re.compile(r"Your cuts at 91, 132: class separation 99\.\d% of the best possible")
    )
    expect(page.locator("#classes-picture img")).not_to_have_attribute("src", first)
    expect(page.locator("#classes-picture canvas")).to_have_count(0)
    expect_areas(page, 91, 132)
    comes_to_rest(page)
    mask = downloaded(page, "#classes-download")
    np.testing.assert_array_equal(np.asarray(mask), cat_cut_at(91, 132))

    for key, cut in (
        ("ArrowLeft", 90),
        ("PageUp", 100),
        ("PageDown", 90),
        ("ArrowUp", 91),
        ("ArrowDown", 90),
        ("End", 131),
        ("ArrowRight", 131),
        ("Home", 4),
        ("ArrowLeft", 4),
    ):
        slider(page, 1).press(key)
        expect_cuts(page, cut, 132)
    expect(slider(page, 2)).to_have_attribute("aria-valuemin", "5")
    assert slider(page, 1).evaluate("slider => getComputedStyle(slider).outlineStyle") == "solid"


@on_desktop
def test_the_picture_follows_a_cut_that_is_dragged(page: Page) -> None:
    open_cat_for_cutting(page)
    server_s = page.locator("#classes-picture img").get_attribute("src") or ""
    box = slider(page, 1).bounding_box()
    assert box
    assert box["width"] >= 24
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    histogram = page.locator("#histogram .grey-values").bounding_box()
    assert histogram
    grey_value = histogram["width"] / 256

    page.mouse.move(x, y)
    page.mouse.down()
    for value in (60, 110):
        page.mouse.move(x + (value - 90) * grey_value, y, steps=4)
        expect_cuts(page, value, 132)
        colors = np.array(theme.class_colors(3), np.uint8)
        np.testing.assert_array_equal(live_picture(page), colors[cat_cut_at(value, 132)])
        expect_areas(page, value, 132)
    shown = page.locator("#classes-picture canvas").bounding_box()
    expected = page.locator("#classes-picture img").bounding_box()
    assert shown == pytest.approx(expected, abs=0.1)
    assert page.locator("#classes-picture img").get_attribute("src") == server_s
    expect(page.locator("#score")).to_be_empty()

    page.mouse.up()
    expect(page.locator("#score")).to_contain_text("Your cuts at 110, 132: class separation")
    expect(page.locator("#classes-picture img")).not_to_have_attribute("src", server_s)
    expect_cuts(page, 110, 132)
    expect_areas(page, 110, 132)
    page.mouse.move(0, 0)
    expect(page.locator("#classes-picture canvas")).to_have_count(0)


@on_phone
def test_a_cut_follows_a_finger_and_the_page_stays(page: Page) -> None:
    open_cat_for_cutting(page)
    box = slider(page, 2).bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    scrolled = page.evaluate("scrollY")
    devices = page.context.new_cdp_session(page)
    devices.send("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y} for x, y in points]
        devices.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", (x, y))
    for step in range(1, 7):
        touch("touchMove", (x + 5 * step, y - 15 * step))
    expect(slider(page, 2)).not_to_have_attribute("aria-valuenow", "132")
    shown = page.locator("#classes-picture canvas").bounding_box()
    expected = page.locator("#classes-picture img").bounding_box()
    assert shown == pytest.approx(expected, abs=0.1)
    touch("touchEnd")

    expect(page.locator("#score")).to_contain_text("Your cuts at 90, 1")
    assert page.evaluate("scrollY") == scrolled


@on_desktop
def test_pointing_at_the_histogram_says_what_it_counts(page: Page) -> None:
    open_cat_for_cutting(page)
    box = page.locator("#histogram .grey-values").bounding_box()
    assert box

    page.mouse.move(box["x"] + box["width"] * 110.5 / 256, box["y"] + box["height"] / 2)

    gray = np.asarray(Image.open(EXAMPLES / "cat_chelsea.png").convert("RGB").convert("L"))
    expect(page.locator("#histogram .readout")).to_have_text(
        f"Grey value 110: {(gray == 110).sum():,} pixels, class 2"
    )
    painted = live_picture(page)
    assert np.unique(painted[gray == 110], axis=0).tolist() == [[229, 0, 11]]
    own = (gray != 110) & (cat_cut_at(90, 132) == 1)
    assert np.unique(painted[own], axis=0).tolist() == [list(theme.class_colors(3)[1])]
    page.mouse.move(0, 0)
    expect(page.locator("#classes-picture canvas")).to_have_count(0)


@on_desktop
def test_the_best_cuts_come_back(page: Page) -> None:
    open_cat_for_cutting(page)
    back = page.get_by_role("button", name="Back to Otsu’s cuts")
    expect(back).to_be_disabled()
    slider(page, 1).press("PageUp")
    slider(page, 2).press("PageUp")
    expect(page.locator("#score")).to_contain_text("Your cuts at 100, 142")

    back.press("Enter")
    expect(back).to_be_focused()  # though it does nothing more
    expect_cuts(page, 90, 132)
    expect_areas(page, 90, 132)
    expect(page.locator("#score")).to_be_empty()
    expect(back).to_be_disabled()
    np.testing.assert_array_equal(
        np.asarray(downloaded(page, "#classes-download")), cat_cut_at(90, 132)
    )

    slider(page, 1).press("PageUp")
    expect(page.locator("#score")).to_contain_text("Your cuts at 100, 132")
    choose_classes(page, 2)
    expect(page.locator("#histogram .cut")).to_have_count(1)
    expect_cuts(page, 115)
    expect(page.locator("#score")).to_be_empty()

    slider(page, 1).press("PageUp")
    expect(page.locator("#score")).to_contain_text("Your cut at 125: class")
    page.locator("#channel input").click()
    page.get_by_role("option", name="red", exact=True).click()
    expect(page.locator("#score")).to_be_empty()
    expect(back).to_be_disabled()

    slider(page, 1).press("PageUp")
    expect(page.locator("#score")).to_contain_text("Your cut at")
    page.locator("#examples button").filter(has_text="Greek coins").click()
    expect(page.locator("#score")).to_be_empty()
    expect(back).to_be_disabled()


@on_phone
def test_one_cut_is_a_lesson_that_agrees_with_itself(page: Page) -> None:
    page.locator("#examples button").filter(has_text="Greek coins").click()
    expect(page.locator("#methods figure")).to_have_count(len(METHODS))
    otsu = page.locator("#methods figure").filter(has_text="Otsu, cut")
    found = re.search(r"Otsu, cut (\d+)\s+([\d.]+)% foreground", otsu.inner_text())
    assert found
    cut, share = int(found[1]), float(found[2])
    expect_cuts(page, cut)
    expect(page.locator("#variance")).to_contain_text(f"the best is {cut}, Otsu’s cut")
    comes_to_rest(page)
    gray = np.asarray(Image.open(EXAMPLES / "coins.png").convert("L"))
    assert share == pytest.approx(100 * (gray > cut).mean(), abs=0.051)
    np.testing.assert_array_equal(
        np.asarray(downloaded(page, "#methods [data-method=otsu]")) > 0, gray > cut
    )

    # The curve, the marks and the histogram share their horizontal axis.
    places = page.evaluate("""() => {
      const box = (name) => document.querySelector(name).getBoundingClientRect();
      const [plot, curve] = [box(".histogram svg"), box(".curve svg")];
      const mark = [...document.querySelectorAll(".mark")].find((e) => e.innerText === "Otsu");
      const middle = ({ left, width }) => left + width / 2;
      return {
        plot: [plot.left, plot.right], curve: [curve.left, curve.right],
        under: plot.bottom < curve.top,
        x: [box(".histogram .cut"), { left: mark.getBoundingClientRect().left, width: 0 },
          box("circle.best")].map(middle),
        own: middle(box("circle.own")),
      };
    }""")
    assert places["plot"] == pytest.approx(places["curve"], abs=0.5)
    assert places["under"]
    assert places["x"] == pytest.approx([places["x"][0]] * 3, abs=1.5)
    slider(page, 1).press("PageUp")
    expect(slider(page, 1)).to_have_attribute("aria-valuenow", str(cut + 10))
    moved = page.locator("circle.own").bounding_box()
    assert moved
    assert moved["x"] > places["own"]

    names = page.locator("#methods summary").all_inner_texts()
    assert len(names) == len(set(names)) == len(GLOBAL_METHODS)
    otsu.locator("summary").click()
    expect(otsu.locator("cite")).to_contain_text("1979")
