"""Look of the page: colours, theme, styles. No font or script is loaded from other servers."""

import json
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import gradio as gr
import numpy as np

from models.drawing import Color
from ui.scripts import script
from ui.texts import PREVIEW_FILE, TEXTS, mark

FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

THEME = gr.themes.Soft(
    primary_hue=gr.themes.colors.teal,
    secondary_hue=gr.themes.colors.amber,
    neutral_hue=gr.themes.colors.stone,
    font=FONT,
    font_mono=MONO,
).set(  # grey and coloured text with a contrast of at least 4.5 to 1
    background_fill_primary="*neutral_50",  # as in Soft, which `set` forgets
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_label_text_color="*primary_800",
    block_label_background_fill_dark="*primary_800",
    block_title_text_color="*primary_800",
    block_title_background_fill_dark="*primary_800",
    block_info_text_color="*neutral_600",
    link_text_color="*primary_700",
    link_text_color_hover="*primary_800",
    link_text_color_dark="*primary_400",
    link_text_color_hover_dark="*primary_300",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    button_secondary_background_fill_hover_dark="*neutral_700",
    button_secondary_border_color="*neutral_500",
    button_secondary_border_color_hover="*neutral_600",
    button_secondary_border_color_dark="*neutral_400",
    checkbox_label_border_color="*neutral_500",
    checkbox_label_border_color_dark="*neutral_400",
    button_border_width="1px",
    input_border_width="1px",
    checkbox_label_border_width="1px",
    checkbox_label_background_fill_selected="*primary_700",
    checkbox_label_background_fill_selected_dark="*primary_700",
    # visible edges of controls: 3 to 1
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
    input_border_color="*neutral_500",
    input_border_color_dark="*neutral_500",
)
# What other sites show for a link: 1,200 x 630 pixels.
PREVIEW = Path(__file__).parent / PREVIEW_FILE
STYLES = Path(__file__).parent / "styles.css"
# Gradio's own texts that exist only in English, or in German with the formal "Sie".
ENGLISH = {
    str(text): mark(f"gradio.{key.partition('.')[2]}")
    for key, text in TEXTS["en"].items()
    if key.startswith("gradio.")
}
WORDING = {
    **ENGLISH,
    "Laden Sie ein Bild hier ab, um es hochzuladen.": mark("photo.drop"),
    **dict.fromkeys(("Drop File Here", "Datei hier ablegen"), mark("album.drop")),
    **dict.fromkeys(("Click to Upload", "Hochladen"), mark("album.choose")),
}
ARRIVALS = {
    reason: mark(f"arrival.{reason}")
    for reason in (
        "camera_denied",
        "camera_missing",
        "camera_failed",
        "camera_insecure",
        "paste_denied",
        "paste_empty",
    )
}
# What the page's head loads; see the scripts for what they do.
HEAD = (
    f"<script>window.wording = {json.dumps(WORDING)};</script>"
    f"<script>window.arrivals = {json.dumps(ARRIVALS)};</script>"
    f"<script>{script('accessible')}</script>"
    f"<script>{script('arrivals')}</script>"
    f"<script>{script('streams')}</script>"
)

# Okabe and Ito's palette, which colour-blind people can distinguish too.
BACKGROUND: Color = (0, 114, 178)
BORDER: Color = (0, 158, 115)
SUBJECTS: tuple[Color, ...] = ((230, 159, 0), (204, 121, 167), (86, 180, 233), (213, 94, 0))
OUTLINE: Color = (255, 255, 255)
EVIDENCE: Color = (213, 94, 0)
ADDED: Color = (0, 158, 115)
REMOVED: Color = (213, 94, 0)

GREY: Color = (128, 128, 128)

# Eight colours of matplotlib's viridis from dark to light, chosen so that the smallest difference
# between any two is as large as possible, for people who see all colours, or no red, green or blue.
RAMP: tuple[Color, ...] = (
    (68, 1, 84),
    (70, 52, 128),
    (53, 95, 141),
    (40, 124, 142),
    (31, 153, 138),
    (61, 188, 116),
    (124, 210, 80),
    (253, 231, 37),
)


def mask_colors(classes: Iterable[str]) -> dict[str, Color]:
    """Colours for a mask's classes: whatever is neither background nor border is a subject."""
    subjects = cycle(SUBJECTS)
    fixed = {"background": BACKGROUND, "border": BORDER}
    return {name: fixed.get(name) or next(subjects) for name in classes}


def pet_colors(pets: int) -> list[Color]:
    """Colours for so many pets, the largest first; they repeat after the fourth."""
    return [SUBJECTS[index % len(SUBJECTS)] for index in range(pets)]


def class_colors(classes: int) -> list[Color]:
    """Colours for 2 to 8 brightness classes, darkest first."""
    places = np.linspace(0, len(RAMP) - 1, classes)
    channels = [np.interp(places, range(len(RAMP)), channel) for channel in zip(*RAMP, strict=True)]
    return [
        (round(red), round(green), round(blue)) for red, green, blue in zip(*channels, strict=True)
    ]


def css(color: Color) -> str:
    """A colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*color)
