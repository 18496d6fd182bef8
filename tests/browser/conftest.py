import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = Path(__file__).parent / "screenshots"
expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@contextmanager
def serve(**environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the app by its own command on a free port: its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, "PETSCOPE_PORT": str(port), **environment},
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the app ended before it served a page"
                time.sleep(0.25)
        yield url, process
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The app as `make run` serves it."""
    with serve(GRADIO_SSR_MODE="False") as running:
        yield running


@pytest.fixture
def served_with_ssr() -> Iterator[str]:
    """The address of the app as a Space serves it: Node renders the page first."""
    if shutil.which("node") is None:
        pytest.skip("server-side rendering needs Node.js")
    with serve(GRADIO_SSR_MODE="True") as (address, _):
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )


@contextmanager
def opened(browser: Browser, address: str, width: int, scheme: str) -> Iterator[Page]:
    """The page opened; afterwards nothing may have been fetched elsewhere or have gone wrong."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(20_000)
    wrong: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(f"console: {message.text}")

    def watch(sent: Request) -> None:
        if not sent.url.startswith((address, "data:", "blob:")):
            wrong.append(f"fetched elsewhere: {sent.url}")

    page.on("console", hear)
    page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
    page.on("request", watch)
    page.goto(address)
    page.locator("#photo").wait_for()
    yield page
    page.close()
    assert wrong == []


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desktop-light", "phone-dark"])
def page(
    browser: Browser, served: tuple[str, subprocess.Popen[bytes]], request: pytest.FixtureRequest
) -> Iterator[Page]:
    """The page on a desktop and on a phone; a screenshot is kept of how each test left it."""
    with opened(browser, served[0], *request.param) as page:
        yield page
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)


@pytest.fixture
def page_with_ssr(browser: Browser, served_with_ssr: str) -> Iterator[Page]:
    """The page as a Space serves it."""
    with opened(browser, served_with_ssr, 1280, "light") as page:
        yield page
