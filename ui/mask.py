"""The Mask tab: what a mask model finds, in colour over the photo."""

import html
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from threading import Lock

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from models import drawing, measuring, segmentation, store
from models.images import PhotoError
from ui import photos, theme
from ui.texts import mark, mark_name, number, say, say_error, say_name


@dataclass(frozen=True)
class Instances:
    """How many objects were found, their outlines at the size to look at, and measurements."""

    count: int
    outlines: NDArray[np.bool_]
    objects: measuring.Objects


@dataclass(frozen=True)
class Found:
    """What the tabs keep of a segmentation.

    `whole` is for the photo in all detail, `shown` for the photo at the size to look at.
    `instances` is there for models whose subject comes in several pieces, `regions` (0 background,
    1 to n, at the size to look at) for the others.
    """

    whole: segmentation.Segmentation
    shown: segmentation.Segmentation
    instances: Instances | None
    regions: NDArray[np.uint8] | None
    seconds: float
    device: str

    # The Pets tab, which comes first, needs none of these.

    @property
    def shares(self) -> dict[str, float]:
        """Part of the photo that each class covers, in the order of the mask's values 1, 2, 3."""
        return self.shown.shares

    @cached_property
    def foreground(self) -> NDArray[np.uint8]:
        """`Segmentation.foreground` at the size to look at, from 0 to 255."""
        return np.round(self.shown.foreground() * 255).astype(np.uint8)


def find(path: str, model: str) -> Found:
    """Segment a photo once; later calls for the same upload and model give the same result."""
    # Several tabs ask at the same moment: the others wait and take the first's result.
    with _LOCK:
        return _segment(path, model)


_LOCK = Lock()


@lru_cache(maxsize=photos.KEPT)
def _segment(path: str, model: str) -> Found:
    segmenter = segmentation.load(model)
    # Objects are counted and measured in pixels of the photo; an outline needs no such detail.
    photo = photos.read(path) if segmenter.card.instances else photos.shown(path)
    start = time.perf_counter()
    result = segmenter.predict(photo)
    shown = result.resized(*photos.shown(path).shape[:2])
    instances = regions = None
    if segmenter.card.instances:
        numbers = result.instances()
        seconds = time.perf_counter() - start
        small = segmentation.scale_numbers(numbers, *shown.shape)
        outlines = drawing.instance_outlines(small)
        instances = Instances(int(numbers.max()), outlines, measuring.measure(numbers))
    else:
        seconds = time.perf_counter() - start
        regions = result.regions()
    whole = result.resized(*photos.size(path))
    return Found(whole, shown, instances, regions, seconds, segmenter.device)


def build(current: gr.State) -> tuple[dict[str, gr.Component], gr.State]:
    """Lay out the tab; it follows the current photo and its own controls.

    Returns
    -------
    The controls: the choice of the mask model, the opacity, and whether the border is shown; and
    what changes with the choice.
    """
    default = store.default("segmentation")
    cards = sorted(store.cards("segmentation"), key=lambda card: card.name != default)
    model = gr.Radio(
        [(mark_name("model", card.title), card.name) for card in cards],
        value=default,
        label=mark("mask.model"),
        visible=len(cards) > 1,
        elem_id="mask-model",
    )
    with gr.Row():
        opacity = gr.Slider(
            0, 1, value=0.5, step=0.05, label=mark("mask.opacity"), elem_id="opacity"
        )
        border = gr.Checkbox(
            value=True,
            label=mark("mask.border"),
            info=mark("mask.border_info"),
            elem_id="border",
        )
    message = gr.HTML(photos.notice(mark("mask.hint")), padding=False, elem_classes=photos.SPOKEN)
    with gr.Row():
        with gr.Column(min_width=280):
            outlined = gr.Image(
                label=mark("mask.picture"),
                format="jpeg",
                interactive=False,
                buttons=["download", "fullscreen"],
                alt_text=mark("mask.picture_alt"),
                elem_id="overlay",
            )
        with gr.Column(min_width=280):
            legend = gr.HTML(padding=False, elem_id="legend")
            download = gr.Button(
                mark("mask.download"), interactive=False, size="sm", elem_id="mask-download"
            )
    chosen = photos.followed(model)
    gr.on(
        [current.change, chosen.change, opacity.change, border.change],
        show_overlay,
        [current, model, opacity, border],
        [message, outlined, legend, download],
        show_progress="minimal",
        trigger_mode="always_last",
        concurrency_id=photos.INFERENCE,
        api_visibility="private",
    )
    photos.save_on_click(download, write_mask, [current, model])
    return {"model": model, "opacity": opacity, "border": border}, chosen


def show_overlay(
    path: str | None, model: str, opacity: float, border: bool
) -> tuple[str, drawing.Photo | None, str, object]:
    """Message, photo with the classes laid over it, legend, and button to download the mask."""
    nothing = gr.Button(interactive=False)
    if path is None:
        return photos.notice(say("mask.hint")), None, "", nothing
    try:
        photo, found = photos.shown(path), find(path, model)
    except PhotoError as error:
        return photos.notice(say_error(error), wrong=True), None, "", nothing
    colors = {
        value: color
        for value, (name, color) in enumerate(theme.mask_colors(found.shares).items(), start=1)
        if border or name != "border"
    }
    picture = drawing.overlay(photo, found.shown.mask, colors, opacity)
    if border and found.instances:
        picture = drawing.paint(picture, found.instances.outlines, theme.OUTLINE)
    took = photos.took("mask.took", found.seconds, found.device)
    return took, picture, legend_table(found.shares, found.instances), gr.Button(interactive=True)


def write_mask(path: str, model: str) -> str:
    """The mask at the photo's own size, as a file."""
    whole = find(path, model).whole
    colors = dict(enumerate(theme.mask_colors(whole.classes).values(), start=1))
    return photos.result_file(drawing.indexed_picture(whole.mask, colors), "mask")


def legend_table(shares: Mapping[str, float], instances: Instances | None) -> str:
    """The classes with their colours and shares of the picture, and the count, as HTML."""
    rows = "".join(
        f"<tr><td>{photos.swatch(color)}{html.escape(say_name('class', name))}</td>"
        f"<td>{number(shares[name], '.1%')}</td></tr>"
        for name, color in theme.mask_colors(shares).items()
    )
    table = (
        f'<table class="facts"><thead><tr><th>{say("mask.class")}</th><th>{say("mask.area")}</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )
    if instances is None:
        return table
    count = photos.swatch(theme.OUTLINE) + say("mask.objects", count=instances.count)
    return f'<p class="count">{count}</p>{table}'
