"""A photo on its side, and the button that turns it for all tabs."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.visits import expect_size, on_desktop, open_tab, picture_file, upload

pytestmark = pytest.mark.browser

KITTEN = Path(__file__).parent.parent.parent / "examples" / "kitten_with_wool.jpg"


@on_desktop
def test_a_photo_on_its_side_is_turned_for_all_tabs_and_back(page: Page) -> None:
    kitten = Image.open(KITTEN)
    upload(
        page,
        "kitten.png",
        picture_file("png", kitten.transpose(Image.Transpose.ROTATE_90).convert("RGB")),
    )
    message, button = page.locator("#pets-message"), page.locator("#turn-photo")
    expect(message).to_contain_text("seems to lie on its side")
    expect(button).to_have_text("Turn the photo upright")
    picture = page.locator("#pets-picture img")
    expect_size(picture, *kitten.size[::-1])

    button.click()

    expect(button).to_have_text("Turn the photo back")
    expect(message).to_contain_text("pet found")
    expect(message).not_to_contain_text("side")
    expect(page.locator("#photo img")).to_have_js_property("naturalWidth", kitten.width)
    expect_size(picture, *kitten.size)
    open_tab(page, "Mask")
    overlay = page.get_by_role("tabpanel", name="Mask", exact=True).locator("img").first
    expect(overlay).to_have_js_property("naturalWidth", kitten.width)
    open_tab(page, "Pets")

    button.click()

    expect(button).to_have_text("Turn the photo upright")
    expect(message).to_contain_text("seems to lie on its side")
    expect(page.locator("#photo img")).to_have_js_property("naturalWidth", kitten.height)
