"""A photo as a network wants it, described by data that travels in the model's card.

Evaluation in `training/` and serving call the same function with the same `InputSpec`, so a model
is served exactly as it was measured.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.images import Photo


@dataclass(frozen=True)
class InputSpec:
    """How a network wants its photo.

    Attributes
    ----------
    height, width
        Input size in pixels.
    resize
        "squash" scales the whole photo to the input size and ignores its aspect ratio; "crop"
        scales it until it just covers the input and takes the centre; "fit" keeps the photo's own
        scale where it fits into the input size, shrinks it to fit where it does not, and mirrors
        it at its right and lower edge until height and width are divisible by `multiple`.
    interpolation
        "bilinear" or "bicubic", both with antialiasing.
    mean, std
        Per channel, for values in [0, 1]: the input is `(value - mean) / std`.
    layout
        "NCHW" or "NHWC".
    color
        Channel order; always "RGB".
    multiple
        What a "fit" input's height and width are divisible by.

    Raises
    ------
    ValueError
        For other words than these.
    """

    height: int
    width: int
    resize: Literal["squash", "crop", "fit"]
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layout: Literal["NCHW", "NHWC"]
    color: Literal["RGB"] = "RGB"
    multiple: int = 1

    def __post_init__(self) -> None:
        # A card is written by other programs too; a word unknown here must not be guessed at.
        for name, known in (
            ("resize", ("squash", "crop", "fit")),
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
    """Height and width in the network's input of a photo of this size, without what pads it."""
    if spec.resize != "fit":
        return spec.height, spec.width
    scale = min(spec.height / height, spec.width / width, 1.0)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def grain(height: int, width: int, spec: InputSpec) -> float:
    """Side in pixels of a photo of this size of what the network sees as one pixel, at least 1."""
    rows, columns = scaled_size(height, width, spec)
    return max(height / rows, width / columns, 1.0)


def resize_photo(photo: Photo, spec: InputSpec) -> Photo:
    """Scale, crop or pad a photo to the specification's size: `(height, width, 3)` uint8."""
    rows, columns = photo.shape[:2]
    height, width = scaled_size(rows, columns, spec)
    box = (0.0, 0.0, float(columns), float(rows))
    if spec.resize == "crop":
        scale = min(columns / width, rows / height)
        # Rounding can leave a little less than nothing, which Pillow refuses.
        left = max((columns - width * scale) / 2, 0.0)
        top = max((rows - height * scale) / 2, 0.0)
        box = (left, top, columns - left, rows - top)
    resampling = Image.Resampling[spec.interpolation.upper()]
    # reducing_gap: a large photo is first shrunk by a whole factor, which is much faster.
    resized = np.asarray(
        Image.fromarray(photo).resize((width, height), resampling, box=box, reducing_gap=3.0)
    )
    if spec.resize != "fit":
        return resized
    padding = (-height % spec.multiple, -width % spec.multiple)
    return np.pad(resized, ((0, padding[0]), (0, padding[1]), (0, 0)), mode="symmetric")


def normalize(resized: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """Scale `(..., height, width, 3)` uint8 values to the network's range, in its layout."""
    scale = (1 / (255 * np.array(spec.std))).astype(np.float32)
    offset = (np.array(spec.mean) / np.array(spec.std)).astype(np.float32)
    values = resized * scale - offset
    return np.moveaxis(values, -1, -3) if spec.layout == "NCHW" else values


def prepare(photo: Photo, spec: InputSpec) -> NDArray[np.float32]:
    """Turn a photo into the network's input, a batch of one: float32 in the spec's layout."""
    return np.ascontiguousarray(normalize(resize_photo(photo, spec)[np.newaxis], spec))
