"""What Gradio brings along and this page has no use for, or says in other words."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.visits import Served, comes_to_rest, open_tab, opened, upload

pytestmark = pytest.mark.browser

CAT = Path(__file__).parent.parent.parent / "examples" / "cat_chelsea.png"


@pytest.fixture(scope="module")
def page(context: BrowserContext, served: Served) -> Iterator[Page]:
    """One page for all tests of this file, which go on where the one before ended."""
    with opened(context, served[0], 1280, "light") as page:
        yield page


def test_a_number_beyond_a_slider_s_range_becomes_the_nearest(page: Page) -> None:
    upload(page, "cat.png", CAT.read_bytes())
    open_tab(page, "Threshold")
    number = page.locator("#classes input[type=number]")
    number.wait_for()  # it is hidden until the photo is there
    comes_to_rest(page)
    for typed, taken in (("20", "8"), ("1", "2"), ("5", "5")):
        number.press("ControlOrMeta+a")
        number.press_sequentially(typed)
        number.press("Enter")
        expect(number).to_have_value(taken)
        expect(page.locator("#cuts tbody tr")).to_have_count(int(taken))
        comes_to_rest(page)
    expect(page.locator("[data-testid=toast-body]")).to_have_count(0)


def test_nothing_is_offered_that_the_page_has_not(page: Page) -> None:
    for word in ("API", "Settings", "Gradio"):
        expect(page.get_by_role("button", name=word)).to_have_count(0)
    expect(page.get_by_role("contentinfo")).to_have_count(0)


def test_the_language_can_be_changed_and_the_view_stays(page: Page) -> None:
    comes_to_rest(page)
    page.goto(f"{page.url.split('?')[0]}?example=coins&tab=threshold&classes=3")
    page.get_by_role("link", name="Deutsch").click()

    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("#cuts tbody tr")).to_have_count(3)
    expect(page.get_by_role("tab", name="Schwellenwert")).to_have_attribute("aria-selected", "true")
    for name in ("Vollbild", "Bild entfernen", "Mit der Kamera aufnehmen"):
        expect(page.locator("#photo").get_by_role("button", name=name)).to_be_visible()
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("tab", name="Threshold")).to_be_visible()
