"""The example pictures, with the credits that their authors ask for."""

import csv
import html
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from ui.texts import mark

FOLDER = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True)
class Example:
    """A picture of the gallery, with its title for the layout and the credit it asks for."""

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
    """The credits as HTML. They are quoted as they are, in English."""
    items = "".join(f"<li>{html.escape(example.credit)}</li>" for example in shown)
    return f'<ul lang="en">{items}</ul>'


def build_credits() -> None:
    """Lay out who made the examples."""
    with gr.Accordion(mark("examples.credits"), open=False, elem_classes="credits"):
        gr.HTML(credits_list(examples()), padding=False)
