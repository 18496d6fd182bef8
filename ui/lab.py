"""A part of the Threshold tab: a mask by one method with all its settings, and its Python."""

import html
import time
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from models import drawing, previews, thresholding
from models.images import PhotoError
from models.thresholding import GLOBAL_METHODS, LOCAL_METHODS, Channel, Settings, ThresholdError
from ui import events, histogram, markup, result_files
from ui.texts import mark, say, say_error
from ui.uploads import Upload

METHODS = (*GLOBAL_METHODS, *LOCAL_METHODS)
OBJECTS = ("light", "dark")


class Controls(NamedTuple):
    """A method and its settings, by their names in a link."""

    method: gr.Dropdown
    objects: gr.Radio
    window: gr.Slider
    k: gr.Slider
    blur: gr.Slider
    hysteresis: gr.Slider
    inner: gr.Checkbox


def build(
    current: gr.State, channel: gr.Dropdown, other_channel: gr.State
) -> dict[str, gr.Component]:
    """Lay out the controls and the mask; return the controls that a link can set.

    `other_channel` changes after `channel` does (see `events.followed`).
    """
    gr.HTML(f"<h2>{mark('lab.title')}</h2>", padding=False)
    controls = _lay_out_controls()
    picture, message, download, button, code = _lay_out_result()

    method, objects, window, k, blur, hysteresis, inner = controls
    other_method, other_objects = events.followed(method), events.followed(objects)
    choice = [current, method, channel, blur, window, k, hysteresis, inner, objects]
    changes = [control.change for control in (blur, window, k, hysteresis, inner)]
    gr.on(
        [current.change, other_channel.change, other_method.change, other_objects.change, *changes],
        show_mask,
        choice,
        [picture, message, download, button, code],
        show_progress="minimal",
        show_progress_on=message,
        **events.LATEST,
    )
    other_method.change(
        show_controls, method, [window, k, inner], show_progress="hidden", api_visibility="private"
    )
    method.input(usual_k, method, k, show_progress="hidden", api_visibility="private")
    events.save_on_click(download, write_mask, choice)
    button.click(
        show_snippet,
        choice,
        code,
        concurrency_id=events.INFERENCE,
        api_visibility="private",
    )
    return controls._asdict()


def _lay_out_controls() -> Controls:
    with gr.Row():
        method = gr.Dropdown(
            [(mark(f"method.{name}"), name) for name in METHODS],
            value="otsu",
            label=mark("lab.method"),
            elem_id="lab-method",
        )
        objects = gr.Radio(
            [(mark(f"lab.{name}"), name) for name in OBJECTS],
            value="light",
            label=mark("lab.objects"),
            elem_id="lab-objects",
        )
    with gr.Row():
        window = gr.Slider(
            3,
            301,
            value=51,
            step=2,
            label=mark("lab.window"),
            info=mark("lab.window_info"),
            visible=False,
            elem_id="lab-window",
        )
        k = gr.Slider(
            -1,
            1,
            value=0.2,
            step=0.01,
            label=mark("lab.k"),
            info=mark("lab.k_info"),
            visible=False,
            elem_id="lab-k",
        )
    with gr.Row():
        blur = gr.Slider(
            0,
            5,
            value=0,
            step=0.1,
            label=mark("lab.blur"),
            info=mark("lab.blur_info"),
            elem_id="lab-blur",
        )
        hysteresis = gr.Slider(
            0,
            0.5,
            value=0,
            step=0.01,
            label=mark("lab.hysteresis"),
            info=mark("lab.hysteresis_info"),
            elem_id="lab-hysteresis",
        )
    inner = gr.Checkbox(label=mark("lab.inner"), elem_id="lab-inner")
    return Controls(method, objects, window, k, blur, hysteresis, inner)


def _lay_out_result() -> tuple[gr.Image, gr.HTML, gr.Button, gr.Button, gr.Textbox]:
    """The mask, the message, both buttons, and the Python code."""
    picture = gr.Image(
        label=mark("lab.picture"),
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        alt_text=mark("lab.picture_alt"),
        elem_id="lab-picture",
    )
    message = gr.HTML(
        markup.notice(mark("lab.hint")),
        padding=False,
        elem_id="lab-message",
        elem_classes=markup.SPOKEN,
    )
    with gr.Row():
        download = gr.Button(
            mark("lab.download"), interactive=False, size="sm", elem_id="lab-download"
        )
        button = gr.Button(mark("lab.snippet"), interactive=False, size="sm", elem_id="lab-snippet")
    code = gr.Textbox(
        label=mark("lab.code"),
        visible=False,
        lines=8,
        max_lines=24,
        buttons=["copy"],
        elem_id="lab-code",
    )
    return picture, message, download, button, code


def settings_of(
    method: str,
    channel: Channel,
    blur: float,
    window: int,
    k: float,
    hysteresis: float,
    inner: bool,
    objects: str,
) -> Settings:
    """The settings in the controls, of which each method uses its own."""
    local = LOCAL_METHODS.get(method)
    return Settings(
        method,
        channel,
        blur=blur,
        window=int(window) if local else Settings.window,
        k=k if local and local.k else None,
        hysteresis=hysteresis,
        inner=inner and not local,
        dark=objects == "dark",
    )


def show_controls(method: str) -> tuple[gr.Slider, gr.Slider, gr.Checkbox]:
    """Show the controls that belong to a method: window, k, and leaving out black and white."""
    local = LOCAL_METHODS.get(method)
    return (
        gr.Slider(visible=local is not None),
        gr.Slider(visible=local is not None and local.k is not None),
        gr.Checkbox(visible=local is None),
    )


def usual_k(method: str) -> object:
    """The initial k of a method."""
    local = LOCAL_METHODS.get(method)
    return local.k[0] if local and local.k else gr.skip()


def show_mask(
    upload: Upload | None, *values: object
) -> tuple[object, str, gr.Button, gr.Button, gr.Textbox]:
    """Mask, message, both buttons, and the removal of the previous Python code."""
    nothing, away = gr.Button(interactive=False), gr.Textbox(visible=False)
    if upload is None:
        return None, markup.notice(say("lab.hint")), nothing, nothing, away
    settings = settings_of(*values)  # type: ignore[arg-type]
    try:
        gray = upload.prepared(settings)
        start = time.perf_counter()
        found = thresholding.segment(gray, settings)
    except PhotoError as error:
        return None, markup.notice(say_error(error), wrong=True), nothing, nothing, away
    except ThresholdError as error:
        return None, markup.notice(say_error(error)), nothing, nothing, away
    seconds = time.perf_counter() - start
    share = float(found.mask.mean())
    name = say(f"method.{settings.method}")
    if found.cut is None:
        line = say("lab.local", method=name, share=share)
    else:
        scale, _ = histogram.scale_of(upload.histogram(settings.channel))
        cut = scale.written(found.cut)
        line = say("lab.cut", method=name, cut=cut, share=share)
    few = drawing.fewer_pixels(found.mask.view(np.uint8) * np.uint8(255), previews.SIDE)
    # With one bit a pixel, which takes half of the time and of the bytes that eight take.
    shown = result_files.picture_to_keep(Image.fromarray(few).convert("1"), "mask")
    usable = gr.Button(interactive=True)
    message = markup.found(line) + explanation(settings.method) + markup.took(seconds, "CPU")
    return shown, message, usable, usable, away


def write_mask(upload: Upload, *values: object) -> str:
    """The mask of all the picture's pixels as a file: 255 in the objects, 0 elsewhere.

    Raises
    ------
    gr.Error
        If the method finds no cut.
    """
    return write_settings(upload, settings_of(*values))  # type: ignore[arg-type]


def write_settings(upload: Upload, settings: Settings) -> str:
    """Like `write_mask`, with given settings."""
    try:
        mask = thresholding.segment(upload.prepared(settings), settings).mask
    except ThresholdError as error:
        raise gr.Error(say_error(error), print_exception=False) from None
    picture = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
    name = f"{upload.name}-{settings.channel}-{settings.method}"
    return result_files.picture_to_keep(picture, name)


def show_snippet(upload: Upload | None, *values: object) -> gr.Textbox:
    """The Python code for the mask on the page."""
    if upload is None:
        return gr.Textbox(visible=False)
    settings = settings_of(*values)  # type: ignore[arg-type]
    try:
        code = thresholding.snippet(
            upload.prepared(settings),
            settings,
            Path(upload.path).name,
            upload.number_type,
            upload.coloured,
            [axis.index for axis in upload.picture.axes],
        )
    except PhotoError as error:
        raise gr.Error(say_error(error), print_exception=False) from None
    return gr.Textbox(code, visible=True)


def explanation(method: str) -> str:
    """How a method chooses and who proposed it, as HTML that can be unfolded."""
    known = GLOBAL_METHODS.get(method) or LOCAL_METHODS[method]
    name, how = say(f"method.{method}"), html.escape(say(f"method.{method}.how"))
    return (
        f"<details><summary>{html.escape(say('threshold.how', method=name))}</summary>{how} "
        f'<cite lang="en">{html.escape(known.paper)}</cite></details>'
    )
