"""The classic global thresholds: one cut for a whole picture, computed from its histogram.

These are ImageJ's sixteen. They give scikit-image's cuts if it has the method, and otherwise those
of the papers; ImageJ's own sometimes differ from either by a level or two (see `GLOBAL_METHODS`).

Each function takes the counts and the rising, equally spaced grey values of a histogram whose first
and last bins are occupied and differ. A pixel above the cut belongs to the upper class. The page
shows the functions' source, so each depends only on NumPy and what `GlobalMethod.needs` lists.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.thresholding.histograms import Histogram, ThresholdError, counted
from models.thresholding.multilevel import otsu_cut

Counts = NDArray[np.int64]
Centers = NDArray[np.float64]

# scikit-image smooths pass by pass. So does this module up to so many levels times passes; beyond
# that, where scikit-image can take hours, all passes are made at once.
MOST_SMOOTHING = 2**25


@dataclass(frozen=True)
class MethodResult:
    """The result of one classic method: a cut, or the reason why there is none."""

    method: str
    cut: float | None
    reason: ThresholdError | None = None


def default(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """ImageJ's own: raise the cut until it reaches about the middle of the two classes' means.

    Pure black and white do not count.
    """
    levels = np.arange(len(counts))
    byte = centers[0] >= 0 and centers[-1] < 256 and centers[1] - centers[0] == 1
    black, white = (0, 255) if byte else (centers[0], centers[-1])
    inner = np.where((centers > black) & (centers < white), counts, 0)
    pixels, sums = np.cumsum(inner), np.cumsum(inner * levels)
    parts = np.flatnonzero((pixels > 0) & (pixels < pixels[-1]))
    below = sums[parts] / pixels[parts]
    above = (sums[-1] - sums[parts]) / (pixels[-1] - pixels[parts])
    middles = (below + above) / 2
    stop = np.flatnonzero(middles < parts + 2)[0]
    return float(centers[int(middles[stop] + 0.5)])


def huang(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The cut whose classes are least fuzzy: pixels differ least from their class's mean."""
    levels = len(counts)
    weights = counts.astype(np.float64)
    pixels, sums = np.cumsum(weights), np.cumsum(weights * np.arange(levels))
    means = np.array([sums, sums[-1] - sums])[:, :-1] / [pixels[:-1], pixels[-1] - pixels[:-1]]
    # As in ITK, whose bins for more than 256 levels are a little narrower than these
    width = 1 - 1 / levels
    places = np.rint((means + 0.5) * width) / width if levels > 256 else np.rint(means)
    dark, light = places.astype(int).clip(0, levels - 1)
    # Shannon's entropy of the membership of a class, by the distance from its mean
    belonging = 1 / (1 + np.arange(1, levels) / (levels - 1))
    entropy = -belonging * np.log(belonging) - (1 - belonging) * np.log(1 - belonging)
    entropy = np.concatenate([[0.0], entropy])
    reversed_ = entropy[::-1].copy()  # products with a view that runs backwards are slow

    def fuzziness(cut: int) -> float:
        low, high = dark[cut], light[cut]
        return float(
            weights[: low + 1] @ reversed_[levels - 1 - low :]
            + weights[low + 1 : cut + 1] @ entropy[1 : cut + 1 - low]
            + weights[cut + 1 : high] @ reversed_[levels - high + cut : -1]
            + weights[high:] @ entropy[: levels - high]
        )

    # With very many levels, two thousand are tried first: half at equal steps of level, half at
    # equal steps of pixels. Then all around the best of these.
    step = -(-levels // 1024) if levels > 4096 else 1
    tried = {*range(0, levels - 1, step)}
    if step > 1:
        parts = np.searchsorted(pixels, np.linspace(0, pixels[-1], 1024))
        tried |= {*np.minimum(parts, levels - 2).tolist()}
    found = {cut: fuzziness(cut) for cut in tried}
    if step > 1:
        for best in sorted(found, key=lambda cut: found[cut])[:4]:
            near = range(max(best - step, 0), min(best + step, levels - 1))
            found |= {cut: fuzziness(cut) for cut in near if cut not in found}
    best = min(found, key=lambda cut: (found[cut], cut))
    return float(centers[np.flatnonzero(counts[: best + 1])[-1]])


def intermodes(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The middle between the two peaks that remain when the histogram is smoothed."""
    levels, first = counts, 0
    if centers[0] >= 0 and centers[-1] < 256 and centers[1] - centers[0] == 1:
        first = int(centers[0])  # for 8-bit pictures, empty levels count too
        levels = np.pad(counts, (first, 255 - int(centers[-1])))
    after = smoothing(levels, mirrored=False)
    heights = after(fewest_passes(after, mirrored=False))
    middle = sum(two_peaks(heights, mirrored=False)) // 2
    return float(centers[0] + (middle - first) * (centers[1] - centers[0]))


def isodata(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The lowest cut that lies midway between the means of its two classes."""
    from skimage.filters import threshold_isodata

    return float(threshold_isodata(hist=(counts, centers)))


def li(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """Li and Tam, "An iterative algorithm for minimum cross entropy thresholding", PRL 1998."""
    values = centers - centers[0]  # the logarithm needs positive means
    weights = counts.astype(np.float64)
    tolerance = 0.5 * (centers[1] - centers[0])
    following, cut = float(weights @ values / weights.sum()), -np.inf
    while abs(following - cut) > tolerance:
        cut = following
        above = values > cut
        lower, upper = (np.average(values[k], weights=weights[k]) for k in (~above, above))
        if lower == 0:
            break
        following = (lower - upper) / (np.log(lower) - np.log(upper))
    return float(following + centers[0])


def max_entropy(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The cut with the largest sum of the entropies of both classes' histograms."""
    shares = counts / counts.sum()
    below = np.cumsum(shares)[:-1]
    above = np.cumsum(shares[::-1])[-2::-1]
    information = -shares * np.log(shares, out=np.zeros(len(shares)), where=shares > 0)
    dark = np.cumsum(information)[:-1]
    light = np.cumsum(information[::-1])[-2::-1]
    total = np.log(below) + dark / below + np.log(above) + light / above
    # The lowest of the cuts that are equally good, up to rounding
    return float(centers[np.flatnonzero(total >= total.max() - 1e-5)[0]])


def mean(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The mean of all pixels."""
    return float(counts @ centers / counts.sum())


def min_error(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """Where two normal distributions, fitted to the two classes, are equally likely.

    Found by iteration from the mean, as described by Glasbey (1993). ImageJ and ITK use the decimal
    logarithm; so does this.
    """
    levels = np.arange(len(counts), dtype=np.float64)
    pixels, sums, squares = (np.cumsum(counts * levels**power) for power in range(3))
    cut, seen = round(sums[-1] / pixels[-1]), set[int]()
    while cut not in seen:
        seen.add(cut)
        if not 0 <= cut < len(levels) - 1:
            raise ValueError("One of the classes has no pixels.")
        inside = np.array([pixels[cut], pixels[-1] - pixels[cut]])
        means = np.array([sums[cut], sums[-1] - sums[cut]]) / inside
        variances = np.array([squares[cut], squares[-1] - squares[cut]]) / inside - means**2
        if variances.min() < 1e-9:
            raise ValueError("One of the classes has a single level.")
        a, b, c = (np.subtract(*(means**power / variances)) for power in range(3))
        c += np.log10(variances[0] * inside[1] ** 2 / (variances[1] * inside[0] ** 2))
        root = b * b - a * c
        if root < 0:
            break
        cut = round((b + np.sqrt(root)) / a if a else -c / b)
    return float(centers[cut])


def minimum(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The lowest point between the two peaks that remain when the histogram is smoothed."""
    after = smoothing(counts, mirrored=True)
    heights = after(fewest_passes(after, mirrored=True))
    left, right = two_peaks(heights, mirrored=True)
    return float(centers[left + heights[left : right + 1].argmin()])


def minimum_by_passes(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """Like `minimum`, pass by pass in float32: equals `skimage.filters.threshold_minimum`."""
    from scipy.ndimage import uniform_filter1d

    expected = fewest_passes(smoothing(counts, mirrored=True), mirrored=True)
    if expected == 10_000:
        raise RuntimeError("There are not two peaks.")
    heights = counts.astype(np.float32)
    passes = 0
    while passes < expected * 7 // 8 or len(peaks(heights, mirrored=True)) > 2:
        if passes == 10_000:
            raise RuntimeError("There are not two peaks.")
        heights = uniform_filter1d(heights, 3)
        passes += 1
    left, right = two_peaks(heights, mirrored=True)
    return float(centers[left + heights[left : right + 1].argmin()])


def library_is_slow(counts: NDArray[np.int64]) -> bool:
    """Whether scikit-image takes very long for `minimum`."""
    passes = fewest_passes(smoothing(counts, mirrored=True), mirrored=True)
    return passes < 10_000 and len(counts) * passes > MOST_SMOOTHING


def moments(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The cut that preserves the first three moments when each class becomes one grey value."""
    shares = counts / counts.sum()
    values = centers - shares @ centers
    second, third = shares @ values**2, shares @ values**3
    # Two greys z with z^2 = third / second * z + second preserve the moments; the mean is 0.
    half = third / second / 2
    root = np.sqrt(half**2 + second)
    dark = (half + root) / (2 * root) - 1e-12  # its share of the pixels, up to rounding
    return float(centers[np.flatnonzero(np.cumsum(shares) > dark)[0]])


def otsu(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The cut whose classes' means differ most."""
    return otsu_cut(counts, centers)


def percentile(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The cut that comes closest to dividing the pixels into halves."""
    return float(centers[np.abs(np.cumsum(counts)[:-1] / counts.sum() - 0.5).argmin()])


def renyi_entropy(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """A weighted mean of the cuts that maximise the Rényi entropy of orders 1/2, 1 and 2."""
    shares = counts / counts.sum()
    below = np.cumsum(shares)
    above = np.concatenate([np.cumsum(shares[::-1])[-2::-1], [0.0]])
    information = -shares * np.log(shares, out=np.zeros(len(shares)), where=shares > 0)
    dark, light = np.cumsum(information)[:-1], np.cumsum(information[::-1])[-2::-1]
    inside, outside = below[:-1], above[:-1]
    cuts = [(np.log(inside) + dark / inside + np.log(outside) + light / outside).argmax()]
    for order in (0.5, 2.0):
        powers = shares**order
        dark, light = np.cumsum(powers)[:-1], np.cumsum(powers[::-1])[-2::-1]
        product = (dark / inside**order) * (light / outside**order)
        cuts.append((np.log(product) / (1 - order)).argmax())
    first, second, third = sorted(int(cut) for cut in cuts)
    near = second - first <= 5, third - second <= 5
    weights = {(True, False): (0, 1, 3), (False, True): (3, 1, 0)}.get(near, (1, 2, 1))
    between = (below[third] - below[first]) / 4
    mixed = (
        first * (below[first] + between * weights[0])
        + second * between * weights[1]
        + third * (above[third] + between * weights[2])
    )
    return float(centers[int(mixed)])


def shanbhag(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The cut at which both classes are equally informative about their pixels' membership."""
    shares = counts / counts.sum()
    dark = uncertainty(shares)[:-1]
    light = uncertainty(shares[::-1])[-2::-1]
    return float(centers[np.abs(dark - light).argmin()])


def triangle(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The level farthest below the line from the peak to the end of the longer tail."""
    peak = int(counts.argmax())
    longer_right = peak < len(counts) - 1 - peak
    tail = counts[:peak:-1] if longer_right else counts[:peak]
    height, width = counts[peak], len(tail)
    norm = np.sqrt(height**2 + width**2)  # changes nothing but which of equals is the farthest
    farthest = int((height / norm * np.arange(width) - width / norm * tail).argmax())
    return float(centers[len(counts) - 1 - farthest if longer_right else farthest])


def yen(counts: NDArray[np.int64], centers: NDArray[np.float64]) -> float:
    """The cut with the largest sum of the classes' second-order entropies."""
    from skimage.filters import threshold_yen

    return float(threshold_yen(hist=(counts, centers)))


def uncertainty(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quantity that Shanbhag's criterion compares, for the class that ends at each level.

    It is -w * sum(shares[i] * log(1 - w * P[i - 1])) with w = 1 / (2 * P[t]) and P[i] the sum of
    the shares up to i. The logarithm's series turns it into running sums: one pass per term instead
    of one per level.
    """
    total = np.cumsum(shares)
    before = total - shares
    result = np.zeros(len(shares))
    power = shares.copy()
    for order in range(1, 33):  # the ratios are below 1/2
        power *= before
        result += np.cumsum(power) / (order * (2 * total) ** order)
    return result / (2 * total)


def smoothing(counts: NDArray[np.int64], mirrored: bool) -> Callable[[int], NDArray[np.float64]]:
    """A histogram after any number of passes of a running mean over three bins.

    Beyond its ends it is mirrored or empty. In the frequency domain, each pass is a multiplication.
    """
    levels = len(counts)
    if mirrored:
        around = np.concatenate([counts, counts[::-1]])
    else:
        # One empty bin is enough, but lengths with small factors are transformed much faster.
        gap = 1 if levels < 4096 else 256 - levels % 256
        empty = np.zeros(gap, np.int64)
        around = np.concatenate([counts, empty, -counts[::-1], empty])
    spectrum = np.fft.rfft(around)
    factors = (1 + 2 * np.cos(2 * np.pi * np.fft.rfftfreq(len(around)))) / 3

    def after(passes: int) -> NDArray[np.float64]:
        heights = np.fft.irfft(spectrum * factors**passes, len(around))[:levels]
        grain = heights.max() * 2.0**-40  # what the transforms leave in empty bins
        return np.rint(heights / grain) * grain

    return after


def peaks(heights: NDArray[Any], mirrored: bool) -> NDArray[np.intp]:
    """Where a histogram turns from rising to falling; with mirrored ends, also at its start."""
    changes = np.sign(np.diff(heights))
    places = np.flatnonzero(changes)
    before = np.concatenate([[1.0 if mirrored else -1.0], changes[places[:-1]]])
    return places[(before > 0) & (changes[places] < 0)]


def two_peaks(heights: NDArray[Any], mirrored: bool) -> tuple[int, int]:
    """The positions of the two peaks of a histogram that has no more than two."""
    found = peaks(heights, mirrored)
    if len(found) != 2:
        raise RuntimeError("There are not two peaks.")
    return int(found[0]), int(found[1])


def fewest_passes(after: Callable[[int], NDArray[np.float64]], mirrored: bool) -> int:
    """The number of smoothing passes until a histogram has at most two peaks; at most 10,000.

    With mirrored ends, at least one.
    """
    few, many = int(mirrored), 10_000
    if len(peaks(after(few), mirrored)) <= 2:
        return few
    if len(peaks(after(many), mirrored)) > 2:
        return many
    while many - few > 1:
        passes = (few + many) // 2
        if len(peaks(after(passes), mirrored)) <= 2:
            many = passes
        else:
            few = passes
    return many


@dataclass(frozen=True)
class GlobalMethod:
    """One of ImageJ's methods.

    Attributes
    ----------
    find
        The cut of a histogram: `find(counts, centers)`.
    paper
        The paper that proposed it: authors, title, year.
    library
        Whether scikit-image has it, with the same cuts.
    needs
        Other functions here that `find` calls.
    """

    find: Callable[[Counts, Centers], float]
    paper: str
    library: bool = False
    needs: tuple[Callable[..., Any], ...] = ()


SMOOTHING = (smoothing, peaks, two_peaks, fewest_passes)
GLOBAL_METHODS = {
    "default": GlobalMethod(
        default,
        "Ridler and Calvard, “Picture thresholding using an iterative selection method”, "
        "1978; in ImageJ’s form",
    ),
    "huang": GlobalMethod(
        huang, "Huang and Wang, “Image thresholding by minimizing the measures of fuzziness”, 1995"
    ),
    "intermodes": GlobalMethod(
        intermodes, "Prewitt and Mendelsohn, “The analysis of cell images”, 1966", needs=SMOOTHING
    ),
    "isodata": GlobalMethod(
        isodata,
        "Ridler and Calvard, “Picture thresholding using an iterative selection method”, 1978",
        library=True,
    ),
    "li": GlobalMethod(li, "Li and Lee, “Minimum cross entropy thresholding”, 1993", library=True),
    "max_entropy": GlobalMethod(
        max_entropy,
        "Kapur, Sahoo and Wong, “A new method for gray-level picture thresholding using the "
        "entropy of the histogram”, 1985",
    ),
    "mean": GlobalMethod(
        mean,
        "Glasbey, “An analysis of histogram-based thresholding algorithms”, 1993",
        library=True,
    ),
    "min_error": GlobalMethod(
        min_error, "Kittler and Illingworth, “Minimum error thresholding”, 1986"
    ),
    "minimum": GlobalMethod(
        minimum,
        "Prewitt and Mendelsohn, “The analysis of cell images”, 1966",
        library=True,
        needs=SMOOTHING,
    ),
    "moments": GlobalMethod(
        moments, "Tsai, “Moment-preserving thresholding: a new approach”, 1985"
    ),
    "otsu": GlobalMethod(
        otsu,
        "Otsu, “A threshold selection method from gray-level histograms”, 1979",
        library=True,
    ),
    "percentile": GlobalMethod(
        percentile, "Doyle, “Operations useful for similarity-invariant pattern recognition”, 1962"
    ),
    "renyi_entropy": GlobalMethod(
        renyi_entropy,
        "Sahoo, Wilkins and Yeager, “Threshold selection using Renyi’s entropy”, 1997",
    ),
    "shanbhag": GlobalMethod(
        shanbhag,
        "Shanbhag, “Utilization of information measure as a means of image thresholding”, 1994",
        needs=(uncertainty,),
    ),
    "triangle": GlobalMethod(
        triangle,
        "Zack, Rogers and Latt, “Automatic measurement of sister chromatid exchange frequency”, "
        "1977",
        library=True,
    ),
    "yen": GlobalMethod(
        yen,
        "Yen, Chang and Chang, “A new criterion for automatic multilevel thresholding”, 1995",
        library=True,
    ),
}

METHODS = tuple(GLOBAL_METHODS)


def find_cut(gray: NDArray[Any] | Histogram, method: str, bins: int = 256) -> float:
    """The cut of one of the classic methods.

    Parameters
    ----------
    gray
        Array of any shape, integer or float, finite; or its histogram.
    method
        One of `GLOBAL_METHODS`.
    bins
        Number of histogram bins for float pictures.

    Returns
    -------
    The cut, in the picture's own values; a pixel above it belongs to the upper class.

    Raises
    ------
    ThresholdError
        If the picture has a single value, or the method finds no cut.

    Examples
    --------
    >>> find_cut(np.array([[10, 12, 200, 202]], dtype=np.uint8), "mean")
    106.0
    """
    counts, centers = counted(gray, bins)
    if np.count_nonzero(counts) == 1:
        raise ThresholdError("threshold_constant")
    if not isinstance(gray, Histogram) and np.issubdtype(gray.dtype, np.floating):
        if method == "mean":
            return float(gray.mean())
        if method == "li":
            return _li_of_values(gray)
    find = GLOBAL_METHODS[method].find
    if method == "minimum" and not library_is_slow(counts):
        find = minimum_by_passes
    try:
        return find(counts, centers)
    except RuntimeError as error:
        raise ThresholdError("threshold_no_valley") from error
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise ThresholdError("threshold_no_cut") from error


def compare_all(gray: NDArray[Any] | Histogram) -> list[MethodResult]:
    """The classic methods' cuts; a method that finds none has a reason instead.

    Parameters
    ----------
    gray
        `(height, width)` picture, or its histogram.

    Returns
    -------
    One result per method, in the order of `METHODS`; a pixel above the cut belongs to the upper
    class.
    """
    if not isinstance(gray, Histogram) and np.issubdtype(gray.dtype, np.integer):
        gray = counted(gray)  # once for all methods
    return [_result(gray, method) for method in METHODS]


def _result(gray: NDArray[Any] | Histogram, method: str) -> MethodResult:
    try:
        return MethodResult(method, find_cut(gray, method))
    except ThresholdError as reason:
        return MethodResult(method, None, reason)


def _li_of_values(gray: NDArray[np.floating[Any]]) -> float:
    """Li's cut of a float picture's values themselves, as scikit-image finds it."""
    values = np.sort(gray, axis=None)
    lowest = values[0]
    values -= lowest
    steps = np.diff(values)
    tolerance = float(steps[steps > 0].min()) / 2
    sums = np.cumsum(values, dtype=np.float64)
    following, cut = sums[-1] / len(values), -np.inf
    while abs(following - cut) > tolerance:
        cut = following
        dark = int(np.searchsorted(values, cut, side="right"))
        lower, upper = sums[dark - 1] / dark, (sums[-1] - sums[dark - 1]) / (len(values) - dark)
        if lower == 0:
            break
        following = (lower - upper) / (np.log(lower) - np.log(upper))
    return float(following + lowest)
