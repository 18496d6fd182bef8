"""The photo that all tabs look at: upload, paste, webcam or example, checked at the door."""

import base64
import csv
import html
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache, wraps
from pathlib import Path
from threading import Lock

import gradio as gr
import numpy as np
from gradio.data_classes import ImageData
from gradio.events import Dependency
from gradio.utils import get_upload_folder
from numpy.typing import NDArray
from PIL import Image

from models import runtime
from models.drawing import Color, reduced
from models.images import Photo, PhotoError, open_file, open_photo
from serving import decoding
from ui import theme
from ui.texts import mark, number, say, say_error

# A link of our own, because Gradio's button would save the file that it knew before the click.
SAVE = """(file) => {
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""

EXAMPLES = Path(__file__).parent.parent / "examples"
THUMBNAIL = 240
# How the files begin that browsers show, of those that can be read here.
SHOWN_BY_BROWSERS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM")

SPOKEN = "spoken"  # class of what screen readers read out when it changes; see accessible.js

# Results and photos are kept for the last few uploads, so that moving a slider decodes nothing.
KEPT = 4
KEPT_BYTES = 200_000_000  # of pixels
# Pixels of what is for looking at; files to keep have the photo's own size. A phone's photo has
# 4,000 or more, and a JPEG is decoded at a quarter of its size in 60 % of the time of a half.
SHOWN_SIDE = 1000

INFERENCE = "inference"  # events that compute share the cores: so many at a time as there are


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
    """A picture of the gallery, with its title for the layout and the credit it asks for."""

    path: Path
    title: str
    credit: str


class Photos:
    """Uploads, each decoded once, however many ask for it at the same moment.

    The last ones are kept, as many as `KEPT_BYTES` hold, but one at least.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, int], Future[tuple[Photo, tuple[int, int]]]] = (
            OrderedDict()
        )

    def open(self, path: str, side: int) -> tuple[Photo, tuple[int, int]]:
        """As `decoding.open_preview`, and not to be written to."""
        key = path, side
        with self._lock:
            first = key not in self._kept
            opened = self._kept.setdefault(key, Future())
            self._kept.move_to_end(key)
        if first:
            try:
                photo, size = decoding.open_preview(path, side)
            except BaseException as error:  # the others wait for it
                with self._lock:
                    del self._kept[key]
                opened.set_exception(error)
                raise
            photo.setflags(write=False)
            opened.set_result((photo, size))
            self._forget()
        return opened.result()

    def _forget(self) -> None:
        with self._lock:
            done = {key: each for key, each in self._kept.items() if each.done()}
            size = sum(each.result()[0].nbytes for each in done.values())
            for key, each in list(done.items())[:-1]:
                if size <= KEPT_BYTES:
                    return
                size -= each.result()[0].nbytes
                del self._kept[key]


_photos = Photos()


def read(path: str) -> Photo:
    """Read an upload in all detail; Gradio stores each under a path that depends on its content.

    Raises
    ------
    PhotoError
        When it cannot be used, or was deleted because it lay unused for long.
    """
    photo, size = _photos.open(path, SHOWN_SIDE)
    return photo if photo.shape[:2] == size else _photos.open(path, 0)[0]


def size(path: str) -> tuple[int, int]:
    """Height and width of an upload in all detail; raises what `read` does."""
    return _photos.open(path, SHOWN_SIDE)[1]


@lru_cache(maxsize=KEPT)
def shown(path: str) -> Photo:
    """An upload at the size to look at, reduced once for all tabs; raises what `read` does.

    It has more detail than a network takes in.
    """
    photo = to_look_at(_photos.open(path, SHOWN_SIDE)[0])
    photo.setflags(write=False)
    return photo


def to_look_at(photo: Photo) -> Photo:
    """The photo, reduced where it is clearly larger than need be: a little would only blur it."""
    return reduced(photo, SHOWN_SIDE) if max(photo.shape) > 1.1 * SHOWN_SIDE else photo


def examples() -> list[Example]:
    """The pictures of `examples/` in the order of its CREDITS.csv."""
    with (EXAMPLES / "CREDITS.csv").open(newline="") as file:
        return [
            Example(
                EXAMPLES / row["file"],
                mark(f"example.{Path(row['file']).stem}"),
                f"{row['title']}: {row['author']}, {row['licence']}, {row['source']}"
                + (f" ({row['changes']})" if row["changes"] else ""),
            )
            for row in csv.DictReader(file)
        ]


def notice(sentence: str, wrong: bool = False) -> str:
    """A sentence for the visitor, as HTML."""
    kind = 'class="notice-text wrong" role="alert"' if wrong else 'class="notice-text"'
    return f"<div {kind}>{html.escape(sentence)}</div>"


def took(key: str, seconds: float, device: str, **values: object) -> str:
    """What was found, how long that took and where it was computed, as HTML.

    `key` is that of a text with places for time and device, and for the values.
    """
    milliseconds = seconds * 1000
    time = number(milliseconds, ".1f" if milliseconds < 10 else ".0f")
    sentence = say(key, time=time, device=device, **values)
    if device == "CPU" and runtime.gpu_failed.is_set():
        sentence += f". {say('page.gpu_failed')}"
    return f'<p class="took">{html.escape(sentence)}</p>'


def swatch(color: Color) -> str:
    """A small square of a colour, as HTML."""
    return f'<span class="swatch" style="background: {theme.css(color)}"></span>'


def figure(content: bytes, kind: str, alternative: str, caption: str) -> str:
    """A small picture (kind "png" or "jpeg") with its caption, which is HTML, as HTML."""
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img src="data:image/{kind};base64,{data}" alt="{html.escape(alternative)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def placeholder(sentence: str) -> str:
    """What stands in an empty picture input, in the form that Gradio takes apart."""
    return f"{sentence}\n- {mark('photo.or')} -\n{mark('photo.click')}"


def credits_list(shown: list[Example]) -> str:
    """The credits as HTML. They are quoted as they are, in English."""
    items = "".join(f"<li>{html.escape(example.credit)}</li>" for example in shown)
    return f'<ul lang="en">{items}</ul>'


def result_folder() -> Path:
    """A new folder whose name cannot be guessed, where Gradio serves files and deletes them."""
    folder = Path(get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder


def result_file(picture: Image.Image, name: str) -> str:
    """Write a result as PNG into a folder of its own; return its path.

    The lightest compression takes a quarter of the usual time and makes the file a third larger.
    """
    file = result_folder() / f"{name}.png"
    picture.save(file, compress_level=1)
    return str(file)


def shown_file(picture: NDArray[np.uint8]) -> str:
    """Write a picture to look at into a folder of its own; return its path.

    JPEG, and WebP for what is transparent: half as long again to write as PNG with its lightest
    compression, and a quarter as large; a third of the time of Gradio's own WebP.
    """
    image = Image.fromarray(picture)
    if image.mode == "RGBA":
        file = result_folder() / "shown.webp"
        image.save(file, quality=80, method=0)
    else:
        file = result_folder() / "shown.jpg"
        image.save(file, quality=85)
    return str(file)


def result_text(text: str, name: str) -> str:
    """Write a result as a text file into a folder of its own; return its path."""
    file = result_folder() / name
    file.write_text(text, newline="")
    return str(file)


def followed(control: gr.Component) -> gr.State:
    """A state that changes with a control's value, for several answers to follow.

    Where they follow the control's own change and one is asked for again before it has come, the
    page (Gradio 6.31) asks for all of them again when it comes, and so on without end. The state
    begins with None, which is all that the browser ever knows of one.
    """
    state = gr.State(None)
    control.change(
        lambda value: value, control, state, show_progress="hidden", api_visibility="private"
    )
    return state


def on_click(
    button: gr.Button,
    write: Callable[..., str],
    inputs: Sequence[gr.Component],
    js: str | None = None,
) -> tuple[Dependency, gr.File]:
    """Let a button make a file, which costs nothing as long as nobody wants it.

    Parameters
    ----------
    button
        It can be clicked while there is a photo.
    write
        Makes the file of the inputs' values, the first of which is a photo's path.
    inputs
        What it is made of.
    js
        What the browser does at once.

    Returns
    -------
    The event, and where the file comes.
    """

    @wraps(write)
    def answer(path: str | None, *values: object) -> str:
        if path is None:
            raise gr.Error(say("photo.missing"), print_exception=False)
        try:
            return write(path, *values)
        except PhotoError as error:  # it may have been deleted since
            raise gr.Error(say_error(error), print_exception=False) from None

    file = gr.File(visible="hidden")
    event = button.click(
        answer, inputs, file, js=js, concurrency_id=INFERENCE, api_visibility="private"
    )
    return event, file


def save_on_click(
    button: gr.Button, write: Callable[..., str], inputs: Sequence[gr.Component]
) -> None:
    """Let a button save a file that is made only then, as by `on_click`."""
    event, file = on_click(button, write, inputs)
    event.success(None, file, js=SAVE)


def build() -> tuple[PhotoInput, gr.HTML]:
    """Lay out the photo input and the examples.

    Returns
    -------
    The input, and where is said what is wrong with a photo, for `keep_usable`.
    """
    photo = PhotoInput(
        label=mark("photo.label"),
        sources=["upload", "webcam", "clipboard"],
        format="png",
        height=340,
        placeholder=placeholder(mark("photo.drop")),
        buttons=["fullscreen"],
        alt_text=mark("photo.alt"),
        elem_id="photo",
    )
    message = gr.HTML(visible=False, padding=False, elem_id="message")
    shown = examples()
    gr.HTML(f'<p class="hint">{mark("examples.try")}</p>', padding=False, elem_id="examples-try")
    gallery = gr.Gallery(
        value=[(_thumbnail(example.path), example.title) for example in shown],
        label=mark("examples.label"),
        show_label=False,
        columns=4,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )

    def pick(event: gr.SelectData) -> str:
        return str(shown[event.index].path)

    gallery.select(pick, None, photo, show_progress="hidden", api_visibility="private")
    return photo, message


def build_credits() -> None:
    """Lay out who made the examples."""
    with gr.Accordion(mark("examples.credits"), open=False, elem_classes="credits"):
        gr.HTML(credits_list(examples()), padding=False)


def keep_usable(
    photo: PhotoInput,
    accepted: gr.State,
    message: gr.HTML,
    answer: Callable[[str | None], Sequence[object]] = lambda path: (),
    answers: Sequence[gr.Component] = (),
) -> None:
    """Keep the path of the picture that was accepted last, and answer it in the same event.

    A picture that cannot be used is replaced by the one before.

    Parameters
    ----------
    photo
        Where pictures come.
    accepted
        The path, or None.
    message
        Says what is wrong with a picture.
    answer, answers
        What a visitor waits for most, and where it is shown. It has no event of its own, because
        the browser and the server take their time for each.
    """

    def take(path: str | None, before: str | None) -> tuple[object, ...]:
        kept = _accept(path, before)
        changed = kept[1] is None or isinstance(kept[1], str)
        return *kept, *(answer(kept[1]) if changed else [gr.skip()] * len(answers))

    take.__name__ = answer.__name__ if answers else _accept.__name__  # for logs and metrics
    # "change" alone comes with the new value for uploads, the webcam, the clipboard and removal.
    # Where one photo replaces another it comes twice, both times with the new one; the path in
    # `arrived` changes once.
    arrived = gr.Textbox(visible="hidden")
    photo.change(None, photo, arrived, js="(photo) => photo?.path ?? ''", api_visibility="private")
    arrived.change(
        take,
        [photo, accepted],
        [photo, accepted, message, *answers],
        show_progress="minimal" if answers else "hidden",
        show_progress_on=list(answers) or None,
        trigger_mode="always_last",
        concurrency_id=INFERENCE,
        api_visibility="private",
    )


def _accept(path: str | None, before: str | None) -> tuple[object, object, object]:
    if path == before:  # the echo of what was set below
        return gr.skip(), gr.skip(), gr.skip()
    hidden = gr.HTML(visible=False)
    if path is None:
        return gr.skip(), None, hidden
    try:
        shown(path)
        if not _browser_can_show(path):
            return read(path), gr.skip(), hidden  # comes again as a PNG, and is then accepted
    except PhotoError as error:
        # The photo before comes back; its results never left.
        return before, gr.skip(), gr.HTML(notice(say_error(error), wrong=True), visible=True)
    return gr.skip(), path, hidden


def _thumbnail(path: Path) -> Image.Image:
    image = Image.fromarray(open_photo(path))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image


def _browser_can_show(path: str) -> bool:
    with open_file(path) as file:  # looked at without a decoder, which may be harmed by it
        beginning = file.read(12)
    return beginning.startswith(SHOWN_BY_BROWSERS) or beginning[4:] == b"ftypavif"
