"""Cut-outs: a soft edge at the photo's full resolution, clean colours, and new backgrounds.

A mask network sees a reduced photo, so its outline is coarse and its edge wide. Here the photo's
own colours decide where the edge runs. Slowly varying quantities are computed on a reduced photo
and applied to the full one strip by strip, which saves time and memory for large photos.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.drawing import Color
from models.images import Photo
from models.preprocessing import InputSpec, grain
from models.scaling import reduced_size, scaled_rows, strips

WORKING_SIDE = 1024  # pixels; longest side of the reduced photo
# Averages over windows of RADIUS grains can be sampled coarsely: at a quarter of the radius in He
# and Sun (2015), at a sixth here.
PIXELS_PER_GRAIN = 2
STRIP = 500_000  # pixels

# docs/ablation.md says how these were chosen.
RADIUS = 3  # grains, see `preprocessing.grain`
REGULARIZATION = 1e-3  # variance of values in [0, 1] below which a window counts as flat
PASSES = 3
CONTRAST = 2  # contrast factor around one half in each pass

BLUR = 0.02  # standard deviation of the blurred background, as a share of the longer side
UNSEEN = 1e-3  # weight of each colour in a window in which all weights would be 0


def refine(photo: Photo, foreground: NDArray[np.uint8], grain: float) -> NDArray[np.uint8]:
    """Align a coarse mask's edge with the photo's: `(height, width)` uint8 opacity.

    A guided filter with the colour photo as guide: in each window the mask is fitted as a linear
    function of the colour, so it changes where the colour does (He, Sun, Tang, "Guided image
    filtering", PAMI 2013), with its coefficients computed on a reduced photo (He, Sun, "Fast guided
    filter", arXiv 1505.00996, 2015). It is applied several times to its own result with raised
    contrast, which narrows the wide band in which the network was undecided.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8.
    foreground
        `(height, width)` uint8, 255 for the subject and 0 for the rest: `Segmentation.foreground`
        times 255.
    grain
        How many of the photo's pixels, along a side, the network saw as one; at least 1.

    Examples
    --------
    >>> from models import segmentation
    >>> from models.images import open_photo
    >>> segmenter, photo = segmentation.load("pet-fine"), open_photo("examples/cat_chelsea.png")
    >>> foreground = np.round(segmenter.predict(photo).foreground() * 255).astype(np.uint8)
    >>> refine(photo, foreground, grain(300, 451, segmenter.card.input)).shape
    (300, 451)
    """
    side = _working_side(photo, grain)
    reduced = np.asarray(_reduce(photo, side), np.float32) / np.float32(255)
    mask = np.asarray(_reduce(foreground, side), np.float32) / np.float32(255)
    radius = _radius(photo, grain, side)
    means, inverse = _window_colors(reduced, radius)
    for _ in range(PASSES):
        slopes, offset = _fit(reduced, mask, means, inverse, radius)
        mask = _opacity(reduced, [*slopes, offset])
    planes = [Image.fromarray(plane) for plane in (*slopes, offset)]
    height, width = photo.shape[:2]
    opacity = np.empty((height, width), np.uint8)
    for rows in strips(height, width, STRIP):
        enlarged = [scaled_rows(plane, rows, height, width) for plane in planes]
        values = _opacity(photo[rows] * np.float32(1 / 255), enlarged)
        opacity[rows] = np.rint(values * 255)
    return opacity


def cut_out(photo: Photo, opacity: NDArray[np.uint8], grain: float) -> NDArray[np.uint8]:
    """The photo's foreground alone: `(height, width, 4)` uint8 RGBA, not premultiplied.

    A pixel of the soft edge mixes foreground and background. Its foreground colour is estimated
    from the mean colours of both around it: Forte, "Approximate fast foreground colour estimation",
    ICIP 2021. Fully transparent pixels are black, so that the background cannot be recovered.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8.
    opacity
        `(height, width)` uint8, from `refine`.
    grain
        As for `refine`.
    """
    side = _working_side(photo, grain)
    reduced = np.asarray(_reduce(photo, side), np.float32)
    share = np.asarray(_reduce(opacity, side), np.float32) / np.float32(255)
    radius = _radius(photo, grain, side)
    inside, outside = (
        Image.fromarray(_mean_color(reduced, weights, radius)) for weights in (share, 1 - share)
    )
    height, width = photo.shape[:2]
    cut = np.empty((height, width, 4), np.uint8)
    cut[:, :, :3] = photo
    cut[:, :, 3] = opacity
    for rows in strips(height, width, STRIP):
        strip = cut[rows]
        strip.view(np.uint32)[strip[:, :, 3] == 0] = 0  # all four bytes of a pixel at once
        soft = (strip[:, :, 3] > 0) & (strip[:, :, 3] < 255)
        if soft.any():
            mixed = strip[soft].astype(np.float32)
            alpha = mixed[:, 3:] / 255
            front = scaled_rows(inside, rows, height, width)[soft].astype(np.float32)
            back = scaled_rows(outside, rows, height, width)[soft]
            front += alpha * (mixed[:, :3] - alpha * front - (1 - alpha) * back)
            strip[soft, :3] = np.rint(np.clip(front, 0, 255))
    return cut


def extract(
    photo: Photo,
    foreground: NDArray[np.uint8],
    spec: InputSpec,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = lambda opacity: opacity,
) -> NDArray[np.uint8]:
    """Refine a mask and cut the photo's foreground out with it: `(height, width, 4)` uint8 RGBA.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8.
    foreground
        uint8 as for `refine`, of the same picture at any size.
    spec
        How the network that made the mask saw the photo.
    change
        Applied to the opacity, `(height, width)` uint8, before the colours are estimated.
    """
    height, width = photo.shape[:2]
    size = grain(height, width, spec)
    mask = np.asarray(Image.fromarray(foreground).resize((width, height)))
    return cut_out(photo, change(refine(photo, mask, size)), size)


def lay_over(cut: NDArray[np.uint8], background: Photo | Color) -> Photo:
    """A cut-out, `(height, width, 4)` uint8 RGBA, over a photo of its size or over one colour."""
    top = Image.fromarray(cut)
    if isinstance(background, tuple):
        image = Image.new("RGB", top.size, background)
    else:
        image = Image.fromarray(background)
    image.paste(top, mask=top)
    return np.asarray(image)


def cover(picture: Photo, height: int, width: int) -> Photo:
    """A picture scaled to just cover the size, and cropped at its centre: `(height, width, 3)`."""
    size = (width, height)
    return np.asarray(ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.BICUBIC))


def blur_background(photo: Photo, opacity: NDArray[np.uint8]) -> Photo:
    """The photo's background out of focus: `(height, width, 3)` uint8.

    The foreground is excluded from the blur, so that it does not glow around the cut-out.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8.
    opacity
        `(height, width)` uint8 of the foreground, from `refine`.
    """
    from scipy.ndimage import gaussian_filter

    reduced = np.asarray(_reduce(photo, WORKING_SIDE), np.float32)
    weights = 1 + UNSEEN - np.asarray(_reduce(opacity, WORKING_SIDE), np.float32) / 255
    deviation = BLUR * max(weights.shape)
    total = gaussian_filter(weights, deviation)
    blurred = [
        gaussian_filter(reduced[:, :, channel] * weights, deviation) / total for channel in range(3)
    ]
    small = Image.fromarray(np.rint(np.dstack(blurred)).astype(np.uint8))
    return np.asarray(small.resize(photo.shape[1::-1], Image.Resampling.BILINEAR))


def _working_side(photo: Photo, grain: float) -> int:
    """Longer side of the reduced photo in pixels."""
    return min(WORKING_SIDE, max(round(PIXELS_PER_GRAIN * max(photo.shape) / grain), 1))


def _reduce(picture: NDArray[np.uint8], side: int) -> Image.Image:
    """The picture, reduced to a longer side of at most `side` if it is larger."""
    height, width = reduced_size(picture.shape[0], picture.shape[1], side)
    resampling = Image.Resampling.BILINEAR
    return Image.fromarray(picture).resize((width, height), resampling, reducing_gap=2.0)


def _radius(photo: Photo, grain: float, side: int) -> int:
    """Radius of the windows in pixels of the reduced photo."""
    return max(round(RADIUS * grain * min(side / max(photo.shape), 1.0)), 1)


def _window_mean(plane: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    side = 2 * radius + 1
    # SciPy's `uniform_filter` takes nine times as long.
    mean = cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)
    return np.asarray(mean, np.float32)


def _mean_color(
    photo: NDArray[np.float32], weights: NDArray[np.float32], radius: int
) -> NDArray[np.uint8]:
    """The weighted mean colour of each window; if all weights are 0, the plain mean."""
    weights = weights + np.float32(UNSEEN)
    total = _window_mean(weights, radius)
    means = [_window_mean(photo[:, :, i] * weights, radius) / total for i in range(3)]
    return np.rint(np.dstack(means)).clip(0, 255).astype(np.uint8)


def _window_colors(
    photo: NDArray[np.float32], radius: int
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Mean colour of each window, and the inverse of its regularized covariance: `(3, 3, h, w)`."""
    means = [_window_mean(photo[:, :, i], radius) for i in range(3)]
    covariance = np.empty((3, 3, *photo.shape[:2]), np.float32)
    for i in range(3):
        for j in range(i, 3):
            product = _window_mean(photo[:, :, i] * photo[:, :, j], radius)
            covariance[i, j] = covariance[j, i] = product - means[i] * means[j]
        covariance[i, i] += np.float32(REGULARIZATION)
    # The adjugate divided by the determinant: a general solver takes ten times as long for 3 x 3.
    inverse = np.empty_like(covariance)
    for i in range(3):
        for j in range(i, 3):
            (a, b), (c, d) = ((i + 1) % 3, (i + 2) % 3), ((j + 1) % 3, (j + 2) % 3)
            minor = covariance[a, c] * covariance[b, d] - covariance[a, d] * covariance[b, c]
            inverse[i, j] = inverse[j, i] = minor
    inverse /= (covariance[0] * inverse[0]).sum(axis=0)
    return means, inverse


def _fit(
    photo: NDArray[np.float32],
    mask: NDArray[np.float32],
    means: Sequence[NDArray[np.float32]],
    inverse: NDArray[np.float32],
    radius: int,
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Slopes and offset that predict the mask from colour, averaged over each pixel's windows."""
    mean = _window_mean(mask, radius)
    shared = np.stack(
        [_window_mean(photo[:, :, i] * mask, radius) - means[i] * mean for i in range(3)]
    )
    slopes = [(inverse[i] * shared).sum(axis=0) for i in range(3)]
    offset = mean - sum(slope * color for slope, color in zip(slopes, means, strict=True))
    return [_window_mean(slope, radius) for slope in slopes], _window_mean(offset, radius)


def _opacity(
    photo: NDArray[np.float32], coefficients: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The mask that slopes and an offset predict from colours, with more contrast, in [0, 1]."""
    *slopes, offset = coefficients
    values = offset - np.float32(0.5)
    for channel, slope in enumerate(slopes):
        values += slope * photo[:, :, channel]
    values *= np.float32(CONTRAST)
    values += np.float32(0.5)
    return np.clip(values, 0, 1, out=values)
