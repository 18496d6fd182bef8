"""From a micrograph to its objects: found, numbered and measured, the same way for everybody."""

from dataclasses import dataclass
from typing import Any

from models.measuring import Objects, measure_objects
from models.picture import Picture
from models.segmentation import Segmenter
from models.stains import micrograph
from models.windows import Found, Progress, find_objects


@dataclass(frozen=True)
class Examined:
    """The objects of a picture, such as nuclei: where they are, and their measurements.

    Lengths are in pixels of the picture, intensities in the numbers of its file.
    """

    found: Found
    objects: Objects


def examine(
    picture: Picture, segmenter: Segmenter, progress: Progress = lambda share: None
) -> Examined:
    """Find, number and measure the objects of a picture.

    Parameters
    ----------
    picture
        With a photo in all detail.
    segmenter
        A mask model that tells objects apart: `segmenter.card.instances`.
    progress
        Called with the share of the work that is done, in [0, 1]. If it raises, the work stops.
    """
    found = find_objects(
        segmenter.run, segmenter.classes, segmenter.card.input, micrograph(picture), progress
    )
    objects = measure_objects(found.numbers, picture.values, picture.channels, picture.pixel_size)
    return Examined(found, objects)


def describe(examined: Examined) -> dict[str, Any]:
    """How many objects there are, and the measurements of each, as plain JSON data."""
    return {"count": len(examined.objects), "objects": examined.objects.rows()}
