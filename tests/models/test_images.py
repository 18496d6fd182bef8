"""Reading picture files: every format is read correctly, and every bad file gives one sentence."""

import functools
import io
import os
import random
import struct
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import imagecodecs
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageCms, ImageFile
from PIL.PngImagePlugin import PngInfo

from models import images, jxl
from models.images import Photo, PhotoError, open_photo, open_picture
from models.picture import Axis, Place
from tests.profiles import CURVES, DISPLAY_P3, PRIMARIES, SRGB, profile

# Four plain quarters of different colours: they show the orientation, and survive lossy formats.
SCENE = np.empty((48, 64, 3), np.uint8)
SCENE[:24, :32] = 230, 20, 30
SCENE[:24, 32:] = 20, 200, 40
SCENE[24:, :32] = 30, 40, 210
SCENE[24:, 32:] = 240, 230, 60

ORIENTATION = 0x0112

# pytest replaces the filters that the module sets.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:  # noqa: ANN401
    buffer = io.BytesIO()
    # A copy, because Pillow leaves encoder settings behind in the picture it saved.
    image.copy().save(buffer, file_format, **options)
    return buffer.getvalue()


def animate(file_format: str, **options: Any) -> bytes:  # noqa: ANN401
    first, second = Image.fromarray(SCENE), Image.fromarray(255 - SCENE)
    return encode(first, file_format, save_all=True, append_images=[second], **options)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


def with_brand(content: bytes, brand: bytes) -> bytes:
    assert content[4:8] == b"ftyp"
    return content[:8] + brand + content[12:]


def png(
    width: int,
    height: int,
    rows: bytes = b"",
    depth: int = 8,
    color: int = 2,
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = ((b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def bmp_header(width: int, height: int) -> bytes:
    content = bytearray(encode(Image.fromarray(SCENE), "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def gif_header(width: int, height: int) -> bytes:
    content = bytearray(encode(Image.fromarray(SCENE), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


LOSSLESS: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG": lambda image: encode(image, "PNG"),
    "lossless WebP": lambda image: encode(image, "WEBP", lossless=True),
    "GIF": lambda image: encode(image.quantize(16), "GIF"),
    "BMP": lambda image: encode(image, "BMP"),
    "palette BMP": lambda image: encode(image.quantize(16), "BMP"),
    "DIB": lambda image: encode(image, "DIB"),
    "TIFF": lambda image: encode(image, "TIFF"),
    "LZW TIFF": lambda image: encode(image, "TIFF", compression="tiff_lzw"),
    "Deflate TIFF": lambda image: encode(image, "TIFF", compression="tiff_adobe_deflate"),
    "PackBits TIFF": lambda image: encode(image, "TIFF", compression="packbits"),
}
LOSSY: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": lambda image: encode(image, "JPEG", quality=92),
    "progressive JPEG": lambda image: encode(image, "JPEG", quality=92, progressive=True),
    "WebP": lambda image: encode(image, "WEBP", quality=90),
    "JPEG TIFF": lambda image: encode(image, "TIFF", compression="jpeg", quality=92),
    "HEIC": lambda image: encode(image, "HEIF", quality=90),
    "HEIC as mif1": lambda image: with_brand(encode(image, "HEIF", quality=90), b"mif1"),
    "AVIF": lambda image: encode(image, "AVIF", quality=90),
    "AVIF as mif1": lambda image: with_brand(encode(image, "AVIF", quality=90), b"mif1"),
}
ANIMATED: dict[str, Callable[[], bytes]] = {
    "animated GIF": lambda: animate("GIF"),
    "APNG": lambda: animate("PNG"),
    "animated WebP": lambda: animate("WEBP", lossless=True),
    "animated AVIF": lambda: animate("AVIF"),
    "MPO": lambda: animate("MPO", quality=92),
    "TIFF with two pages": lambda: animate("TIFF"),
}


@functools.cache
def files() -> dict[str, bytes]:
    """The scene in every format."""
    scene = Image.fromarray(SCENE)
    still = {name: write(scene) for name, write in (LOSSLESS | LOSSY).items()}
    return still | {name: write() for name, write in ANIMATED.items()}


ALL_FILES = (*LOSSLESS, *LOSSY, *ANIMATED)


def assert_is_photo(photo: Photo, height: int, width: int) -> None:
    assert photo.shape == (height, width, 3)
    assert photo.dtype == np.uint8
    assert photo.flags.c_contiguous
    assert photo.flags.writeable


def assert_shows(photo: Photo, scene: NDArray[np.uint8], tolerance: int = 12) -> None:
    """The same quarters, compared away from their borders, which lossy formats blur."""
    height, width = scene.shape[:2]
    assert_is_photo(photo, height, width)
    for y in (height // 4, height * 3 // 4):
        for x in (width // 4, width * 3 // 4):
            around = np.s_[y - 3 : y + 4, x - 3 : x + 4]
            difference = np.abs(photo[around].astype(int) - scene[around].astype(int))
            assert difference.max() <= tolerance, (y, x)


@pytest.mark.parametrize("name", ALL_FILES)
def test_every_format_is_read_from_bytes_path_and_binary_file(name: str, tmp_path: Path) -> None:
    content = files()[name]
    path = tmp_path / "photo.of-any-name"
    path.write_bytes(content)

    photo = open_photo(content)

    assert_shows(photo, SCENE)
    if name in LOSSLESS:
        np.testing.assert_array_equal(photo, SCENE)
    np.testing.assert_array_equal(open_photo(path), photo)
    np.testing.assert_array_equal(open_photo(str(path)), photo)
    np.testing.assert_array_equal(open_photo(io.BytesIO(content)), photo)
    with path.open("rb") as file:
        np.testing.assert_array_equal(open_photo(file), photo)


STORED_AS: dict[int, NDArray[np.uint8]] = {  # what a camera stores of SCENE, by the EXIF standard
    1: SCENE,
    2: SCENE[:, ::-1],
    3: SCENE[::-1, ::-1],
    4: SCENE[::-1],
    5: SCENE.transpose(1, 0, 2),
    6: SCENE.transpose(1, 0, 2)[::-1],
    7: SCENE.transpose(1, 0, 2)[::-1, ::-1],
    8: SCENE.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_every_exif_orientation_is_turned_upright(file_format: str, orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation]))

    photo = open_photo(encode(stored, file_format, quality=90, exif=exif(orientation)))

    assert_shows(photo, SCENE)


PORTRAIT = np.repeat(np.repeat(SCENE.transpose(1, 0, 2), 10, axis=0), 10, axis=1)  # 640 x 480


@pytest.mark.parametrize(
    ("side", "height", "width"),
    [(0, 640, 480), (641, 640, 480), (321, 640, 480), (320, 320, 240), (100, 160, 120)],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_large_jpeg_comes_in_the_detail_that_is_needed(
    side: int, height: int, width: int, turned: bool
) -> None:
    stored = PORTRAIT.transpose(1, 0, 2)[::-1] if turned else PORTRAIT
    tags = exif(6 if turned else 1)
    content = encode(Image.fromarray(stored), "JPEG", quality=95, exif=tags)

    preview = open_picture(content, side)

    assert preview.size == (640, 480)
    assert preview.photo.shape == (height, width, 3)
    whole = Image.fromarray(open_photo(content)).resize((width, height), Image.Resampling.BOX)
    assert_shows(preview.photo, np.asarray(whole), tolerance=3)


def test_a_preview_of_odd_size_knows_the_whole_size() -> None:
    content = encode(Image.fromarray(PORTRAIT[:633, :477]), "JPEG")

    preview = open_picture(content, 150)

    assert preview.size == (633, 477)
    assert preview.photo.shape == (159, 120, 3)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_other_pictures_come_whole(file_format: str) -> None:
    content = encode(Image.fromarray(PORTRAIT), file_format, quality=90)

    preview = open_picture(content, 100)

    assert preview.size == (640, 480)
    np.testing.assert_array_equal(preview.photo, open_photo(content))


def test_a_large_jpeg_that_is_cut_off_is_refused_in_any_detail() -> None:
    content = encode(Image.fromarray(PORTRAIT), "JPEG", quality=95)

    with pytest.raises(PhotoError):
        open_picture(content[: len(content) // 2], 100)


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_compressed_tiff_is_turned_once(orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation]))
    content = encode(stored, "TIFF", compression="tiff_lzw", exif=exif(orientation))

    np.testing.assert_array_equal(open_photo(content), SCENE)


def test_an_orientation_in_both_container_and_exif_is_applied_once() -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[6]))
    content = encode(stored, "HEIF", quality=90, exif=exif(6))
    assert b"irot" in content
    assert exif(6) in content

    assert_shows(open_photo(content), SCENE)


def test_an_orientation_in_the_exif_of_a_heic_alone_is_ignored() -> None:
    """By the HEIF standard the container decides; Exif objects are stored unchanged."""
    tags = Image.Exif()
    tags[ORIENTATION] = 6
    content = encode(Image.fromarray(SCENE), "HEIF", quality=90, exif=tags)
    assert b"irot" not in content
    assert exif(6) in content

    assert_shows(open_photo(content), SCENE)


def test_a_deep_picture_is_turned_upright() -> None:
    values = np.array([[0, 257, 514], [771, 1028, 1285]], np.uint16)
    content = encode(Image.fromarray(values), "PNG", exif=exif(6))

    assert open_picture(content).values.tolist() == [[771, 0], [1028, 257], [1285, 514]]
    assert open_photo(content)[:, :, 0].tolist() == [[153, 0], [204, 51], [255, 102]]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "damaged",
    [
        b"Exif\0\0",
        b"Exif\0\0not TIFF at all",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif(3)[:-7],
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", ORIENTATION, 5, 9, b"\xff\0\0\0"),
    ],
    ids=["empty", "text", "offset", "cut off", "value outside"],
)
def test_damaged_exif_does_not_cost_the_picture(file_format: str, damaged: bytes) -> None:
    content = encode(Image.fromarray(SCENE), file_format, quality=90, exif=damaged)

    photo = open_photo(content)

    assert photo.shape == SCENE.shape


def test_damaged_exif_in_the_text_of_a_png_does_not_cost_the_picture() -> None:
    text = PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n4\nnot hexadecimal")

    np.testing.assert_array_equal(
        open_photo(encode(Image.fromarray(SCENE), "PNG", pnginfo=text)), SCENE
    )


def first_row(content: bytes) -> list[list[int]]:
    row: list[list[int]] = open_photo(content)[0].tolist()
    return row


def row_of(values: ArrayLike, dtype: type[np.generic], mode: str | None = None) -> Image.Image:
    """A picture of one row."""
    row = np.array([values], dtype)
    if mode is None:
        return Image.fromarray(row)
    return Image.frombytes(mode, (row.shape[1], 1), row.tobytes())


def grey(*values: int) -> list[list[int]]:
    return [[value] * 3 for value in values]


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(file_format: str) -> None:
    image = Image.new("CMYK", (16, 8), (0, 255, 255, 0))
    image.paste((255, 0, 255, 0), (8, 0, 16, 8))

    photo = open_photo(encode(image, file_format, quality=95))

    assert_is_photo(photo, 8, 16)
    np.testing.assert_allclose(photo[4, 3], (255, 0, 0), atol=6)
    np.testing.assert_allclose(photo[4, 12], (0, 255, 0), atol=6)


def test_a_ycbcr_jpeg_becomes_rgb() -> None:
    image = Image.new("RGB", (16, 8), (200, 30, 60)).convert("YCbCr")

    np.testing.assert_allclose(open_photo(encode(image, "JPEG"))[4, 8], (200, 30, 60), atol=4)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_grey_becomes_three_equal_channels(file_format: str) -> None:
    content = encode(row_of([0, 100, 255], np.uint8), file_format)

    assert first_row(content) == grey(0, 100, 255)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit_becomes_black_and_white(file_format: str) -> None:
    content = encode(row_of([0, 255, 0], np.uint8).convert("1"), file_format)

    assert first_row(content) == grey(0, 255, 0)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_grey_with_alpha_is_laid_over_white(file_format: str) -> None:
    image = row_of([[0, 0], [0, 128], [50, 255]], np.uint8, "LA")

    content = encode(image, file_format, lossless=True, exact=True)

    assert first_row(content) == grey(255, 127, 50)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_colour_with_alpha_is_laid_over_white(file_format: str) -> None:
    image = row_of([[255, 0, 0, 128], [0, 0, 0, 0], [10, 20, 30, 255], [0, 0, 0, 51]], np.uint8)

    content = encode(image, file_format, lossless=True, exact=True)

    expected = [[255, 127, 127], [255, 255, 255], [10, 20, 30], [204, 204, 204]]
    np.testing.assert_allclose(first_row(content), expected, atol=1)


@pytest.mark.parametrize("file_format", ["HEIF", "AVIF"])
def test_transparent_phone_pictures_are_laid_over_white(file_format: str) -> None:
    clear = Image.new("RGBA", (32, 32), (200, 0, 0, 0))

    assert open_photo(encode(clear, file_format, quality=95)).min() >= 245


def test_an_animated_webp_with_alpha_is_laid_over_white() -> None:
    first = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    second = Image.new("RGBA", (8, 8), (0, 0, 255, 255))
    content = encode(first, "WEBP", save_all=True, append_images=[second], lossless=True)

    assert open_photo(content).min() == 255


def palette_picture() -> Image.Image:
    image = row_of([0, 1, 2], np.uint8, "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_a_palette_becomes_its_colours(file_format: str) -> None:
    content = encode(palette_picture(), file_format)

    assert first_row(content) == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_the_transparent_entry_of_a_palette_becomes_white(file_format: str) -> None:
    content = encode(palette_picture(), file_format, transparency=1)

    assert first_row(content) == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_half_transparent_palette_entries_are_laid_over_white() -> None:
    content = encode(palette_picture(), "PNG", transparency=bytes([0, 128, 255]))

    assert first_row(content) == [[255, 255, 255], [127, 255, 127], [0, 0, 255]]


def test_a_palette_with_alpha_in_a_tiff_is_read() -> None:
    content = encode(palette_picture().convert("PA"), "TIFF")

    assert first_row(content) == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_the_transparent_value_of_a_png_becomes_white() -> None:
    picture = row_of([0, 100, 200], np.uint8)
    colours = Image.merge("RGB", [picture] * 3)
    deep = row_of([0, 25700, 65535], np.uint16)

    assert first_row(encode(picture, "PNG", transparency=100)) == grey(0, 255, 200)
    assert first_row(encode(colours, "PNG", transparency=(100, 100, 100))) == grey(0, 255, 200)
    assert first_row(encode(deep, "PNG", transparency=25700)) == grey(0, 255, 255)


# A colour space whose red is sRGB's green and vice versa.
SWAPPED = SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
SWAPPED_SCENE = SCENE[:, :, [1, 0, 2]]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_an_embedded_colour_profile_is_followed(file_format: str) -> None:
    content = encode(Image.fromarray(SCENE), file_format, quality=90, icc_profile=SWAPPED)

    assert_shows(open_photo(content), SWAPPED_SCENE, tolerance=16)


@pytest.mark.parametrize("mode", ["P", "RGBA", "RGB"])
def test_a_colour_profile_counts_for_palettes_and_transparent_pictures(mode: str) -> None:
    image = Image.fromarray(SCENE)
    image = image.quantize(16) if mode == "P" else image.convert(mode)

    photo = open_photo(encode(image, "PNG", icc_profile=SWAPPED))

    assert_shows(photo, SWAPPED_SCENE, tolerance=2)


def test_a_photo_in_srgb_is_not_changed_by_its_profile() -> None:
    values = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    content = encode(Image.fromarray(values), "PNG", icc_profile=SRGB)

    np.testing.assert_array_equal(open_photo(content), values)


@pytest.mark.parametrize(
    "profile",
    [b"\0", b"no profile", SRGB[:200], SRGB.replace(b"RGB ", b"CMYK"), SRGB.replace(b"XYZ ", b"?")],
    ids=["byte", "text", "cut off", "for CMYK", "other types"],
)
def test_a_broken_colour_profile_is_ignored(profile: bytes) -> None:
    content = encode(Image.fromarray(SCENE), "PNG", icc_profile=profile)

    np.testing.assert_array_equal(open_photo(content), SCENE)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("primaries", PRIMARIES)
def test_profiles_of_cameras_are_followed_as_by_little_cms(primaries: str, curve: str) -> None:
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(52, -1, 3)
    content = profile(PRIMARIES[primaries], CURVES[curve])
    image = Image.fromarray(colors)
    expected = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(content)), ImageCms.createProfile("sRGB")
    )

    photo = open_photo(encode(image, "PNG", icc_profile=content))

    assert_shows(photo, np.asarray(expected), tolerance=2)
    assert np.abs(photo.astype(int) - colors).max() > 10


@pytest.mark.alone
def test_a_colour_profile_costs_little() -> None:
    noise = np.random.default_rng(0).integers(-3, 4, (1500, 2000, 3))
    image = Image.fromarray((np.resize(SCENE, noise.shape) + noise).clip(0, 255).astype(np.uint8))

    def fastest(content: bytes) -> float:
        times = []
        for _ in range(5):
            start = time.process_time()
            open_photo(content)
            times.append(time.process_time() - start)
        return min(times)

    plain = fastest(encode(image, "JPEG", quality=90))
    converted = fastest(encode(image, "JPEG", quality=90, icc_profile=DISPLAY_P3))

    assert converted < 5 * plain


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_shown_between_percentiles_and_keeps_its_values(file_format: str) -> None:
    values = np.random.default_rng(0).permutation(65536).astype(np.uint16).reshape(256, 256)

    picture = open_picture(encode(Image.fromarray(values), file_format))

    assert_is_photo(picture.photo, 256, 256)
    low, high = picture.shown or (0, 0)
    assert (low, high) == (65, 65470)  # of 65,536 different values, a thousandth on either side
    expected = np.clip((values - low) / (high - low), 0, 1) * 255
    np.testing.assert_array_equal(picture.photo[:, :, 1], np.rint(expected))
    assert picture.stretch == "percentiles"
    assert picture.values.dtype == np.uint16
    np.testing.assert_array_equal(picture.values, values)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_a_camera_s_16_bit_grey_is_shown_as_it_is(file_format: str) -> None:
    values = np.array([[0, 200, 257 * 100]], np.uint16)
    content = encode(Image.fromarray(values), file_format, icc_profile=b"profile")

    picture = open_picture(content)

    assert picture.photo[0].tolist() == grey(0, 1, 100)
    assert picture.shown == (0, 65535)
    assert picture.stretch is None
    np.testing.assert_array_equal(picture.values, values)


def test_a_16_bit_tiff_is_the_same_in_either_byte_order() -> None:
    little = row_of([0, 200, 255], np.uint16)
    big = Image.frombytes("I;16B", (3, 1), np.array([0, 200, 255], ">u2").tobytes())

    assert first_row(encode(little, "TIFF")) == grey(0, 200, 255)
    assert first_row(encode(big, "TIFF")) == grey(0, 200, 255)


def test_16_bit_colour_becomes_8_bit() -> None:
    row = b"\0" + struct.pack(">6H", 65535, 0, 257 * 128, 0, 257 * 7, 65535)

    assert first_row(png(2, 1, row, depth=16)) == [[255, 0, 128], [0, 7, 255]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 128, 255], [0, 128, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([-1, 0, 1], [0, 128, 255]),
        ([0, 50_000, 100_000], [0, 128, 255]),
        ([np.nan, 0, 1], [0, 0, 255]),
        ([np.inf, -np.inf, 0.2], [255, 0, 0]),
        ([np.inf, 0, 1], [255, 0, 255]),
        ([np.nan, np.inf, -np.inf], [0, 255, 0]),
        ([-3e38, 0, 3e38], [0, 128, 255]),
        ([-1e-45, 0, 1e-45], [0, 128, 255]),
        ([-5, -5, -5], [0, 0, 0]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_float_tiff_is_brought_to_8_bits(
    values: list[float], expected: list[int], compression: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        row = first_row(encode(row_of(values, np.float32), "TIFF", compression=compression))

    assert row == grey(*expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 255], [0, 1, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([-5, 0, 5], [0, 128, 255]),
        ([-(2**31), 0, 2**31 - 1], [0, 128, 255]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_32_bit_tiff_is_brought_to_8_bits(values: list[int], expected: list[int]) -> None:
    assert first_row(encode(row_of(values, np.int32), "TIFF")) == grey(*expected)


@pytest.mark.parametrize(
    ("mode", "file_format", "bytes_per_pixel"),
    [("RGB", "PNG", 8), ("RGBA", "PNG", 8), ("I;16", "PNG", 12), ("F", "TIFF", 24)],
)
def test_reading_needs_few_copies_of_the_picture(
    mode: str, file_format: str, bytes_per_pixel: int
) -> None:
    """Counts the memory of Python and NumPy, without Pillow's own picture."""
    side = 1000
    content = encode(Image.new(mode, (side, side)), file_format)
    open_photo(content)

    tracemalloc.start()
    try:
        photo = open_photo(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert_is_photo(photo, side, side)
    assert peak <= bytes_per_pixel * side**2 + len(content) + 1_000_000


def test_many_threads_may_read_at_once() -> None:
    alone = {name: open_photo(content) for name, content in files().items()}
    filters = list(warnings.filters)

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(open_photo, [content for content in files().values()] * 4))

    for photo, name in zip(together, [*files()] * 4, strict=True):
        np.testing.assert_array_equal(photo, alone[name], err_msg=name)
    assert warnings.filters == filters


def assert_is_one_sentence(error: PhotoError) -> None:
    message = str(error)
    assert len(message) < 200
    assert message.endswith(".")
    assert ". " not in message
    assert "\n" not in message
    assert "/" not in message
    assert "\\" not in message
    assert "Traceback" not in message
    assert "Error" not in message
    assert message[0].isupper()


def refuse(source: Any, match: str) -> None:  # noqa: ANN401
    with pytest.raises(PhotoError, match=match) as caught:
        open_photo(source)
    assert_is_one_sentence(caught.value)


def read_or_refuse(content: bytes) -> bool:
    """Whether the file was read; anything except a photo or a PhotoError fails the test."""
    try:
        photo = open_photo(content)
    except PhotoError as error:
        assert_is_one_sentence(error)
        return False
    assert_is_photo(photo, *photo.shape[:2])
    assert photo.size > 0
    return True


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()

    refuse(b"", "empty")
    refuse(path, "empty")
    refuse(io.BytesIO(), "empty")


@pytest.mark.parametrize(
    "content",
    [
        b"\0",
        b"Dear Petscope, this is my cat. " * 99,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!DOCTYPE html><html></html>",
        b"%PDF-1.7\n",
        b"PK\x03\x04" + bytes(100),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"P6 1 1 255\n\0\0\0",
        b"\0\0\x01\0\x01\0" + bytes(60),
    ],
    ids=["byte", "text", "svg", "html", "pdf", "zip", "eps", "ppm", "ico"],
)
def test_what_is_no_photo_is_refused_whatever_its_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(content)

    refuse(path, "not a picture that can be read here")


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_are_refused(seed: int) -> None:
    noise = random.Random(seed).randbytes(5000)  # noqa: S311

    refuse(noise, "not a picture")


MAGICS = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*"]
MAGICS += [b"RIFF\xff\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypavif"]


@pytest.mark.parametrize("magic", MAGICS, ids=repr)
def test_random_bytes_behind_a_true_beginning_are_refused(magic: bytes) -> None:
    for seed in range(5):
        noise = random.Random(seed).randbytes(2000)  # noqa: S311
        assert not read_or_refuse(magic + noise)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_file_cut_off_anywhere_is_read_or_refused_in_a_sentence(name: str) -> None:
    content = files()[name]
    cuts = {*range(1, min(len(content), 64), 3), *range(1, len(content), len(content) // 40 + 1)}

    for cut in sorted(cuts | {len(content) - 1}):
        read_or_refuse(content[:cut])


@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY])
def test_half_a_file_is_refused(name: str) -> None:
    content = files()[name]

    assert not read_or_refuse(content[: len(content) // 2])


@pytest.mark.parametrize("name", ALL_FILES)
def test_changed_bytes_never_raise_anything_else(name: str) -> None:
    content = files()[name]
    generator = random.Random(name)  # noqa: S311
    for _ in range(40):
        changed = bytearray(content)
        for _ in range(generator.choice([1, 2, 5, 20])):
            reach = generator.choice([len(changed), 100])
            changed[generator.randrange(min(reach, len(changed)))] = generator.randrange(256)
        read_or_refuse(bytes(changed))


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    content = bytearray(encode(Image.fromarray(SCENE), "PNG"))
    content[content.index(b"IDAT") + 30] ^= 1

    refuse(bytes(content), "damaged")


def test_a_png_whose_text_unpacks_to_megabytes_is_refused() -> None:
    bomb = b"comment\0\0" + zlib.compress(bytes(2**21))

    refuse(png(1, 1, bytes(4), extra=((b"zTXt", bomb),)), "damaged")


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(width: int, height: int) -> None:
    refuse(png(width, height), "damaged")
    refuse(bmp_header(width, height), "damaged")


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        pytest.fail("The picture was decoded.")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)


@pytest.fixture
def no_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        pytest.fail("The picture was opened.")

    monkeypatch.setattr(Image, "open", fail)


@pytest.mark.usefixtures("no_opening")
def test_a_file_larger_than_25_mb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(encode(Image.fromarray(SCENE), "PNG"))
    os.truncate(path, images.MAX_BYTES + 1)

    assert images.MAX_BYTES == 25_000_000
    refuse(path, "larger than the 25 MB")
    refuse(path.read_bytes(), "larger than the 25 MB")
    with path.open("rb") as file:
        refuse(file, "larger than the 25 MB")


def test_only_the_beginning_of_a_huge_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.touch()
    os.truncate(path, 8 * images.MAX_BYTES)

    tracemalloc.start()
    try:
        refuse(path, "larger than the 25 MB")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 3 * images.MAX_BYTES


@pytest.mark.usefixtures("no_opening")
def test_no_more_of_an_endless_file_is_read_than_needed() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= images.MAX_BYTES + 1
            self.given += size
            return bytes(size)

    endless = Endless()
    refuse(endless, "larger than the 25 MB")

    assert endless.given == images.MAX_BYTES + 1


def test_a_file_of_just_the_largest_size_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = encode(Image.fromarray(SCENE), "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(content)

    monkeypatch.setattr(images, "MAX_BYTES", len(content))
    for source in (content, path, io.BytesIO(content)):
        np.testing.assert_array_equal(open_photo(source), SCENE)

    monkeypatch.setattr(images, "MAX_BYTES", len(content) - 1)
    for source in (content, path, io.BytesIO(content)):
        refuse(source, "larger than")


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize(
    "content",
    [
        png(10_000, 5_001),
        png(1, 50_000_001),
        png(60_000, 60_000),
        png(2**31 - 1, 2**31 - 1),
        bmp_header(10_000, 5_001),
        bmp_header(60_000, 60_000),
        gif_header(10_000, 5_001),
        gif_header(60_000, 60_000),
    ],
    ids=["png", "thin png", "huge png", "largest png", "bmp", "huge bmp", "gif", "huge gif"],
)
def test_more_than_50_megapixels_are_refused_before_decoding(content: bytes) -> None:
    refuse(content, "more than the 50 megapixels allowed")


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize(("width", "height"), [(65_536, 1), (1, 65_536), (1, 49_000_000)])
def test_a_side_longer_than_any_jpeg_s_is_refused_before_decoding(width: int, height: int) -> None:
    refuse(png(width, height), f"{width} x {height} pixels, and no side may have more than 65535")


def test_the_longest_side_is_read() -> None:
    assert open_photo(encode(Image.new("L", (1, 65_535)), "PNG")).shape == (65_535, 1, 3)


def test_a_picture_of_just_the_largest_size_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(Image.fromarray(SCENE), "PNG")

    monkeypatch.setattr(images, "MAX_PIXELS", 48 * 64)
    np.testing.assert_array_equal(open_photo(content), SCENE)

    monkeypatch.setattr(images, "MAX_PIXELS", 48 * 64 - 1)
    refuse(content, "64 x 48 pixels, more than")


def test_a_picture_that_does_not_fit_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)

    refuse(files()["PNG"], "memory")


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "missing.jpg", "cannot be read")
    refuse(str(tmp_path / "missing.jpg"), "cannot be read")
    refuse(tmp_path, "cannot be read")
    refuse("", "cannot be read")
    refuse("photo\0.jpg", "cannot be read")
    refuse("x" * 5000, "cannot be read")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)

    refuse(pipe, "cannot be read")


def test_an_orientation_in_xmp_alone_is_ignored_as_by_browsers() -> None:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    for file_format in ("JPEG", "WEBP"):  # other formats are rotated when they are written
        content = encode(Image.fromarray(SCENE), file_format, quality=90, xmp=packet)
        assert packet in content

        assert_shows(open_photo(content), SCENE)


@pytest.mark.parametrize(
    "beginning", [b"IIRO", b"IIU\0\x08", b"FUJIFILMCCD-RAW", b"\0\0\0\x18ftypcrx isom"]
)
def test_raw_files_that_are_no_tiff_are_named(beginning: bytes) -> None:
    refuse(beginning + bytes(100), "raw file of a camera")


@pytest.mark.parametrize(("depth", "value"), [(1, 1), (2, 2), (4, 9), (8, 9)])
def test_the_transparent_grey_of_a_png_of_few_bits_becomes_white(depth: int, value: int) -> None:
    values = np.arange(2**depth, dtype=np.uint8)
    bits = np.unpackbits(values[:, np.newaxis], axis=1)[:, -depth:]
    row = b"\0" + np.packbits(bits).tobytes()
    transparent = (b"tRNS", struct.pack(">H", value))

    photo = open_photo(png(len(values), 1, row, depth, 0, (transparent,)))

    expected = values * (255 // (2**depth - 1))
    expected[value] = 255
    assert photo[0, :, 1].tolist() == expected.tolist()


def test_the_transparent_colour_of_a_16_bit_png_is_exact() -> None:
    """Another colour with the same upper bytes is kept."""
    row = b"\0" + struct.pack(">9H", 0x1234, 7, 9, 0x1235, 7, 9, 65535, 0, 0)
    transparent = (b"tRNS", struct.pack(">3H", 0x1234, 7, 9))

    photo = open_photo(png(3, 1, row, 16, 2, (transparent,)))

    assert photo[0].tolist() == [[255, 255, 255], [18, 0, 0], [255, 0, 0]]


@pytest.mark.parametrize(("color", "samples"), [(2, 3), (4, 2), (6, 4)])
def test_a_png_of_16_bits_keeps_its_values(color: int, samples: int) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (5, 7, samples)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    picture = open_picture(png(7, 5, rows, 16, color))

    expected = values[:, :, :3] if samples > 2 else values[:, :, 0]
    np.testing.assert_array_equal(picture.values, expected)
    assert picture.colored == (samples > 2)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_only_its_end_is_read(mode: str, progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)
    image = Image.fromarray(noise).convert(mode)
    content = encode(image, "JPEG", quality=90, progressive=progressive)
    assert content.endswith(b"\xff\xd9")

    np.testing.assert_array_equal(open_photo(content[:-2]), open_photo(content))
    np.testing.assert_array_equal(open_photo(content[:-1]), open_photo(content))
    if not progressive:
        for missing in (60, 200, len(content) // 3):
            refuse(content[:-missing], "damaged")


def bmp_with_alpha(pixels: NDArray[np.uint8]) -> bytes:
    """A BMP whose header, of version 4, has a mask for alpha; `pixels` are RGBA."""
    height, width = pixels.shape[:2]
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    size = struct.pack("<IiiHHIIiiII", 108, width, -height, 1, 32, 3, 0, 0, 0, 0, 0)
    header = size + masks + b"BGRs" + bytes(48)
    start = 14 + len(header)
    return (
        struct.pack("<2sIHHI", b"BM", start + pixels.nbytes, 0, 0, start)
        + header
        + (pixels.tobytes())
    )


def test_a_bmp_with_no_alpha_anywhere_is_opaque() -> None:
    clear = np.dstack([SCENE, np.zeros(SCENE.shape[:2], np.uint8)])
    content = bmp_with_alpha(clear)
    assert Image.open(io.BytesIO(content)).mode == "RGBA"

    np.testing.assert_array_equal(open_photo(content), SCENE)


def test_a_bmp_with_some_alpha_is_laid_over_white() -> None:
    content = bmp_with_alpha(np.array([[[9, 8, 7, 255], [0, 0, 0, 0]]], np.uint8))

    assert first_row(content) == [[9, 8, 7], [255, 255, 255]]


def test_the_preview_of_a_heic_is_not_its_thumbnail() -> None:
    """A program may have changed the picture after the thumbnail was made."""
    stale = Image.fromarray(255 - PORTRAIT)
    import pillow_heif

    file = pillow_heif.from_pillow(stale)
    buffer = io.BytesIO()
    file.save(buffer, quality=90, thumbnails=[128])

    preview = open_picture(buffer.getvalue(), 100)

    assert preview.size == preview.photo.shape[:2] == (640, 480)


def test_a_jpeg_with_more_pictures_behind_it_is_its_first() -> None:
    """A gain map, as in Ultra HDR, or the other eye's view, as JPEG and as MPO."""
    gain = Image.new("L", (16, 12), 99)
    first = Image.fromarray(SCENE)
    as_mpo = encode(first, "MPO", save_all=True, append_images=[gain.convert("RGB")], quality=92)
    plain = encode(first, "JPEG", quality=92)
    as_jpeg = plain + encode(gain, "JPEG")

    for content in (as_mpo, as_jpeg):
        picture = open_picture(content)
        assert_shows(picture.photo, SCENE)
        assert picture.axes == ()
        assert open_picture(content, 16).size == (48, 64)


@pytest.mark.parametrize("name", ["animated GIF", "APNG", "animated WebP", "animated AVIF"])
def test_the_frames_of_an_animation_are_found(name: str) -> None:
    content = files()[name]

    first, second = (open_picture(content, place=Place(page=index)) for index in (0, 1))

    assert first.axes == (Axis("page", 2, 0),)
    assert second.axes == (Axis("page", 2, 1),)
    assert_shows(first.photo, SCENE)
    assert_shows(second.photo, 255 - SCENE)
    np.testing.assert_array_equal(open_photo(content), first.photo)
    with pytest.raises(PhotoError, match="ends with page 2"):
        open_picture(content, place=Place(page=2))


def test_jpeg_xl_is_read_and_its_size_checked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    small = SCENE[::2, ::2]
    bare = encode(Image.fromarray(small), "JXL", lossless=True)
    boxed = encode(Image.fromarray(small), "JXL", lossless=True, use_container=True)
    wide = encode(Image.new("RGB", (300, 100)), "JXL", lossless=True)

    for content in (bare, boxed):
        header = jxl.read_header(content)
        assert (header.width, header.height, header.animated) == (32, 24, False)
        np.testing.assert_array_equal(open_photo(content), small)
        refuse(content[: len(content) // 2], "damaged|not a picture")
    header = jxl.read_header(wide)
    assert (header.width, header.height, header.animated) == (300, 100, False)
    monkeypatch.setattr(images, "MAX_PIXELS", 10)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("It was decoded."))
    refuse(bare, "32 x 24 pixels")


@pytest.mark.parametrize("size", [(24, 16), (300, 100), (24, 17)])
def test_of_an_animated_jpeg_xl_the_first_frame_is_seen(size: tuple[int, int]) -> None:
    wide, high = size
    frames = np.stack([np.full((high, wide, 3), grey, np.uint8) for grey in (10, 100, 200)])
    content = bytes(imagecodecs.jpegxl_encode(frames, lossless=True))

    assert jxl.read_header(content) == jxl.Header(wide, high, animated=True)
    assert np.array_equal(images.open_picture(io.BytesIO(content)).photo, frames[0])


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_deep_jpeg_xl_has_its_own_numbers(bits: int) -> None:
    color = (SCENE.astype(np.uint16) * 257) >> (16 - bits)
    for values in (color, color[:, :, 0], np.dstack([color, color[:, :, 0]])):
        content = bytes(imagecodecs.jpegxl_encode(values, lossless=True, bitspersample=bits))

        picture = open_picture(content)

        assert jxl.read_header(content).bits == bits
        expected = values[:, :, :3] if values.ndim == 3 else values
        np.testing.assert_array_equal(picture.values, expected)
        assert picture.shown == (0, 2**bits - 1)
        assert (picture.stretch, picture.size) == (None, SCENE.shape[:2])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_jpeg_xl_of_floats_has_its_own_numbers(dtype: type) -> None:
    values: NDArray[np.floating[Any]] = (SCENE / 255).astype(dtype)

    picture = open_picture(bytes(imagecodecs.jpegxl_encode(values, lossless=True)))

    np.testing.assert_array_equal(picture.values, values)
    assert picture.values.dtype == dtype


def test_a_large_jpeg_xl_that_fails_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decoder gives the same error for damage and for too little memory."""
    content = encode(Image.fromarray(SCENE), "JXL", lossless=True)
    cut = content[: len(content) // 2]

    refuse(cut, "damaged|not a picture")
    monkeypatch.setattr(images, "MOST_JXL_BYTES", 12 * 10 * 10)
    refuse(cut, "needs too much memory")


def test_a_jpeg_xl_is_upright_by_its_own_header_alone() -> None:
    """ISO/IEC 18181-2 says that the orientation of its EXIF data is not to be followed."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.fromarray(SCENE), "JXL", lossless=True, exif=exif.tobytes())

    np.testing.assert_array_equal(open_photo(content), SCENE)
