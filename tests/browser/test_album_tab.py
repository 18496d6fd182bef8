"""The Many photos tab: all photos are analysed, a bad one stops nothing, a run can be stopped."""

import re
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.visits import as_file, on_desktop, on_phone, open_tab, picture_file

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def album_files(count: int) -> list[FilePayload]:
    """`count` photos of a cat, and a file that is not a picture."""
    cat = Image.open(EXAMPLES / "cat_chelsea.png").convert("RGB")
    pictures = [
        as_file("cat.jpg", picture_file("JPEG", cat.rotate(number))) for number in range(count)
    ]
    return [*pictures, as_file("<b>bad.jpg", b"no picture")]


@on_desktop
def test_many_photos_are_analysed_and_packed(page: Page) -> None:
    open_tab(page, "Many photos")
    expect(page.locator("#album-files")).to_contain_text("Drop photos here")
    page.locator("#album-files input[type=file]").set_input_files(album_files(3))
    expect(page.locator("#album-files")).to_contain_text("bad")
    page.locator("#album-start").click()

    message = page.locator("#album-message")
    expect(message).to_contain_text("3 photos analysed. 1 file could not be used")
    expect(page.locator("#album-table tbody tr")).to_have_count(4)
    expect(page.locator("#album-table")).to_contain_text("cat (3).jpg")
    expect(page.locator("#album-table b")).to_have_count(0)
    expect(page.locator("#album-gallery img").first).to_be_visible()
    with page.expect_download() as download:
        page.locator("#album-download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = archive.namelist()
        assert archive.read("pets.csv").count(b"cat") >= 3
    assert sum(name.startswith("masks/") for name in names) == 3
    assert sum(name.startswith("cut-outs/") for name in names) == 3


@on_phone
def test_many_photos_can_be_stopped_and_keep_what_is_done(page: Page) -> None:
    open_tab(page, "Many photos")
    page.locator("#album-start").click()
    expect(page.locator("#album-message")).to_contain_text("choose some first")
    page.locator("#album-files input[type=file]").set_input_files(album_files(60))
    expect(page.locator("#album-files")).to_contain_text("bad")
    page.locator("#album-start").click()
    expect(page.locator("#album-message")).to_contain_text(
        re.compile(r"\b([2-9]|\d\d) of 61, about")
    )
    page.locator("#album-stop").click()

    expect(page.locator("#album-message")).to_contain_text(
        re.compile(r"Stopped: \d+ analysed, \d+ left\..* Computed on the CPU\.\s*$")
    )
    numbers = re.findall(r"\d+", page.locator("#album-message").inner_text())
    looked_at, left = map(int, numbers[:2])
    assert looked_at + left == 61
    assert looked_at < 60
    expect(page.locator("#album-table tbody tr")).to_have_count(looked_at)
    expect(page.locator("#album-download")).to_be_enabled()
