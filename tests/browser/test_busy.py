"""What a visitor sees who comes when too many wait already."""

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_who_finds_no_place_in_the_queue_reads_so_and_keeps_the_photo(
    page_without_a_place: Page,
) -> None:
    page = page_without_a_place
    page.locator("#examples button").first.click()

    busy = page.get_by_text("Petscope is busy: you would be number 1 in the queue.")
    expect(busy.first).to_be_visible()
    expect(page.get_by_text("currently busy")).to_have_count(0)  # Gradio's own words
