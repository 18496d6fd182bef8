"""Mask models are offered by their cards: one is found by its title, used, and counts objects."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, expect

from tests.browser.visits import comes_to_rest, picture_file, upload

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def nuclei() -> Image.Image:
    """Four red discs with blue rings on green; two of them touch, one is cut off by the edge."""
    picture = Image.new("RGB", (300, 200), GREEN)
    draw = ImageDraw.Draw(picture)
    for center in ((80, 60), (132, 60), (220, 130), (300, 20)):
        draw.circle(center, 27, BLUE)
    for center in ((80, 60), (132, 60), (220, 130), (300, 20)):
        draw.circle(center, 22, RED)
    return picture


def show(page: Page, picture: Image.Image) -> None:
    upload(page, "photo.png", picture_file("PNG", picture))
    page.get_by_role("tab", name="Mask").click()
    page.locator("#mask-model").wait_for()
    comes_to_rest(page)


def fetched(page: Page, picture: Locator) -> np.ndarray:
    address = picture.get_attribute("src") or ""
    return np.asarray(Image.open(io.BytesIO(page.request.get(address).body())).convert("RGBA"))


def test_a_model_is_chosen_by_its_title_and_counts_what_it_finds(page_with_nuclei: Page) -> None:
    page, legend = page_with_nuclei, page_with_nuclei.locator("#legend")
    choice = page.locator("#mask-model")
    show(page, nuclei())
    assert [text.strip() for text in choice.locator("label").all_inner_texts()] == [
        "Pets, fast",
        "Cell nuclei",
    ]
    expect(choice.get_by_label("Pets, fast")).to_be_checked()
    expect(page.get_by_text("there is nothing to outline")).to_be_visible()
    expect(legend.locator("tbody tr")).to_have_count(0)

    choice.get_by_label("Cell nuclei").check()

    expect(legend).to_contain_text("Objects found: 4")
    expect(legend.locator("tbody tr").first).to_contain_text("nucleus")
    comes_to_rest(page)
    with page.expect_download() as download:
        page.locator("#mask-download").click()
    mask = np.asarray(Image.open(download.value.path()))
    assert (mask[60, 80], mask[190, 20], mask[60, 106]) == (1, 2, 3)

    choice.get_by_label("Pets, fast").check()
    expect(legend.locator("tbody tr")).to_have_count(0)


def test_objects_are_outlined_unless_the_border_is_hidden(page_with_nuclei: Page) -> None:
    page, overlay = page_with_nuclei, page_with_nuclei.locator("#overlay img")
    show(page, nuclei())
    page.locator("#mask-model").get_by_label("Cell nuclei").check()
    expect(page.locator("#legend")).to_contain_text("Objects found: 4")
    comes_to_rest(page)
    with_outlines, address = fetched(page, overlay), overlay.get_attribute("src") or ""
    page.locator("#border input").uncheck()
    expect(overlay).not_to_have_attribute("src", address)
    comes_to_rest(page)
    without = fetched(page, overlay)

    def white(picture: np.ndarray) -> int:
        return int((picture.min(axis=2) > 150).sum())

    assert white(with_outlines) > 300
    assert white(without) == 0


def test_the_objects_are_measured_and_downloaded_as_they_are_counted(
    page_with_nuclei: Page,
) -> None:
    page, objects = page_with_nuclei, page_with_nuclei.locator("#objects")
    picture = nuclei()
    show(page, picture)
    expect(page.locator("#objects-download")).to_be_hidden()
    page.locator("#mask-model").get_by_label("Cell nuclei").check()
    expect(page.locator("#legend")).to_contain_text("Objects found: 4")
    expect(objects.locator("tr").first).to_have_text(re.compile(r"Objects\s*4"))
    comes_to_rest(page)

    with page.expect_download() as download:
        page.locator("#objects-download").click()

    assert download.value.suggested_filename == "photo-objects.csv"
    with Path(download.value.path()).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    areas = [int(row["area"]) for row in rows]
    median = objects.locator("tr").filter(has_text="Median area").locator("td").last
    expect(median).to_have_text(f"{np.median(areas):,.0f} px")
    expect(objects.locator("svg.areas")).to_have_attribute(
        "aria-label", re.compile(f"median {np.median(areas):,.0f} px")
    )
    inside = np.asarray(picture) != GREEN
    assert sum(areas) == inside.any(axis=2).sum()
    (alone,) = (row for row in rows if float(row["centroid_y"]) > 100)
    assert (float(alone["centroid_x"]), float(alone["centroid_y"])) == (220, 130)
    edges = [int(alone[edge]) for edge in ("left", "top", "right", "bottom")]
    assert edges == [220 - 27, 130 - 27, 220 + 28, 130 + 28]
    assert int(alone["area"]) == inside[100:, 150:].any(axis=2).sum()
    assert float(alone["eccentricity"]) < 0.1

    page.locator("#mask-model").get_by_label("Pets, fast").check()
    expect(page.locator("#objects-download")).to_be_hidden()
    expect(objects.locator("svg")).to_have_count(0)


def test_a_picture_without_objects_and_a_card_without_figures_are_explained(
    page_with_nuclei: Page,
) -> None:
    page = page_with_nuclei
    show(page, Image.new("RGB", (120, 80), GREEN))
    page.locator("#mask-model").get_by_label("Cell nuclei").check()
    expect(page.locator("#objects")).to_contain_text("nothing to measure")
    page.locator("#how-good").get_by_role("button").click()
    expect(page.locator("#how-good")).to_contain_text("has no test figures")
    page.locator("#compare-sizes").click()
    expect(page.locator("#sizes figure")).to_have_count(2)
    expect(page.locator("#sizes")).to_contain_text("120 x 80 px")


def test_the_choice_of_a_model_outlives_the_photo(page_with_nuclei: Page) -> None:
    page = page_with_nuclei
    page.locator("#examples button").first.click()
    page.get_by_role("tab", name="Mask").click()
    page.locator("#mask-model").get_by_label("Cell nuclei").check()
    expect(page.locator("#legend")).to_contain_text("Objects found")
    page.get_by_label("Remove Image").click()
    expect(page.locator("#legend table")).to_have_count(0)
    page.locator("#photo input[type=file]").wait_for(state="attached")
    comes_to_rest(page)
    show(page, nuclei())
    expect(page.locator("#legend")).to_contain_text("Objects found: 4")


def test_a_pet_model_of_any_name_is_used_and_the_nuclei_come_from_the_app(
    page_with_one_mask_model: Page,
) -> None:
    page = page_with_one_mask_model
    show(page, Image.open(EXAMPLES / "cat_chelsea.png"))
    expect(page.locator("#legend tbody tr").first).to_contain_text("pet")
    choice = page.locator("#mask-model label")
    assert sorted(text.strip() for text in choice.all_inner_texts()) == [
        "Cell nuclei",
        "Pet, quick",
    ]
    page.get_by_role("tab", name="Breed").click()
    expect(page.locator("#breeds li").nth(1)).to_be_visible()
