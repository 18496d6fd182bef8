"""How a photo comes in, what is said where it cannot, and that it stays."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.visits import Served, comes_to_rest, open_tab, opened

pytestmark = pytest.mark.browser

KITTEN = Path(__file__).parent.parent.parent / "examples" / "kitten_with_wool.jpg"
DROP = """([content, target]) => {
  const files = new DataTransfer();
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  files.items.add(new File([bytes], "bella.jpg", { type: "image/jpeg" }));
  for (const kind of ["dragover", "drop"]) {
    const more = { bubbles: true, cancelable: true, dataTransfer: files };
    document.querySelector(target).dispatchEvent(new DragEvent(kind, more));
  }
}"""


@pytest.fixture(scope="module")
def page(context: BrowserContext, served: Served) -> Iterator[Page]:
    """One page for all tests of this file, which go on where the one before ended."""
    with opened(context, served[0], 390, "light") as page:
        yield page


def test_a_camera_or_a_clipboard_that_cannot_be_used_gets_a_sentence(page: Page) -> None:
    sources = page.locator("#photo .source-selection button")
    sources.nth(1).click()
    page.get_by_text("Click to Access Webcam").click()
    expect(page.locator("#arrival").get_by_role("alert")).to_contain_text("No camera was found")

    sources.nth(2).click()
    expect(page.locator("#arrival").get_by_role("alert")).to_contain_text("read the clipboard")
    sources.nth(0).click()
    expect(page.locator("#arrival")).to_be_hidden()


def test_a_photo_is_taken_wherever_it_is_dropped(page: Page) -> None:
    page.evaluate(DROP, [base64.b64encode(KITTEN.read_bytes()).decode(), "h1"])

    expect(page.locator("#pets .pet")).to_contain_text("Ragdoll")
    expect(page.locator("#share-message")).to_contain_text("without your photo")


def test_what_is_saved_is_named_after_the_photo(page: Page) -> None:
    comes_to_rest(page)
    for tab, button, name in (
        ("Pets", "#share-card", "bella-petscope.png"),
        ("Pets", "#pets-download", "bella-pets.jpg"),
        ("Mask", "#outline-download", "bella-outline.jpg"),
        ("Cut out", "#cut-out-download", "bella-cut-out.png"),
        ("Threshold", "#classes-download", "bella-luminance-2-classes.png"),
        ("Mask", "#mask-download", "bella-mask.png"),
    ):
        open_tab(page, tab)
        expect(page.locator(button)).to_be_enabled()
        with page.expect_download() as download:
            page.locator(button).click()
        assert download.value.suggested_filename == name


def test_the_photo_stays_when_the_page_is_opened_again(page: Page) -> None:
    page.reload()
    expect(page.locator("#pets .pet")).to_contain_text("Ragdoll")

    page.get_by_role("link", name="For programs").click()
    page.get_by_role("heading", name="Endpoints").wait_for()
    page.get_by_role("link", name="Your photo").click()
    expect(page.locator("#pets .pet")).to_contain_text("Ragdoll")

    page.get_by_label("Remove Image").click()
    expect(page.locator("#pets .pet")).to_have_count(0)
    page.reload()
    expect(page.get_by_text("Example: now try yours")).to_be_visible()
