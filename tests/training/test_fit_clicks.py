"""Fitting what clicks mean, on evidence whose weights are known, and on a mask that is wrong."""

from pathlib import Path

import numpy as np
import pytest

from models.correcting import WEIGHTS
from tests import wrong_half
from training import fit_clicks


def test_known_weights_are_found_again() -> None:
    random = np.random.default_rng(0)
    values = random.normal(2, 3, (40_000, len(WEIGHTS))).astype(np.float32)
    weights = np.linspace(-0.5, 0.5, len(WEIGHTS))
    chances = 1 / (1 + np.exp(-(values @ weights + 0.7)))

    start, found = fit_clicks.fit(values, random.random(len(values)) < chances)

    assert start == pytest.approx(0.7, abs=0.1)
    assert list(found) == list(WEIGHTS)
    np.testing.assert_allclose(list(found.values()), weights, atol=0.03)


@pytest.mark.parametrize("wrong", [True, False])
def test_only_a_mask_that_is_wrong_gives_examples(tmp_path: Path, wrong: bool) -> None:
    example = wrong_half.example(tmp_path, 48 if wrong else 32)

    values, meant = fit_clicks.examples_of(example, wrong_half.WRONG_HALF, np.random.default_rng(0))

    assert values.shape == (len(meant), len(WEIGHTS))
    assert np.isfinite(values).all()
    assert bool(len(meant)) == wrong
    if wrong:  # of what the mask leaves out, the missing half is meant, and nothing else
        assert 0 < meant.mean() < 0.5
