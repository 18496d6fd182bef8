"""The example pictures, with the credits that their authors ask for."""

import csv
import html
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from PIL import Image

from models import drawing, store
from models.images import open_photo
from ui.texts import mark

FOLDER = Path(__file__).parent.parent / "examples"
THUMBNAIL_SIDE = 240
NUCLEI = "nuclei"
# The tab for which an example is meant, if not just any.
TABS = {
    NUCLEI: "mask",
    **dict.fromkeys(("coins", "cell", "handwriting", "photographer"), "threshold"),
}


@dataclass(frozen=True)
class Example:
    """A picture of the gallery, with its title for the layout and its credit."""

    path: Path
    title: str
    credit: str


def examples() -> list[Example]:
    """The pictures of `examples/` in the order of its CREDITS.csv."""
    with (FOLDER / "CREDITS.csv").open(newline="") as file:
        return [
            Example(
                FOLDER / row["file"],
                mark(f"example.{Path(row['file']).stem}"),
                f"{row['title']}: {row['author']}, {row['licence']}, {row['source']}"
                + (f" ({row['changes']})" if row["changes"] else ""),
            )
            for row in csv.DictReader(file)
        ]


def credits_list(shown: list[Example]) -> str:
    """The credits as HTML, quoted in English."""
    items = "".join(f"<li>{html.escape(example.credit)}</li>" for example in shown)
    return f'<ul lang="en">{items}</ul>'


def build() -> gr.Gallery:
    """Lay out the gallery."""
    gr.HTML(f'<p class="hint">{mark("examples.try")}</p>', padding=False, elem_id="examples-try")
    return gr.Gallery(
        value=[(_thumbnail(example.path), example.title) for example in examples()],
        label=mark("examples.label"),
        show_label=False,
        columns=4,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )


def follow(gallery: gr.Gallery, photo: gr.Image, tabs: gr.Tabs, model: gr.Radio) -> None:
    """Put a chosen picture into the photo input, and open its tab.

    Parameters
    ----------
    gallery
        The gallery.
    photo
        The photo input.
    tabs
        The tabs, by their ids.
    model
        The choice of the mask model: nuclei need a different one from pets.
    """
    shown = examples()
    counting = [card.name for card in store.cards("segmentation") if card.instances]
    usual = store.default("segmentation")

    def pick(chosen: str, event: gr.SelectData) -> tuple[object, object, object]:
        if event.index not in range(len(shown)):
            return gr.skip(), gr.skip(), gr.skip()
        path = shown[event.index].path
        tab = TABS.get(path.stem)
        right: object = gr.skip()
        if path.stem == NUCLEI and counting and chosen not in counting:
            right = counting[0]
        elif path.stem != NUCLEI and chosen in counting:
            right = usual
        return str(path), gr.Tabs(selected=tab) if tab else gr.skip(), right

    gallery.select(
        pick, model, [photo, tabs, model], show_progress="hidden", api_visibility="private"
    )


def _thumbnail(path: Path) -> Image.Image:
    return Image.fromarray(drawing.reduced(open_photo(path), THUMBNAIL_SIDE))


def build_credits() -> None:
    """Lay out the credits of the examples."""
    with gr.Accordion(mark("examples.credits"), open=False, elem_classes="credits"):
        gr.HTML(credits_list(examples()), padding=False)
