"""The Cut out tab: the pet alone, with a soft edge, on a background of the visitor's choice."""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from models import framing, matting
from models.images import Photo, PhotoError
from ui import breed, brush, events, feedback, markup, pets, photo_input, result_files
from ui.texts import mark, say, say_error
from ui.uploads import Edge, Upload

Background = Literal["transparent", "color", "blurred", "own"]

SET_ALTERNATIVE_TEXTS = f"""() => {{
  const texts = ["{mark("cutout.before")}", "{mark("cutout.after")}"];
  document.querySelectorAll("#cut-out img").forEach((image, i) => {{ image.alt = texts[i]; }});
}}"""

# Browsers allow copying only in response to a click, so it starts immediately and the file follows.
START_COPYING = """(...inputs) => {
  const file = new Promise((resolve) => { window.cutOutFile = resolve; });
  const content = async () => (await fetch((await file).url)).blob();
  const copy = async () =>
    navigator.clipboard.write([new ClipboardItem({"image/png": content()})]);
  window.cutOutCopied = copy().then(() => true, () => false);
  return inputs;
}"""
FINISH_COPYING = f"""async (file) => {{
  window.cutOutFile(file);
  return (await window.cutOutCopied)
    ? {json.dumps(markup.notice(mark("cutout.copied")))}
    : {json.dumps(markup.notice(mark("cutout.not_copied"), wrong=True))};
}}"""


SWATCHES: dict[str, str] = {
    "white": "#ffffff",
    "black": "#000000",
    "grey": "#8c8c8c",
    "blue": "#2f7fd1",
    "green": "#2e8b57",
    "yellow": "#f2c230",
    "red": "#c0392b",
}
CHOOSE_SWATCH = """element.addEventListener("click", ({ target }) => {
  if (!target.dataset.color) return;
  props.value = target.dataset.color;
  trigger("submit");
});"""


@dataclass(frozen=True)
class Frame:
    """A visitor's choices for a cut-out's frame; lengths are shares of the photo's longer side."""

    outline: float = 0
    crop: bool = False
    margin: float = 0
    square: bool = False


class ColorError(ValueError):
    """A colour that cannot be read."""


def build(
    current: gr.State, corrected: gr.State, chooser: gr.HTML, pets_picture: gr.Image
) -> dict[str, gr.Component]:
    """Lay out the tab; it follows the current photo and its own controls.

    Parameters
    ----------
    current
        The photo.
    corrected
        Where the photo with the visitor's strokes comes.
    chooser, pets_picture
        The Pets tab's cards and photo, in which a visitor chooses a pet.

    Returns
    -------
    The controls that a link can set.
    """
    message = gr.HTML(
        markup.notice(mark("cutout.hint"), waits=True),
        padding=False,
        elem_id="cut-out-message",
        elem_classes=markup.SPOKEN,
    )
    slider = gr.ImageSlider(
        show_label=False,  # it would cover the photo
        interactive=False,
        image_mode=None,
        buttons=["fullscreen"],
        elem_id="cut-out",
        elem_classes="checkered",
    )
    shown = events.ShownMask(current)
    brush.build(shown, corrected, "cut-out")
    feedback.build(shown, "cut-out")
    only = gr.CheckboxGroup(
        [],
        label=mark("cutout.only"),
        info=mark("cutout.only_info"),
        visible=False,
        elem_id="only-pets",
    )
    background, swatches, color, picture = _lay_out_background()
    own = gr.State(None)
    own_message = gr.HTML(padding=False, elem_id="ground-message", elem_classes="refusal")
    shape, kind = _lay_out_edge()
    with gr.Row():
        download = gr.Button(
            mark("cutout.download"), interactive=False, size="md", elem_id="cut-out-download"
        )
        copy = gr.Button(mark("cutout.copy"), interactive=False, size="md", elem_id="cut-out-copy")
    said = gr.HTML(padding=False, elem_id="cut-out-copied", elem_classes=markup.SPOKEN)

    photo_input.keep_usable(picture, own, own_message)
    other_background = _follow_background(background, swatches, color, picture)
    chosen = [only, *shape.values()]
    ground = [current, background, color, own]
    current.change(offer_pets, current, only, show_progress="hidden", api_visibility="private")
    shows: dict[str, Any] = {
        "fn": show_cut_out,
        "inputs": [*ground, *chosen],
        "outputs": [message, slider, download, copy, said],
        "show_progress": "minimal",
        **events.LATEST,
    }
    gr.on(
        [
            *(each.change for each in (current, other_background, color, own)),
            only.input,
            *(each.input for each in shape.values()),
        ],
        **shows,
    )
    _choose_on_pets_tab(chooser, pets_picture, current, only, shows)
    only.input(None, only, js=pets.MARK_CHOSEN)
    slider.change(None, js=SET_ALTERNATIVE_TEXTS)
    events.save_on_click(download, write_cut_out, [*ground, kind, *chosen])
    copied, file = events.on_click(copy, copy_cut_out, [*ground, *chosen], js=START_COPYING)
    copied.success(None, file, said, js=FINISH_COPYING)
    return {"ground": background, "color": color, **shape, "kind": kind}


def _follow_background(
    background: gr.Radio, swatches: gr.HTML, color: gr.ColorPicker, picture: photo_input.PhotoInput
) -> gr.State:
    """Show what the chosen background needs; return a state that changes with the choice."""
    other_background = events.followed(background)
    other_background.change(
        lambda background: (
            gr.update(visible=background == "color"),
            gr.update(visible=background == "color"),
            gr.update(visible=background == "own"),
        ),
        background,
        [color, swatches, picture],
        show_progress="hidden",
        api_visibility="private",
    )
    swatches.submit(None, swatches, color, js="(chosen) => chosen", api_visibility="private")
    return other_background


def _choose_on_pets_tab(
    chooser: gr.HTML,
    pets_picture: gr.Image,
    current: gr.State,
    only: gr.CheckboxGroup,
    shows: dict[str, Any],
) -> None:
    """Let the Pets tab's cards and photo choose pets too; `shows` then shows the cut-out."""
    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    by_card = chooser.submit(pets.toggle, [chooser, only], only, **hidden)
    by_place = pets_picture.select(pets.toggle_at, [current, only], only, **hidden)
    for choice in (by_card, by_place):
        choice.then(None, only, js=pets.MARK_CHOSEN)
        choice.then(**shows)


def _lay_out_background() -> tuple[gr.Radio, gr.HTML, gr.ColorPicker, photo_input.PhotoInput]:
    """The choice of the background, and what two of the choices need: swatches, colour, picture."""
    background = gr.Radio(
        [(mark(f"cutout.ground.{name}"), name) for name in get_args(Background)],
        value="transparent",
        label=mark("cutout.ground"),
        elem_id="ground",
    )
    with gr.HTML(
        html_template="@children",
        js_on_load=CHOOSE_SWATCH,
        visible=False,
        padding=False,
        elem_id="swatches",
    ) as swatches:
        gr.HTML(f'<div class="swatches">{"".join(map(_swatch, SWATCHES))}</div>', padding=False)
    color = gr.ColorPicker(
        "#2f7fd1", label=mark("cutout.color"), visible=False, elem_id="ground-color"
    )
    picture = photo_input.PhotoInput(
        label=mark("cutout.own"),
        sources=["upload", "clipboard"],
        format="png",
        height=220,
        placeholder=markup.placeholder(mark("cutout.own_drop")),
        buttons=[],
        visible=False,
        alt_text=mark("cutout.own_alt"),
        elem_id="ground-picture",
    )
    return background, swatches, color, picture


def _lay_out_edge() -> tuple[dict[str, gr.Slider | gr.Checkbox], gr.Radio]:
    """The controls of edge and frame, as `edge_and_frame` takes them, and the kind of file."""
    with gr.Accordion(mark("cutout.edge"), open=False, elem_id="edge"):
        with gr.Row():
            grow = _slider("grow", -3, 3, 0, 0.1)
            softness = _slider("softness", 0, 2, 0, 0.1)
        with gr.Row():
            outline = _slider("outline", 0, 5, 0, 0.25)
            margin = _slider("margin", 0, 25, 5, 1)
        with gr.Row():
            crop = gr.Checkbox(value=False, label=mark("cutout.crop"), elem_id="crop")
            square = gr.Checkbox(value=False, label=mark("cutout.square"), elem_id="square")
        kind = gr.Radio(
            [("PNG", "png"), ("WebP", "webp"), ("JPEG", "jpeg")],
            value="png",
            label=mark("cutout.kind"),
            info=mark("cutout.kind_info"),
            elem_id="kind",
        )
    shape: dict[str, gr.Slider | gr.Checkbox] = {
        "grow": grow,
        "softness": softness,
        "outline": outline,
        "crop": crop,
        "margin": margin,
        "square": square,
    }
    return shape, kind


def _slider(name: str, least: float, most: float, value: float, step: float) -> gr.Slider:
    """A length in percent of the photo's longer side."""
    return gr.Slider(
        least,
        most,
        value,
        step=step,
        label=mark(f"cutout.{name}"),
        min_width=240,
        elem_id=f"edge-{name}",
    )


def offer_pets(upload: Upload | None) -> gr.CheckboxGroup:
    """The choice of pets, with none chosen yet; hidden if there is only one pet."""
    try:
        found = upload.pets.pets if upload else []
    except PhotoError:  # the tab's message says so
        found = []
    if upload is None or len(found) < 2:
        return gr.CheckboxGroup(choices=[], value=[], visible=False)
    choices = [
        (pets.label(place, pet), pets.choice(upload.key, place))
        for place, pet in enumerate(found, 1)
    ]
    return gr.CheckboxGroup(choices=choices, value=[], visible=True)


def chosen_pets(upload: Upload, only: Sequence[str]) -> tuple[int, ...]:
    """Numbers of the chosen pets; choices for an earlier upload are ignored."""
    own = (name.rpartition(":") for name in only)
    return tuple(int(number) for key, _, number in own if key == upload.key and number.isdigit())


def edge_and_frame(
    upload: Upload,
    only: Sequence[str] = (),
    grow: float = 0,
    softness: float = 0,
    outline: float = 0,
    crop: bool = False,
    margin: float = 0,
    square: bool = False,
) -> tuple[Edge, Frame]:
    """The visitor's choices, from controls in percent of the photo's longer side."""
    edge = Edge(chosen_pets(upload, only), grow / 100, softness / 100)
    return edge, Frame(outline / 100, crop, margin / 100, square)


def show_cut_out(
    upload: Upload | None,
    background: Background,
    color: str,
    own: Upload | None,
    *shape: Any,  # noqa: ANN401
) -> tuple[str, object, object, object, str]:
    """Message, the reduced photo beside the reduced result, both buttons, and the time it took.

    `shape` holds the arguments of `edge_and_frame`.
    """
    off, on = gr.Button(interactive=False), gr.Button(interactive=True)
    if upload is None:
        return markup.notice(say("cutout.hint"), waits=True), None, off, off, ""
    try:
        edge, frame = edge_and_frame(upload, *shape)
        photo, found = upload.preview, upload.cut_out(edge)
        if not upload.pets.pets or not (found.cut_out[:, :, 3] > 127).any():
            return (
                markup.no_pet(f"{breed.nothing(upload)} {say('cutout.none')}"),
                None,
                off,
                off,
                "",
            )
        before, result = compose(photo, found.cut_out, background, color, own, frame)
    except (PhotoError, ColorError) as error:
        return markup.notice(_sentence(error), wrong=True), gr.skip(), off, off, ""
    message, took = "", markup.took(found.seconds, "CPU")
    if background == "own" and own is None:
        message = markup.notice(say("cutout.no_picture"))
    pull = html.escape(say("cutout.pull"))
    sides = result_files.picture_to_show(before), result_files.picture_to_show(result)
    return f'{message}<p class="hint">{pull}</p>', sides, on, on, took


def write_cut_out(
    upload: Upload,
    background: Background,
    color: str,
    own: Upload | None,
    kind: result_files.Kind,
    *shape: Any,  # noqa: ANN401
) -> str:
    """The result at the photo's own size, as a file."""
    try:
        edge, frame = edge_and_frame(upload, *shape)
        cut = upload.whole_cut_out(edge)
        _, result = compose(upload.whole, cut, background, color, own, frame)
        picture = Image.fromarray(result)
        return result_files.picture_to_keep(picture, f"{upload.name}-cut-out", kind)
    except ColorError as error:
        raise gr.Error(_sentence(error), print_exception=False) from None


def copy_cut_out(
    upload: Upload,
    background: Background,
    color: str,
    own: Upload | None,
    *shape: Any,  # noqa: ANN401
) -> str:
    """The same as PNG, the format that every clipboard accepts."""
    return write_cut_out(upload, background, color, own, "png", *shape)


def compose(
    photo: Photo,
    cut: NDArray[np.uint8],
    background: Background,
    color: str,
    own: Upload | None,
    chosen: Frame = Frame(),
) -> tuple[Photo, NDArray[np.uint8]]:
    """The photo and the cut-out on its background, in one frame.

    Returns
    -------
    RGB; and RGB, or RGBA if the background is transparent.

    Raises
    ------
    PhotoError
        If the visitor's own picture is no longer there.
    ColorError
        If the colour, which can be typed, is invalid.
    """
    opacity = cut[:, :, 3]
    box = framing.frame(opacity, chosen.crop, chosen.margin, chosen.square, chosen.outline)
    before = framing.framed(photo, box, beyond=255)
    blurred = background == "blurred"
    ground = matting.blur_background(photo, opacity) if blurred else photo
    width = chosen.outline * max(photo.shape)
    cut = framing.add_outline(framing.framed(cut, box), width)
    if background == "color":
        try:
            red, green, blue, *_ = ImageColor.getrgb(color)
        except ValueError:
            raise ColorError(color) from None
        return before, matting.lay_over(cut, (red, green, blue))
    if blurred:
        return before, matting.lay_over(cut, framing.framed(ground, box, beyond=None))
    if background == "own" and own is not None:
        return before, matting.lay_over(cut, matting.cover(own.whole, *cut.shape[:2]))
    return before, cut


def _swatch(name: str) -> str:
    said = mark(f"cutout.swatch.{name}")
    return (
        f'<button type="button" data-color="{SWATCHES[name]}" aria-label="{said}" title="{said}" '
        f'style="background: {SWATCHES[name]}"></button>'
    )


def _sentence(error: PhotoError | ColorError) -> str:
    return say_error(error) if isinstance(error, PhotoError) else say("cutout.wrong_color")
