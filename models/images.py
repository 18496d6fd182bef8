"""The door for pictures from outside: any file in, an upright RGB array or one clear sentence out.

Everything behind this module may rely on a photo being a `(height, width, 3)` uint8 RGB array,
upright, with at most `MAX_PIXELS` pixels.
"""

import io
import logging
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from models.picture import FIRST, Photo, PhotoError, Picture, Place

__all__ = ["Photo", "PhotoError", "open_file", "open_photo", "open_picture", "open_preview"]

logger = logging.getLogger(__name__)

MAX_BYTES = int(1_000_000 * float(os.environ.get("PETSCOPE_MAX_MEGABYTES", "25")))
MAX_PIXELS = int(1_000_000 * float(os.environ.get("PETSCOPE_MAX_MEGAPIXELS", "50")))
# The longest side of a JPEG. A PNG can have a million rows, and each takes memory by itself.
MAX_SIDE = 65_535

# Pillow knows some forty formats, many of them rarely used and rarely attacked in tests. Only what
# cameras, phones and browsers produce is let in. Pillow opens MPO (several JPEGs in one file) as
# JPEG and knows no name for it here. AVIF goes before HEIF: libheif also takes the AVIF files that
# call themselves "mif1", and then cannot decode them.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF")

STRIP = 2**18  # pixels that are converted at a time: a whole photo's copy can take 400 MB

pillow_heif.register_heif_opener()

# Pillow warns about odd metadata and large sizes; what matters is checked below. Once for all,
# because `warnings.catch_warnings` is not safe where several threads read pictures.
warnings.filterwarnings("ignore", module=r"PIL\.")


Source = str | os.PathLike[str] | bytes | BinaryIO
Allocate = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]


def open_photo(source: Source) -> Photo:
    """Read a picture file as an upright RGB photo: `open_picture(source).photo`.

    Returns
    -------
    `(height, width, 3)` uint8 array.

    Raises
    ------
    PhotoError
        As for `open_picture`.

    Examples
    --------
    >>> open_photo("examples/cat_chelsea.png").shape
    (300, 451, 3)
    """
    return open_picture(source).photo


def open_preview(source: Source, side: int) -> tuple[Photo, tuple[int, int]]:
    """The photo of `open_picture(source, side)`, and height and width of the whole one.

    Raises
    ------
    PhotoError
        As for `open_picture`.

    Examples
    --------
    >>> photo, size = open_preview("examples/kitten_with_wool.jpg", 400)
    >>> photo.shape, size
    ((384, 512, 3), (768, 1024))
    """
    picture = open_picture(source, side)
    return picture.photo, picture.size


def open_picture(
    source: Source, side: int = 0, place: Place = FIRST, allocate: Allocate = np.empty
) -> Picture:
    """Read a picture file: the photo to look at, and the values to count.

    Reads JPEG, PNG, WebP, GIF and APNG, BMP, TIFF, HEIC and AVIF; applies the orientation,
    converts CMYK, grey and palette pictures, brings the colours of an embedded ICC profile to
    sRGB, and lays transparent pictures over white. The size is checked before anything is decoded.

    Parameters
    ----------
    source
        A path, the bytes of a file, or an open binary file.
    side
        How many pixels the longer side of the photo has at least, where the picture's own has as
        many; 0 for the whole picture. A JPEG can be decoded at a half, a quarter or an eighth of
        its size, which takes much less time than all of it; other pictures come whole.
    place
        Which picture, of a file with several.
    allocate
        Makes the arrays of a shape and type that photo and values are written to; they may lie in
        shared memory.

    Raises
    ------
    PhotoError
        When the file is empty, cut off, not a picture, or too large.

    Examples
    --------
    >>> picture = open_picture("examples/cat_chelsea.png")
    >>> picture.photo.shape, picture.deep
    ((300, 451, 3), False)
    """
    content = _read(source)
    if not content:
        raise PhotoError("photo_empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(image.width, image.height)
            width, height = image.size
            if side and max(width, height) >= 2 * side:
                scale = side / max(width, height)
                image.draft(None, (max(int(width * scale), 1), max(int(height * scale), 1)))
            decoded = image.size
            photo = _to_rgb(image, allocate)
            size = photo.shape[0], photo.shape[1]
            if decoded != (width, height):  # but the header of some containers tells another size
                size = (height, width) if image.size == decoded else (width, height)
            return Picture(photo, photo, size)
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        megapixels = MAX_PIXELS // 1_000_000
        raise PhotoError("photo_far_too_many_pixels", megapixels=megapixels) from None
    except UnidentifiedImageError:  # also many a file that is cut off near its beginning
        raise PhotoError("photo_unknown_format") from None
    except MemoryError:
        raise PhotoError("photo_needs_memory") from None
    except Exception:  # decoders raise almost anything on a damaged file
        raise PhotoError("photo_damaged") from None


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a picture file without reading it.

    Raises
    ------
    PhotoError
        When it is missing, a folder, a pipe or a device.
    """
    try:
        if not Path(path).is_file():  # pipes and devices may never end
            raise FileNotFoundError(path)
        return Path(path).open("rb")
    except OSError:
        raise PhotoError("photo_unreadable") from None


def _read(source: Source) -> bytes:
    """All bytes of the source, or PhotoError when there are more than MAX_BYTES."""
    if isinstance(source, bytes):
        content = source
    elif isinstance(source, str | os.PathLike):
        with open_file(source) as file:
            content = file.read(MAX_BYTES + 1)
    else:
        content = source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise PhotoError("photo_too_large", megabytes=MAX_BYTES // 1_000_000)
    return content


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        megapixels = MAX_PIXELS // 1_000_000
        raise PhotoError("photo_too_many_pixels", width=width, height=height, megapixels=megapixels)
    if max(width, height) > MAX_SIDE:
        raise PhotoError("photo_too_long", width=width, height=height, side=MAX_SIDE)


def _to_rgb(image: Image.Image, allocate: Allocate) -> Photo:
    """Decode, turn upright and convert to 8-bit RGB."""
    image.load()
    # A wrong size in the header of a container can hide behind the first check.
    _check_size(image.width, image.height)
    _turn_upright(image)
    convert = _deep_to_grey(image) if _is_deep(image) else _to_srgb(image)
    photo = allocate((image.height, image.width, 3), np.dtype(np.uint8))
    for rows, strip in _strips(image):
        photo[rows] = convert(strip)
    return photo


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """The picture in strips of about `STRIP` pixels, each with its rows."""
    count = max(1, STRIP // image.width)
    for top in range(0, image.height, count):
        bottom = min(top + count, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _to_srgb(image: Image.Image) -> Callable[[Image.Image], Image.Image | Photo]:
    """How strips of a picture with 8 bits a channel become sRGB."""
    mode = image.mode if image.mode in ("L", "CMYK") else "RGB"
    follow = _profile_to_srgb(image, mode)

    def convert(strip: Image.Image) -> Image.Image | Photo:
        if strip.has_transparency_data:
            layer = strip.convert("RGBA")
            strip = Image.new("RGB", layer.size, "white")
            strip.paste(layer, mask=layer)
        if strip.mode != mode:
            strip = strip.convert("RGB")
        if follow and strip.mode == mode:
            return follow(strip)
        return strip if strip.mode == "RGB" else strip.convert("RGB")

    return convert


def _profile_to_srgb(
    image: Image.Image, mode: str
) -> Callable[[Image.Image], Image.Image | Photo] | None:
    """What the embedded ICC profile asks for; None where that is nothing, or nonsense."""
    content = image.info.get("icc_profile")
    if not content:
        return None
    try:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        transform = ImageCms.ImageCmsTransform(profile, srgb, mode, "RGB")
        if mode != "RGB":
            return transform.apply
        # Most profiles are sRGB's own under one of many names; a photo need not be changed by it.
        colors = Image.fromarray(_COLORS)
        changed = np.asarray(transform.apply(colors))
        if _most_different(changed, _COLORS) <= 2:
            return None
    except MemoryError:
        raise
    except Exception:  # a profile for another kind of picture, or a damaged one
        logger.debug("The colour profile cannot be used.", exc_info=True)
        return None
    try:
        tables = _profile_tables(content, srgb.tobytes())
        if _most_different(_look_up(tables, colors), changed) <= 2:
            return partial(_look_up, tables)
    except (ValueError, KeyError, struct.error, np.linalg.LinAlgError):
        logger.debug("The colour profile is more than curves and a matrix.", exc_info=True)
    return transform.apply


def _most_different(one: Photo, other: Photo) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


# Eighteen values of each channel, with each other.
_COLORS = np.stack(np.meshgrid(*[np.arange(0, 256, 15, np.uint8)] * 3), -1).reshape(18, -1, 3)


# The wheels of Pillow 12 have Little CMS compiled without optimisation: it takes 35 ns a pixel.
# Cameras and phones embed profiles of three curves and a matrix, which are sums of table entries.
# A sum holds three linear values of 16 bits, where 0 is _ZERO and 1 is _ONE more: colours that
# sRGB lacks have values below 0 and above 1.
_ZERO, _ONE = 3 * 2**13, 2**14

Tables = tuple[NDArray[np.int64], NDArray[np.uint8]]


def _look_up(tables: Tables, image: Image.Image) -> Photo:
    """The colours of an RGB picture in sRGB, by the tables of `_profile_tables`."""
    linear, encoded = tables
    values = np.asarray(image)
    # "clip" finds nothing to clip; it is the mode that makes no copy.
    packed = np.take(linear[0], values[:, :, 0], mode="clip")
    packed += np.take(linear[1], values[:, :, 1], mode="clip")
    packed += np.take(linear[2], values[:, :, 2], mode="clip")
    photo = np.empty(values.shape, np.uint8)
    for channel in range(3):
        photo[:, :, channel] = np.take(encoded, packed & 0xFFFF, mode="clip")
        packed >>= 16
    return photo


def _profile_tables(content: bytes, srgb: bytes) -> Tables:
    """Tables that bring colours from one RGB profile of curves and a matrix to another, sRGB.

    Returns
    -------
    `(3, 256)` int64: what a value of a channel adds to red, green and blue, packed; and `(65536,)`
    uint8: sRGB's value for each of the packed ones.

    Raises
    ------
    ValueError, KeyError, struct.error, LinAlgError
        When the profile is of another kind, or damaged.
    """
    curves, matrix = _curves_and_matrix(content)
    srgb_curves, srgb_matrix = _curves_and_matrix(srgb)
    mixed = np.linalg.solve(srgb_matrix, matrix)
    parts = np.rint(_ONE * mixed[:, :, np.newaxis] * curves).astype(np.int64)  # to, from, value
    parts[:, 0] += _ZERO
    if parts.min(2).sum(1).min() < 0 or parts.max(2).sum(1).max() >= 2**16:
        raise ValueError("The colours lie far outside of sRGB.")
    linear = parts[0] + (parts[1] << 16) + (parts[2] << 32)
    values = (np.arange(2**16) - _ZERO) / _ONE
    return linear, np.rint(np.interp(values, srgb_curves[0], np.arange(256))).astype(np.uint8)


def _curves_and_matrix(profile: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The linear values of each channel, `(3, 256)`, and the matrix to XYZ, of an ICC profile.

    ICC.1:2022, sections 7.3, 10.6, 10.18 and 10.31.
    """
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for number in range(min(count, 100)):
        name, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        tags[name] = profile[start : start + size]
    curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
    columns = [_fixed(tags[name], 3, 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return curves, np.stack(columns, 1)


def _curve(tag: bytes) -> NDArray[np.float64]:
    """The linear values of a channel's 256 values, by a curve of an ICC profile."""
    values = np.linspace(0, 1, 256)
    if tag[:4] == b"para":
        numbers = _fixed(tag, {0: 1, 3: 5}[int.from_bytes(tag[8:10])], 12)
        gamma, a, b, c, d = [*numbers, 1, 0, 0, 0][:5]
        return np.where(values < d, c * values, np.maximum(a * values + b, 0) ** gamma)
    if tag[:4] != b"curv":
        raise ValueError("This is not a curve.")
    points = np.frombuffer(tag, ">u2", int.from_bytes(tag[8:12]), 12)
    if len(points) < 2:
        return values ** (points[0] / 256 if len(points) else 1)
    return np.interp(values, np.linspace(0, 1, len(points)), points / 65535)


def _fixed(tag: bytes, count: int, start: int) -> NDArray[np.float64]:
    """Fixed-point numbers of an ICC profile."""
    return np.frombuffer(tag, ">i4", count, start) / 65536


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place; with damaged EXIF the picture stays as it is."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # the parser raises almost anything on damaged data
        logger.debug("The EXIF data is damaged.", exc_info=True)


def _is_deep(image: Image.Image) -> bool:
    """Whether the picture is grey with 16 or 32 bits a pixel."""
    return image.mode in ("F", "I") or image.mode.startswith("I;")


def _deep_to_grey(image: Image.Image) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """How strips of a deep picture become 8-bit grey in three equal channels.

    16-bit values are divided by 257, so that 65535 becomes 255. Float and 32-bit values have no
    agreed white: [0, 1], [0, 255] and [0, 65535] are taken as such, anything else is stretched
    from its minimum to its maximum.
    """
    low, high = (0.0, 65535.0) if image.mode.startswith("I;") else _finite_range(image)
    transparent = image.info.get("transparency")  # the one grey value that a PNG declares so

    def convert(strip: Image.Image) -> NDArray[np.uint8]:
        values = np.asarray(strip)
        grey = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
        if low < 0 or high > 65535:
            grey -= low
            grey /= max(high - low, np.finfo(np.float64).tiny)
            grey *= 255
        elif high > 255:
            grey /= 257
        elif high <= 1 and np.issubdtype(values.dtype, np.floating):
            grey *= 255
        np.rint(grey, out=grey)
        eight = grey.astype(np.uint8)
        if transparent is not None:
            eight[values == transparent] = 255
        return eight[:, :, np.newaxis]

    return convert


def _finite_range(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest value of a picture that are finite; zeros where none is."""
    lows, highs = [], []
    for _, strip in _strips(image):
        values = np.asarray(strip)
        finite = values[np.isfinite(values)]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    return min(lows, default=0.0), max(highs, default=0.0)
