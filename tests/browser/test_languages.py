"""The page in German: by the browser's language or the address, with nothing left in English."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.visits import Served, as_file, comes_to_rest, on_desktop, opened, upload
from ui.texts import TEXTS

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
# What each tab shows when it is ready.
RESULTS = {
    "pets": "#pets .pet >> nth=0",
    "cut-out": "#cut-out img >> nth=1",
    "threshold": "#methods figure >> nth=15",
    "mask": "#probabilities img >> nth=2",
    "breed": "#breeds li >> nth=1",
    "album": "#album-table tbody tr >> nth=1",
}

# All texts that can be read or heard, except those marked as English.
WORDS = """() => {
  const words = [];
  const add = (word) => word?.trim() && words.push(word.trim().replace(/\\s+/g, " "));
  const kinds = NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT;
  const passed = (node) =>
    node.lang === "en" || ["SCRIPT", "STYLE", "FOOTER"].includes(node.nodeName);
  const walker = document.createTreeWalker(document.body, kinds, (node) =>
    passed(node) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.nodeType === Node.TEXT_NODE) add(node.textContent);
    else for (const name of ["alt", "aria-label", "title", "placeholder", "value"])
      if (name !== "value" || node.type !== "radio") add(node.getAttribute(name));
  }
  return words;
}"""


@pytest.fixture
def german_page(context: BrowserContext, served: Served) -> Iterator[Page]:
    with opened(context, f"{served[0]}?lang=de", 1280, "light") as page:
        yield page


@cache
def english_forms() -> list[re.Pattern[str]]:
    """How each English text looks on the page, if the German one differs."""
    german = {str(text) for text in TEXTS["de"].values()}
    patterns = []
    for key, text in TEXTS["en"].items():
        if str(text) in german or key.startswith("programs."):
            continue
        for form in (text,) if isinstance(text, str) else text.values():
            parts = re.split(r"\{[^}]*\}", form)
            if sum(map(len, parts)) > 4:  # "3 to 4" could be part of any text
                patterns.append(re.compile(".+".join(map(re.escape, parts))))
    return patterns


def expect_german(page: Page) -> None:
    words = page.evaluate(WORDS)
    assert len(words) > 20
    for word in words:
        assert "[[" not in word
        for pattern in english_forms():
            # Short texts also occur as words in other sentences.
            found = pattern.search(word) if len(pattern.pattern) > 25 else pattern.fullmatch(word)
            assert not found, f"English: {word!r}"


def test_every_tab_is_german_with_and_without_a_photo(german_page: Page) -> None:
    page = german_page
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_role("tab", name="Ausschneiden")).to_be_visible()
    comes_to_rest(page)
    for tab in RESULTS:
        page.locator(f'#tabs [role=tab][data-tab-id="{tab}"]').click()
        expect_german(page)

    upload(page, "photo.jpg", (EXAMPLES / "german_shepherd.jpg").read_bytes())
    files = [as_file("bad.jpg", b"no picture"), as_file("again.jpg", b"none either" * 1000)]
    page.locator("#album-files input[type=file]").set_input_files(files)
    expect(page.locator("#album-files")).to_contain_text("again")
    expect(page.locator("#album-files")).to_contain_text("10,7\N{NO-BREAK SPACE}KB")
    page.locator("#album-start").click()
    for tab, result in RESULTS.items():
        page.locator(f'#tabs [role=tab][data-tab-id="{tab}"]').click()
        page.locator(result).wait_for()
        comes_to_rest(page)
        if tab == "threshold":
            page.locator("#histogram .cut").first.press("PageUp")
            expect(page.locator("#histogram .readout")).to_have_text(re.compile("Schnitt 1 bei"))
            expect(page.locator("#score")).to_contain_text("Dein Schnitt")
        if tab == "mask":
            page.locator("#how-good").get_by_role("button").click()
            page.locator("#mask-model").get_by_label("Zellkerne").check()
            expect(page.locator("#legend")).to_contain_text("Gefundene Objekte")
            page.locator("#compare-sizes").click()
            expect(page.locator("#sizes")).to_contain_text("übliche Größe")
        comes_to_rest(page)
        expect_german(page)
    expect(page.locator("#album-table")).to_contain_text("beschädigt")


def test_a_photo_that_cannot_be_used_is_refused_in_german(german_page: Page) -> None:
    upload(german_page, "notes.jpg", b"this is no picture")

    expect(german_page.locator("#message")).to_contain_text("Diese Datei ist beschädigt oder kein")


def test_the_page_for_programs_is_german_too(context: BrowserContext, served: Served) -> None:
    page = context.new_page()
    page.goto(f"{served[0]}?lang=de")
    page.get_by_role("link", name="Für Programme").click()

    expect(page.get_by_role("heading", name="Endpunkte")).to_be_visible()
    expect(page.get_by_text("Findet die Katzen und Hunde eines Fotos")).to_be_visible()
    expect(page.get_by_role("heading", name="/cut_out")).to_be_visible()
    page.close()


@on_desktop
def test_the_browser_s_language_decides_and_the_address_overrides(
    browser: Browser, served: Served, page: Page
) -> None:
    expect(page.get_by_role("tab", name="Threshold")).to_be_visible()
    context = browser.new_context(locale="de-AT")
    german = context.new_page()
    german.goto(served[0])
    expect(german.get_by_role("tab", name="Schwellenwert")).to_be_visible()
    expect(german.locator("#photo")).to_contain_text("klick hier und such ein Foto aus")
    german.goto(f"{served[0]}?lang=en")
    expect(german.get_by_role("tab", name="Threshold")).to_be_visible()
    context.close()
