import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.visits import PATIENCE, Served, opened

ROOT = Path(__file__).parent.parent.parent
WEIGHTS = ROOT / "models" / "weights"
STOP = 600  # seconds that the app may take to end
expect.set_options(timeout=PATIENCE)
# The first one has no windows at all, and is twice as fast as the others.
CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, CHROMIUMS)), None)


@contextmanager
def serve(**environment: str) -> Iterator[Served]:
    """Run the app by its own command on a free port: its address and its process."""
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, "PETSCOPE_PORT": "0", **environment},
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    late = Timer(PATIENCE / 1000, process.kill)
    late.start()
    try:
        told = process.stdout.readline().decode()  # nothing, should the app end
        late.cancel()
        found = re.fullmatch(r"\* Running on local URL:  (http\S+)\n", told)
        assert found, f"the app does not serve the page: {told!r}"
        yield found[1], process
    finally:
        process.terminate()
        process.wait(timeout=STOP)


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The app as `make run` serves it."""
    with serve(GRADIO_SSR_MODE="False") as running:
        yield running


@pytest.fixture(scope="session")
def served_with_ssr() -> Iterator[str]:
    """The address of the app as a Space serves it: Node renders the page first."""
    if shutil.which("node") is None:
        pytest.skip("server-side rendering needs Node.js")
    with serve(GRADIO_SSR_MODE="True") as (address, _):
        yield address


@pytest.fixture(scope="session")
def served_with_nuclei(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the app with the embedded models and a second mask model."""
    folder = tmp_path_factory.mktemp("models")
    link_model("breeds", folder)
    link_model("pet", folder, title="Pets, fast", default=True)
    write_nucleus_model(folder)
    with serve(GRADIO_SSR_MODE="False", PETSCOPE_MODELS=str(folder)) as (address, _):
        yield address


@pytest.fixture
def page_with_one_mask_model(context: BrowserContext, tmp_path: Path) -> Iterator[Page]:
    """The page with a mask model that has its own name, and the breeds."""
    link_model("breeds", tmp_path)
    link_model("pet", tmp_path, "cats-and-dogs")
    with (
        serve(GRADIO_SSR_MODE="False", PETSCOPE_MODELS=str(tmp_path)) as (address, _),
        opened(context, address, 1280, "light") as page,
    ):
        yield page


@pytest.fixture
def page_without_a_place(browser: Browser) -> Iterator[Page]:
    """The page of an app whose queue has no room."""
    with serve(GRADIO_SSR_MODE="False", PETSCOPE_MAX_WAITING="0") as (address, _):
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.locator("#photo").wait_for()
        yield page
        page.close()


def link_model(name: str, folder: Path, alias: str | None = None, **changes: object) -> None:
    """Put an embedded model into a folder, with some changes in its card."""
    card = json.loads((WEIGHTS / f"{name}.json").read_text())
    (folder / f"{alias or name}.json").write_text(json.dumps(card | changes))
    (folder / f"{alias or name}.onnx").symlink_to(WEIGHTS / f"{name}.onnx")


def write_nucleus_model(folder: Path) -> None:
    """A mask model that takes red as nucleus, green as background, and blue as border."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["photo", "ten"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        ],
        "nuclei",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, list("abcd"))],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, list("abcd"))],
        [numpy_helper.from_array(np.array(10, np.float32), "ten")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    (folder / "nuclei.onnx").write_bytes(content)
    card = {
        "title": "Cell nuclei",
        "task": "segmentation",
        "labels": [{"name": name} for name in ("nucleus", "background", "border")],
        "instances": True,
        "input": {
            "height": 512,
            "width": 512,
            "resize": "fit",
            "multiple": 32,
            "interpolation": "bilinear",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "layout": "NHWC",
            "color": "RGB",
        },
        "output": {"layout": "NHWC", "meaning": "probabilities"},
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / "nuclei.json").write_text(json.dumps(card))


# Not for the whole session: while it is open, its event loop runs in this process, and tests that
# serve the page from this process need their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )


@pytest.fixture(scope="module")
def context(browser: Browser) -> BrowserContext:
    """The browser context for the pages of a test file, whose cache keeps the scripts.

    Animations take a fifth of a page's time.
    """
    return browser.new_context(reduced_motion="reduce")


on_both_screens = pytest.fixture(
    params=[(1280, "light"), (390, "dark")], ids=["desktop-light", "phone-dark"]
)


@on_both_screens
def page(context: BrowserContext, served: Served, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page on a desktop and on a phone."""
    with opened(context, served[0], *request.param) as page:
        yield page


@pytest.fixture
def page_with_nuclei(
    context: BrowserContext, served_with_nuclei: str, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """The page with two mask models to choose from."""
    with opened(context, served_with_nuclei, 1280, "light") as page:
        yield page
