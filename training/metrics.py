"""Figures of merit for masks, instances and breeds, in plain NumPy arrays."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Figures = dict[str, Any]

BACKGROUND = "background"
BOUNDARY_TOLERANCE = 0.0075  # of the picture's diagonal
INSTANCE_THRESHOLDS = np.arange(50, 100, 5) / 100
CALIBRATION_BINS = 15


def confusion_matrix(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Count `(classes, classes)` pairs of true (row) and predicted (column) class indices."""
    pairs = truth.astype(np.int64).ravel() * classes + prediction.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def mask_figures(confusion: NDArray[np.int64], classes: Sequence[str]) -> Figures:
    """Pixel accuracy, IoU and Dice per class and their means, from a confusion matrix.

    All pixels of all pictures have the same weight. A class that is neither in the truth nor in the
    prediction counts as 0. If one class is the background, all others together are the foreground
    of the binary IoU and Dice: a pet's border counts as pet.

    Parameters
    ----------
    confusion
        `(classes, classes)` counts of `confusion_matrix`.
    classes
        Names of the classes in the matrix's order.
    """
    right = np.diag(confusion).astype(np.float64)
    truth, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    iou = right / np.maximum(truth + predicted - right, 1)
    dice = 2 * right / np.maximum(truth + predicted, 1)
    figures: Figures = {
        "pixel_accuracy": float(right.sum() / confusion.sum()),
        "mean_iou": float(iou.mean()),
        "mean_dice": float(dice.mean()),
        "iou": dict(zip(classes, iou.tolist(), strict=True)),
        "dice": dict(zip(classes, dice.tolist(), strict=True)),
    }
    if BACKGROUND in classes:
        figures["binary_iou"], figures["binary_dice"] = binary_overlap(
            confusion, classes.index(BACKGROUND)
        )
    return figures


def binary_overlap(confusion: NDArray[np.int64], background: int) -> tuple[float, float]:
    """IoU and Dice of everything but the background class; 1 if there is only background."""
    union = int(confusion.sum() - confusion[background, background])
    truth = int(confusion.sum() - confusion[background].sum())
    predicted = int(confusion.sum() - confusion[:, background].sum())
    if not union:
        return 1.0, 1.0
    both = truth + predicted - union
    return both / union, 2 * both / (truth + predicted)


def boundary_scores(
    truth: NDArray[np.bool_], prediction: NDArray[np.bool_], share: float = BOUNDARY_TOLERANCE
) -> tuple[float, float, float]:
    """How well the outline of a foreground is matched: precision, recall and F-score.

    Precision is the share of predicted boundary pixels that lie within a tolerance of a true one,
    recall the share of true ones within the tolerance of a predicted one. The tolerance is a share
    of the picture's diagonal, at least one pixel. The picture's edge is not a boundary. If neither
    mask has a boundary, all three are 1.

    Martin, Fowlkes, Malik, "Learning to detect natural image boundaries", PAMI 2004; as a measure
    of masks: Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC
    2013, and Perazzi et al., "A benchmark dataset and evaluation methodology for video object
    segmentation", CVPR 2016.

    Parameters
    ----------
    truth, prediction
        `(height, width)` bool.
    share
        The tolerance as a share of the diagonal.

    Returns
    -------
    Precision, recall and F-score, each in [0, 1].
    """
    tolerance = max(1.0, share * float(np.hypot(*truth.shape)))
    true_points, predicted_points = _boundary(truth), _boundary(prediction)
    precision = _share_near(predicted_points, true_points, tolerance)
    recall = _share_near(true_points, predicted_points, tolerance)
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """`(n, 2)` coordinates of the foreground pixels that share an edge with the background."""
    inside = mask.copy()
    inside[1:] &= mask[:-1]
    inside[:-1] &= mask[1:]
    inside[:, 1:] &= mask[:, :-1]
    inside[:, :-1] &= mask[:, 1:]
    return np.argwhere(mask & ~inside)


def _share_near(points: NDArray[np.int64], others: NDArray[np.int64], tolerance: float) -> float:
    """Share of the points that have one of the others within the tolerance; 1 without points."""
    if not len(points):
        return 1.0
    if not len(others):
        return 0.0
    bound = np.nextafter(tolerance, np.inf)  # the search excludes points exactly at its bound
    distances, _ = KDTree(others).query(points, distance_upper_bound=bound)
    return float(np.isfinite(distances).mean())


def instance_precision(
    truth: NDArray[np.integer], prediction: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Precision of found objects in one picture at the IoU thresholds 0.5, 0.55, ... 0.95.

    An object is found if a predicted object has an IoU above the threshold with it; above a half,
    only one can. The precision is TP / (TP + FP + FN), the measure of the 2018 Data Science Bowl:
    Caicedo et al., "Nucleus segmentation across imaging experiments", Nature Methods 2019. It is 1
    in a picture with neither true nor predicted objects.

    Parameters
    ----------
    truth, prediction
        `(height, width)` labels: 0 background, 1 to n the objects; numbers may be missing.

    Returns
    -------
    `(10,)` float64 in [0, 1], one for each of `INSTANCE_THRESHOLDS`.
    """
    rows, columns = int(truth.max()) + 1, int(prediction.max()) + 1
    pairs = truth.astype(np.int64).ravel() * columns + prediction.ravel()
    overlap = np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
    true_areas, predicted_areas = overlap.sum(axis=1)[1:], overlap.sum(axis=0)[1:]
    overlap = overlap[1:, 1:]
    union = true_areas[:, np.newaxis] + predicted_areas - overlap
    iou = (overlap / np.maximum(union, 1)).ravel()
    hits = (iou[:, np.newaxis] > INSTANCE_THRESHOLDS).sum(axis=0)
    objects = np.count_nonzero(true_areas) + np.count_nonzero(predicted_areas)
    return hits / (objects - hits) if objects else np.ones(len(INSTANCE_THRESHOLDS))


def breed_figures(probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> Figures:
    """Top-1 and top-5 accuracy over `(n, breeds)` probabilities and `(n,)` true indices."""
    ranked = np.argsort(-probabilities, axis=1)[:, :5]
    hits = ranked == truth[:, np.newaxis]
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits.any(axis=1).mean())}


def class_scores(
    confusion: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 of each class, from a confusion matrix.

    Precision without predictions and recall without examples are 0.

    Parameters
    ----------
    confusion
        `(classes, classes)` counts of `confusion_matrix`.

    Returns
    -------
    Three `(classes,)` float64 arrays in [0, 1].
    """
    right = np.diag(confusion).astype(np.float64)
    truth, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return (
        right / np.maximum(predicted, 1),
        right / np.maximum(truth, 1),
        2 * right / np.maximum(truth + predicted, 1),
    )


def confusion_pairs(
    confusion: NDArray[np.int64], classes: Sequence[str]
) -> list[tuple[str, str, int]]:
    """Which class was mistaken for which, `(true, predicted, count)`, the most frequent first."""
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    return [
        (classes[true], classes[predicted], int(wrong[true, predicted]))
        for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True)
    ]


def look_alikes(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.integer],
    classes: Sequence[str],
    mistakes: int,
) -> dict[str, dict[str, int]]:
    """Pairs of classes that are often taken for each other, the most mistaken first.

    Of each pair those pictures count that show one of the two and have both as their first two
    answers.

    Parameters
    ----------
    probabilities
        `(n, classes)`.
    truth
        `(n,)` true class indices.
    classes
        Their names.
    mistakes
        Least pictures of a pair whose first answer is the other class.

    Returns
    -------
    `pictures` and how many of them are `right`, for each "A or B", named in the classes' order.
    """
    first, second = np.argsort(-probabilities, axis=1, kind="stable")[:, :2].T
    counted = (truth == first) | (truth == second)
    counts: Counter[tuple[int, int]] = Counter()
    right: Counter[tuple[int, int]] = Counter()
    for one, other, true in zip(first[counted], second[counted], truth[counted], strict=True):
        pair = (int(min(one, other)), int(max(one, other)))
        counts[pair] += 1
        right[pair] += int(true == one)
    often = [pair for pair in counts if counts[pair] - right[pair] >= mistakes]
    often.sort(key=lambda pair: (right[pair] - counts[pair], pair))
    return {
        f"{classes[one]} or {classes[other]}": {
            "pictures": counts[one, other],
            "right": right[one, other],
        }
        for one, other in often
    }


@dataclass(frozen=True)
class Reliability:
    """How often a classifier is right, compared with how sure it is.

    Attributes
    ----------
    counts
        `(bins,)` int64: how many pictures have their top probability in each bin; the bins have
        equal widths and include their upper edge.
    confidence, accuracy
        `(bins,)` float64 in [0, 1]: the mean top probability of a bin's pictures and the share
        that is right; 0 in an empty bin.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean gap of confidence and accuracy over the pictures.

        Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
        binning", AAAI 2015; Guo et al., "On calibration of modern neural networks", ICML 2017.
        """
        gaps = np.abs(self.confidence - self.accuracy)
        return float((self.counts * gaps).sum() / self.counts.sum())


def reliability(
    probabilities: NDArray[np.floating], truth: NDArray[np.integer], bins: int = CALIBRATION_BINS
) -> Reliability:
    """Sort pictures by their top probability into bins of equal width.

    Parameters
    ----------
    probabilities
        `(n, classes)`, summing to 1 over the classes.
    truth
        `(n,)` true class indices.
    bins
        The number of bins into which [0, 1] is divided.
    """
    top = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    edges = np.linspace(0, 1, bins + 1)
    # A softmax in single precision may add up to slightly more than 1.
    index = np.minimum(np.digitize(top, edges, right=True), bins) - 1
    counts = np.bincount(index, minlength=bins)
    pictures = np.maximum(counts, 1)
    return Reliability(
        counts,
        np.bincount(index, weights=top, minlength=bins) / pictures,
        np.bincount(index, weights=right, minlength=bins) / pictures,
    )


def negative_log_likelihood(
    probabilities: NDArray[np.floating], truth: NDArray[np.integer]
) -> float:
    """Mean of `-log(probability of the true class)`, in nats.

    Takes `(n, classes)` probabilities and `(n,)` true indices; a probability that single precision
    rounds to 0 counts as the smallest it can hold, about 1e-38.
    """
    chosen = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean())
