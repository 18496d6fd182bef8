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
        scales it until it just covers the input and takes the centre.
    interpolation
        "bilinear" or "bicubic", both with antialiasing.
    mean, std
        Per channel, for values in [0, 1]: the input is `(value - mean) / std`.
    layout
        "NCHW" or "NHWC".
    color
        Channel order; always "RGB".

    Raises
    ------
    ValueError
        For other words than these.
    """

    height: int
    width: int
    resize: Literal["squash", "crop"]
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layout: Literal["NCHW", "NHWC"]
    color: Literal["RGB"] = "RGB"

    def __post_init__(self) -> None:
        # A card is written by other programs too; a word unknown here must not be guessed at.
        for name, known in (
            ("resize", ("squash", "crop")),
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


def resize_photo(photo: Photo, spec: InputSpec) -> Photo:
    """Bring a photo to the input size: `(height, width, 3)` uint8."""
    rows, columns = photo.shape[:2]
    box = (0.0, 0.0, float(columns), float(rows))
    if spec.resize == "crop":
        scale = min(columns / spec.width, rows / spec.height)
        # Rounding can leave a little less than nothing, which Pillow refuses.
        left = max((columns - spec.width * scale) / 2, 0.0)
        top = max((rows - spec.height * scale) / 2, 0.0)
        box = (left, top, columns - left, rows - top)
    resampling = Image.Resampling[spec.interpolation.upper()]
    # reducing_gap: a large photo is first shrunk by a whole factor, which is much faster.
    resized = Image.fromarray(photo).resize(
        (spec.width, spec.height), resampling, box=box, reducing_gap=3.0
    )
    return np.asarray(resized)


def normalize(resized: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """Scale `(..., height, width, 3)` uint8 values to the network's range, in its layout."""
    scale = (1 / (255 * np.array(spec.std))).astype(np.float32)
    offset = (np.array(spec.mean) / np.array(spec.std)).astype(np.float32)
    values = resized * scale - offset
    return np.moveaxis(values, -1, -3) if spec.layout == "NCHW" else values


def prepare(photo: Photo, spec: InputSpec) -> NDArray[np.float32]:
    """Turn a photo into the network's input, a batch of one: float32 in the spec's layout."""
    return np.ascontiguousarray(normalize(resize_photo(photo, spec)[np.newaxis], spec))
