"""Fitting what clicks mean, on evidence whose weights are known, and on a mask that is wrong."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from models.correcting import WEIGHTS
from models.segmentation import Segmentation, Segmenter
from training import fit_clicks, pets


def test_known_weights_are_found_again() -> None:
    random = np.random.default_rng(0)
    values = random.normal(2, 3, (40_000, len(WEIGHTS))).astype(np.float32)
    weights = np.linspace(-0.5, 0.5, len(WEIGHTS))
    chances = 1 / (1 + np.exp(-(values @ weights + 0.7)))

    start, found = fit_clicks.fit(values, random.random(len(values)) < chances)

    assert start == pytest.approx(0.7, abs=0.1)
    assert list(found) == list(WEIGHTS)
    np.testing.assert_allclose(list(found.values()), weights, atol=0.03)


class WrongHalf:
    """A mask model that sees the left half of a pet that fills the middle."""

    def predict(self, photo: np.ndarray) -> Segmentation:
        answer = np.zeros((64, 64, 3), np.float32)
        answer[..., 1] = 1
        answer[16:48, 16:32] = (1, 0, 0)
        return Segmentation(answer, ("pet", "background", "border"), photo.shape[:2])


@pytest.mark.parametrize("wrong", [True, False])
def test_only_a_mask_that_is_wrong_gives_examples(tmp_path: Path, wrong: bool) -> None:
    photo, trimap = np.full((64, 64, 3), 40, np.uint8), np.full((64, 64), 2, np.uint8)
    photo[16:48, 16:48] = 220
    trimap[16:48, 16 : 48 if wrong else 32] = 1
    Image.fromarray(photo).save(tmp_path / "cat.png")
    Image.fromarray(trimap).save(tmp_path / "trimap.png")
    example = pets.Example("cat", tmp_path / "cat.png", tmp_path / "trimap.png", 0)

    values, meant = fit_clicks.examples_of(
        example, cast(Segmenter, WrongHalf()), np.random.default_rng(0)
    )

    assert values.shape == (len(meant), len(WEIGHTS))
    assert np.isfinite(values).all()
    assert bool(len(meant)) == wrong
    if wrong:  # of what the mask leaves out, the missing half is meant, and nothing else
        assert 0 < meant.mean() < 0.5
