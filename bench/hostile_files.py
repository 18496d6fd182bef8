"""Picture files that are cut off, damaged, lying, huge or no pictures at all."""

import itertools
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from bench.good_files import DEEP, encode, good, jxl, scene, tiff

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
