import base64
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from models import store
from ui import theme

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def upload(page: Page, name: str, content: bytes) -> None:
    page.locator("#photo input[type=file]").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        if "." not in name
        else {"name": name, "mimeType": f"image/{name.rpartition('.')[2]}", "buffer": content}
    )


def open_tab(page: Page, name: str) -> None:
    tab = page.get_by_role("tab", name=name, exact=True)
    more = page.locator("#tabs .overflow-menu > button")
    tab.or_(more).filter(visible=True).first.wait_for()
    if not tab.is_visible():  # on a phone the last tabs are in a menu
        more.click()
        tab = page.locator("#tabs .overflow-dropdown button", has_text=name)
    tab.click()


def shown_size(picture: Locator) -> tuple[int, int]:
    """Pixels of the picture itself, not of its place on the page."""
    picture.wait_for()
    expect(picture).to_have_js_property("complete", True)
    return (
        picture.evaluate("image => image.naturalWidth"),
        picture.evaluate("image => image.naturalHeight"),
    )


def downloaded(page: Page, button: str) -> Image.Image:
    with page.expect_download() as download:
        page.locator(button).click()
    return Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))


def picture_file(kind: str, picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def test_an_upload_is_answered_on_every_tab(page: Page) -> None:
    upload(page, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())

    expect(page.locator("#pets .pet")).to_have_count(1)
    expect(page.locator("#pets .pet li")).to_have_count(5)
    expect(page.locator("#pets .pet li").first).to_contain_text("cat")
    assert shown_size(page.locator("#pets-picture img")) == (451, 300)
    expect(page.get_by_text(re.compile(r"One pet found and named in .* ms on the"))).to_be_visible()

    open_tab(page, "Cut out")
    for picture in page.locator("#cut-out img").all():
        assert shown_size(picture) == (451, 300)
    expect(page.get_by_text(re.compile("Cut out in .* ms on the CPU"))).to_be_visible()

    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(3)
    expect(page.locator("#histogram .cut")).to_have_count(2)
    expect(page.locator("#methods figure")).to_have_count(7)
    assert shown_size(page.locator("#classes-picture img")) == (451, 300)
    expect(
        page.get_by_text(re.compile(r"Cuts at 90, 132 found in .* ms on the [CG]PU"))
    ).to_be_visible()

    open_tab(page, "Mask")
    assert shown_size(page.locator("#overlay img")) == (451, 300)
    expect(page.get_by_text(re.compile(r"Outline found in .* ms on the [CG]PU"))).to_be_visible()
    shares = [float(text.rstrip("%")) for text in page.locator("#legend td + td").all_inner_texts()]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(100, abs=0.2)

    open_tab(page, "Breed")
    expect(page.locator("#breeds li")).to_have_count(5)
    expect(page.locator("#breeds li").first).to_contain_text("cat")
    expect(page.get_by_text(re.compile(r"Breed found in .* ms on the [CG]PU"))).to_be_visible()


def test_an_example_is_answered_by_a_click(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(3)
    assert shown_size(page.locator("#photo .image-frame img")) == (800, 600)
    open_tab(page, "Breed")
    expect(page.locator("#breeds li")).to_have_count(5)


def test_the_page_works_when_the_server_renders_it(page_with_ssr: Page) -> None:
    upload(page_with_ssr, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())
    open_tab(page_with_ssr, "Threshold")
    expect(page_with_ssr.locator("#cuts tbody tr")).to_have_count(3)
    open_tab(page_with_ssr, "Breed")
    expect(page_with_ssr.locator("#breeds li")).to_have_count(5)


def test_at_least_eight_examples_are_offered_with_credits(page: Page) -> None:
    expect(page.locator("#examples button img").nth(7)).to_be_visible()
    for picture in page.locator("#examples button img").all():
        assert picture.get_attribute("alt")
        expect(picture).to_be_visible()
    page.get_by_text("Credits of the examples").click()
    expect(page.locator(".credits li")).to_have_count(page.locator("#examples button img").count())


@pytest.mark.parametrize("kind", ["heic", "tiff"])
def test_a_format_that_browsers_cannot_show_is_answered_and_shown(page: Page, kind: str) -> None:
    pillow_heif.register_heif_opener()
    dog = Image.open(EXAMPLES / "german_shepherd.jpg")
    upload(page, f"dog.{kind}", picture_file({"heic": "HEIF"}.get(kind, kind), dog))
    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(3)
    assert shown_size(page.locator("#photo .image-frame img")) == dog.size


def test_a_text_file_gets_one_sentence_and_the_photo_before_stays(page: Page) -> None:
    upload(page, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())
    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(3)
    upload(page, "notes.jpg", b"this is no picture")
    expect(page.locator("#message")).to_contain_text("not a picture")
    expect(page.locator("#cuts tbody tr")).to_have_count(3)
    assert shown_size(page.locator("#photo .image-frame img")) == (451, 300)

    page.locator("#examples button").first.click()
    expect(page.locator("#message")).to_be_hidden()


def test_a_text_file_as_the_first_photo_gets_one_sentence(page: Page) -> None:
    upload(page, "notes.jpg", b"this is no picture")
    open_tab(page, "Threshold")
    expect(page.locator("#message")).to_contain_text("not a picture")
    expect(page.locator("#photo input[type=file]")).to_be_attached()
    expect(page.locator("#cuts tbody tr")).to_have_count(0)


@pytest.mark.parametrize(
    ("values", "sentence"), [((7, 7), "1 different"), ((0, 255), "2 different")]
)
def test_a_picture_of_few_values_is_explained(
    page: Page, values: tuple[int, int], sentence: str
) -> None:
    picture = np.full((60, 90, 3), values[0], np.uint8)
    picture[:, 45:] = values[1]
    upload(page, "flat.png", picture_file("PNG", Image.fromarray(picture)))
    open_tab(page, "Threshold")
    expect(page.get_by_text(sentence)).to_be_visible()
    expect(page.locator("#histogram svg")).to_be_visible()
    expect(page.locator("#methods figure")).to_have_count(7)


def test_the_controls_change_the_classes(page: Page) -> None:
    page.locator("#examples button").first.click()
    open_tab(page, "Threshold")
    page.locator("#classes input[type=number]").fill("5")
    page.locator("#classes input[type=number]").press("Enter")
    expect(page.locator("#cuts tbody tr")).to_have_count(5)
    expect(page.locator("#histogram .cut")).to_have_count(4)
    before = page.locator("#histogram svg").get_attribute("aria-label")
    page.locator("#channel input").click()
    page.get_by_role("option", name="saturation").click()
    expect(page.locator("#histogram svg")).not_to_have_attribute("aria-label", before or "")
    mask = downloaded(page, "#classes-download")
    assert mask.size == (451, 300)
    assert np.unique(np.asarray(mask)).tolist() == [0, 1, 2, 3, 4]


def open_cat_for_cutting(page: Page) -> None:
    """The Threshold tab with a picture of 451 x 300 pixels, cut at 90 and 132, fully loaded."""
    upload(page, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())
    open_tab(page, "Threshold")
    expect(page.locator("#methods figure")).to_have_count(7)
    shown_size(page.locator("#classes-picture img"))
    slider(page, 1).scroll_into_view_if_needed()


def slider(page: Page, number: int) -> Locator:
    return page.get_by_role("slider", name=f"Cut {number}")


def expect_cuts(page: Page, *cuts: int) -> None:
    for number, cut in enumerate(cuts, start=1):
        expect(slider(page, number)).to_have_attribute("aria-valuenow", str(cut))


def cat_cut_at(*cuts: int) -> NDArray[np.integer]:
    gray = np.asarray(Image.open(EXAMPLES / "cat_chelsea.png").convert("RGB").convert("L"))
    return sum((gray > cut for cut in cuts), np.zeros(gray.shape, int))


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


def test_keys_move_a_cut_and_everything_follows(page: Page) -> None:
    open_cat_for_cutting(page)
    first = page.locator("#classes-picture img").get_attribute("src") or ""

    slider(page, 1).press("ArrowRight")

    expect_cuts(page, 91, 132)
    expect(page.locator("#score")).to_contain_text(
        re.compile(r"Your cuts at 91, 132 reach 99\.\d% of what Otsu’s reach")
    )
    expect(page.locator("#classes-picture img")).not_to_have_attribute("src", first)
    expect(page.locator("#classes-picture canvas")).to_have_count(0)
    expect_areas(page, 91, 132)
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


def test_the_picture_follows_a_cut_that_is_dragged(page: Page) -> None:
    open_cat_for_cutting(page)
    server_s = page.locator("#classes-picture img").get_attribute("src") or ""
    box = slider(page, 1).bounding_box()
    assert box
    assert box["width"] >= 24
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    grey_value = page.locator("#histogram svg").bounding_box()["width"] / 256

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
    expect(page.locator("#score")).to_contain_text("Your cuts at 110, 132 reach")
    expect(page.locator("#classes-picture img")).not_to_have_attribute("src", server_s)
    expect_cuts(page, 110, 132)
    expect_areas(page, 110, 132)
    page.mouse.move(0, 0)
    expect(page.locator("#classes-picture canvas")).to_have_count(0)


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
    expect(page.locator("#classes-picture canvas")).to_be_visible()
    touch("touchEnd")

    expect(page.locator("#score")).to_contain_text("Your cuts at 90, 1")
    assert page.evaluate("scrollY") == scrolled


def test_pointing_at_the_histogram_says_what_it_counts(page: Page) -> None:
    open_cat_for_cutting(page)
    box = page.locator("#histogram svg").bounding_box()
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


def test_the_best_cuts_come_back(page: Page) -> None:
    open_cat_for_cutting(page)
    back = page.get_by_role("button", name="Back to Otsu’s cuts")
    expect(back).to_be_disabled()
    slider(page, 1).press("PageUp")
    slider(page, 2).press("PageUp")
    expect(page.locator("#score")).to_contain_text("Your cuts at 100, 142")

    back.click()
    expect_cuts(page, 90, 132)
    expect_areas(page, 90, 132)
    expect(page.locator("#score")).to_be_empty()
    expect(back).to_be_disabled()
    np.testing.assert_array_equal(
        np.asarray(downloaded(page, "#classes-download")), cat_cut_at(90, 132)
    )

    slider(page, 1).press("PageUp")
    expect(page.locator("#score")).to_contain_text("Your cuts at 100, 132")
    page.locator("#classes input[type=number]").fill("2")
    page.locator("#classes input[type=number]").press("Enter")
    expect(page.locator("#histogram .cut")).to_have_count(1)
    expect_cuts(page, 115)
    expect(page.locator("#score")).to_be_empty()

    slider(page, 1).press("PageUp")
    expect(page.locator("#score")).to_contain_text("Your cut at 125 reaches")
    page.locator("#channel input").click()
    page.get_by_role("option", name="red").click()
    expect(page.locator("#score")).to_be_empty()
    expect(back).to_be_disabled()

    slider(page, 1).press("PageUp")
    expect(page.locator("#score")).to_contain_text("Your cut at")
    page.locator("#examples button").filter(has_text="Greek coins").click()
    expect(page.locator("#score")).to_be_empty()
    expect(back).to_be_disabled()


def test_a_cut_moves_when_the_server_renders_the_page(page_with_ssr: Page) -> None:
    open_cat_for_cutting(page_with_ssr)
    box = slider(page_with_ssr, 1).bounding_box()
    assert box
    page_with_ssr.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page_with_ssr.mouse.down()
    page_with_ssr.mouse.move(box["x"] + box["width"] / 2 + 20, box["y"] + 30, steps=4)
    expect(page_with_ssr.locator("#classes-picture canvas")).to_be_visible()
    page_with_ssr.mouse.up()
    expect(page_with_ssr.locator("#score")).to_contain_text("Your cuts at 1")


def test_each_method_is_explained_with_its_paper_and_otsu_by_its_curve(page: Page) -> None:
    page.locator("#examples button").first.click()
    open_tab(page, "Threshold")
    expect(page.locator("#variance polyline")).to_be_visible()
    otsu = page.locator("#methods figure").filter(has_text="Otsu, cut")
    cut = re.search(r"Otsu, cut (\d+)", otsu.inner_text())
    assert cut
    expect(page.locator("#variance")).to_contain_text(f"the best is {cut[1]}, Otsu's cut")
    expect(page.locator("#methods summary")).to_have_count(7)
    otsu.locator("summary").click()
    expect(otsu.locator("cite")).to_be_visible()
    expect(otsu.locator("cite")).to_contain_text("1979")


def test_the_masks_download_holds_the_data_set_s_values(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Mask")
    page.locator("#overlay img").wait_for()
    mask = downloaded(page, "#mask-download")
    assert mask.size == (800, 600)
    assert set(np.unique(np.asarray(mask))) <= {1, 2, 3}


def show_cut_out(page: Page) -> Image.Image:
    """Open the tab with an example in it; its photo."""
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Cut out")
    page.locator("#cut-out img").nth(1).wait_for()
    return Image.open(EXAMPLES / "german_shepherd.jpg").convert("RGB")


def put_behind(page: Page, ground: str) -> None:
    """Choose a background and wait until it is shown."""
    after = page.locator("#cut-out img").nth(1)
    before = after.get_attribute("src") or ""
    page.locator("#ground").get_by_label(ground).check()
    expect(after).not_to_have_attribute("src", before)


def test_the_cut_out_is_transparent_around_the_pet(page: Page) -> None:
    photo = show_cut_out(page)
    before, after = page.locator("#cut-out img").all()
    expect(before).to_have_attribute("alt", "The photo")
    expect(after).to_have_attribute("alt", re.compile("cut out"))
    assert shown_size(before) == shown_size(after) == photo.size

    cut = downloaded(page, "#cut-out-download")

    assert (cut.format, cut.mode, cut.size) == ("PNG", "RGBA", photo.size)
    pixels = np.asarray(cut)
    assert not pixels[:40, :40].any()
    opaque = pixels[:, :, 3] == 255
    assert 0.1 < opaque.mean() < 0.9
    np.testing.assert_array_equal(pixels[opaque][:, :3], np.asarray(photo)[opaque])


def test_the_pet_is_laid_over_a_colour(page: Page) -> None:
    photo = show_cut_out(page)
    put_behind(page, "A colour")
    expect(page.locator("#ground-color")).to_be_visible()

    on_color = downloaded(page, "#cut-out-download")

    assert (on_color.mode, on_color.size) == ("RGB", photo.size)
    assert (np.asarray(on_color)[:40, :40] == (0x2F, 0x7F, 0xD1)).all()


def test_the_pet_is_laid_over_the_blurred_photo(page: Page) -> None:
    photo = show_cut_out(page)
    put_behind(page, "The photo, blurred")

    blurred = downloaded(page, "#cut-out-download")

    assert (blurred.mode, blurred.size) == ("RGB", photo.size)
    corner, before = (np.asarray(picture, float)[:60, :60] for picture in (blurred, photo))
    assert (corner.std(axis=(0, 1)) < before.std(axis=(0, 1)) / 2).all()
    np.testing.assert_allclose(corner.mean(axis=(0, 1)), before.mean(axis=(0, 1)), atol=25)


def test_the_pet_is_laid_over_a_picture_of_ones_own_and_a_bad_one_changes_nothing(
    page: Page,
) -> None:
    photo = show_cut_out(page)
    page.locator("#ground").get_by_label("Your own picture").check()
    expect(page.locator("#cut-out-message")).to_contain_text("Choose a picture")
    after, own = page.locator("#cut-out img").nth(1), page.locator("#ground-picture")
    before = after.get_attribute("src") or ""
    pink = picture_file("PNG", Image.new("RGB", (90, 400), (250, 90, 160)))
    own.locator("input[type=file]").set_input_files(
        {"name": "pink.png", "mimeType": "image/png", "buffer": pink}
    )
    expect(after).not_to_have_attribute("src", before)
    expect(page.locator("#cut-out-message")).to_contain_text("Cut out in")

    own.locator("input[type=file]").set_input_files(
        {"name": "notes.png", "mimeType": "image/png", "buffer": b"this is no picture"}
    )

    expect(page.locator("#ground-message")).to_contain_text("not a picture")
    assert shown_size(own.locator("img")) == (90, 400)
    result = downloaded(page, "#cut-out-download")
    assert (result.mode, result.size) == ("RGB", photo.size)
    assert (np.asarray(result)[:40, :40] == (250, 90, 160)).all()


def test_the_cut_out_is_copied_at_full_size(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    photo = show_cut_out(page)

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


def test_a_browser_that_refuses_to_copy_is_said_in_one_sentence(page: Page) -> None:
    show_cut_out(page)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")

    page.locator("#cut-out-copy").click()

    expect(page.locator("#cut-out-copied")).to_contain_text("does not let this page copy")


def test_a_photo_without_a_pet_has_nothing_to_cut_out(page: Page) -> None:
    upload(page, "plain.png", picture_file("PNG", Image.new("RGB", (400, 300), (90, 140, 200))))
    open_tab(page, "Cut out")

    expect(page.locator("#cut-out-message")).to_contain_text("nothing to cut out")
    expect(page.locator("#cut-out img")).to_have_count(0)
    for button in ("#cut-out-download", "#cut-out-copy"):
        expect(page.locator(button)).to_be_disabled()


def test_opacity_and_border_change_the_overlay(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Mask")
    picture = page.locator("#overlay img")
    picture.wait_for()
    first = picture.get_attribute("src") or ""
    page.locator("#border input").uncheck()
    expect(picture).not_to_have_attribute("src", first)
    second = picture.get_attribute("src") or ""
    page.locator("#opacity input[type=number]").fill("0.9")
    page.locator("#opacity input[type=number]").press("Enter")
    expect(picture).not_to_have_attribute("src", second)


def test_each_class_has_a_map_of_its_probability_and_they_make_one(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Mask")
    pictures = page.locator("#probabilities figure img")
    expect(pictures).to_have_count(3)
    maps = []
    for name, figure in zip(
        ("pet", "border", "background"), page.locator("#probabilities figure").all(), strict=True
    ):
        expect(figure.locator("figcaption b")).to_have_text(name.capitalize())
        picture = figure.locator("img")
        assert f"Probability of {name}" in (picture.get_attribute("alt") or "")
        content = (picture.get_attribute("src") or "").partition("base64,")[2]
        # The file's values are the probabilities, its palette is the ramp.
        maps.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))))
    total = np.sum(maps, axis=0, dtype=int)
    assert max(total.shape) <= 512
    np.testing.assert_allclose(total, 255, atol=2)
    assert maps[0][130:150, 150:250].min() > 200  # the dog's flank
    assert maps[2][:20, :20].min() > 200


def test_sizes_are_compared_on_demand_and_forgotten_with_the_photo(page: Page) -> None:
    open_tab(page, "Mask")
    page.locator("#compare-sizes").click()
    expect(page.locator("#sizes")).to_contain_text("Choose a photo first")
    page.locator("#examples button").filter(has_text="German shepherd").click()
    page.locator("#probabilities img").first.wait_for()
    expect(page.locator("#sizes figure")).to_have_count(0)
    expect(page.locator("#sizes")).not_to_contain_text("Choose a photo first")

    page.locator("#compare-sizes").click()

    figures = page.locator("#sizes figure")
    expect(figures.filter(has_text="256 x 256 px")).to_contain_text("usual size")
    for size in ("64 x 64 px", "128 x 128 px", "192 x 192 px"):
        expect(figures.filter(has_text=size)).to_have_text(re.compile(r"IoU [01]\.\d\d, \d+ ms"))
    for picture in figures.locator("img").all():
        assert picture.get_attribute("alt")
        assert shown_size(picture) == (360, 270)
    expect(page.locator("#sizes .hint")).to_have_text(
        re.compile("takes 256 x 256 pixels|got the photo at each of these sizes")
    )
    page.locator("#examples button").first.click()
    expect(figures).to_have_count(0)


def test_the_mask_s_figures_are_those_of_its_card(page: Page) -> None:
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


def test_removing_the_photo_empties_the_tabs(page: Page) -> None:
    page.locator("#examples button").first.click()
    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(3)
    page.get_by_label("Remove Image").click()
    expect(page.locator("#cuts tbody tr")).to_have_count(0)
    open_tab(page, "Breed")
    expect(page.get_by_text("Choose a photo to see which breed")).to_be_visible()


def test_nothing_is_wider_than_the_page(page: Page) -> None:
    page.locator("#examples button").first.click()
    open_tab(page, "Threshold")
    expect(page.locator("#methods figure")).to_have_count(7)
    for tab in ("Pets", "Cut out", "Threshold", "Mask", "Breed"):
        open_tab(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_two_pets_get_a_card_each(page: Page) -> None:
    cat, dog = (
        Image.open(EXAMPLES / name).convert("RGB").resize((480, 360))
        for name in ("cat_chelsea.png", "german_shepherd.jpg")
    )
    both = Image.new("RGB", (1000, 360), (120, 150, 110))
    both.paste(cat, (0, 0))
    both.paste(dog, (520, 0))
    upload(page, "both.png", picture_file("PNG", both))

    expect(page.locator("#pets .pet")).to_have_count(2)
    assert shown_size(page.locator("#pets-picture img")) == both.size
    for picture in page.locator("#pets img").all():
        assert picture.get_attribute("alt")
    expect(page.get_by_text(re.compile("^2 pets found and named"))).to_be_visible()


def test_what_is_none_of_the_breeds_is_said_to_be_so(page: Page) -> None:
    page.locator("#examples button").filter(has_text="A red panda").click()

    pet = page.locator("#pets .pet")
    expect(pet.get_by_role("heading")).to_contain_text("Probably not one of the 37 breeds")
    expect(pet).to_contain_text("These are the closest.")
    expect(pet.locator("li")).to_have_count(5)
    open_tab(page, "Breed")
    expect(page.get_by_text("Probably not one of the 37 breeds. These are")).to_be_visible()
    expect(page.locator("#breeds li")).to_have_count(5)


def test_a_photo_without_a_pet_gets_one_sentence(page: Page) -> None:
    upload(page, "plain.png", picture_file("PNG", Image.new("RGB", (400, 300), (90, 140, 200))))

    expect(page.locator("#pets-message")).to_contain_text("No cat or dog was found")
    expect(page.locator("#pets .pet")).to_have_count(0)


def test_a_link_opens_the_page_as_it_was(page: Page) -> None:
    page.goto(f"{page.url.split('?')[0]}?example=german_shepherd&tab=threshold&classes=5")
    expect(page.locator("#cuts tbody tr")).to_have_count(5)
    page.locator("#share").click()
    link = page.locator("#share-link input, #share-link textarea")
    expect(link).to_have_value(re.compile(r"^http.*\?"))

    page.goto(link.input_value())

    expect(page.locator("#cuts tbody tr")).to_have_count(5)
    expect(page.locator("#cuts")).to_be_visible()
    assert shown_size(page.locator("#classes-picture img")) == shown_size(
        page.locator("#photo img")
    )


@pytest.mark.parametrize(
    "query",
    [
        "tab=nowhere&example=../../etc/passwd&classes=99&channel=smell&model=..%2Fpet",
        "classes=3.5&tab=&example=",
        "classes=<script>alert(1)</script>",
    ],
)
def test_a_link_with_nonsense_opens_the_page_as_it_is(page: Page, query: str) -> None:
    page.goto(f"{page.url.split('?')[0]}?{query}")

    expect(page.get_by_text("Choose a photo to see which pets are in it.")).to_be_visible()
    open_tab(page, "Threshold")
    expect(page.locator("#classes input[type=number]")).to_have_value("3")
    expect(page.locator("[data-testid=toast-body]")).to_have_count(0)


def test_a_card_to_share_shows_the_photo_and_its_pets(page: Page) -> None:
    upload(page, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())
    expect(page.locator("#pets .pet")).to_have_count(1)
    expect(page.locator("#share-card")).to_be_enabled()

    card = downloaded(page, "#share-card")

    assert card.size == (1200, 630)
    assert len(card.convert("RGB").getcolors(1_000_000)) > 10_000


def album_files(count: int) -> list[dict[str, object]]:
    """So many photos of a cat, and a file that is none."""
    cat = Image.open(EXAMPLES / "cat_chelsea.png").convert("RGB")
    pictures = [
        {
            "name": "cat.jpg",
            "mimeType": "image/jpeg",
            "buffer": picture_file("JPEG", cat.rotate(number)),
        }
        for number in range(count)
    ]
    return [*pictures, {"name": "<b>bad.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}]


def test_many_photos_are_looked_at_and_packed(page: Page) -> None:
    open_tab(page, "Many photos")
    page.locator("#album-files input[type=file]").set_input_files(album_files(3))
    expect(page.locator("#album-files")).to_contain_text("bad")
    page.locator("#album-start").click()

    message = page.locator("#album-message")
    expect(message).to_contain_text("3 photos looked at. 1 file could not be used")
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


def test_many_photos_can_be_stopped_and_keep_what_is_done(page: Page) -> None:
    open_tab(page, "Many photos")
    page.locator("#album-files input[type=file]").set_input_files(album_files(60))
    expect(page.locator("#album-files")).to_contain_text("bad")
    page.locator("#album-start").click()
    expect(page.locator("#album-message")).to_contain_text(re.compile(r"\b[2-9] of 61, about"))
    page.locator("#album-stop").click()

    expect(page.locator("#album-message")).to_contain_text(
        re.compile(r"\d+ photos? looked at\.\s*$")
    )
    looked_at = int(page.locator("#album-message").inner_text().split()[0])
    assert looked_at < 60
    expect(page.locator("#album-table tbody tr")).to_have_count(looked_at)
    expect(page.locator("#album-download")).to_be_enabled()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_app_stays_below_600_mb(
    page: Page, served: tuple[str, subprocess.Popen[bytes]]
) -> None:
    upload(page, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())
    open_tab(page, "Threshold")
    expect(page.locator("#methods figure")).to_have_count(7)
    open_tab(page, "Cut out")
    downloaded(page, "#cut-out-download")
    open_tab(page, "Mask")
    page.locator("#overlay img").wait_for()
    open_tab(page, "Breed")
    expect(page.locator("#breeds li")).to_have_count(5)
    status = Path(f"/proc/{served[1].pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024
    assert resident < 600e6
