"""Objects as files for other programs: a label image, ImageJ's ROIs, and GeoJSON for QuPath."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.measuring import Objects

Outline = NDArray[np.float64]
"""`(n, 2)`: x and y of a closed polygon's corners; the first pixel's corner is (0, 0)."""


def label_tiff(
    numbers: NDArray[np.integer], pixel_size: tuple[float, float] | None = None
) -> bytes:
    """The objects' labels as a 16-bit TIFF, which ImageJ, QuPath and napari open.

    Parameters
    ----------
    numbers
        `(height, width)`: 0 for the background, 1 to n for the objects. More than 65,535 need 32
        bits.
    pixel_size
        Height and width of a pixel in micrometres.
    """
    import tifffile

    wide = int(numbers.max(initial=0)) > np.iinfo(np.uint16).max
    options: dict[str, Any] = {"metadata": None}
    if pixel_size:  # pixels per centimetre
        height, width = pixel_size
        options |= {"resolution": (1e4 / width, 1e4 / height), "resolutionunit": "CENTIMETER"}
    buffer = io.BytesIO()
    stored = numbers.astype(np.uint32 if wide else np.uint16)
    tifffile.imwrite(buffer, stored, photometric="minisblack", compression="zlib", **options)
    return buffer.getvalue()


def outlines(numbers: NDArray[np.integer]) -> Iterator[tuple[int, Outline]]:
    """The outline of each object, with its label.

    It runs midway between the object's pixels and the others, found by marching squares (Lorensen
    and Cline, "Marching cubes", SIGGRAPH 1987, in two dimensions).
    """
    from scipy.ndimage import find_objects
    from skimage.measure import find_contours

    for number, box in enumerate(find_objects(numbers.astype(np.int32, copy=False)), start=1):
        if box is None:
            continue
        inside = np.pad(numbers[box] == number, 1).astype(np.float32)
        contour = max(find_contours(inside, 0.5), key=len)
        # Shift from pixel centres in the padded box to pixel corners in the picture.
        rows, columns = contour.T - 0.5
        yield number, np.stack([columns + box[1].start, rows + box[0].start], axis=1)


def imagej_rois(numbers: NDArray[np.integer]) -> bytes:
    """The outlines as a ZIP of ROI files, which ImageJ's ROI Manager opens."""
    import roifile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, outline in outlines(numbers):
            roi = roifile.ImagejRoi.frompoints(outline[:-1], name=f"{number:05d}")
            roi.roitype = roifile.ROI_TYPE.POLYGON
            archive.writestr(f"{number:05d}.roi", roi.tobytes())
    return buffer.getvalue()


def geojson(numbers: NDArray[np.integer], objects: Objects) -> str:
    """The outlines as GeoJSON (RFC 7946) in pixels, as QuPath imports detections.

    Parameters
    ----------
    numbers
        `(height, width)`: 0 background, 1 to n the objects.
    objects
        Their measurements, which are included.
    """
    rows = dict(zip(objects.number.tolist(), objects.rows(), strict=True))
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [outline.round(2).tolist()]},
            "properties": {
                "objectType": "detection",
                "name": str(number),
                "classification": {"name": "Nucleus"},
                "measurements": rows[number],
            },
        }
        for number, outline in outlines(numbers)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})
