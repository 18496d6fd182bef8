"""How long the answer to a click on a mask takes, in a browser and on the server alone.

    python -m bench.strokes            # about half a minute; renews its table
    python -m bench.strokes --print    # only prints it

In the browser (Chromium, headless, without a GPU, on the same machine), it is the time from the end
of a click until the page has the corrected mask, and until it is drawn. The clicks come one after
another, each when the page is at rest. On the server it is the time of the function that takes the
strokes: it corrects the mask and draws the layer for the page.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

import documents
from bench import visitors
from models import store
from models.images import open_photo
from models.runtime import usable_cores

START, END = "<!-- strokes: written by bench.strokes -->", "<!-- /strokes -->"
PHOTO = visitors.ROOT / "examples" / "german_shepherd.jpg"
SIDE = 1000  # pixels, longer side of the photo
CLICKS = 20
RADIUS = 0.012  # the page's own brush
PATIENCE = 120  # seconds
PAUSE = 1500  # milliseconds until all that follows a stroke is answered
SEED = 42
CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

# The page says what the mask covers when it has the answer, and again when all that is made of it
# has followed; that is not counted. What it has is drawn with the next frame.
MEASURE = """() => {
  window.strokesTook = [];
  let ended = null;
  addEventListener("pointerup", (event) => {
    if (event.target.matches("#brush-cut-out canvas")) ended = event.timeStamp;
  }, true);
  new MutationObserver(() => {
    if (ended === null) return;
    const began = ended, answered = performance.now();
    ended = null;
    requestAnimationFrame(() => requestAnimationFrame(() => {
      window.strokesTook.push([answered - began, performance.now() - began]);
    }));
  }).observe(document.querySelector("#brush-cut-out .brush-said"), { childList: true });
}"""


def photo() -> bytes:
    """A photo with a longer side of 1,000 pixels, as JPEG."""
    image = Image.fromarray(open_photo(PHOTO))
    scale = SIDE / max(image.size)
    small = image.resize((round(image.width * scale), round(image.height * scale)))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def places() -> list[tuple[float, float]]:
    """Where the clicks come, in shares of the width and the height."""
    random = np.random.default_rng(SEED)
    return [(float(x), float(y)) for x, y in random.uniform(0.1, 0.9, (CLICKS, 2))]


def on_server(picture: bytes) -> list[float]:
    """Seconds of the answer to each click."""
    from ui import brush  # slow to import: not for --help
    from ui.memory import Memory
    from ui.uploads import Upload

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        path.write_bytes(picture)
        upload = Upload(str(path), Memory(100_000_000))
        upload.mask(store.default("segmentation"))
        strokes: list[dict[str, object]] = []
        seconds = []
        for number, place in enumerate(places()):
            strokes.append({"keep": number % 2 == 0, "points": [place], "radius": RADIUS})
            said = {"open": True, "key": upload.key, "serial": number, "strokes": list(strokes)}
            begin = time.perf_counter()
            brush.take_strokes(upload, said)
            seconds.append(time.perf_counter() - begin)
        return seconds


def in_browser(picture: bytes) -> tuple[list[float], list[float]]:
    """Seconds from the end of each click until the page has its mask, and until it is drawn."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, CHROMIUMS)))
    with (
        tempfile.TemporaryDirectory() as folder,
        visitors.served(Path(folder) / "log") as (port, _),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1200})
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"http://127.0.0.1:{port}")
        page.locator("#photo input[type=file]").set_input_files(
            {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": picture}
        )
        page.locator("#pets .pet").first.wait_for()
        page.get_by_role("tab", name="Cut out", exact=True).click()
        page.locator("#brush-cut-out .brush-open").click()
        canvas = page.locator("#brush-cut-out canvas")
        page.locator("#brush-cut-out .brush-layer").wait_for(state="attached")
        page.wait_for_timeout(2 * PAUSE)
        page.evaluate(MEASURE)
        for number, (x, y) in enumerate(places()):
            page.locator(f"#brush-cut-out .{'remove' if number % 2 else 'keep'}").click()
            canvas.scroll_into_view_if_needed()
            box = canvas.bounding_box()
            if box is None:
                raise RuntimeError("The canvas is gone.")
            page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
            page.wait_for_function("n => window.strokesTook.length > n", arg=number)
            page.wait_for_timeout(PAUSE)
        took = page.evaluate("window.strokesTook")
        browser.close()
    if len(took) != CLICKS:
        raise RuntimeError(f"{CLICKS} clicks got {len(took)} answers.")
    answered, drawn = np.array(took).T / 1000
    return answered.tolist(), drawn.tolist()


def table(seconds: dict[str, list[float]]) -> str:
    """The seconds of each click as Markdown."""
    lines = [
        f"| {CLICKS} clicks, a photo of {SIDE:,} pixels | median, ms | shortest to longest, ms |",
        "|---|---|---|",
    ]
    for name, each in seconds.items():
        low, middle, high = (1000 * value for value in (min(each), median(each), max(each)))
        lines.append(f"| {name} | {middle:.0f} | {low:.0f} to {high:.0f} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and renew the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--print", action="store_true", help="only print the table")
    arguments = parser.parse_args(words)
    picture = photo()
    answered, drawn = in_browser(picture)
    seconds = {
        "from the click until Chromium has the mask": answered,
        "until it is drawn": drawn,
        "the server's part": on_server(picture),
    }
    written = f"{table(seconds)}\n\nOn {usable_cores()} cores."
    if not arguments.print:
        documents.renew(START, END, written)
    print(written)


if __name__ == "__main__":
    commandline.run(main)
