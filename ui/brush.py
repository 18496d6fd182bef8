"""Correcting a mask by hand: a canvas to paint on, which sends its strokes here; see `brush.js`.

The browser keeps the strokes and sends all of them after each one, so undoing one is the same as
drawing one. What it sends may be anything.
"""

import base64
import html
import json
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np

from models import correcting, drawing, store
from models.correcting import MOST_STROKES, Stroke
from models.images import PhotoError
from models.scaling import reduced_size
from ui import events
from ui.scripts import script
from ui.texts import raw, say
from ui.uploads import Upload

MASK_SIDE = 512  # pixels, longer side of the mask on the canvas
STEEPNESS = 6  # steepness of the mask's edge, times the network's
SPOKEN = ("brush.inside", "brush.outside")  # by the script
CLOSED = '<button type="button" class="brush-open" aria-expanded="false">{text}</button>'


def build(shown: events.ShownMask, corrected: gr.State, name: str) -> None:
    """Lay out a canvas that is opened by a button.

    Parameters
    ----------
    shown
        The mask to correct.
    corrected
        Where the upload with the visitor's strokes comes.
    name
        Of the tab, for the element's id.
    """
    with gr.HTML(
        html_template="@children",
        js_on_load=script("brush"),
        elem_id=f"brush-{name}",
        elem_classes="brush",
    ) as drawn:
        area, layer = gr.HTML(padding=False), gr.HTML(padding=False)
    inputs = shown.inputs(drawn)
    gr.on(shown.changes, show_canvas, inputs, [area, layer], **events.HIDDEN)
    drawn.release(take_strokes, inputs, [corrected, area, layer], **events.HIDDEN)


def show_canvas(
    upload: Upload | None, drawn: object, model: str | None = None
) -> tuple[object, object]:
    """The button that opens the canvas, or the open canvas; and the mask on it, as HTML."""
    said = drawn if isinstance(drawn, dict) else {}
    model = model or store.default("segmentation")
    try:
        if upload is None or not upload.correctable(model):
            return "", ""
        if not said.get("open"):
            return CLOSED.format(text=html.escape(say("brush.open"))), ""
        area: object = gr.skip() if said.get("key") == upload.key else _area(upload)
        return area, _layer(upload, model, said.get("serial"))
    except PhotoError:  # the tab says it
        return "", ""


def take_strokes(
    upload: Upload | None, drawn: object, model: str | None = None
) -> tuple[object, object, object]:
    """The upload with the strokes of the canvas, if they are for it, and the canvas."""
    strokes = read_strokes(drawn)
    corrected: object = gr.skip()
    if upload and strokes is not None and isinstance(drawn, dict) and drawn["key"] == upload.key:
        corrected = upload = replace(upload, strokes=strokes)
    area, layer = show_canvas(upload, drawn, model)
    if strokes is not None and isinstance(layer, str):
        layer = layer.replace('class="brush-layer"', 'class="brush-layer" data-answer="yes"', 1)
    return corrected, area, layer


def read_strokes(drawn: object) -> tuple[Stroke, ...] | None:
    """The strokes in what a browser sent; None if there are none, or they are invalid."""
    if not isinstance(drawn, dict) or not isinstance(drawn.get("strokes"), list):
        return None
    if len(drawn["strokes"]) > MOST_STROKES or not isinstance(drawn.get("key"), str):
        return None
    try:
        return tuple(_stroke(each) for each in drawn["strokes"])
    except (TypeError, ValueError, KeyError):
        return None


def _stroke(said: Any) -> Stroke:  # noqa: ANN401 -- anything
    points = tuple((float(x), float(y)) for x, y in said["points"])
    return Stroke(said["keep"] is True, points, float(said["radius"]))


def _area(upload: Upload) -> str:
    """The tools and the canvas, with the photo in it."""
    photo = base64.b64encode(drawing.thumbnail(upload.preview, max(upload.preview.shape))).decode()
    texts = {key.partition(".")[2]: raw(key) for key in SPOKEN}

    def button(kind: str, more: str = "") -> str:
        text = html.escape(say(f"brush.{kind}"))
        return f'<button type="button" class="{kind}"{more}>{text}</button>'

    size = html.escape(say("brush.size"))
    keep, remove = button("keep", ' aria-pressed="true"'), button("remove", ' aria-pressed="false"')
    history = "".join(button(kind, " disabled") for kind in ("undo", "redo", "reset"))
    return (
        f'<div class="brush-area" data-key="{html.escape(upload.key)}" '
        f'data-most="{MOST_STROKES}" data-points="{correcting.MOST_POINTS}" '
        f'data-texts="{html.escape(json.dumps(texts))}">'
        f'<div class="brush-tools" role="group" aria-label="{html.escape(say("brush.open"))}">'
        f"{keep}{remove}"
        f'<label>{size} <input type="range" min="4" max="80" value="12"></label>'
        f"{history}{button('close')}</div>"
        f'<canvas tabindex="0" role="application" aria-label="{html.escape(say("brush.canvas"))}"'
        f'></canvas><p class="hint brush-said" role="status"></p>'
        f'<p class="hint brush-how">{html.escape(say("brush.how"))}</p>'
        f'<img hidden alt="" src="data:image/jpeg;base64,{photo}"></div>'
    )


def _layer(upload: Upload, model: str, serial: object) -> str:
    """The mask on the canvas, and the strokes that led to it."""
    found = upload.mask(model).segmentation
    foreground = found.resized(*reduced_size(*found.shape, MASK_SIDE)).foreground()
    # A steep edge: the network's own is wide, and the canvas draws a line along it.
    steep = np.clip((foreground - 0.5) * STEEPNESS + 0.5, 0, 1)
    alpha = np.round(steep * 255).astype(np.uint8)
    mask = base64.b64encode(drawing.opacity_preview(alpha)).decode()
    strokes = [
        {"keep": each.keep, "points": each.points, "radius": each.radius} for each in upload.strokes
    ]
    share = say("brush.share", share=float((alpha > 127).mean()))
    return (
        f'<div class="brush-layer" data-key="{html.escape(upload.key)}" '
        f'data-serial="{int(serial) if isinstance(serial, int) else 0}" '
        f'data-share="{html.escape(share)}" data-strokes="{html.escape(json.dumps(strokes))}" '
        f'data-mask="data:image/png;base64,{mask}"></div>'
    )
