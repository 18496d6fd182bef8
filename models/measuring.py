"""Objects of a picture measured one by one, and how well two outlines agree."""

import csv
import io
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

BINS = 20


@dataclass(frozen=True)
class Objects:
    """Measurements of the objects of a picture: columns of one value an object.

    Lengths are in pixels, x grows to the right and y downwards; a pixel's own coordinates are those
    of its centre.

    Attributes
    ----------
    number
        `(n,)` int64, rising: the object's number in the picture.
    area
        `(n,)` int64, pixels.
    centroid_x, centroid_y
        `(n,)` float64: the mean of the object's pixels.
    left, top, right, bottom
        `(n,)` int64: the bounding box, right and bottom exclusive.
    equivalent_diameter
        `(n,)` float64: of a disc with the same area.
    eccentricity
        `(n,)` float64 from 0, as round as a disc, to 1, a line: that of the ellipse with the same
        second moments.
    """

    number: NDArray[np.int64]
    area: NDArray[np.int64]
    centroid_x: NDArray[np.float64]
    centroid_y: NDArray[np.float64]
    left: NDArray[np.int64]
    top: NDArray[np.int64]
    right: NDArray[np.int64]
    bottom: NDArray[np.int64]
    equivalent_diameter: NDArray[np.float64]
    eccentricity: NDArray[np.float64]

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self.number)

    def csv(self) -> str:
        """The measurements as CSV (RFC 4180): a row of the columns' names, then one an object."""
        names = [field.name for field in fields(self)]
        columns = [getattr(self, name).round(3).tolist() for name in names]
        text = io.StringIO()
        csv.writer(text).writerows([names, *zip(*columns, strict=True)])
        return text.getvalue()


def measure(instances: NDArray[np.integer]) -> Objects:
    """Measure each object of a picture with scikit-image's `regionprops`.

    Parameters
    ----------
    instances
        `(height, width)`: 0 background, a number for each object, as of `Segmentation.instances`.

    Examples
    --------
    >>> measure(np.array([[0, 1, 1], [2, 0, 0]])).area
    array([2, 1])
    """
    from skimage.measure import regionprops_table

    columns = regionprops_table(
        instances,
        properties=(
            *("label", "area", "centroid", "bbox"),
            *("equivalent_diameter_area", "eccentricity"),
        ),
    )
    return Objects(
        number=columns["label"],
        area=columns["area"].astype(np.int64),
        centroid_x=columns["centroid-1"],
        centroid_y=columns["centroid-0"],
        left=columns["bbox-1"],
        top=columns["bbox-0"],
        right=columns["bbox-3"],
        bottom=columns["bbox-2"],
        equivalent_diameter=columns["equivalent_diameter_area"],
        eccentricity=columns["eccentricity"],
    )


def area_histogram(areas: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How many objects are how large: `(bins,)` counts and `(bins + 1,)` edges in pixels from 0.

    Parameters
    ----------
    areas
        `(n,)` of one object or more, each of a pixel or more.
    """
    largest = int(areas.max())
    return np.histogram(areas, bins=min(BINS, largest), range=(0, largest))


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks, in [0, 1] (Jaccard, 1901); 1 where both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0
