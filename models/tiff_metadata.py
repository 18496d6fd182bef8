"""What a TIFF says about its values: the size of a pixel, black and white, names of channels."""

import math
from typing import Any

import numpy as np
import tifffile

SMALLEST_PIXELS = 10.0  # micrometres; larger ones are those of screens, prints and scanners
UNITS = {  # micrometres; see the OME schema's UnitsLength, and what ImageJ's users type
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **{"nm": 1e-3, "pm": 1e-6, "å": 1e-4, "mm": 1e3, "cm": 1e4, "m": 1e6},
    **{"inch": 25_400.0, "in": 25_400.0, '"': 25_400.0},
}


def stated(
    file: tifffile.TiffFile,
    page: tifffile.TiffPage,
    series: tifffile.TiffPageSeries | None = None,
) -> tuple[tuple[float, float], ...]:
    """The values of black and white, if the file states them: for all channels or for each."""
    whole = page.dtype is not None and page.dtype.kind == "u"
    if file.is_imagej and (said := file.imagej_metadata):
        ranges = said.get("Ranges") or (said.get("min"), said.get("max"))
        pairs = list(zip(ranges[::2], ranges[1::2], strict=False))
        if pairs and all(_is_range(*pair) for pair in pairs):
            return tuple((float(low), float(high)) for low, high in pairs)
    if file.is_ome and whole and series is not None:
        bits = _ome(file).get("SignificantBits", "")
        if bits.isdecimal() and 0 < int(bits) <= page.bitspersample:
            return ((0.0, 2.0 ** int(bits) - 1),)
    for low_tag, high_tag in ((340, 341), (280, 281)):
        low, high = (_first(page.tags.valueof(tag)) for tag in (low_tag, high_tag))
        if low is None:
            low = 0 if whole else None
        if _is_range(low, high):
            return ((float(low), float(high)),)
    if whole and page.bitspersample not in (1, 8, 16, 32, 64):
        return ((0.0, 2.0**page.bitspersample - 1),)
    return ()


def _first(value: Any) -> Any:  # noqa: ANN401 -- a tag holds anything
    return value[0] if isinstance(value, tuple) and value else value


def _is_range(low: Any, high: Any) -> bool:  # noqa: ANN401
    numbers = all(isinstance(each, int | float | np.number) for each in (low, high))
    return numbers and math.isfinite(low) and math.isfinite(high) and bool(low < high)


def _ome(file: tifffile.TiffFile) -> dict[str, str]:
    """The attributes of the first picture in the XML of an OME-TIFF."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(file.ome_metadata or "")  # noqa: S314
    except ElementTree.ParseError:
        return {}
    pixels = next((each for each in root.iter() if each.tag.endswith("}Pixels")), None)
    if pixels is None:
        return {}
    channels = [each.get("Name", "") for each in pixels if each.tag.endswith("}Channel")]
    return {**pixels.attrib, "channels": "\n".join(channels)}


def channel_names(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """The names of the channels, if the file has any."""
    if not file.is_ome:
        return ()
    return tuple(name[:50] for name in _ome(file).get("channels", "").split("\n"))


def pixel_size(file: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Height and width of a pixel in micrometres."""
    size: list[float | None]
    if file.is_ome:
        said = _ome(file)
        size = [
            _length(said.get(f"PhysicalSize{axis}"), said.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "YX"
        ]
    elif file.is_imagej:
        unit = str((file.imagej_metadata or {}).get("unit", ""))
        # ImageJ writes the micro sign as an escape.
        unit = unit.replace("\\u00B5", "µ").replace("\\u00b5", "µ")
        size = [_length(_pitch(page, tag), unit) for tag in (283, 282)]
    elif file.is_lsm:
        said = file.lsm_metadata or {}
        size = [_length(said.get(f"VoxelSize{axis}"), "m") for axis in "YX"]
    else:
        unit = {2: "inch", 3: "cm"}.get(page.tags.valueof(296, 2), "")
        size = [_length(_pitch(page, tag), unit) for tag in (283, 282)]
        if any(each is not None and each > SMALLEST_PIXELS for each in size):
            return None
    if page.tags.valueof(274, 1) in (5, 6, 7, 8):
        size.reverse()
    height, width = size
    return None if height is None or width is None else (height, width)


def _pitch(page: tifffile.TiffPage, tag: int) -> float | None:
    """A pixel's size in the file's own unit."""
    value = page.tags.valueof(tag)
    if not isinstance(value, tuple) or len(value) != 2 or not all(value):
        return None
    return float(value[1] / value[0])


def _length(value: object, unit: str) -> float | None:
    """A length in micrometres; None if it is not a length."""
    try:
        length = float(value) * UNITS[unit.strip().lower()]  # type: ignore[arg-type]
    except (TypeError, ValueError, KeyError):
        return None
    return length if math.isfinite(length) and length > 0 else None
