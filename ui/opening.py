"""The example that the page opens with, answered: what a visitor will get for a photo."""

import html
from functools import cache

import gradio as gr

from models import drawing
from models.images import PhotoError
from ui import examples, markup, pets, theme
from ui.texts import Language, language, say
from ui.uploads import Upload

EXAMPLE = examples.FOLDER / "cat_and_dog.jpg"
# Whether no photo has come yet, nor come and gone.
STILL_OPEN = """(photo) =>
  photo || document.querySelector("#pets-message .notice-text:not(.invites)") ? "" : "example"
"""
SIDE = 760  # pixels: as wide as the page shows it


def build() -> gr.HTML:
    """Lay out its place, in the Pets tab; the styles hide it once a photo is there."""
    return gr.HTML(padding=False, elem_id="opening")


def follow(photo: gr.Image, others: list[gr.Tab]) -> None:
    """Let the example become the photo when a visitor without one opens another tab."""
    wanted = gr.Textbox(visible="hidden")
    for tab in others:
        # In the browser: most visitors have a photo by then, and no tab waits for the server.
        tab.select(
            None,
            photo,
            wanted,
            js=STILL_OPEN,
            api_visibility="private",
        )
    wanted.change(
        lambda wanted: str(EXAMPLE) if wanted else gr.skip(),
        wanted,
        photo,
        show_progress="hidden",
        api_visibility="private",
    )


def shown() -> str:
    """The answered example as HTML, in the visitor's language; computed once for all."""
    return _written(language())


@cache
def _written(_language: Language) -> str:
    upload = Upload(str(EXAMPLE))
    try:
        found = upload.pets
        if not found.pets:
            return ""
    except PhotoError:  # no decoder is there just now: the invitation stands alone
        return ""
    colors = theme.pet_colors(len(found.pets))
    picture = pets.annotated(upload, SIDE)
    cards = "".join(
        pets.card(number, pet, color, pictures=False)
        for number, (pet, color) in enumerate(zip(found.pets, colors, strict=True), start=1)
    )
    shown = markup.figure(drawing.thumbnail(picture, SIDE), "jpeg", say("pets.alt"), "")
    return (
        f'<section class="opening"><p class="ribbon">{html.escape(say("opening.ribbon"))}</p>'
        f'{shown}<div class="pets">{cards}</div></section>'
    )
