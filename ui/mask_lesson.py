"""Explains the Mask tab's outline: probabilities, the objects' areas, other input sizes."""

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import numpy as np

from models import drawing, measuring, object_files, resolutions, segmentation, store
from models.cards import Card
from models.drawing import Color
from models.images import Photo, PhotoError
from models.measuring import Objects
from models.resolutions import Seen
from ui import events, markup, result_files, theme
from ui.texts import mark, number, say, say_error, say_name
from ui.uploads import Instances, Upload

MAP_SIDE = 512  # pixels, longer side of the pictures of probabilities
SHOWN_SIDE = 360  # and of those at other sizes
OPACITY = 0.5

TEST = "test"  # where a card has its figures, written by `training.evaluate`
OWN_SIZE = "at the photo's own size"
FIGURES = ("mean_iou", "binary_iou", "ap50")

CHART_WIDTH, CHART_HEIGHT = 400, 130
MARGIN = 34  # space beside and below the chart for its numbers and labels
TICKS = 5
MOST_DISCS = 2_000  # of one map


@dataclass
class Comparison:
    """The upload and model whose sizes a visitor compares; a comparison of others ends.

    Gradio's own cancelling shows visitors an error if nothing has arrived yet.
    """

    upload: Upload | None = None
    model: str | None = None


def build(current: gr.State, model: gr.Radio, chosen: gr.State) -> None:
    """Lay out the part below the outline; `chosen` changes with `model`, the chosen network."""
    objects = gr.HTML(padding=False, elem_id="objects")
    download = gr.DownloadButton(
        mark("lesson.objects_download"), visible=False, size="sm", elem_id="objects-download"
    )
    with gr.Row(visible=False) as more:
        pixel = gr.Number(
            minimum=0,
            label=mark("lesson.pixel_size"),
            info=mark("lesson.pixel_size_info"),
            elem_id="pixel-size",
        )
        labels, rois, geojson = (
            gr.Button(mark(f"lesson.{name}_download"), size="sm", elem_id=f"{name}-download")
            for name in ("labels", "rois", "geojson")
        )
    maps = gr.HTML(padding=False, elem_id="probabilities")
    gr.HTML(f"<h2>{mark('lesson.sizes')}</h2>", padding=False)
    button = gr.Button(mark("lesson.sizes_button"), size="sm", elem_id="compare-sizes")
    sizes = gr.HTML(padding=False, elem_id="sizes")
    with gr.Accordion(mark("lesson.how_good"), open=False, elem_id="how-good") as how_good:
        explanation = gr.HTML(padding=False)
    events.save_on_click(labels, write_labels, [current, model, pixel])
    events.save_on_click(rois, write_rois, [current, model])
    events.save_on_click(geojson, write_geojson, [current, model, pixel])
    gr.on(
        [current.change, chosen.change, pixel.submit, pixel.blur],
        show_objects,
        [current, model, pixel],
        [objects, download, more],
        **events.HIDDEN,
    )
    gr.on(
        [current.change, chosen.change],
        show_probabilities,
        [current, model],
        maps,
        **events.HIDDEN,
    )
    comparison = gr.State(Comparison())
    button.click(
        compare_sizes,
        [current, model, comparison],
        sizes,
        show_progress="hidden",  # the sizes appear one by one
        concurrency_limit=1,  # the other tabs' answers go first
        api_visibility="private",
    )
    gr.on(
        [current.change, chosen.change],
        clear_sizes,
        [current, model, comparison],
        sizes,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
    gr.on(
        [how_good.expand, chosen.change],
        explain,
        model,
        explanation,
        show_progress="hidden",
        api_visibility="private",
    )


def show_probabilities(upload: Upload | None, model: str) -> str:
    """A picture of each class's probability, as HTML."""
    if upload is None:
        return ""
    try:
        found = upload.mask(model).segmentation
    except PhotoError:  # the tab's message says it
        return ""
    maps = dict(zip(found.classes, found.probability_maps(MAP_SIDE), strict=True))
    order = sorted(maps, key=lambda name: (name == "background", name == "border"))
    figures = "".join(
        markup.figure(
            drawing.ramp(maps[name], theme.RAMP),
            "png",
            say("lesson.map_alt", name=say_name("class", name)),
            f"<b>{html.escape(title(name))}</b> {html.escape(meaning(name))}",
        )
        for name in order
    )
    colors = ", ".join(map(theme.css, theme.RAMP))
    return (
        f'<h2>{say("lesson.sure")}</h2><p class="hint">{say("lesson.sure_hint")}</p>'
        f'<div class="ramp" role="img" aria-label="{say("lesson.ramp")}">'
        f"<span>{say('lesson.ramp_0')}</span>"
        f'<div style="background: linear-gradient(to right, {colors})"></div>'
        f"<span>{say('lesson.ramp_1')}</span></div>"
        f'<div class="small-multiples few">{figures}</div>'
    )


def title(name: str) -> str:
    """The name of a class with a capital letter."""
    said = say_name("class", name)
    return said[:1].upper() + said[1:]


def meaning(name: str) -> str:
    """What a bright place means for this class."""
    if name in ("background", "border"):
        return say(f"lesson.{name}")
    return say("lesson.subject", name=say_name("class", name))


def show_objects(
    upload: Upload | None, model: str, pixel: float | None = None
) -> tuple[str, object, object]:
    """The objects' sizes, and buttons that save more, for models that separate objects.

    `pixel` is the side of a pixel in micrometres, if the visitor gave it.
    """
    nothing = "", gr.DownloadButton(visible=False), gr.Row(visible=False)
    if upload is None:
        return nothing
    try:
        found = upload.mask(model)
    except PhotoError:  # the tab's message says it
        return nothing
    if found.instances is None:
        return nothing
    objects = _sized(found.instances.objects, pixel)
    file = result_files.text(objects.csv(), f"{upload.name}-objects.csv")
    heading = f"<h2>{say('lesson.objects')}</h2>"
    if not len(objects):
        return f"{heading}{markup.notice(say('lesson.no_objects'))}", *nothing[1:]
    color = theme.mask_colors(found.segmentation.classes)[found.segmentation.subject]
    share = objects.area.sum() / math.prod(upload.size)
    return (
        f"{heading}{objects_table(objects, share)}{objects_map(objects, color, upload.size)}"
        f"{area_chart(objects, color)}",
        gr.DownloadButton(value=file, visible=True),
        gr.Row(visible=True),
    )


def _sized(objects: Objects, pixel: float | None) -> Objects:
    """The objects with the pixel size that a visitor has typed in."""
    return replace(objects, pixel_size=(pixel, pixel)) if pixel and pixel > 0 else objects


def write_labels(upload: Upload, model: str, pixel: float | None) -> str:
    """The objects' labels as a TIFF file."""
    found = _instances(upload, model)
    size = _sized(found.objects, pixel).pixel_size
    return result_files.content(
        object_files.label_tiff(found.numbers, size), f"{upload.name}-labels.tif"
    )


def write_rois(upload: Upload, model: str) -> str:
    """The objects' outlines as a ZIP file for ImageJ."""
    return result_files.content(
        object_files.imagej_rois(_instances(upload, model).numbers), f"{upload.name}-rois.zip"
    )


def write_geojson(upload: Upload, model: str, pixel: float | None) -> str:
    """The objects' outlines and measurements as a GeoJSON file for QuPath."""
    found = _instances(upload, model)
    text = object_files.geojson(found.numbers, _sized(found.objects, pixel))
    return result_files.text(text, f"{upload.name}-objects.geojson")


def _instances(upload: Upload, model: str) -> Instances:
    found = upload.mask(model).instances
    if found is None:
        raise gr.Error(say("photo.missing"), print_exception=False)
    return found


def clear_sizes(upload: Upload | None, model: str, comparison: Comparison) -> object:
    """End and clear the comparison of another photo or model; a newer one stays."""
    if (comparison.upload, comparison.model) == (upload, model):
        return gr.skip()
    comparison.upload, comparison.model = upload, model
    return ""


def compare_sizes(upload: Upload | None, model: str, comparison: Comparison) -> Iterator[str]:
    """The outline at several sizes, as HTML that grows by one size at a time."""
    comparison.upload, comparison.model = upload, model
    if upload is None:
        yield markup.notice(say("lesson.sizes_hint"))
        return
    try:
        photo = upload.whole
    except PhotoError as error:
        yield markup.notice(say_error(error), wrong=True)
        return
    segmenter = segmentation.load(model)
    usual = resolutions.usual_side(segmenter, photo)
    preview = drawing.reduced(photo, SHOWN_SIDE)
    height, width = preview.shape[:2]
    spec = segmenter.card.input
    sentence = say("lesson.any_size")
    if not segmenter.any_size:
        sentence = say("lesson.fixed_size", width=spec.width, height=spec.height)
    sentence += " " + say("lesson.iou_and_time", device=segmenter.device)
    text = f'<p class="hint">{html.escape(sentence)}</p>'
    yield text
    figures: dict[int, str] = {}
    # The usual size comes first, because the others are compared with it.
    for side in sorted(resolutions.sides(segmenter, photo), key=lambda side: side != usual):
        seen = resolutions.see(segmenter, photo, side)
        result = seen.segmentation.resized(height, width)
        inside = result.foreground() > 0.5
        if side == usual:
            usual_inside = inside
        agreement = None if side == usual else measuring.iou(inside, usual_inside)
        figures[side] = size_figure(preview, result, seen, agreement)
        shown = "".join(figures[side] for side in sorted(figures))
        if (comparison.upload, comparison.model) != (upload, model):
            yield ""  # the last result is sent again at the end
            return
        yield f'{text}<div class="small-multiples">{shown}</div>'


def size_figure(
    preview: Photo, result: segmentation.Segmentation, seen: Seen, agreement: float | None
) -> str:
    """The classes and the outline at one size over a small photo, as HTML.

    `agreement` is its IoU with that of the usual size; None says that this is the usual one.
    """
    colors = dict(enumerate(theme.mask_colors(result.classes).values(), start=1))
    picture = drawing.overlay(preview, result.mask, colors, OPACITY)
    outline = drawing.instance_outlines((result.foreground() > 0.5).astype(np.int32))
    size = say("lesson.size", width=seen.width, height=seen.height)
    time = seen.seconds * 1000
    fit = (
        say("lesson.usual", time=time)
        if agreement is None
        else say("lesson.other", iou=agreement, time=time)
    )
    return markup.figure(
        drawing.thumbnail(drawing.paint(picture, outline, theme.OUTLINE), SHOWN_SIDE),
        "jpeg",
        say("lesson.size_alt", size=size),
        f"<b>{size}</b> {fit}",
    )


def explain(model: str) -> str:
    """How a mask model works and how good it is: a few sentences and its card's figures."""
    card = store.read_card(model)
    names = [label.name for label in card.labels]
    subject = say_name("class", segmentation.subject(names))
    sentences = [
        say("lesson.classes", classes=", ".join(say_name("class", name) for name in names))
    ]
    if "pet" in names and not card.instances:
        sentences.append(say("lesson.looks"))
    if card.mirror:
        sentences.append(say("lesson.mirror"))
    if "border" in names and card.instances:
        sentences.append(say("lesson.border_between", subject=subject))
    elif "border" in names:
        sentences.append(say("lesson.border_why", subject=subject))
    sentences.append(say("lesson.iou"))
    text = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    return f'<div class="explanation">{text}{figures_table(card)}</div>'


def figures_table(card: Card) -> str:
    """A model's figures on pictures that it was not trained on, as HTML."""
    try:
        test = card.facts["metrics"][TEST]
        figures: Mapping[str, Any] = test[OWN_SIZE]
        shown = {
            say("lesson.figure_class", name=say_name("class", name)): value
            for name, value in figures.get("iou", {}).items()
        }
        subject = say_name("class", segmentation.subject([label.name for label in card.labels]))
        shown |= {
            say(f"lesson.figure.{key}", subject=subject): figures[key]
            for key in FIGURES
            if key in figures
        }
        rows = "".join(
            f"<tr><td>{html.escape(what)}</td><td>{number(value, '.3f')}</td></tr>"
            for what, value in shown.items()
        )
        measured = say("lesson.measured", pictures=test["pictures"])
    except (KeyError, TypeError, ValueError, AttributeError):  # cards may come from other people
        return f"<p>{html.escape(say('lesson.no_figures'))}</p>"
    precision = f"<p>{html.escape(say('lesson.precision'))}</p>" if "ap50" in figures else ""
    return (
        f'{precision}<table class="facts"><thead><tr><th>{html.escape(measured)}</th>'
        f"<th>{say('lesson.value')}</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def objects_table(objects: Objects, share: float) -> str:
    """The number and sizes of the objects, as an HTML table."""
    facts = {
        say("lesson.objects_count"): number(len(objects), ","),
        say("lesson.median"): say("lesson.px", area=float(np.median(objects.area))),
        say("lesson.smallest"): say("lesson.px", area=int(objects.area.min())),
        say("lesson.largest"): say("lesson.px", area=int(objects.area.max())),
        say("lesson.share"): number(share, ".1%"),
    }
    if objects.area_um2 is not None:
        facts[say("lesson.median_um2")] = number(float(np.median(objects.area_um2)), ",.2f")
    rows = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in facts.items())
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def objects_map(objects: Objects, color: Color, size: tuple[int, int]) -> str:
    """Where each object is, as SVG: a disc of the same area, with its row of the CSV file.

    Above `MOST_DISCS` the largest are drawn.
    """
    height, width = size
    drawn = np.argsort(-objects.area, kind="stable")[:MOST_DISCS]
    discs = "".join(
        f'<circle cx="{objects.centroid_x[i] + 0.5:.1f}" cy="{objects.centroid_y[i] + 0.5:.1f}" '
        f'r="{objects.equivalent_diameter[i] / 2:.1f}"><title>'
        + html.escape(
            say(
                "lesson.object",
                number=int(objects.number[i]),
                area=int(objects.area[i]),
                x=float(objects.centroid_x[i]),
                y=float(objects.centroid_y[i]),
            )
        )
        + "</title></circle>"
        for i in drawn
    )
    said = html.escape(say("lesson.map"))
    return (
        f'<figure class="objects-map"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{said}" fill="{theme.css(color)}">{discs}</svg>'
        f'<figcaption class="hint">{said}.</figcaption></figure>'
    )


def area_chart(objects: Objects, color: Color) -> str:
    """A histogram of the objects' areas as SVG, with the median as a line."""
    counts, edges = measuring.area_histogram(objects.area)
    largest, most = int(edges[-1]), int(counts.max())
    median = float(np.median(objects.area))
    left, right = MARGIN, CHART_WIDTH - 10
    places = left + edges / largest * (right - left)
    bars = "".join(
        f"M{start:.1f} {CHART_HEIGHT}V{CHART_HEIGHT * (1 - count / most):.1f}H{end:.1f}"
        f"V{CHART_HEIGHT}z"
        for count, start, end in zip(counts, places[:-1], places[1:], strict=True)
        if count
    )
    ticks = "".join(
        f'<text x="{left + value / largest * (right - left):.0f}" y="{CHART_HEIGHT + 14}" '
        f'text-anchor="middle">{number(value, ",")}</text>'
        for value in ticks_up_to(largest)
    )
    x = left + median / largest * (right - left)
    anchor, side = ("start", 4) if x < CHART_WIDTH / 2 else ("end", -4)
    said = say("lesson.chart_median", area=median)
    return (
        f'<svg class="chart areas" viewBox="0 -16 {CHART_WIDTH} {CHART_HEIGHT + MARGIN + 14}" '
        f'role="img" aria-label="{say("lesson.chart", median=said)}">'
        f'<path d="{bars}" fill="{theme.css(color)}"/>'
        f'<line class="axis" x1="{left}" x2="{right}" y1="{CHART_HEIGHT}" y2="{CHART_HEIGHT}"/>'
        f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="-14" y2="{CHART_HEIGHT}"/>'
        f'<text x="{x + side:.1f}" y="-6" text-anchor="{anchor}">{said}</text>'
        f'<text x="{left - 5}" y="9" text-anchor="end">{number(most, ",")}</text>'
        f'<text x="{left - 5}" y="{CHART_HEIGHT}" text-anchor="end">0</text>'
        f'<text transform="translate(10 {CHART_HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{say('lesson.chart_objects')}</text>{ticks}"
        f'<text x="{(left + right) / 2}" y="{CHART_HEIGHT + 29}" '
        f'text-anchor="middle">{say("lesson.chart_area")}</text></svg>'
    )


def ticks_up_to(largest: int) -> list[int]:
    """Round numbers from 0 to at most `largest`, at most five steps of 1, 2 or 5 times 10^n."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if largest <= TICKS * step:
                return list(range(0, largest + 1, step))
        power *= 10
