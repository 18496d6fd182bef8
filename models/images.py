"""The door for pictures from outside: any file in, an upright RGB array or one clear sentence out.

Everything behind this module may rely on a photo being a `(height, width, 3)` uint8 RGB array,
upright, with at most `MAX_PIXELS` pixels.
"""

import io
import logging
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

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

pillow_heif.register_heif_opener()

# Pillow warns about odd metadata and large sizes; what matters is checked below. Once for all,
# because `warnings.catch_warnings` is not safe where several threads read pictures.
warnings.filterwarnings("ignore", module=r"PIL\.")


class PhotoError(ExplainedError):
    """A picture that cannot be used; the text is one sentence for the person who sent it."""


def open_photo(source: str | os.PathLike[str] | bytes | BinaryIO) -> Photo:
    """Read a picture file as an upright RGB photo.

    Reads JPEG, PNG, WebP, GIF and APNG (their first frame), BMP, TIFF, HEIC and AVIF; applies the
    EXIF orientation, converts CMYK, grey, palette, 16-bit and float pictures, and lays
    transparent ones over white. The size is checked before anything is decoded.

    Parameters
    ----------
    source
        A path, the bytes of a file, or an open binary file.

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
            return _to_rgb(image)
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


def _read(source: str | os.PathLike[str] | bytes | BinaryIO) -> bytes:
    """All bytes of the source, or PhotoError when there are more than MAX_BYTES."""
    if isinstance(source, bytes):
        content = source
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            if not path.is_file():  # pipes and devices may never end
                raise FileNotFoundError(path)
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError:
            raise PhotoError("photo_unreadable") from None
    else:
        content = source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise PhotoError("photo_too_large", megabytes=MAX_BYTES // 1_000_000)
    return content


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        megapixels = MAX_PIXELS // 1_000_000
        raise PhotoError("photo_too_many_pixels", width=width, height=height, megapixels=megapixels)


def _to_rgb(image: Image.Image) -> Photo:
    """Decode, turn upright and convert to 8-bit RGB."""
    image.load()
    # A wrong size in the header of a container can hide behind the first check.
    _check_size(image.width, image.height)
    _turn_upright(image)
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        values = np.asarray(image)
        grey = _to_8_bit(values)
        if "transparency" in image.info:  # the one grey value that a PNG declares transparent
            grey[values == image.info["transparency"]] = 255
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    # `convert` copies even where nothing is to convert: 200 MB for the largest photo.
    if image.has_transparency_data:
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    elif image.mode != "RGB":
        image = image.convert("RGB")
    return np.array(image)


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place; with damaged EXIF the picture stays as it is."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # the parser raises almost anything on damaged data
        logger.debug("The EXIF data is damaged.", exc_info=True)


def _to_8_bit(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey values of a deep picture as uint8.

    16-bit values are divided by 257, so that 65535 becomes 255. Float and 32-bit values have no
    agreed white: [0, 1], [0, 255] and [0, 65535] are taken as such, anything else is stretched
    from its minimum to its maximum.
    """
    if values.dtype.itemsize == 2:  # uint16 in either byte order
        scaled: NDArray[np.float32] = np.divide(values, 257, dtype=np.float32)
        np.rint(scaled, out=scaled)
        return scaled.astype(np.uint8)
    # One float64 copy, changed in place: it is 400 MB for the largest photo.
    grey = values.astype(np.float64)
    finite = np.isfinite(grey)
    low, high = 0.0, 0.0
    if finite.any():
        low = float(grey.min(where=finite, initial=np.inf))
        high = float(grey.max(where=finite, initial=-np.inf))
    np.nan_to_num(grey, copy=False, nan=low, posinf=high, neginf=low)
    if low < 0 or high > 65535:
        grey -= low
        grey /= max(high - low, np.finfo(np.float64).tiny)
        grey *= 255
    elif high > 255:
        grey /= 257
    elif high <= 1 and np.issubdtype(values.dtype, np.floating):
        grey *= 255
    np.rint(grey, out=grey)
    return grey.astype(np.uint8)
