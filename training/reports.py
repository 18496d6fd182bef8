"""The plots of runs and evaluations: curves, sheets of predictions, figures per class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no window: training often runs on servers
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.metrics import Reliability

# Okabe and Ito's palette, which colour-blind readers can distinguish too.
CLASS_COLORS = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

DARK = 128  # a sheet stretches the contrast of photos whose values are mostly (99.5 %) below this


def plot_curves(
    history: Sequence[Mapping[str, float]], path: Path, metrics: Mapping[str, str]
) -> None:
    """Plot each metric over the epochs, training and held-out, side by side, as a PNG.

    `history` holds one row per epoch with the keys `NAME` and `val_NAME`; `metrics` maps NAME to
    the title.
    """
    figure, axes = plt.subplots(1, len(metrics), figsize=(5 * len(metrics), 3.6), squeeze=False)
    epochs = range(1, len(history) + 1)
    for axis, (name, title) in zip(axes[0], metrics.items(), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "held out")):
            values = [row[key] for row in history if key in row]
            if values:
                axis.plot(epochs, values, marker=".", label=label)
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend()
    _save(figure, path)


def plot_segmentations(
    photos: Sequence[NDArray[np.uint8]],
    truths: Sequence[NDArray[np.integer]],
    predictions: Sequence[NDArray[np.integer]],
    classes: Sequence[str],
    path: Path,
) -> None:
    """A sheet with one row per picture: photo, truth, prediction (class indices), as a PNG."""
    colors = ListedColormap(CLASS_COLORS[: len(classes)])
    figure, axes = plt.subplots(
        len(photos), 3, figsize=(6.6, 2.2 * len(photos) + 0.6), squeeze=False
    )
    for row, pictures in zip(axes, zip(photos, truths, predictions, strict=True), strict=True):
        row[0].imshow(_brightened(pictures[0]))
        for axis, mask in zip(row[1:], pictures[1:], strict=True):
            axis.imshow(mask, cmap=colors, vmin=0, vmax=len(classes) - 1, interpolation="nearest")
        for axis in row:
            axis.set_axis_off()
    for axis, title in zip(axes[0], ("photo", "truth", "prediction"), strict=True):
        axis.set_title(title)
    handles = [Patch(color=colors(i), label=name) for i, name in enumerate(classes)]
    figure.legend(handles=handles, loc="lower center", ncols=len(classes))
    _save(figure, path, bottom=0.6 / (2.2 * len(photos) + 0.6))


def _brightened(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo; its contrast is stretched if it is almost entirely dark, as in fluorescence."""
    brightest = np.percentile(photo, 99.5)
    if not 0 < brightest < DARK:
        return photo
    return np.clip(photo * (255 / brightest), 0, 255).astype(np.uint8)


def plot_classifications(
    photos: Sequence[NDArray[np.uint8]],
    truths: Sequence[str],
    predictions: Sequence[str],
    probabilities: Sequence[float],
    path: Path,
    columns: int = 4,
) -> None:
    """A sheet of photos titled with the predicted label and, if that is wrong, the true one."""
    rows = -(-len(photos) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 3.3 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, photo, truth, prediction, probability in zip(
        axes.flat, photos, truths, predictions, probabilities, strict=False
    ):
        axis.imshow(photo)
        right = truth == prediction
        title = f"{prediction} {probability:.0%}" + ("" if right else f"\n(truth: {truth})")
        axis.set_title(title, fontsize=9, color="black" if right else "#D55E00")
    _save(figure, path)


def plot_reliability(reliability: Reliability, path: Path) -> None:
    """Plot a classifier's accuracy over its confidence, and how often it has each confidence.

    Bars that end below the diagonal show overconfidence.
    """
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(4.6, 5.6), sharex=True, height_ratios=(3, 1)
    )
    bins = len(reliability.counts)
    centres = (np.arange(bins) + 0.5) / bins
    upper.bar(centres, reliability.accuracy, 0.9 / bins, color=CLASS_COLORS[1], label="measured")
    upper.plot((0, 1), (0, 1), "--", color="black", linewidth=1, label="perfectly calibrated")
    upper.set(
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title=f"expected calibration error {reliability.error:.2%}",
    )
    upper.legend(loc="upper left")
    lower.bar(centres, reliability.counts, 0.9 / bins, color=CLASS_COLORS[4])
    lower.set(xlabel="top probability", ylabel="pictures")
    _save(figure, path)


def plot_confusion(confusion: NDArray[np.integer], classes: Sequence[str], path: Path) -> None:
    """Plot `(classes, classes)` counts, true classes in rows, coloured by their share of the row.

    Zeros are left blank so that errors stand out.
    """
    side = 2.5 + 0.28 * len(classes)
    figure, axis = plt.subplots(figsize=(side, side))
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(confusion):
        dark = shares[row, column] > 0.5
        axis.text(
            column,
            row,
            str(confusion[row, column]),
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
        )
    ticks = range(len(classes))
    axis.set_xticks(ticks, classes, rotation=90, fontsize=8)
    axis.set_yticks(ticks, classes, fontsize=8)
    axis.set(xlabel="predicted", ylabel="true")
    # Lines between the cells guide the eye from a number to its labels.
    axis.set_xticks(np.arange(len(classes) - 1) + 0.5, minor=True)
    axis.set_yticks(np.arange(len(classes) - 1) + 0.5, minor=True)
    axis.grid(which="minor", color="#DDDDDD", linewidth=0.5)
    axis.tick_params(which="minor", length=0)
    _save(figure, path)


def plot_per_class(values: Mapping[str, float], path: Path, title: str) -> None:
    """Plot a value in [0, 1] for each class as a horizontal bar, the highest at the top."""
    ranked = sorted(values.items(), key=lambda item: item[1])
    names = [name for name, _ in ranked]
    lengths = [value for _, value in ranked]
    figure, axis = plt.subplots(figsize=(6, 1.2 + 0.24 * len(ranked)))
    bars = axis.barh(names, lengths, color=CLASS_COLORS[1])
    axis.bar_label(bars, fmt="%.3f", padding=3, fontsize=8)
    axis.set(
        title=f"{title}, on average {np.mean(lengths):.3f}",
        xlim=(0, 1.1),
        ylim=(-0.6, len(ranked) - 0.4),
    )
    axis.tick_params(axis="y", labelsize=8)
    _save(figure, path)


def _save(figure: Figure, path: Path, bottom: float = 0.0) -> None:
    figure.tight_layout(rect=(0, bottom, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_rates(
    rates: Sequence[float], losses: Sequence[float], path: Path, suggested: float
) -> None:
    """Plot the loss over the rising learning rate, as a PNG."""
    figure, axis = plt.subplots(figsize=(6, 3.6))
    axis.plot(rates, losses)
    axis.axvline(suggested, linestyle="--", color="black", label=f"suggested: {suggested:.1e}")
    axis.legend()
    axis.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axis.grid(alpha=0.3)
    _save(figure, path)


def plot_learning_curve(
    rows: Sequence[dict[str, float]], commoner_share: float, path: Path
) -> None:
    """Plot accuracies over the number of pictures, beside always saying the commoner species.

    Each row has the `pictures` trained on, and the accuracies on them, `accuracy`, and on held-out
    ones, `val_accuracy`.
    """
    figure, axis = plt.subplots(figsize=(5, 3.6))
    pictures = [row["pictures"] for row in rows]
    for key, label in (("accuracy", "training"), ("val_accuracy", "held out")):
        axis.plot(pictures, [row[key] for row in rows], marker=".", label=label)
    axis.axhline(commoner_share, color="black", linestyle="--", label="always the commoner species")
    axis.set(xlabel="training pictures", ylabel="accuracy")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
