"""TIFF: every kind is read as by tifffile, or refused with the name of the unsupported feature."""

import io
import struct
from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from models import tiff
from models.images import PhotoError, open_picture
from models.picture import Axis, Picture, Place

HEIGHT, WIDTH = 40, 56
Y, X = np.mgrid[:HEIGHT, :WIDTH]
SCENE = ((X * 7 + Y * 11) % 199 / 198).astype(np.float64)  # [0, 1], both included

INTEGERS = ("u1", "u2", "u4", "i1", "i2", "i4")
FLOATS = ("f2", "f4", "f8")
LOSSLESS = (None, "lzw", "zlib", "packbits", "zstd", "lzma")


def scaled(dtype: str, samples: int = 1) -> NDArray[Any]:
    """The scene over the whole range of a type; each sample is a different picture."""
    scene = SCENE if samples == 1 else np.stack([np.roll(SCENE, 5 * i) for i in range(samples)], 2)
    if dtype[0] == "f":
        return (scene * 3 - 1).astype(dtype)
    limits = np.iinfo(dtype)
    values = np.rint(scene * (float(limits.max) - float(limits.min)) + float(limits.min))
    return np.clip(values, limits.min, limits.max).astype(np.int64).astype(dtype)


def written(values: NDArray[Any], **options: Any) -> bytes:  # noqa: ANN401
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **{"metadata": None, **options})
    return buffer.getvalue()


def table() -> Iterator[tuple[str, bytes, NDArray[Any]]]:
    """All cells: name, file, and the correct values with white as the largest."""
    for dtype, order, compression, tile, big, kind in product(
        INTEGERS + FLOATS,
        "<>",
        LOSSLESS,
        (None, (16, 32)),
        (False, True),
        ("minisblack", "miniswhite", "rgb", "rgb planes"),
    ):
        values = scaled(dtype, 3 if "rgb" in kind else 1)
        stored = np.moveaxis(values, 2, 0) if kind == "rgb planes" else values
        options = {
            "photometric": kind.partition(" ")[0],
            "planarconfig": {"rgb": "contig", "rgb planes": "separate"}.get(kind),
            "byteorder": order,
            "compression": compression,
            "tile": tile,
            "bigtiff": big,
            "rowsperstrip": None if tile else 12,
        }
        name = " ".join(map(str, (dtype, order, compression, tile, big, kind)))
        content = written(stored, **options)
        if kind == "miniswhite":
            limits = None if dtype[0] == "f" else np.iinfo(dtype)
            values = -values if limits is None else limits.max - (values - limits.min)
        yield name, content, values.astype(dtype)
    for dtype, order, compression, planes in product(
        ("u1", "u2", "i4"), "<>", ("lzw", "zlib"), (0, 1)
    ):
        values = scaled(dtype, 3)
        yield (
            f"{dtype} {order} {compression} with predictor, planes {planes}",
            written(
                np.moveaxis(values, 2, 0) if planes else values,
                photometric="rgb",
                planarconfig="separate" if planes else "contig",
                byteorder=order,
                compression=compression,
                predictor=2,
            ),
            values,
        )
    for dtype, order in product(FLOATS, "<>"):
        values = scaled(dtype)
        made = written(values, byteorder=order, compression="zlib", predictor=3)
        yield f"{dtype} {order} with the predictor of floats", made, values
    for bits, order in product(range(9, 16), "<>"):
        values = (scaled("u2") >> (16 - bits)).astype(np.uint16)
        content = written(values, bitspersample=bits, byteorder=order)
        # tifffile reads other bits from its own big-endian files than it wrote.
        page = tifffile.TiffFile(io.BytesIO(content)).pages.first
        start, end = page.dataoffsets[0], page.dataoffsets[0] + page.databytecounts[0]
        yield f"{bits} bits {order}", content[:start] + packed(values, bits) + content[end:], values


def packed(values: NDArray[Any], bits: int) -> bytes:
    """Integers of fewer than 16 bits, most significant bit first, rows padded to bytes."""
    unpacked = np.unpackbits(
        values.astype(">u2").view(np.uint8).reshape(len(values), -1, 2), axis=2
    )
    return np.packbits(unpacked[:, :, -bits:].reshape(len(values), -1), axis=1).tobytes()


def test_every_cell_of_the_table_equals_tifffile_s_array() -> None:
    """For 1,200 kinds of files."""
    wrong, count = [], 0
    for name, content, expected in table():
        picture = open_picture(content)
        count += 1
        values = picture.values
        if expected.dtype == np.uint8 and expected.ndim == 2:
            values = values[:, :, 0]  # 8 bits are a photo
        if values.dtype != expected.dtype or not np.array_equal(values, expected):
            wrong.append(name)
    assert count > 1200
    assert wrong == []


def test_the_table_s_values_are_those_of_tifffile() -> None:
    """Checks the table's expected values against tifffile, for its black-is-zero kinds."""
    for number, (name, content, expected) in enumerate(table()):
        if "miniswhite" in name or number % 31:
            continue
        values = tifffile.imread(io.BytesIO(content))
        if "planes" in name and values.shape[0] == 3:
            values = np.moveaxis(values, 0, 2)
        np.testing.assert_array_equal(values, expected, err_msg=name)


def test_the_photo_rises_with_the_values() -> None:
    """For every type, dark stays dark and light stays light, from black to white."""
    for dtype in INTEGERS + FLOATS:
        values = scaled(dtype)
        photo = open_picture(written(values, photometric="minisblack")).photo
        greys = photo[:, :, 0].ravel()[np.argsort(values.ravel(), kind="stable")].astype(int)
        assert (np.diff(greys) >= 0).all(), dtype
        assert (greys[0], greys[-1]) == (0, 255), dtype


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"values": np.ones((8, 8), np.complex64)}, "64-bit samples of format 6"),
        ({"values": scaled("u1"), "compression": "jpegxr"}, "the compression JPEGXR"),
        ({"values": scaled("u2", 4), "photometric": "separated"}, "4 inks of 16 bits"),
        ({"values": scaled("u2", 3), "photometric": "cielab"}, "the colours CIELAB"),
        ({"values": scaled("u1", 3), "photometric": "logluv"}, "the colours LOGLUV"),
        ({"values": scaled("u1"), "volumetric": True, "tile": (1, 16, 16)}, ""),
    ],
)
def test_what_is_not_read_is_named(options: dict[str, Any], named: str) -> None:
    values = options.pop("values")
    if options.get("volumetric"):
        values, named = np.stack([values] * 16), "a volume in one page"
        options["tile"] = (16, 16, 16)

    with pytest.raises(PhotoError, match=f"This picture has .*{named}") as caught:
        open_picture(written(values, **options))

    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits(bits: int) -> None:
    values = (scaled("u1") >> (8 - bits)).astype(np.uint8)
    content = written(
        values.astype(bool) if bits == 1 else values, bitspersample=bits, photometric="minisblack"
    )

    picture = open_picture(content)

    white = 2**bits - 1
    np.testing.assert_array_equal(picture.photo[:, :, 0], values * (255 // white))
    if bits > 1:
        np.testing.assert_array_equal(picture.values, values)
        assert picture.shown == (0, white)


def test_what_pillow_reads_of_8_bits_stays_the_same() -> None:
    """Palettes, inks, one bit and colours."""
    color = Image.fromarray(scaled("u1", 3))
    pictures = {
        "L": color.convert("L"),
        "P": color.quantize(16),
        "CMYK": color.convert("CMYK"),
        "RGB": color,
        "1": color.convert("1"),
    }
    for mode, image in pictures.items():
        for compression in ("raw", "tiff_lzw", "packbits"):
            buffer = io.BytesIO()
            image.save(buffer, "TIFF", compression=compression)
            expected = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))

            picture = open_picture(buffer.getvalue())

            np.testing.assert_array_equal(picture.photo, expected, err_msg=f"{mode} {compression}")
            assert not picture.deep


def stated(**options: Any) -> Picture:  # noqa: ANN401
    return open_picture(written(scaled("u2") >> 4, **options))


def test_the_range_that_the_file_states_is_shown() -> None:
    maximum = stated(extratags=[(281, "H", 1, 4095, True)])
    both = stated(extratags=[(280, "H", 1, 100, True), (281, "H", 1, 4000, True)])
    imagej = stated(imagej=True, metadata={"min": 50, "max": 3000})
    ome = stated(ome=True, metadata={"axes": "YX", "SignificantBits": 12})
    packed = stated(bitspersample=12)
    unknown = stated()

    assert maximum.shown == packed.shown == ome.shown == (0, 4095)
    assert both.shown == (100, 4000)
    assert imagej.shown == (50, 3000)
    assert {each.stretch for each in (maximum, both, imagej, ome, packed)} == {"stated"}
    assert unknown.stretch == "percentiles"
    expected = np.rint((scaled("u2") >> 4) * (255 / 4095))
    np.testing.assert_array_equal(maximum.photo[:, :, 2], expected)


def test_a_picture_of_8_bits_with_a_stated_range_keeps_its_values() -> None:
    values = scaled("u1")
    picture = open_picture(
        written(values, imagej=True, metadata={"min": 50, "max": 100, "axes": "YX"})
    )

    np.testing.assert_array_equal(picture.values, values)
    np.testing.assert_array_equal(
        picture.photo[:, :, 0], np.rint(np.clip((values - 50.0) / 50, 0, 1) * 255)
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {
                "ome": True,
                "metadata": {
                    "axes": "YX",
                    **{"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"},
                    **{"PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm"},
                },
            },
            (0.25, 0.5),
        ),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "um"}}, (0.25, 0.5)),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "\\u00B5m"}}, (0.25, 0.5)),
        ({"imagej": True, "resolution": (2, 4)}, None),
        ({"resolution": (20_000, 40_000), "resolutionunit": 3}, (0.25, 0.5)),
        ({"resolution": (25_400, 50_800), "resolutionunit": 2}, (0.5, 1.0)),
        ({"resolution": (300, 300), "resolutionunit": 2}, None),
        ({}, None),
    ],
)
def test_the_size_of_a_pixel(options: dict[str, Any], expected: tuple[float, float] | None) -> None:
    found = open_picture(written(scaled("u2"), **options)).pixel_size

    assert found == (pytest.approx(expected) if expected else None)


def stack(*sizes: int) -> NDArray[Any]:
    """Pictures that are all different: the first value of each is its number."""
    count = int(np.prod(sizes))
    pictures = np.stack([scaled("u2") // 2 + i for i in range(count)])
    return pictures.reshape(*sizes, HEIGHT, WIDTH).astype(np.uint16)


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_each_plane_of_a_hyperstack_is_found(kind: str, compression: str | None) -> None:
    values = stack(3, 2, 4)
    options: dict[str, Any] = {"metadata": {"axes": "TZCYX"}, "compression": compression}
    if kind != "shaped":
        options[kind] = True
    content = written(values, photometric="minisblack", **options)

    for time, z, channel in product(range(3), range(2), range(4)):
        picture = open_picture(content, place=Place(time=time, z=z, channel=channel))

        np.testing.assert_array_equal(picture.values, np.moveaxis(values[time, z], 0, 2))
        np.testing.assert_array_equal(picture.gray, values[time, z, channel])
        assert picture.axes == (Axis("time", 3, time), Axis("z", 2, z), Axis("channel", 4, channel))


def test_pages_are_found_and_of_different_sizes() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for number in range(3):
            file.write(scaled("u2")[: 20 + number] // 2 + number, metadata=None)

    for number in range(3):
        picture = open_picture(buffer.getvalue(), place=Place(page=number))

        assert picture.values.shape == (20 + number, WIDTH)
        assert picture.values[0, 0] == number
        assert picture.axes == (Axis("page", 3, number),)
    with pytest.raises(PhotoError, match="ends with page 3"):
        open_picture(buffer.getvalue(), place=Place(page=3))


def test_the_first_that_is_not_empty_is_shown() -> None:
    values = np.zeros((3, 2, HEIGHT, WIDTH), np.uint16)
    values[1, 1] = scaled("u2")
    content = written(values, imagej=True, metadata={"axes": "ZCYX"})

    picture = open_picture(content)

    assert picture.axes == (Axis("z", 3, 1), Axis("channel", 2, 1))
    np.testing.assert_array_equal(picture.gray, values[1, 1])
    empty = open_picture(written(np.zeros((2, 9, 9), np.uint16), photometric="minisblack"))
    assert empty.axes[0].index == 0


def test_channels_have_their_names_and_ranges() -> None:
    values = stack(2)
    ome = written(
        values,
        ome=True,
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}},
    )
    imagej = written(
        values, imagej=True, metadata={"axes": "CYX", "Ranges": (0.0, 9999.0, 5.0, 55.0)}
    )

    assert open_picture(ome).channels == ("DAPI", "GFP")
    assert open_picture(imagej, place=Place(channel=1)).shown == (5, 55)
    assert open_picture(imagej).channels == ("", "")


def test_samples_that_are_no_colours_are_channels() -> None:
    values = scaled("u2", 5)
    for planes in (False, True):
        picture = open_picture(
            written(
                np.moveaxis(values, 2, 0) if planes else values,
                photometric="minisblack",
                planarconfig="separate" if planes else "contig",
            )
        )

        np.testing.assert_array_equal(picture.values, values)
        assert picture.axes == (Axis("channel", 5, 0),)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_alpha_is_laid_over_white_and_not_counted(dtype: str) -> None:
    values = scaled(dtype, 4)
    values[:, :, 3] = 0
    content = written(values, photometric="rgb", extrasamples=["unassalpha"])

    picture = open_picture(content)

    assert (picture.photo == 255).all()
    if dtype != "u1":
        np.testing.assert_array_equal(picture.values, values[:, :, :3])


def test_an_imagej_look_up_table_colours_the_photo_and_not_the_values() -> None:
    values = scaled("u1")
    green = np.zeros((3, 256), np.uint8)
    green[1] = np.arange(256)
    content = written(values, imagej=True, colormap=green.astype(np.uint16) * 257, metadata={})

    picture = open_picture(content)

    np.testing.assert_array_equal(picture.photo[:, :, 1], values)
    assert not picture.photo[:, :, [0, 2]].any()


@pytest.mark.parametrize("tag", [50706, 33422])
def test_a_camera_s_raw_file_is_refused_by_name(tag: int) -> None:
    content = written(
        scaled("u1", 3), photometric="rgb", extratags=[(tag, "B", 4, (1, 4, 0, 0), True)]
    )

    with pytest.raises(PhotoError, match="raw file of a camera"):
        open_picture(content)


def test_a_thumbnail_before_the_picture_is_not_taken_for_it() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(scaled("u1")[:10, :10], subfiletype=1, metadata=None)
        file.write(scaled("u1"), subfiletype=0, metadata=None)

    with pytest.raises(PhotoError, match="raw file of a camera"):
        open_picture(buffer.getvalue())


def test_colours_that_pillow_knows_are_left_to_it() -> None:
    color = Image.fromarray(scaled("u1", 3))
    for image in (color.convert("YCbCr"), Image.merge("LAB", color.split())):
        buffer = io.BytesIO()
        image.save(buffer, "TIFF", compression="tiff_lzw")
        expected = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))

        np.testing.assert_array_equal(open_picture(buffer.getvalue()).photo, expected)


def test_a_file_that_lies_about_its_pixels_is_refused() -> None:
    content = bytearray(written(scaled("u2")))
    page = tifffile.TiffFile(io.BytesIO(content)).pages.first
    struct.pack_into("<I", content, page.tags[256].valueoffset, 60_000)

    with pytest.raises(PhotoError):
        open_picture(bytes(content))


def test_a_page_without_pixels_ends_the_search_for_series() -> None:
    class File:
        is_shaped = True
        pages = SimpleNamespace(first=SimpleNamespace(shape=(HEIGHT, -WIDTH)))

        @property
        def series(self) -> None:
            pytest.fail("tifffile was asked for the series")

    with pytest.raises(ValueError, match="no pixels"):
        tiff._stacks(cast("tifffile.TiffFile", File()))
