"""What a mask model says of a photo that it sees at other sizes than its usual one."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from models.images import Photo
from models.preprocessing import InputSpec, prepare, resize_photo, scaled_size
from models.segmentation import Segmentation, Segmenter

SIDES = (64, 128, 192, 256, 384)  # pixels, of the longer side
# A U-Net halves its input up to five times, and what comes back must fit what was kept.
HALVINGS = 2**5


@dataclass(frozen=True)
class Seen:
    """A photo as a mask model saw it.

    Attributes
    ----------
    height, width
        How many pixels it saw of the photo.
    segmentation
        What it says of these, at that size: probabilities `(height, width, classes)`. A network of
        a fixed input size answers at its own size.
    seconds
        How long the network took, without the photo's preparation.
    """

    height: int
    width: int
    segmentation: Segmentation
    seconds: float


def usual_side(segmenter: Segmenter, photo: Photo) -> int:
    """Longer side in pixels at which the model sees the photo unasked."""
    height, width = photo.shape[:2]
    return max(scaled_size(height, width, segmenter.card.input))


def sides(segmenter: Segmenter, photo: Photo) -> list[int]:
    """Longer sides to compare, rising: the usual one, and those of `SIDES` that say more.

    More than its fixed input size shows a network nothing new, and neither does more than the
    photo has where the model keeps the photo's scale.
    """
    usual = usual_side(segmenter, photo)
    larger = segmenter.any_size and segmenter.card.input.resize != "fit"
    return sorted({usual, *(side for side in SIDES if larger or side < usual)})


def see(segmenter: Segmenter, photo: Photo, side: int) -> Seen:
    """Segment a photo that the model sees at another size.

    A network that takes inputs of any size gets one of this size. To another the photo is reduced
    to this size and enlarged again to the network's: it sees as much as is left of the photo then.

    Parameters
    ----------
    segmenter
        A mask model.
    photo
        `(height, width, 3)` uint8 RGB.
    side
        Longer side of what it sees in pixels, as of `sides`.
    """
    own = segmenter.card.input
    spec = own if side == usual_side(segmenter, photo) else at_side(own, side)
    height, width = scaled_size(photo.shape[0], photo.shape[1], spec)
    if segmenter.any_size:
        batch = prepare(photo, spec)
        rows, columns = height, width
    else:
        batch = prepare(resize_photo(photo, spec), own)
        rows, columns = own.height, own.width
    start = time.perf_counter()
    (answer,) = segmenter.run(batch)
    seconds = time.perf_counter() - start
    # What pads the photo is cut off.
    segmentation = Segmentation(np.ascontiguousarray(answer[:rows, :columns]), segmenter.classes)
    return Seen(height, width, segmentation, seconds)


def at_side(spec: InputSpec, side: int) -> InputSpec:
    """The specification with its longer side changed, and its other rules kept."""
    if spec.resize == "fit":
        return replace(spec, height=side, width=side)
    step = math.lcm(HALVINGS, spec.multiple)
    scale = side / max(spec.height, spec.width)
    height, width = (
        max(round(length * scale / step), 1) * step for length in (spec.height, spec.width)
    )
    return replace(spec, height=height, width=width)
