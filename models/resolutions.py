"""What a mask model finds in a photo at other input sizes than its usual one."""

import math
import time
from dataclasses import dataclass, replace

from models.images import Photo
from models.preprocessing import InputSpec, prepare, resize_photo, scaled_size
from models.segmentation import Segmentation, Segmenter, without_padding

SIDES = (64, 128, 192, 256, 384)  # pixels, longer side
# A U-Net halves its input up to five times, and the decoder's sizes must match the encoder's.
HALVINGS = 2**5


@dataclass(frozen=True)
class Seen:
    """A mask model's answer for a photo at some size.

    Attributes
    ----------
    height, width
        Size in pixels at which the model saw the photo.
    segmentation
        The answer: probabilities `(rows, columns, classes)`, as many as the network gives at that
        size. A network with a fixed input size answers at its own size.
    seconds
        How long the network took, without preparing the photo.
    """

    height: int
    width: int
    segmentation: Segmentation
    seconds: float


def usual_side(segmenter: Segmenter, photo: Photo) -> int:
    """Longer side in pixels at which the model usually sees the photo."""
    height, width = photo.shape[:2]
    return max(scaled_size(height, width, segmenter.card.input))


def sides(segmenter: Segmenter, photo: Photo) -> list[int]:
    """Longer sides to compare, rising: the usual one, and those of `SIDES` that make a difference.

    A network with a fixed input size sees nothing new at larger sizes, and neither does a model
    that keeps the photo's scale when the photo has no more pixels.
    """
    usual = usual_side(segmenter, photo)
    larger = segmenter.any_size and segmenter.card.input.resize != "fit"
    return sorted({usual, *(side for side in SIDES if larger or side < usual)})


def see(segmenter: Segmenter, photo: Photo, side: int) -> Seen:
    """Segment a photo as the model sees it at another size.

    A network that accepts any size gets an input of this size. For other networks the photo is
    reduced to this size and enlarged to the input size, so that they see only the remaining detail.

    Parameters
    ----------
    segmenter
        A mask model.
    photo
        `(height, width, 3)` uint8 RGB.
    side
        Longer side in pixels at which it sees the photo, one of `sides`.
    """
    own = segmenter.card.input
    spec = own if side == usual_side(segmenter, photo) else at_side(own, side)
    height, width = scaled_size(photo.shape[0], photo.shape[1], spec)
    if not segmenter.any_size:
        photo, spec = resize_photo(photo, spec), own
    batch = prepare(photo, spec)
    start = time.perf_counter()
    (answer,) = segmenter.run(batch)
    seconds = time.perf_counter() - start
    answer = without_padding(answer, spec, *photo.shape[:2])
    return Seen(height, width, Segmentation(answer, segmenter.classes), seconds)


def at_side(spec: InputSpec, side: int) -> InputSpec:
    """The specification with another longer side and otherwise the same rules."""
    if spec.resize == "fit":
        return replace(spec, height=side, width=side)
    step = math.lcm(HALVINGS, spec.multiple)
    scale = side / max(spec.height, spec.width)
    height, width = (
        max(round(length * scale / step), 1) * step for length in (spec.height, spec.width)
    )
    return replace(spec, height=height, width=width)
