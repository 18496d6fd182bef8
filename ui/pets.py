"""The Pets tab: each pet of the photo, with its breed and the evidence for it."""

import html
from collections.abc import Sequence

import gradio as gr
import numpy as np
from PIL import Image

from models import drawing, pipeline, store
from models.drawing import Color
from models.images import Photo, PhotoError
from models.pipeline import Pet
from models.regions import numbered
from ui import breed, events, feedback, markup, result_files, theme
from ui.texts import (
    mark,
    page_address,
    percent,
    say,
    say_breed,
    say_error,
    say_name,
)
from ui.uploads import Upload

CROP_SIDE = 320
CARD_SIDE = 800
HEAT = 0.75  # opacity of the colour at the strongest place

CHOOSE = """element.addEventListener("click", ({ target }) => {
  const button = target.closest?.("button[data-choice]");
  if (!button) return;
  props.value = button.dataset.choice;
  trigger("submit");
});"""
MARK_CHOSEN = """(only) => {
  for (const button of document.querySelectorAll("#pets button[data-choice]")) {
    const chosen = only.includes(button.dataset.choice);
    const was = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", chosen);
    const card = button.closest(".pet");
    card.classList.toggle("chosen", chosen);
    if (chosen && !was) card.scrollIntoView({ block: "nearest" });
  }
}"""


def build(current: gr.State) -> tuple[list[gr.Component], gr.Button, gr.HTML, gr.Image]:
    """Lay out the tab of the current photo.

    Returns
    -------
    The components in which `show_pets` shows its answer; the last of them, a button to turn the
    photo; and the cards and the photo, in which a visitor chooses a pet.
    """
    message = gr.HTML(
        markup.notice(mark("pets.hint"), invites=True),
        padding=False,
        elem_id="pets-message",
        elem_classes=markup.SPOKEN,
    )
    turn = gr.Button(mark("pets.turn"), visible=False, size="sm", elem_id="turn-photo")
    picture = gr.Image(
        label=mark("pets.label"),
        show_label=False,  # it would cover the names
        format="jpeg",
        interactive=False,
        buttons=["fullscreen"],  # it would download what is shown, reduced
        alt_text=mark("pets.alt"),
        elem_id="pets-picture",
    )
    with gr.HTML(
        html_template="@children", js_on_load=CHOOSE, padding=False, elem_id="choose-pet"
    ) as chooser:
        cards = gr.HTML(padding=False, elem_id="pets")
    with gr.Row(visible=False) as downloads:
        download = gr.Button(mark("pets.download"), size="sm", elem_id="pets-download")
        share = gr.Button(mark("pets.card"), size="sm", elem_id="share-card")
    events.save_on_click(download, write_picture, [current])
    events.save_on_click(share, write_card, [current])
    return [message, picture, cards, downloads, turn], turn, chooser, picture


def show_pets(upload: Upload | None) -> tuple[str, str | None, str, object, object]:
    """Message, photo with its pets, a card for each, and the buttons for downloads and turning.

    The last one turns a photo that lies on its side, or turns it back.
    """
    none, turn = gr.Row(visible=False), gr.Button(visible=False)
    if upload is None:
        return markup.notice(say("pets.hint")), None, "", none, turn
    try:
        photo, found = upload.preview, upload.pets
    except PhotoError as error:
        return markup.notice(say_error(error), wrong=True), None, "", none, turn
    if upload.turn:
        turn = gr.Button(say("pets.turn_back"), visible=True)
    if not found.pets:
        return markup.no_pet(breed.nothing(upload)), None, "", none, turn
    colors = theme.pet_colors(len(found.pets))
    cards = "".join(
        card(number, pet, color, photo, upload.key if len(found.pets) > 1 else None)
        for number, (pet, color) in enumerate(zip(found.pets, colors, strict=True), start=1)
    )
    picture = annotated(upload)
    note = html.escape(say("breed.note", breeds=len(found.pets[0].answer.labels)))
    took = markup.took(found.seconds, found.device)
    text = f'<div class="pets">{cards}</div><p class="hint">{note}</p>{took}'
    shown = result_files.picture_to_show(picture, f"{upload.name}-pets")
    message = markup.found(_found(found.pets))
    if found.turn and not upload.turn:
        lies = "pets.upside_down" if found.turn == 180 else "pets.on_its_side"
        message += markup.notice(say(lies))
        turn = gr.Button(say("pets.turn"), visible=True)
    return message, shown, text, gr.Row(visible=True), turn


def _found(pets: Sequence[Pet]) -> str:
    """How many pets were found, and whether their breeds are certain, as a sentence."""
    if not any(pet.refused for pet in pets):
        return say("pets.found", count=len(pets))
    if all(pet.otherwise and not pet.is_animal for pet in pets):
        return say("pets.found_other", count=len(pets))
    return say("pets.found_only", count=len(pets))


def annotated(upload: Upload, side: int | None = None, whole: bool = False) -> Image.Image:
    """The preview with a box, an outline and a name for each pet, or the photo as a whole.

    At most `side` pixels long, if given.
    """
    photo = upload.whole if whole else upload.preview
    found = pipeline.at_size(upload.pets.pets, *photo.shape[:2])
    return drawing.annotate(
        photo,
        [pet.region for pet in found],
        [label(number, pet) for number, pet in enumerate(found, start=1)],
        theme.pet_colors(len(found)),
        side or max(photo.shape),
    )


def write_picture(upload: Upload) -> str:
    """The photo with its pets at its own size, as a file."""
    picture = annotated(upload, whole=True)
    return result_files.picture_to_keep(picture, f"{upload.name}-pets", "jpeg")


def write_card(upload: Upload) -> str:
    """One picture to share: the photo, the breed in large letters, and the page's address.

    Several pets are identified by their boxes.
    """
    photo, pets = upload.preview, upload.pets.pets
    lines = [named(pet) for pet in pets]
    shown = np.asarray(annotated(upload, CARD_SIDE)) if len(pets) > 1 else photo
    footer = [say("pets.made"), *filter(None, [page_address()])]
    card = drawing.share_card(shown, lines, theme.pet_colors(len(pets)), footer)
    return result_files.picture_to_keep(card, f"{upload.name}-petscope")


def label(place: int, pet: Pet) -> str:
    """The text at a pet's box."""
    return f"{place} {' '.join(named(pet))}".rstrip()


def named(pet: Pet) -> tuple[str, str]:
    """A pet's breed, or what it looks like, and how probable; or that this is not sure."""
    best = pet.otherwise if pet.refused else pet.breeds[0]
    if best is None or (pet.refused and best.probability < breed.SURE):
        return say("pets.unsure"), ""
    name = say_name("species", say_breed(best.name))
    return name, percent(best.probability, 0)


def card(
    place: int, pet: Pet, color: Color, photo: Photo | None = None, key: str | None = None
) -> str:
    """A pet as HTML: its five breeds; of the photo, if given, what was seen and the evidence.

    If the breeds are refused, it says so and shows them pale. With the `key` of its upload, it has
    a button to choose this pet.
    """
    known = len(pet.answer.labels)
    name = (
        breed.unknown(pet.otherwise, known)
        if pet.refused
        else say_breed(pet.breeds[0].name, both=True)
    )
    figures = wrong = ""
    if photo is not None:
        figures = f'<div class="pet-pictures">{_evidence(place, pet, photo)}</div>'
        wrong = feedback.opener(place, name)
    kind, hint = "pet", say("pets.share", share=percent(pet.share, 0))
    if pet.refused:
        kind = "pet unsure"
        hint = f"{hint}. {say('pets.closest')} {breed.lead_on(pet.otherwise)}".strip()
    return (
        f'<section class="{kind}"><h2>{markup.swatch(color)}{place}. {html.escape(name)}</h2>'
        f'<p class="hint">{html.escape(hint)}</p>'
        f"{figures}{breed.bars(pet.breeds)}{_look_alikes(pet)}"
        f"{_choice(place, key) if key else ''}{wrong}</section>"
    )


def _choice(place: int, key: str) -> str:
    text = html.escape(say("pets.only", number=place))
    name = html.escape(choice(key, place))
    return f'<button type="button" data-choice="{name}" aria-pressed="false">{text}</button>'


def choice(key: str, place: int) -> str:
    """The name of a pet among those of all uploads."""
    return f"{key}:{place}"


def toggle(name: str | None, only: Sequence[str]) -> list[str]:
    """The pets that stay in the cut-out when one is clicked: it alone, or all if it was alone."""
    return [name] if name and list(only) != [name] else []


def toggle_at(upload: Upload | None, only: Sequence[str], clicked: gr.SelectData) -> object:
    """The same for the pet at a place in the photo; a click beside all pets changes nothing.

    `clicked` has the place in pixels of the picture that is shown.
    """
    try:
        pets = upload.pets.pets if upload else []
    except PhotoError:  # the tab says it
        pets = []
    if upload is None or len(pets) < 2:
        return gr.skip()
    height, width = upload.preview.shape[:2]
    column, row = (int(place) for place in clicked.index)
    if not (0 <= row < height and 0 <= column < width):
        return gr.skip()
    number = int(numbered([pet.region for pet in pets], height, width)[row, column])
    return toggle(choice(upload.key, number), only) if number else gr.skip()


def _look_alikes(pet: Pet) -> str:
    """How often the first two breeds are distinguished, if they are often confused."""
    if pet.refused or len(pet.breeds) < 2:
        return ""
    one, other = (each.name for each in pet.breeds[:2])
    pair = store.read_card(store.default("classification")).look_alikes(one, other)
    if pair is None:
        return ""
    told = say(
        "pets.look_alikes",
        one=say_breed(one),
        other=say_breed(other),
        right=pair.right,
        pictures=pair.pictures,
        share=percent(pair.right / pair.pictures, 0),
    )
    return f'<p class="hint">{html.escape(told)}</p>'


def _evidence(place: int, pet: Pet, photo: Photo) -> str:
    seen = drawing.reduced(pet.seen(photo), CROP_SIDE)
    pictures = figure(seen, say("pets.seen_alt", number=place), say("pets.seen"))
    for candidate in breed.probable(pet.breeds)[:2]:
        name = say_breed(candidate.name)
        evidence = pet.answer.evidence(candidate.name, *seen.shape[:2])
        if evidence is not None:
            pictures += figure(
                drawing.heat(seen, evidence, theme.EVIDENCE, HEAT),
                say("pets.evidence_alt", number=place, breed=name),
                say("pets.evidence", breed=name),
            )
    return pictures


def figure(photo: Photo, alternative: str, caption: str) -> str:
    """A small picture with its caption, as HTML."""
    small = drawing.thumbnail(photo, CROP_SIDE)
    return markup.figure(small, "jpeg", alternative, html.escape(caption))
