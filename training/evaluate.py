"""Score an exported model on a split and write the figures into its card and the README.

    python -m training.evaluate pet --split test --write
    python -m training.evaluate breeds --split test --write

Runs the `.onnx` file through `models/`, so that what is measured is what is served. Masks are
scored at the network's input size (photo and trimap squashed to it) and at the photo's own size;
the trimaps known to be wrong are left out. `--write` stores the figures in the model's card and
renews the results table in README.md from the cards.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models import breeds, segmentation, store
from models.images import open_photo
from models.preprocessing import InputSpec, prepare
from training import pets
from training.runs import command

README = Path(__file__).parent.parent / "README.md"
TABLE_START = "<!-- results: written by training.evaluate -->"
TABLE_END = "<!-- /results -->"
BATCH = 32

Figures = dict[str, Any]


def confusion_matrix(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Count `(classes, classes)` pairs of true (row) and predicted (column) class indices."""
    pairs = truth.astype(np.int64).ravel() * classes + prediction.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def mask_figures(confusion: NDArray[np.int64], classes: Sequence[str]) -> Figures:
    """Pixel accuracy, IoU and Dice per class and their means, from a confusion matrix.

    All pixels of all pictures count alike. Binary IoU takes the border as pet.
    """
    right = np.diag(confusion).astype(np.float64)
    truth, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    iou = right / np.maximum(truth + predicted - right, 1)
    dice = 2 * right / np.maximum(truth + predicted, 1)
    figures: Figures = {
        "pixel_accuracy": float(right.sum() / confusion.sum()),
        "mean_iou": float(iou.mean()),
        "iou": dict(zip(classes, iou.tolist(), strict=True)),
        "dice": dict(zip(classes, dice.tolist(), strict=True)),
    }
    background = classes.index("background")
    pet_pixels_right = confusion.sum() - truth[background] - predicted[background]
    pet_pixels_right += confusion[background, background]
    union = confusion.sum() - confusion[background, background]
    figures["binary_iou"] = float(pet_pixels_right / union)
    return figures


def breed_figures(probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> Figures:
    """Top-1 and top-5 accuracy over `(n, breeds)` probabilities and `(n,)` true indices."""
    ranked = np.argsort(-probabilities, axis=1)[:, :5]
    hits = ranked == truth[:, np.newaxis]
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits.any(axis=1).mean())}


def evaluate_masks(name: str, examples: Sequence[pets.Example], labels: Sequence[str]) -> Figures:
    """Figures of a mask model, at the input size and at each photo's own size, and per breed."""
    segmenter = segmentation.load(name)
    size = segmenter.card.input.height
    classes = segmenter.classes
    examples = pets.with_masks(examples)
    at_input = np.zeros((len(labels), len(classes), len(classes)), np.int64)
    at_photo = np.zeros_like(at_input)
    for example in tqdm(examples, desc=name):
        photo = open_photo(example.photo)
        small = segmenter.run(prepare(photo, segmenter.card.input))[0].argmax(axis=2)
        truth = pets.read_trimap(example.trimap, size) - 1
        at_input[example.breed] += confusion_matrix(truth, small, len(classes))
        full = segmenter.predict(photo).mask - 1
        truth = pets.read_trimap(example.trimap) - 1
        at_photo[example.breed] += confusion_matrix(truth, full, len(classes))
    return {
        "pictures": len(examples),
        f"at {size} px": mask_figures(at_input.sum(axis=0), classes),
        "at the photo's own size": mask_figures(at_photo.sum(axis=0), classes),
        "mean_iou_per_breed": {
            label: mask_figures(confusion, classes)["mean_iou"]
            for label, confusion in zip(labels, at_photo, strict=True)
            if confusion.any()
        },
    }


def evaluate_breeds(name: str, examples: Sequence[pets.Example], labels: Sequence[str]) -> Figures:
    """Figures of a breed model, overall and per breed."""
    classifier = breeds.load(name)
    batches = _batches([example.photo for example in examples], classifier.card.input)
    probabilities = np.concatenate([classifier.run(batch) for batch in batches])
    truth = np.array([example.breed for example in examples])
    per_breed = {
        label: breed_figures(probabilities[truth == index], truth[truth == index])["top1"]
        for index, label in enumerate(labels)
        if np.any(truth == index)
    }
    return {
        "pictures": len(examples),
        "size": classifier.card.input.height,
        **breed_figures(probabilities, truth),
        "top1_averaged_over_breeds": float(np.mean(list(per_breed.values()))),
        "top1_per_breed": per_breed,
    }


def _batches(photos: Sequence[Path], spec: InputSpec) -> Iterator[NDArray[np.float32]]:
    for start in tqdm(range(0, len(photos), BATCH), unit="batch"):
        chunk = photos[start : start + BATCH]
        yield np.concatenate([prepare(open_photo(photo), spec) for photo in chunk])


EVALUATORS = {"segmentation": evaluate_masks, "classification": evaluate_breeds}


def results_table(cards: Sequence[store.Card]) -> str:
    """Markdown table of the official test split's figures that stand in the cards."""
    lines = ["| model | measured | split | size | command |", "|---|---|---|---|---|"]
    for card in cards:
        figures = card.facts["metrics"].get("test")
        if figures is None:
            continue
        split = f"test, {figures['pictures']:,} pictures"
        call = f"`{figures['command']}`"
        if card.task == "classification":
            measured = (
                f"top-1 {figures['top1']:.2%}, top-5 {figures['top5']:.2%}, top-1 averaged over "
                f"breeds {figures['top1_averaged_over_breeds']:.2%}"
            )
            lines.append(f"| {card.name} | {measured} | {split} | {figures['size']} px | {call} |")
            continue
        for size in (f"at {card.input.height} px", "at the photo's own size"):
            values = figures[size]
            iou = ", ".join(f"{label} {value:.3f}" for label, value in values["iou"].items())
            measured = (
                f"pixel accuracy {values['pixel_accuracy']:.2%}, mean IoU "
                f"{values['mean_iou']:.3f} ({iou}), binary IoU {values['binary_iou']:.3f}"
            )
            size = size.removeprefix("at ").removeprefix("the ")
            lines.append(f"| {card.name} | {measured} | {split} | {size} | {call} |")
    return "\n".join(lines)


def renew_readme(readme: Path, table: str) -> None:
    """Put the table between the README's two markers."""
    text = readme.read_text()
    before, _, rest = text.partition(TABLE_START)
    _, _, after = rest.partition(TABLE_END)
    readme.write_text(f"{before}{TABLE_START}\n{table}\n{TABLE_END}{after}")


def main(words: Sequence[str] | None = None) -> None:
    """Evaluate the model that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="name of the model in the models' folder")
    parser.add_argument("--split", choices=pets.SPLITS, default="validation")
    parser.add_argument("--write", action="store_true", help="store the figures")
    pets.add_arguments(parser)
    arguments = parser.parse_args(words)
    root = pets.prepare(arguments.root, arguments.source)
    examples = pets.split(root, arguments.split)
    labels = [breed.name for breed in pets.breeds(root)]
    card = store.read_card(arguments.name)
    figures = EVALUATORS[card.task](arguments.name, examples, labels)
    print(json.dumps(figures, indent=2))
    if arguments.write:
        facts = {**card.facts}
        facts["metrics"][arguments.split] = {"command": command(), **figures}
        path = store.source() / f"{card.name}.json"
        path.write_text(json.dumps(facts, indent=2) + "\n")
        renew_readme(README, results_table([store.read_card(name) for name in store.names()]))


if __name__ == "__main__":
    main()
