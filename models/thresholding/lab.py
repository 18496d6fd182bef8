"""A mask by any method and settings, and the Python code that makes the same mask."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.thresholding import global_methods, local_methods
from models.thresholding.channels import LAB, RGB, Channel, gray_channel
from models.thresholding.global_methods import GLOBAL_METHODS, find_cut
from models.thresholding.histograms import MAX_LEVELS, ThresholdError, histogram
from models.thresholding.local_methods import LOCAL_METHODS, limits_of, local_threshold


@dataclass(frozen=True)
class Settings:
    """How to make a mask of a picture.

    Attributes
    ----------
    method
        One of `GLOBAL_METHODS` or `LOCAL_METHODS`.
    channel
        The channel of a colour picture to threshold.
    blur
        Standard deviation, in pixels, of the Gaussian that smooths the channel first; 0 for none.
    window, k
        Of the local methods (see `local_threshold`).
    hysteresis
        How far beyond the threshold a pixel connected to the objects may be, as a share of the
        values' range; 0 for none.
    inner
        Whether a global method ignores pure black and white.
    dark
        Whether the objects are the pixels that are not above the threshold.
    """

    method: str = "otsu"
    channel: Channel = "luminance"
    blur: float = 0.0
    window: int = 51
    k: float | None = None
    hysteresis: float = 0.0
    inner: bool = False
    dark: bool = False


@dataclass(frozen=True)
class Segmentation:
    """The objects, a `(height, width)` bool array, and the cut of a global method."""

    mask: NDArray[np.bool_]
    cut: float | None


def prepare(picture: NDArray[Any], settings: Settings) -> NDArray[Any]:
    """The channel to threshold, smoothed: integers stay integers, floats become float64.

    Parameters
    ----------
    picture
        `(height, width)` or `(height, width, 3)` in the file's own values (see `gray_channel`).
    settings
        Only channel and blur matter.
    """
    gray = gray_channel(picture, settings.channel)
    if np.issubdtype(gray.dtype, np.floating):
        gray = gray.astype(np.float64)
    if not settings.blur:
        return gray
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(gray.astype(np.float64), settings.blur)
    return blurred if gray.dtype == np.float64 else np.rint(blurred).astype(gray.dtype)


def segment(gray: NDArray[Any], settings: Settings) -> Segmentation:
    """Threshold a prepared picture.

    Raises
    ------
    ThresholdError
        If a global method finds no cut.
    """
    low, high = limits_of(gray)
    reach = settings.hysteresis * (high - low)
    if settings.method in LOCAL_METHODS:
        threshold = local_threshold(gray, settings.method, settings.window, settings.k)
        return Segmentation(_objects(gray, threshold, reach, settings.dark), None)
    kept = gray
    if settings.inner:
        kept = gray[(gray > low) & (gray < high)]
        if not kept.size:
            raise ThresholdError("threshold_only_extremes")
    cut = find_cut(kept, settings.method)
    return Segmentation(_objects(gray, cut, reach, settings.dark), cut)


def _objects(
    gray: NDArray[Any], threshold: NDArray[Any] | float, reach: float, dark: bool
) -> NDArray[np.bool_]:
    objects = gray <= threshold if dark else gray > threshold
    if not reach:
        return objects
    from scipy.ndimage import label

    wide = gray <= threshold + reach if dark else gray > threshold - reach
    labels = np.empty(gray.shape, np.int32)
    kept = np.zeros(label(wide, output=labels) + 1, bool)
    kept[labels[objects]] = True
    return kept[labels]


def snippet(
    gray: NDArray[Any],
    settings: Settings,
    name: str,
    kind: np.dtype[Any],
    colored: bool,
    place: Sequence[int] = (),
) -> str:
    """Python code that makes the mask of `segment`, with only scikit-image and NumPy.

    It includes the source of what scikit-image lacks or computes differently.

    Parameters
    ----------
    gray
        The prepared picture.
    settings
        The settings with which it was prepared.
    name
        Of the picture's file.
    kind, colored
        The type of the file's values, and whether they have three channels.
    place
        Which of the file's pictures it is, as an index into a stack of time, z and channel; empty
        if there is only one.
    """
    low, high = limits_of(gray)
    functions: list[Callable[..., Any]] = []
    lines = [f"picture = io.imread({name!r})"]
    if place:
        lines.append(f"picture = picture[{', '.join(map(str, place))}]")
    lines += _channel_lines(settings.channel, kind, colored)
    if np.issubdtype(gray.dtype, np.floating):
        lines.append("gray = gray.astype(np.float64)")
    if settings.blur:
        blurred = f'filters.gaussian(gray, {settings.blur!r}, mode="reflect", preserve_range=True)'
        if np.issubdtype(gray.dtype, np.integer):
            blurred = f"np.rint({blurred}).astype(gray.dtype)"
        lines.append(f"gray = {blurred}")
    if settings.method in LOCAL_METHODS:
        usual = LOCAL_METHODS[settings.method].k
        k = settings.k if settings.k is not None else usual[0] if usual else 0.0
        lines += _local_lines(gray, settings.method, settings.window, k, functions)
    else:
        kept = gray
        if settings.inner:
            kept = gray[(gray > low) & (gray < high)]
            lines.append(f"kept = gray[(gray > {low!r}) & (gray < {high!r})]")
        lines += _global_lines(kept, settings, functions)
    lines += _mask_lines(settings, settings.hysteresis * (high - low))
    sources = [inspect.getsource(function).rstrip() for function in functions]
    return "\n\n\n".join([_imports([*sources, *lines]), *sources, "\n".join(lines)]) + "\n"


def _channel_lines(channel: Channel, kind: np.dtype[Any], colored: bool) -> list[str]:
    lines = []
    if not colored:
        if channel in ("luminance", *RGB):
            return ["gray = picture"]
        lines.append("picture = np.stack([picture] * 3, axis=2)")
    elif kind == np.uint8:
        lines.append("if picture.ndim == 2:")
        lines.append("    picture = np.stack([picture] * 3, axis=2)")
    if channel in RGB:
        return [*lines, f"gray = picture[:, :, {RGB.index(channel)}]"]
    if channel == "hue":
        return [*lines, "gray = color.rgb2hsv(picture)[:, :, 0] * 360"]
    if channel in LAB:
        return [*lines, f"gray = color.rgb2lab(picture)[:, :, {LAB.index(channel)}]"]
    if channel == "saturation":
        lines.append("most = picture.max(axis=2)")
        if kind == np.uint8:
            lines.append("share = (most - picture.min(axis=2)) / np.maximum(most, np.float32(1))")
            return [*lines, "gray = (share.astype(np.float64) * 255).astype(np.uint8)"]
        lines.append("spread = (most - picture.min(axis=2)).astype(np.float64)")
        lines.append("gray = np.divide(spread, most, out=np.zeros_like(spread), where=most > 0)")
        if np.issubdtype(kind, np.integer):
            lines.append("gray = (gray * np.iinfo(picture.dtype).max).astype(picture.dtype)")
        else:
            lines.append("gray = gray.astype(picture.dtype)")
        return lines
    if kind == np.uint8:
        luma = "((picture @ np.array([19595, 38470, 7471]) + 32768) >> 16).astype(np.uint8)"
    elif np.issubdtype(kind, np.integer):
        luma = "np.rint(picture @ np.array([0.299, 0.587, 0.114])).astype(picture.dtype)"
    else:
        luma = "(picture @ np.array([0.299, 0.587, 0.114])).astype(picture.dtype)"
    return [*lines, f"gray = {luma}"]


def _global_lines(
    kept: NDArray[Any], settings: Settings, functions: list[Callable[..., Any]]
) -> list[str]:
    name, values = settings.method, "kept" if settings.inner else "gray"
    method = GLOBAL_METHODS[name]
    counted = histogram(kept)
    wide = np.issubdtype(kept.dtype, np.integer) and int(kept.max()) - int(kept.min()) >= MAX_LEVELS
    own = not method.library or (
        name == "minimum" and global_methods.library_is_slow(counted.counts)
    )
    if not own and not wide:
        return [f"cut = float(filters.threshold_{name}({values}))"]
    if wide:
        lines = [
            f"counts, edges = np.histogram({values}, {MAX_LEVELS})",
            "centers = (edges[:-1] + edges[1:]) / 2",
        ]
    else:
        lines = [f'counts, centers = exposure.histogram({values}, source_range="image")']
    if name in ("isodata", "otsu", "yen") or (not own and name == "minimum"):
        return [*lines, f"cut = float(filters.threshold_{name}(hist=(counts, centers)))"]
    functions += [*method.needs, method.find]
    return [*lines, f"cut = {method.find.__name__}(counts, centers)"]


def _local_lines(
    gray: NDArray[Any], name: str, window: int, k: float, functions: list[Callable[..., Any]]
) -> list[str]:
    low, high = limits_of(gray)
    span = high - low
    if name in ("local_mean", "local_gaussian"):
        weights = name.removeprefix("local_")
        call = f'filters.threshold_local(gray, {window}, method="{weights}", offset={k * span!r})'
        return [f"threshold = np.round({call}, {local_methods.digits(span)})"]
    if name == "bernsen":
        return [
            f"square = morphology.footprint_rectangle(({window}, {window}), "
            'decomposition="separable")',
            "low = morphology.erosion(gray, square).astype(np.float64)",
            "high = morphology.dilation(gray, square).astype(np.float64)",
            "threshold = (low + high) / 2",
            f"flat = high - low < {k * span!r}",
            f"threshold[flat] = np.where(threshold[flat] >= {(low + high) / 2!r}, -np.inf, np.inf)",
        ]
    if name == "local_otsu":
        functions += [
            local_methods.otsu_of_tiles,
            local_methods.interpolated,
            local_methods.local_otsu,
        ]
        return [f"threshold = local_otsu(gray, {window})"]
    if name == "phansalkar":
        arguments = f"{window}, {k!r}, {low!r}, {high!r}"
    elif name == "sauvola":
        arguments = f"{window}, {k!r}, {span / 2 or 1.0!r}"
    else:
        arguments = f"{window}, {k!r}"
    # scikit-image's sum of squares over a whole picture must be exact: otherwise flat parts become
    # noise.
    pixels = (gray.shape[0] + window) * (gray.shape[1] + window)
    exact = np.issubdtype(gray.dtype, np.integer) and max(low**2, high**2) * pixels < 2**53
    if name != "phansalkar" and exact:
        return [f"threshold = filters.threshold_{name}(gray, {arguments})"]
    functions += [
        local_methods.float_type,
        local_methods.sum_type,
        local_methods.window_moments,
        getattr(local_methods, name),
    ]
    return [f"threshold = {name}(gray, {arguments})"]


def _mask_lines(settings: Settings, reach: float) -> list[str]:
    threshold = "threshold" if settings.method in LOCAL_METHODS else "cut"
    sign = "<=" if settings.dark else ">"
    lines = [f"mask = gray {sign} {threshold}"]
    if reach:
        lines += [
            f"wide = gray {sign} {threshold} {'+' if settings.dark else '-'} {reach!r}",
            "labels = measure.label(wide, connectivity=1)",
            "mask = np.isin(labels, np.unique(labels[mask]))",
        ]
    return lines


def _imports(parts: list[str]) -> str:
    """The imports that a snippet's parts need."""
    text = "\n".join(parts)
    abc = [name for name in ("Callable", "Iterator") if name in text]
    modules = [
        name
        for name in ("color", "exposure", "filters", "io", "measure", "morphology")
        if f"{name}." in text
    ]
    lines = [f"from collections.abc import {', '.join(abc)}"] if abc else []
    lines += ["from typing import Any"] if "Any]" in text or "Any," in text else []
    lines += ["", "import numpy as np"] if lines else ["import numpy as np"]
    lines += ["from numpy.typing import NDArray"] if "NDArray" in text else []
    lines.append(f"from skimage import {', '.join(modules)}")
    if "STRIP" in text:
        lines += ["", f"STRIP = {local_methods.STRIP}"]
    return "\n".join(lines)
