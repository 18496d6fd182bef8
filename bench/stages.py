"""How long each stage of a photo takes, for a phone's photo and for a smaller one.

    python -m bench.stages            # about a minute; renews its table
    python -m bench.stages --print    # only prints it

The stages are timed one by one. A tab is timed by its own handlers, including Gradio's work before
and after them, for a photo that is new to the app; the tabs come in the order of the table, and
later ones use the results of earlier ones. "Everything" is the time until the last of them has
answered, with as many at a time as there are cores. The bare networks are the minimum for any page:
their runs for these answers alone.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

import documents
from bench import peers
from models import breeds, drawing, previews, regions, segmentation, store
from models.preprocessing import prepare
from models.runtime import usable_cores
from serving import decoding

if TYPE_CHECKING:
    import gradio as gr
    from gradio.blocks import BlockFunction

# Functions import what needs Gradio themselves, so that --help does not wait for it.

START = "<!-- stages: written by bench.stages -->"
END = "<!-- /stages -->"

ROUNDS = 7
DOG = documents.ROOT / "examples" / "german_shepherd.jpg"  # one pet, in a phone's 4 to 3
NOISE = 5.0  # standard deviation, of 255
ORIENTATION, TURNED = 0x0112, 3  # EXIF: how a phone held upside down stores a photo

# The page's handlers: the first one gets the photo, and the others follow it. See `ui.page`.
FIRST: dict[str, tuple[str, ...]] = {"Pets": ("show_pets",)}
OTHERS: dict[str, tuple[str, ...]] = {
    "Cut out": ("show_cut_out", "offer_pets", "show_canvas"),
    "Threshold": ("show_classes", "show_methods", "show_mask"),
    "Mask": ("show_overlay", "show_objects", "show_probabilities", "clear_sizes"),
    "Breed": ("show_breeds",),
    "the link's hint": ("show_hint",),
}
BARE_PETS = "the networks of the Pets tab alone"
BARE = "all networks alone"
EVERYTHING = "everything, until the last answer"

Result = TypeVar("Result")
Times = dict[str, float]
"""Seconds, by the name in the table."""


def write_photos(folder: Path) -> dict[str, Path]:
    """A phone's photo and a smaller one, made from an example, by their names in the table."""
    example = Image.open(DOG)
    large = np.asarray(example.resize((4032, 3024), Image.Resampling.BICUBIC), np.float32)
    noise = np.random.default_rng(0).normal(0, NOISE, large.shape).astype(np.float32)
    camera = Image.fromarray(np.rint(np.clip(large + noise, 0, 255)).astype(np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    stored = camera.transpose(Image.Transpose.ROTATE_180)
    stored.save(folder / "phone.jpg", quality=92, exif=exif)
    example.resize((1280, 960)).save(folder / "small.jpg", quality=90)
    return {
        "4032 x 3024, turned": folder / "phone.jpg",
        "1280 x 960": folder / "small.jpg",
    }


def timed(times: Times, name: str, call: Callable[[], Result]) -> Result:
    """Call a function and record how long it took."""
    start = time.perf_counter()
    result = call()
    times[name] = time.perf_counter() - start
    return result


def measure_stages(path: Path) -> Times:
    """The app's work on a photo, one stage after another."""
    from ui import result_files

    times: Times = {}
    segmenter = segmentation.load(store.default("segmentation"))
    classifier = breeds.load(store.default("classification"))
    timed(times, "decode in all detail, hand over", lambda: decoding.open_photo(path))
    picture = timed(
        times,
        "decode to look at, hand over",
        lambda: decoding.open_picture(path, previews.SIDE),
    )
    shown = timed(times, "reduce to look at", lambda: previews.preview(picture.photo))
    outline_input = timed(
        times, "reduce for the outline", lambda: prepare(shown, segmenter.card.input)
    )
    breed_input = timed(
        times, "reduce for the breed", lambda: prepare(shown, classifier.card.input)
    )
    timed(times, "outline network", lambda: segmenter.run(outline_input))
    timed(times, "breed networks", lambda: classifier.run(breed_input))
    found = segmenter.predict(shown)
    timed(times, "classes at the size to look at", lambda: found.mask)
    numbers = timed(times, "pets one by one", found.regions)
    timed(
        times,
        "draw",
        lambda: drawing.annotate(
            shown, regions.of_numbers(numbers)[:1], ["a pet"], [(255, 255, 255)], max(shown.shape)
        ),
    )
    timed(times, "encode and write", lambda: result_files.picture_to_show(shown))
    # For one pet its outline and its breed; for the Breed tab the breed of the whole photo.
    times[BARE_PETS] = times["outline network"] + times["breed networks"]
    times[BARE] = times[BARE_PETS] + times["breed networks"]
    return times


class Visit:
    """A page opened by a visitor, and its handlers' answers for one photo."""

    def __init__(self, blocks: "gr.Blocks", path: Path) -> None:
        from serving.queueing import Session
        from ui import result_files

        self._blocks = blocks
        self._state = Session(blocks)
        self._file = result_files.new_folder() / path.name  # an upload
        shutil.copy(path, self._file)

    async def ask(self, name: str) -> None:
        """Let a handler answer."""
        import gradio as gr

        from ui import photo_input, uploads

        function = handler(self._blocks, name)
        inputs = []
        for component in function.inputs:
            value = getattr(component, "value", None)
            if isinstance(component, photo_input.PhotoInput):
                value = {"path": str(self._file), "meta": {"_type": "gradio.FileData"}}
            elif isinstance(component, gr.State) and value is None and name not in FIRST["Pets"]:
                self._state[component._id] = uploads.Upload(str(self._file))
            inputs.append(value)
        await self._blocks.process_api(function, inputs, self._state)


def handler(blocks: "gr.Blocks", name: str) -> "BlockFunction":
    """The page's handler with a function's name."""
    return next(each for each in blocks.fns.values() if each.name == name)


async def measure_tabs(blocks: "gr.Blocks", path: Path) -> Times:
    """Each tab's handlers by themselves, and all of them in the way that the page calls them."""
    times: Times = {}
    visit = Visit(blocks, path)
    for name, handlers in (FIRST | OTHERS).items():
        start = time.perf_counter()
        for each in handlers:
            await visit.ask(each)
        times[name] = time.perf_counter() - start

    visit = Visit(blocks, path)
    places = asyncio.Semaphore(usable_cores())

    async def ask_in_turn(name: str) -> None:
        async with places:
            await visit.ask(name)

    start = time.perf_counter()
    for tabs in (FIRST, OTHERS):
        await asyncio.gather(*(ask_in_turn(name) for names in tabs.values() for name in names))
    times[EVERYTHING] = time.perf_counter() - start
    return times


def measure(rounds: int = ROUNDS) -> dict[str, Times]:
    """Medians over several rounds, for each photo by name; the first round does not count."""
    from ui import page

    blocks = page.build()
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in write_photos(Path(folder)).items():
            found = [
                measure_stages(path) | asyncio.run(measure_tabs(blocks, path))
                for _ in range(rounds + 1)
            ][1:]
            measured[name] = {key: median(times[key] for times in found) for key in found[0]}
    return measured


def table(measured: dict[str, Times]) -> str:
    """The milliseconds as Markdown."""
    heads = [f"{name}, ms" for name in measured]
    lines = [f"| stage | {' | '.join(heads)} |", f"|---|{'---|' * len(measured)}"]
    columns = list(measured.values())
    for key in columns[0]:
        cells = " | ".join(f"{1000 * times[key]:.3g}" for times in columns)
        lines.append(f"| {key} | {cells} |")
    for whole, bare in (("Pets", BARE_PETS), (EVERYTHING, BARE)):
        ratios = " | ".join(f"{times[whole] / times[bare]:.1f} times" for times in columns)
        lines.append(f"| {whole}, against {bare} | {ratios} |")
    return "\n".join(lines)


def text(measured: dict[str, Times]) -> str:
    """The table, with the conditions of the measurement."""
    machine = peers.conditions(usable_cores())
    return (
        f"{table(measured)}\n\nMedian of {ROUNDS} rounds on {machine['threads']} cores "
        f"({machine['processor']}), {machine['date']}."
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and renew the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--print", action="store_true", help="write nothing")
    arguments = parser.parse_args(words)
    written = text(measure())
    if not arguments.print:
        documents.renew(START, END, written)
    print(written)


if __name__ == "__main__":
    commandline.run(main)
