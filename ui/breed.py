"""The Breed tab: the five most probable of the 37 breeds."""

import html
import time
from collections.abc import Sequence

import gradio as gr

from models import breeds, store
from models.images import PhotoError
from ui import naming, photos

HINT = "Choose a photo to see which breed it looks like."
NOTE = "The five most probable of {} breeds. Mixed breeds get an answer too."
UNKNOWN = "Probably not one of the {} breeds"
CLOSEST = "These are the closest."


def build(current: gr.State) -> None:
    """Lay out the tab; it follows the current photo."""
    message = gr.HTML(photos.notice(HINT), padding=False)
    answer = gr.HTML(padding=False, elem_id="breeds")
    labels = _classifier().card.labels
    with gr.Accordion("The breeds it knows", open=False):
        for species in ("cat", "dog"):
            names = ", ".join(label.name for label in labels if label.species == species)
            gr.Markdown(f"**{species.capitalize()}s:** {names}")
    current.change(
        show_breeds,
        [current],
        [message, answer],
        show_progress="minimal",
        concurrency_id=photos.INFERENCE,
        api_visibility="private",
    )


def show_breeds(path: str | None) -> tuple[str, str]:
    """Message and ranking for a photo, faint where it shows none of the breeds."""
    if path is None:
        return photos.notice(HINT), ""
    classifier = _classifier()
    try:
        photo, named = photos.read(path), naming.name(path)
    except PhotoError as error:
        return photos.notice(str(error), wrong=True), ""
    start = time.perf_counter()
    ranking = classifier.predict(photo)
    seconds = time.perf_counter() - start
    took = photos.took(seconds, classifier.device, "Breed found")
    known = len(classifier.card.labels)
    if named.sure:
        return took, f'{bars(ranking)}<p class="hint">{NOTE.format(known)}</p>'
    sentence = f"{UNKNOWN.format(known)}. {CLOSEST}"
    return photos.notice(sentence), f'<div class="unsure">{bars(ranking)}</div>'


def bars(ranking: Sequence[breeds.Breed]) -> str:
    """The ranking as HTML: a name, a probability and a bar each, best first."""
    items = "".join(
        f'<li><div class="name"><span>{html.escape(breed.name)} '
        f'<span class="species">{breed.species or ""}</span></span>'
        f"<span>{breed.probability:.1%}</span></div>"
        f'<div class="bar"><div style="width: {breed.probability:.1%}"></div></div></li>'
        for breed in ranking
    )
    return f'<ol class="bars">{items}</ol>'


def _classifier() -> breeds.BreedClassifier:
    return breeds.load(store.default("classification"))
