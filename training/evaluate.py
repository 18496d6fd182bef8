"""Score a model on a split of the data set it was trained on.

    python -m training.evaluate pet --split test --write
    python -m training.evaluate runs/breeds                       # a training run's folder
    python -m training.evaluate /tmp/draft.onnx --size 320        # its card lies beside it

Photos are prepared as at serving, and a `.onnx` file runs through `models/`, so that what is
measured is what is served. Masks are scored at the network's input size (photo and trimap squashed
to it) and at the photo's own size; the trimaps known to be wrong are left out. Nuclei are scored at
the photo's own size, as foreground and as single objects.

Writes `figures.json`, `figures.md` and plots. `--write` stores the figures in the model's card too
and renews the results table in README.md from the cards.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from tqdm import tqdm

from models import store
from models.breeds import BreedClassifier
from models.images import Photo, open_photo
from models.preprocessing import InputSpec, prepare
from models.segmentation import Segmentation, Segmenter, at_photo_size
from training import nuclei, pets
from training.data_sets import DATA_SETS, select
from training.metrics import (
    BACKGROUND,
    Figures,
    binary_overlap,
    boundary_scores,
    breed_figures,
    class_scores,
    confusion_matrix,
    confusion_pairs,
    instance_precision,
    mask_figures,
    negative_log_likelihood,
    reliability,
)
from training.reports import plot_confusion, plot_per_class, plot_reliability
from training.runs import FILE, RANDOM, WHOLE, RunError, command, read_run, trained_on

if TYPE_CHECKING:
    import torch

README = Path(__file__).parent.parent / "README.md"
TABLE_START = "<!-- results: written by training.evaluate -->"
TABLE_END = "<!-- /results -->"
BATCH = 32
CONFUSED_PAIRS = 20  # the most frequent ones are listed
AT_PHOTO = "at the photo's own size"
COMMON_SIDE = 128  # pixels; masks of all networks are compared at this size

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Model:
    """A model to measure, from whatever file it comes.

    Attributes
    ----------
    name
        For people and file names.
    task
        "segmentation" or "classification".
    labels
        Names of the classes in the order of the output.
    input
        How the network wants its photo.
    training
        The `data` set it was trained on, the `split` of it, and the `fold` if one was chosen.
    card
        The file to store figures in; a training run has none.
    predict
        Prepared batch to float32 probabilities, `(batch, height, width, classes)` or
        `(batch, classes)`.
    """

    name: str
    task: store.Task
    labels: tuple[str, ...]
    input: InputSpec
    training: dict[str, Any]
    card: Path | None
    predict: Predict


def open_model(name: str) -> Model:
    """Open an exported model or a training run.

    Parameters
    ----------
    name
        A name in the models' folder, a path to a `.onnx` file with its card beside it, or a
        training run's folder.

    Raises
    ------
    models.store.ModelError
        When there is no such model, or it is damaged.
    training.runs.RunError
        When the folder's run has no network, or is damaged.
    """
    path = Path(name)
    if (path / FILE).is_file():
        return _open_run(path.resolve())
    if path.suffix == ".onnx":
        return _open_exported(path.stem, path.parent)
    return _open_exported(name, store.source())


def _open_exported(name: str, folder: Path) -> Model:
    card = store.read_card(name, folder)
    kind = {"segmentation": Segmenter, "classification": BreedClassifier}[card.task]
    return Model(
        name=name,
        task=card.task,
        labels=tuple(label.name for label in card.labels),
        input=card.input,
        training=card.facts["training"],
        card=folder / f"{name}.json",
        predict=kind(*store.load(name, card.task, folder)).run,
    )


def _open_run(run: Path) -> Model:
    facts = read_run(run)
    frameworks = {"keras": _keras, "timm": _timm, "smp": _smp}
    if facts["framework"] not in frameworks:
        raise RunError(f"{run} has no network, and was measured when it ended: see its {FILE}.")
    logits = frameworks[facts["framework"]](run)
    return Model(
        name=run.name,
        task=facts["task"],
        labels=tuple(label["name"] for label in facts["labels"]),
        input=facts["input"],
        training={**facts, "split": trained_on(facts)},
        card=None,
        predict=lambda batch: softmax(logits(batch), axis=-1),
    )


def _keras(run: Path) -> Predict:
    import keras

    import training.train_unet  # noqa: F401  (registers the loss that the saved model names)

    return keras.models.load_model(run / "model.keras").predict_on_batch


def _timm(run: Path) -> Predict:
    import training.torchvision_ops  # noqa: F401  (before timm)
    import timm  # isort: skip

    return _torch(timm.create_model(f"local-dir:{run}", pretrained=True))


def _smp(run: Path) -> Predict:
    import training.torchvision_ops  # noqa: F401  (before timm, which this package imports)
    import segmentation_models_pytorch  # isort: skip

    logits = _torch(segmentation_models_pytorch.from_pretrained(run))
    return lambda batch: np.moveaxis(logits(batch), 1, 3)


def _torch(network: "torch.nn.Module") -> Predict:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.eval().to(device)

    def logits(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(batch).to(device)).cpu().numpy()

    return logits


def predictions(model: Model, paths: Sequence[Path]) -> Iterator[tuple[Photo, NDArray[np.float32]]]:
    """Each photo with its probabilities; neighbours of one input size are predicted together."""
    for start in tqdm(range(0, len(paths), BATCH), desc=model.name, unit="batch"):
        photos = [open_photo(path) for path in paths[start : start + BATCH]]
        inputs = [prepare(photo, model.input) for photo in photos]
        answers = (
            model.predict(np.concatenate(list(alike)))
            for _, alike in groupby(inputs, key=lambda one: one.shape)
        )
        yield from zip(photos, chain.from_iterable(answers), strict=True)


def segmentations(
    model: Model, paths: Sequence[Path]
) -> Iterator[tuple[NDArray[np.float32], Segmentation]]:
    """Each photo's probabilities at the network's size, and its segmentation as served."""
    for photo, small in predictions(model, paths):
        yield small, at_photo_size(small, model.labels, model.input, *photo.shape[:2])


def evaluate_masks(
    model: Model, examples: Sequence[pets.Example], labels: Sequence[str], out: Path
) -> Figures:
    """Figures of a mask model at the input size, a common size and each photo's own, and per breed.

    Writes `per_breed.png` into the folder `out`.
    """
    examples = pets.with_masks(examples)
    classes, background = len(model.labels), model.labels.index(BACKGROUND)
    sides = dict.fromkeys(((model.input.height, model.input.width), (COMMON_SIDE, COMMON_SIDE)))
    sizes = {
        f"at {height} px" if height == width else f"at {height}x{width} px": (height, width)
        for height, width in sides
    }
    counts = {
        size: np.zeros((len(labels), classes, classes), np.int64) for size in (*sizes, AT_PHOTO)
    }
    outlines: dict[str, list[tuple[float, float, float]]] = {size: [] for size in counts}
    photos = [example.photo for example in examples]
    for example, (small, full) in zip(examples, segmentations(model, photos), strict=True):
        masks = {
            size: at_photo_size(small, model.labels, model.input, *side).mask
            for size, side in sizes.items()
        }
        for size, mask in (*masks.items(), (AT_PHOTO, full.mask)):
            truth = pets.read_trimap(example.trimap, *sizes.get(size, ())) - 1
            counts[size][example.breed] += confusion_matrix(truth, mask - 1, classes)
            outlines[size].append(boundary_scores(truth != background, mask - 1 != background))
    figures: Figures = {"pictures": len(examples)}
    for size, confusion in counts.items():
        precision, recall, score = np.mean(outlines[size], axis=0).tolist()
        figures[size] = {
            **mask_figures(confusion.sum(axis=0), model.labels),
            "boundary_f": score,
            "boundary_precision": precision,
            "boundary_recall": recall,
        }
    figures["mean_iou_per_breed"] = {
        label: mask_figures(confusion, model.labels)["mean_iou"]
        for label, confusion in zip(labels, counts[AT_PHOTO], strict=True)
        if confusion.any()
    }
    plot_per_class(figures["mean_iou_per_breed"], out / "per_breed.png", "mean IoU")
    return figures


def evaluate_breeds(
    model: Model, examples: Sequence[pets.Example], labels: Sequence[str], out: Path
) -> Figures:
    """Figures of a breed model, overall and per breed.

    The top-1 accuracy of a breed's pictures is that breed's recall. Writes `per_breed.png`,
    `confusion.png` and `reliability.png` into the folder `out`.
    """
    photos = [example.photo for example in examples]
    probabilities = np.stack([answer for _, answer in predictions(model, photos)])
    truth = np.array([example.breed for example in examples])
    confusion = confusion_matrix(truth, probabilities.argmax(axis=1), len(labels))
    bins = reliability(probabilities, truth)
    per_breed = [
        {
            label: float(value)
            for label, value, row in zip(labels, values, confusion, strict=True)
            if row.any()
        }
        for values in class_scores(confusion)
    ]
    precision, recall, f1 = per_breed
    plot_per_class(recall, out / "per_breed.png", "top-1 accuracy")
    plot_confusion(confusion, labels, out / "confusion.png")
    plot_reliability(bins, out / "reliability.png")
    return {
        "pictures": len(examples),
        "size": model.input.height,
        **breed_figures(probabilities, truth),
        "top1_averaged_over_breeds": float(np.mean(list(recall.values()))),
        "f1_averaged_over_breeds": float(np.mean(list(f1.values()))),
        "expected_calibration_error": bins.error,
        "negative_log_likelihood": negative_log_likelihood(probabilities, truth),
        "top1_per_breed": recall,
        "precision_per_breed": precision,
        "f1_per_breed": f1,
        "most_confused": {
            f"{true} taken for {predicted}": count
            for true, predicted, count in confusion_pairs(confusion, labels)[:CONFUSED_PAIRS]
        },
    }


def evaluate_nuclei(model: Model, examples: Sequence[nuclei.Example], out: Path) -> Figures:
    """Figures of a nucleus model at each photo's own size, overall and per kind of picture.

    Writes `per_kind.png` into the folder `out`.
    """
    background = model.labels.index(BACKGROUND)
    counts, precisions = [], []
    photos = [example.photo for example in examples]
    for example, (_, full) in zip(examples, segmentations(model, photos), strict=True):
        truth = nuclei.read_instances(example)
        counts.append(confusion_matrix(truth > 0, full.mask - 1 != background, 2))
        precisions.append(instance_precision(truth, full.instances()))
    kinds = np.array([example.kind for example in examples])
    figures: Figures = {
        "pictures": len(examples),
        "size": model.input.height,
        AT_PHOTO: _nuclei_figures(np.array(counts), np.array(precisions)),
    }
    for kind in np.unique(kinds).tolist():
        chosen = kinds == kind
        figures[kind] = _nuclei_figures(np.array(counts)[chosen], np.array(precisions)[chosen])
    found = {kind: figures[kind]["ap50"] for kind in np.unique(kinds).tolist()}
    plot_per_class(found, out / "per_kind.png", "average precision at IoU 0.5")
    return figures


def _nuclei_figures(counts: NDArray[np.int64], precisions: NDArray[np.float64]) -> Figures:
    """Figures of some pictures, from their `(n, 2, 2)` pixel counts and `(n, 10)` precisions."""
    iou, dice = binary_overlap(counts.sum(axis=0), 0)
    each = np.mean([binary_overlap(confusion, 0) for confusion in counts], axis=0)
    return {
        "pictures": len(counts),
        "binary_iou": iou,
        "binary_dice": dice,
        "binary_iou_averaged_over_pictures": float(each[0]),
        "binary_dice_averaged_over_pictures": float(each[1]),
        "ap50": float(precisions[:, 0].mean()),
        "ap50_95": float(precisions.mean()),
    }


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


# What the results table says of a figure, where the card has it.
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
    "ap50": "AP at IoU 0.5 {:.3f}",
    "ap50_95": "AP at IoU 0.5 to 0.95 {:.3f}",
}


def results_table(cards: Sequence[store.Card]) -> str:
    """Markdown table of the test split's figures that stand in the cards."""
    lines = ["| model | measured | split | size | command |", "|---|---|---|---|---|"]
    for card in cards:
        for split, figures in card.facts["metrics"].items():
            if split.partition(",")[0] != "test":
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
        yield (
            f"pets told from other things: AUROC {test['auroc']:.3f}, pets refused "
            f"{test['pets_refused']:.2%}, others accepted {test['others_accepted']:.2%}",
            f"test, {test['pets']:,} pets and {test['others']:,} other photos",
            "as on the page",
            f"`{refusal['command']}`",
        )
    evidence = facts.get("evidence", {})
    if evidence.get("split") == "test":
        yield (
            f"strongest evidence on the pet {evidence['on_pet']:.2%}",
            f"test, {evidence['pictures']:,} pictures",
            "as on the page",
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


def renew(readme: Path, start: str, end: str, table: str) -> None:
    """Put a table between two marks of the README."""
    text = readme.read_text()
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    readme.write_text(f"{before}{start}\n{table}\n{end}{after}")


def renew_results() -> None:
    """Make the README's results table anew from the cards."""
    table = results_table([store.read_card(name) for name in store.names()])
    renew(README, TABLE_START, TABLE_END, table)


def store_facts(model: str, name: str, facts: Figures) -> None:
    """Put facts under a name into the card of a model, and renew the README's results table."""
    card = store.source() / f"{model}.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {name: facts}, indent=2) + "\n")
    renew_results()


def store_figures(card: Path, measured: str, figures: Figures) -> None:
    """Put the figures into a model's card, under the name of what they were measured on."""
    facts = json.loads(card.read_text())
    facts["metrics"][measured] = figures
    card.write_text(json.dumps(facts, indent=2) + "\n")


def main(words: Sequence[str] | None = None) -> None:
    """Evaluate the model that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", help="name in the models' folder, path to a .onnx file, or a run's folder"
    )
    parser.add_argument("--split", choices=pets.SPLITS, default="validation")
    parser.add_argument("--size", type=int, help="input side; by default the model's own")
    parser.add_argument(
        "--names", type=Path, help="text file: only these pictures of the split, one name a line"
    )
    parser.add_argument(
        "--out", type=Path, help="folder to write to; by default runs/evaluation/MODEL-SPLIT"
    )
    parser.add_argument(
        "--write", action="store_true", help="store the figures in the model's card and the README"
    )
    parser.add_argument(
        "--root", type=Path, help="where the data set lies; by default data/pets or data/nuclei"
    )
    parser.add_argument(
        "--source", help="base URL of the data set's archives, or a folder with them"
    )
    arguments = parser.parse_args(words)

    try:
        model = open_model(arguments.model)
    except (store.ModelError, RunError) as error:
        parser.error(str(error))
    if arguments.size:
        resized = replace(model.input, height=arguments.size, width=arguments.size)
        model = replace(model, input=resized)
    if arguments.write and (model.card is None or arguments.size):
        parser.error("--write is for exported models at their own size")
    data = DATA_SETS[model.training["data"]]
    if arguments.split not in data.SPLITS:
        parser.error(f"--split must be one of {', '.join(data.SPLITS)}")
    part = model.training["split"]
    if part == RANDOM or (part == WHOLE and arguments.split != "test"):
        parser.error(f"{model.name} was trained on {part}, so also on this split")
    root = data.prepare(arguments.root or data.ROOT, arguments.source or data.URL)
    examples = select(model.training, root, arguments.split)
    measured = arguments.split
    if arguments.names:
        chosen = set(arguments.names.read_text().splitlines())
        examples = [example for example in examples if example.name in chosen]
        measured += f", {arguments.names.stem}"
        if not examples:
            parser.error(f"{arguments.names} names no picture of the split")

    out = arguments.out or Path("runs/evaluation", f"{model.name}-{measured.replace(', ', '-')}")
    out.mkdir(parents=True, exist_ok=True)
    if data is nuclei:
        figures = evaluate_nuclei(model, examples, out)
    else:
        labels = [breed.name for breed in pets.breeds(root)]
        evaluate = {"segmentation": evaluate_masks, "classification": evaluate_breeds}[model.task]
        figures = evaluate(model, examples, labels, out)
    figures = {"command": command(), **figures}
    facts = {"model": model.name, "split": measured, **figures}
    (out / "figures.json").write_text(json.dumps(facts, indent=2) + "\n")
    page = as_markdown(f"{model.name}, {measured}", figures)
    (out / "figures.md").write_text(page)
    print(page)
    if arguments.write:
        store_figures(model.card, measured, figures)
        renew_results()


if __name__ == "__main__":
    main()
