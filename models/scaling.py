"""Scaling of pictures, probabilities and labels, at once or a few rows at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width times a scale, in whole pixels, at least 1.

    Examples
    --------
    >>> scaled(1000, 3, 0.1)
    (100, 1)
    """
    return max(round(height * scale), 1), max(round(width * scale), 1)


def reduced_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width reduced to at most `side`; a smaller picture keeps its size.

    Examples
    --------
    >>> reduced_size(1500, 3000, 1000)
    (500, 1000)
    """
    return scaled(height, width, min(side / max(height, width), 1.0))


def strips(height: int, width: int, pixels: int) -> Iterator[slice]:
    """Slices of rows that together cover a picture, each of about `pixels` pixels.

    Examples
    --------
    >>> list(strips(5, 100, 200))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(pixels // width, 1)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def scaled_rows(plane: Image.Image, rows: slice, height: int, width: int) -> NDArray[Any]:
    """Some rows of a plane scaled bilinearly to a height and width, in the plane's mode.

    Up to rounding, they equal those of the whole plane scaled at once.
    """
    scale = plane.height / height
    box = (0, rows.start * scale, plane.width, rows.stop * scale)
    size = (width, rows.stop - rows.start)
    return np.asarray(plane.resize(size, Image.Resampling.BILINEAR, box=box))


def scale_maps(
    maps: NDArray[np.float32],
    height: int,
    width: int,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.float32]:
    """Scale `(h, w, classes)` probabilities, or a box of them, to `(height, width, classes)`.

    They are interpolated bilinearly. In memory, each class is one plane: they are written and read
    in this order.
    """
    planes = np.empty((maps.shape[2], height, width), np.float32)
    for index, plane in enumerate(planes):
        plane[:] = np.asarray(
            plane_of(maps, index).resize((width, height), Image.Resampling.BILINEAR, box)
        )
    return np.moveaxis(planes, 0, 2)


def plane_of(maps: NDArray[np.float32], index: int) -> Image.Image:
    """One class of `(height, width, classes)` probabilities, as an image of mode "F"."""
    return Image.fromarray(np.ascontiguousarray(maps[:, :, index]))


def scale_numbers(numbers: NDArray[np.integer], height: int, width: int) -> NDArray[np.int32]:
    """Scale an array of labels, which must not be mixed: each pixel takes the nearest one."""
    image = Image.fromarray(numbers.astype(np.int32))
    return np.array(image.resize((width, height), Image.Resampling.NEAREST))
