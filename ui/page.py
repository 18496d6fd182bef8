"""The whole page: one photo on the left, the tabs that look at it on the right."""

import gradio as gr

from models import store
from ui import (
    album,
    breed,
    cutout,
    mask,
    mask_lesson,
    pets,
    photos,
    programs,
    sharing,
    threshold,
)

HEADER = """
<header class="petscope-header">
<h1>Petscope</h1>
<p>One photo in: which pets are in it, where, of which breed, and how light and dark part it.</p>
</header>
"""

MAIN = "Your photo"  # what links to this page are called


def build() -> gr.Blocks:
    """Build the page; its theme and styles are given to `launch` (see `app.py`)."""
    with gr.Blocks(title="Petscope", analytics_enabled=False) as page:
        gr.Navbar(main_page_name=MAIN)
        gr.HTML(HEADER)
        if sentence := store.notice():
            gr.HTML(photos.notice(sentence), elem_id="models-notice")
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                photo, current = photos.build()
                link = gr.Column()
            with gr.Column(scale=7, min_width=320), gr.Tabs(elem_id="tabs") as tabs:
                with gr.Tab("Pets", id="pets"):
                    answered = pets.build(current)
                with gr.Tab("Cut out", id="cut-out"):
                    cutout.build(answered)
                with gr.Tab("Threshold", id="threshold"):
                    controls = threshold.build(answered)
                with gr.Tab("Mask", id="mask"):
                    model = mask.build(answered)
                    mask_lesson.build(answered, model)
                with gr.Tab("Breed", id="breed"):
                    breed.build(answered)
                with gr.Tab("Many photos", id="album"):
                    album.build()
        with link:
            sharing.build(photo, current, tabs, {**controls, "model": model})
    with page.route("For programs", programs.PATH):
        gr.Navbar(main_page_name=MAIN)
        programs.build()
    return page
