"""The Pets tab: each pet of the photo, with its breed and what speaks for it."""

import html

import gradio as gr

from models import drawing, store
from models.drawing import Color, Photo
from models.images import PhotoError
from models.pipeline import Pet
from ui import breed, mask, naming, photos, theme
from ui.texts import SPACE, mark, number, say, say_error

CROP_SIDE = 320
CARD_SIDE = 800
HEAT = 0.75  # how much colour the strongest place gets


def build(current: gr.State) -> list[gr.Component]:
    """Lay out the tab of the current photo.

    Returns
    -------
    Where `show_pets` shows its answer.
    """
    message = gr.HTML(
        photos.notice(mark("pets.hint")),
        padding=False,
        elem_id="pets-message",
        elem_classes=photos.SPOKEN,
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
    share = gr.Button(mark("pets.card"), interactive=False, size="sm", elem_id="share-card")
    photos.save_on_click(share, write_card, [current])
    return [message, picture, cards, share]


def show_pets(path: str | None) -> tuple[str, Photo | None, str, object]:
    """Message, photo with its pets, a card for each, and the button for a picture to share."""
    nothing = gr.Button(interactive=False)
    if path is None:
        return photos.notice(say("pets.hint")), None, "", nothing
    try:
        photo, named = photos.shown(path), naming.name(path)
    except PhotoError as error:
        return photos.notice(say_error(error), wrong=True), None, "", nothing
    if not named.pets:
        return photos.notice(say("pets.none")), None, "", nothing
    took = photos.took("pets.took", named.seconds, named.device, count=len(named.pets))
    colors = theme.pet_colors(len(named.pets))
    cards = "".join(
        card(number, pet, color)
        for number, (pet, color) in enumerate(zip(named.pets, colors, strict=True), start=1)
    )
    picture = drawing.annotate(
        photo,
        named.regions,
        [pet.box for pet in named.pets],
        [label(number, pet) for number, pet in enumerate(named.pets, start=1)],
        colors,
        max(photo.shape),
    )
    note = html.escape(say("breed.note", breeds=len(named.pets[0].answer.labels)))
    text = f'<div class="pets">{cards}</div><p class="hint">{note}</p>'
    return took, picture, text, gr.Button(interactive=True)


def write_card(path: str) -> str:
    """One picture to send around: the photo with its pets' names, its mask, and the best breeds."""
    photo, named = photos.shown(path), naming.name(path)
    found = mask.find(path, store.default("segmentation"))
    colors = theme.pet_colors(len(named.pets))
    best = [label(number, pet) for number, pet in enumerate(named.pets, start=1)]
    boxes = [pet.box for pet in named.pets]
    classes = dict(enumerate(theme.mask_colors(found.shares).values(), start=1))
    card = drawing.share_card(
        [
            drawing.annotate(photo, named.regions, boxes, best, colors, CARD_SIDE),
            drawing.overlay(photo, found.shown.mask, classes, 0.5),
        ],
        best,
        colors,
        say("pets.made"),
    )
    return photos.result_file(card, "petscope")


def label(place: int, pet: Pet) -> str:
    """What stands at a pet's box."""
    if pet.refused:
        return f"{place} {say('pets.unsure')}"
    share = number(pet.breeds[0].probability, ".0%").replace(SPACE, " ")  # the font has no other
    return f"{place} {pet.breeds[0].name} {share}"


def card(place: int, pet: Pet, color: Color) -> str:
    """A pet as HTML: what the classifier saw, its five breeds, and why the first two.

    Where the breeds are not to be believed it says so, and shows them faintly.
    """
    known = len(pet.answer.labels)
    name = say("pets.unknown", breeds=known) if pet.refused else pet.breeds[0].name
    seen = drawing.reduced(pet.seen, CROP_SIDE)
    pictures = figure(seen, say("pets.seen_alt", number=place), say("pets.seen"))
    for candidate in pet.breeds[:2]:
        evidence = pet.answer.evidence(candidate.name, *seen.shape[:2])
        if evidence is not None:
            pictures += figure(
                drawing.heat(seen, evidence, theme.EVIDENCE, HEAT),
                say("pets.evidence_alt", number=place, breed=candidate.name),
                say("pets.evidence", breed=candidate.name),
            )
    kind, hint = "pet", say("pets.share", share=pet.share)
    if pet.refused:
        kind, hint = "pet unsure", f"{hint}. {say('pets.closest')}"
    return (
        f'<section class="{kind}"><h2>{photos.swatch(color)}{place}. {html.escape(name)}</h2>'
        f'<p class="hint">{html.escape(hint)}</p>'
        f'<div class="pet-pictures">{pictures}</div>{breed.bars(pet.breeds)}</section>'
    )


def figure(photo: Photo, alternative: str, caption: str) -> str:
    """A small picture with its caption, as HTML."""
    small = drawing.thumbnail(photo, CROP_SIDE)
    return photos.figure(small, "jpeg", alternative, html.escape(caption))
