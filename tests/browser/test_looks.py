"""What can be seen: edges and bars with enough contrast, colours that open where they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.visits import (
    Scheme,
    Served,
    becomes,
    comes_to_rest,
    is_painted,
    open_tab,
    opened,
    upload,
)

pytestmark = pytest.mark.browser

CAT = Path(__file__).parent.parent.parent / "examples" / "cat_chelsea.png"

# The contrast of an element's edge or fill with what is behind it (WCAG 2.2), the least of all that
# a selector finds. Behind it is the first ground of those around it that is not transparent.
CONTRAST = """([selector, part]) => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = numbers(color).slice(0, 3).map((value) => value / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if ((numbers(color)[3] ?? 1) > 0.5) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const seen = [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility());
  const contrasts = seen.map((e) => {
    const style = getComputedStyle(e);
    const color = { edge: style.borderTopColor, fill: style.backgroundColor,
      ring: style.boxShadow.match(/rgba?\\([^)]*\\)/)?.[0] }[part];
    const [one, other] = [light(color), light(ground(e.parentElement))];
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  });
  return [contrasts.length, Math.min(...contrasts)];
}"""


@pytest.fixture(scope="module")
def page(context: BrowserContext, served: Served) -> Iterator[Page]:
    """One page for all tests of this file, which go on where the one before ended."""
    with opened(context, served[0], 1280, "light") as page:
        yield page


def test_a_tab_shows_no_control_that_can_do_nothing_yet(page: Page) -> None:
    for tab in ("Cut out", "Threshold", "Mask", "Breed"):
        open_tab(page, tab)
        panel = page.get_by_role("tabpanel", name=tab)
        expect(panel.get_by_text("Choose a photo").first).to_be_visible()
        expect(panel.locator("input:visible, [role=slider]:visible")).to_have_count(0)
    upload(page, "cat.png", CAT.read_bytes())
    open_tab(page, "Threshold")
    expect(page.locator("#classes input[type=number]")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_edges_and_bars_can_be_told_from_what_is_behind_them(page: Page, scheme: Scheme) -> None:
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function(
        "dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark"
    )
    comes_to_rest(page)
    for tab, selector, part in (
        ("Pets", "#share, #share-card", "edge"),
        ("Pets", ".pet .bar", "ring"),
        ("Pets", ".pet li:first-child .bar div", "fill"),
        ("Cut out", "#cut-out-download, #cut-out-copy", "edge"),
        ("Cut out", "#ground label:not(.selected)", "edge"),
        ("Threshold", ".tools .plain, .methods .plain", "edge"),
    ):
        open_tab(page, tab)
        expect(page.locator(selector).first).to_be_visible()
        found, least = page.evaluate(CONTRAST, [selector, part])
        assert found
        assert least >= 3, (tab, selector)
    page.emulate_media(color_scheme="light")


def test_a_colour_is_chosen_from_swatches_and_its_dialog_opens_there(page: Page) -> None:
    open_tab(page, "Cut out")
    page.locator("#ground").get_by_label("A colour").check()
    page.get_by_role("button", name="Green", exact=True).click()
    opener = page.locator("#ground-color .dialog-button")
    expect(opener).to_have_css("background-color", "rgb(46, 139, 87)")

    opener.click()
    expect(page.locator("#ground-color input[type=text]")).to_have_value("#2e8b57")
    hue = page.locator("#ground-color .hue-slider .marker")
    expect(hue).to_have_css("background-color", "rgb(0, 255, 112)")  # and not the red of 0 degrees
    expect(page.get_by_role("slider", name="Hue")).to_have_attribute("aria-valuenow", "146")
    page.locator("#ground").get_by_label("Transparent").check()
    expect(page.locator("#swatches")).to_be_hidden()


def test_the_pattern_lies_only_behind_the_picture(page: Page) -> None:
    cut = page.locator("#cut-out img").nth(1)
    page.wait_for_function("""() => {
      const image = document.querySelectorAll("#cut-out img")[1];
      if (!image) return false;
      const { paddingLeft, paddingTop } = getComputedStyle(image);
      const width = image.clientWidth - 2 * parseFloat(paddingLeft);
      const height = image.clientHeight - 2 * parseFloat(paddingTop);
      const ratio = image.naturalWidth / image.naturalHeight;
      return Math.abs(width / height - ratio) < 0.02 * ratio;
    }""")
    assert "content-box" in str(cut.evaluate("image => getComputedStyle(image).backgroundClip"))


@pytest.mark.parametrize(
    ("tab", "picture"),
    [("Threshold", "#classes-picture"), ("Threshold", "#lab-picture"), ("Mask", "#overlay")],
)
def test_a_label_is_above_its_picture(page: Page, tab: str, picture: str) -> None:
    open_tab(page, tab)
    expect(page.locator(f"{picture} img")).to_be_visible()
    page.wait_for_function(
        """picture => {
      const [label, image] = ["[data-testid=block-label]", "img"].map((part) =>
        document.querySelector(`${picture} ${part}`).getBoundingClientRect());
      return label.height > 0 && image.height > 0 && label.bottom <= image.top + 1;
    }""",
        arg=picture,
    )


def test_on_a_phone_no_button_lies_on_the_strip(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("innerWidth === 390")
    is_painted(page)
    photo = page.locator("#photo .image-frame img").bounding_box()
    button = page.get_by_label("Remove Image").bounding_box()
    assert photo
    assert button
    assert button["x"] >= photo["x"] + photo["width"] - 1
    expect(page.locator("#photo").get_by_label("Fullscreen")).to_be_hidden()


def test_on_a_phone_what_unfolds_has_its_triangle(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    open_tab(page, "Threshold")
    summary = page.locator("#methods summary").first
    expect(summary).to_have_css("display", "list-item")
    becomes(page, lambda: (summary.bounding_box() or {"height": 0})["height"] >= 44, True)
