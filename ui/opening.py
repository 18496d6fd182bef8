"""The example that the page opens with, answered: what a visitor will get for a photo."""

import html
from functools import cache

import gradio as gr
import numpy as np

from models import drawing
from models.images import PhotoError
from ui import examples, markup, pets, theme
from ui.texts import Language, language, say
from ui.uploads import Upload

EXAMPLE = examples.FOLDER / "cat_and_dog.jpg"
SIDE = 760  # pixels: as wide as the page shows it


def build() -> gr.HTML:
    """Lay out the place for it in the Pets tab; the styles hide it once a photo is there."""
    return gr.HTML(padding=False, elem_id="opening")


def shown() -> str:
    """The answered example as HTML, in the visitor's language; computed once for all."""
    try:
        return _written(language())
    except PhotoError:  # no decoder is available just now: only the invitation is shown
        return ""


@cache
def _written(_language: Language) -> str:
    upload = Upload(str(EXAMPLE))
    found = upload.pets
    if not found.pets:
        return ""
    colors = theme.pet_colors(len(found.pets))
    picture = np.asarray(pets.annotated(upload, SIDE))
    cards = "".join(
        pets.card(number, pet, color)
        for number, (pet, color) in enumerate(zip(found.pets, colors, strict=True), start=1)
    )
    shown = markup.figure(drawing.thumbnail(picture, SIDE), "jpeg", say("pets.alt"), "")
    return (
        f'<section class="opening"><p class="ribbon">{html.escape(say("opening.ribbon"))}</p>'
        f'{shown}<div class="pets">{cards}</div></section>'
    )
