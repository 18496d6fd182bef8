"""The Breed tab: the five most probable of the 37 breeds."""

import html
from collections.abc import Sequence

import gradio as gr

from models import breeds, store
from models.breeds import Otherwise
from models.cards import Card, Kind
from models.images import PhotoError
from ui import events, markup
from ui.texts import mark, mark_breed, percent, say, say_breed, say_error, say_name
from ui.uploads import Upload

LEAST = 0.001  # least probability of a breed that is shown
SURE = 0.3  # from this probability on, the page says what something else looks like
# Names of ImageNet's classes that take no article; plurals do not either.
UNCOUNTABLE = frozenset(
    {
        *("broccoli", "carbonara", "cauliflower", "chain mail", "chocolate sauce", "confectionery"),
        *("consomme", "corn", "dough", "eggnog", "espresso", "face powder", "fur", "guacamole"),
        *("hair spray", "hay", "ice cream", "lotion", "mashed potato", "meat loaf", "rapeseed"),
        *("red wine", "sunscreen", "thatch", "toilet tissue", "velvet", "wool"),
    }
)


def build(current: gr.State) -> None:
    """Lay out the tab; it follows the current photo."""
    message = gr.HTML(
        markup.notice(mark("breed.hint"), waits=True), padding=False, elem_classes=markup.SPOKEN
    )
    answer = gr.HTML(padding=False, elem_id="breeds")
    labels = _card().labels
    with gr.Accordion(mark("breed.known"), open=False, elem_classes="useful"):
        for species, title in (("cat", "breed.cats"), ("dog", "breed.dogs")):
            names = ", ".join(mark_breed(each.name) for each in labels if each.species == species)
            gr.HTML(f"<b>{mark(title)}:</b> {names}", padding=False)
    current.change(
        show_breeds,
        [current],
        [message, answer],
        show_progress="minimal",
        concurrency_id=events.INFERENCE,
        api_visibility="private",
    )


def show_breeds(upload: Upload | None) -> tuple[str, str]:
    """Message and ranking for a photo, pale if it shows none of the breeds.

    For a photo with one pet it is that pet's own, as on the Pets tab.
    """
    if upload is None:
        return markup.notice(say("breed.hint"), waits=True), ""
    try:
        pets = upload.pets
        if not pets.pets:
            return markup.no_pet(nothing(upload)), ""
        alone = len(pets.pets) == 1
        ranking = upload.ranking
    except PhotoError as error:
        return markup.notice(say_error(error), wrong=True), ""
    known = len(_card().labels)
    if not pets.any_known:
        otherwise = pets.pets[0].otherwise
        sentence = f"{unknown(otherwise, known)}. {say('pets.closest')} {lead_on(otherwise)}"
        return markup.notice(sentence.strip()), f'<div class="unsure">{bars(ranking)}</div>'
    note = html.escape(say("breed.note", breeds=known))
    said = say("breed.found") if alone else say("breed.whole")
    return markup.found(said), f'{bars(ranking)}<p class="hint">{note}</p>'


def bars(ranking: Sequence[breeds.Breed]) -> str:
    """The ranking as HTML: name, probability and bar of each, the best first."""
    items = "".join(
        f'<li><div class="name"><span>{html.escape(say_breed(breed.name, both=True))} '
        f'<span class="species">{html.escape(species(breed))}</span></span>'
        f"<span>{html.escape(percent(breed.probability))}</span></div>"
        f'<div class="bar"><div style="width: {breed.probability:.1%}"></div></div></li>'
        for breed in probable(ranking)
    )
    return f'<ol class="bars">{items}</ol>'


def probable(ranking: Sequence[breeds.Breed]) -> list[breeds.Breed]:
    """The part of a ranking that is worth showing; the first one always is."""
    return [each for place, each in enumerate(ranking) if not place or each.probability >= LEAST]


def unknown(otherwise: Otherwise | None, known: int) -> str:
    """Says that something is none of the `known` breeds, and what it looks like if that is sure.

    Without a full stop.
    """
    if otherwise is None or otherwise.probability < SURE:
        return say("pets.unknown", breeds=known)
    what = with_article(otherwise.name, otherwise.kind)
    share = percent(otherwise.probability, 0)
    if otherwise.kind == "dog":
        return say("pets.otherwise.dog", breeds=known, what=what, share=share)
    if otherwise.kind == "cat":
        return say("pets.otherwise.cat", share=share)
    if otherwise.kind == "other animal":
        return say("pets.otherwise.animal", what=what, share=share)
    return say("pets.otherwise.thing", what=what, share=share)


def nothing(upload: Upload) -> str:
    """Says that a photo shows no pet, and what it shows instead if that is fairly certain."""
    otherwise = upload.breed.otherwise
    if otherwise is None or otherwise.kind in ("cat", "dog") or otherwise.probability < SURE:
        return say("pets.none")
    return f"{unknown(otherwise, len(_card().labels))}."


def lead_on(otherwise: Otherwise | None) -> str:
    """The tabs for a picture that shows no animal, as a sentence; nothing for others."""
    if otherwise is None or otherwise.kind != "thing" or otherwise.probability < SURE:
        return ""
    return say("pets.otherwise.lead", threshold=say("tab.threshold"), mask=say("tab.mask"))


def with_article(name: str, kind: Kind) -> str:
    """An ImageNet name in a sentence: "a German shepherd", "an Airedale", "espresso"."""
    plural = name.endswith("s") and not name.endswith("ss")
    if kind == "thing" and (plural or name in UNCOUNTABLE):
        return say("pets.some", name=say_breed(name))
    # "European", "unicycle" and "ukulele" begin with the sound of "you".
    vowel = name[0].lower() in "aeiou" and not name.lower().startswith(("eu", "uni", "uk"))
    return say("pets.an" if vowel else "pets.a", name=say_breed(name))


def species(breed: breeds.Breed) -> str:
    """Cat or dog, in the visitor's language, if known."""
    return say_name("species", breed.species) if breed.species else ""


def _card() -> Card:
    return store.read_card(store.default("classification"))
