"""The Cut out tab: the pet alone, with a soft edge, on a background of the visitor's choice."""

import html
import json
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from models import matting, segmentation, store
from models.images import Photo, PhotoError
from ui import mask, photos
from ui.texts import mark, say, say_error

Ground = Literal["transparent", "color", "blurred", "own"]

DESCRIBE = f"""() => {{
  const texts = ["{mark("cutout.before")}", "{mark("cutout.after")}"];
  document.querySelectorAll("#cut-out img").forEach((image, i) => {{ image.alt = texts[i]; }});
}}"""

# Browsers allow copying only in answer to a click, so it begins at once and the file comes later.
START_COPYING = """(...inputs) => {
  const file = new Promise((resolve) => { window.cutOutFile = resolve; });
  const content = async () => (await fetch((await file).url)).blob();
  const copy = async () =>
    navigator.clipboard.write([new ClipboardItem({"image/png": content()})]);
  window.cutOutCopied = copy().then(() => true, () => false);
  return inputs;
}"""
FINISH_COPYING = f"""async (file) => {{
  window.cutOutFile(file);
  return (await window.cutOutCopied)
    ? {json.dumps(photos.notice(mark("cutout.copied")))}
    : {json.dumps(photos.notice(mark("cutout.not_copied"), wrong=True))};
}}"""


@dataclass(frozen=True)
class Reduced:
    """A reduced photo, its cut-out as `(height, width, 4)` RGBA, and how long that took."""

    photo: Photo
    cut: NDArray[np.uint8]
    seconds: float


class ColorError(ValueError):
    """A colour that cannot be read."""


def build(current: gr.State) -> dict[str, gr.Component]:
    """Lay out the tab; it follows the current photo and its own controls.

    Returns
    -------
    The controls that a link can set.
    """
    message = gr.HTML(
        photos.notice(mark("cutout.hint")),
        padding=False,
        elem_id="cut-out-message",
        elem_classes=photos.SPOKEN,
    )
    slider = gr.ImageSlider(
        show_label=False,  # it would lie over the photo
        interactive=False,
        image_mode=None,
        buttons=["fullscreen"],
        elem_id="cut-out",
        elem_classes="checkered",
    )
    ground = gr.Radio(
        [(mark(f"cutout.ground.{ground}"), ground) for ground in get_args(Ground)],
        value="transparent",
        label=mark("cutout.ground"),
        elem_id="ground",
    )
    color = gr.ColorPicker(
        "#2f7fd1", label=mark("cutout.color"), visible=False, elem_id="ground-color"
    )
    own = gr.State(None)
    picture = photos.PhotoInput(
        label=mark("cutout.own"),
        sources=["upload", "clipboard"],
        format="png",
        height=220,
        placeholder=photos.placeholder(mark("cutout.own_drop")),
        buttons=[],
        visible=False,
        alt_text=mark("cutout.own_alt"),
        elem_id="ground-picture",
    )
    own_message = gr.HTML(visible=False, padding=False, elem_id="ground-message")
    with gr.Row():
        download = gr.Button(
            mark("cutout.download"), interactive=False, size="md", elem_id="cut-out-download"
        )
        copy = gr.Button(mark("cutout.copy"), interactive=False, size="md", elem_id="cut-out-copy")
    said = gr.HTML(padding=False, elem_id="cut-out-copied", elem_classes=photos.SPOKEN)

    photos.keep_usable(picture, own, own_message)
    other_ground = photos.followed(ground)
    other_ground.change(
        lambda ground: (gr.update(visible=ground == "color"), gr.update(visible=ground == "own")),
        ground,
        [color, picture],
        show_progress="hidden",
        api_visibility="private",
    )
    choice = [current, ground, color, own]
    gr.on(
        [current.change, other_ground.change, color.change, own.change],
        show,
        choice,
        [message, slider, download, copy, said],
        show_progress="minimal",
        trigger_mode="always_last",
        concurrency_id=photos.INFERENCE,
        api_visibility="private",
    )
    slider.change(None, js=DESCRIBE)
    photos.save_on_click(download, export, choice)
    copied, file = photos.on_click(copy, export, choice, js=START_COPYING)
    copied.success(None, file, said, js=FINISH_COPYING)
    return {"ground": ground, "color": color}


def show(
    path: str | None, ground: Ground, color: str, own: str | None
) -> tuple[str, object, object, object, str]:
    """Message, the reduced photo beside the reduced result, both buttons, and nothing copied."""
    off, on = gr.Button(interactive=False), gr.Button(interactive=True)
    if path is None:
        return photos.notice(say("cutout.hint")), None, off, off, ""
    try:
        reduced = _reduced(path)
        if not (reduced.cut[:, :, 3] > 127).any():
            return photos.notice(say("cutout.none")), None, off, off, ""
        result = compose(reduced.photo, reduced.cut, ground, color, own)
    except (PhotoError, ColorError) as error:
        return photos.notice(_sentence(error), wrong=True), gr.skip(), off, off, ""
    message = photos.took("cutout.took", reduced.seconds, "CPU")
    if ground == "own" and own is None:
        message = photos.notice(say("cutout.no_picture"))
    pull = html.escape(say("cutout.pull"))
    sides = photos.shown_file(reduced.photo), photos.shown_file(result)
    return f'{message}<p class="hint">{pull}</p>', sides, on, on, ""


def export(path: str, ground: Ground, color: str, own: str | None) -> str:
    """The result at the photo's own size, as a file."""
    try:
        photo = photos.read(path)
        cut = _cut(path, photo)
        return photos.result_file(
            Image.fromarray(compose(photo, cut, ground, color, own)), "cut-out"
        )
    except ColorError as error:
        raise gr.Error(_sentence(error), print_exception=False) from None


def compose(
    photo: Photo, cut: NDArray[np.uint8], ground: Ground, color: str, own: str | None
) -> NDArray[np.uint8]:
    """The cut-out on its background: RGB, or RGBA where that is transparent.

    Raises
    ------
    PhotoError
        When the visitor's own picture is no longer there.
    ColorError
        When the colour, which can be typed, is none.
    """
    if ground == "color":
        try:
            red, green, blue, *_ = ImageColor.getrgb(color)
        except ValueError:
            raise ColorError(color) from None
        return matting.lay_over(cut, (red, green, blue))
    if ground == "blurred":
        return matting.lay_over(cut, matting.blur_background(photo, cut[:, :, 3]))
    if ground == "own" and own is not None:
        return matting.lay_over(cut, matting.cover(photos.read(own), *photo.shape[:2]))
    return cut


def _sentence(error: PhotoError | ColorError) -> str:
    return say_error(error) if isinstance(error, PhotoError) else say("cutout.wrong_color")


@lru_cache(maxsize=photos.KEPT)
def _reduced(path: str) -> Reduced:
    """The cut-out at the size to look at, made once, so that a new background comes quickly."""
    photo = photos.shown(path)
    seconds = mask.find(path, store.default("segmentation")).seconds
    start = time.perf_counter()
    cut = _cut(path, photo)
    return Reduced(photo, cut, seconds + time.perf_counter() - start)


def _cut(path: str, photo: Photo) -> NDArray[np.uint8]:
    """The pet of an upload, cut out of a copy of any size."""
    model = store.default("segmentation")
    spec = segmentation.load(model).card.input
    return matting.extract(photo, mask.find(path, model).foreground, spec)
