"""The first screen, on a phone too: the example, the strip, the row of tabs, the touch targets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.visits import Served, comes_to_rest, is_painted, open_tab, opened, upload

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TABS = ["Pets", "Cut out", "Threshold", "Mask", "Breed", "Many photos"]

# Visible controls that are narrower or lower than 44 pixels. A checkbox or radio button counts with
# its label, and the number beside a slider with the slider.
SMALL = """() => [...document.querySelectorAll(
    "button, a[href], summary, [role=tab], [role=slider], label:has(input), input[type=range]")]
  .filter((each) => each.checkVisibility({ visibilityProperty: true }))
  .filter((each) => !each.closest("[aria-hidden=true], .built-with, .wrap"))
  .filter((each) => each.getAttribute("tabindex") !== "-1" && !each.querySelector("button"))
  .map((each) => [each.getBoundingClientRect(), each])
  .filter(([{ width, height }]) => width && height && (width < 43.5 || height < 43.5))
  .map(([{ width, height }, each]) => `${width} x ${height} ${each.outerHTML.slice(0, 120)}`)
"""
CAPTIONS = """() => [...document.querySelectorAll("figcaption, .caption-label, .hint, text")]
  .filter((each) => each.checkVisibility() && each.textContent.trim())
  .map((each) => {
    const scale = each.ownerSVGElement?.getScreenCTM().a ?? 1;
    return [parseFloat(getComputedStyle(each).fontSize) * scale, each.textContent];
  })
  .filter(([size]) => size < 11.95)
"""


@pytest.fixture(scope="module")
def phone(context: BrowserContext, served: Served) -> Iterator[Page]:
    """One page for all tests of this file, each of which continues where the previous one ended."""
    with opened(context, served[0], 390, "light") as page:
        yield page


def names_of_tabs(page: Page) -> list[str]:
    return page.locator("#tabs [role=tab]").all_inner_texts()


def test_the_page_opens_with_an_answered_example(phone: Page) -> None:
    example = phone.locator("#opening")

    expect(example).to_contain_text("Example: now try yours")
    expect(example.locator(".pet")).to_have_count(2)
    comes_to_rest(phone)
    picture = example.locator("img").bounding_box()
    assert picture
    assert picture["y"] + picture["height"] <= 900  # on the first screen
    expect(phone.locator("#share-card")).to_have_count(0)  # there is no photo to share


def test_the_head_names_what_the_page_loads_and_nothing_else(phone: Page) -> None:
    named, styles, loaded = phone.evaluate("""() => {
      const links = (rel) =>
        [...document.querySelectorAll(`link[rel=${rel}]`)].map(({ href }) => href);
      const files = performance.getEntriesByType("resource").map(({ name }) => name);
      return [[...links("modulepreload"), ...links("preload")], links("stylesheet"), files];
    }""")
    assets = {file for file in loaded if "/assets/" in file}

    assert assets == {file for file in named if "/assets/" in file}
    assert {file for file in named if file.endswith(".css")} <= set(styles)


def test_after_an_upload_the_answer_is_in_view(phone: Page) -> None:
    upload(phone, "cat.png", (EXAMPLES / "cat_chelsea.png").read_bytes())
    expect(phone.locator("#pets .pet")).to_have_count(1)
    comes_to_rest(phone)

    photo, answer = (phone.locator(name).bounding_box() for name in ("#photo", "#pets-picture img"))
    assert photo
    assert answer
    assert photo["height"] <= 100
    assert answer["y"] <= 450
    assert phone.evaluate("scrollY") == 0
    with phone.expect_file_chooser():
        phone.get_by_role("button", name="Another photo").click()


def test_a_finger_is_taken_to_the_answer_and_a_keyboard_is_not(phone: Page) -> None:
    shepherd = phone.locator("#examples button").filter(has_text="German shepherd")
    shepherd.focus()
    before = phone.evaluate("scrollY")
    shepherd.press("Enter")
    expect(phone.locator("#pets .pet")).to_contain_text("It looks like a German shepherd")
    comes_to_rest(phone)
    expect(shepherd).to_be_in_viewport()
    assert phone.evaluate("scrollY") > before / 2 > 0  # what is above it has another height now

    phone.locator("#examples button").filter(has_text="Chelsea").click()
    expect(phone.locator("#pets .pet")).not_to_contain_text("Not one of")
    expect(phone.locator("#pets-picture img")).to_be_in_viewport()


@pytest.mark.parametrize("width", [390, 768])
def test_all_tabs_stay_in_one_row_in_their_order(phone: Page, width: int) -> None:
    phone.set_viewport_size({"width": width, "height": 900})
    phone.wait_for_function("width => innerWidth === width", arg=width)
    for name in (TABS[-1], TABS[0]):
        open_tab(phone, name)
        is_painted(phone)
        assert names_of_tabs(phone) == TABS
        tops = phone.locator("#tabs [role=tab]").evaluate_all(
            "tabs => tabs.map((tab) => tab.getBoundingClientRect().top)"
        )
        assert len(set(tops)) == 1
        expect(phone.get_by_role("tab", name=name, exact=True)).to_be_in_viewport(ratio=0.99)
        expect(phone.locator("#tabs .overflow-menu button")).to_be_hidden()
    phone.set_viewport_size({"width": 390, "height": 900})


@pytest.mark.parametrize("tab", TABS)
def test_fingers_hit_every_control_and_eyes_read_every_caption(phone: Page, tab: str) -> None:
    open_tab(phone, tab)
    if tab == "Threshold":
        phone.locator("#methods figure").nth(15).wait_for()
    comes_to_rest(phone)

    assert phone.evaluate(SMALL) == []
    assert phone.evaluate(CAPTIONS) == []


def test_examples_for_thresholds_and_nuclei_open_their_tab(phone: Page) -> None:
    phone.locator("#examples button").filter(has_text="Greek coins").click()
    expect(phone.get_by_role("tab", name="Threshold")).to_have_attribute("aria-selected", "true")

    phone.locator("#examples button").filter(has_text="Cell nuclei").click()
    expect(phone.get_by_role("tab", name="Mask")).to_have_attribute("aria-selected", "true")
    expect(phone.locator("#legend")).to_contain_text("Objects found")
