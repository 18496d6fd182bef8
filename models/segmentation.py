"""Where the pet (or another subject) is: a probability per class and pixel, at photo size."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import store
from models.images import Photo
from models.preprocessing import InputSpec, prepare, scaled_size
from models.runtime import Network

# Probabilities of the interior at which distances to its edge are measured, and how much deeper two
# parts must be than the neck between them, in pixels, to count as two. What is nowhere as deep is
# noise.
INTERIOR_LEVELS = (0.5, 0.7, 0.85, 0.95)
NECK = 0.5
LARGEST_FLOOD = 1_500_000  # pixels; larger photos are taken apart at this size


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

    @property
    def subject(self) -> str:
        """Name of the class that is neither background nor border: "pet", "nucleus"."""
        return next(name for name in self.classes if name not in ("background", "border"))

    def foreground(self) -> NDArray[np.float32]:
        """How much of each pixel belongs to the subject: `(height, width)` float32 in [0, 1].

        A pet's outline runs along the middle of the border class, so a border pixel counts
        half; the ramp is then stretched so that doubtful pixels inside and outside become sure.
        """
        subject = self.probabilities[:, :, self.classes.index(self.subject)]
        # (subject + border / 2) * 2 - 1 / 2, in one array: that of the largest photo has 200 MB
        foreground = subject * np.float32(2)
        if "border" in self.classes:
            foreground += self.probabilities[:, :, self.classes.index("border")]
        foreground -= np.float32(0.5)
        return np.clip(foreground, 0, 1, out=foreground)

    def instances(self) -> NDArray[np.int32]:
        """Take the foreground apart: `(height, width)` int32, 0 background, else 1 to n.

        How deep a pixel lies is its distance from the edge of the interior, averaged over several
        probabilities that an interior may begin at: so a weak border between two objects counts,
        and so does the waist of their common outline. Each depth's peak is a seed, and the other
        pixels go to the seed whose flood reaches them first: marker-controlled watershed (Meyer,
        Beucher, "Morphological segmentation", J. Vis. Commun. Image Represent. 1990) on the
        distances (Vincent, Soille, "Watersheds in digital spaces", PAMI 1991).
        """
        from scipy.ndimage import distance_transform_edt, gaussian_filter
        from skimage.measure import label
        from skimage.morphology import h_maxima
        from skimage.segmentation import watershed

        height, width = self.probabilities.shape[:2]
        scale = min((LARGEST_FLOOD / (height * width)) ** 0.5, 1.0)
        rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
        maps = _scale(self.probabilities, rows, columns)
        interior = np.pad(maps[:, :, self.classes.index(self.subject)], 1)
        inside = np.pad(maps[:, :, self.classes.index("background")] < 0.5, 1)
        distances = [distance_transform_edt(interior > level) for level in INTERIOR_LEVELS]
        depth = gaussian_filter(np.mean(distances, axis=0), 1)  # unevenness of the pixel grid
        seeds = (h_maxima(depth, NECK) > 0) & (depth >= NECK) & inside
        instances = watershed(-depth, label(seeds, connectivity=2), mask=inside)[1:-1, 1:-1]
        # Numbers must not be mixed, so each pixel takes the nearest one.
        enlarged = Image.fromarray(instances.astype(np.int32)).resize(
            (width, height), Image.Resampling.NEAREST
        )
        return np.array(enlarged)


def at_photo_size(
    small: NDArray[np.float32], classes: tuple[str, ...], spec: InputSpec, height: int, width: int
) -> Segmentation:
    """Turn a network's answer to one photo into the photo's segmentation.

    Parameters
    ----------
    small
        `(input height, input width, classes)` float32 probabilities, as of `Segmenter.run`.
    classes
        Names of the classes, in the order of the last axis.
    spec
        How the photo was prepared for the network.
    height, width
        The photo's own size.
    """
    rows, columns = scaled_size(height, width, spec)
    return Segmentation(_scale(small[:rows, :columns], height, width), classes)


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
        return at_photo_size(small, self.classes, self.card.input, *photo.shape[:2])

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Segment a prepared batch at the network's size.

        Returns
        -------
        `(batch, input height, input width, classes)` float32 probabilities.
        """
        output = self._network.run(batch)
        return np.moveaxis(output, 1, 3) if self.card.output_layout == "NCHW" else output


def _scale(maps: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Scale `(h, w, classes)` probabilities bilinearly to `(height, width, classes)`.

    Each class lies in memory as one plane, which is the order they are made and read in.
    """
    scaled = np.empty((maps.shape[2], height, width), np.float32)
    for index, plane in enumerate(scaled):
        image = Image.fromarray(np.ascontiguousarray(maps[:, :, index]))
        plane[:] = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.moveaxis(scaled, 0, 2)


@cache
def load(name: str = "pet") -> Segmenter:
    """Load a mask model once; later calls give the same one.

    Raises
    ------
    models.store.ModelError
        When the model is missing or damaged.
    """
    return Segmenter(*store.load(name, "segmentation"))
