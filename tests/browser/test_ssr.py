"""The page as a Space serves it: Node.js renders it first, then the browser takes over."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from models.thresholding import METHODS
from tests.browser.visits import (
    as_file,
    ask_before_the_end,
    comes_to_rest,
    open_tab,
    opened,
    upload,
)

pytestmark = pytest.mark.browser

CAT = Path(__file__).parent.parent.parent / "examples" / "cat_chelsea.png"


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desktop-light", "phone-dark"])
def page(
    context: BrowserContext, served_with_ssr: str, request: pytest.FixtureRequest
) -> Iterator[Page]:
    with opened(context, served_with_ssr, *request.param) as page:
        yield page


def test_the_rendered_page_has_the_headers_of_every_answer(served_with_ssr: str) -> None:
    with urlopen(served_with_ssr) as page, urlopen(served_with_ssr + "/config") as other:
        assert b"<!doctype html>" in page.read(200).lower()
    for name in ("content-security-policy", "x-content-type-options", "referrer-policy"):
        assert page.headers[name] == other.headers[name]
        assert len(page.headers.get_all(name)) == len(other.headers.get_all(name)) == 1


def test_the_server_renders_the_page_and_every_tab_answers(page: Page) -> None:
    sent = page.request.get(page.url).text()
    assert "For programs" in sent.partition("<body")[2]  # in the browser's hands it would be empty
    upload(page, "cat.png", CAT.read_bytes())

    expect(page.locator("#pets .pet li").nth(1)).to_be_visible()

    open_tab(page, "Cut out")
    expect(page.locator("#cut-out img").nth(1)).to_have_js_property("naturalWidth", 451)
    expect(page.locator("#cut-out").get_by_role("slider")).to_have_attribute("aria-valuenow", "50")
    with page.expect_download():
        page.locator("#cut-out-download").click()

    open_tab(page, "Threshold")
    expect(page.locator("#cuts tbody tr")).to_have_count(2)
    expect(page.locator("#methods figure")).to_have_count(len(METHODS))
    comes_to_rest(page)
    cut = page.get_by_role("slider", name="Cut 1")
    cut.scroll_into_view_if_needed()
    box = cut.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + 30
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=4)
    expect(page.locator("#classes-picture canvas")).to_be_visible()
    page.mouse.up()
    expect(page.locator("#score")).to_contain_text("Your cut at 1")

    open_tab(page, "Mask")
    expect(page.locator("#legend tbody tr")).to_have_count(3)
    expect(page.locator("#probabilities img")).to_have_count(3)
    page.locator("#compare-sizes").click()
    expect(page.locator("#sizes figure").first).to_be_visible()

    open_tab(page, "Breed")
    expect(page.locator("#breeds li").nth(1)).to_be_visible()

    open_tab(page, "Many photos")
    page.locator("#album-files input[type=file]").set_input_files(
        [as_file("cat.png", CAT.read_bytes()), as_file("bad.jpg", b"no picture")]
    )
    expect(page.locator("#album-files")).to_contain_text("bad")
    page.locator("#album-start").click()
    expect(page.locator("#album-message")).to_contain_text("1 file could not be used")
    expect(page.locator("#album-gallery img")).to_be_visible()


@pytest.mark.parametrize("page", [(1280, "light")], indirect=True, ids=["desktop-light"])
def test_what_is_asked_while_the_end_of_the_answers_is_on_its_way_is_answered(page: Page) -> None:
    open_tab(page, "Many photos")

    ask_before_the_end(
        page,
        page.locator("#album-start").click,
        lambda: upload(page, "notes.jpg", b"this is no picture"),
    )

    expect(page.locator("#message")).to_contain_text("not a picture")
    comes_to_rest(page)


@pytest.mark.parametrize(
    ("query", "accepted", "language", "text"),
    [
        ("", "de-DE,de;q=0.9", "de", "Für Programme"),
        ("?lang=de", "en", "de", "Für Programme"),
        ("?lang=en", "de", "en", "For programs"),
        ("", "", "en", "For programs"),
    ],
)
def test_the_page_is_rendered_in_the_visitor_s_language(
    served_with_ssr: str, query: str, accepted: str, language: str, text: str
) -> None:
    asked = Request(f"{served_with_ssr}/{query}", headers={"Accept-Language": accepted})
    with urlopen(asked) as answer:
        page = answer.read().decode()

    assert re.findall(r'<html\s+lang="(\w+)"', page) == [language]
    assert text in page.partition("<body")[2]
    assert "<title>Petscope" in page
    assert "[[" not in page.partition("<body")[2].partition("<script")[0]


def test_the_page_for_programs_is_rendered_too(
    context: BrowserContext, served_with_ssr: str
) -> None:
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{served_with_ssr}/programs")

    expect(page.locator(".cm-content", has_text="curl")).to_contain_text(served_with_ssr)

    page.close()
    assert wrong == []
