"""Pictures that every run ends in: learning curves and sheets of predictions beside the truth."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no window: runs happen on servers
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from numpy.typing import NDArray

# Okabe and Ito's palette, told apart by colour-blind readers too.
CLASS_COLORS = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def plot_curves(
    history: Sequence[Mapping[str, float]], path: Path, metrics: Mapping[str, str]
) -> None:
    """Plot each metric over the epochs, training and held-out, side by side, as a PNG.

    `history` holds one row an epoch with the keys `NAME` and `val_NAME`; `metrics` maps NAME to
    the title shown.
    """
    figure, axes = plt.subplots(1, len(metrics), figsize=(5 * len(metrics), 3.6), squeeze=False)
    epochs = range(1, len(history) + 1)
    for axis, (name, title) in zip(axes[0], metrics.items(), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "held out")):
            values = [row[key] for row in history if key in row]
            if values:
                axis.plot(epochs, values, marker=".", label=label)
        axis.set(title=title, xlabel="epoch")
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
    """A sheet with one row a picture: photo, truth, prediction (class indices), as a PNG."""
    colors = ListedColormap(CLASS_COLORS[: len(classes)])
    figure, axes = plt.subplots(
        len(photos), 3, figsize=(6.6, 2.2 * len(photos) + 0.6), squeeze=False
    )
    for row, pictures in zip(axes, zip(photos, truths, predictions, strict=True), strict=True):
        row[0].imshow(pictures[0])
        for axis, mask in zip(row[1:], pictures[1:], strict=True):
            axis.imshow(mask, cmap=colors, vmin=0, vmax=len(classes) - 1, interpolation="nearest")
        for axis in row:
            axis.set_axis_off()
    for axis, title in zip(axes[0], ("photo", "truth", "prediction"), strict=True):
        axis.set_title(title)
    handles = [Patch(color=colors(i), label=name) for i, name in enumerate(classes)]
    figure.legend(handles=handles, loc="lower center", ncols=len(classes))
    _save(figure, path, bottom=0.6 / (2.2 * len(photos) + 0.6))


def plot_classifications(
    photos: Sequence[NDArray[np.uint8]],
    truths: Sequence[str],
    predictions: Sequence[str],
    probabilities: Sequence[float],
    path: Path,
    columns: int = 4,
) -> None:
    """A sheet of photos titled with the predicted label and, where it is wrong, the true one."""
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


def _save(figure: plt.Figure, path: Path, bottom: float = 0.0) -> None:
    figure.tight_layout(rect=(0, bottom, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
