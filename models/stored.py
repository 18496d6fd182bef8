"""A file's own values, and the picture made of them: stretched to 8 bits, in sRGB, over white."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import color_coding, icc
from models.color_coding import Coding
from models.picture import RGB, Axis, Photo, Picture, Stretch, Values
from models.scaling import strips
from models.stretch import full_range, percentile_range, to_8_bits

STRIP = 2**18  # pixels that are converted at a time: a whole photo's copy can take 400 MB

Allocate = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Stored:
    """One upright picture in its file's own values.

    Attributes
    ----------
    values
        `(height, width)` or `(height, width, channels)`; white is the largest value.
    kind
        "channels" are several grey pictures.
    bits
        Significant bits of a sample.
    alpha
        `(height, width)` of the values' type, and whether colours are premultiplied by it.
    colors
        `(values, 3)` uint8: the colours of a palette, into which the values are indices.
    stated
        The values of black and white, for each channel, if the file states them.
    profile
        An ICC profile.
    camera
        Whether it is a photo whose values need no stretching.
    coding
        The coding of its colours, if stated by code points.
    channels, axes, pixel_size
        As in `Picture`.
    """

    values: Values
    kind: Literal["grey", "color", "cmyk", "channels"]
    bits: int
    alpha: Values | None = None
    multiplied: bool = False
    colors: NDArray[np.uint8] | None = None
    stated: tuple[tuple[float, float], ...] = ()
    profile: bytes | None = None
    camera: bool = False
    coding: Coding | None = None
    channels: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    pixel_size: tuple[float, float] | None = None


def picture_of(stored: Stored, allocate: Allocate, kept: Values | None = None) -> Picture:
    """The picture made of a file's own values.

    Parameters
    ----------
    stored
        The values, and what the file says about them.
    allocate
        Makes the arrays for photo and values, by shape and type.
    kept
        The same values in an array from `allocate`, if they are in one already.
    """
    stretch: Stretch | None = None
    values = stored.values
    height, width = values.shape[:2]
    index = next((axis.index for axis in stored.axes if axis.name == "channel"), 0)
    plane = values[:, :, index] if stored.kind == "channels" else values
    low, high = _stated(stored, index)
    if stored.stated:
        stretch = "stated"
    elif stored.bits > 8 and not stored.camera:
        low, high = percentile_range(plane)
        stretch = "percentiles"
    shallow = values.dtype == np.uint8 and stored.bits in (1, 8)
    grey_or_color = stored.kind != "channels" and stored.colors is None
    unchanged = shallow and grey_or_color and (low, high) == (0, 2**stored.bits - 1)
    colored = stored.colors is not None and not stored.stated
    counted = not (unchanged or colored or stored.kind == "cmyk")
    if counted and kept is None:
        kept = allocate(values.shape, values.dtype)
        kept[...] = values
        # From here on, the memory of the original values can be reused.
        stored, values = replace(stored, values=kept), kept
        plane = values[:, :, index] if stored.kind == "channels" else values

    def strip(rows: slice) -> Image.Image:
        part = plane[rows]
        if stored.colors is not None:
            part = stored.colors[np.minimum(part, len(stored.colors) - 1)]
        elif not unchanged or stored.bits == 1:
            part = to_8_bits(part, low, high)
        return _image(stored, part, rows)

    mode = {"cmyk": "CMYK", "color": "RGB"}.get(stored.kind, "L")
    if stored.colors is not None:
        mode = "RGB"
    convert = to_srgb(mode, stored.profile, stored.coding, is_png=True)
    photo = photo_of_strips((width, height), strip, convert, allocate)
    channels: tuple[str, ...] = RGB
    if counted and stored.kind != "color":
        channels = stored.channels
    return Picture(
        photo=photo,
        values=photo if kept is None else kept,
        size=(height, width),
        shown=(low, high) if counted else None,
        stretch=stretch if counted else None,
        channels=channels,
        axes=stored.axes,
        pixel_size=stored.pixel_size,
    )


def _image(stored: Stored, part: NDArray[np.uint8], rows: slice) -> Image.Image:
    """Some rows, whose values are 8-bit ones already, with their alpha."""
    size = part.shape[1], part.shape[0]
    if stored.kind == "cmyk":
        return Image.frombytes("CMYK", size, part.tobytes())
    if stored.alpha is None:
        return Image.fromarray(np.ascontiguousarray(part))
    alpha = to_8_bits(stored.alpha[rows], *full_range(stored.alpha.dtype, stored.bits))
    both = np.dstack([part, alpha])
    mode = {2: "LA", 4: "RGBA"}[both.shape[2]]
    if stored.multiplied:
        return Image.frombytes(mode.replace("A", "a"), size, both.tobytes()).convert(mode)
    return Image.frombytes(mode, size, both.tobytes())


def _stated(stored: Stored, channel: int) -> tuple[float, float]:
    """The black and white that the file states, or those of the type."""
    if not stored.stated:
        return full_range(stored.values.dtype, stored.bits)
    return stored.stated[channel if channel < len(stored.stated) else 0]


def photo_of_strips(
    size: tuple[int, int],
    strip: Callable[[slice], Image.Image],
    convert: Callable[[Image.Image], Image.Image | Photo],
    allocate: Allocate,
) -> Photo:
    """A photo made from strips of about `STRIP` pixels."""
    width, height = size
    photo: Photo = allocate((height, width, 3), np.dtype(np.uint8))
    for rows in strips(height, width, STRIP):
        photo[rows] = np.asarray(convert(strip(rows)))
    return photo


def to_srgb(
    mode: str,
    profile: bytes | None,
    coding: Coding | None = None,
    is_png: bool = False,
) -> Callable[[Image.Image], Image.Image | Photo]:
    """How strips that are "L", "RGB" or "CMYK", or become so, become sRGB over white."""
    follow = icc.to_srgb(profile, mode)
    recode = color_coding.to_srgb(coding, is_png) if coding else None

    def convert(strip: Image.Image) -> Image.Image | Photo:
        if strip.has_transparency_data:
            layer = strip.convert("RGBA")
            strip = Image.new("RGB", layer.size, "white")
            strip.paste(layer, mask=layer)
        if strip.mode != mode:
            strip = strip.convert("RGB")
        if recode:
            return recode(np.asarray(strip.convert("RGB")))
        if follow and strip.mode == mode:
            return follow(strip)
        return strip if strip.mode == "RGB" else strip.convert("RGB")

    return convert
