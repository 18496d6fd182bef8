"""Reads picture files: any file gives an upright RGB array, or one clear sentence.

All other modules can rely on a photo being an upright `(height, width, 3)` uint8 RGB array with at
most `MAX_PIXELS` pixels.
"""

import io
import logging
import os
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  (registers JPEG XL with Pillow)
from PIL import Image, UnidentifiedImageError

from models import color_coding, icc, jpeg, jxl, tiff
from models.color_coding import Coding
from models.orientation import exif_orientation, upright_image, upright_values
from models.picture import FIRST, Axis, Photo, PhotoError, Picture, Place, Values
from models.scaling import strips
from models.stored import STRIP, Allocate, Stored, photo_of_strips, picture_of, to_srgb

__all__ = [
    "Photo",
    "PhotoError",
    "open_file",
    "open_image",
    "open_photo",
    "open_picture",
]

logger = logging.getLogger(__name__)

# The largest file, and the largest picture; see `set_limits`.
MAX_BYTES, MAX_PIXELS = 25_000_000, 50_000_000
# The longest possible side of a JPEG. A PNG can have a million rows, each of which takes extra
# memory.
MAX_SIDE = 65_535

# Pillow knows about forty formats, many of them rarely used and rarely tested against attacks. Only
# those that cameras, phones and browsers produce are accepted. Pillow opens MPO (several JPEGs in
# one file) as JPEG, so it needs no name here. AVIF comes before HEIF: libheif also accepts AVIF
# files that call themselves "mif1", but cannot decode them.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF", "JXL")

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# How cameras' raw files begin that are not, or not quite, TIFF: Olympus, Panasonic, Fujifilm,
# Sigma, Minolta and an early Canon. Canon's new ones belong to the family of MP4 and HEIC.
RAW = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILM", b"FOVb", b"\0MRM", b"II\x1a\0\0\0HEAP")
# A PNG with one of these chunks states what its values mean; others come from instruments.
COLOR_CHUNKS = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"eXIf")

# libjxl decodes into planes of 4 bytes per value, and does not say when it lacks memory. If the
# planes take more than this, a failure is assumed to be that.
JXL_BYTES, MOST_JXL_BYTES = 12, 300_000_000

pillow_heif.register_heif_opener()

# Pillow warns about odd metadata and large sizes; what matters is checked below. This is set
# globally, because `warnings.catch_warnings` is not safe if several threads read pictures.
warnings.filterwarnings("ignore", module=r"PIL\.")


Source = str | os.PathLike[str] | bytes | BinaryIO


def set_limits(max_bytes: int, max_pixels: int) -> None:
    """Set how large a picture may be, as a file and decoded, for the whole process."""
    global MAX_BYTES, MAX_PIXELS
    MAX_BYTES, MAX_PIXELS = max_bytes, max_pixels


def limits_in(environment: Mapping[str, str]) -> tuple[int, int]:
    """The arguments for `set_limits` in $PETSCOPE_MAX_MEGABYTES and $PETSCOPE_MAX_MEGAPIXELS.

    Raises
    ------
    ValueError
        If one of them is not a number.

    Examples
    --------
    >>> limits_in({"PETSCOPE_MAX_MEGAPIXELS": "80"})
    (25000000, 80000000)
    """
    limits = []
    for name, usual in (("MAX_MEGABYTES", MAX_BYTES), ("MAX_MEGAPIXELS", MAX_PIXELS)):
        given = environment.get(f"PETSCOPE_{name}")
        try:
            limits.append(usual if given is None else int(1_000_000 * float(given)))
        except (ValueError, OverflowError):
            raise ValueError(f"PETSCOPE_{name} is not a number: {given}") from None
    return limits[0], limits[1]


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


def open_picture(
    source: Source, side: int = 0, place: Place = FIRST, allocate: Allocate = np.empty
) -> Picture:
    """Read a picture file: the photo for viewing, and the values for measuring.

    Reads JPEG, PNG, WebP, GIF and APNG, BMP, TIFF, HEIC, AVIF and JPEG XL; applies the orientation,
    converts CMYK, grey and palette pictures, brings the colours of an embedded ICC profile to
    sRGB, and lays transparent pictures over white. The size is checked before anything is decoded.

    Parameters
    ----------
    source
        A path, the bytes of a file, or an open binary file.
    side
        Least number of pixels of the photo's longer side, if the picture has as many; 0 for the
        full size. A JPEG can be decoded at a half, a quarter or an eighth of its size, which takes
        much less time; other pictures are decoded at full size.
    place
        Which picture to read, if the file has several.
    allocate
        Makes the arrays for photo and values, by shape and type; they may be in shared memory.

    Raises
    ------
    PhotoError
        If the file is empty, truncated, not a picture, or too large.

    Examples
    --------
    >>> picture = open_picture("examples/cat_chelsea.png")
    >>> picture.photo.shape, picture.deep
    ((300, 451, 3), False)
    """
    content = _read(source)
    with _explained():
        if content.startswith(RAW) or content[4:12] == b"ftypcrx ":
            raise PhotoError("photo_raw")
        if content.startswith(tiff.MAGIC):
            return _from_tiff(content, place, allocate)
        if content.startswith(PNG) and content[24:25] == b"\x10" and content[25] in (2, 4, 6):
            return _from_deep_png(content, allocate)
        if content.startswith(jxl.MAGIC):
            header = jxl.read_header(content)
            _check_size(header.width, header.height)
            try:
                if header.bits > 8:
                    return _from_deep_jxl(content, header, allocate)
                return _from_pillow(content, side, place, allocate)
            except RuntimeError:  # libjxl does not tell a lack of memory from damage
                if JXL_BYTES * header.width * header.height > MOST_JXL_BYTES:
                    raise MemoryError from None
                raise
        return _from_pillow(content, side, place, allocate)


def open_image(source: Source) -> tuple[Image.Image, Values | None]:
    """The photo of `open_picture` as a Pillow image, and the values for thresholds if they differ.

    A camera's JPEG is not turned into an array in between, which would take half as long as
    decoding.

    Raises
    ------
    PhotoError
        As for `open_picture`.

    Examples
    --------
    >>> photo, counted = open_image("examples/kitten_with_wool.jpg")
    >>> photo.size, counted
    ((1024, 768), None)
    """
    content = _read(source)
    if not content.startswith(JPEG):
        picture = open_picture(content)
        return Image.fromarray(picture.photo), picture.counted if picture.deep else None
    with _explained():
        loaded = _load(content, 0, FIRST)
        upright = loaded.upright
        if upright.mode == "RGB" and icc.to_srgb(upright.info.get("icc_profile"), "RGB") is None:
            return upright, None
        return Image.fromarray(_picture(loaded, np.empty).photo), None


def decodes_reduced(source: str | os.PathLike[str] | bytes, longer: int, side: int) -> bool:
    """Whether `open_picture(source, side)` decodes less than the whole picture.

    Parameters
    ----------
    source
        A path, or the bytes of a file.
    longer
        The picture's longer side in pixels.
    side
        As for `open_picture`.
    """
    if longer < 2 * side:
        return False
    if isinstance(source, bytes):
        return source.startswith(JPEG)
    with open_file(source) as file:
        return file.read(len(JPEG)) == JPEG


@contextmanager
def _explained() -> Iterator[None]:
    """Whatever a decoder raises becomes a `PhotoError`."""
    try:
        yield
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        megapixels = MAX_PIXELS // 1_000_000
        raise PhotoError("photo_far_too_many_pixels", megapixels=megapixels) from None
    except UnidentifiedImageError:  # also many a file that is cut off near its beginning
        raise PhotoError("photo_unknown_format") from None
    except MemoryError:
        raise PhotoError("photo_needs_memory") from None
    except Exception:  # decoders raise almost anything for a damaged file
        raise PhotoError("photo_damaged") from None


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a picture file without reading it.

    Raises
    ------
    PhotoError
        If it is missing, a folder, a pipe or a device.
    """
    try:
        if not Path(path).is_file():  # pipes and devices may never end
            raise FileNotFoundError(path)
        return Path(path).open("rb")
    except OSError:
        raise PhotoError("photo_unreadable") from None


def _read(source: Source) -> bytes:
    """All bytes of the source, or PhotoError when there are none or more than MAX_BYTES."""
    if isinstance(source, bytes):
        content = source
    elif isinstance(source, str | os.PathLike):
        with open_file(source) as file:
            content = file.read(MAX_BYTES + 1)
    else:
        content = source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise PhotoError("photo_too_large", megabytes=MAX_BYTES // 1_000_000)
    if not content:
        raise PhotoError("photo_empty")
    return content


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        megapixels = MAX_PIXELS // 1_000_000
        raise PhotoError("photo_too_many_pixels", width=width, height=height, megapixels=megapixels)
    if max(width, height) > MAX_SIDE:
        raise PhotoError("photo_too_long", width=width, height=height, side=MAX_SIDE)


@dataclass(frozen=True)
class _Loaded:
    """What Pillow made of a file: upright, in the file's colours."""

    upright: Image.Image
    axes: tuple[Axis, ...]
    size: tuple[int, int]  # height and width of the whole picture
    coding: Coding | None
    is_png: bool


def _from_pillow(content: bytes, side: int, place: Place, allocate: Allocate) -> Picture:
    """As `open_picture`, for what Pillow reads."""
    return _picture(_load(content, side, place), allocate)


def _load(content: bytes, side: int, place: Place) -> _Loaded:
    """Decode what Pillow reads; the parameters are those of `open_picture`."""
    if content.startswith(JPEG) and not jpeg.has_end(content):
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(image.width, image.height)
        content = jpeg.with_end(content)
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _check_size(image.width, image.height)
        axes = _seek(image, place)
        width, height = image.size
        if (
            side
            and image.format in ("JPEG", "MPO")
            and decodes_reduced(content, max(width, height), side)
        ):
            # For a HEIC this would be an embedded thumbnail, which may show something else.
            scale = side / max(width, height)
            image.draft(None, (max(int(width * scale), 1), max(int(height * scale), 1)))
        decoded = image.size
        image.load()
        # A wrong size in a container's header can pass the first check.
        _check_size(image.width, image.height)
        shown: Image.Image = image
        if image.format == "JXL":
            shown = _first_frame(image, content)
            if not getattr(image, "jpeg", False):  # else it is upright by its own header
                shown.info.pop("exif", None)
        upright = upright_image(_opaque(_with_transparency(shown, content)))
        size = upright.height, upright.width
        if decoded != (width, height):  # but some containers' headers state another size
            size = (height, width) if upright.size == decoded else (width, height)
        return _Loaded(upright, axes, size, _coding(content, image), image.format == "PNG")


def _picture(loaded: _Loaded, allocate: Allocate) -> Picture:
    """The picture in sRGB, or in its own deeper grey."""
    upright, coding = loaded.upright, loaded.coding
    if upright.mode.startswith("I;16"):
        return _from_deep_grey(upright, loaded.axes, coding, allocate)
    profile = None if coding else upright.info.get("icc_profile")
    convert = to_srgb(_mode(upright), profile, coding, loaded.is_png)
    photo = photo_of_strips(upright.size, partial(_crop, upright), convert, allocate)
    return Picture(photo, photo, loaded.size, axes=loaded.axes)


def _seek(image: Image.Image, place: Place) -> tuple[Axis, ...]:
    """Go to a frame of an animation, or to a page."""
    if image.format in ("JPEG", "MPO"):
        return ()  # the others are the other eye's view, or data for brighter screens
    try:
        count = getattr(image, "n_frames", 1)
    except (EOFError, OSError, ValueError):  # the part after the first is damaged
        count = 1
    page = image.tell() if place.page is None else place.page  # a HEIC's first may be any
    if page >= count:
        raise PhotoError("photo_no_such_place", axis="page", count=count)
    if count == 1:
        return ()
    image.seek(page)
    return (Axis("page", count, page),)


def _first_frame(image: Image.Image, content: bytes) -> Image.Image:
    """The first frame of a JPEG XL: Pillow's plug-in gives an animation's last one."""
    if not jxl.read_header(content).animated:
        return image
    frame = Image.fromarray(imagecodecs.jpegxl_decode(content, index=0))
    frame.info |= image.info
    return frame


def _with_transparency(image: Image.Image, content: bytes) -> Image.Image:
    """Scale the transparent grey of a PNG with 1, 2 or 4 bits to Pillow's 8 bits."""
    transparent = image.info.get("transparency")
    if image.format == "PNG" and image.mode in ("1", "L") and isinstance(transparent, int):
        depth = content[24]
        if depth < 8:
            image.info["transparency"] = transparent * 255 // (2**depth - 1)
    return image


def _opaque(image: Image.Image) -> Image.Image:
    """A BMP whose alpha is 0 everywhere is opaque: its writer left the byte unused."""
    bmp = image.format in ("BMP", "DIB") and image.mode == "RGBA"
    return image.convert("RGB") if bmp and image.getchannel("A").getextrema() == (0, 0) else image


def _coding(content: bytes, image: Image.Image) -> Coding | None:
    """The coding of the colours, if the file states it by code points and that applies."""
    profile = image.info.get("icc_profile")
    coding = None
    if image.format == "PNG":
        coding = color_coding.of_png(content)
    elif image.format in ("AVIF", "HEIF"):
        coding = color_coding.of_heif(content)
        # A profile takes precedence, but there is none for HDR that Little CMS understands.
        if coding and not coding.is_hdr and profile:
            coding = None
    return coding or color_coding.of_profile(profile)


def _from_deep_jxl(content: bytes, header: jxl.Header, allocate: Allocate) -> Picture:
    """The picture of a JPEG XL with more than 8 bits or with floats; Pillow reads only 8 bits."""
    with Image.open(io.BytesIO(content), formats=["JXL"]) as image:
        profile = image.info.get("icc_profile")
    values = imagecodecs.jpegxl_decode(content, index=0)  # in the file's own numbers
    _check_size(values.shape[1], values.shape[0])
    planes = values.shape[2] if values.ndim == 3 else 1
    colors = 3 if planes > 2 else 1
    alpha = values[:, :, colors] if planes > colors else None
    if planes > 1:
        values = values[:, :, :3] if colors == 3 else values[:, :, 0]
    coding = color_coding.of_profile(profile)
    stored = Stored(
        values,
        "color" if colors == 3 else "grey",
        header.bits,
        alpha=alpha,
        profile=None if coding else profile,
        camera=True,
        coding=coding,
    )
    return picture_of(stored, allocate)


def _from_deep_png(content: bytes, allocate: Allocate) -> Picture:
    """The picture of a 16-bit PNG in colour or with alpha, of which Pillow reads only 8 bits."""
    width, height = struct.unpack_from(">II", content, 16)
    _check_size(width, height)
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        orientation, info = exif_orientation(image), image.info
    decoded = imagecodecs.png_decode(content)
    if decoded.dtype != np.uint16 or decoded.shape[:2] != (height, width):
        raise ValueError("This is no PNG of 16 bits.")
    values = upright_values(decoded, orientation)
    colors = 3 if values.shape[2] > 2 else 1
    alpha = values[:, :, colors] if values.shape[2] > colors else None
    coding = color_coding.of_png(content) or color_coding.of_profile(info.get("icc_profile"))
    kinds = [kind for kind, _ in color_coding.png_chunks(content)]
    stored = Stored(
        values[:, :, :3] if colors == 3 else values[:, :, 0],
        "color" if colors == 3 else "grey",
        16,
        alpha=alpha,
        profile=None if coding else info.get("icc_profile"),
        camera=any(kind in kinds for kind in COLOR_CHUNKS),
        coding=coding,
    )
    return picture_of(stored, allocate)


def _from_deep_grey(
    image: Image.Image, axes: tuple[Axis, ...], coding: Coding | None, allocate: Allocate
) -> Picture:
    """The picture of a 16-bit grey PNG."""
    values = allocate((image.height, image.width), np.dtype(np.uint16))
    for rows in strips(image.height, image.width, STRIP):
        values[rows] = np.asarray(_crop(image, rows))
    alpha = None
    if (transparent := image.info.get("transparency")) is not None:
        alpha = np.where(values == transparent, 0, 65535).astype(np.uint16)
    profile = image.info.get("icc_profile")
    camera = bool(profile or coding)
    stored = Stored(values, "grey", 16, alpha=alpha, profile=profile, camera=camera, coding=coding)
    return picture_of(replace(stored, axes=axes), allocate, values)


def _from_tiff(content: bytes, place: Place, allocate: Allocate) -> Picture:
    """As `open_picture`, for TIFF."""
    try:
        return picture_of(tiff.read(content, place, _check_size), allocate)
    except tiff.OtherReaderError:
        return _from_pillow(content, 0, place, allocate)


def _crop(image: Image.Image, rows: slice) -> Image.Image:
    return image.crop((0, rows.start, image.width, rows.stop))


def _mode(image: Image.Image) -> str:
    return image.mode if image.mode in ("L", "CMYK") else "RGB"
