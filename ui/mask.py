"""The Mask tab: the pet's outline over the photo, and the pet cut out."""

import time
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import drawing, segmentation
from models.images import PhotoError
from ui import photos, theme

HINT = "Choose a photo to see where the pet is."


@dataclass(frozen=True)
class PetMask:
    """What the tab keeps of a segmentation: small arrays instead of all probabilities.

    `shares` names the classes in the order of the mask's values 1, 2, 3.
    """

    mask: NDArray[np.uint8]
    foreground: NDArray[np.uint8]
    shares: dict[str, float]
    seconds: float
    device: str


def pet_mask(path: str) -> PetMask:
    """Segment a photo once; later calls for the same upload give the same result."""
    # Overlay and cut-out ask at the same moment: the second waits and takes the first's result.
    with _LOCK:
        return _segment(path)


_LOCK = Lock()


@lru_cache(maxsize=photos.KEPT)
def _segment(path: str) -> PetMask:
    photo = photos.read(path)
    segmenter = segmentation.load()
    start = time.perf_counter()
    result = segmenter.predict(photo)
    mask = result.mask
    seconds = time.perf_counter() - start
    foreground = np.round(result.foreground() * 255).astype(np.uint8)
    return PetMask(mask, foreground, result.shares, seconds, segmenter.device)


def build(current: gr.State) -> None:
    """Lay out the tab; it follows the current photo and its own controls."""
    with gr.Row():
        opacity = gr.Slider(0, 1, value=0.5, step=0.05, label="Opacity", elem_id="opacity")
        border = gr.Checkbox(
            value=True,
            label="Show the border",
            info="The thin band in which the outline runs",
            elem_id="border",
        )
    message = gr.HTML(photos.notice(HINT), padding=False)
    with gr.Row():
        with gr.Column(min_width=280):
            outlined = gr.Image(
                label="Pet, border and background",
                format="jpeg",
                interactive=False,
                buttons=["download", "fullscreen"],
                alt_text="The photo with the pet, its border and the background in colour",
                elem_id="overlay",
            )
            legend = gr.HTML(padding=False, elem_id="legend")
        with gr.Column(min_width=280):
            alone = gr.Image(
                label="The pet cut out",
                format="png",
                image_mode="RGBA",
                interactive=False,
                buttons=["download", "fullscreen"],
                alt_text="The pet on a transparent background",
                elem_id="cut-out",
                elem_classes="checkered",
            )
            download = gr.DownloadButton(
                "Download the mask (PNG)", interactive=False, size="sm", elem_id="mask-download"
            )
    gr.on(
        [current.change, opacity.change, border.change],
        show_overlay,
        [current, opacity, border],
        [message, outlined, legend],
        show_progress="minimal",
        trigger_mode="always_last",
        api_visibility="private",
    )
    current.change(
        show_cut_out,
        [current],
        [alone, download],
        show_progress="minimal",
        api_visibility="private",
    )


def show_overlay(
    path: str | None, opacity: float, border: bool
) -> tuple[str, drawing.Photo | None, str]:
    """Message, photo with the classes laid over it, and legend."""
    if path is None:
        return photos.notice(HINT), None, ""
    try:
        photo, result = photos.read(path), pet_mask(path)
    except PhotoError as error:
        return photos.notice(str(error), wrong=True), None, ""
    colors = {
        value: theme.MASK_COLORS[name]
        for value, name in enumerate(result.shares, start=1)
        if border or name != "border"
    }
    picture = drawing.overlay(photo, result.mask, colors, opacity)
    took = photos.took(result.seconds, result.device, "Outline found")
    return took, picture, legend_table(result.shares)


def show_cut_out(path: str | None) -> tuple[str | None, object]:
    """The pet on transparent ground, and the mask as a file."""
    nothing = gr.DownloadButton(interactive=False)
    if path is None:
        return None, nothing
    try:
        photo, result = photos.read(path), pet_mask(path)
    except PhotoError:  # the tab's message says it
        return None, nothing
    colors = {i: theme.MASK_COLORS[name] for i, name in enumerate(result.shares, start=1)}
    file = photos.result_file(drawing.indexed_picture(result.mask, colors), "pet-mask")
    picture = Image.fromarray(drawing.cut_out(photo, result.foreground))
    return photos.result_file(picture, "pet"), gr.DownloadButton(value=file, interactive=True)


def legend_table(shares: dict[str, float]) -> str:
    """The classes with their colours and shares of the picture, as an HTML table."""
    rows = "".join(
        f"<tr><td>{photos.swatch(theme.MASK_COLORS[name])}{name}</td><td>{share:.1%}</td></tr>"
        for name, share in shares.items()
    )
    return (
        '<table class="facts"><thead><tr><th>Class</th><th>Area</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
