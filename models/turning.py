"""Quarter turns of photos, and of what is found in them."""

from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Turn = Literal[0, 90, 180, 270]
"""Degrees, clockwise."""

QUARTERS: tuple[Turn, ...] = (0, 90, 180, 270)

Box = tuple[int, int, int, int]
Number = TypeVar("Number", bound=np.generic)

_TRANSPOSES = {
    90: Image.Transpose.ROTATE_270,  # Pillow's turns are counterclockwise
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


def back(turn: Turn) -> Turn:
    """The turn that undoes another."""
    return QUARTERS[-turn // 90 % 4]


def turn_array(array: NDArray[Number], turn: Turn, axes: tuple[int, int] = (0, 1)) -> NDArray[Any]:
    """Turn an array whose `axes` are rows and columns; the answer is contiguous.

    Examples
    --------
    >>> turn_array(np.array([[1, 2, 3]]), 90).tolist()
    [[1], [2], [3]]
    """
    return np.ascontiguousarray(np.rot90(array, -turn // 90, axes)) if turn else array


def turn_image(image: Image.Image, turn: Turn) -> Image.Image:
    """Turn a picture of Pillow's."""
    return image.transpose(_TRANSPOSES[turn]) if turn else image


def turn_box(box: Box, turn: Turn, height: int, width: int) -> Box:
    """Where a box is after its photo was turned.

    Parameters
    ----------
    box
        `(left, top, right, bottom)` in pixels, right and bottom exclusive.
    turn
        By how much.
    height, width
        Of the photo before.

    Examples
    --------
    >>> turn_box((0, 0, 2, 1), 90, height=10, width=20)
    (9, 0, 10, 2)
    """
    left, top, right, bottom = box
    if turn == 90:
        return height - bottom, left, height - top, right
    if turn == 180:
        return width - right, height - bottom, width - left, height - top
    if turn == 270:
        return top, width - right, bottom, width - left
    return box
