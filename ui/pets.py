"""The Pets tab: each pet of the photo, with its breed and the evidence for it."""

import html

import gradio as gr

from models import drawing, store
from models.drawing import Color
from models.images import Photo, PhotoError
from models.pipeline import Pet
from ui import breed, events, markup, result_files, theme
from ui.texts import SPACE, mark, number, say, say_error
from ui.uploads import Upload

CROP_SIDE = 320
CARD_SIDE = 800
HEAT = 0.75  # opacity of the colour at the strongest place


def build(current: gr.State) -> list[gr.Component]:
    """Lay out the tab of the current photo.

    Returns
    -------
    The components in which `show_pets` shows its answer.
    """
    message = gr.HTML(
        markup.notice(mark("pets.hint"), invites=True),
        padding=False,
        elem_id="pets-message",
        elem_classes=markup.SPOKEN,
    )
    picture = gr.Image(
        label=mark("pets.label"),
        show_label=False,  # it would lie over the names
        format="jpeg",
        interactive=False,
        buttons=["download", "fullscreen"],
        alt_text=mark("pets.alt"),
        elem_id="pets-picture",
    )
    cards = gr.HTML(padding=False, elem_id="pets")
    share = gr.Button(mark("pets.card"), visible=False, size="sm", elem_id="share-card")
    events.save_on_click(share, write_card, [current])
    return [message, picture, cards, share]


def show_pets(upload: Upload | None) -> tuple[str, str | None, str, object]:
    """Message, photo with its pets, a card for each, and the button for a card to share."""
    nothing = gr.Button(visible=False)
    if upload is None:
        return markup.notice(say("pets.hint")), None, "", nothing
    try:
        photo, found = upload.preview, upload.pets
    except PhotoError as error:
        return markup.notice(say_error(error), wrong=True), None, "", nothing
    if not found.pets:
        return markup.notice(say("pets.none")), None, "", nothing
    took = markup.took("pets.took", found.seconds, found.device, count=len(found.pets))
    colors = theme.pet_colors(len(found.pets))
    cards = "".join(
        card(number, pet, color, photo)
        for number, (pet, color) in enumerate(zip(found.pets, colors, strict=True), start=1)
    )
    picture = annotated(upload, max(photo.shape))
    note = html.escape(say("breed.note", breeds=len(found.pets[0].answer.labels)))
    text = f'<div class="pets">{cards}</div><p class="hint">{note}</p>'
    shown = result_files.picture_to_show(picture, "pets")
    return took, shown, text, gr.Button(visible=True)


def annotated(upload: Upload, side: int) -> Photo:
    """The photo with a box, an outline and a name for each pet, at most `side` pixels long."""
    found = upload.pets
    return drawing.annotate(
        upload.preview,
        [pet.region for pet in found.pets],
        [label(number, pet) for number, pet in enumerate(found.pets, start=1)],
        theme.pet_colors(len(found.pets)),
        side,
    )


def write_card(upload: Upload) -> str:
    """One picture to share: the photo with its pets' names, its mask, and the best breeds."""
    photo, found = upload.preview, upload.pets
    mask = upload.mask(store.default("segmentation")).segmentation
    colors = theme.pet_colors(len(found.pets))
    best = [label(number, pet) for number, pet in enumerate(found.pets, start=1)]
    regions = [pet.region for pet in found.pets]
    classes = dict(enumerate(theme.mask_colors(mask.classes).values(), start=1))
    card = drawing.share_card(
        [
            drawing.annotate(photo, regions, best, colors, CARD_SIDE),
            drawing.overlay(photo, mask.mask, classes, 0.5),
        ],
        best,
        colors,
        say("pets.made"),
    )
    return result_files.picture_to_keep(card, "petscope")


def label(place: int, pet: Pet) -> str:
    """The text at a pet's box."""
    if pet.refused:
        return f"{place} {say('pets.unsure')}"
    share = number(pet.breeds[0].probability, ".0%").replace(SPACE, " ")  # the font has no others
    return f"{place} {pet.breeds[0].name} {share}"


def card(place: int, pet: Pet, color: Color, photo: Photo | None = None) -> str:
    """A pet as HTML: its five breeds; of the photo, if given, what was seen and the evidence.

    If the breeds are refused, it says so and shows them pale.
    """
    known = len(pet.answer.labels)
    name = say("pets.unknown", breeds=known) if pet.refused else pet.breeds[0].name
    figures = ""
    if photo is not None:
        figures = f'<div class="pet-pictures">{_evidence(place, pet, photo)}</div>'
    kind, hint = "pet", say("pets.share", share=pet.share)
    if pet.refused:
        kind, hint = "pet unsure", f"{hint}. {say('pets.closest')}"
    return (
        f'<section class="{kind}"><h2>{markup.swatch(color)}{place}. {html.escape(name)}</h2>'
        f'<p class="hint">{html.escape(hint)}</p>'
        f"{figures}{breed.bars(pet.breeds)}</section>"
    )


def _evidence(place: int, pet: Pet, photo: Photo) -> str:
    seen = drawing.reduced(pet.seen(photo), CROP_SIDE)
    pictures = figure(seen, say("pets.seen_alt", number=place), say("pets.seen"))
    for candidate in pet.breeds[:2]:
        evidence = pet.answer.evidence(candidate.name, *seen.shape[:2])
        if evidence is not None:
            pictures += figure(
                drawing.heat(seen, evidence, theme.EVIDENCE, HEAT),
                say("pets.evidence_alt", number=place, breed=candidate.name),
                say("pets.evidence", breed=candidate.name),
            )
    return pictures


def figure(photo: Photo, alternative: str, caption: str) -> str:
    """A small picture with its caption, as HTML."""
    small = drawing.thumbnail(photo, CROP_SIDE)
    return markup.figure(small, "jpeg", alternative, html.escape(caption))
