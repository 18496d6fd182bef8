"""“This is wrong”: the form under each pet and each mask, if the owner asks for corrections.

A form shows what would be kept, and where. Only after the visitor has agreed to that for this photo
does the server keep it; see `serving.feedback`, and `feedback.js` for the browser's part. What the
browser sends may be anything.
"""

import html
from dataclasses import dataclass
from hashlib import blake2s
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from models import drawing, pet_folders, store
from models.images import Photo, PhotoError
from models.pipeline import Pet
from models.regions import numbered
from serving import feedback, internals
from serving.feedback import Refused
from ui import events, markup, theme
from ui.scripts import script
from ui.texts import say, say_breed, say_error
from ui.uploads import Upload

SHOWN_SIDE = 320
CLASSES = ("pet", "background", "border")


@dataclass(frozen=True)
class Example:
    """What would be kept of an upload.

    Attributes
    ----------
    photo
        `(height, width, 3)` uint8 RGB: the preview, or a part of it.
    trimap
        `(height, width)` uint8, as of `pet_folders.trimap`.
    pet
        Whose breed is asked for; the largest one if it is not.
    asks
        Whether a breed is asked for: there is one pet, or one was chosen.
    """

    photo: Photo
    trimap: NDArray[np.uint8]
    pet: Pet
    asks: bool

    @property
    def key(self) -> str:
        """Identifies what was shown, so that only this is kept."""
        return blake2s(self.photo.tobytes() + self.trimap.tobytes(), digest_size=16).hexdigest()

    @property
    def species(self) -> str:
        """What it is, "cat" or "dog", whatever the breed."""
        if self.pet.otherwise and self.pet.otherwise.kind in pet_folders.SPECIES:
            return self.pet.otherwise.kind
        best = self.pet.breeds[0].species
        return best if best in pet_folders.SPECIES else "dog"


def build(shown: events.ShownMask, name: str) -> None:
    """Lay out the button and its form; nothing where nobody asks for corrections.

    Parameters
    ----------
    shown
        The mask that may be wrong.
    name
        Of the tab, for the element's id. On the Pets tab, the buttons are in the pets' cards.
    """
    if feedback.keeper() is None:
        return
    with gr.HTML(
        html_template="@children",
        js_on_load=script("feedback"),
        elem_id=f"feedback-{name}",
        elem_classes="feedback",
    ) as asked:
        area = gr.HTML(padding=False)
    inputs = shown.inputs(asked)
    of_pets = name == "pets"

    def follow_feedback(upload: Upload | None, said: object, model: str | None = None) -> str:
        return show(upload, said, None if of_pets else model or store.default("segmentation"))

    def answer_feedback(upload: Upload | None, said: object, model: str | None = None) -> str:
        return answer(upload, said, None if of_pets else model or store.default("segmentation"))

    gr.on(shown.changes, follow_feedback, inputs, area, **events.HIDDEN)
    asked.submit(
        answer_feedback,
        inputs,
        area,
        show_progress="hidden",
        concurrency_id=events.INFERENCE,
        api_visibility="private",
    )


def opener(place: int | None = None, name: str = "") -> str:
    """The button that opens the form, for one of the pets if given; nothing if it is off."""
    if feedback.keeper() is None:
        return ""
    text, more = html.escape(say("feedback.open")), ""
    if place is not None:
        more = f' data-pet="{place}" aria-label="{text}: {place}. {html.escape(name)}"'
    return f'<p><button type="button" class="plain feedback-open"{more}>{text}</button></p>'


def show(upload: Upload | None, said: object, model: str | None) -> str:
    """The open form of this upload as it is now, or the button that opens it, as HTML.

    `model` is the mask model on whose tab it stands; None on the Pets tab.
    """
    asked = said if isinstance(said, dict) else {}
    try:
        if upload is None:
            return ""
        if asked.get("step") == "open" and asked.get("photo") == upload.key:
            return form(upload, asked, model)
        shown = model is not None and upload.correctable(model) and upload.pets.pets
        return opener() if shown else ""
    except PhotoError:  # the tab says it
        return ""


def answer(upload: Upload | None, said: object, model: str | None) -> str:
    """What follows a visitor's click: the form, the button again, or that the photo is kept."""
    asked = said if isinstance(said, dict) else {}
    try:
        if upload is None:
            return ""
        if asked.get("step") == "open":
            return form(upload, asked, model)
        if asked.get("step") == "send":
            return keep(upload, asked, model)
        return show(upload, None, model)
    except PhotoError as error:
        return markup.notice(say_error(error), wrong=True)


def example(upload: Upload, place: object, model: str | None) -> Example | None:
    """What would be kept of an upload; None if there is no such pet, or no mask of pets.

    With several pets, one that is chosen is kept with its surroundings: all that the classifier saw
    of the photo. Other pets in there stay pets in its trimap.
    """
    pets = upload.pets.pets
    height, width = upload.preview.shape[:2]
    if not pets:
        return None
    if model is not None:
        if not upload.correctable(model):
            return None
        inside = upload.mask(model).segmentation.resized(height, width).foreground() > 0.5
        return Example(upload.preview, pet_folders.trimap(inside), pets[0], len(pets) == 1)
    if not isinstance(place, int) or not 1 <= place <= len(pets):
        return None
    inside = numbered([pet.region for pet in pets], height, width) > 0
    left, upper, right, lower = pets[place - 1].crop if len(pets) > 1 else (0, 0, width, height)
    seen = slice(upper, lower), slice(left, right)
    return Example(upload.preview[seen], pet_folders.trimap(inside[seen]), pets[place - 1], True)


def form(upload: Upload, asked: dict[str, Any], model: str | None, note: str = "") -> str:
    """What would be kept, where, the choice of the breed, and the agreement, as HTML."""
    place = asked.get("pet")
    found = example(upload, place, model)
    if found is None:
        return show(upload, None, model)
    title = (
        say("feedback.title") if model or place is None else say("feedback.title_pet", number=place)
    )
    agree, send, close = (html.escape(say(f"feedback.{key}")) for key in ("agree", "send", "close"))
    pet = f' data-pet="{place}"' if isinstance(place, int) else ""
    return (
        f'<section class="feedback-form" data-photo="{html.escape(upload.key)}" '
        f'data-shown="{found.key}"{pet} aria-label="{html.escape(title)}">'
        f'<h2 tabindex="-1">{html.escape(title)}</h2>{note}{_picture(found)}'
        f'<p class="hint">{html.escape(_how())}</p>'
        f"{_breeds(asked.get('breed')) if found.asks else _no_breed()}"
        f'<p class="feedback-where">{html.escape(where())}</p>'
        f'<label class="feedback-agree"><input type="checkbox"> <span>{agree}</span></label>'
        f'<p><button type="button" class="plain feedback-send" disabled>{send}</button> '
        f'<button type="button" class="plain feedback-close">{close}</button></p></section>'
    )


def where() -> str:
    """One sentence: what is kept, and where."""
    keeper = feedback.keeper()
    if keeper and keeper.data_set:
        return say("feedback.where_hub", name=keeper.data_set)
    return say("feedback.where_folder")


def _how() -> str:
    return say("feedback.correct", cut_out=say("tab.cut-out"), mask=say("tab.mask"))


def _picture(found: Example) -> str:
    """The photo with its mask as it would be kept."""
    colors = {
        value: color
        for value, color in enumerate(theme.mask_colors(CLASSES).values(), start=1)
        if value != pet_folders.BACKGROUND
    }
    picture = drawing.overlay(found.photo, found.trimap, colors, 0.5)
    small = drawing.thumbnail(picture, SHOWN_SIDE)
    return markup.figure(
        small, "jpeg", say("feedback.picture_alt"), html.escape(say("feedback.picture"))
    )


def _breeds(chosen: object) -> str:
    """The list of breeds to choose from; none of them is chosen unless the visitor did it."""

    def options(species: str) -> str:
        named = sorted(
            (say_breed(each.name, both=True), each.name)
            for each in pet_folders.breeds()
            if each.species == species
        )
        return "".join(
            f'<option value="{html.escape(name)}"{" selected" if name == chosen else ""}>'
            f"{html.escape(text)}</option>"
            for text, name in named
        )

    groups = "".join(
        f'<optgroup label="{html.escape(say(key))}">{options(species)}</optgroup>'
        for species, key in (("cat", "breed.cats"), ("dog", "breed.dogs"))
    )
    return (
        f'<label class="feedback-breed">{html.escape(say("feedback.breed"))} '
        f'<select><option value="">{html.escape(say("feedback.another"))}</option>{groups}</select>'
        "</label>"
    )


def _no_breed() -> str:
    return f'<p class="hint">{html.escape(say("feedback.several", pets=say("tab.pets")))}</p>'


def keep(upload: Upload, asked: dict[str, Any], model: str | None) -> str:
    """Keep what the visitor saw, if they agreed to it for this photo; say what came of it."""
    keeper, found = feedback.keeper(), example(upload, asked.get("pet"), model)
    if keeper is None or found is None or asked.get("photo") != upload.key:
        return show(upload, None, model)
    if asked.get("agreed") is not True or asked.get("shown") != found.key:
        note = markup.notice(say("feedback.again"), wrong=True)
        return form(upload, asked, model, note)
    try:
        name = keeper.keep(
            internals.current_client(),
            found.photo,
            found.trimap,
            _known(asked.get("breed")) if found.asks else None,
            found.species,
        )
    except Refused as refused:
        note = markup.notice(say(f"feedback.{refused.key}", **refused.values), wrong=True)
        return form(upload, asked, model, note)
    thanks = html.escape(say("feedback.thanks"))
    number = f"{html.escape(say('feedback.number'))} <code>{name}</code>"
    return f'<p class="feedback-kept" role="status" tabindex="-1">{thanks} {number}</p>'


def _known(breed: object) -> str | None:
    """A breed that the browser names, if it is one."""
    return next((each.name for each in pet_folders.breeds() if each.name == breed), None)
