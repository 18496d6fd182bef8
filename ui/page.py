"""The whole page: one photo on the left, the tabs that look at it on the right."""

import gradio as gr

from models import store
from ui import breed, mask, mask_lesson, pets, photos, threshold

HEADER = """
<header class="petscope-header">
<h1>Petscope</h1>
<p>One photo in: which pets are in it, where, of which breed, and how light and dark part it.</p>
</header>
"""

# Uploads and results are looked through every ten minutes and deleted after an hour.
DELETE_CACHE = (600, 3600)


def build() -> gr.Blocks:
    """Build the page; its theme and styles are given to `launch` (see `app.py`)."""
    with gr.Blocks(title="Petscope", analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        gr.HTML(HEADER)
        if sentence := store.notice():
            gr.HTML(photos.notice(sentence), elem_id="models-notice")
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                current = photos.build()
            with gr.Column(scale=7, min_width=320), gr.Tabs(elem_id="tabs"):
                with gr.Tab("Pets", id="pets"):
                    pets.build(current)
                with gr.Tab("Threshold", id="threshold"):
                    threshold.build(current)
                with gr.Tab("Mask", id="mask"):
                    mask_lesson.build(current, mask.build(current))
                with gr.Tab("Breed", id="breed"):
                    breed.build(current)
    return page
