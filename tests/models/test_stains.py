"""Micrographs as networks get them: the same picture for any bit depth and colour."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from models import segmentation
from models.images import open_photo, open_picture
from models.micrographs import examine
from models.stains import micrograph, single_stain

ROOT = Path(__file__).parents[2]
COLORS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
}


def gray() -> NDArray[np.uint8]:
    """Discs of several brightnesses on a dark ground."""
    y, x = np.mgrid[:160, :200]
    picture = np.full((160, 200), 12.0)
    for number, (top, left) in enumerate((t, c) for t in (35, 80, 125) for c in (30, 80, 130, 170)):
        inside = (y - top) ** 2 + (x - left) ** 2 < (9 + number % 4) ** 2
        picture[inside] = 90 + 12 * number
    noise = np.random.default_rng(0).normal(0, 3, picture.shape)
    return np.rint(np.clip(picture + noise, 0, 255)).astype(np.uint8)


def written(values: NDArray[Any], **options: Any) -> bytes:  # noqa: ANN401
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def png(values: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def depths() -> dict[str, bytes]:
    """The picture in the bit depths of cameras."""
    eight = gray()
    deep = eight.astype(np.uint16)
    return {
        "8 bits": written(eight),
        "10 bits": written(deep * 4),
        "12 bits": written(deep * 16),
        "14 bits": written(deep * 64),
        "16 bits": written(deep * 257),
        "big-endian": written(deep * 16, byteorder=">", compression="zlib"),
        "packed": written(deep * 16, bitspersample=12),
        "with a range": written(deep * 16, imagej=True, metadata={"min": 0, "max": 4095}),
        "float": written(deep.astype(np.float32) * 16),
        "float to 1": written(deep / 255),
        **{
            name: png(np.rint(eight[:, :, np.newaxis] * np.array(color)).astype(np.uint8))
            for name, color in COLORS.items()
        },
    }


def test_a_network_gets_the_same_picture_of_any_depth_and_colour() -> None:
    expected = np.repeat(gray()[:, :, np.newaxis], 3, axis=2).astype(int)

    for name, content in depths().items():
        given = micrograph(open_picture(content))
        assert np.abs(given - expected).max() <= 1, name


def test_the_count_is_the_same_in_any_depth_and_colour() -> None:
    network = segmentation.load("nuclei")
    counts = {
        name: len(examine(open_picture(content), network).objects)
        for name, content in depths().items()
    }

    assert counts["8 bits"] >= 10
    assert len(set(counts.values())) == 1, counts


@pytest.mark.parametrize("quality", [95, 90])
def test_a_single_stain_is_recognised_after_jpeg_compression(quality: int) -> None:
    buffer = io.BytesIO()
    green = np.dstack([np.zeros_like(gray()), gray(), np.zeros_like(gray())])
    Image.fromarray(green).save(buffer, "JPEG", quality=quality, subsampling=0)

    found = single_stain(open_photo(buffer.getvalue()))

    assert found is not None
    assert np.abs(found.astype(int) - gray()).mean() < 3


def test_several_colours_are_no_single_stain() -> None:
    photo = open_photo(ROOT / "examples" / "cat_chelsea.png")
    two = np.dstack([gray(), gray()[::-1], np.zeros_like(gray())])

    assert single_stain(photo) is None
    assert single_stain(two) is None
    np.testing.assert_array_equal(micrograph(open_picture(png(two))), two)
