"""The Mask tab: the outline, and its explanation."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from models import store
from tests.browser.visits import (
    comes_to_rest,
    downloaded,
    expect_size,
    on_desktop,
    on_phone,
    open_tab,
)

pytestmark = pytest.mark.browser


@on_desktop
def test_the_masks_download_holds_the_data_set_s_values(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Mask")
    page.locator("#overlay img").wait_for()
    comes_to_rest(page)
    mask = downloaded(page, "#mask-download")
    assert mask.size == (800, 600)
    assert set(np.unique(np.asarray(mask))) <= {1, 2, 3}


@on_phone
def test_opacity_and_border_change_the_overlay(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Mask")
    picture = page.locator("#overlay img")
    picture.wait_for()
    comes_to_rest(page)
    first = picture.get_attribute("src") or ""
    page.locator("#border input").uncheck()
    expect(picture).not_to_have_attribute("src", first)
    comes_to_rest(page)
    second = picture.get_attribute("src") or ""
    page.locator("#opacity input[type=number]").fill("0.9")
    page.locator("#opacity input[type=number]").press("Enter")
    expect(picture).not_to_have_attribute("src", second)


@on_desktop
def test_each_class_has_a_probability_map_and_they_add_up_to_one(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Mask")
    pictures = page.locator("#probabilities figure img")
    expect(pictures).to_have_count(3)
    comes_to_rest(page)
    maps = []
    for name, figure in zip(
        ("pet", "border", "background"), page.locator("#probabilities figure").all(), strict=True
    ):
        expect(figure.locator("figcaption b")).to_have_text(name.capitalize())
        picture = figure.locator("img")
        assert f"Probability of {name}" in (picture.get_attribute("alt") or "")
        content = (picture.get_attribute("src") or "").partition("base64,")[2]
        # The file's values are the probabilities, and its palette is the colour ramp.
        maps.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))))
    total = np.sum(maps, axis=0, dtype=int)
    height, width = total.shape
    assert max(height, width) <= 512
    np.testing.assert_allclose(total, 255, atol=2)
    flank = maps[0][height * 13 // 30 : height // 2, width * 3 // 8 : width * 5 // 8]
    assert flank.min() > 200
    assert maps[2][:20, :20].min() > 200


@on_desktop
def test_sizes_are_compared_on_demand_and_forgotten_with_the_photo(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Mask")
    page.locator("#probabilities img").first.wait_for()
    comes_to_rest(page)
    expect(page.locator("#sizes figure")).to_have_count(0)

    page.locator("#compare-sizes").click()

    figures = page.locator("#sizes figure")
    spec = store.read_card("pet-fine", store.EMBEDDED).input
    usual = f"{spec.width} x {spec.height}"
    expect(figures.filter(has_text=f"{usual} px")).to_contain_text("usual size")
    for size in ("64 x 64 px", "128 x 128 px", "192 x 192 px", "256 x 256 px"):
        expect(figures.filter(has_text=size)).to_have_text(re.compile(r"IoU [01]\.\d\d, \d+ ms"))
    for picture in figures.locator("img").all():
        assert picture.get_attribute("alt")
        expect_size(picture, 360, 270)
    expect(page.locator("#sizes .hint")).to_have_text(
        re.compile(f"takes {usual} pixels|given the photo at each of these sizes")
    )
    page.locator("#examples button").first.click()
    expect(figures).to_have_count(0)


@on_phone
def test_the_mask_s_figures_are_those_of_its_card(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    page.locator("#pets .pet").first.wait_for()
    open_tab(page, "Mask")
    expect(page.locator("#how-good table")).to_be_hidden()
    page.locator("#how-good").get_by_role("button").click()
    for name in ("pet-fine", "nuclei"):
        card = store.read_card(name, store.EMBEDDED)
        page.locator("#mask-model").get_by_label(card.facts["title"], exact=True).check()
        test = card.facts["metrics"]["test"]
        expect(page.locator("#how-good table")).to_contain_text(f"{test['pictures']:,} test")
        figure = test["at the photo's own size"]["binary_iou"]
        expect(page.locator("#how-good table")).to_contain_text(f"{figure:.3f}")
