"""Figures of mask, breed and nucleus models on examples, with their plots."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.images import open_picture
from models.segmentation import Segmentation
from models.stains import micrograph
from models.windows import find_objects
from training import nuclei
from training.data_sets import Examples
from training.evaluation.models import Model, predictions, segmentations
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
    look_alikes,
    mask_figures,
    negative_log_likelihood,
    reliability,
)

MISTAKEN = 5  # pictures mistaken for each other make two breeds look-alikes
CONFUSED_PAIRS = 20  # the most frequent ones are listed
AT_PHOTO = "at the photo's own size"
COMMON_SIDE = 128  # pixels; masks of all networks are compared at this size


def score_masks(
    model: Model,
    examples: Examples,
    labels: Sequence[str],
    out: Path,
) -> Figures:
    """Figures of a mask model at the input size, a common size and each photo's own, and per breed.

    Writes `per_breed.png` into the folder `out`.
    """
    sides = dict.fromkeys(((model.input.height, model.input.width), (COMMON_SIDE, COMMON_SIDE)))
    sizes = {
        f"at {height} px" if height == width else f"at {height}x{width} px": (height, width)
        for height, width in sides
    }
    found = segmentations(model, [example.photo for example in examples])
    figures, confusions = compare_masks(examples, found, model.labels, sizes)
    figures = {"pictures": len(examples), **figures}
    counts = np.zeros((len(labels), *confusions[0].shape), np.int64)
    np.add.at(counts, [example.label for example in examples], confusions)
    figures["mean_iou_per_breed"] = {
        label: mask_figures(confusion, model.labels)["mean_iou"]
        for label, confusion in zip(labels, counts, strict=True)
        if confusion.any()
    }
    from training import reports  # Matplotlib is slow to import: not for --help

    reports.plot_per_class(figures["mean_iou_per_breed"], out / "per_breed.png", "mean IoU")
    return figures


def compare_masks(
    examples: Examples,
    found: Iterable[Segmentation],
    labels: Sequence[str],
    sizes: Mapping[str, tuple[int, int]],
) -> tuple[Figures, list[NDArray[np.int64]]]:
    """Figures of photos' segmentations at some sizes and, last, at each photo's own.

    Parameters
    ----------
    examples, found
        The pictures, and what was found in the photo of each.
    labels
        The classes.
    sizes
        Heights and widths, by the names that they get among the figures.

    Returns
    -------
    The figures, and each picture's `confusion_matrix` at its own size.
    """
    classes, background = len(labels), labels.index(BACKGROUND)
    counts = {size: np.zeros((classes, classes), np.int64) for size in (*sizes, AT_PHOTO)}
    outlines: dict[str, list[tuple[float, float, float]]] = {size: [] for size in counts}
    confusions = []
    for example, each in zip(examples, found, strict=True):
        for size in counts:
            side = sizes.get(size)
            mask = (each.resized(*side) if side else each).mask - 1
            truth = example.read_classes(*(side or ()))
            confusion = confusion_matrix(truth, mask, classes)
            counts[size] += confusion
            outlines[size].append(boundary_scores(truth != background, mask != background))
        confusions.append(confusion)  # at the photo's own size
    figures: Figures = {}
    for size, confusion in counts.items():
        precision, recall, score = np.mean(outlines[size], axis=0).tolist()
        figures[size] = {
            **mask_figures(confusion, labels),
            "boundary_f": score,
            "boundary_precision": precision,
            "boundary_recall": recall,
        }
    return figures, confusions


def score_breeds(
    model: Model,
    examples: Examples,
    labels: Sequence[str],
    out: Path,
    repeated: Collection[str] = (),
) -> Figures:
    """Figures of a breed model, overall and per breed, and without `repeated` pictures, by name.

    The top-1 accuracy of a breed's pictures is that breed's recall. Writes `per_breed.png`,
    `confusion.png` and `reliability.png` into the folder `out`.
    """
    photos = [example.photo for example in examples]
    probabilities = np.stack([answer for _, answer in predictions(model, photos)])
    truth = np.array([example.label for example in examples])
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
    pairs = look_alikes(probabilities, truth, labels, MISTAKEN)
    from training import reports

    reports.plot_per_class(recall, out / "per_breed.png", "top-1 accuracy")
    reports.plot_confusion(confusion, labels, out / "confusion.png")
    reports.plot_reliability(bins, out / "reliability.png")
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
        **({"look_alikes": pairs} if pairs else {}),
        **_without(repeated, examples, probabilities, truth),
    }


def _without(
    repeated: Collection[str],
    examples: Examples,
    probabilities: NDArray[np.float32],
    truth: NDArray[np.integer],
) -> Figures:
    """Figures of a breed model without some pictures, if any of them are there."""
    kept = np.array([example.name not in repeated for example in examples])
    if kept.all():
        return {}
    probabilities, truth = probabilities[kept], truth[kept]
    return {
        "without_duplicates": {
            "pictures": len(truth),
            **breed_figures(probabilities, truth),
            "expected_calibration_error": reliability(probabilities, truth).error,
            "negative_log_likelihood": negative_log_likelihood(probabilities, truth),
        }
    }


def score_nuclei(model: Model, examples: Sequence[nuclei.Example], out: Path) -> Figures:
    """Figures of a nucleus model at each photo's own size, overall and per kind of picture.

    Nuclei are found as they are for visitors, by `models.windows.find_objects`.

    Writes `per_kind.png` into the folder `out`.
    """
    background = model.labels.index(BACKGROUND)
    counts, precisions = [], []
    for example in tqdm(examples, desc=model.name, unit="picture"):
        photo = micrograph(open_picture(example.photo))
        found = find_objects(model.predict, model.labels, model.input, photo)
        truth = nuclei.read_instances(example)
        inside = (found.mask - 1 != background).astype(np.uint8)
        counts.append(confusion_matrix((truth > 0).astype(np.uint8), inside, 2))
        precisions.append(instance_precision(truth, found.numbers))
    kinds = np.array([example.kind for example in examples])
    figures: Figures = {
        "pictures": len(examples),
        "size": model.input.height,
        AT_PHOTO: _nuclei_figures(np.array(counts), np.array(precisions)),
    }
    for kind in np.unique(kinds).tolist():
        chosen = kinds == kind
        figures[kind] = _nuclei_figures(np.array(counts)[chosen], np.array(precisions)[chosen])
    per_kind = {kind: figures[kind]["ap50"] for kind in np.unique(kinds).tolist()}
    from training import reports

    reports.plot_per_class(per_kind, out / "per_kind.png", "average precision at IoU 0.5")
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
