"""A network's input, made from a photo according to the model's card.

Evaluation in `training/` and the app call the same function with the same `InputSpec`, so a model
is used exactly as it was measured.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import convolving
from models.images import Photo
from models.scaling import scaled

# A part is first reduced by a whole factor, to at least this many times its final size. From 3 on,
# Pillow's documentation says, the result is indistinguishable from scaling all pixels.
GAP = 3.0

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class InputSpec:
    """How to turn a photo into a network's input.

    Attributes
    ----------
    height, width
        Input size in pixels.
    resize
        "squash" scales the whole photo to the input size and ignores its aspect ratio; "crop"
        scales it until it just covers the input, and takes the centre; "fit" keeps the photo's own
        scale if it fits into the input size, shrinks it if not, and mirrors it at its right and
        lower edge until height and width are divisible by `multiple`; "letterbox" scales the whole
        photo, up or down, to fit into the input size, and pads it with the mean colour at its right
        and lower edge until its sides are divisible by `multiple`.
    interpolation
        "bilinear" or "bicubic", both with antialiasing.
    mean, std
        Per channel, for values in [0, 1]: the input is `(value - mean) / std`.
    layout
        "NCHW" or "NHWC".
    color
        Channel order; always "RGB".
    multiple
        Divisor of the height and width of a "fit" or "letterbox" input.

    Raises
    ------
    ValueError
        If a setting has an unknown value.
    """

    height: int
    width: int
    resize: Literal["squash", "crop", "fit", "letterbox"]
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layout: Literal["NCHW", "NHWC"]
    color: Literal["RGB"] = "RGB"
    multiple: int = 1

    def __post_init__(self) -> None:
        # Other programs may write cards too; the meaning of an unknown word must not be guessed.
        for name, known in (
            ("resize", ("squash", "crop", "fit", "letterbox")),
            ("interpolation", ("bilinear", "bicubic")),
            ("layout", ("NCHW", "NHWC")),
            ("color", ("RGB",)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}")

    def batch_shape(self, batch: int) -> tuple[int, int, int, int]:
        """Shape of the network's input for `batch` photos."""
        if self.layout == "NCHW":
            return batch, 3, self.height, self.width
        return batch, self.height, self.width, 3


def scaled_size(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """Height and width that a photo of this size has in the network's input, without padding."""
    if spec.resize in ("squash", "crop"):
        return spec.height, spec.width
    scale = min(spec.height / height, spec.width / width)
    return scaled(height, width, min(scale, 1.0) if spec.resize == "fit" else scale)


def input_size(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """Height and width of the network's input for a photo of this size, with padding."""
    rows, columns = scaled_size(height, width, spec)
    if spec.resize in ("squash", "crop"):
        return rows, columns
    return rows + -rows % spec.multiple, columns + -columns % spec.multiple


def grain(height: int, width: int, spec: InputSpec) -> float:
    """How many of a photo's pixels, along a side, the network sees as one; at least 1."""
    rows, columns = scaled_size(height, width, spec)
    return max(height / rows, width / columns, 1.0)


def as_image(photo: Photo | Image.Image) -> Image.Image:
    """A photo as a Pillow image. Converting it takes longer than scaling it, so do it once."""
    return photo if isinstance(photo, Image.Image) else Image.fromarray(photo)


def resize_photo(
    photo: Photo | Image.Image, spec: InputSpec, window: Window | None = None
) -> Photo:
    """Scale, crop or pad a photo to the specification's size: `(height, width, 3)` uint8.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB, or the same as a Pillow image.
    spec
        The size, and how it is reached.
    window
        `(left, top, right, bottom)` in pixels of the photo: what is taken for the whole photo.
    """
    image = as_image(photo)
    window = window or (0, 0, image.width, image.height)
    rows, columns = window[3] - window[1], window[2] - window[0]
    height, width = scaled_size(rows, columns, spec)
    box = (0.0, 0.0, float(columns), float(rows))
    if spec.resize == "crop":
        scale = min(columns / width, rows / height)
        # Rounding can give slightly negative values, which Pillow refuses.
        left = max((columns - width * scale) / 2, 0.0)
        top = max((rows - height * scale) / 2, 0.0)
        box = (left, top, columns - left, rows - top)
    # As by Pillow's `reducing_gap`, but without a copy of the window.
    across = max(int((box[2] - box[0]) / width / GAP), 1)
    down = max(int((box[3] - box[1]) / height / GAP), 1)
    part = image
    if (across, down) != (1, 1):
        part = image.reduce((across, down), box=window)
    elif (columns, rows) != image.size:
        part = image.crop(window)
    box = (box[0] / across, box[1] / down, box[2] / across, box[3] / down)
    resample = convolving.bilinear if spec.interpolation == "bilinear" else convolving.bicubic
    resized = np.asarray(resample(part, height, width, box))
    if spec.resize in ("squash", "crop"):
        return resized
    padded = input_size(rows, columns, spec)
    if spec.resize == "fit":
        below, beside = padded[0] - height, padded[1] - width
        return np.pad(resized, ((0, below), (0, beside), (0, 0)), mode="symmetric")
    filled = np.empty((*padded, 3), np.uint8)
    filled[:] = np.round(255 * np.array(spec.mean)).astype(np.uint8)
    filled[:height, :width] = resized
    return filled


def normalize(resized: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """Scale `(..., height, width, 3)` uint8 values to the network's range, in its layout."""
    scale = (1 / (255 * np.array(spec.std))).astype(np.float32)
    offset = (np.array(spec.mean) / np.array(spec.std)).astype(np.float32)
    # NumPy is slow if an operand has few values along the last axis, such as one per channel.
    if spec.layout == "NCHW":
        planes = np.ascontiguousarray(np.moveaxis(resized, -1, -3))
        values: NDArray[np.float32] = planes * scale[:, np.newaxis, np.newaxis]
        values -= offset[:, np.newaxis, np.newaxis]
        return values
    width = resized.shape[-2]
    flat: NDArray[Any] = resized.reshape(*resized.shape[:-2], -1)
    rows: NDArray[np.float32] = flat * np.tile(scale, width)
    rows -= np.tile(offset, width)
    return rows.reshape(resized.shape)


def prepare(
    photo: Photo | Image.Image, spec: InputSpec, window: Window | None = None
) -> NDArray[np.float32]:
    """Turn a photo into the network's input, a batch of one: float32 in the spec's layout.

    The parameters are those of `resize_photo`.
    """
    resized = resize_photo(photo, spec, window)
    return np.ascontiguousarray(normalize(resized[np.newaxis], spec))
