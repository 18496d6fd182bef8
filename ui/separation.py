"""How well each single cut separates a picture's pixels, as a curve under the histogram."""

import html

import numpy as np

from models import thresholding
from models.thresholding import Histogram
from ui import histogram
from ui.texts import number, say

HEIGHT = 70


def draw(counted: Histogram) -> str:
    """The between-class variance of each cut, as a share of the best possible, as HTML.

    It shares the histogram's horizontal axis, and has its peak at Otsu's cut. The script moves the
    second dot with the visitor's cut, if there is only one.
    """
    cuts, variance = thresholding.between_class_variance(counted)
    if not len(cuts) or not variance.any():
        return ""
    scale, _ = histogram.scale_of(counted)
    best, width = int(variance.argmax()), histogram.WIDTH
    every = -(-len(cuts) // width)  # more points than pixels would show nothing new
    shown = np.unique([*range(0, len(cuts), every), best])
    places = [width * scale.place(cut) / scale.bars for cut in cuts[shown]]
    heights = HEIGHT * (1 - variance[shown] / variance[best])
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(places, heights, strict=True))
    x = width * scale.place(cuts[best]) / scale.bars
    said = html.escape(say("threshold.curve", cut=scale.written(cuts[best])))
    return (
        f'<figure class="curve"><svg class="chart" viewBox="0 -5 {width} {HEIGHT + 6}" role="img" '
        f'aria-label="{said}"><line class="axis" x1="0" x2="{width}" y1="0" y2="0"/>'
        f'<line class="axis" x1="0" x2="{width}" y1="{HEIGHT}" y2="{HEIGHT}"/>'
        f'<polyline points="{points}"/>'
        f'<line class="best" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}"/>'
        f'<circle class="best" cx="{x:.1f}" cy="0" r="4"/>'
        '<circle class="own" r="5" visibility="hidden"/></svg>'
        f'<span aria-hidden="true" class="{"right" if x < width / 4 else "left"}">'
        f"{number(1, '.0%')}</span>"
        f'<figcaption class="hint">{said}.</figcaption></figure>'
    )
