"""Where the pet is: a probability per class and pixel from a U-Net, at the photo's own size."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import store
from models.images import Photo
from models.preprocessing import prepare
from models.runtime import Network


@dataclass(frozen=True)
class Segmentation:
    """What a mask model says of a photo.

    Attributes
    ----------
    probabilities
        `(height, width, classes)` float32 at the photo's size, in [0, 1], summing to 1 over the
        classes.
    classes
        Names of the classes, in the order of the last axis.
    """

    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        """`(height, width)` uint8: 1 for the first class, 2 for the second, and so on.

        For the pet model that is the data set's meaning: 1 pet, 2 background, 3 border.
        """
        # Class by class: `argmax` takes half as long again, and eight bytes a pixel on the way.
        best = self.probabilities[:, :, 0].copy()
        mask = np.ones(best.shape, np.uint8)
        for index in range(1, len(self.classes)):
            values = self.probabilities[:, :, index]
            mask[values > best] = index + 1
            np.maximum(best, values, out=best)
        return mask

    @cached_property
    def shares(self) -> dict[str, float]:
        """Part of the photo that each class covers, in [0, 1]."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes) + 1)[1:]
        return {
            name: float(count / self.mask.size)
            for name, count in zip(self.classes, counts, strict=True)
        }

    def foreground(self) -> NDArray[np.float32]:
        """How much of each pixel belongs to the pet: `(height, width)` float32 in [0, 1].

        The pet's outline runs along the middle of the border class, so a border pixel counts
        half; the ramp is then stretched so that doubtful pixels inside and outside become sure.
        """
        pet = self.probabilities[:, :, self.classes.index("pet")]
        border = self.probabilities[:, :, self.classes.index("border")]
        # (pet + border / 2) * 2 - 1 / 2, in one array: that of the largest photo has 200 MB
        foreground = pet * np.float32(2)
        foreground += border
        foreground -= np.float32(0.5)
        return np.clip(foreground, 0, 1, out=foreground)


class Segmenter:
    """A mask model ready to use."""

    def __init__(self, card: store.Card, network: Network) -> None:
        self.card = card
        self.classes = tuple(label.name for label in card.labels)
        self._network = network

    @property
    def device(self) -> str:
        """Where the model runs, "CPU" or "GPU"."""
        return self._network.device

    def predict(self, photo: Photo) -> Segmentation:
        """Segment a photo.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB.

        Examples
        --------
        >>> segmentation = load("pet").predict(open_photo("examples/cat_chelsea.png"))
        >>> segmentation.probabilities.shape
        (300, 451, 3)
        """
        (small,) = self.run(prepare(photo, self.card.input))
        return Segmentation(_enlarge(small, *photo.shape[:2]), self.classes)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Segment a prepared batch at the network's size.

        Returns
        -------
        `(batch, input height, input width, classes)` float32 probabilities.
        """
        output = self._network.run(batch)
        return np.moveaxis(output, 1, 3) if self.card.output_layout == "NCHW" else output


def _enlarge(maps: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Scale `(h, w, classes)` probabilities bilinearly to `(height, width, classes)`.

    Each class lies in memory as one plane, which is the order they are made and read in.
    """
    enlarged = np.empty((maps.shape[2], height, width), np.float32)
    for index, plane in enumerate(enlarged):
        image = Image.fromarray(np.ascontiguousarray(maps[:, :, index]))
        plane[:] = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.moveaxis(enlarged, 0, 2)


@cache
def load(name: str = "pet") -> Segmenter:
    """Load a mask model once; later calls give the same one.

    Raises
    ------
    models.store.ModelError
        When the model is missing or damaged.
    """
    return Segmenter(*store.load(name, "segmentation"))
