"""Microscope pictures on the page: planes of stacks, measured in their own values."""

import io

import numpy as np
import pytest
import tifffile
from playwright.sync_api import Page, expect

from tests.browser.visits import comes_to_rest, on_desktop, open_tab, upload

pytestmark = pytest.mark.browser


@on_desktop
def test_a_plane_of_a_stack_is_chosen_and_its_nuclei_are_counted(page: Page) -> None:
    y, x = np.mgrid[:128, :160]
    values = np.full((3, 2, 128, 160), 150, np.uint16)
    for z in range(3):
        for left in range(z + 1):
            inside = (y - 64) ** 2 + (x - 40 - 45 * left) ** 2 < 17**2
            values[z, :, inside] = 1200
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, imagej=True, metadata={"axes": "ZCYX"})

    upload(page, "stack.tif", buffer.getvalue())

    said = page.locator("#picture-said")
    expect(said).to_contain_text("z 1 of 3")
    expect(said).to_contain_text("Shown from 150 (black) to 1200 (white)")
    expect(page.locator("#axis-page")).to_be_hidden()
    open_tab(page, "Mask")
    page.get_by_label("Cell nuclei").check()
    expect(page.locator("#legend")).to_contain_text("Objects found: 1")

    comes_to_rest(page)
    page.locator("#axis-z input[type=number]").fill("3")
    page.locator("#axis-z input[type=number]").press("Enter")

    expect(said).to_contain_text("z 3 of 3")
    expect(page.locator("#legend")).to_contain_text("Objects found: 3")
    comes_to_rest(page)
    with page.expect_download() as download:
        page.locator("#labels-download").click()
    labels = tifffile.imread(download.value.path())
    assert labels.dtype == np.uint16
    assert labels.max() == 3


@on_desktop
def test_the_search_in_a_large_picture_is_seen_stopped_and_begun_again(page: Page) -> None:
    tile = np.full((100, 100), 12, np.uint8)
    y, x = np.mgrid[:100, :100]
    tile[np.hypot(y - 50, x - 50) < 15] = 90
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.tile(tile, (40, 40)), compression="zlib")
    upload(page, "large.tif", buffer.getvalue())
    open_tab(page, "Mask")

    page.get_by_label("Cell nuclei").check()

    bar = page.locator("progress")
    expect(bar).to_be_visible()
    expect(page.get_by_text("Looking for objects in a large picture")).to_be_visible()
    page.locator("#mask-stop").click()
    expect(page.get_by_text("The search was stopped")).to_be_visible()
    expect(page.locator("#mask-stop")).to_be_hidden()
    expect(page.locator("#objects")).to_be_empty()

    page.locator("#mask-again").click()

    expect(bar).to_be_visible()
    expect(page.locator("#mask-again")).to_be_hidden()
    page.locator("#mask-stop").click()
    expect(page.get_by_text("The search was stopped")).to_be_visible()
