"""What a visitor does on the page, for all tests that drive a browser."""

import io
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

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

PATIENCE = 60_000  # milliseconds: a busy machine is slow, not wrong
SCREENSHOTS = Path(__file__).parent / "screenshots"
LEFT = ("AbortError", "errored out")  # Gradio's message for requests aborted by leaving a page

Scheme = Literal["light", "dark"]
Served = tuple[str, subprocess.Popen[bytes]]  # the app's address and its process

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


def comes_to_rest(page: Page) -> None:
    """Wait until the page has requested nothing from the server for two seconds."""
    asked = [time.monotonic()]
    page.on("request", lambda sent: asked.append(time.monotonic()) if "join" in sent.url else None)
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() - asked[-1] < 2:
        assert time.monotonic() < deadline, "the page asks without end"
        page.wait_for_timeout(100)


def shown_size(picture: Locator) -> tuple[int, int]:
    """Size of the picture itself, not of its element on the page."""
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
