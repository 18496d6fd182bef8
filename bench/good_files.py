"""The same small scene as a file in every accepted picture format."""

import io
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from models import images  # noqa: F401  (registers HEIC and JPEG XL with Pillow)


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:  # noqa: ANN401
    """A picture as a file."""
    buffer = io.BytesIO()
    image.copy().save(buffer, file_format, **options)
    return buffer.getvalue()


def scene(height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """A picture that no format compresses to almost nothing."""
    y, x = np.mgrid[:height, :width]
    planes = [2 * x, 2 * y, (x * y) % 251]
    return np.stack(planes, axis=-1).astype(np.uint8)


DEEP = scene().astype(np.uint16) * 257


def tiff(values: NDArray[Any], planes: str | None = None, **options: Any) -> bytes:  # noqa: ANN401
    """A picture as a TIFF of tifffile's, deflated unless said otherwise."""
    buffer = io.BytesIO()
    kind = "rgb" if values.ndim == 3 else "minisblack"
    options = {"compression": "zlib", "photometric": kind, "planarconfig": planes} | options
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def stack(**options: Any) -> bytes:  # noqa: ANN401
    """Three times two pictures in a TIFF."""
    buffer = io.BytesIO()
    values = np.stack([DEEP[:, :, :2] // (1 + number) for number in range(3)])
    tifffile.imwrite(buffer, np.moveaxis(values, 3, 1), **options)
    return buffer.getvalue()


def jxl(values: NDArray[Any]) -> bytes:
    """A picture, or several, as a JPEG XL of imagecodecs', which keeps every depth."""
    return bytes(imagecodecs.jpegxl_encode(values, lossless=True))


@cache
def good() -> dict[str, bytes]:
    """The scene in every accepted format."""
    image = Image.fromarray(scene())
    other = Image.fromarray(255 - scene())
    clear = image.copy()
    clear.putalpha(128)
    grey = np.arange(96 * 128).reshape(96, 128)
    moving = {"save_all": True, "append_images": [other]}
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "jpeg": encode(image, "JPEG", quality=90, exif=exif),
        "progressive jpeg": encode(image, "JPEG", quality=90, progressive=True),
        "cmyk jpeg": encode(image.convert("CMYK"), "JPEG", quality=90),
        "mpo": encode(image, "MPO", **moving),
        "png": encode(image, "PNG"),
        "palette png": encode(image.quantize(16), "PNG", transparency=3),
        "16-bit png": encode(Image.fromarray(grey.astype(np.uint16)), "PNG"),
        "apng": encode(image, "PNG", **moving),
        "webp": encode(image, "WEBP", quality=80),
        "lossless webp": encode(clear, "WEBP", lossless=True),
        "animated webp": encode(image, "WEBP", **moving),
        "gif": encode(image, "GIF"),
        "animated gif": encode(image, "GIF", **moving),
        "bmp": encode(image, "BMP"),
        "palette bmp": encode(image.quantize(16), "BMP"),
        "dib": encode(image, "DIB"),
        "tiff": encode(image, "TIFF"),
        "lzw tiff": encode(image, "TIFF", compression="tiff_lzw"),
        "deflate tiff": encode(image, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg tiff": encode(image, "TIFF", compression="jpeg"),
        "fax tiff": encode(image.convert("1"), "TIFF", compression="group4"),
        "float tiff": encode(Image.fromarray(grey.astype(np.float32)), "TIFF"),
        "tiff of planes": tiff(np.moveaxis(DEEP, 2, 0), "separate", byteorder=">", predictor=2),
        "tiff of tiles": tiff(DEEP, tile=(32, 48)),
        "big tiff of floats": tiff(DEEP / np.float64(65535), bigtiff=True, predictor=3),
        "packed tiff": tiff(DEEP[:, :, 0] >> 4, compression=None, bitspersample=12),
        "zstd tiff": tiff(DEEP.view(np.int16), compression="zstd"),
        "lzma tiff": tiff(DEEP[:, :, 0].astype(np.int32), compression="lzma"),
        "imagej stack": stack(imagej=True, metadata={"axes": "ZCYX", "min": 9, "max": 999}),
        "ome stack": stack(ome=True, metadata={"axes": "TCYX", "PhysicalSizeX": 0.5}),
        "jxl": encode(image, "JXL", quality=80),
        "boxed jxl": encode(image, "JXL", lossless=True, use_container=True),
        "16-bit jxl": jxl(DEEP),
        "float jxl": jxl((DEEP / 65535).astype(np.float32)),
        "animated jxl": jxl(np.stack([scene(), 255 - scene()])),
        "heic": encode(image, "HEIF", quality=80),
        "transparent heic": encode(clear, "HEIF", quality=80),
        "avif": encode(image, "AVIF", quality=80),
        "animated avif": encode(image, "AVIF", **moving),
    }
