"""Which values of a deep picture are shown as black and white, and the resulting 8 bits."""

import numpy as np
from numpy.typing import NDArray

from models.picture import Values

# Percentage of the pixels that may be darker than black, or lighter than white.
DARKEST, LIGHTEST = 0.1, 0.1
SAMPLED = 2_000_000  # values from which percentiles are taken, for float and very deep pictures
COUNTED = 2**20  # values counted at a time


def full_range(dtype: np.dtype, bits: int) -> tuple[float, float]:
    """Black and white if the values use the whole range of their type; 0 and 1 for floats."""
    if dtype.kind == "f":
        return 0.0, 1.0
    if dtype.kind == "i":
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def percentile_range(values: Values) -> tuple[float, float]:
    """The values between which nearly all lie; zeros if all are NaN.

    In a small picture these are the smallest and the largest.

    Examples
    --------
    >>> percentile_range(np.array([[700, 4095, 3000]], np.uint16))
    (700.0, 4095.0)
    """
    if values.dtype in (np.uint8, np.uint16):
        flat = values.ravel()
        counts = np.zeros(np.iinfo(values.dtype).max + 1, np.int64)
        for start in range(0, flat.size, COUNTED):  # `bincount` would need eight bytes per value
            counts += np.bincount(flat[start : start + COUNTED], minlength=len(counts))
        levels = np.cumsum(counts)
        last = int(levels[-1]) - 1
        low = np.searchsorted(levels, int(last * DARKEST / 100), side="right")
        high = np.searchsorted(levels, last - int(last * LIGHTEST / 100), side="right")
        return float(low), float(high)
    sample = values.ravel()[:: max(values.size // SAMPLED, 1)]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 0.0
    last = sample.size - 1
    places = int(last * DARKEST / 100), last - int(last * LIGHTEST / 100)
    low, high = np.partition(sample, places)[list(places)]
    return float(low), float(high)


def to_8_bits(values: Values, low: float, high: float) -> NDArray[np.uint8]:
    """Values as greys: `low`, anything below and NaN become 0, `high` and anything above 255.

    Examples
    --------
    >>> to_8_bits(np.array([[-1.0, 0.0, 0.5, 1.0, 9.0]]), 0, 1)
    array([[  0,   0, 128, 255, 255]], dtype=uint8)
    """
    if values.dtype in (np.uint8, np.uint16) and values.size > 2**16:
        table = to_8_bits(np.arange(np.iinfo(values.dtype).max + 1, dtype=np.float64), low, high)
        return table[values]
    # The difference of the largest floats overflows.
    half = values.astype(np.float64) / 2
    np.nan_to_num(half, copy=False, nan=low / 2, posinf=np.inf, neginf=-np.inf)
    np.clip(half, low / 2, high / 2, out=half)
    if high > low:
        half -= low / 2
        half /= max(high / 2 - low / 2, np.finfo(np.float64).tiny)
        half *= 255
        return np.rint(half, out=half).astype(np.uint8)
    return np.where(values > low, 255, 0).astype(np.uint8)
