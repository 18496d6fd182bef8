from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import metrics, reports

BREEDS = [f"Breed With A Long Name {index}" for index in range(37)]


def reliability(path: Path) -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(5, 0.3), 300)
    truth = random.integers(0, 5, 300)
    reports.plot_reliability(metrics.reliability(probabilities, truth), path)


def confusion(path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 37, 3000)
    prediction = np.where(random.random(3000) < 0.9, truth, random.integers(0, 37, 3000))
    reports.plot_confusion(metrics.confusion_matrix(truth, prediction, 37), BREEDS, path)


def per_class(path: Path) -> None:
    values = np.random.default_rng(0).random(37)
    reports.plot_per_class(dict(zip(BREEDS, values, strict=True)), path, "mean IoU")


@pytest.mark.parametrize("plot", [reliability, confusion, per_class])
def test_plots_show_something(plot: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "plot.png"

    plot(path)

    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 400
    assert 0.01 < (pixels < 200).mean() < 0.9


def test_the_matrix_of_all_breeds_has_a_number_for_every_error(tmp_path: Path) -> None:
    """One more error changes the picture where its row and column cross."""
    matrix = np.diag(np.full(37, 90))
    pictures = []
    for count in (0, 1):
        matrix[30, 5] = count
        reports.plot_confusion(matrix, BREEDS, tmp_path / f"{count}.png")
        with Image.open(tmp_path / f"{count}.png") as image:
            pictures.append(np.asarray(image.convert("L"), np.int16))
    changed = np.argwhere(np.abs(pictures[0] - pictures[1]) > 100)
    assert 4 < len(changed) < 100
    assert np.ptp(changed, axis=0).max() < 20
