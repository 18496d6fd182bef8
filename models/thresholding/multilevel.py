"""Otsu's threshold and exact multi-Otsu, and the classes between cuts.

Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man,
and Cybernetics 9(1), 1979, chooses the cut that makes the classes' means differ most: the largest
between-class variance. Liao, Chen, Chung, "A fast algorithm for multilevel thresholding", Journal
of Information Science and Engineering 17(5), 2001, state the same for several cuts.

Trying all cuts takes time exponential in their number. The between-class variance is a sum over
classes, though, so dynamic programming over the histogram finds the same optimum in O(classes *
bins^2), as Fisher, "On grouping for maximum homogeneity", JASA 53(284), 1958, does for
one-dimensional clustering. With more levels, the last class never starts earlier (Wu, "Optimal
quantization by matrix searching", Journal of Algorithms 12(4), 1991), so that the 65,536 levels of
a 16-bit picture take O(classes * bins * log(bins)).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.thresholding.histograms import Histogram, ThresholdError, counted, histogram

MAX_CLASSES = 8
# Up to so many levels, all pairs are tried; the tables grow with the square.
ALL_PAIRS = 1024


@dataclass(frozen=True)
class GrayClass:
    """One class of a thresholded picture: the values in (lower, upper], and its area.

    The first class's `lower` and the last one's `upper` are the picture's extremes; `pixels` is the
    number of its pixels, and `share` its share of the picture, in [0, 1].
    """

    lower: float
    upper: float
    pixels: int
    share: float


def otsu(gray: NDArray[Any], bins: int = 256) -> float:
    """Otsu's threshold, equal to `skimage.filters.threshold_otsu`.

    Parameters
    ----------
    gray
        Array of any shape, integer or float, finite.
    bins
        Number of histogram bins for float pictures.

    Returns
    -------
    The cut; a pixel above it belongs to the upper class. A constant picture gives its value.

    Examples
    --------
    >>> otsu(np.array([[10, 12, 200, 202]], dtype=np.uint8))
    12.0
    """
    counts, centers = histogram(gray, bins)
    if len(counts) == 1 or np.count_nonzero(counts) == 1:
        return float(gray.flat[0])
    return otsu_cut(counts, centers)


def otsu_cut(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """Otsu's threshold of a histogram whose outer levels are occupied and differ."""
    return float(centers[np.argmax(_scaled_variance(counts, centers))])


def between_class_variance(
    gray: NDArray[Any] | Histogram, bins: int = 256
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What Otsu's threshold maximises, for every possible cut.

    Parameters
    ----------
    gray
        Array of any shape, integer or float, finite; or its histogram.
    bins
        Number of histogram bins for float pictures.

    Returns
    -------
    The `(n,)` cuts, rising, and the variance between the two classes that each leaves, in grey
    values squared: share1 * share2 * (mean1 - mean2)^2. Both are empty for a constant picture.
    """
    counts, centers = counted(gray, bins)
    return centers[:-1], _scaled_variance(counts, centers) / float(counts.sum()) ** 2


def variance_of_cuts(gray: NDArray[Any] | Histogram, cuts: NDArray[np.float64]) -> float:
    """The variance between the classes of several cuts, which `multi_otsu` maximises.

    It is the sum over the classes of share * (mean - mean of all)^2: Otsu (1979) for two classes,
    Liao et al. (2001) for more. Cuts that divide the pixels in the same way have exactly the same
    variance.

    Parameters
    ----------
    gray
        Array of any shape, integer or float, finite; or its histogram.
    cuts
        `(classes - 1,)`, rising; a class without pixels adds nothing.

    Returns
    -------
    Grey values squared: from 0, for a constant picture, to the variance of all pixels.

    Examples
    --------
    >>> variance_of_cuts(np.array([[0, 2, 10, 12]], dtype=np.uint8), np.array([2.0]))
    25.0
    """
    counts, centers = counted(gray)
    values = centers - np.average(centers, weights=counts)
    index = np.digitize(centers, cuts, right=True)
    pixels = np.bincount(index, weights=counts)
    sums = np.bincount(index, weights=counts * values)
    filled = pixels > 0
    return float((sums[filled] ** 2 / pixels[filled]).sum() / counts.sum())


def _scaled_variance(
    counts: NDArray[np.int64], centers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """pixels1 * pixels2 * (mean1 - mean2)^2 for each cut.

    Single precision, as in scikit-image, because it decides which of nearly equal cuts is the best.
    """
    pixels = counts.astype(np.float32)
    sums = pixels * centers
    below, above = np.cumsum(pixels), np.cumsum(pixels[::-1])[::-1]
    dark, light = np.cumsum(sums) / below, np.cumsum(sums[::-1])[::-1] / above
    return below[:-1] * above[1:] * (dark[:-1] - light[1:]) ** 2


def multi_otsu(
    gray: NDArray[Any] | Histogram, classes: int = 3, bins: int = 256
) -> NDArray[np.float64]:
    """The cuts with the largest between-class variance, found exactly.

    Maximizes what `skimage.filters.threshold_multiotsu` does, by dynamic programming over the
    occupied histogram bins (see the module's text) instead of by trying all combinations.

    Parameters
    ----------
    gray
        Array of any shape, integer or float, finite; or its histogram.
    classes
        Number of classes, at least 2.
    bins
        Number of histogram bins for float pictures.

    Returns
    -------
    `(classes - 1,)` float64 cuts, rising; a pixel above a cut belongs to the upper class.

    Raises
    ------
    ThresholdError
        If the picture has fewer different values than classes.

    Examples
    --------
    >>> multi_otsu(np.array([[0, 1, 100, 101, 200, 201]], dtype=np.uint8), classes=3)
    array([  1., 101.])
    """
    if classes < 2:
        raise ValueError(f"There must be at least 2 classes, not {classes}.")
    counts, centers = counted(gray, bins)
    occupied = np.flatnonzero(counts)
    counts, centers = counts[occupied], centers[occupied]
    levels = len(centers)
    if levels < classes:
        if levels == 1:
            raise ThresholdError("threshold_one_value", classes=classes)
        raise ThresholdError("threshold_few_values", values=levels, classes=classes)
    if classes == 2:
        return np.array([otsu_cut(counts, centers)])
    # Centred values keep the squares small, and so the sums exact to more digits.
    values = centers - np.average(centers, weights=counts)
    pixels = np.concatenate([[0.0], np.cumsum(counts)])
    sums = np.concatenate([[0.0], np.cumsum(counts * values)])
    # best[j]: the largest sum of gains when the first j levels form k classes
    every = np.arange(levels + 1)
    advance = _advance_by_all_pairs if levels <= ALL_PAIRS else _advance
    best, starts = advance(_gains(0 * every, every, pixels, sums), pixels, sums, classes - 2)
    end = int((best + _gains(every, 0 * every + levels, pixels, sums)).argmax())
    cuts = [end]
    for start in reversed(starts):
        end = int(start[end])
        cuts.append(end)
    return centers[np.array(cuts[::-1]) - 1]


def _gains(
    i: NDArray[np.intp],
    j: NDArray[np.intp],
    pixels: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What a class of levels i to j - 1 adds to the between-class variance; -inf if empty."""
    class_pixels = pixels[j] - pixels[i]
    gains = np.full(class_pixels.shape, -np.inf)
    np.divide((sums[j] - sums[i]) ** 2, class_pixels, out=gains, where=class_pixels > 0)
    return gains


def _advance_by_all_pairs(
    best: NDArray[np.float64], pixels: NDArray[np.float64], sums: NDArray[np.float64], times: int
) -> tuple[NDArray[np.float64], list[NDArray[np.intp]]]:
    """Like `_advance`; faster for few levels."""
    every = np.arange(len(best))
    gains = _gains(every[:, np.newaxis], every, pixels, sums)
    starts = []
    for _ in range(times):
        candidates = best[:, np.newaxis] + gains
        starts.append(candidates.argmax(axis=0))
        best = candidates[starts[-1], every]
    return best, starts


def _advance(
    best: NDArray[np.float64], pixels: NDArray[np.float64], sums: NDArray[np.float64], times: int
) -> tuple[NDArray[np.float64], list[NDArray[np.intp]]]:
    """Add one class to the best division of the first j levels, for each j, several times.

    The start of the last class never falls as j rises. So it is found for every 2^k-th j first, and
    then for those in between, within the bounds set by their neighbours.

    Returns
    -------
    The largest sum of gains for each j, `(levels + 1,)`, and for each time the start of the last
    class.
    """
    levels = len(best) - 1
    starts = []
    for _ in range(times):
        start = np.zeros(levels + 1, np.intp)
        following = np.full(levels + 1, -np.inf)
        step = 1 << levels.bit_length()
        while step := step // 2:
            ends = np.arange(step, levels + 1, 2 * step)
            first = start[ends - step]
            last = np.where(
                ends + step <= levels, start[np.minimum(ends + step, levels)], levels
            ).clip(first, np.maximum(ends - 1, first))
            lengths = last - first + 1
            places = np.cumsum(lengths) - lengths
            candidates = np.arange(lengths.sum()) + np.repeat(first - places, lengths)
            gains = _gains(candidates, np.repeat(ends, lengths), pixels, sums)
            totals = best[candidates] + gains
            following[ends] = np.maximum.reduceat(totals, places)
            hits = np.flatnonzero(totals == np.repeat(following[ends], lengths))
            start[ends] = candidates[hits[np.searchsorted(hits, places)]]
        best = following
        starts.append(start)
    return best, starts


def classify(gray: NDArray[Any], cuts: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Class index of each pixel, 0 for the darkest: the number of cuts below its value."""
    if gray.dtype == np.uint8:
        table = np.digitize(np.arange(256), cuts, right=True)
        return np.asarray(Image.fromarray(gray).point(table.tolist()))
    classes = np.zeros(gray.shape, np.uint8)
    for cut in cuts:
        classes += gray > cut
    return classes


def describe_classes(gray: NDArray[Any] | Histogram, cuts: NDArray[np.float64]) -> list[GrayClass]:
    """Bounds and area of each class of a thresholded picture, or of its histogram.

    A whole bin of a float picture's histogram belongs to the class of its centre; a picture itself
    is counted pixel by pixel.
    """
    if isinstance(gray, Histogram) or not np.issubdtype(gray.dtype, np.floating):
        counts, centers = counted(gray)
        index = np.digitize(centers, cuts, right=True)
        pixels = np.bincount(index, weights=counts, minlength=len(cuts) + 1).astype(int)
        low, high = float(centers[0]), float(centers[-1])
    else:
        pixels = np.bincount(classify(gray, cuts).reshape(-1), minlength=len(cuts) + 1)
        low, high = float(gray.min()), float(gray.max())
    bounds = [low, *map(float, cuts), high]
    total = int(pixels.sum())
    return [
        GrayClass(bounds[i], bounds[i + 1], int(count), float(count / total))
        for i, count in enumerate(pixels)
    ]
