"""What a visitor does on the page, for all tests that drive a browser."""

import io
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import pytest
from PIL import Image
from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    FilePayload,
    Locator,
    Page,
    Request,
    expect,
)

PATIENCE = 180_000  # milliseconds: a busy machine is slow, not wrong
SCREENSHOTS = Path(__file__).parent / "screenshots"
LEFT = ("AbortError", "errored out")  # Gradio's message for requests aborted by leaving a page

STAYS_OPEN = re.compile("/heartbeat/|/queue/data")

Scheme = Literal["light", "dark"]
Served = tuple[str, subprocess.Popen[bytes]]  # the app's address and its process

# Until the page has nothing to do, not even after the pause that it makes before it asks on.
IDLE = """() => new Promise((done) =>
  requestIdleCallback(() => setTimeout(() => requestIdleCallback(done), 300)))"""


# The events whose answers have not come, by their ids, and the requests for an id. The stream of
# answers tells nothing by itself: Gradio may leave it open.
UNANSWERED = """(() => {
  const ids = new Set(), early = new Set();
  let joining = 0;
  window.unanswered = () => [...ids, ...Array(joining).fill("joining")];
  const end = (id) => { if (!ids.delete(id)) early.add(id); };
  const hear = async (stream) => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const bytes of stream) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\\n");
      rest = lines.pop();
      for (const line of lines.filter((each) => each.startsWith("data:"))) {
        const said = JSON.parse(line.slice(5));
        if (said.msg === "process_completed") end(said.event_id);
      }
    }
  };
  const real = window.fetch;
  window.fetch = async (...words) => {
    const path = String(words[0]?.url ?? words[0]);
    if (path.includes("/queue/data")) {
      const answer = await real(...words);
      hear(answer.clone().body).catch(() => {}); // the page has left it
      return window.delay?.(answer) ?? answer;
    }
    if (!path.includes("/queue/join")) return real(...words);
    joining += 1;
    try {
      const answer = await real(...words);
      const { event_id: id } = await answer.clone().json().catch(() => ({}));
      if (id && !early.delete(id)) ids.add(id);
      return answer;
    } finally {
      joining -= 1;
    }
  };
})()"""


# The ends of streams of answers that begin from now on are late: until `window.arrive()` is called,
# `window.delayed` counts them.
DELAY_ENDS = """() => {
  const arrived = new Promise((arrive) => { window.arrive = arrive; });
  window.delayed = 0;
  window.delay = (answer) => {
    const late = new TransformStream({
      async transform(part, stream) {
        if (new TextDecoder().decode(part).includes('"close_stream"')) {
          window.delayed += 1;
          await arrived;
        }
        stream.enqueue(part);
      },
    });
    return new Response(answer.body.pipeThrough(late), answer);
  };
}"""


@dataclass
class Traffic:
    """What a page has asked the server for; the stream of answers and the heartbeat stay open."""

    asked: int = 0
    underway: set[Request] = field(default_factory=set)

    def watch(self, page: Page) -> None:
        page.add_init_script(UNANSWERED)
        page.on("request", self._begin)
        page.on("requestfinished", self._end)
        page.on("requestfailed", self._end)
        page.on("domcontentloaded", lambda _: self.underway.clear())  # of the document before

    def _begin(self, sent: Request) -> None:
        if sent.url.startswith("http") and not STAYS_OPEN.search(sent.url):
            self.asked += 1
            self.underway.add(sent)

    def _end(self, sent: Request) -> None:
        self.underway.discard(sent)


TRAFFIC: WeakKeyDictionary[Page, Traffic] = WeakKeyDictionary()

# For tests that do not depend on the kind of screen.
on_desktop = pytest.mark.parametrize(
    "page", [(1280, "light")], indirect=True, ids=["desktop-light"]
)
on_phone = pytest.mark.parametrize("page", [(390, "dark")], indirect=True, ids=["phone-dark"])


@contextmanager
def opened(context: BrowserContext, address: str, width: int, scheme: Scheme) -> Iterator[Page]:
    """Open the page; afterwards, check that nothing failed or was fetched from elsewhere."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    home = address.partition("?")[0]

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in LEFT):
            wrong.append(f"console: {message.text}")

    def watch(sent: Request) -> None:
        if not sent.url.startswith((home, "data:", "blob:")):
            wrong.append(f"fetched elsewhere: {sent.url}")

    page.on("console", hear)
    page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
    page.on("request", watch)
    follow_traffic(page)
    page.goto(address)
    page.locator("#photo").wait_for()
    yield page
    page.close()
    assert wrong == [], wrong  # pytest does not explain this module's assertions


def as_file(name: str, content: bytes) -> FilePayload:
    """A picture file in the form that Playwright needs."""
    return {"name": name, "mimeType": f"image/{name.rpartition('.')[2]}", "buffer": content}


def upload(page: Page, name: str, content: bytes) -> None:
    page.locator("#photo input[type=file]").set_input_files(as_file(name, content))


def open_tab(page: Page, name: str) -> None:
    """Choose a tab."""
    page.get_by_role("tab", name=name, exact=True).click()
    page.get_by_role("tabpanel", name=name, exact=True).wait_for()


def follow_traffic(page: Page) -> None:
    """Let `comes_to_rest` know what the page asks for from now on."""
    TRAFFIC[page] = Traffic()
    TRAFFIC[page].watch(page)


def comes_to_rest(page: Page) -> None:
    """Wait until every answer has come and is shown, and the page asks for nothing more."""
    _has_asked(page, lambda: page.evaluate("unanswered()"))


def _has_asked(page: Page, unanswered: Callable[[], list[str]] = list) -> None:
    """Wait until the page asks for nothing more, and no request or answer is missing."""
    traffic, deadline = TRAFFIC[page], time.monotonic() + 2 * PATIENCE / 1000
    while True:
        before = traffic.asked
        page.evaluate(IDLE)
        missing = [sent.url for sent in traffic.underway] + unanswered()
        if traffic.asked == before and not missing:
            break
        assert time.monotonic() < deadline, missing


def is_painted(page: Page) -> None:
    """Wait until what was changed last is laid out, mended, painted and still."""
    page.evaluate("""async () => {
      for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
      await Promise.all(document.getAnimations().map(({ finished }) => finished.catch(() => {})));
      await new Promise(requestIdleCallback);
    }""")


def becomes(page: Page, read: Callable[[], object], wanted: object) -> None:
    """Wait until something that is read of the page is as wanted."""
    deadline = time.monotonic() + PATIENCE / 1000
    while (found := read()) != wanted and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert found == wanted, found


def size(picture: Locator) -> tuple[int, int]:
    """Size of the picture itself, not of its element on the page; (0, 0) until it is loaded."""
    width, height = picture.evaluate(
        "image => image.complete ? [image.naturalWidth, image.naturalHeight] : [0, 0]"
    )
    return width, height


def expect_size(picture: Locator, width: int, height: int) -> None:
    """Wait until the picture that is shown has this size itself."""
    expect(picture).to_be_visible()
    becomes(picture.page, lambda: size(picture), (width, height))


def downloaded(page: Page, button: str) -> Image.Image:
    with page.expect_download() as download:
        page.locator(button).click()
    return Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))


def picture_file(kind: str, picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def ask_before_the_end(page: Page, first: Callable[[], None], then: Callable[[], None]) -> None:
    """Do something that asks for one answer; before the end of its stream arrives, do another."""
    comes_to_rest(page)
    page.evaluate(DELAY_ENDS)
    first()
    page.wait_for_function("delayed === 1")
    then()
    _has_asked(page)  # the server has accepted all questions
    page.evaluate("arrive()")
