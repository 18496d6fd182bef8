"""The benchmark of thresholds measures all methods, and scikit-image's beside them."""

import pytest

from bench import thresholds
from models.thresholding.local_methods import LOCAL_METHODS


def test_a_small_picture_is_measured_with_all_methods(capsys: pytest.CaptureFixture[str]) -> None:
    thresholds.main(["--short"])

    rows = [
        line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:] if "|" in line
    ]
    measured = {row[0].strip(): [float(cell) for cell in row[1:] if cell.strip()] for row in rows}
    local = {name.replace("_", " ") for name in LOCAL_METHODS}
    assert set(measured) == {"all global methods", *local}
    beside = {name for name, figures in measured.items() if len(figures) == 3}
    assert beside == {"local mean", "local gaussian", "niblack", "sauvola"}
    for name in beside:
        ours, theirs, ratio = measured[name]
        assert min(ours, theirs, ratio) >= 0
