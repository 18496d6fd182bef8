"""The few rows of results in README.md, made from the cards of the embedded models.

    python -m training.summary

`python -m training.evaluate ... --write` renews them, too. docs/results.md has all figures.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import documents
from models import store

START = "<!-- summary: written by training.summary -->"
END = "<!-- /summary -->"

OWN_SIZE = "at the photo's own size"
SCENES = "at scenes, as on the page"
FIGURES = {
    "top1": "top-1 {:.1%}",
    "top5": "top-5 {:.1%}",
    "mean_iou": "mean IoU {:.3f}",
    "binary_iou": "binary IoU {:.3f}",
    "right_number_of_1": "right number of 1 pet {:.2f}",
    "right_number_of_2": "of 2 {:.2f}",
    "right_number_of_3": "of 3 {:.2f}",
    "ap50": "AP at IoU 0.5 {:.3f}",
}


def table() -> str:
    """One row for each embedded model, and one for each rule that refuses, as Markdown."""
    lines = ["| model | measured | test split | command |", "|---|---|---|---|"]
    for name in store.names(folder=store.EMBEDDED):
        facts = store.read_card(name, store.EMBEDDED).facts
        lines += [f"| {' | '.join((f'`{name}`', *cells))} |" for cells in _rows(facts)]
    return "\n".join(lines)


def _rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Figures, pictures and command: of the model, and of its rule that refuses."""
    if test := facts["metrics"].get("test"):
        place = next((place for place in (OWN_SIZE, SCENES) if place in test), None)
        figures = test[place] if place else test
        size = f"{test['size']} px" if place is None else re.sub("^at (the )?", "", place)
        yield (
            ", ".join(text.format(figures[key]) for key, text in FIGURES.items() if key in figures),
            f"{test['pictures']:,} pictures, {size}",
            f"`{test['command']}`",
        )
    refusal = facts.get("refusal", {})
    if test := refusal.get("measured", {}).get("test"):
        told = f"pets told from other things: AUROC {test['auroc']:.3f}"
        if "other_pets_accepted" in test:
            told += f"; other breeds named as one of them {test['other_pets_accepted']:.0%}"
        others = test["others"] + test.get("other_pets", 0)
        yield (
            told,
            f"{test['pets']:,} pets, {others:,} other photos",
            f"`{refusal['command']}`",
        )


def renew() -> None:
    """Write the rows into README.md anew."""
    documents.renew(START, END, table())


if __name__ == "__main__":
    renew()
