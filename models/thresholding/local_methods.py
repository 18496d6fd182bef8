"""Local thresholds: a cut for each pixel, computed from the square window around it.

All take about the same time for any window: means and variances come from running sums, extremes
from the extremes of windows doubled step by step, Otsu's cuts from the histograms of tiles. A pixel
above its threshold belongs to the upper class.

Mean, Gaussian, Niblack and Sauvola equal `skimage.filters.threshold_local`, `threshold_niblack` and
`threshold_sauvola`, including how they extend the picture beyond its edges. The other methods'
windows end there.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIP = 32  # rows in floating point at a time
LONG_KERNEL = 33  # from so many weights on, a Gaussian is applied in the frequency domain


@dataclass(frozen=True)
class LocalMethod:
    """One of the local methods, and what its parameter k means.

    Attributes
    ----------
    paper
        The paper that proposed it: authors, title, year.
    k
        The usual k, and its sensible minimum and maximum; None if there is no k.
    """

    paper: str
    k: tuple[float, float, float] | None


LOCAL_METHODS = {
    "local_mean": LocalMethod(
        "Gonzalez and Woods, “Digital Image Processing”, 2nd edition, 2002", (0.0, -0.5, 0.5)
    ),
    "local_gaussian": LocalMethod(
        "Gonzalez and Woods, “Digital Image Processing”, 2nd edition, 2002", (0.0, -0.5, 0.5)
    ),
    "niblack": LocalMethod(
        "Niblack, “An Introduction to Digital Image Processing”, 1986", (0.2, -1.0, 1.0)
    ),
    "sauvola": LocalMethod(
        "Sauvola and Pietikäinen, “Adaptive document image binarization”, 2000", (0.2, -1.0, 1.0)
    ),
    "phansalkar": LocalMethod(
        "Phansalkar, More, Sabale and Joshi, “Adaptive local thresholding for detection of nuclei "
        "in diversity stained cytology images”, 2011",
        (0.25, -1.0, 1.0),
    ),
    "bernsen": LocalMethod(
        "Bernsen, “Dynamic thresholding of grey-level images”, 1986", (0.06, 0.0, 0.5)
    ),
    "local_otsu": LocalMethod(
        "Otsu, “A threshold selection method from gray-level histograms”, 1979, window by window",
        None,
    ),
}


def local_threshold(
    gray: NDArray[Any],
    method: str,
    window: int = 51,
    k: float | None = None,
    limits: tuple[float, float] | None = None,
) -> NDArray[Any]:
    """The threshold of each pixel by one of the local methods.

    Parameters
    ----------
    gray
        `(height, width)` picture, integer or float, finite.
    method
        One of `LOCAL_METHODS`.
    window
        Side of the window in pixels: odd, at least 3.
    k
        None for the method's usual one. For "local_mean" and "local_gaussian" it is the share of
        the limits' span by which a threshold is below the mean; for "bernsen" the share that a
        window's contrast must reach.
    limits
        The values of black and white, to which the methods of Sauvola, Phansalkar, Bernsen and the
        two means refer; None for 0 and 255 in 8-bit pictures, and the extremes of others.

    Returns
    -------
    `(height, width)` float array.

    Raises
    ------
    ValueError
        For an unknown method, or a window that is even or too small.
    """
    if method not in LOCAL_METHODS:
        raise ValueError(f"The method must be one of {', '.join(LOCAL_METHODS)}, not {method!r}.")
    if window < 3 or window % 2 == 0:
        raise ValueError(f"The window must be odd and at least 3, not {window}.")
    usual = LOCAL_METHODS[method].k
    if k is None:
        k = usual[0] if usual else 0.0
    low, high = limits or limits_of(gray)
    if method in ("local_mean", "local_gaussian"):
        mean = local_mean if method == "local_mean" else local_gaussian
        # Otherwise rounding errors would decide whether a flat part is above or below its own mean.
        return np.round(mean(gray, window, k * (high - low)), digits(high - low))
    if method == "niblack":
        return niblack(gray, window, k)
    if method == "sauvola":
        return sauvola(gray, window, k, (high - low) / 2 or 1.0)
    if method == "phansalkar":
        return phansalkar(gray, window, k, low, high)
    if method == "bernsen":
        return bernsen(gray, window, k * (high - low), (low + high) / 2)
    return local_otsu(gray, window)


def limits_of(gray: NDArray[Any]) -> tuple[float, float]:
    """The values of black and white: 0 and 255 for 8 bits, otherwise the picture's extremes."""
    if gray.dtype == np.uint8:
        return 0.0, 255.0
    return float(gray.min()), float(gray.max())


def digits(span: float) -> int:
    """To how many decimals thresholds are rounded, by the span of the values."""
    return 9 - math.floor(math.log10(span)) if span > 0 else 9


def local_mean(gray: NDArray[Any], window: int, offset: float = 0.0) -> NDArray[Any]:
    """The window's mean less an offset: `skimage.filters.threshold_local` with "mean"."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(gray.astype(float_type(gray), copy=False), window) - offset


def local_gaussian(gray: NDArray[Any], window: int, offset: float = 0.0) -> NDArray[Any]:
    """The Gaussian-weighted mean less an offset: `skimage.filters.threshold_local`.

    The standard deviation is a third of the window's radius: (window - 1) / 6.
    """
    return gaussian(gray.astype(float_type(gray), copy=False), (window - 1) / 6) - offset


def gaussian(values: NDArray[np.floating[Any]], sigma: float) -> NDArray[Any]:
    """A float picture blurred as by `scipy.ndimage.gaussian_filter`, mirrored at its edges.

    Long kernels are applied by a cosine transform, which implies mirrored edges: there, blurring is
    a multiplication, whatever the kernel's length.
    """
    from scipy.fft import dct, idct
    from scipy.ndimage import gaussian_filter

    radius = int(4 * sigma + 0.5)
    if 2 * radius + 1 < LONG_KERNEL:
        return gaussian_filter(values, sigma)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights /= 2 * weights.sum() - weights[0]
    for axis, length in enumerate(values.shape):
        angles = np.pi * np.arange(length) / length
        factors = np.full(length, weights[0])
        for distance in range(1, radius + 1):
            factors += 2 * weights[distance] * np.cos(distance * angles)
        spread = factors if axis else factors[:, np.newaxis]
        values = idct(dct(values, axis=axis) * spread.astype(values.dtype), axis=axis)
    return values


def niblack(gray: NDArray[Any], window: int, k: float = 0.2) -> NDArray[Any]:
    """Niblack's mean - k * deviation: `skimage.filters.threshold_niblack`."""
    threshold = np.empty(gray.shape, float_type(gray))
    for rows, mean, deviation in window_moments(gray, window):
        threshold[rows] = mean - k * deviation
    return threshold


def sauvola(
    gray: NDArray[Any], window: int, k: float = 0.2, r: float | None = None
) -> NDArray[Any]:
    """Sauvola's mean * (1 + k * (deviation / r - 1)): `skimage.filters.threshold_sauvola`.

    Parameters
    ----------
    gray
        `(height, width)` picture.
    window
        Side of the window in pixels, odd.
    k, r
        Of the formula; r is the largest possible deviation, by default half the range of an integer
        type, and 1 for floats.
    """
    if r is None:
        r = 1.0
        if np.issubdtype(gray.dtype, np.integer):
            r = (float(np.iinfo(gray.dtype).max) - float(np.iinfo(gray.dtype).min)) / 2
    threshold = np.empty(gray.shape, float_type(gray))
    for rows, mean, deviation in window_moments(gray, window):
        threshold[rows] = mean * (1 + k * ((deviation / r) - 1))
    return threshold


def phansalkar(
    gray: NDArray[Any], window: int, k: float = 0.25, low: float = 0.0, high: float = 255.0
) -> NDArray[Any]:
    """Phansalkar's m * (1 + 2 * exp(-10 * m) + k * (s / 0.5 - 1)).

    Mean m and deviation s are those of the values scaled to [0, 1]: `low` to 0 and `high` to 1.
    """
    threshold = np.empty(gray.shape, float_type(gray))
    span = (high - low) or 1.0
    for rows, mean, deviation in window_moments(gray, window):
        share = (mean - low) / span
        factor = 1 + 2 * np.exp(-10 * share) + k * (deviation / span / 0.5 - 1)
        threshold[rows] = low + span * (share * factor)
    return threshold


def bernsen(
    gray: NDArray[Any], window: int, contrast: float = 15.0, middle: float = 127.5
) -> NDArray[np.float64]:
    """The middle between the window's extremes.

    A window with less contrast belongs to one class: if its middle is at least `middle`, to the
    upper one, with the threshold -inf, otherwise to the lower one, with inf.
    """
    low = windows_least(gray, window).astype(np.float64)
    high = windows_most(gray, window).astype(np.float64)
    threshold = (low + high) / 2
    flat = high - low < contrast
    threshold[flat] = np.where(threshold[flat] >= middle, -np.inf, np.inf)
    return threshold


def windows_most(gray: NDArray[Any], window: int) -> NDArray[Any]:
    """The largest value in the window around each pixel, which ends at the picture's edges."""
    return _extreme(gray, window, np.maximum)


def windows_least(gray: NDArray[Any], window: int) -> NDArray[Any]:
    """The smallest value in the window around each pixel, which ends at the picture's edges."""
    return _extreme(gray, window, np.minimum)


def _extreme(gray: NDArray[Any], window: int, choose: np.ufunc) -> NDArray[Any]:
    radius = window // 2
    for axis in range(2):
        along = gray.swapaxes(0, axis)
        # `edge` repeats values that are in the window anyway.
        padded = np.pad(along, ((radius, radius), (0, 0)), mode="edge")
        size = 1
        while 2 * size <= window:
            padded = choose(padded[:-size], padded[size:])
            size *= 2
        if size < window:
            padded = choose(padded[: size - window], padded[window - size :])
        gray = padded.swapaxes(0, axis)
    return gray


def local_otsu(gray: NDArray[Any], window: int) -> NDArray[np.float64]:
    """Otsu's cut of the window around each pixel, which ends at the picture's edges.

    The window consists of five by five tiles of at least three pixels a side, and moves from tile
    to tile; between tile centres, the cuts are interpolated linearly. Grey values are counted in 64
    equal bins from the picture's minimum to its maximum.
    """
    tile = max(round(window / 5), 3)
    low, high = float(gray.min()), float(gray.max())
    step = (high - low) / 63 or 1.0
    bins = np.rint((gray - np.float64(low)) / step).astype(np.int64)
    # A bin ends half a step above its centre.
    cuts = low + (otsu_of_tiles(bins, tile) + 0.5) * step
    return interpolated(cuts, tile, gray.shape)


def otsu_of_tiles(
    gray: NDArray[np.integer[Any]], tile: int, levels: int = 64
) -> NDArray[np.float64]:
    """Otsu's cut of the five by five tiles around each tile of a picture of `levels` levels."""
    rows, columns = -(-gray.shape[0] // tile), -(-gray.shape[1] // tile)
    values = np.arange(float(levels))
    first_bins = np.arange(gray.shape[1]) // tile * levels
    recent = np.zeros((5, columns + 4, levels))  # the histograms of five rows of tiles
    cuts = np.zeros((rows, columns))
    for row in range(rows + 2):
        strip = gray[row * tile : (row + 1) * tile]
        counts = np.bincount((strip + first_bins).ravel(), minlength=columns * levels)
        recent[row % 5, 2:-2] = counts.reshape(columns, levels)
        if row < 2:
            continue
        tall = recent.sum(axis=0)
        counts = tall[:-4] + tall[1:-3] + tall[2:-2] + tall[3:-1] + tall[4:]
        below, sums = np.cumsum(counts, axis=1), np.cumsum(counts * values, axis=1)
        both = below * (below[:, -1:] - below)
        distance = sums * below[:, -1:] - sums[:, -1:] * below
        variance = distance * distance / np.maximum(both, 1)  # 0 where one of them is empty
        alone = counts.argmax(axis=1)
        cuts[row - 2] = np.where(variance.any(axis=1), variance.argmax(axis=1), alone)
    return cuts


def interpolated(
    values: NDArray[np.float64], tile: int, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Values at tile centres, interpolated linearly to the pixels of a picture."""
    for axis in range(2):
        places = ((np.arange(shape[axis]) + 0.5) / tile - 0.5).clip(0, values.shape[axis] - 1)
        before = places.astype(int)
        after = np.minimum(before + 1, values.shape[axis] - 1)
        part = places - before if axis else (places - before)[:, np.newaxis]
        low, high = values.take(before, axis), values.take(after, axis)
        values = low + part * (high - low)
    return values


def float_type(gray: NDArray[Any]) -> type[np.floating[Any]]:
    """The type in which scikit-image computes a picture's thresholds."""
    return np.float32 if gray.dtype in (np.float16, np.float32) else np.float64


def sum_type(gray: NDArray[Any], window: int) -> type[np.generic]:
    """The type for the sums of a window's squares: the narrowest that holds them.

    Running sums of unsigned integers may overflow and wrap around; the difference of two of them,
    which is a window's sum, is still correct.
    """
    if gray.dtype not in (np.uint8, np.uint16):
        return np.float64
    largest = int(np.iinfo(gray.dtype).max) ** 2 * window**2
    return np.uint32 if largest < 2**32 else np.uint64


def window_moments(
    gray: NDArray[Any], window: int
) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any]]]:
    """Mean and standard deviation of the window around each pixel, some rows at a time.

    Running sums go down each column, and running sums of these along each row. For integers below
    2^16 they are exact.
    """
    kind, radius, counted = float_type(gray), window // 2, sum_type(gray, window)
    padded = np.pad(gray, (radius + 1, radius), mode="reflect")
    first = padded[:window].astype(counted)
    columns = [first.sum(axis=0, dtype=counted), (first * first).sum(axis=0, dtype=counted)]
    for top in range(0, len(gray), STRIP):
        rows = slice(top, min(top + STRIP, len(gray)))
        leaving = padded[rows].astype(counted)
        entering = padded[rows.start + window : rows.stop + window].astype(counted)
        averages = []
        for power in range(2):
            if power:
                leaving *= leaving
                entering *= entering
            sums = entering - leaving
            sums[0] += columns[power]
            np.cumsum(sums, axis=0, dtype=counted, out=sums)
            columns[power] = sums[-1].copy()
            np.cumsum(sums, axis=1, dtype=counted, out=sums)
            averages.append((sums[:, window:] - sums[:, :-window]).astype(kind, copy=False))
            averages[power] /= window**2
        mean, deviation = averages
        deviation -= mean * mean
        np.maximum(deviation, 0, out=deviation)  # rounding
        yield rows, mean, np.sqrt(deviation, out=deviation)
