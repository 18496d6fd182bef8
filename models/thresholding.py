"""Thresholds from the histogram: Otsu, exact multi-Otsu, and the classic methods side by side.

Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man,
and Cybernetics 9(1), 1979, chooses the cut that makes the classes' means differ most: the largest
between-class variance. Liao, Chen, Chung, "A fast algorithm for multilevel thresholding", Journal
of Information Science and Engineering 17(5), 2001, state the same for several cuts.

Trying all cuts takes time exponential in their number. The between-class variance is a sum over
classes, though, so dynamic programming over the histogram finds the same optimum in
O(classes * bins^2), as Fisher, "On grouping for maximum homogeneity", JASA 53(284), 1958, does for
one-dimensional clustering.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import ExplainedError
from models.images import Photo

Channel = Literal["luminance", "red", "green", "blue", "saturation"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

MAX_CLASSES = 8
METHODS = ("isodata", "li", "mean", "minimum", "otsu", "triangle", "yen")

# Above this many grey levels integer pictures are binned like float ones: the tables of the
# dynamic program grow with the square.
MAX_LEVELS = 1024


@dataclass(frozen=True)
class GrayClass:
    """One class of a thresholded picture: the values in (lower, upper], and its area.

    `lower` of the first class and `upper` of the last are the picture's extremes; `pixels` counts
    its pixels and `share` is its part of the picture, in [0, 1].
    """

    lower: float
    upper: float
    pixels: int
    share: float


class Histogram(NamedTuple):
    """How often each grey value occurs in a picture.

    All functions here that need no more than this take it in the place of a picture.

    Attributes
    ----------
    counts
        `(n,)` int64: pixels at each level.
    centers
        `(n,)` float64, rising: the levels' grey values.
    """

    counts: NDArray[np.int64]
    centers: NDArray[np.float64]


class ThresholdError(ExplainedError):
    """A picture that has no such thresholds; the text is one sentence for the visitor."""


@dataclass(frozen=True)
class MethodResult:
    """What one classic method found: a cut, or the reason why there is none."""

    method: str
    cut: float | None
    reason: ThresholdError | None = None


def gray_channel(photo: Photo, channel: Channel = "luminance") -> NDArray[np.uint8]:
    """One channel of a photo as a `(height, width)` uint8 array.

    Luminance is ITU-R BT.601's luma; saturation is that of HSV, scaled to [0, 255].

    Raises
    ------
    ValueError
        For another channel.
    """
    if channel == "luminance":
        return np.asarray(Image.fromarray(photo).convert("L"))
    if channel == "saturation":
        return np.asarray(Image.fromarray(photo).convert("HSV").getchannel("S"))
    if channel not in CHANNELS:
        raise ValueError(f"The channel must be one of {', '.join(CHANNELS)}, not {channel!r}.")
    return np.ascontiguousarray(photo[:, :, ("red", "green", "blue").index(channel)])


def histogram(
    gray: NDArray[np.generic], bins: int = 256, max_levels: int | None = MAX_LEVELS
) -> Histogram:
    """Count the pixels at each grey level.

    As in scikit-image, integer pictures have one bin a level and float pictures `bins` equal bins
    from their minimum to their maximum; integer pictures that span more than `max_levels` levels
    are binned like float ones (None: never).

    Parameters
    ----------
    gray
        Array of any shape, integer or float, finite.
    bins
        Number of bins of a float picture.
    max_levels
        The largest span of an integer picture that keeps one bin a level.

    Raises
    ------
    ThresholdError
        When the picture has no pixels.
    """
    if gray.size == 0:
        raise ThresholdError("threshold_empty")
    if gray.dtype == np.uint8:
        # Pillow counts bytes as they are; `bincount` first makes eight of each.
        image = Image.fromarray(np.ascontiguousarray(gray).reshape(1, -1))
        counts = np.array(image.histogram())
        levels = np.flatnonzero(counts)
        low, high = int(levels[0]), int(levels[-1])
        return Histogram(counts[low : high + 1], np.arange(low, high + 1, dtype=np.float64))
    if gray.dtype == bool or np.issubdtype(gray.dtype, np.integer):
        low, high = int(gray.min()), int(gray.max())
        if max_levels is None or high - low < max_levels:
            offsets = gray.astype(np.int64).ravel() - low
            return Histogram(np.bincount(offsets), np.arange(low, high + 1, dtype=np.float64))
    counts, edges = np.histogram(gray, bins=bins)
    centers = (edges[:-1] + edges[1:]) / 2
    # NumPy's edges of a float32 picture are float32.
    return Histogram(counts, centers.astype(np.float64))


def _counted(
    picture: NDArray[np.generic] | Histogram, bins: int = 256, max_levels: int | None = MAX_LEVELS
) -> Histogram:
    return picture if isinstance(picture, Histogram) else histogram(picture, bins, max_levels)


def otsu(gray: NDArray[np.generic], bins: int = 256) -> float:
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
    counts, centers = histogram(gray, bins, max_levels=None)
    if len(counts) == 1 or np.count_nonzero(counts) == 1:
        return float(gray.flat[0])
    return _otsu(counts, centers)


def _otsu(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    return float(centers[np.argmax(_scaled_variance(counts, centers))])


def between_class_variance(
    gray: NDArray[np.generic] | Histogram, bins: int = 256
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What Otsu's threshold makes largest, for every cut there is.

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
    counts, centers = _counted(gray, bins, max_levels=None)
    return centers[:-1], _scaled_variance(counts, centers) / float(counts.sum()) ** 2


def variance_of_cuts(gray: NDArray[np.generic] | Histogram, cuts: NDArray[np.float64]) -> float:
    """The variance between the classes that several cuts leave: what `multi_otsu` makes largest.

    It is the sum over the classes of share * (mean - mean of all)^2: Otsu (1979) for two classes,
    Liao et al. (2001) for more. Cuts that part the pixels alike have exactly the same variance.

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
    counts, centers = _counted(gray)
    values = centers - np.average(centers, weights=counts)
    index = np.digitize(centers, cuts, right=True)
    pixels = np.bincount(index, weights=counts)
    sums = np.bincount(index, weights=counts * values)
    filled = pixels > 0
    return float((sums[filled] ** 2 / pixels[filled]).sum() / counts.sum())


def _scaled_variance(
    counts: NDArray[np.int64], centers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """pixels1 * pixels2 * (mean1 - mean2)^2 for each cut, with one division."""
    pixels = np.cumsum(counts).astype(np.float64)
    sums = np.cumsum(counts * centers)
    below = pixels[:-1]
    above = pixels[-1] - below
    return (sums[:-1] * pixels[-1] - sums[-1] * below) ** 2 / (below * above)


def multi_otsu(
    gray: NDArray[np.generic] | Histogram, classes: int = 3, bins: int = 256
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
        Number of histogram bins for float pictures and those with very many levels.

    Returns
    -------
    `(classes - 1,)` float64 cuts, rising; a pixel above a cut belongs to the upper class.

    Raises
    ------
    ThresholdError
        When the picture has fewer different values than classes.

    Examples
    --------
    >>> multi_otsu(np.array([[0, 1, 100, 101, 200, 201]], dtype=np.uint8), classes=3)
    array([  1., 101.])
    """
    if classes < 2:
        raise ValueError(f"There must be at least 2 classes, not {classes}.")
    counts, centers = _counted(gray, bins)
    occupied = np.flatnonzero(counts)
    counts, centers = counts[occupied], centers[occupied]
    levels = len(centers)
    if levels < classes:
        if levels == 1:
            raise ThresholdError("threshold_one_value", classes=classes)
        raise ThresholdError("threshold_few_values", values=levels, classes=classes)
    # Centred values keep the squares small and so the sums exact to more digits.
    values = centers - np.average(centers, weights=counts)
    pixels = np.concatenate([[0.0], np.cumsum(counts)])
    sums = np.concatenate([[0.0], np.cumsum(counts * values)])
    # gain[i, j]: what a class of the levels i to j - 1 adds to the between-class variance
    class_pixels = pixels[np.newaxis, :] - pixels[:, np.newaxis]
    class_sums = sums[np.newaxis, :] - sums[:, np.newaxis]
    gain = np.full((levels + 1, levels + 1), -np.inf)
    np.divide(class_sums**2, class_pixels, out=gain, where=class_pixels > 0)
    # best[j]: the largest sum of gains when the first j levels form k classes
    best = gain[0]
    starts = []
    for _ in range(classes - 2):
        candidates = best[:, np.newaxis] + gain
        start = candidates.argmax(axis=0)
        best = candidates[start, np.arange(levels + 1)]
        starts.append(start)
    end = int((best + gain[:, levels]).argmax())
    cuts = [end]
    for start in reversed(starts):
        end = int(start[end])
        cuts.append(end)
    return centers[np.array(cuts[::-1]) - 1]


def classify(gray: NDArray[np.uint8], cuts: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Class index of each pixel, 0 for the darkest: as many cuts as lie below its value."""
    table = np.digitize(np.arange(256), cuts, right=True)
    return np.asarray(Image.fromarray(gray).point(table.tolist()))


def describe_classes(
    gray: NDArray[np.uint8] | Histogram, cuts: NDArray[np.float64]
) -> list[GrayClass]:
    """Bounds and area of each class of a thresholded `(height, width)` uint8 picture."""
    counts, centers = _counted(gray)
    bounds = [float(centers[0]), *map(float, cuts), float(centers[-1])]
    index = np.digitize(centers, cuts, right=True)
    pixels = np.bincount(index, weights=counts, minlength=len(cuts) + 1).astype(int)
    return [
        GrayClass(bounds[i], bounds[i + 1], int(count), float(count / counts.sum()))
        for i, count in enumerate(pixels)
    ]


def compare_all(gray: NDArray[np.uint8] | Histogram) -> list[MethodResult]:
    """The seven classic methods' cuts, each failing alone with its reason.

    The methods are scikit-image's (`skimage.filters.threshold_*`): isodata (Ridler and Calvard,
    1978), li (Li and Lee, 1993), mean (Glasbey, 1993), minimum (Prewitt and Mendelsohn, 1966),
    otsu (Otsu, 1979), triangle (Zack et al., 1977), yen (Yen et al., 1995).

    Parameters
    ----------
    gray
        `(height, width)` uint8 picture, or its histogram.

    Returns
    -------
    One result a method, in the order of `METHODS`; a pixel above the cut belongs to the upper
    class.
    """
    counts, centers = _counted(gray)
    if len(counts) == 1:
        reason = ThresholdError("threshold_constant")
        return [MethodResult(method, None, reason) for method in METHODS]
    return [_apply(method, counts, centers) for method in METHODS]


def _mean(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    return float(counts @ centers / counts.sum())


def _li(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """Li and Tam, "An iterative algorithm for minimum cross entropy thresholding", PRL 1998."""
    values = centers - centers[0]  # the logarithm wants no negative means
    following, cut = _mean(counts, values), -1.0
    while abs(following - cut) > 0.5:
        cut = following
        above = values > cut
        lower, upper = (np.average(values[k], weights=counts[k]) for k in (~above, above))
        if lower == 0:
            break
        following = (lower - upper) / (np.log(lower) - np.log(upper))
    return float(following + centers[0])


def _triangle(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The level that lies farthest below the line from the peak to the end of the longer tail."""
    peak = int(counts.argmax())
    longer_right = peak < len(counts) - 1 - peak
    tail = counts[:peak:-1] if longer_right else counts[:peak]
    height, width = counts[peak], len(tail)
    norm = np.sqrt(height**2 + width**2)  # changes nothing but which of equals is the farthest
    farthest = int((height / norm * np.arange(width) - width / norm * tail).argmax())
    return float(centers[len(counts) - 1 - farthest if longer_right else farthest])


# scikit-image's own of these look at each pixel, of which a photo has millions.
_BY_HISTOGRAM = {"li": _li, "mean": _mean, "otsu": _otsu, "triangle": _triangle}


def _apply(method: str, counts: NDArray[np.int64], centers: NDArray[np.float64]) -> MethodResult:
    if method in _BY_HISTOGRAM:
        return MethodResult(method, _BY_HISTOGRAM[method](counts, centers))
    from skimage import filters  # takes half a second to import: only for who asks for it

    find = getattr(filters, f"threshold_{method}")
    try:
        return MethodResult(method, float(find(hist=(counts, centers))))
    except RuntimeError:
        # threshold_minimum smooths the histogram until two peaks are left
        return MethodResult(method, None, ThresholdError("threshold_no_valley"))
    except (ValueError, IndexError, ZeroDivisionError):
        return MethodResult(method, None, ThresholdError("threshold_no_cut"))
