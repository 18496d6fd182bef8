"""What a visitor sees if too many are waiting already."""

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_a_full_queue_is_explained_and_the_photo_kept(
    page_without_a_place: Page,
) -> None:
    page = page_without_a_place
    page.locator("#examples button").first.click()

    busy = page.get_by_text("Petscope is busy: you would be number 1 in the queue.")
    expect(busy.first).to_be_visible()
    expect(page.get_by_text("currently busy")).to_have_count(0)  # Gradio's own text
