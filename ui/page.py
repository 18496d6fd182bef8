"""The whole page: one photo on the left, the tabs that look at it on the right."""

import html

import gradio as gr

from models import store
from serving import internals
from ui import (
    album,
    breed,
    cutout,
    events,
    examples,
    feedback,
    markup,
    mask,
    mask_lesson,
    opening,
    pets,
    photo_input,
    programs,
    sharing,
    threshold,
)
from ui.texts import mark
from ui.uploads import Upload

LANGUAGE = (
    f'<a class="language" href="?lang={mark("page.language_code")}" '
    f'lang="{mark("page.language_code")}">{mark("page.language")}</a>'
)
HEADER = f"""
<header class="petscope-header">
<h1>Petscope</h1>{LANGUAGE}
<p>{mark("page.subtitle")}</p>
<p class="looking">{mark("page.looking")}</p>
</header>
"""

AFTER_PAINTING = "(path) => new Promise((done) => setTimeout(() => done(path), 100))"

PATHS = ("", programs.PATH, "config")  # where Gradio sends the layout


@internals.unlaunched()
def build() -> gr.Blocks:
    """Build the page; its theme and styles are given to `launch` (see `app.py`)."""
    with gr.Blocks(title="Petscope", analytics_enabled=False) as page:
        gr.Navbar(main_page_name=mark("page.main"))
        gr.HTML(HEADER)
        if sentence := store.notice():
            notice = markup.notice(mark("page.other_models"))
            gr.HTML(
                f'{notice}<p class="hint" lang="en">{html.escape(sentence)}</p>',
                elem_id="models-notice",
            )
        # The styles place these on a wide screen; on a phone the results follow the photo.
        with gr.Row(elem_id="page"):
            with gr.Column(min_width=320, elem_id="question"):
                # The upload that was accepted last and that the Pets tab has answered.
                current = gr.State(None)
                answered = gr.State(None)  # the same once this is visible
                corrected = gr.State(None)  # the same with strokes that are not yet answered
                photo, message, chooser = photo_input.build()
            with gr.Column(min_width=320, elem_id="try"):
                gallery = examples.build()
            with (
                gr.Column(min_width=320, elem_id="answers"),
                # All in one row, which scrolls; see the styles. A menu would hide the last ones.
                gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs,
            ):
                with gr.Tab(mark("tab.pets"), id="pets", elem_id="tab-pets"):
                    answers, turn, pet_chooser, pets_picture = pets.build(current)
                    feedback.build(events.ShownMask(current), "pets")
                    example = opening.build()
                with gr.Tab(mark("tab.cut-out"), id="cut-out", elem_id="tab-cut-out"):
                    controls = cutout.build(answered, corrected, pet_chooser, pets_picture)
                with gr.Tab(mark("tab.threshold"), id="threshold", elem_id="tab-threshold"):
                    controls |= threshold.build(answered)
                with gr.Tab(mark("tab.mask"), id="mask", elem_id="tab-mask"):
                    model, chosen, more = mask.build(answered, corrected)
                    controls |= more
                    mask_lesson.build(answered, model, chosen)
                with gr.Tab(mark("tab.breed"), id="breed", elem_id="tab-breed"):
                    breed.build(answered)
                with gr.Tab(mark("tab.album"), id="album", elem_id="tab-album"):
                    album.build()
            with gr.Column(min_width=320, elem_id="more"):
                sharing.build(photo, answered, tabs, controls, example)
                examples.build_credits()
        examples.follow(gallery, photo, tabs, model)
        photo_input.keep_usable(photo, current, message, pets.show_pets, answers, chooser, turn)
        corrected.change(
            follow_strokes,
            [corrected, current],
            [current, *answers],
            **events.HIDDEN,
        )
        # The other tabs wait until this answer is painted: they would slow it down.
        current.change(
            lambda upload: upload,
            current,
            answered,
            js=AFTER_PAINTING,
            show_progress="hidden",
            api_visibility="private",
        )
    with page.route(mark("page.programs"), programs.PATH):
        gr.Navbar(main_page_name=mark("page.main"))
        gr.HTML(f'<div class="petscope-header">{LANGUAGE}</div>', padding=False)
        programs.build()
    return page


def follow_strokes(corrected: Upload | None, current: Upload | None) -> tuple[object, ...]:
    """The corrected upload with its pets; nothing changes if another photo has arrived since."""
    if corrected is None or current is None or corrected.uncorrected != current.uncorrected:
        return (gr.skip(),) * 6
    return corrected, *pets.show_pets(corrected)
