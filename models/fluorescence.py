"""Bright nuclei on a dark background: corrects the network's answer and the nuclei's edges."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.picture import Photo
from models.segmentation import Segmentation

DARK = 128  # mean grey level: a lighter picture shows dark objects on a light background

# Pixels as bright as the nuclei around them are nucleus, whatever the network says.
SURE = 0.9  # probability of pixels used as samples of the nuclei's, or the background's, brightness
AROUND = 101  # pixels: side of the square used for comparison
AS_BRIGHT = 0.85  # share of the step from the background to the nuclei

# The network was trained on mostly dim pictures. It takes large, sharp and very bright nuclei for
# background, and sees edges where there are none: it handles such a picture better when it is
# dimmed.
DEEP = 3  # pixels from the edge of bright areas: there, outlines are not a matter of judgement
MOST_MISSED = 0.1  # of what is bright and deep; of real pictures, it misses 0.03 at most
BRIGHTEST = 80  # grey level to which nuclei are then scaled

# The network's outlines are up to a pixel too wide, like those that it was trained on. The edge of
# a disc is in the middle of the step, or slightly below if the disc is small and its edge curves.
EDGE = 0.47  # share of the step from the background to the inside
RIM = 1  # pixels that may be outside; more would cut off what people still call nucleus
# A nucleus is rarely as bright everywhere: where it is dim, so is the middle of the step.
GRAIN, NEAR = 3, 5  # pixels: sides of the squares for mean brightness, and for the inside nearby
GAP, RING = 1.5, 4.0  # pixels from an outline to the background around it, and the width of that
FAINT = 10  # grey levels: a smaller step has no measurable edge
FEWEST = 8  # pixels of background needed around an object
LEAST = 0.3  # of an object's area that is left; else its brightness says nothing of its outline


def gray_of(photo: Photo) -> NDArray[np.uint8] | None:
    """The brightness of a grey picture that is mostly dark; None for others.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB, from `models.stains.micrograph`.

    Returns
    -------
    `(height, width)` uint8.

    Examples
    --------
    >>> gray_of(np.full((1, 2, 3), 9, np.uint8))
    array([[9, 9]], dtype=uint8)
    >>> gray_of(np.full((1, 2, 3), 200, np.uint8)) is None
    True
    """
    gray = photo[:, :, 0]
    if any(np.any(photo[:, :, channel] != gray) for channel in (1, 2)) or gray.mean() >= DARK:
        return None
    return np.ascontiguousarray(gray)


def dimmed(gray: NDArray[np.uint8], levels: NDArray[np.int64]) -> Photo:
    """A grey picture whose nuclei have the brightness that the network handles best.

    Parameters
    ----------
    gray
        `(height, width)`: the picture.
    levels
        `(256,)`: how many of the nuclei's pixels have each grey level, from `Filled`.

    Returns
    -------
    `(height, width, 3)` uint8.
    """
    brightness = int(np.searchsorted(np.cumsum(levels), 0.95 * levels.sum()))
    if brightness > BRIGHTEST:
        scale = np.float32(BRIGHTEST / brightness)
        table = np.rint(np.clip(np.arange(256, dtype=np.float32) * scale, 0, 255))
        gray = table.astype(np.uint8)[gray]
    return np.repeat(gray[:, :, np.newaxis], 3, axis=2)


@dataclass(frozen=True)
class Filled:
    """A segmentation with its bright background turned into nucleus.

    Attributes
    ----------
    segmentation
        The new one.
    levels
        `(256,)` int64: how many pixels of each grey level are bright and deep inside nuclei.
    missed
        The number of them that were background.
    """

    segmentation: Segmentation
    levels: NDArray[np.int64]
    missed: int


def fill(found: Segmentation, gray: NDArray[np.uint8]) -> Filled:
    """Turn background that is as bright as the nuclei around it into nucleus.

    Parameters
    ----------
    found
        The network's answer for a picture, at the picture's own size.
    gray
        `(height, width)`: the picture.
    """
    from scipy.ndimage import binary_erosion, uniform_filter

    nucleus, background = found.classes.index(found.subject), found.classes.index("background")
    answer = found.probabilities
    light = gray.astype(np.float32)

    def brightness(of: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The mean of the certain pixels around each pixel; NaN if none is near."""
        seen = uniform_filter(of.astype(np.float32), AROUND)
        total = uniform_filter(light * of, AROUND)
        few = seen < 0.5 / AROUND**2
        return np.where(few, np.nan, total / np.where(few, 1, seen))

    inside = brightness(answer[:, :, nucleus] > SURE)
    ground = brightness(answer[:, :, background] > SURE)
    sure_ground = answer[:, :, background] > SURE
    usual = np.median(gray[sure_ground]) if sure_ground.any() else np.nan
    step = inside - np.where(np.isnan(ground), usual, ground)
    with np.errstate(invalid="ignore"):
        bright = (step > FAINT) & (light >= inside - (1 - AS_BRIGHT) * step)
    deep = binary_erosion(bright, iterations=DEEP)
    missed = int(np.count_nonzero(deep & (answer[:, :, background] > 0.5)))
    filled = answer.copy()
    filled[:, :, nucleus] += np.where(bright, answer[:, :, background], 0)
    filled[:, :, background][bright] = 0
    levels = np.bincount(gray[deep], minlength=256)
    return Filled(Segmentation(filled, found.classes), levels, missed)


def trim(numbers: NDArray[np.int32], gray: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Trim objects to their own edges, if they are brighter than their surroundings.

    An edge is where the brightness has risen by the share `EDGE` of the step from the background
    around an object to its inside nearby. docs/ablation.md shows the effect of each of these
    decisions.

    Parameters
    ----------
    numbers
        `(height, width)`: 0 background, else 1 to n. An outline may be a pixel too wide.
    gray
        `(height, width)`: the picture.

    Returns
    -------
    The same labels, each on a part of its object's pixels.
    """
    from scipy.ndimage import binary_fill_holes, distance_transform_edt, find_objects, label

    trimmed = numbers.copy()
    margin = int(GAP + RING) + 1
    for number, box in enumerate(find_objects(numbers), start=1):
        if box is None:
            continue
        place = tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in box)
        near, light = numbers[place], gray[place]
        inside = near == number
        away = distance_transform_edt(~inside)
        around = (near == 0) & (away > GAP) & (away <= GAP + RING)
        if np.count_nonzero(around) < FEWEST:
            continue
        depth = distance_transform_edt(inside)
        core = inside & (depth >= min(RIM + 0.5, depth.max() / 2))
        ground, bright = np.median(light[around]), np.median(light[core])
        if bright - ground < FAINT:
            continue
        step = _inside_nearby(light, core, bright) - ground
        outside = (depth <= RIM) & (light <= ground + EDGE * step)
        parts, count = label(binary_fill_holes(inside & ~outside) & inside)
        if count > 1:
            areas = np.bincount(parts.ravel())
            areas[0] = 0
            parts = parts == areas.argmax()
        kept = parts > 0
        if np.count_nonzero(kept) >= LEAST * np.count_nonzero(inside):
            trimmed[place][inside & ~kept] = 0
    return trimmed


def _inside_nearby(
    light: NDArray[np.uint8], core: NDArray[np.bool_], usual: float
) -> NDArray[np.float32]:
    """The brightest of an object's core around each pixel, at most its usual brightness."""
    from scipy.ndimage import maximum_filter, uniform_filter

    share = uniform_filter(core.astype(np.float32), GRAIN)
    total = uniform_filter(np.where(core, light, np.float32(0)), GRAIN)
    brightest = maximum_filter(np.where(core, total / np.maximum(share, 1e-6), 0), NEAR)
    return np.where(brightest > 0, np.minimum(brightest, usual), usual).astype(np.float32)
