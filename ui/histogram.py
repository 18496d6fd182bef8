"""The histogram with cuts that can be dragged; `histogram.js` updates the picture."""

import base64
import html
import json
import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from models import drawing
from models.thresholding import Histogram
from ui import theme
from ui.scripts import script
from ui.texts import mark, raw, say

WIDTH, HEIGHT = 512, 190
BARS = 256  # at most
ANY = "any"  # key of cuts from a link, which belong to the first chart
PREVIEW_SIDE = 640
SPOKEN = ("histogram.moved", "histogram.pointed", "threshold.range")  # by the script
MOST = 2.0**64  # larger than the values of any picture


@dataclass(frozen=True)
class Scale:
    """The values along a chart: all of 8 bits, or those between a picture's extremes.

    Attributes
    ----------
    first
        The value at the chart's left edge.
    step
        How many values, or which fraction of one, a bar counts.
    bars
        How many bars there are, `BARS` at most.
    whole
        Whether all values are integers; the bar of the value v then begins at v and ends at v + 1.
    lowest, highest
        The least and the largest value of the picture, for floats the ends of the bars.
    """

    first: float
    step: float
    bars: int
    whole: bool
    lowest: float
    highest: float

    @property
    def decimals(self) -> int:
        """Number of decimals of the shown values."""
        return 0 if self.whole else max(0, math.ceil(1 - math.log10(self.step)))

    @property
    def limits(self) -> tuple[float, float]:
        """The values at both ends of a chart, between which cuts can be."""
        return self.first, self.first + self.bars * self.step - self.whole

    def place(self, cut: float) -> float:
        """Where a cut is, in bars from the left: after the last value below it."""
        return (cut + self.whole - self.first) / self.step

    def bar(self, gray: NDArray[Any]) -> NDArray[np.uint8]:
        """The bar that counts each pixel."""
        if gray.dtype == np.uint8 and (self.first, self.step) == (0, 1):
            return gray
        places = (gray.astype(np.float64) - self.first) / self.step
        return np.clip(places, 0, self.bars - 1).astype(np.uint8)

    def written(self, value: float) -> str:
        """A value as text, as precise as the bars."""
        return f"{value:.{self.decimals}f}"


def scale_of(counted: Histogram) -> tuple[Scale, NDArray[np.int64]]:
    """The scale for a histogram, and the pixels in each of its bars: `(bars,)`."""
    counts, centers = counted
    width = float(centers[1] - centers[0]) if len(centers) > 1 else 1.0
    low, high = float(centers[0]), float(centers[-1])
    if width == 1 and low.is_integer():
        if low >= 0 and high < BARS:
            scale = Scale(0, 1, BARS, True, low, high)
            return scale, np.pad(counts, (int(low), BARS - 1 - int(high)))
        group = -(-len(counts) // BARS)
        scale = Scale(low, group, -(-len(counts) // group), True, low, high)
    else:
        group = -(-len(counts) // BARS)
        low, high = low - width / 2, high + width / 2
        scale = Scale(low, width * group, -(-len(counts) // group), False, low, high)
    return scale, np.add.reduceat(counts, np.arange(0, len(counts), group))


def build() -> tuple[gr.HTML, gr.HTML, gr.HTML, gr.HTML]:
    """Lay out the histogram.

    Returns
    -------
    The visitor's cuts, with an event when one is released; the part right above the chart; the
    chart; and the part right below it. The cuts are a component's value rather than event data,
    because Gradio drops the data of an event that has to wait.
    """
    with gr.HTML(
        html_template="@children", js_on_load=script("histogram"), elem_id="histogram"
    ) as chosen:
        above = gr.HTML(padding=False, elem_id="method-marks")
        chart = gr.HTML(padding=False)
        under = gr.HTML(padding=False, elem_id="variance")
        gr.HTML(
            f'<div class="tools"><p class="hint">{mark("histogram.invitation")}</p>'
            '<p class="hint readout" role="status"></p>'
            f'<button type="button" class="plain reset" aria-disabled="true">'
            f"{mark('histogram.back')}</button> "
            f'<button type="button" class="plain logarithmic" aria-pressed="false">'
            f"{mark('histogram.logarithmic')}</button></div>",
            padding=False,
        )
    return chosen, above, chart, under


def chosen_cuts(
    chosen: object, key: str, classes: int, limits: tuple[float, float] = (0, BARS - 1)
) -> NDArray[np.float64] | None:
    """The visitor's `classes - 1` cuts, if they belong to the chart with this key or to any chart.

    Cuts beyond the limits of its scale are ignored.
    """
    cuts = valid_cuts(chosen)
    if not isinstance(chosen, dict) or cuts is None or len(cuts) != classes - 1:
        return None
    if cuts[0] < limits[0] or cuts[-1] > limits[1]:
        return None
    return cuts if chosen.get("key") in (key, ANY) else None


def valid_cuts(chosen: object) -> NDArray[np.float64] | None:
    """The rising numbers in what a browser sent, which may be anything."""
    if not isinstance(chosen, dict):
        return None
    cuts = chosen.get("cuts")
    if not isinstance(cuts, list) or not cuts:
        return None
    if not all(isinstance(cut, int | float) and abs(cut) <= MOST for cut in cuts):
        return None
    if not all(lower < upper for lower, upper in pairwise(cuts)):
        return None
    return np.array(cuts, np.float64)


def waiting(chosen: object) -> bool:
    """Whether these cuts came with a link, and no chart has shown them yet."""
    return isinstance(chosen, dict) and chosen.get("key") == ANY


def draw(
    gray: NDArray[Any],
    counted: Histogram,
    cuts: NDArray[np.float64],
    best: NDArray[np.float64],
    key: str = "",
) -> str:
    """The histogram as HTML: bars in the colours of their classes, and a slider for each cut.

    It contains what the script needs: the scale and the pixels of each bar, a small picture whose
    pixels are bar numbers, the best cuts for the reset button, and the key that is sent back with
    the cuts.
    """
    scale, counts = scale_of(counted)
    figure, numbers = _bars(scale, counts, cuts), _numbers(scale)
    if not len(cuts):
        return f"{figure}{numbers}"
    few = scale.bar(drawing.fewer_pixels(gray, PREVIEW_SIDE))
    preview = base64.b64encode(drawing.gray_preview(few, PREVIEW_SIDE)).decode()
    texts = {key.partition(".")[2]: raw(key) for key in SPOKEN}
    described = {**asdict(scale), "decimals": scale.decimals}
    return (
        f'<div class="histogram" data-key="{html.escape(key)}" '
        f'data-scale="{html.escape(json.dumps(described))}" '
        f'data-counts="{json.dumps(counts.tolist())}" '
        f'data-texts="{html.escape(json.dumps(texts))}" '
        f'data-preview="data:image/png;base64,{preview}">'
        f"{figure}{_sliders(scale, cuts, best)}</div>{numbers}"
    )


def _shape(heights: NDArray[Any]) -> str:
    """The outline of the bars, the highest of which fills the chart."""
    tops = HEIGHT * (1 - heights / heights.max())
    step = WIDTH / len(heights)
    return f"M0 {HEIGHT}{''.join(f'V{top:.1f}h{step:.6g}' for top in tops)}V{HEIGHT}z"


def _bars(scale: Scale, counts: NDArray[np.int64], cuts: NDArray[np.float64]) -> str:
    step = WIDTH / scale.bars
    # The colours are behind the bars' shape, so moving a cut only moves the edges of two
    # rectangles.
    edges = [0, *(scale.place(cut) * step for cut in cuts), WIDTH]
    colors = theme.class_colors(len(cuts) + 1) if len(cuts) else [theme.GREY]
    bands = "".join(
        f'<rect class="band" x="{left:.1f}" width="{right - left:.1f}" height="{HEIGHT}" '
        f'fill="{theme.css(color)}"/>'
        for (left, right), color in zip(pairwise(edges), colors, strict=True)
    )
    said = ", ".join(scale.written(cut) for cut in cuts) or say("histogram.none")
    low, high = (scale.written(value) for value in scale.limits)
    alternative = html.escape(say("histogram.alt", cuts=said, low=low, high=high))
    return (
        f'<svg class="chart grey-values" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{alternative}">'
        f'<clipPath id="histogram-bars"><path id="histogram-shape" d="{_shape(counts)}" '
        f'data-other="{_shape(np.log1p(counts))}"/></clipPath>'
        f'<g clip-path="url(#histogram-bars)">{bands}</g>'
        # The darkest class would not show on a dark page, nor the lightest on a light one.
        '<use class="outline" href="#histogram-shape"/>'
        f'<rect class="pointed" width="{step:.1f}" height="{HEIGHT}" visibility="hidden"/>'
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/></svg>'
    )


def _numbers(scale: Scale) -> str:
    """The values below a chart, as HTML: text inside the drawing would shrink with it."""
    low, high = scale.limits
    parts = [0.25, 0.5, 0.75]
    if scale.step * scale.bars < 4 and scale.whole:
        parts = []
    between = "".join(
        f'<span style="left: {part:.0%}">'
        f"{scale.written(scale.first + scale.bars * scale.step * part)}</span>"
        for part in parts
    )
    return (
        f'<div class="numbers" aria-hidden="true"><span class="first">{scale.written(low)}</span>'
        f'{between}<span class="last">{scale.written(high)}</span></div>'
    )


def _sliders(scale: Scale, cuts: NDArray[np.float64], best: NDArray[np.float64]) -> str:
    # Each cut leaves a pixel to the first and the last class, and stays between its neighbours.
    unit = 1.0 if scale.whole else scale.step
    bounds = [scale.lowest - unit, *cuts, scale.highest]
    return "".join(
        f'<span class="cut" role="slider" tabindex="0" '
        f'aria-label="{say("histogram.cut", number=number)}" '
        f'aria-valuemin="{lower + unit:.15g}" aria-valuemax="{upper - unit:.15g}" '
        f'aria-valuenow="{cut:.15g}" aria-valuetext="{scale.written(cut)}" '
        f'data-best="{aim:.15g}" '
        f'style="left: {scale.place(cut) / scale.bars:.3%}"></span>'
        for number, (lower, cut, upper, aim) in enumerate(
            zip(bounds, cuts, bounds[2:], best, strict=False), start=1
        )
    )
