"""`models.resampling`, against Pillow."""

import numpy as np
import pytest
from PIL import Image

from models.images import Photo
from models.resampling import bilinear

BILINEAR = Image.Resampling.BILINEAR


@pytest.fixture
def noise() -> Photo:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


def pillow(picture: Photo, height: int, width: int) -> Photo:
    return np.asarray(Image.fromarray(picture).resize((width, height), BILINEAR))


@pytest.mark.parametrize("size", [(60, 80), (61, 200), (300, 100), (240, 320)])
def test_what_is_enlarged_is_what_pillow_makes(noise: Photo, size: tuple[int, int]) -> None:
    for picture in (noise, noise[:, :, 0]):
        made = bilinear(picture, *size)
        assert made.shape == size + picture.shape[2:]
        assert np.abs(made.astype(int) - pillow(picture, *size)).max() <= 1


@pytest.mark.parametrize("size", [(47, 63), (45, 62), (31, 41), (30, 40), (20, 11), (1, 1)])
def test_what_is_reduced_is_neither_moved_nor_changed_in_brightness(size: tuple[int, int]) -> None:
    ramp = np.add.outer(np.linspace(0, 120, 60), np.linspace(0, 120, 80)).astype(np.uint8)
    made = bilinear(ramp, *size)
    assert made.shape == size
    assert np.abs(made.astype(int) - pillow(ramp, *size)).max() <= 2


def test_each_pixel_counts_where_a_picture_is_reduced() -> None:
    for column in range(100):
        line = np.zeros((1, 100), np.uint8)
        line[0, column] = 255
        for width in (90, 75, 51, 50, 33):
            assert bilinear(line, 1, width).any()
