"""Hostile picture files, and how the app's decoders cope with them.

    python -m bench.hostile

Makes hundreds of files that are cut off, damaged, lying, huge or no pictures at all, lets the
decoders of `serving.decoding` read each, and prints how that ended: in a photo or in a sentence for
the visitor, after how much time, and with how much memory. It fails if a file took more than 5 s or
500 MB of its decoder's own memory, or ended in anything else. Pixels come back in shared memory, at
most 9 bytes each, which is counted separately.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import io
import itertools
import os
import random
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Thread
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

import documents
from models.images import PhotoError
from serving.decoding import Decoder

KINDS = {
    "cut": "cut off at any place",
    "damaged": "with changed bytes",
    "lying": "with a header that lies about the size",
    "bomb": "small files of huge pictures",
    "sides": "1 pixel wide or high",
    "frames": "with very many frames or pages",
    "metadata": "with broken EXIF, ICC profile or XMP",
    "mixed": "two formats in one file, or one in the other",
    "other": "no pictures, or formats that are not let in",
    "numbers": "float pictures with NaN and infinity",
}
START, END = "<!-- pictures: written by bench.hostile -->", "<!-- /pictures -->"


@dataclass(frozen=True)
class Hostile:
    """A file that is meant to do harm.

    Attributes
    ----------
    kind
        Of `KINDS`.
    name
        What is wrong with it.
    make
        Gives its bytes, each time the same.
    """

    kind: str
    name: str
    make: Callable[[], bytes]


@dataclass(frozen=True)
class Outcome:
    """How reading a file ended.

    Attributes
    ----------
    answer
        "photo", or the key of the sentence.
    seconds
        Processor time, which does not depend on what else the machine does; clock time where that
        is unknown.
    memory, shared
        Bytes that the decoder took of its own on top of what it had before, and of shared memory.
    survived
        Whether the decoder continues.
    """

    answer: str
    seconds: float
    memory: int
    shared: int
    survived: bool


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


def corpus(heavy: bool = True) -> list[Hostile]:
    """All hostile files, or only those that are made and read quickly."""
    makers = (
        cut_off,
        damaged,
        lying,
        one_pixel_sides,
        broken_metadata,
        mixed,
        others,
        odd_numbers,
        *((bombs, many_frames) if heavy else ()),
    )
    return list(itertools.chain.from_iterable(maker() for maker in makers))


def cut_off() -> Iterator[Hostile]:
    """Each good file, cut off in its header, its middle and its end."""

    def make(name: str, share: float) -> bytes:
        content = good()[name]
        return content[: max(1, int(len(content) * share))]

    for name in good():
        for share in (0.02, 0.1, 0.5, 0.9, 0.99):
            yield Hostile("cut", f"{name} cut at {share:.0%}", partial(make, name, share))


def damaged() -> Iterator[Hostile]:
    """Each good file with a few changed bytes, in its header or anywhere."""

    def make(name: str, changes: int, reach: float) -> bytes:
        content = bytearray(good()[name])
        chance = random.Random(f"{name} {changes} {reach}")  # noqa: S311
        for _ in range(changes):
            content[chance.randrange(max(1, int(len(content) * reach)))] = chance.randrange(256)
        return bytes(content)

    for name in good():
        for changes, reach in ((1, 0.05), (4, 0.05), (3, 1.0), (50, 1.0)):
            said = f"{name} with {changes} bytes changed in its first {reach:.0%}"
            yield Hostile("damaged", said, partial(make, name, changes, reach))


def lying() -> Iterator[Hostile]:
    """Good files whose headers state another size."""
    sizes = [(0, 0), (1, 65535), (65535, 65535), (7000, 7000), (16383, 16383), (128, 97)]

    def patch(name: str, marker: bytes, skip: int, layout: str, values: Sequence[int]) -> bytes:
        content = bytearray(good()[name])
        struct.pack_into(layout, content, content.index(marker) + skip, *values)
        if name.endswith("png"):
            content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        return bytes(content)

    for width, height in sizes:
        high, size = (height, width), (width, height)
        for name, marker, skip, layout, values in (
            ("png", b"IHDR", 4, ">II", size),
            ("16-bit png", b"IHDR", 4, ">II", size),
            ("jpeg", b"\xff\xc0", 5, ">HH", high),
            ("progressive jpeg", b"\xff\xc2", 5, ">HH", high),
            ("gif", b"GIF8", 6, "<HH", size),
            ("bmp", b"BM", 18, "<ii", size),
            ("palette bmp", b"BM", 18, "<ii", (width, -height)),
            ("webp", b"\x9d\x01\x2a", 3, "<HH", (width % 16384, height % 16384)),
            ("heic", b"ispe", 8, ">II", size),
            ("avif", b"ispe", 8, ">II", size),
        ):
            said = f"{name} that says {width} x {height}"
            yield Hostile("lying", said, partial(patch, name, marker, skip, layout, values))
    tags = (256, 257, 258, 259, 262, 273, 277, 278, 279)
    more = (254, 270, 282, 284, 317, 322, 323, 324, 325, 339)
    for name in ("tiff", "lzw tiff", "jpeg tiff", "tiff of tiles", "zstd tiff", "imagej stack"):
        for tag in (*tags, *(more if name not in ("tiff", "lzw tiff", "jpeg tiff") else ())):
            yield Hostile("lying", f"{name} with a huge tag {tag}", partial(_with_tag, name, tag))
    for width, height in sizes[1:]:
        said = f"jxl that says {width} x {height}"
        yield Hostile("lying", said, partial(_lying_jxl, width, height))


def _lying_jxl(width: int, height: int) -> bytes:
    """A JPEG XL whose header states another size: 30 bits each, the lowest first."""
    content = good()["jxl"]
    rest = int.from_bytes(content[2:], "little") >> 40
    size = 0 | 3 << 1 | (height - 1) << 3 | 0 << 33 | 3 << 36 | (width - 1) << 38
    bits = size | rest << 68
    return content[:2] + bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _with_tag(name: str, tag: int) -> bytes:
    content = bytearray(good()[name])
    directory = struct.unpack_from("<I", content, 4)[0]
    for entry in range(struct.unpack_from("<H", content, directory)[0]):
        place = directory + 2 + 12 * entry
        if struct.unpack_from("<H", content, place)[0] == tag:
            struct.pack_into("<I", content, place + 8, 2**31 - 1)
    return bytes(content)


def _png(header: bytes, data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    parts = ((b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in parts
    )


def _flat_png(width: int, height: int, depth: int, color: int) -> bytes:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    pixels = bytes(1 + (width * channels * depth + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(pixels) for _ in range(height)) + packer.flush()
    return _png(struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0), data)


def _flat(mode: str, file_format: str, options: dict[str, Any]) -> bytes:
    return encode(Image.new(mode, (7000, 7000)), file_format, **options)


def bombs() -> Iterator[Hostile]:
    """Small files of pictures of just the allowed size, and small chunks that unpack to a lot."""
    for depth, color in ((1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 4), (8, 6), (16, 6)):
        said = f"flat png of 49 megapixels, {depth} bit, colour type {color}"
        yield Hostile("bomb", said, partial(_flat_png, 7000, 7000, depth, color))
    yield Hostile("bomb", "png that is 49 million wide", partial(_flat_png, 49_000_000, 1, 8, 0))
    yield Hostile("bomb", "png that is 49 million high", partial(_flat_png, 1, 49_000_000, 8, 0))
    for mode, file_format, options in (
        ("RGB", "JPEG", {"quality": 1}),
        ("RGB", "JPEG", {"quality": 1, "progressive": True, "subsampling": 0}),
        ("CMYK", "JPEG", {"quality": 1}),
        ("RGB", "WEBP", {"quality": 1, "method": 0}),
        ("RGBA", "WEBP", {"lossless": True, "method": 0}),
        ("P", "GIF", {}),
        ("RGB", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
        ("1", "TIFF", {"compression": "group4"}),
        ("F", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("I", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("CMYK", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("LAB", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("RGB", "AVIF", {"quality": 1, "speed": 10}),
        ("RGBA", "AVIF", {"quality": 1, "speed": 10}),
        ("RGB", "HEIF", {"quality": 1}),
        ("RGBA", "HEIF", {"quality": 1}),
    ):
        said = f"flat {file_format} of 49 megapixels, {mode} {options}"
        yield Hostile("bomb", said, partial(_flat, mode, file_format, options))
    for dtype, compression, colors in (
        ("u2", "zlib", 3),
        ("u2", "zstd", 3),
        ("u4", "lzma", 1),
        ("f4", "zlib", 3),
        ("f8", "zstd", 1),
        ("u2", "lzw", 1),
    ):
        said = f"flat TIFF of 49 megapixels, {dtype}, {compression}, {colors} colours"
        yield Hostile("bomb", said, partial(_flat_tiff, dtype, compression, colors))
    yield Hostile("bomb", "TIFF of 49 megapixels in tiles of 16 pixels", _many_tiles)
    yield Hostile("bomb", "TIFF with 12 MB of OME-XML that multiplies itself", _many_words)
    for dtype, colors in (("u1", 3), ("u2", 3), ("f4", 3), ("u2", 1)):
        said = f"flat JXL of 49 megapixels, {dtype}, {colors} colours"
        yield Hostile("bomb", said, partial(_flat_jxl, dtype, colors))
    yield Hostile("bomb", "progressive jpeg with thousands of scans", _many_scans)
    packed = zlib.compress(bytes(60_000_000), 9)
    header, row = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0), zlib.compress(bytes(4))
    for kind, chunk in (
        (b"zTXt", b"comment\0\0" + packed),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed),
        (b"iCCP", b"profile\0\0" + packed),
        (b"fdAT", packed),
    ):
        made = partial(_png, header, row, (kind, chunk))
        yield Hostile("bomb", f"png whose {kind.decode()} unpacks to 60 MB", made)
    for count in (100, 50_000):
        chunks = [(b"zTXt", b"k\0\0" + zlib.compress(bytes(60_000), 9))] * count
        made = partial(_png, header, row, *chunks)
        yield Hostile("bomb", f"png with {count} texts of 60 kB", made)


def _flat_tiff(dtype: str, compression: str, colors: int) -> bytes:
    size = (7000, 7000, 3) if colors == 3 else (7000, 7000)
    return tiff(np.zeros(size, dtype), compression=compression, rowsperstrip=700)


def _many_tiles() -> bytes:
    return tiff(np.zeros((7000, 7000), np.uint8), tile=(16, 16))


def _many_words() -> bytes:
    bomb = "<!DOCTYPE a [<!ENTITY b0 'bbbbbbbbbb'>" + "".join(
        f"<!ENTITY b{n + 1} '{f'&b{n};' * 10}'>" for n in range(9)
    )
    words = f"{bomb}]><OME>&b9;{'<Image/>' * 1_500_000}</OME>"
    return tiff(np.zeros((9, 9), np.uint16), description=words, metadata=None)


def _flat_jxl(dtype: str, colors: int) -> bytes:
    size = (7000, 7000, 3) if colors == 3 else (7000, 7000)
    return bytes(imagecodecs.jpegxl_encode(np.zeros(size, dtype), lossless=True, effort=1))


def _many_scans() -> bytes:
    """A progressive JPEG of 49 megapixels whose last scan comes again thousands of times."""
    image = Image.new("L", (7000, 7000), 77)
    content = encode(image, "JPEG", quality=1, progressive=True)
    start = content.rindex(b"\xff\xda")
    return content[:-2] + content[start:-2] * min(3000, 20_000_000 // (len(content) - start))


def one_pixel_sides() -> Iterator[Hostile]:
    """Pictures of 1 x 1, 1 x 16,000 and 16,000 x 1 pixels."""
    for file_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):  # x265 makes none
        for size in ((1, 1), (1, 16_000), (16_000, 1), (3, 2)):
            image = Image.new("RGB", size, (9, 99, 199))
            said = f"{file_format} of {size[0]} x {size[1]} pixels"
            yield Hostile("sides", said, partial(encode, image, file_format))


def _frames(file_format: str, count: int, size: int) -> bytes:
    images = [Image.new("L", (size, size), number % 256) for number in range(count)]
    return encode(images[0], file_format, save_all=True, append_images=images[1:])


def many_frames() -> Iterator[Hostile]:
    """Animations, and TIFF pages, without end."""
    for file_format, count, size in (
        ("GIF", 5000, 8),
        ("PNG", 2000, 8),
        ("WEBP", 2000, 8),
        ("TIFF", 2000, 8),
        ("MPO", 500, 8),
        ("AVIF", 100, 64),
        ("WEBP", 8, 2000),
    ):
        said = f"{file_format} with {count} frames"
        yield Hostile("frames", said, partial(_frames, file_format, count, size))
    said = "JXL with 500 frames"
    yield Hostile("frames", said, lambda: jxl(np.zeros((500, 16, 16, 3), np.uint8)))
    said = "imagej stack that says it has a billion pages"
    words = b"ImageJ=1.53\nimages=1000000000\nslices=1000000000\nhyperstack=true\n"
    made = partial(tiff, DEEP[:, :, 0], description=words, metadata=None)
    yield Hostile("frames", said, made)
    yield Hostile("frames", "tiff whose page comes after itself", _endless_pages)
    yield Hostile("frames", "tiff with a million directory entries", _endless_directory)


def _endless_pages() -> bytes:
    content = bytearray(good()["tiff"])
    directory = struct.unpack_from("<I", content, 4)[0]
    entries = struct.unpack_from("<H", content, directory)[0]
    struct.pack_into("<I", content, directory + 2 + 12 * entries, directory)
    return bytes(content)


def _endless_directory() -> bytes:
    entry = struct.pack("<HHII", 256, 4, 1, 8)
    return b"II*\0" + struct.pack("<IH", 8, 65535) + entry * 65535 + bytes(4)


def broken_metadata() -> Iterator[Hostile]:
    """Good pictures beside broken EXIF data, colour profiles and XMP."""
    image = Image.fromarray(scene())
    start = b"Exif\0\0II*\0\x08\0\0\0"
    exifs = {
        "empty": b"Exif\0\0",
        "not TIFF": b"Exif\0\0this is no TIFF",
        "with an offset behind its end": b"Exif\0\0II*\0\xff\xff\xff\xff",
        "with a directory that points to itself": start
        + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8)
        + struct.pack("<I", 8),
        "with four billion values": start
        + struct.pack("<HHHII", 1, 0x0112, 3, 2**32 - 1, 26)
        + bytes(4),
        "with 65,535 entries": start + struct.pack("<H", 65535) + bytes(2000),
        "with orientation 99": start + struct.pack("<HHHII", 1, 0x0112, 3, 1, 99) + bytes(4),
        "with an orientation of text": start
        + struct.pack("<HHHI4s", 1, 0x0112, 2, 4, b"six\0")
        + bytes(4),
    }
    profile = _srgb_profile()
    profiles = {
        "empty": b"\0",
        "text": b"not a profile " * 20,
        "cut off": profile[:100],
        "too long": profile[:4] + b"\xff" * 4 + profile[8:],
        "with four billion tags": profile[:128] + b"\xff" * 4 + profile[132:],
        "with tags behind its end": profile[:132] + b"\x7f" * (len(profile) - 132),
        "for CMYK": profile[:16] + b"CMYK" + profile[20:],
        "for grey": profile[:16] + b"GRAY" + profile[20:],
        "of noise": profile[:128] + random.Random(1).randbytes(5000),  # noqa: S311
    }
    packets = {
        "cut off": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF",
        "that includes a file": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        "that multiplies itself": b"<!DOCTYPE a [<!ENTITY b 'bbbbbbbbbb'>"
        + b"".join(f"<!ENTITY b{n + 1} '{f'&b{n or str()};' * 10}'>".encode() for n in range(9))
        + b"]><a>&b9;</a>",
    }
    for file_format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"):
        for option, values in (("exif", exifs), ("icc_profile", profiles), ("xmp", packets)):
            for said, value in values.items():
                if option == "exif" and file_format in ("TIFF", "AVIF"):
                    continue  # a TIFF file is its own; the encoder of the other refuses broken data
                made = partial(encode, image, file_format, **{option: value})
                yield Hostile("metadata", f"{file_format} with {option} {said}", made)


def _srgb_profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def mixed() -> Iterator[Hostile]:
    """Files that are two things at once."""
    tails = {
        "a web page": b"<html><script>alert(1)</script></html>",
        "a ZIP archive": b"PK\x03\x04" + bytes(30) + b"PK\x05\x06" + bytes(18),
        "a PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF",
        "a program": b"MZ" + bytes(200),
    }
    for name in ("jpeg", "png", "gif", "bmp", "webp", "tiff", "heic", "avif"):
        for said, tail in tails.items():
            made = partial(lambda name, tail: good()[name] + tail, name, tail)
            yield Hostile("mixed", f"{name} with {said} behind it", made)
            made = partial(lambda name, tail: tail + good()[name], name, tail)
            yield Hostile("mixed", f"{name} with {said} before it", made)
    for outer, inner in itertools.permutations(("jpeg", "png", "gif", "webp", "heic", "tiff"), 2):
        made = partial(lambda outer, inner: good()[outer][:40] + good()[inner], outer, inner)
        yield Hostile("mixed", f"{outer} header before a {inner}", made)
    swap = lambda name, brand: good()[name][:8] + brand + good()[name][12:]  # noqa: E731
    for brand in (b"heic", b"avif", b"mif1", b"msf1", b"jp2 ", b"qt  "):
        for name in ("heic", "avif"):
            made = partial(swap, name, brand)
            yield Hostile("mixed", f"{name} that calls itself {brand.decode()}", made)


def others() -> Iterator[Hostile]:
    """Files that are not pictures, or of other formats; any of them may be named .jpg."""
    image = Image.fromarray(scene())
    texts = {
        "nothing": b"",
        "a byte": b"\0",
        "zeros": bytes(100_000),
        "noise": random.Random(0).randbytes(100_000),  # noqa: S311
        "text": b"Dear Petscope, this is my cat. " * 99,
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "SVG that multiplies itself": b"<!DOCTYPE s [<!ENTITY a 'aaaa'>]><svg>&a;</svg>",
        "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "HTML": b"<!DOCTYPE html><html></html>",
        "ZIP": b"PK\x03\x04" + bytes(100),
        "ELF": b"\x7fELF" + bytes(100),
        "pickle": b"cos\nsystem\n(S'true'\ntR.",
        "XBM": b"#define a_width 9999\n#define a_height 9999\nstatic char a_bits[] = {\n",
        "XPM": b'/* XPM */\nstatic char *a[] = {\n"9 9 1 1",\n',
        "MPEG": b"\0\0\1\xb3" + bytes(100),
        "FITS": b"SIMPLE  =                    T" + bytes(3000),
        "PSD": b"8BPS\0\1" + bytes(100),
        "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(100),
        "FLI": struct.pack("<IHHHHHHI", 10**6, 0xAF12, 1, 9, 9, 8, 3, 1) + bytes(200),
        "DDS": b"DDS " + struct.pack("<I", 124) + bytes(200),
        "gzip": b"\x1f\x8b\x08" + bytes(100),
    }
    for name, content in texts.items():
        yield Hostile("other", name, partial(bytes, content))
    for file_format in ("ICO", "PPM", "TGA", "PCX", "JPEG2000", "SGI", "ICNS", "QOI", "PDF", "EPS"):
        made = partial(encode, image.resize((64, 64)), file_format)
        yield Hostile("other", f"{file_format} picture", made)


def odd_numbers() -> Iterator[Hostile]:
    """Float pictures with values that are not numbers."""
    rows = {
        "NaN alone": [np.nan] * 4,
        "NaN and numbers": [np.nan, 0, 1, 2],
        "infinities": [np.inf, -np.inf, np.inf, -np.inf],
        "the largest floats": [-3.4e38, 3.4e38, 0, 1],
        "the smallest floats": [1e-45, -1e-45, 0, 1e-45],
    }
    for said, values in rows.items():
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate"):
            image = Image.fromarray(np.array([values] * 3, np.float32))
            made = partial(encode, image, "TIFF", compression=compression)
            yield Hostile("numbers", f"{compression} TIFF of {said}", made)


def read(decoder: Decoder, path: Path) -> Outcome:
    """Let a decoder read a file; processor time and memory are known only on Linux.

    They are those of the child process that decodes this one file.
    """
    with _Watch(decoder.process.pid) as watch:
        start = time.perf_counter()
        with path.open("rb") as file:
            try:
                decoder.read(file)
            except PhotoError as error:
                answer = error.key
            else:
                answer = "photo"
        seconds = time.perf_counter() - start
    survived = decoder.usable
    return Outcome(answer, watch.seconds or seconds, watch.memory, watch.shared, survived)


class _Watch:
    """Looks at the child of a process until it has ended: its memory and its processor time."""

    def __init__(self, parent: int) -> None:
        self.memory, self.shared, self.seconds = 0, 0, 0.0
        self._child = _child_of(parent)
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)

    def _look(self) -> None:
        if self._child is None:
            return
        before = None
        with suppress(OSError, ValueError, KeyError):  # it has ended
            while True:
                own, shared = _memory(self._child)
                before = own if before is None else before
                self.memory = max(self.memory, own - before)
                self.shared = max(self.shared, shared)
                self.seconds = _worked(self._child)
                time.sleep(0.001)


def _child_of(parent: int) -> Path | None:
    """The child of a process in /proc, once there is one; None if there is no /proc."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    for _ in range(1000):
        if not children.exists():
            return None
        if words := children.read_text().split():
            return Path(f"/proc/{words[0]}")
        time.sleep(0.005)
    return None


def _memory(process: Path) -> tuple[int, int]:
    """Bytes of a process's own memory, and of what it shares with others; see proc(5)."""
    lines = (process / "status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return 1024 * int(found["RssAnon"].split()[0]), 1024 * int(found["RssShmem"].split()[0])


def _worked(process: Path) -> float:
    """Processor time that a process has used, in seconds."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_all(files: Sequence[Hostile], folder: Path) -> Iterator[tuple[Hostile, Outcome]]:
    """Read each file, with a new decoder after one that ended."""
    path, decoder = folder / "photo.jpg", _ready(folder)
    for hostile in files:
        path.write_bytes(hostile.make())
        outcome = read(decoder, path)
        yield hostile, outcome
        if not outcome.survived:
            decoder = _ready(folder)
    decoder.end()


def _ready(folder: Path) -> Decoder:
    decoder, path = Decoder(), folder / "ready.png"
    path.write_bytes(good()["png"])
    with path.open("rb") as file:
        decoder.read(file)
    return decoder


def table(results: Sequence[tuple[Hostile, Outcome]]) -> str:
    """The outcomes by kind, as a Markdown table."""
    lines = [
        "| files | | photo | sentence | decoder ended | worst processor time | worst own memory "
        "| worst shared memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    kinds = [kind for kind in KINDS if any(hostile.kind == kind for hostile, _ in results)]
    for kind in [*kinds, ""]:
        chosen = [outcome for hostile, outcome in results if kind in ("", hostile.kind)]
        photos = sum(outcome.answer == "photo" for outcome in chosen)
        lines.append(
            f"| {KINDS.get(kind, 'all')} | {len(chosen)} | {photos} | {len(chosen) - photos} "
            f"| {sum(not outcome.survived for outcome in chosen)} "
            f"| {max(outcome.seconds for outcome in chosen):.2f} s "
            f"| {max(outcome.memory for outcome in chosen) / 1e6:.0f} MB "
            f"| {max(outcome.shared for outcome in chosen) / 1e6:.0f} MB |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Read all of them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="without bombs and animations")
    parser.add_argument("--write", action="store_true", help="put the table into SECURITY.md")
    parser.add_argument("--verbose", action="store_true", help="print each file's outcome, too")
    arguments = parser.parse_args(words)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for hostile, outcome in read_all(corpus(not arguments.quick), Path(folder)):
            results.append((hostile, outcome))
            if arguments.verbose or outcome.seconds > 5 or not outcome.survived:
                memory = f"{outcome.memory / 1e6:4.0f} + {outcome.shared / 1e6:.0f} MB"
                print(f"{outcome.seconds:6.2f} s {memory}", end=" ")
                print(outcome.answer, hostile.kind, hostile.name, sep=" | ", flush=True)
    print(table(results))
    if arguments.write:
        documents.renew(START, END, table(results))
    answers = Counter(outcome.answer for _, outcome in results)
    print(", ".join(f"{answer} {count}" for answer, count in answers.most_common()))
    if any(outcome.memory > 500_000_000 or outcome.seconds > 5 for _, outcome in results):
        sys.exit("A file took more than 5 s or 500 MB.")


if __name__ == "__main__":
    commandline.run(main)
