"""From a micrograph to its objects: finds, labels and measures them in one way for all uses."""

from dataclasses import dataclass
from typing import Any

from models.measuring import Objects, measure_objects
from models.picture import Picture
from models.segmentation import Segmenter
from models.stains import micrograph
from models.windows import FoundObjects, Progress, find_objects


@dataclass(frozen=True)
class Examined:
    """The objects in a picture, such as nuclei: their places and measurements.

    Lengths are in pixels of the picture, intensities in its file's own values.
    """

    found: FoundObjects
    objects: Objects


def examine(
    picture: Picture, segmenter: Segmenter, progress: Progress = lambda share: None
) -> Examined:
    """Find, label and measure the objects in a picture.

    Parameters
    ----------
    picture
        With a photo at full size.
    segmenter
        A mask model that separates objects: `segmenter.card.instances`.
    progress
        Called with the share of the work that is done, in [0, 1]. If it raises, the work stops.
    """
    found = find_objects(
        segmenter.run, segmenter.classes, segmenter.card.input, micrograph(picture), progress
    )
    objects = measure_objects(found.numbers, picture.values, picture.channels, picture.pixel_size)
    return Examined(found, objects)


def describe(examined: Examined) -> dict[str, Any]:
    """The number of objects, and the measurements of each, as plain JSON data."""
    return {"count": len(examined.objects), "objects": examined.objects.rows()}
