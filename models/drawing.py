"""Results as pictures: classes in colour, masks over photos, cut-outs, previews.

Colours are `(red, green, blue)` tuples of 0 to 255.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.images import Photo

Color = tuple[int, int, int]

# A picture's longer side divided by this is how many pixels wide its lines are, so that they can
# still be seen when it is shown whole.
LINES_PER_SIDE = 800


def indexed_picture(values: NDArray[np.uint8], colors: Mapping[int, Color]) -> Image.Image:
    """A picture whose pixels are the values themselves, shown in the given colours.

    Saved as PNG, a viewer shows the colours and a program reads the values.

    Parameters
    ----------
    values
        `(height, width)` uint8.
    colors
        Colour of each value; others are black.
    """
    image = Image.fromarray(np.ascontiguousarray(values)).convert("L")
    image.putpalette(_palette(colors))
    return image


def overlay(
    photo: Photo, mask: NDArray[np.uint8], colors: Mapping[int, Color], opacity: float
) -> Photo:
    """The photo with the mask's classes laid over it.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8.
    mask
        `(height, width)` uint8 class values.
    colors
        Colour of each class value; classes without one leave the photo as it is.
    opacity
        From 0, only the photo, to 1, only the colours.
    """
    tint = indexed_picture(mask, colors).convert("RGB")
    shown = np.zeros(256, np.uint8)
    shown[list(colors)] = round(255 * opacity)
    return np.asarray(Image.composite(tint, Image.fromarray(photo), Image.fromarray(shown[mask])))


def instance_outlines(instances: NDArray[np.int32]) -> NDArray[np.bool_]:
    """The outermost pixels of each object: `(height, width)` bool.

    Parameters
    ----------
    instances
        `(height, width)` int32: 0 background, a number for each object. An object that leaves the
        picture has no outline there.
    """
    width = max(round(max(instances.shape) / LINES_PER_SIDE), 1)
    outlines = np.zeros(instances.shape, np.bool_)
    for numbers, lines in ((instances, outlines), (instances.T, outlines.T)):
        different = numbers[width:] != numbers[:-width]
        lines[width:] |= different
        lines[:-width] |= different
    return outlines & (instances > 0)


def paint(photo: Photo, where: NDArray[np.bool_], color: Color) -> Photo:
    """The photo with the pixels of a `(height, width)` bool array in a colour."""
    painted = photo.copy()
    painted[where] = color
    return painted


def cut_out(photo: Photo, foreground: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo with what is not foreground (0) transparent: `(height, width, 4)` uint8 RGBA."""
    return np.dstack([photo, foreground])


def binary_preview(gray: NDArray[np.uint8], cut: float, side: int) -> bytes:
    """The pixels above a cut in white, the others black, as a small PNG.

    The picture is thresholded at its own size and then reduced to at most `side` pixels.
    """
    image = Image.fromarray(np.where(gray > cut, 255, 0).astype(np.uint8))
    image.thumbnail((side, side), reducing_gap=2.0)
    return _png(image)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _palette(colors: Mapping[int, Color]) -> Sequence[int]:
    palette = np.zeros((256, 3), np.uint8)
    for value, color in colors.items():
        palette[value] = color
    return palette.ravel().tolist()
