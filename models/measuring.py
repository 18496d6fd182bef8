"""Measures the objects of a picture one by one, and how well two outlines agree."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.picture import Values

BINS = 20
STATISTICS = ("mean", "min", "max")
# Columns of the objects' files, in this order; a known pixel size and channels add others.
COLUMNS = (
    *("number", "area", "centroid_x", "centroid_y", "left", "top", "right", "bottom"),
    *("equivalent_diameter", "eccentricity", "perimeter", "circularity"),
)


@dataclass(frozen=True)
class Objects:
    """Measurements of a picture's objects: columns with one value per object.

    Lengths are in pixels; x grows to the right and y downwards; a pixel's coordinates are those of
    its centre.

    Attributes
    ----------
    number
        `(n,)` int64, rising: the object's label in the picture.
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
    perimeter
        `(n,)` float64, pixels.
    circularity
        `(n,)` float64 from 0 to 1, a disc: 4 pi area / perimeter^2.
    intensities
        For each channel `(n, 3)` float64: mean, smallest and largest value of the object's pixels,
        in the file's own values.
    pixel_size
        Height and width of a pixel in micrometres, if known.
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
    perimeter: NDArray[np.float64]
    circularity: NDArray[np.float64]
    intensities: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    pixel_size: tuple[float, float] | None = None

    @property
    def area_um2(self) -> NDArray[np.float64] | None:
        """`(n,)` square micrometres; None if the pixel size is not known."""
        if self.pixel_size is None:
            return None
        return self.area * np.float64(math.prod(self.pixel_size))

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self.number)

    def columns(self) -> dict[str, NDArray[Any]]:
        """All measurements by name, one value per object."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        if self.area_um2 is not None:
            columns["area_um2"] = self.area_um2
        for channel, values in self.intensities.items():
            columns |= {f"{kind}_{channel}": values[:, i] for i, kind in enumerate(STATISTICS)}
        return columns

    def rows(self) -> list[dict[str, float]]:
        """The measurements of each object by name."""
        columns = {name: _rounded(values) for name, values in self.columns().items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def csv(self) -> str:
        """The measurements as CSV (RFC 4180): a header row, then one row per object."""
        columns = self.columns()
        text = io.StringIO()
        values = map(_rounded, columns.values())
        csv.writer(text).writerows([list(columns), *zip(*values, strict=True)])
        return text.getvalue()


def _rounded(values: NDArray[Any]) -> list[Any]:
    """Rounded to thousandths, or to five significant digits if the values are below one."""
    if values.dtype.kind != "f":
        return values.tolist()
    return [
        round(value, 3) if abs(value) >= 1 else float(f"{value:.5g}") for value in values.tolist()
    ]


def measure_objects(
    instances: NDArray[np.integer],
    values: Values | None = None,
    channels: Sequence[str] = (),
    pixel_size: tuple[float, float] | None = None,
) -> Objects:
    """Measure each object of a picture with scikit-image's `regionprops`.

    Parameters
    ----------
    instances
        `(height, width)`: 0 for the background, a label for each object, as in
        `Segmentation.instances`.
    values
        `(height, width)` or `(height, width, channels)`: the file's own values, as in
        `Picture.values`.
    channels
        Names of the channels; unnamed ones are numbered.
    pixel_size
        Height and width of a pixel in micrometres.

    Examples
    --------
    >>> measure_objects(np.array([[0, 1, 1], [2, 0, 0]])).area
    array([2, 1])
    """
    from skimage.measure import regionprops_table

    properties = ["label", "area", "centroid", "bbox", "perimeter"]
    properties += ["equivalent_diameter_area", "eccentricity"]
    if values is not None:
        properties += [f"intensity_{kind}" for kind in STATISTICS]
    columns = regionprops_table(instances, values, properties=properties)
    perimeter = columns["perimeter"]
    # Digital outlines of a few pixels can be shorter than a circle of the same area.
    round_area = np.divide(perimeter**2, 4 * np.pi, where=perimeter > 0, out=columns["area"] * 1.0)
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
        perimeter=perimeter,
        circularity=np.minimum(columns["area"] / round_area, 1),
        intensities={} if values is None else _intensities(columns, values, channels),
        pixel_size=pixel_size,
    )


def _intensities(
    columns: Mapping[str, NDArray[Any]], values: Values, channels: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """The statistics of each channel, by name."""
    if values.ndim == 2:
        return {"intensity": np.stack([columns[f"intensity_{kind}"] for kind in STATISTICS], 1)}
    found: dict[str, NDArray[np.float64]] = {}
    for index in range(values.shape[2]):
        name = channels[index] if index < len(channels) else ""
        name = name if name and name not in found else f"channel_{index + 1}"
        found[name] = np.stack([columns[f"intensity_{kind}-{index}"] for kind in STATISTICS], 1)
    return found


def area_histogram(areas: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Histogram of the areas: `(bins,)` counts and `(bins + 1,)` edges in pixels, from 0.

    Parameters
    ----------
    areas
        `(n,)` for one or more objects of at least one pixel each.
    """
    largest = int(areas.max())
    return np.histogram(areas, bins=min(BINS, largest), range=(0, largest))


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks, in [0, 1] (Jaccard, 1901); 1 if both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0
