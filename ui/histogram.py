"""The histogram with its cuts, which can be dragged; `histogram.js` lets the picture follow."""

import base64
import html
import json
from itertools import pairwise
from pathlib import Path

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from models import drawing
from models.thresholding import Histogram
from ui import theme
from ui.texts import raw, say

SCRIPT = Path(__file__).with_suffix(".js")
WIDTH, HEIGHT = 512, 190
AXIS = 34  # room below the chart for the sliders' knobs and the numbers
STEP = WIDTH / 256
ANY = "any"  # key of cuts that come with a link, for the first chart that is drawn
PREVIEW_SIDE = 640
SPOKEN = ("histogram.moved", "histogram.pointed", "threshold.range")  # by the script


def build() -> tuple[gr.HTML, gr.HTML]:
    """Lay out the histogram.

    Returns
    -------
    The cuts that the visitor chose, with an event for their release, and the chart. The cuts are a
    value and not the event's data, because Gradio drops the data of an event that has to wait.
    """
    script = SCRIPT.read_text()
    with gr.HTML(html_template="@children", js_on_load=script, elem_id="histogram") as chosen:
        chart = gr.HTML(padding=False)
    return chosen, chart


def chosen_cuts(chosen: object, key: str, classes: int) -> NDArray[np.float64] | None:
    """The visitor's `classes - 1` cuts, if they are for the chart with this key or for any."""
    cuts = valid_cuts(chosen)
    if not isinstance(chosen, dict) or cuts is None or len(cuts) != classes - 1:
        return None
    return cuts if chosen.get("key") in (key, ANY) else None


def valid_cuts(chosen: object) -> NDArray[np.float64] | None:
    """The cuts in what came from a browser, which may be anything: rising and in [0, 255]."""
    if not isinstance(chosen, dict):
        return None
    cuts = chosen.get("cuts")
    if not isinstance(cuts, list):
        return None
    if not all(isinstance(cut, int | float) and 0 <= cut <= 255 for cut in cuts):
        return None
    if not all(lower < upper for lower, upper in pairwise(cuts)):
        return None
    return np.array(cuts, np.float64)


def waiting(chosen: object) -> bool:
    """Whether these are cuts that came with a link, and no chart has shown them yet."""
    return isinstance(chosen, dict) and chosen.get("key") == ANY


def draw(
    gray: NDArray[np.uint8],
    counted: Histogram,
    cuts: NDArray[np.float64],
    best: NDArray[np.float64],
    key: str = "",
) -> str:
    """The histogram as HTML: bars in the colours of their classes, and a slider for each cut.

    It carries what the script needs: the pixels at each grey value, a small grey picture, the best
    cuts to go back to, and the key that comes back with the cuts.
    """
    counts = _by_value(counted)
    figure = _bars(counts, cuts)
    if not len(cuts):
        return figure
    preview = base64.b64encode(drawing.gray_preview(gray, PREVIEW_SIDE)).decode()
    texts = {key.partition(".")[2]: raw(key) for key in SPOKEN}
    return (
        f'<div class="histogram" data-key="{html.escape(key)}" '
        f'data-counts="{json.dumps(counts.tolist())}" '
        f'data-texts="{html.escape(json.dumps(texts))}" '
        f'data-preview="data:image/png;base64,{preview}">'
        f"{figure}{_sliders(counts, cuts, best)}</div>"
        f'<p class="hint">{html.escape(say("histogram.invitation"))}</p>'
        '<p class="hint readout" role="status"></p><button type="button" class="reset"'
        f"{' disabled' * np.array_equal(cuts, best)}>{html.escape(say('histogram.back'))}</button>"
    )


def _by_value(counted: Histogram) -> NDArray[np.int64]:
    """How often each of the values 0 to 255 occurs: `(256,)`."""
    counts = np.zeros(256, np.int64)
    counts[counted.centers.astype(int)] = counted.counts
    return counts


def _bars(counts: NDArray[np.int64], cuts: NDArray[np.float64]) -> str:
    tops = HEIGHT * (1 - counts / counts.max())
    steps = "".join(f"V{top:.1f}h{STEP:.0f}" for top in tops)
    shape = f"M0 {HEIGHT}{steps}V{HEIGHT}z"
    # The colours lie behind the bars' shape: moving a cut only moves the edges of two rectangles.
    edges = [0, *((cuts + 1) * STEP), WIDTH]
    colors = theme.class_colors(len(cuts) + 1) if len(cuts) else [theme.GREY]
    bands = "".join(
        f'<rect class="band" x="{left:.0f}" width="{right - left:.0f}" height="{HEIGHT}" '
        f'fill="{theme.css(color)}"/>'
        for (left, right), color in zip(pairwise(edges), colors, strict=True)
    )
    numbers = "".join(
        f'<text x="{x:.0f}" y="{HEIGHT + AXIS - 4}" text-anchor="{anchor}">{value}</text>'
        for value, x, anchor in (
            (0, 0, "start"),
            *((value, value * STEP, "middle") for value in (64, 128, 192)),
            (255, WIDTH, "end"),
        )
    )
    said = ", ".join(f"{cut:.0f}" for cut in cuts) or say("histogram.none")
    alternative = html.escape(say("histogram.alt", cuts=said))
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT + AXIS}" role="img" '
        f'aria-label="{alternative}">'
        f'<clipPath id="histogram-bars"><path id="histogram-shape" d="{shape}"/></clipPath>'
        f'<g clip-path="url(#histogram-bars)">{bands}</g>'
        # The darkest class would not show on a dark page, nor the lightest on a light one.
        '<use class="outline" href="#histogram-shape"/>'
        f'<rect class="pointed" width="{STEP:.0f}" height="{HEIGHT}" visibility="hidden"/>'
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>{numbers}</svg>'
    )


def _sliders(
    counts: NDArray[np.int64], cuts: NDArray[np.float64], best: NDArray[np.float64]
) -> str:
    darkest, *_, brightest = np.flatnonzero(counts)
    # Each cut leaves the first and the last class a pixel, and stays between its neighbours.
    bounds = [darkest - 1, *cuts, brightest]
    return "".join(
        f'<span class="cut" role="slider" tabindex="0" '
        f'aria-label="{say("histogram.cut", number=number)}" '
        f'aria-valuemin="{lower + 1:.0f}" aria-valuemax="{upper - 1:.0f}" '
        f'aria-valuenow="{cut:.0f}" data-best="{aim:.0f}" '
        f'style="left: {(cut + 1) / 256:.3%}; height: {HEIGHT / (HEIGHT + AXIS):.2%}"></span>'
        for number, (lower, cut, upper, aim) in enumerate(
            zip(bounds, cuts, bounds[2:], best, strict=False), start=1
        )
    )
