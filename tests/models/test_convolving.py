"""Fast scaling, against Pillow's."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from models import convolving
from models.images import open_photo

PHOTO = Image.fromarray(open_photo("examples/cat_chelsea.png"))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8))


BOTH = pytest.mark.parametrize(
    ("resample", "pillows", "most"),
    [
        (convolving.bilinear, Image.Resampling.BILINEAR, 1),
        (convolving.bicubic, Image.Resampling.BICUBIC, 2),
    ],
    ids=["bilinear", "bicubic"],
)
Resample = Callable[[Image.Image, int, int, convolving.Box], Image.Image]


@BOTH
@pytest.mark.parametrize("size", [(1, 1), (17, 30), (64, 64), (100, 45), (400, 500)], ids=str)
@pytest.mark.parametrize("image", [PHOTO, NOISE], ids=["photo", "noise"])
@pytest.mark.parametrize("part", ["whole", "inner"])
def test_pictures_are_pillows(
    image: Image.Image,
    size: tuple[int, int],
    part: str,
    resample: Resample,
    pillows: Image.Resampling,
    most: int,
) -> None:
    box = (0.0, 0.0, *image.size) if part == "whole" else (3.25, 10.5, 60.0, 77.75)
    height, width = size

    ours = np.asarray(resample(image, height, width, box), np.int64)

    theirs = np.asarray(image.resize((width, height), pillows, box))
    assert ours.shape == (height, width, 3)
    assert np.abs(ours - theirs).max() <= most


@BOTH
def test_machines_without_the_package_have_pillow(
    monkeypatch: pytest.MonkeyPatch, resample: Resample, pillows: Image.Resampling, most: int
) -> None:
    monkeypatch.setattr(convolving, "Resizer", None)

    scaled = resample(PHOTO, 20, 30, (0, 0, *PHOTO.size))

    assert scaled == PHOTO.resize((30, 20), pillows)
