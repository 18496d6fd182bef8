"""Figures as tables: of one evaluation, and of all cards; and how figures get into a card."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import documents
from models import store
from models.cards import Card
from training import starting_weights, summary
from training.metrics import Figures

START = "<!-- results: written by training.evaluate -->"
END = "<!-- /results -->"
START_OF_WEIGHTS = "<!-- starting weights: written by training.evaluate -->"
END_OF_WEIGHTS = "<!-- /starting weights -->"


def as_markdown(title: str, figures: Figures) -> str:
    """A page of tables: the single figures, then side by side all groups that have the same rows.

    So the two sizes that masks are measured at, and the figures of each breed, become columns.
    """
    groups: Figures = {"": {}}
    for name, value in figures.items():
        if isinstance(value, dict):
            groups[name] = _flat(value)
        else:
            groups[""][name] = value
    tables: dict[tuple[str, ...], list[str]] = {}
    for name, group in groups.items():
        tables.setdefault(tuple(group), []).append(name)
    lines = [f"# {title}"]
    for rows, names in tables.items():
        lines += ["", _line("", *names), "|" + "---|" * (len(names) + 1)]
        lines += [_line(row, *(groups[name][row] for name in names)) for row in rows]
    return "\n".join(lines) + "\n"


def _flat(group: Figures) -> Figures:
    flat: Figures = {}
    for name, value in group.items():
        if isinstance(value, dict):
            flat |= {f"{name}, {inner}": number for inner, number in value.items()}
        else:
            flat[name] = value
    return flat


def _line(*cells: str | int | float) -> str:
    texts = [f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells]
    return f"| {' | '.join(texts)} |"


# How the results table words each figure, if the card has it.
PHRASES = {
    "top1": "top-1 {:.2%}",
    "top5": "top-5 {:.2%}",
    "top1_averaged_over_breeds": "top-1 averaged over breeds {:.2%}",
    "expected_calibration_error": "calibration error {:.2%}",
    "pixel_accuracy": "pixel accuracy {:.2%}",
    "mean_iou": "mean IoU {:.3f}",
    "mean_dice": "mean Dice {:.3f}",
    "binary_iou": "binary IoU {:.3f}",
    "binary_dice": "binary Dice {:.3f}",
    "boundary_f": "boundary F {:.3f}",
    "right_number_of_1": "right number of 1 pet {:.2f}",
    "right_number_of_2": "of 2 {:.2f}",
    "right_number_of_3": "of 3 {:.2f}",
    "right_number_of_one": "right number of one pet {:.2f}",
    "right_number_of_several": "of several {:.2f}",
    "ap50": "AP at IoU 0.5 {:.3f}",
    "ap50_95": "AP at IoU 0.5 to 0.95 {:.3f}",
}


def results_table(cards: Sequence[Card]) -> str:
    """Markdown table of the test split's figures that stand in the cards."""
    lines = ["| model | measured | split | size | command |", "|---|---|---|---|---|"]
    for card in cards:
        for split, figures in card.facts["metrics"].items():
            if split != "test":  # nor a part of it, as "test, dogs"
                continue
            at_sizes = {key: value for key, value in figures.items() if key.startswith("at ")}
            for size, values in (at_sizes or {f"{figures['size']} px": figures}).items():
                lines.append(
                    _line(
                        card.name,
                        _measured(values),
                        f"{split}, {figures['pictures']:,} pictures",
                        size.removeprefix("at ").removeprefix("the "),
                        f"`{figures['command']}`",
                    )
                )
        lines += [_line(card.name, *cells) for cells in _of_the_page(card.facts)]
    return "\n".join(lines)


def _of_the_page(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """What `training.refusal` and `training.evidence` measured: figures, split, size, command."""
    refusal = facts.get("refusal", {})
    if "test" in refusal.get("measured", {}):
        test = refusal["measured"]["test"]
        told = (
            f"pets told from other things: AUROC {test['auroc']:.3f}, pets refused "
            f"{test['pets_refused']:.2%}, others accepted {test['others_accepted']:.2%}"
        )
        photos = f"{test['pets']:,} pets and {test['others']:,} other photos"
        if "other_pets" in test:
            told += f", pets of other breeds accepted {test['other_pets_accepted']:.2%}"
            photos = (
                f"{test['pets']:,} pets, {test['other_pets']:,} of other breeds and "
                f"{test['others']:,} other photos"
            )
        if "other_pets_named" in test:
            told += f", their own breed first of all others {test['other_pets_named']:.2%}"
        yield (
            told,
            f"test, {photos}",
            "largest pet that the page finds",
            f"`{refusal['command']}`",
        )
    evidence = facts.get("evidence", {})
    if evidence.get("split") == "test":
        yield (
            f"strongest evidence on the pet {evidence['on_pet']:.2%}",
            f"test, {evidence['pictures']:,} pictures",
            "largest region of the whole photo's mask",
            f"`{evidence['command']}`",
        )


def _measured(figures: Figures) -> str:
    phrases = {
        key: phrase.format(figures[key]) for key, phrase in PHRASES.items() if key in figures
    }
    if "iou" in figures:
        each = ", ".join(f"{label} {value:.3f}" for label, value in figures["iou"].items())
        phrases["mean_iou"] += f" ({each})"
    return ", ".join(phrases.values())


def weights_table(cards: Sequence[Card]) -> str:
    """Markdown table of where the models' starting weights come from."""
    lines = ["| model | started from |", "|---|---|"]
    for card in cards:
        told = map(starting_weights.as_text, starting_weights.listed(card.facts))
        lines.append(_line(f"`{card.name}`", " ".join(told)))
    return "\n".join(lines)


def renew_results() -> None:
    """Make the tables of results anew from the cards of the embedded models."""
    cards = [store.read_card(name, store.EMBEDDED) for name in store.names(folder=store.EMBEDDED)]
    documents.renew(START, END, results_table(cards))
    documents.renew(START_OF_WEIGHTS, END_OF_WEIGHTS, weights_table(cards))
    summary.renew()


def store_facts(card: Path, name: str, facts: Figures) -> None:
    """Put facts under a name into a model's card; renew the results if it is an embedded one."""
    _write(card, json.loads(card.read_text()) | {name: facts})


def store_figures(card: Path, measured: str, figures: Figures) -> None:
    """Put figures into a model's card, under the name of what they were measured on.

    The table of results is renewed when it is an embedded model's.
    """
    facts = json.loads(card.read_text())
    facts["metrics"][measured] = figures
    _write(card, facts)


def _write(card: Path, facts: Figures) -> None:
    card.write_text(json.dumps(facts, indent=2) + "\n")
    if card.parent.resolve() == store.EMBEDDED.resolve():
        renew_results()
