"""The edge and the frame of a cut-out: larger or smaller, softer, a sticker's outline, cropped.

Lengths are shares of the photo's longer side, so that a small copy shows what the whole photo will
be.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from models.regions import HALF, Box
from models.scaling import reduced_size
from models.watershed import REGION_SIDE

SHADOW = 0.35  # opacity of a sticker's shadow
SHADOW_BLUR = 0.5  # its standard deviation, in widths of the outline
SHADOW_FALL = 0.4  # how far below the sticker it lies, likewise


def adjust_edge(
    opacity: NDArray[np.uint8], grow: float = 0.0, softness: float = 0.0
) -> NDArray[np.uint8]:
    """Move an edge outwards or inwards, and blur it.

    Parameters
    ----------
    opacity
        `(height, width)` uint8.
    grow
        How far; inwards where it is negative.
    softness
        Standard deviation of the blur.
    """
    side = max(opacity.shape)
    if grow:
        # Distances are measured from the middle of the edge, half a pixel from its pixels.
        inside = opacity > HALF
        outwards = _distance(~inside) - 0.5 if grow > 0 else 0.5 - _distance(inside)
        moved = np.clip(grow * side - outwards + 0.5, 0, 1) * 255
        rounded = np.rint(moved).astype(np.uint8)
        opacity = np.maximum(opacity, rounded) if grow > 0 else np.minimum(opacity, rounded)
    if softness:
        blurred = cv2.GaussianBlur(opacity, (0, 0), max(softness * side, 0.1))
        opacity = np.asarray(blurred, np.uint8)
    return opacity


def keep_only(
    opacity: NDArray[np.uint8], numbers: NDArray[np.integer], kept: Sequence[int]
) -> NDArray[np.uint8]:
    """The opacity of some pets alone; what belongs to none of them goes with the nearest.

    Parameters
    ----------
    opacity
        `(height, width)` uint8.
    numbers
        Of the pets, 1 to n, at any size; 0 is the background.
    kept
        The numbers that stay.
    """
    from scipy.ndimage import distance_transform_edt

    height, width = numbers.shape
    rows, columns = reduced_size(height, width, REGION_SIDE)
    small = cv2.resize(numbers.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST)
    if not small.any():
        return opacity
    nearest = distance_transform_edt(small == 0, return_distances=False, return_indices=True)
    stays = np.isin(small[tuple(nearest)], kept).astype(np.uint8)
    full = cv2.resize(stays, opacity.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return opacity * full.astype(np.uint8)


def add_outline(cut: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    """A sticker: a white outline around a cut-out, and a soft shadow under it.

    Parameters
    ----------
    cut
        `(height, width, 4)` uint8 RGBA with room around what it shows; see `room`.
    width
        Of the outline in pixels; with 0 the cut-out stays as it is.
    """
    if width <= 0:
        return cut
    around = np.clip(width - _distance(cut[:, :, 3] <= HALF) + 1, 0, 1)
    sticker = np.maximum(around, cut[:, :, 3] / np.float32(255)).astype(np.float32)
    shadow = cv2.GaussianBlur(sticker, (0, 0), max(SHADOW_BLUR * width, 0.1))
    shift = np.array([[1, 0, 0], [0, 1, SHADOW_FALL * width]], np.float32)
    shadow = SHADOW * cv2.warpAffine(shadow, shift, sticker.shape[::-1])
    alpha = sticker + (1 - sticker) * shadow
    own = cut[:, :, 3:] / np.float32(255)
    paper = own * cut[:, :, :3] + (1 - own) * 255  # the white shines through a soft edge
    shown = np.divide(
        sticker[..., np.newaxis] * paper,
        alpha[..., np.newaxis],
        out=np.zeros_like(paper),
        where=alpha[..., np.newaxis] > 0,
    )
    return np.rint(np.dstack([shown, alpha * 255])).clip(0, 255).astype(np.uint8)


def room(width: float) -> float:
    """How much room an outline of this width needs around a cut-out, with its shadow."""
    return width * (1 + SHADOW_FALL + 3 * SHADOW_BLUR) if width > 0 else 0.0


def frame(
    opacity: NDArray[np.uint8], crop: bool, margin: float, square: bool, outline: float = 0.0
) -> Box:
    """What a picture of the cut-out shows: `(left, top, right, bottom)`, maybe beyond the photo.

    Parameters
    ----------
    opacity
        `(height, width)` uint8 of the cut-out.
    crop
        Whether only the cut-out, and not the whole photo.
    margin
        Around the cut-out, besides the room that its outline needs.
    square
        Whether it is made square: wider or higher, never smaller.
    outline
        Width of the outline, a share like the margin.
    """
    height, width = opacity.shape
    left, top, right, bottom = 0, 0, width, height
    if crop and (opacity > HALF).any():
        left, top, across, down = cv2.boundingRect((opacity > HALF).astype(np.uint8))
        space = round((margin + room(outline)) * max(height, width))
        left, top, right, bottom = (
            left - space,
            top - space,
            left + across + space,
            top + down + space,
        )
    if square:
        side = max(right - left, bottom - top)
        left -= (side - (right - left)) // 2
        top -= (side - (bottom - top)) // 2
        right, bottom = left + side, top + side
    return left, top, right, bottom


def framed(picture: NDArray[np.uint8], box: Box, beyond: int | None = 0) -> NDArray[np.uint8]:
    """A part of a picture, `(height, width, channels)`, that may go beyond it.

    Parameters
    ----------
    picture
        uint8.
    box
        `(left, top, right, bottom)` in pixels of it.
    beyond
        The value of pixels beyond it; None repeats those of its edge.
    """
    height, width = picture.shape[:2]
    left, top, right, bottom = box
    inner = picture[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    padding = (
        (max(-top, 0), max(bottom - height, 0)),
        (max(-left, 0), max(right - width, 0)),
        (0, 0),
    )
    if not any(sum(padding, ())):
        return inner
    if beyond is None:
        return np.pad(inner, padding, mode="edge")
    return np.pad(inner, padding, constant_values=beyond)


def _distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far each true pixel is from the nearest false one."""
    if mask.all():
        return np.full(mask.shape, 1e6, np.float32)
    found = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(found, np.float32)
