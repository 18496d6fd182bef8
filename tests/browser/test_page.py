import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from models import store

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def upload(page: Page, name: str, content: bytes) -> None:
    page.locator("#photo input[type=file]").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        if "." not in name
        else {"name": name, "mimeType": f"image/{name.rpartition('.')[2]}", "buffer": content}
    )


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


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
    assert shown_size(page.locator("#cut-out img")) == (451, 300)
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
    page.locator("#cut-out img").wait_for()
    mask = downloaded(page, "#mask-download")
    assert mask.size == (800, 600)
    assert set(np.unique(np.asarray(mask))) <= {1, 2, 3}


def test_the_cut_out_is_transparent_around_the_pet(page: Page) -> None:
    page.locator("#examples button").filter(has_text="German shepherd").click()
    open_tab(page, "Mask")
    page.locator("#cut-out img").wait_for()
    address = page.locator("#cut-out img").get_attribute("src") or ""
    picture = Image.open(io.BytesIO(page.request.get(address).body()))
    assert picture.mode == "RGBA"
    alpha = np.asarray(picture)[:, :, 3]
    assert alpha[:40, :40].max() < 64
    assert alpha.max() > 192


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
    for tab in ("Pets", "Threshold", "Mask", "Breed"):
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


def test_a_photo_without_a_pet_gets_one_sentence(page: Page) -> None:
    upload(page, "plain.png", picture_file("PNG", Image.new("RGB", (400, 300), (90, 140, 200))))

    expect(page.locator("#pets-message")).to_contain_text("No cat or dog was found")
    expect(page.locator("#pets .pet")).to_have_count(0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_app_stays_below_600_mb(
    page: Page, served: tuple[str, subprocess.Popen[bytes]]
) -> None:
    upload(page, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())
    open_tab(page, "Threshold")
    expect(page.locator("#methods figure")).to_have_count(7)
    open_tab(page, "Mask")
    page.locator("#cut-out img").wait_for()
    open_tab(page, "Breed")
    expect(page.locator("#breeds li")).to_have_count(5)
    status = Path(f"/proc/{served[1].pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024
    assert resident < 600e6
