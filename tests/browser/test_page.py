"""The page as a whole: a photo is uploaded, each tab answers, links restore the view."""

import io
import re
import sys
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from models.thresholding import METHODS
from tests.browser.visits import (
    Served,
    becomes,
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

TOOK = re.compile(r"Computed in .* ms on the [CG]PU")
EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def corner(page: Page, picture: Locator) -> tuple[int, ...]:
    """Colour of a shown picture's first pixel."""
    address = picture.get_attribute("src") or ""
    image = Image.open(io.BytesIO(page.request.get(address).body())).convert("RGB")
    color = image.getpixel((0, 0))
    assert isinstance(color, tuple)
    return color


def test_an_upload_is_answered_on_every_tab_with_little_memory(page: Page, served: Served) -> None:
    upload(page, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())

    expect(page.locator("#pets .pet")).to_have_count(1)
    expect(page.locator("#pets .pet li").nth(1)).to_be_visible()
    expect(page.locator("#pets .pet li").first).to_contain_text("cat")
    expect_size(page.locator("#pets-picture img"), 451, 300)
    expect(page.get_by_text("One pet found and named")).to_be_visible()
    expect(page.locator("#share-card")).to_be_enabled()
    card = downloaded(page, "#share-card")
    assert card.size == (1200, 630)
    assert len(card.convert("RGB").getcolors(1_000_000) or ()) > 10_000

    open_tab(page, "Cut out")
    expect(page.locator("#cut-out img")).to_have_count(2)
    for number in range(2):
        expect_size(page.locator("#cut-out img").nth(number), 451, 300)
    expect(page.locator("#cut-out-copied")).to_have_text(TOOK)
    downloaded(page, "#cut-out-download")

    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(2)
    expect(page.locator("#histogram .cut")).to_have_count(1)
    expect(page.locator("#methods figure")).to_have_count(len(METHODS))
    expect_size(page.locator("#classes-picture img"), 451, 300)
    expect(page.get_by_text("Cut found at 115")).to_be_visible()
    expect(page.locator("#cuts .took")).to_have_text(TOOK)

    open_tab(page, "Mask")
    expect_size(page.locator("#overlay img"), 451, 300)
    expect(page.locator("#legend .took")).to_have_text(TOOK)
    shares = [float(text.rstrip("%")) for text in page.locator("#legend td + td").all_inner_texts()]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(100, abs=0.2)

    open_tab(page, "Breed")
    expect(page.locator("#breeds li").nth(1)).to_be_visible()
    expect(page.locator("#breeds li").first).to_contain_text("cat")

    if sys.platform == "linux":
        told = Path(f"/proc/{served[1].pid}/status").read_text()
        (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", told)
        assert int(resident) * 1024 < 600e6


def test_at_least_eight_examples_are_offered_with_credits_and_answered(page: Page) -> None:
    expect(page.locator("#examples button img").nth(7)).to_be_visible()
    for picture in page.locator("#examples button img").all():
        assert picture.get_attribute("alt")
        expect(picture).to_be_visible()
    page.get_by_text("Credits of the examples").click()
    expect(page.locator(".credits li")).to_have_count(page.locator("#examples button img").count())

    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(2)
    expect_size(page.locator("#photo .image-frame img"), 800, 600)
    open_tab(page, "Breed")
    expect(page.locator("#breeds li").nth(1)).to_be_visible()


@on_desktop
def test_formats_that_browsers_cannot_show_are_answered_and_shown(page: Page) -> None:
    pillow_heif.register_heif_opener()
    dog = Image.open(EXAMPLES / "german_shepherd.jpg")
    open_tab(page, "Threshold")
    for name, kind, size in (("dog.heic", "HEIF", (800, 600)), ("dog.tiff", "TIFF", (600, 450))):
        upload(page, name, picture_file(kind, dog.resize(size)))
        expect_size(page.locator("#photo .image-frame img"), *size)
        expect(page.locator("#cuts tbody tr")).to_have_count(2)
        expect(page.locator("#classes-picture img")).to_have_js_property("naturalWidth", size[0])


def test_a_text_file_gets_one_sentence_and_the_photo_before_stays(page: Page) -> None:
    upload(page, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())
    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(2)
    upload(page, "notes.jpg", b"this is no picture")
    expect(page.locator("#message")).to_contain_text("not a picture")
    expect(page.locator("#cuts tbody tr")).to_have_count(2)
    expect_size(page.locator("#photo .image-frame img"), 451, 300)

    page.locator("#examples button").first.click()
    expect(page.locator("#message")).to_be_hidden()


@on_phone
def test_a_text_file_as_the_first_photo_gets_one_sentence(page: Page) -> None:
    upload(page, "notes.jpg", b"this is no picture")
    open_tab(page, "Threshold")
    expect(page.locator("#message")).to_contain_text("not a picture")
    expect(page.locator("#photo input[type=file]")).to_be_attached()
    expect(page.locator("#cuts tbody tr")).to_have_count(0)


@on_phone
def test_removing_the_photo_empties_the_tabs(page: Page) -> None:
    page.locator("#examples button").first.click()
    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(2)
    page.get_by_label("Remove Image").click()
    expect(page.locator("#cuts tbody tr")).to_have_count(0)
    open_tab(page, "Breed")
    expect(page.get_by_text("Choose a photo to see which breed")).to_be_visible()


@on_desktop
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
    expect_size(page.locator("#pets-picture img"), *both.size)
    for picture in page.locator("#pets img").all():
        assert picture.get_attribute("alt")
    expect(page.get_by_text(re.compile("^2 pets found"))).to_be_visible()


@on_phone
def test_a_pet_of_no_known_breed_is_refused(page: Page) -> None:
    page.locator("#examples button").filter(has_text="A red panda").click()

    pet = page.locator("#pets .pet")
    expect(pet.get_by_role("heading")).to_contain_text("it looks like a lesser panda")
    expect(pet).to_contain_text("These are the closest.")
    expect(pet.locator("li")).to_have_count(5)
    open_tab(page, "Breed")
    panel = page.get_by_role("tabpanel", name="Breed")
    expect(panel.get_by_text(re.compile("No cat or dog: it looks .* These are"))).to_be_visible()
    expect(page.locator("#breeds li")).to_have_count(5)


@on_desktop
def test_a_photo_without_a_pet_gets_one_sentence_and_has_nothing_to_cut_out(page: Page) -> None:
    upload(page, "plain.png", picture_file("PNG", Image.new("RGB", (400, 300), (90, 140, 200))))

    expect(page.locator("#pets-message")).to_contain_text("No cat or dog was found")
    expect(page.locator("#pets .pet")).to_have_count(0)
    page.locator("#pets-message").get_by_role("button", name="Threshold").click()
    expect(page.get_by_role("tab", name="Threshold")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Threshold")).to_be_visible()
    open_tab(page, "Cut out")
    expect(page.locator("#cut-out-message")).to_contain_text("nothing to cut out")
    expect(page.locator("#cut-out img")).to_have_count(0)
    for button in ("#cut-out-download", "#cut-out-copy"):
        expect(page.locator(button)).to_be_disabled()


@on_desktop
def test_a_link_opens_the_page_as_it_was(page: Page) -> None:
    address = page.url.split("?")[0]
    page.goto(
        f"{address}?example=german_shepherd&tab=threshold&classes=3&channel=red&cuts=60,150"
        "&ground=color&color=%2310ff00&model=pet&opacity=0.9&border=no&lang=de"
    )
    after = page.locator("#cut-out img").nth(1)
    for _ in range(2):
        expect(page.locator("#histogram .cut")).to_have_count(2)
        for cut, value in zip(page.locator("#histogram .cut").all(), ("60", "150"), strict=True):
            expect(cut).to_have_attribute("aria-valuenow", value)
        expect(page.locator("#cuts")).to_be_visible()
        expect(page.locator("#score")).to_contain_text("60, 150")
        expect(page.locator("#channel input")).to_have_value("Rot")
        open_tab(page, "Ausschneiden")
        expect(page.locator("#ground").get_by_label("Eine Farbe")).to_be_checked()
        expect_size(after, 800, 600)
        green = pytest.approx((0x10, 0xFF, 0), abs=4)  # shown as WebP
        becomes(page, lambda: corner(page, after), green)
        open_tab(page, "Maske")
        expect(page.locator("#opacity input[type=number]")).to_have_value("0.9")
        expect(page.locator("#border input")).not_to_be_checked()
        expect(page.locator("#mask-model").get_by_label("Tier, schnell")).to_be_checked()
        open_tab(page, "Schwellenwert")

        page.locator("#share").click()
        link = page.locator("#share-link input, #share-link textarea")
        expect(link).to_have_value(re.compile(r"^http.*\?.*lang=de"))
        comes_to_rest(page)
        page.goto(link.input_value())


@on_desktop
def test_a_cut_that_was_dragged_is_in_the_link(page: Page) -> None:
    page.goto(f"{page.url.split('?')[0]}?example=cat_chelsea&tab=threshold&classes=2")
    expect(page.locator("#cuts tbody tr")).to_have_count(2)
    comes_to_rest(page)
    cut = page.locator("#histogram .cut")
    cut.press("PageUp")
    expect(page.locator("#score")).to_contain_text("of the best possible")
    chosen = cut.get_attribute("aria-valuenow")

    page.locator("#share").click()

    link = page.locator("#share-link input, #share-link textarea")
    expect(link).to_have_value(re.compile(rf"cuts={chosen}\b"))
    page.get_by_role("button", name="Back to Otsu").click()
    expect(page.locator("#score")).not_to_contain_text("of the best possible")


@on_desktop
def test_a_link_with_nonsense_opens_the_page_as_it_is(page: Page) -> None:
    address = page.url.split("?")[0]
    for query in (
        "tab=nowhere&example=../../etc/passwd&classes=99&channel=smell&model=..%2Fpet",
        "classes=3.5&tab=&example=",
        "classes=<script>alert(1)</script>",
        "example=cat_chelsea.png&cuts=1,2,x&color=red;&ground=on&opacity=7&border=1&lang=xx",
    ):
        page.goto(f"{address}?{query}")

        expect(page.get_by_text("Example: now try yours")).to_be_visible()
        open_tab(page, "Threshold")
        expect(page.locator("#classes input[type=number]")).to_have_value("2")
        expect(page.locator("[data-testid=toast-body]")).to_have_count(0)


@on_phone
def test_on_a_phone_the_answers_begin_on_the_first_screen(page: Page) -> None:
    page.locator("#examples img").first.wait_for()
    comes_to_rest(page)
    tops = page.locator("#examples .thumbnail-item").evaluate_all(
        "items => items.map(item => Math.round(item.getBoundingClientRect().top))"
    )
    assert len(set(tops)) == 1  # one row
    row = page.locator("#examples .grid-container")
    assert row.evaluate("row => row.scrollWidth > row.clientWidth")
    box = page.locator("#tabs").bounding_box()
    assert box
    assert box["y"] <= 750
    page.locator("#examples button").filter(has_text="A red panda").click()
    expect(page.locator("#pets .pet")).to_have_count(1)
