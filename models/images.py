"""The door for pictures from outside: any file in, an upright RGB array or one clear sentence out.

Everything behind this module may rely on a photo being a `(height, width, 3)` uint8 RGB array,
upright, with at most `MAX_PIXELS` pixels.
"""

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from models.errors import ExplainedError

logger = logging.getLogger(__name__)

Photo = NDArray[np.uint8]
"""A `(height, width, 3)` uint8 RGB array, upright."""

MAX_BYTES = int(1_000_000 * float(os.environ.get("PETSCOPE_MAX_MEGABYTES", "25")))
MAX_PIXELS = int(1_000_000 * float(os.environ.get("PETSCOPE_MAX_MEGAPIXELS", "50")))

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


class PhotoError(ExplainedError):
    """A picture that cannot be used; the text is one sentence for the person who sent it."""


def _allocate(shape: tuple[int, int, int]) -> Photo:
    return np.empty(shape, np.uint8)


def open_photo(
    source: str | os.PathLike[str] | bytes | BinaryIO,
    allocate: Callable[[tuple[int, int, int]], Photo] = _allocate,
) -> Photo:
    """Read a picture file as an upright RGB photo.

    Reads JPEG, PNG, WebP, GIF and APNG (their first frame), BMP, TIFF, HEIC and AVIF; applies the
    EXIF orientation, converts CMYK, grey, palette, 16-bit and float pictures, brings the colours of
    an embedded ICC profile to sRGB, and lays transparent pictures over white. The size is checked
    before anything is decoded.

    Parameters
    ----------
    source
        A path, the bytes of a file, or an open binary file.
    allocate
        Makes the array of a shape that the photo is written to; it may lie in shared memory.

    Returns
    -------
    `(height, width, 3)` uint8 array.

    Raises
    ------
    PhotoError
        When the file is empty, cut off, not a picture, or too large.

    Examples
    --------
    >>> open_photo("examples/cat_chelsea.png").shape
    (300, 451, 3)
    """
    content = _read(source)
    if not content:
        raise PhotoError("photo_empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(image.width, image.height)
            return _to_rgb(image, allocate)
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


def _read(source: str | os.PathLike[str] | bytes | BinaryIO) -> bytes:
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


def _to_rgb(image: Image.Image, allocate: Callable[[tuple[int, int, int]], Photo]) -> Photo:
    """Decode, turn upright and convert to 8-bit RGB."""
    image.load()
    # A wrong size in the header of a container can hide behind the first check.
    _check_size(image.width, image.height)
    _turn_upright(image)
    convert = _deep_to_grey(image) if _is_deep(image) else _to_srgb(image)
    photo = allocate((image.height, image.width, 3))
    for rows, strip in _strips(image):
        photo[rows] = convert(strip)
    return photo


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """The picture in strips of about `STRIP` pixels, each with its rows."""
    count = max(1, STRIP // image.width)
    for top in range(0, image.height, count):
        bottom = min(top + count, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _to_srgb(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """How strips of a picture with 8 bits a channel become sRGB."""
    transform = _profile_to_srgb(image)

    def convert(strip: Image.Image) -> Image.Image:
        if strip.has_transparency_data:
            layer = strip.convert("RGBA")
            strip = Image.new("RGB", layer.size, "white")
            strip.paste(layer, mask=layer)
        if transform and strip.mode == transform.input_mode:
            return transform.apply(strip)
        strip = strip.convert("RGB")
        if transform and transform.input_mode == "RGB":
            return transform.apply_in_place(strip)
        return strip

    return convert


def _profile_to_srgb(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """What the embedded ICC profile asks for; None where that is nothing, or nonsense."""
    content = image.info.get("icc_profile")
    if not content:
        return None
    mode = image.mode if image.mode in ("L", "CMYK") else "RGB"
    try:
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(content)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
        )
        if mode != "RGB":
            return transform
        # Most profiles are sRGB's own under one of many names; a photo need not be changed by it.
        colors = Image.fromarray(_COLORS)
        changed = np.asarray(transform.apply(colors)).astype(np.int16)
        return transform if np.abs(changed - _COLORS).max() > 2 else None
    except MemoryError:
        raise
    except Exception:  # a profile for another kind of picture, or a damaged one
        logger.debug("The colour profile cannot be used.", exc_info=True)
        return None


# Eighteen values of each channel, with each other.
_COLORS = np.stack(np.meshgrid(*[np.arange(0, 256, 15, np.uint8)] * 3), -1).reshape(18, -1, 3)


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
