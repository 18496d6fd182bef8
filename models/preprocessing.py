"""A network's input, made from a photo as the model's card describes.

Evaluation in `training/` and serving call the same function with the same `InputSpec`, so a model
is served exactly as it was measured.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.images import Photo
from models.scaling import scaled


@dataclass(frozen=True)
class InputSpec:
    """How a photo is made into a network's input.

    Attributes
    ----------
    height, width
        Input size in pixels.
    resize
        "squash" scales the whole photo to the input size and ignores its aspect ratio; "crop"
        scales it until it just covers the input and takes the centre; "fit" keeps the photo's own
        scale where it fits into the input size, shrinks it to fit where it does not, and mirrors
        it at its right and lower edge until height and width are divisible by `multiple`;
        "letterbox" scales the whole photo, up too, until it fits into the input size, and fills it
        up with the mean colour at its right and lower edge to sides divisible by `multiple`.
    interpolation
        "bilinear" or "bicubic", both with antialiasing.
    mean, std
        Per channel, for values in [0, 1]: the input is `(value - mean) / std`.
    layout
        "NCHW" or "NHWC".
    color
        Channel order; always "RGB".
    multiple
        What the height and width of a "fit" or "letterbox" input are divisible by.

    Raises
    ------
    ValueError
        For other words than these.
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
        # Other programs write cards too; the meaning of an unknown word must not be guessed.
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


def grain(height: int, width: int, spec: InputSpec) -> float:
    """How many of a photo's pixels, along a side, the network sees as one; at least 1."""
    rows, columns = scaled_size(height, width, spec)
    return max(height / rows, width / columns, 1.0)


def resize_photo(photo: Photo, spec: InputSpec) -> Photo:
    """Scale, crop or pad a photo to the specification's size: `(height, width, 3)` uint8."""
    rows, columns = photo.shape[:2]
    height, width = scaled_size(rows, columns, spec)
    box = (0.0, 0.0, float(columns), float(rows))
    if spec.resize == "crop":
        scale = min(columns / width, rows / height)
        # Rounding can give slightly negative numbers, which Pillow refuses.
        left = max((columns - width * scale) / 2, 0.0)
        top = max((rows - height * scale) / 2, 0.0)
        box = (left, top, columns - left, rows - top)
    resampling = Image.Resampling[spec.interpolation.upper()]
    # reducing_gap: a large photo is first shrunk by a whole factor, which is much faster.
    resized = np.asarray(
        Image.fromarray(photo).resize((width, height), resampling, box=box, reducing_gap=3.0)
    )
    if spec.resize in ("squash", "crop"):
        return resized
    padding = (-height % spec.multiple, -width % spec.multiple)
    if spec.resize == "fit":
        return np.pad(resized, ((0, padding[0]), (0, padding[1]), (0, 0)), mode="symmetric")
    filled = np.empty((height + padding[0], width + padding[1], 3), np.uint8)
    filled[:] = np.round(255 * np.array(spec.mean)).astype(np.uint8)
    filled[:height, :width] = resized
    return filled


def normalize(resized: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """Scale `(..., height, width, 3)` uint8 values to the network's range, in its layout."""
    scale = (1 / (255 * np.array(spec.std))).astype(np.float32)
    offset = (np.array(spec.mean) / np.array(spec.std)).astype(np.float32)
    # NumPy is slow where an operand has few values along the last axis, as one for each channel.
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


def prepare(photo: Photo, spec: InputSpec) -> NDArray[np.float32]:
    """Turn a photo into the network's input, a batch of one: float32 in the spec's layout."""
    return np.ascontiguousarray(normalize(resize_photo(photo, spec)[np.newaxis], spec))
