"""The Cut out tab: the pet alone, on any background, to download or copy."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.visits import (
    SCREENSHOTS,
    ask_before_the_end,
    comes_to_rest,
    downloaded,
    expect_size,
    on_desktop,
    on_phone,
    open_tab,
    picture_file,
    upload,
)

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def show_cut_out(page: Page) -> Image.Image:
    """Open the tab with an example; return its photo."""
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Cut out")
    page.locator("#cut-out img").nth(1).wait_for()
    comes_to_rest(page)
    return Image.open(EXAMPLES / "german_shepherd.jpg").convert("RGB")


def put_behind(page: Page, ground: str) -> None:
    """Choose a background and wait until it is shown."""
    comes_to_rest(page)
    after = page.locator("#cut-out img").nth(1)
    before = after.get_attribute("src") or ""
    page.locator("#ground").get_by_label(ground).check()
    expect(after).not_to_have_attribute("src", before)
    comes_to_rest(page)


@on_desktop
def test_the_cut_out_is_transparent_around_the_pet_and_copied_at_full_size(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    photo = show_cut_out(page)
    before, after = page.locator("#cut-out img").all()
    expect(before).to_have_attribute("alt", "The photo")
    expect(after).to_have_attribute("alt", re.compile("cut-out"))
    for picture in (before, after):
        expect_size(picture, *photo.size)

    cut = downloaded(page, "#cut-out-download")

    assert (cut.format, cut.mode, cut.size) == ("PNG", "RGBA", photo.size)
    pixels = np.asarray(cut)
    assert not pixels[:40, :40].any()
    opaque = pixels[:, :, 3] == 255
    assert 0.1 < opaque.mean() < 0.9
    np.testing.assert_array_equal(pixels[opaque][:, :3], np.asarray(photo)[opaque])

    page.locator("#cut-out-copy").click()

    expect(page.locator("#cut-out-copied")).to_contain_text("Copied")
    size = page.evaluate(
        """async () => {
          const [item] = await navigator.clipboard.read();
          const picture = await createImageBitmap(await item.getType("image/png"));
          return [picture.width, picture.height];
        }"""
    )
    assert tuple(size) == photo.size


@on_phone
def test_the_pet_is_laid_over_a_colour_and_over_the_blurred_photo(page: Page) -> None:
    photo = show_cut_out(page)
    put_behind(page, "A colour")
    expect(page.locator("#ground-color")).to_be_visible()

    on_color = downloaded(page, "#cut-out-download")

    assert (on_color.mode, on_color.size) == ("RGB", photo.size)
    assert (np.asarray(on_color)[:40, :40] == (0x2F, 0x7F, 0xD1)).all()

    put_behind(page, "The photo, blurred")

    blurred = downloaded(page, "#cut-out-download")

    assert (blurred.mode, blurred.size) == ("RGB", photo.size)
    corner, before = (np.asarray(picture, float)[:60, :60] for picture in (blurred, photo))
    assert (corner.std(axis=(0, 1)) < before.std(axis=(0, 1)) / 2).all()
    np.testing.assert_allclose(corner.mean(axis=(0, 1)), before.mean(axis=(0, 1)), atol=25)


@on_desktop
def test_what_is_asked_while_the_end_of_the_answers_is_on_its_way_is_answered(page: Page) -> None:
    show_cut_out(page)
    page.locator("#edge > button").click()

    ask_before_the_end(
        page,
        page.locator("#crop input").check,
        page.locator("#ground").get_by_label("Your own picture").check,
    )

    expect(page.locator("#cut-out-message")).to_contain_text("Choose a picture")
    comes_to_rest(page)


@on_desktop
def test_the_pet_is_laid_over_a_picture_of_ones_own_and_a_bad_one_changes_nothing(
    page: Page,
) -> None:
    photo = show_cut_out(page)
    page.locator("#ground").get_by_label("Your own picture").check()
    expect(page.locator("#cut-out-message")).to_contain_text("Choose a picture")
    comes_to_rest(page)
    after, own = page.locator("#cut-out img").nth(1), page.locator("#ground-picture")
    before = after.get_attribute("src") or ""
    pink = picture_file("PNG", Image.new("RGB", (90, 400), (250, 90, 160)))
    own.locator("input[type=file]").set_input_files(
        {"name": "pink.png", "mimeType": "image/png", "buffer": pink}
    )
    expect(after).not_to_have_attribute("src", before)
    expect(page.locator("#cut-out-message")).to_contain_text("Drag the line")

    own.locator("input[type=file]").set_input_files(
        {"name": "notes.png", "mimeType": "image/png", "buffer": b"this is no picture"}
    )

    expect(page.locator("#ground-message")).to_contain_text("not a picture")
    expect_size(own.locator("img"), 90, 400)
    comes_to_rest(page)
    result = downloaded(page, "#cut-out-download")
    assert (result.mode, result.size) == ("RGB", photo.size)
    assert (np.asarray(result)[:40, :40] == (250, 90, 160)).all()


@on_phone
def test_a_browser_that_refuses_to_copy_is_explained_in_one_sentence(page: Page) -> None:
    show_cut_out(page)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")

    page.locator("#cut-out-copy").click()

    expect(page.locator("#cut-out-copied")).to_contain_text("does not let this page copy")


@on_desktop
def test_a_pet_is_chosen_by_its_card_and_by_its_place_in_the_photo(page: Page) -> None:
    upload(page, "pets.jpg", (EXAMPLES / "cat_and_dog.jpg").read_bytes())
    first, second = (
        page.locator("#pets button[data-choice]").nth(0),
        page.locator("#pets .pet").nth(1),
    )
    expect(first).to_have_attribute("aria-pressed", "false")
    comes_to_rest(page)
    open_tab(page, "Cut out")
    page.locator("#cut-out img").nth(1).wait_for()
    comes_to_rest(page)
    both = np.asarray(downloaded(page, "#cut-out-download"))[:, :, 3] > 127
    open_tab(page, "Pets")

    first.press("Enter")

    expect(first).to_have_attribute("aria-pressed", "true")
    open_tab(page, "Cut out")
    expect(page.locator("#only-pets input").nth(0)).to_be_checked()
    comes_to_rest(page)
    alone = np.asarray(downloaded(page, "#cut-out-download"))[:, :, 3] > 127
    assert not (alone & ~both).any()
    assert alone.sum() < 0.9 * both.sum()

    rest = np.argwhere(both & ~alone)
    row, column = rest[np.abs(rest - np.median(rest, axis=0)).sum(axis=1).argmin()] / both.shape
    open_tab(page, "Pets")
    image = page.locator("#pets-picture img")
    box = image.bounding_box()
    assert box is not None
    image.click(position={"x": float(column) * box["width"], "y": float(row) * box["height"]})

    expect(second).to_have_class(re.compile("chosen"))
    expect(first).to_have_attribute("aria-pressed", "false")
    page.screenshot(path=SCREENSHOTS / "pet-chosen.png", full_page=True)
    open_tab(page, "Cut out")
    expect(page.locator("#only-pets input").nth(1)).to_be_checked()
    comes_to_rest(page)
    other = np.asarray(downloaded(page, "#cut-out-download"))[:, :, 3] > 127
    np.testing.assert_array_equal(alone | other, both)
    page.locator("#only-pets input").nth(1).uncheck()
    open_tab(page, "Pets")
    expect(second).not_to_have_class(re.compile("chosen"))


@on_phone
def test_with_an_edge_and_a_frame_the_preview_is_the_file(page: Page) -> None:
    show_cut_out(page)
    page.locator("#edge > button").click()
    page.locator("#edge-outline input[type=range]").wait_for()
    comes_to_rest(page)
    after = page.locator("#cut-out img").nth(1)
    for control in ("#edge-outline input[type=range]", "#edge-softness input[type=range]"):
        slider = page.locator(control)
        before = after.get_attribute("src") or ""
        slider.focus()
        slider.press("End")
        expect(slider).to_have_js_property("value", slider.get_attribute("max"))
        expect(after).not_to_have_attribute("src", before)
    for name in ("#crop input", "#square input"):
        before = after.get_attribute("src") or ""
        page.locator(name).check()
        expect(after).not_to_have_attribute("src", before)
    comes_to_rest(page)

    saved = downloaded(page, "#cut-out-download")

    width, height = saved.size
    assert width == height
    expect_size(after, *saved.size)
    answer = page.request.get(page.evaluate("image => image.src", after.element_handle()))
    shown = np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGBA"), float)
    kept = np.asarray(saved.convert("RGBA"), float)
    assert np.abs(shown[:, :, 3] - kept[:, :, 3]).mean() < 1
    seen = kept[:, :, 3] > 250
    assert np.abs(shown - kept)[seen].mean() < 4
    edge = (kept[:, :, 3] > 250) & (kept[:, :, :3] > 240).all(axis=2)
    assert edge.mean() > 0.02  # the white outline
