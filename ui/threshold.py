"""The Threshold tab: the photo's brightness classes, its histogram, and all classic methods."""

import base64
import html
import math
import time
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import drawing, previews, thresholding
from models.images import PhotoError
from models.thresholding import GrayClass, Histogram, MethodResult, Settings, ThresholdError
from ui import (
    events,
    histogram,
    lab,
    markup,
    method_marks,
    result_files,
    separation,
    theme,
)
from ui.histogram import Scale
from ui.texts import mark, number, say, say_error
from ui.uploads import Upload

PREVIEW_SIDE = 320
SAMPLED = 4  # side, in photo pixels, of the square whose mean a preview pixel shows

# Requests the mask of the method whose button is pressed.
ASK = """element.addEventListener("click", ({ target }) => {
  const method = target.closest("[data-method]")?.dataset.method;
  if (!method) return;
  props.value = method;
  trigger("submit");
});"""


def build(current: gr.State) -> dict[str, gr.Component]:
    """Lay out the tab; it follows the current photo and its own controls, which it returns."""
    with gr.Row():
        classes = gr.Slider(
            2,
            thresholding.MAX_CLASSES,
            value=2,
            step=1,
            label=mark("threshold.classes"),
            info=mark("threshold.classes_info"),
            elem_id="classes",
        )
        channel = gr.Dropdown(
            [(mark(f"channel.{name}"), name) for name in thresholding.CHANNELS],
            value="luminance",
            label=mark("threshold.channel"),
            elem_id="channel",
        )
    message = gr.HTML(
        markup.notice(mark("threshold.hint"), waits=True), padding=False, elem_classes=markup.SPOKEN
    )
    with gr.Row():
        with gr.Column(min_width=280):
            picture = gr.Image(
                label=mark("threshold.picture"),
                format="png",
                interactive=False,
                buttons=["fullscreen"],
                alt_text=mark("threshold.picture_alt"),
                elem_id="classes-picture",
            )
            download = gr.Button(
                mark("threshold.download"), interactive=False, size="sm", elem_id="classes-download"
            )
        with gr.Column(min_width=280):
            chosen, marks, chart, curve = histogram.build()
            score = gr.HTML(padding=False, elem_id="score", elem_classes=markup.SPOKEN)
            table = gr.HTML(padding=False, elem_id="cuts")
    other_channel = events.followed(channel)
    controls = lab.build(current, channel, other_channel)
    gr.HTML(f"<h2>{mark('threshold.methods')}</h2>", padding=False)
    with gr.HTML(html_template="@children", js_on_load=ASK, padding=False) as asked:
        methods = gr.HTML(padding=False, elem_id="methods")

    choice = [current, classes, channel, chosen]
    gr.on(
        [current.change, classes.change, other_channel.change, chosen.release],
        show_classes,
        choice,
        [message, picture, chart, chosen, score, table, download],
        show_progress="minimal",
        show_progress_on=message,  # the others must not turn pale while the visitor works
        **events.LATEST,
    )
    events.save_on_click(download, write_classes, choice)
    gr.on(
        [current.change, other_channel.change],
        show_methods,
        [current, channel],
        [methods, marks, curve],
        show_progress="minimal",
        **events.LATEST,
    )
    events.save_on(asked.submit, write_method, [current, channel, asked])
    return {"classes": classes, "channel": channel, "cuts": chosen, **controls}


def show_classes(
    upload: Upload | None, classes: int, channel: thresholding.Channel, chosen: object
) -> tuple[str, object, object, object, str, str, object]:
    """Message, picture, histogram, its cuts, score, table and download for photo and controls.

    The cuts are the visitor's if they were chosen for all of these, and otherwise the best.
    """
    nothing = gr.Button(interactive=False)
    if upload is None:
        # A link's cuts may be under way: only those of the previous photo are reset.
        kept = gr.skip() if not chosen or histogram.waiting(chosen) else None
        return markup.notice(say("threshold.hint"), waits=True), None, "", kept, "", "", nothing
    try:
        gray, counted = upload.gray(channel), upload.histogram(channel)
    except PhotoError as error:
        return markup.notice(say_error(error), wrong=True), None, "", None, "", "", nothing
    start = time.perf_counter()
    try:
        best = thresholding.multi_otsu(counted, classes)
    except ThresholdError as error:
        chart = histogram.draw(gray, counted, np.empty(0), np.empty(0))
        return markup.notice(say_error(error)), None, chart, None, "", "", nothing
    seconds = time.perf_counter() - start
    key = chart_key(upload, classes, channel)
    scale, _ = histogram.scale_of(counted)
    own = histogram.chosen_cuts(chosen, key, classes, scale.limits)
    cuts = best if own is None else own
    picture = classes_picture(drawing.fewer_pixels(gray, previews.SIDE), cuts)
    if own is None:
        chart, kept = histogram.draw(gray, counted, best, best, key), None
    elif histogram.waiting(chosen):
        chart = histogram.draw(gray, counted, own, best, key)
        kept = {"key": key, "cuts": own.tolist()}
    else:  # the sliders are where the visitor put them, and may be moving again
        chart = kept = gr.skip()
    return (
        markup.found(say("threshold.found", cuts=_said(best, scale), count=classes - 1)),
        result_files.picture_to_keep(picture, "classes"),
        chart,
        kept,
        score_sentence(counted, cuts, best),
        classes_table(thresholding.describe_classes(_exact(gray, counted), cuts), scale)
        + markup.took(seconds, "CPU"),
        gr.Button(interactive=True),
    )


def write_classes(
    upload: Upload, classes: int, channel: thresholding.Channel, chosen: object
) -> str:
    """The classes of all the photo's pixels, as a file: 0 for the darkest, 1 for the next.

    Raises
    ------
    gr.Error
        If the photo has too few different values.
    """
    gray = upload.gray(channel)
    scale, _ = histogram.scale_of(upload.histogram(channel))
    key = chart_key(upload, classes, channel)
    cuts = histogram.chosen_cuts(chosen, key, classes, scale.limits)
    if cuts is None:
        try:
            cuts = thresholding.multi_otsu(upload.histogram(channel), classes)
        except ThresholdError as error:
            raise gr.Error(say_error(error), print_exception=False) from None
    name = f"{upload.name}-{channel}-{classes}-classes"
    return result_files.picture_to_keep(classes_picture(gray, cuts), name)


def _exact(gray: NDArray[Any], counted: Histogram) -> NDArray[Any] | Histogram:
    """What pixels are counted from: a float picture's own values, or else the histogram."""
    return gray if np.issubdtype(gray.dtype, np.floating) else counted


def classes_picture(gray: NDArray[Any], cuts: NDArray[np.float64]) -> Image.Image:
    """The class of each pixel, shown in the classes' colours."""
    colors = dict(enumerate(theme.class_colors(len(cuts) + 1)))
    return drawing.indexed_picture(thresholding.classify(gray, cuts), colors)


def chart_key(upload: Upload, classes: int, channel: thresholding.Channel) -> str:
    """A key that identifies a chart's photo and controls."""
    return f"{upload.key} {channel} {classes}"


def score_sentence(counted: Histogram, cuts: NDArray[np.float64], best: NDArray[np.float64]) -> str:
    """How close the visitor's cuts are to the best, as HTML; empty for the best cuts themselves."""
    if np.array_equal(cuts, best):
        return ""
    own, most = (thresholding.variance_of_cuts(counted, each) for each in (cuts, best))
    # 100% is shown only for cuts that separate the pixels as well as the best.
    share = math.floor(own / most * 1000) / 1000
    said = _said(cuts, histogram.scale_of(counted)[0])
    return markup.notice(say("threshold.score", cuts=said, share=share, count=len(cuts)))


def _said(cuts: NDArray[np.float64], scale: Scale) -> str:
    return ", ".join(scale.written(cut) for cut in cuts)


def show_methods(upload: Upload | None, channel: thresholding.Channel) -> tuple[str, str, str]:
    """All classic methods as HTML, their cuts as marks, and the curve whose top is Otsu's cut.

    Each method has a picture, its cut and the share above it, or the reason why there is none, and
    an explanation.
    """
    if upload is None:
        return f'<p class="hint">{say("threshold.methods_hint")}</p>', "", ""
    try:
        gray, counted = upload.gray(channel), upload.histogram(channel)
    except PhotoError as error:
        return markup.notice(say_error(error), wrong=True), "", ""
    start = time.perf_counter()
    results = thresholding.compare_all(_exact(gray, counted))
    seconds = time.perf_counter() - start
    few = drawing.fewer_pixels(gray, SAMPLED * PREVIEW_SIDE)
    scale, _ = histogram.scale_of(counted)
    panels = "".join(_method_panel(gray, counted, few, result) for result in results)
    line = markup.took(seconds, "CPU")
    marks = method_marks.draw(results, scale)
    return f'<div class="methods">{panels}</div>{line}', marks, separation.draw(counted)


def _method_panel(
    gray: NDArray[Any], counted: Histogram, few: NDArray[Any], result: MethodResult
) -> str:
    scale, _ = histogram.scale_of(counted)
    name = say(f"method.{result.method}")
    if result.cut is None or result.reason is not None:
        reason = say_error(result.reason) if result.reason else ""
        panel = f'<div class="failed">{html.escape(reason)}</div>'
        caption, facts = say("threshold.no_cut"), ""
    else:
        preview = drawing.binary_preview(few, result.cut, PREVIEW_SIDE)
        data = base64.b64encode(preview).decode()
        caption = say("threshold.cut", cut=scale.written(result.cut))
        alternative = say("threshold.method_alt", method=name, cut=caption)
        panel = f'<img src="data:image/png;base64,{data}" alt="{html.escape(alternative)}">'
        share = _share_above(gray, counted, result.cut)
        save = html.escape(say("threshold.method_download", method=name))
        facts = (
            f"<div>{html.escape(say('threshold.foreground', share=share))}</div>"
            f'<button type="button" class="plain" data-method="{result.method}" '
            f'aria-label="{save}">{say("threshold.method_save")}</button>'
        )
    return (
        f"<figure>{panel}<figcaption><b>{name}</b>, {caption}{facts}"
        f"{lab.explanation(result.method)}</figcaption></figure>"
    )


def _share_above(gray: NDArray[Any], counted: Histogram, cut: float) -> float:
    """Share of the pixels above a cut, in [0, 1]."""
    if np.issubdtype(gray.dtype, np.floating):
        return np.count_nonzero(gray > cut) / gray.size
    # With a phone's photo, a pass over all pixels for each method would take most of the time.
    return thresholding.describe_classes(counted, np.array([cut]))[1].share


def write_method(upload: Upload, channel: thresholding.Channel, method: object) -> str:
    """The mask of a method at the photo's own size, as a file.

    Raises
    ------
    gr.Error
        If there is no such method, or it finds no cut.
    """
    if method not in thresholding.METHODS:  # browsers may send anything
        raise gr.Error(say("threshold.no_cut"), print_exception=False)
    return lab.write_settings(upload, Settings(str(method), channel))


def classes_table(classes: list[GrayClass], scale: Scale) -> str:
    """Cut values and area of each class as an HTML table."""
    colors = theme.class_colors(len(classes))
    rows = []
    for i, (entry, color) in enumerate(zip(classes, colors, strict=True)):
        lower = "> " * bool(i) + scale.written(entry.lower)
        values = say("threshold.range", lower=lower, upper=scale.written(entry.upper))
        rows.append(
            f"<tr><td>{markup.swatch(color)}{i + 1}</td><td>{html.escape(values)}</td>"
            f"<td>{number(entry.pixels, ',')}</td><td>{number(entry.share, '.1%')}</td></tr>"
        )
    heads = "".join(
        f"<th>{say(key)}</th>"
        for key in ("threshold.class", "threshold.values", "threshold.pixels", "threshold.area")
    )
    return (
        f'<table class="facts"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
