"""The Threshold tab: the photo's brightness classes, its histogram, and all classic methods."""

import base64
import html
import math
import time
from pathlib import Path

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from models import drawing, thresholding
from models.images import PhotoError
from models.thresholding import GrayClass, MethodResult, ThresholdError
from ui import histogram, photos, theme

HINT = "Choose a photo to see its brightness classes."
# How each method chooses, and who proposed it.
EXPLANATIONS = {
    "isodata": (
        "It starts somewhere and moves the cut halfway between the mean of the darker and the mean "
        "of the lighter pixels. It repeats that until the cut stays where it is.",
        'Ridler and Calvard, "Picture thresholding using an iterative selection method", 1978',
    ),
    "li": (
        "It paints each side in its mean grey and asks how much is lost by that, measured as "
        "cross-entropy. It takes the cut that loses least.",
        'Li and Lee, "Minimum cross entropy thresholding", 1993',
    ),
    "mean": (
        "It cuts at the mean grey of all pixels. Nothing is simpler, and it works where light and "
        "dark take about the same room.",
        'Glasbey, "An analysis of histogram-based thresholding algorithms", 1993',
    ),
    "minimum": (
        "It smooths the histogram until two peaks are left, and cuts at the lowest point between "
        "them. Where two peaks never come, it has no answer.",
        'Prewitt and Mendelsohn, "The analysis of cell images", 1966',
    ),
    "otsu": (
        "It tries every cut and takes the one whose two sides differ most in their means: the top "
        "of the curve above. That also makes each side as uniform as can be.",
        'Otsu, "A threshold selection method from gray-level histograms", 1979',
    ),
    "triangle": (
        "It draws a line from the highest peak to the far end of the histogram, and cuts where the "
        "bars stay farthest below it. It is made for one peak with a long tail.",
        'Zack, Rogers and Latt, "Automatic measurement of sister chromatid exchange frequency", '
        "1977",
    ),
    "yen": (
        "It asks how evenly each side spreads its pixels over its grey values, which is close to "
        "asking for their entropy. It takes the cut that makes both sides as even as can be.",
        'Yen, Chang and Chang, "A new criterion for automatic multilevel thresholding", 1995',
    ),
}
PREVIEW_SIDE = 320
CURVE_HEIGHT = 70


def build(current: gr.State) -> dict[str, gr.Slider | gr.Dropdown]:
    """Lay out the tab; it follows the current photo and its own controls, which it returns."""
    with gr.Row():
        classes = gr.Slider(
            2,
            thresholding.MAX_CLASSES,
            value=3,
            step=1,
            label="Classes",
            info="2 is Otsu's threshold, more is multi-Otsu",
            elem_id="classes",
        )
        channel = gr.Dropdown(
            list(thresholding.CHANNELS), value="luminance", label="Grey channel", elem_id="channel"
        )
    message = gr.HTML(photos.notice(HINT), padding=False)
    with gr.Row():
        with gr.Column(min_width=280):
            picture = gr.Image(
                label="Classes in colour",
                format="png",
                interactive=False,
                buttons=["fullscreen"],
                alt_text="The photo's brightness classes in colour",
                elem_id="classes-picture",
            )
            download = gr.DownloadButton(
                "Download the mask (PNG)", interactive=False, size="sm", elem_id="classes-download"
            )
        with gr.Column(min_width=280):
            chosen, chart = histogram.build()
            score = gr.HTML(padding=False, elem_id="score")
            curve = gr.HTML(padding=False, elem_id="variance")
            table = gr.HTML(padding=False, elem_id="cuts")
    gr.Markdown("### All classic methods, one cut each")
    methods = gr.HTML(padding=False, elem_id="methods")

    gr.on(
        [current.change, classes.change, channel.change, chosen.release],
        show_classes,
        [current, classes, channel, chosen],
        [message, picture, chart, chosen, score, table, download],
        show_progress="minimal",
        show_progress_on=message,  # the others must not pale under the visitor's hand
        trigger_mode="always_last",
        concurrency_id=photos.INFERENCE,
        api_visibility="private",
    )
    gr.on(
        [current.change, channel.change],
        show_methods,
        [current, channel],
        [methods, curve],
        show_progress="minimal",
        trigger_mode="always_last",
        concurrency_id=photos.INFERENCE,
        api_visibility="private",
    )
    return {"classes": classes, "channel": channel}


def show_classes(
    path: str | None, classes: int, channel: thresholding.Channel, chosen: object
) -> tuple[str, object, object, object, str, str, object]:
    """Message, picture, histogram, its cuts, score, table and download for photo and controls.

    The cuts are the visitor's if they were chosen for all of these, and otherwise the best.
    """
    nothing = gr.DownloadButton(interactive=False)
    if path is None:
        return photos.notice(HINT), None, "", None, "", "", nothing
    try:
        gray = thresholding.gray_channel(photos.read(path), channel)
    except PhotoError as error:
        return photos.notice(str(error), wrong=True), None, "", None, "", "", nothing
    start = time.perf_counter()
    try:
        best = thresholding.multi_otsu(gray, classes)
    except ThresholdError as error:
        chart = histogram.draw(gray, np.empty(0))
        return photos.notice(str(error)), None, chart, None, "", "", nothing
    seconds = time.perf_counter() - start
    key = f"{Path(path).parent.name} {channel} {classes}"  # the folder is named for the content
    own = histogram.chosen_cuts(chosen, key, classes)
    cuts = best if own is None else own
    colors = theme.class_colors(classes)
    picture = drawing.indexed_picture(thresholding.classify(gray, cuts), dict(enumerate(colors)))
    file = photos.result_file(picture, f"{channel}-{classes}-classes")
    return (
        photos.took(seconds, "CPU", f"Cut{'s' * (classes > 2)} at {_said(best)} found"),
        file,
        # The sliders stand where the visitor put them, and may be on their way again.
        *((histogram.draw(gray, best, key), None) if own is None else (gr.skip(), gr.skip())),
        score_sentence(gray, cuts, best),
        classes_table(thresholding.describe_classes(gray, cuts)),
        gr.DownloadButton(value=file, interactive=True),
    )


def score_sentence(
    gray: NDArray[np.uint8], cuts: NDArray[np.float64], best: NDArray[np.float64]
) -> str:
    """How near the visitor's cuts come to the best, as HTML; nothing for the best themselves."""
    if np.array_equal(cuts, best):
        return ""
    share = thresholding.variance_of_cuts(gray, cuts) / thresholding.variance_of_cuts(gray, best)
    cut, reach = ("cut", "reaches") if len(cuts) == 1 else ("cuts", "reach")
    # Rounded down: 100% is for those that part the pixels as well as the best.
    return photos.notice(
        f"Your {cut} at {_said(cuts)} {reach} {math.floor(share * 1000) / 1000:.1%} of what "
        f"Otsu's {reach}: how far apart the classes lie."
    )


def _said(cuts: NDArray[np.float64]) -> str:
    return ", ".join(f"{cut:.0f}" for cut in cuts)


def show_methods(path: str | None, channel: thresholding.Channel) -> tuple[str, str]:
    """All classic methods as HTML, and the curve whose top is Otsu's cut.

    Each method has a picture and its cut, or the reason why there is none, and how it chooses.
    """
    if path is None:
        return '<p class="hint">Isodata, Li, mean, minimum, Otsu, triangle and Yen.</p>', ""
    try:
        gray = thresholding.gray_channel(photos.read(path), channel)
    except PhotoError as error:
        return photos.notice(str(error), wrong=True), ""
    start = time.perf_counter()
    results = thresholding.compare_all(gray)
    seconds = time.perf_counter() - start
    panels = "".join(_method_panel(gray, result) for result in results)
    line = photos.took(seconds, "CPU", "All seven found")
    return f'<div class="methods">{panels}</div>{line}', variance_chart(gray)


def _method_panel(gray: NDArray[np.uint8], result: MethodResult) -> str:
    if result.cut is None:
        panel = f'<div class="failed">{html.escape(str(result.reason))}</div>'
        caption = "no cut"
    else:
        preview = drawing.binary_preview(gray, result.cut, PREVIEW_SIDE)
        data = base64.b64encode(preview).decode()
        caption = f"cut {result.cut:.0f}"
        panel = (
            f'<img src="data:image/png;base64,{data}" '
            f'alt="Pixels above the {result.method} threshold, {caption}">'
        )
    name = result.method.capitalize()
    how, paper = EXPLANATIONS[result.method]
    return (
        f"<figure>{panel}<figcaption><b>{name}</b>, {caption}<details><summary>How it chooses"
        f"</summary>{html.escape(how)} <cite>{html.escape(paper)}</cite></details>"
        "</figcaption></figure>"
    )


def variance_chart(gray: NDArray[np.uint8]) -> str:
    """The between-class variance of every single cut as SVG, with Otsu's cut at its top."""
    cuts, variance = thresholding.between_class_variance(gray)
    if not len(cuts) or not variance.any():
        return ""
    best = int(variance.argmax())
    width, step = histogram.WIDTH, histogram.STEP
    scaled = CURVE_HEIGHT * (1 - variance / variance[best])
    points = " ".join(
        f"{(cut + 1) * step:.1f},{y:.1f}" for cut, y in zip(cuts, scaled, strict=True)
    )
    x = (cuts[best] + 1) * step
    said = (
        f"How far apart a single cut sets the two sides; the best is {cuts[best]:.0f}, Otsu's cut"
    )
    return (
        f'<figure class="curve"><svg class="chart" viewBox="0 -4 {width} {CURVE_HEIGHT + 5}" '
        f'role="img" aria-label="{said}"><polyline points="{points}"/>'
        f'<line class="axis" x1="0" x2="{width}" y1="{CURVE_HEIGHT}" y2="{CURVE_HEIGHT}"/>'
        f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{CURVE_HEIGHT}"/>'
        f'<circle cx="{x:.1f}" cy="0" r="4"/></svg><figcaption class="hint">{said}.</figcaption>'
        "</figure>"
    )


def classes_table(classes: list[GrayClass]) -> str:
    """Cut values and area of each class as an HTML table."""
    colors = theme.class_colors(len(classes))
    rows = []
    for i, (entry, color) in enumerate(zip(classes, colors, strict=True)):
        lower = f"&gt; {entry.lower:.0f}" if i else f"{entry.lower:.0f}"
        rows.append(
            f"<tr><td>{photos.swatch(color)}{i + 1}</td><td>{lower} to {entry.upper:.0f}</td>"
            f"<td>{entry.pixels:,}</td><td>{entry.share:.1%}</td></tr>"
        )
    return (
        '<table class="facts"><thead><tr><th>Class</th><th>Grey values</th><th>Pixels</th>'
        f"<th>Area</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
