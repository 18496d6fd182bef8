"""Accessibility: axe-core finds nothing, the keyboard reaches everything, results are announced."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.visits import (
    SCREENSHOTS,
    Scheme,
    Served,
    as_file,
    becomes,
    comes_to_rest,
    follow_traffic,
    is_painted,
    open_tab,
    opened,
    upload,
)
from ui.texts import MARK

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
CAT = Path(__file__).parent.parent.parent / "examples" / "cat_chelsea.png"
SCREENS: tuple[tuple[int, Scheme], ...] = (
    (1280, "light"),
    (1280, "dark"),
    (390, "light"),
    (390, "dark"),
)

# What each tab shows when it is ready.
RESULTS = {
    "Pets": "#share-card:enabled",
    "Cut out": "#cut-out img >> nth=1",
    "Threshold": "#methods figure >> nth=15",
    "Mask": "#probabilities img >> nth=2",
    "Breed": "#breeds li >> nth=1",
    "Many photos": "#album-gallery img",
}

BARS = """async () => {
  const rules = { "target-size": { enabled: true } }; // WCAG 2.2, not yet among the usual ones
  const { violations } = await axe.run(document, { resultTypes: ["violations"], rules });
  return violations.filter(({ impact }) => impact !== "minor").flatMap(({ id, impact, nodes }) =>
    nodes.map(({ html, failureSummary }) => [impact, id, html, failureSummary].join("\\n")));
}"""

# The focused element: its name, and whether the focus is visible.
NEXT_FRAME = "new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)))"
FOCUSED = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const drawn = (part) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(part);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  };
  return {
    html: element.outerHTML.slice(0, 200),
    name: element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ??
      (element.textContent.trim() || element.querySelector("img")?.alt ||
        element.querySelector("[aria-label]")?.getAttribute("aria-label")),
    seen: [element, ...element.querySelectorAll(".icon-wrap")].some(drawn),
  };
}"""


# Percentage of the picture that is clipped on the left; the picture may not fill its frame.
CLIPPED = """(image) => {
  const frame = image.getBoundingClientRect();
  const { naturalWidth, naturalHeight } = image;
  const scale = Math.min(frame.width / naturalWidth, frame.height / naturalHeight);
  const width = naturalWidth * scale;
  const clipped = parseFloat(getComputedStyle(image).clipPath.match(/([\\d.]+)%?\\)$/)[1]) / 100;
  return 100 * (clipped * frame.width - (frame.width - width) / 2) / width;
}"""


@pytest.fixture(scope="module")
def page(context: BrowserContext, served: Served) -> Iterator[Page]:
    """One page for all tests of this file; animations would blur what axe measures."""
    with opened(context, served[0], 1280, "light") as page:
        yield page


@pytest.fixture(scope="module")
def page_with_cat(page: Page) -> Page:
    """The page with a photo of a cat, answered."""
    upload(page, "cat.png", CAT.read_bytes())
    expect(page.locator("#pets .pet")).to_have_count(1)
    return page


def bars(page: Page) -> list[str]:
    """What axe-core finds; nothing where axe-core is not installed.

    The page has to be at rest: what is pale while an answer is outstanding has too little contrast.
    """
    is_painted(page)
    if not AXE.exists():
        return []
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    return page.evaluate(BARS)


def expect_no_bars(page: Page, name: str) -> None:
    """On four kinds of screen: axe-core finds nothing, nothing is clipped; takes a screenshot."""
    comes_to_rest(page)
    found = []
    for width, scheme in SCREENS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.mouse.move(0, 0)
        page.wait_for_function(
            "dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark"
        )
        page.wait_for_function("width => innerWidth === width", arg=width)
        found += [f"{width} {scheme}: {bar}" for bar in bars(page)]
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append(f"{width} {scheme}: wider than the screen")
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name} {width} {scheme}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    assert found == [], "\n\n".join(found)
    if not AXE.exists():
        pytest.skip("needs axe-core: npm ci --prefix tests/browser")


def test_the_empty_page_is_accessible(page: Page) -> None:
    expect_no_bars(page, "Empty")


@pytest.mark.parametrize("tab", RESULTS)
def test_tabs_with_results_are_accessible(page_with_cat: Page, tab: str) -> None:
    page = page_with_cat
    open_tab(page, tab)
    if tab == "Cut out":
        page.locator("#ground").get_by_text("A colour").click()
        page.locator("#swatches button").first.wait_for()
        page.locator("#edge").get_by_role("button").first.click()
        page.get_by_role("button", name="Correct by hand").click()
        page.locator("#brush-cut-out canvas").wait_for()
    if tab == "Mask":
        page.locator("#brush-mask .brush-open").click()
        page.locator("#brush-mask canvas").wait_for()
        page.locator("#probabilities img").first.wait_for()
        page.locator("#compare-sizes").click()
        page.locator("#sizes figure").nth(4).wait_for()
        page.locator("#how-good").get_by_role("button").click()
    if tab == "Many photos":
        files = [as_file("cat.png", CAT.read_bytes()), as_file("bad.jpg", b"no picture")]
        page.locator("#album-files input[type=file]").first.set_input_files(files)
        expect(page.locator("#album-files")).to_contain_text("bad")
        page.locator("#album-start").click()
        expect(page.locator("#album-message")).to_contain_text("could not be used")
    page.locator(RESULTS[tab]).first.wait_for()
    expect_no_bars(page, tab)


def test_several_pets_an_unknown_breed_and_no_pet_are_accessible(
    context: BrowserContext, served: Served
) -> None:
    with opened(context, served[0], 1280, "light") as page:
        upload(page, "two.jpg", (CAT.parent / "cat_and_dog.jpg").read_bytes())
        expect(page.locator("#pets .pet")).to_have_count(2)
        expect(page.locator("#pets .unsure")).to_have_count(1)
        expect_no_bars(page, "Several pets")
        open_tab(page, "Cut out")
        page.locator("#only-pets").wait_for()
        expect_no_bars(page, "Cut out several")
        upload(page, "cup.jpg", (CAT.parent / "coffee_cup.jpg").read_bytes())
        expect(page.locator("#cut-out-message .no-pet")).to_be_visible()
        expect(page.locator("#ground")).to_be_hidden()
        expect_no_bars(page, "Cut out no pet")


def test_nuclei_are_accessible(context: BrowserContext, served: Served) -> None:
    with opened(context, served[0], 1280, "light") as page:
        page.locator("#examples button").filter(has_text="Cell nuclei").click()
        page.locator("#objects table").wait_for()
        page.locator("#geojson-download").wait_for()
        page.locator("#probabilities img").first.wait_for()
        expect_no_bars(page, "Nuclei")


def test_an_error_message_is_accessible(page_with_cat: Page) -> None:
    open_tab(page_with_cat, "Pets")
    upload(page_with_cat, "notes.jpg", b"this is no picture")
    expect(page_with_cat.get_by_role("alert")).to_contain_text("not a picture")
    expect(page_with_cat.locator("#pets-message .pending")).to_have_count(0)  # no tab is pale
    expect_no_bars(page_with_cat, "Wrong")


def test_the_page_for_programs_is_accessible(context: BrowserContext, served: Served) -> None:
    page = context.new_page()
    follow_traffic(page)
    page.goto(f"{served[0]}/programs")
    codes = page.locator(".cm-content")
    expect(codes).to_have_count(4)
    expect_no_bars(page, "For programs")
    expect(page).to_have_title(re.compile("For programs"))
    becomes(page, lambda: len({code.get_attribute("aria-label") for code in codes.all()}), 4)
    page.close()


def test_the_german_page_is_accessible(context: BrowserContext, served: Served) -> None:
    address = f"{served[0]}/?lang=de"
    with opened(context, address, 1280, "light") as page:
        upload(page, "cat.png", CAT.read_bytes())
        page.locator("#share-card:enabled").wait_for()
        expect(page.locator("html")).to_have_attribute("lang", "de")
        comes_to_rest(page)
        for tab in page.get_by_role("tab").all():
            tab.click()
            panel = page.get_by_role("tabpanel", name=tab.inner_text(), exact=True)
            expect(panel).to_be_visible()
            for picture in panel.locator("img").all():
                assert picture.get_attribute("alt")
        assert not MARK.search(page.content())
        expect_no_bars(page, "Deutsch")


def tab_stops(page: Page, most: int = 150) -> list[dict[str, Any]]:
    """The elements that the Tab key reaches, from the top of the page to its end."""
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.mouse.click(2, 2)
    stops = []
    for _ in range(most):
        page.keyboard.press("Tab")
        page.evaluate(NEXT_FRAME)  # no person is faster; the page mends a list that opens
        stop = page.evaluate(FOCUSED)
        if stop is None:
            break
        stops.append(stop)
    return stops


@pytest.mark.parametrize("tab", ["Pets", "Cut out", "Threshold", "Mask"])
def test_the_keyboard_reaches_everything_and_the_focus_is_visible(
    page_with_cat: Page, tab: str
) -> None:
    open_tab(page_with_cat, tab)
    page_with_cat.locator(RESULTS[tab]).first.wait_for()
    comes_to_rest(page_with_cat)

    stops = tab_stops(page_with_cat)

    assert [stop["html"] for stop in stops if not stop["name"]] == []
    assert [stop["html"] for stop in stops if not stop["seen"]] == []
    visible = page_with_cat.evaluate(
        """() => [...document.querySelectorAll(
            "button, a[href], input, [role=slider], [role=tab], summary")]
          .filter((e) => !e.disabled && e.tabIndex >= 0 && e.checkVisibility() &&
            e.getBoundingClientRect().width > 0 && (e.type !== "radio" || e.checked))
          .map((e) => e.outerHTML.slice(0, 200))"""
    )
    reached = [stop["html"] for stop in stops]
    assert [html for html in visible if html not in reached] == []


def test_an_example_is_chosen_and_a_file_downloaded_by_key(page_with_cat: Page) -> None:
    page = page_with_cat
    open_tab(page, "Pets")
    page.get_by_role("button", name=re.compile("German shepherd")).press("Enter")
    expect(page.locator("#pets-message")).to_contain_text("pet found")
    expect(page.locator("#photo img")).to_have_js_property("naturalWidth", 800)
    open_tab(page, "Cut out")
    expect(page.locator("#cut-out img").nth(1)).to_have_js_property("naturalWidth", 800)
    comes_to_rest(page)
    with page.expect_download():
        page.locator("#cut-out-download").press("Enter")


def test_arrow_keys_go_from_tab_to_tab(page: Page) -> None:
    tabs = page.get_by_role("tab")
    open_tab(page, "Pets")
    for key, name in (
        ("ArrowRight", "Cut out"),
        ("ArrowRight", "Threshold"),
        ("ArrowLeft", "Cut out"),
        ("End", "Many photos"),
        ("ArrowRight", "Pets"),
    ):
        page.keyboard.press(key)
        expect(tabs.and_(page.locator("[aria-selected=true]"))).to_have_text(name)
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_focused()
        expect(page.get_by_role("tabpanel", name=name, exact=True)).to_be_visible()


def test_the_tabs_that_do_not_fit_open_by_key(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    is_painted(page)
    more = page.locator("#tabs .overflow-menu > button")
    if more.is_visible():
        expect(more).to_have_attribute("aria-expanded", "false")
        more.press("Enter")
        expect(more).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("Escape")
        expect(more).to_have_attribute("aria-expanded", "false")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_focus_stays_at_a_picture_that_fills_the_screen(page_with_cat: Page) -> None:
    page = page_with_cat
    open_tab(page, "Pets")
    picture = page.locator("#pets-picture")
    within = "document.querySelector('#pets-picture').contains(document.activeElement)"
    picture.get_by_role("button", name="Fullscreen").press("Enter")
    expect(page.locator("#pets-picture.fullscreen")).to_be_visible()
    page.wait_for_function(within)
    page.keyboard.press("Escape")
    expect(page.locator("#pets-picture.fullscreen")).to_have_count(0)
    page.wait_for_function(within)


def line(page: Page) -> Locator:
    return page.locator("#cut-out").get_by_role("slider")


def test_keys_move_the_line_between_photo_and_cut_out(page_with_cat: Page) -> None:
    page = page_with_cat
    open_tab(page, "Cut out")
    cut = page.locator("#cut-out img").nth(1)
    comes_to_rest(page)
    expect(line(page)).to_have_attribute("aria-valuenow", "50")
    for key, percent in (
        ("ArrowRight", 52),
        ("PageUp", 62),
        ("ArrowLeft", 60),
        ("PageDown", 50),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 100),
    ):
        line(page).press(key)
        expect(line(page)).to_have_attribute("aria-valuenow", str(percent))
        becomes(page, lambda: cut.evaluate(CLIPPED), pytest.approx(percent, abs=1))
    expect(line(page)).to_be_focused()


def test_arrow_keys_choose_a_background(page_with_cat: Page) -> None:
    page = page_with_cat
    open_tab(page, "Cut out")
    group = page.get_by_role("radiogroup").or_(page.get_by_role("group"))
    expect(group.and_(page.locator("#ground"))).to_have_accessible_name("Background")
    page.locator("#ground").get_by_label("Transparent").press("ArrowRight")
    expect(page.locator("#ground").get_by_label("A colour")).to_be_checked()
    expect(page.locator("#ground-color")).to_be_visible()
    page.locator("#ground").get_by_label("A colour").press("ArrowLeft")
    expect(page.locator("#ground-color")).to_be_hidden()


def test_accordions_say_whether_they_are_open(page: Page) -> None:
    credits_ = page.locator(".credits").get_by_role("button")
    expect(credits_).to_have_attribute("aria-expanded", "false")
    credits_.press("Enter")
    expect(credits_).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".credits li").first).to_be_visible()
    credits_.press("Enter")
    expect(credits_).to_have_attribute("aria-expanded", "false")


def test_results_are_spoken_and_the_page_says_what_it_is(page_with_cat: Page) -> None:
    page = page_with_cat
    open_tab(page, "Pets")
    expect(page.get_by_role("status").filter(has_text="pet found")).to_have_count(1)
    expect(page).to_have_title(re.compile("Petscope"))
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("navigation")).to_have_count(1)
    expect(page.get_by_role("link", name="Your photo")).to_have_attribute("aria-current", "page")
    expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("img:not([alt])")).to_have_count(0)
