"""The photo that all tabs look at: upload, paste, webcam or example, checked at the door."""

import csv
import html
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from models.drawing import Color
from models.images import Photo, PhotoError, open_photo
from ui import theme

EXAMPLES = Path(__file__).parent.parent / "examples"
THUMBNAIL = 240
SHOWN_BY_BROWSERS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "AVIF")

# Photos and results are kept for the last few uploads, so that moving a slider decodes nothing.
KEPT = 4


class PhotoInput(gr.Image):
    """An image input that hands over the uploaded file untouched.

    Gradio's own would decode the file before our code sees it, and answer a damaged one with an
    exception.
    """

    is_template = True  # Gradio's word for "shown by the same front end as my base class"

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Return the path of the uploaded file."""
        return payload.path if payload else None


@dataclass(frozen=True)
class Example:
    """A picture of the gallery, with the credit it asks for."""

    path: Path
    title: str
    credit: str


@lru_cache(maxsize=KEPT)
def read(path: str) -> Photo:
    """Read an upload; Gradio stores each under a path that depends on its content.

    Raises
    ------
    PhotoError
        When it cannot be used, or was deleted because it lay unused for long.
    """
    photo = open_photo(path)
    photo.setflags(write=False)
    return photo


def examples() -> list[Example]:
    """The pictures of `examples/` in the order of its CREDITS.csv."""
    with (EXAMPLES / "CREDITS.csv").open(newline="") as file:
        return [
            Example(
                EXAMPLES / row["file"],
                row["title"],
                f"{row['title']}: {row['author']}, {row['licence']}, {row['source']}"
                + (f" ({row['changes']})" if row["changes"] else ""),
            )
            for row in csv.DictReader(file)
        ]


def notice(sentence: str, wrong: bool = False) -> str:
    """A sentence for the visitor, as HTML."""
    kind = "notice-text wrong" if wrong else "notice-text"
    return f'<div class="{kind}" role="status">{html.escape(sentence)}</div>'


def took(seconds: float, device: str, what: str) -> str:
    """How long a result took and where it was computed, as HTML."""
    milliseconds = seconds * 1000
    number = f"{milliseconds:.1f}" if milliseconds < 10 else f"{milliseconds:.0f}"
    return f'<p class="took">{what} in {number} ms on the {device}</p>'


def swatch(color: Color) -> str:
    """A small square of a colour, as HTML."""
    return f'<span class="swatch" style="background: {theme.css(color)}"></span>'


def result_file(name: str) -> Path:
    """A path for a result to download, in a folder of its own that Gradio serves and cleans."""
    folder = Path(tempfile.mkdtemp(prefix="petscope-"))
    return folder / name


def build() -> gr.State:
    """Lay out the photo input and the examples.

    Returns
    -------
    The path of the photo that was accepted last, or None; its change event starts the tabs.
    """
    current = gr.State(None)
    photo = PhotoInput(
        label="Your photo",
        sources=["upload", "webcam", "clipboard"],
        format="png",
        height=340,
        placeholder="Drop a photo of a cat or a dog here\n- or -\nClick to choose one",
        buttons=["fullscreen"],
        alt_text="The photo you chose",
        elem_id="photo",
    )
    message = gr.HTML(visible=False, padding=False, elem_id="message")
    shown = examples()
    gr.Markdown("Or try one of these:")
    gallery = gr.Gallery(
        value=[(_thumbnail(example.path), example.title) for example in shown],
        label="Examples",
        show_label=False,
        columns=4,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
    with gr.Accordion("Credits of the examples", open=False, elem_classes="credits"):
        gr.Markdown("\n".join(f"- {example.credit}" for example in shown))

    def accept(path: str | None, previous: str | None) -> tuple[object, object, object]:
        if path is None:
            return gr.skip(), None, gr.HTML(visible=False)
        try:
            picture = read(path)
        except PhotoError as error:
            # The photo before stays, with its results.
            shown_before = _preview(previous, read(previous)) if previous else None
            return shown_before, gr.skip(), gr.HTML(notice(str(error), wrong=True), visible=True)
        return _preview(path, picture), path, gr.HTML(visible=False)

    def pick(previous: str | None, event: gr.SelectData) -> tuple[object, object, object]:
        return accept(str(shown[event.index].path), previous)

    outputs = [photo, current, message]
    _listen([photo.upload, photo.input, photo.clear], accept, [photo, current], outputs)
    _listen([gallery.select], pick, [current], outputs)
    return current


def _listen(
    triggers: list[Callable[..., object]],
    handler: Callable[..., object],
    inputs: list[gr.components.Component],
    outputs: list[gr.components.Component],
) -> None:
    gr.on(
        triggers,
        handler,
        inputs,
        outputs,
        show_progress="hidden",
        api_visibility="private",
    )


def _thumbnail(path: Path) -> Image.Image:
    image = Image.fromarray(open_photo(path))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image


def _preview(path: str, photo: Photo) -> str | Photo:
    """What the page shows of a photo: the file itself, or a copy where browsers cannot show it."""
    with Image.open(path) as image:
        return path if image.format in SHOWN_BY_BROWSERS else photo
