"""The Mask tab: what a mask model finds, in colour over the photo."""

import html
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import correcting, drawing, store
from models.images import Photo, PhotoError
from ui import breed, brush, events, feedback, markup, result_files, theme
from ui.texts import mark, mark_name, number, say, say_error, say_name
from ui.uploads import Instances, Upload

CHANGES_SIDE = 400
REFRESH = 1.0  # seconds between two reports of a search's progress


def build(
    current: gr.State, corrected: gr.State
) -> tuple[gr.Radio, gr.State, dict[str, gr.Component]]:
    """Lay out the tab; it follows the current photo and its own controls.

    `corrected` gets the photo with the visitor's strokes.

    Returns
    -------
    The choice of the mask model, what changes with it, and all controls that a link can set.
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
    message = gr.HTML(
        markup.notice(mark("mask.hint"), waits=True), padding=False, elem_classes=markup.SPOKEN
    )
    with gr.Row():
        with gr.Column(min_width=280):
            outlined = gr.Image(
                label=mark("mask.picture"),
                format="jpeg",
                interactive=False,
                buttons=["fullscreen"],  # it would download what is shown, reduced
                alt_text=mark("mask.picture_alt"),
                elem_id="overlay",
            )
        with gr.Column(min_width=280):
            legend = gr.HTML(padding=False, elem_id="legend")
            picture = gr.Button(
                mark("mask.picture_download"), size="sm", elem_id="outline-download"
            )
            download = gr.Button(
                mark("mask.download"), interactive=False, size="sm", elem_id="mask-download"
            )
            with gr.Row():
                stop = gr.Button(mark("mask.stop"), visible=False, size="sm", elem_id="mask-stop")
                again = gr.Button(
                    mark("mask.again"), visible=False, size="sm", elem_id="mask-again"
                )
    chosen = events.followed(model)
    shown = events.ShownMask(current, model, chosen)
    brush.build(shown, corrected, "mask")
    feedback.build(shown, "mask")
    gr.on(
        [current.change, chosen.change, opacity.change, border.change],
        show_overlay,
        [current, model, opacity, border],
        [message, outlined, legend, download, stop, again],
        show_progress="minimal",
        **events.LATEST,
    )
    # Not in the group of events that compute, so it need not wait for the search.
    stop.click(stop_search, [current, model], show_progress="hidden", api_visibility="private")
    again.click(
        search_again,
        [current, model],
        chosen,
        show_progress="hidden",
        api_visibility="private",
    )
    events.save_on_click(picture, write_picture, [current, model, opacity, border])
    events.save_on_click(download, write_mask, [current, model])
    return model, chosen, {"model": model, "opacity": opacity, "border": border}


Shown = tuple[str, object, object, object, object, object]


def show_overlay(
    upload: Upload | None, model: str, opacity: float, border: bool
) -> Iterator[Shown]:
    """Message, photo with the classes laid over it, legend, and buttons.

    The buttons download the mask, stop the search and search again. The search in a large picture
    reports its progress.
    """
    hidden = gr.Button(visible=False)
    nothing = None, "", gr.Button(interactive=False), hidden
    if upload is None:
        yield markup.notice(say("mask.hint"), waits=True), *nothing, hidden
        return
    try:
        if upload.is_large(model):
            for share in _progress(upload, model):
                sentence = say("mask.searching", share=number(share, ".0%"))
                message = markup.progress(sentence, share, 1, say("mask.bar"))
                yield (
                    message,
                    None,
                    "",
                    gr.Button(interactive=False),
                    gr.Button(visible=True),
                    hidden,
                )
        photo, found = upload.preview, upload.mask(model)
    except PhotoError as error:
        again = gr.Button(visible=error.key == "search_stopped")
        yield markup.notice(say_error(error), wrong=True), *nothing, again
        return
    segmentation = found.segmentation
    if found.instances is None and "pet" in segmentation.classes and not upload.pets.pets:
        yield markup.no_pet(f"{breed.nothing(upload)} {say('mask.none')}"), *nothing, hidden
        return
    outlines = found.instances.outlines if found.instances else None
    picture = overlay(photo, segmentation.mask, segmentation.classes, outlines, opacity, border)
    took = markup.took(found.seconds, found.device)
    shares = (
        object_shares(found.instances, segmentation.classes)
        if found.instances
        else segmentation.shares
    )
    legend = legend_table(shares, found.instances) + changes(upload, model) + took
    shown = result_files.picture_to_show(picture, f"{upload.name}-outline")
    message = markup.found(say("mask.found"))
    if found.instances:  # whatever the picture shows
        message = f'<p class="hint">{html.escape(say("mask.microscope"))}</p>'
    yield message, shown, legend, gr.Button(interactive=True), hidden, hidden


def _progress(upload: Upload, model: str) -> Iterator[float]:
    """How much of the search is done, every second until it has ended."""
    pool = ThreadPoolExecutor(1)
    ended = pool.submit(upload.mask, model)
    pool.shutdown(wait=False)
    while not wait([ended], REFRESH).done:
        yield upload.search(model).share
    ended.result()  # its error, if it has one


def stop_search(upload: Upload | None, model: str) -> None:
    """End the search for objects."""
    if upload is not None:
        upload.search(model).stopped = True


def search_again(upload: Upload | None, model: str) -> object:
    """Search once more, by a new value of the state that the other events follow."""
    if upload is not None:
        upload.search(model).stopped = False
    return model, time.monotonic()


def changes(upload: Upload, model: str) -> str:
    """What the visitor's strokes changed in the mask, as HTML; empty if there are none."""
    after = upload.mask(model).segmentation
    before = upload.uncorrected.mask(model).segmentation
    if after is before:
        return ""
    background = after.classes.index("background") + 1
    was, now = before.mask != background, after.mask != background
    changed = (now & ~was).astype(np.uint8) + 2 * (was & ~now).astype(np.uint8)
    picture = drawing.overlay(
        drawing.reduced(upload.preview, CHANGES_SIDE),
        drawing.fewer_pixels(changed, CHANGES_SIDE),
        {1: theme.ADDED, 2: theme.REMOVED},
        0.8,
    )
    same = number(correcting.overlap(before, after), ".1%")
    caption = (
        f"{markup.swatch(theme.ADDED)}{html.escape(say('mask.added'))} "
        f"{markup.swatch(theme.REMOVED)}{html.escape(say('mask.removed'))}<br>"
        f"{html.escape(say('mask.iou'))} {same}"
    )
    content = drawing.thumbnail(picture, CHANGES_SIDE)
    figure = markup.figure(content, "jpeg", say("mask.changes_alt"), caption)
    return f'<section class="changes"><h2>{html.escape(say("mask.changes"))}</h2>{figure}</section>'


def overlay(
    photo: Photo,
    mask: NDArray[np.uint8],
    classes: Sequence[str],
    outlines: NDArray[np.bool_] | None,
    opacity: float,
    border: bool,
) -> Photo:
    """The photo with the mask's classes in colour, and objects' outlines if there are any."""
    colors = {
        value: color
        for value, (name, color) in enumerate(theme.mask_colors(classes).items(), start=1)
        if border or name != "border"
    }
    picture = drawing.overlay(photo, mask, colors, opacity)
    if border and outlines is not None:
        picture = drawing.paint(picture, outlines, theme.OUTLINE)
    return picture


def write_picture(upload: Upload, model: str, opacity: float, border: bool) -> str:
    """The same picture at the photo's own size, as a file."""
    found = upload.mask(model)
    objects = found.instances
    outlines = drawing.instance_outlines(objects.numbers) if objects else None
    classes = found.segmentation.classes
    picture = overlay(upload.whole, upload.whole_mask(model), classes, outlines, opacity, border)
    name = f"{upload.name}-outline"
    return result_files.picture_to_keep(Image.fromarray(picture), name, "jpeg")


def write_mask(upload: Upload, model: str) -> str:
    """The mask at the photo's own size, as a file."""
    classes = upload.mask(model).segmentation.classes
    colors = dict(enumerate(theme.mask_colors(classes).values(), start=1))
    picture = drawing.indexed_picture(upload.whole_mask(model), colors)
    return result_files.picture_to_keep(picture, f"{upload.name}-mask")


def object_shares(instances: Instances, classes: Sequence[str]) -> dict[str, float]:
    """Share of the picture inside the objects, in their border, and beside them.

    In steps of a tenth of a percent, so that what is shown adds up: the first two to the objects'
    share of the picture, and all to 1.
    """
    within = instances.numbers > 0
    objects, border = round(float(within.mean()), 3), 0.0
    if "border" in classes:
        of_border = within & (instances.mask == classes.index("border") + 1)
        border = round(float(of_border.mean()), 3)
    shares = {"background": 1 - objects, "border": border}
    return {name: shares.get(name, objects - border) for name in classes}


def legend_table(shares: Mapping[str, float], instances: Instances | None) -> str:
    """The classes with their colours and shares of the picture, and the count, as HTML."""
    rows = "".join(
        f"<tr><td>{markup.swatch(color)}{html.escape(say_name('class', name))}</td>"
        f"<td>{number(shares[name], '.1%')}</td></tr>"
        for name, color in theme.mask_colors(shares).items()
    )
    table = (
        f'<table class="facts"><thead><tr><th>{say("mask.class")}</th><th>{say("mask.area")}</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )
    if instances is None:
        return table
    count = markup.swatch(theme.OUTLINE) + say("mask.objects", count=instances.count)
    return f'<p class="count">{count}</p>{table}'
