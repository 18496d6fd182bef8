"""Colours given by H.273's code points, as browsers show them."""

import base64
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray

from models.color_coding import Coding, of_heif, to_srgb
from models.images import open_photo, open_picture

REC_2020, DISPLAY_P3, SRGB, PQ, HLG = 9, 12, 13, 16, 18
# Linear BT.2020 and Display P3 in linear sRGB, ITU-R BT.2407 and CSS Color 4.
FROM_2020 = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
FROM_P3 = [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]

COLORS = np.array([[1, 1, 1], [0.2, 0.3, 0.6], [1, 0.5, 0.4], [0.4, 0.9, 0.5], [0, 0, 0]])


def pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084: the code value of a luminance in cd/m2."""
    power = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def encoded(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB from 0 to 255."""
    linear = np.clip(linear, 0, 1)
    curve = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * curve


def png(values: NDArray[np.float64], coding: tuple[int, int], depth: int) -> bytes:
    """A PNG of RGB values in [0, 1] with a cICP chunk."""
    stored = np.rint(values * (2**depth - 1)).astype(">u2" if depth == 16 else "u1")
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    header = struct.pack(">IIBBBBB", stored.shape[1], stored.shape[0], depth, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"cICP", bytes([*coding, 0, 1])), (b"IDAT", zlib.compress(rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data) for kind, data in (*chunks, (b"IEND", b""))
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def heic(values: NDArray[np.float64], coding: tuple[int, int]) -> bytes:
    import io

    deep = np.rint(np.kron(values, np.ones((32, 32, 1))) * 65535).astype(np.uint16)
    buffer = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", deep.shape[1::-1], deep.tobytes()).save(
        buffer,
        quality=-1,
        color_primaries=coding[0],
        transfer_characteristics=coding[1],
        matrix_coefficients=0,
        full_range_flag=1,
        chroma=444,
    )
    return buffer.getvalue()


@pytest.mark.parametrize("depth", [8, 16])
def test_hdr_stated_to_be_no_brighter_than_white_looks_as_without_hdr(depth: int) -> None:
    """Reference white, 203 cd/m2 by ITU-R BT.2408, becomes white."""
    content = png(pq(COLORS[np.newaxis] * 203), (REC_2020, PQ), depth)
    light = chunk(b"cLLI", struct.pack(">II", 203 * 10_000, 0))

    photo = open_photo(content[:33] + light + content[33:])

    expected = encoded(COLORS @ np.transpose(FROM_2020))
    np.testing.assert_allclose(photo[0], expected, atol=4 if depth == 8 else 3)


# The greys that Chromium 156 shows for luminances in cd/m2, if the file states no brightest light.
SHOWN = {0: 0, 5: 29, 26: 72, 50: 98, 100: 136, 150: 164, 203: 187, 300: 211, 400: 223, 600: 239}
SHOWN |= {1000: 255, 4000: 255}
TONED = 0.5  # up to white, this share of the light remains then


def test_bright_hdr_is_toned_as_in_a_browser() -> None:
    light = np.array([list(SHOWN)], np.float64)[:, :, np.newaxis] * np.ones(3)

    photo = open_photo(png(pq(light), (REC_2020, PQ), 16))

    np.testing.assert_allclose(photo[0, :, 0], list(SHOWN.values()), atol=2)
    assert (np.ptp(photo[0].astype(int), axis=1) <= 1).all()


def test_bright_hdr_keeps_its_hues() -> None:
    """All channels are scaled by one factor, in the primaries of the file."""
    strongest = np.array([1000.0, 1000, 1000])
    light = np.concatenate([COLORS[1:4] * 203, np.diag(strongest)])[np.newaxis]

    photo = open_photo(png(pq(light), (DISPLAY_P3, PQ), 16))

    toned = COLORS[1:4] * TONED
    np.testing.assert_allclose(photo[0, :3], encoded(toned @ np.transpose(FROM_P3)), atol=3)


def test_dark_hdr_is_toned_as_bright_hdr() -> None:
    """A browser decides by what the file states, not by its pixels."""
    light = np.array([list(SHOWN)], np.float64)[:, :, np.newaxis] * np.ones(3)

    photo = open_photo(png(pq(light[:, :6]), (REC_2020, PQ), 16))

    np.testing.assert_allclose(photo[0, :, 0], list(SHOWN.values())[:6], atol=2)


def test_hlg_is_shown_as_on_a_screen_of_1000_candelas() -> None:
    """Levels of grey from black to white, as Chromium 156 shows them; BT.2100 by its formulas."""
    scene = np.linspace(0, 1, 16)
    coded = np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )
    photo = open_photo(png(np.tile(coded[:, np.newaxis], (1, 1, 3)), (REC_2020, HLG), 16))

    shown = [0, 87, 129, 161, 188, 205, 216, 223, 230, 235, 239, 243, 247, 250, 252, 255]
    np.testing.assert_allclose(photo[0, :, 1], shown, atol=2)


def test_wide_colours_without_a_profile_are_brought_to_srgb() -> None:
    linear = np.where(COLORS <= 0.04045, COLORS / 12.92, ((COLORS + 0.055) / 1.055) ** 2.4)
    expected = encoded(linear @ np.transpose(FROM_P3))

    in_png = open_photo(png(COLORS[np.newaxis], (DISPLAY_P3, SRGB), 8))
    in_heic = open_photo(heic(COLORS[np.newaxis], (DISPLAY_P3, SRGB)))

    np.testing.assert_allclose(in_png[0], expected, atol=2)
    np.testing.assert_allclose(in_heic[16, 16::32], expected, atol=3)


def test_a_heic_with_hdr_is_toned() -> None:
    photo = open_photo(heic(pq(COLORS[np.newaxis] * 203), (REC_2020, PQ)))

    expected = encoded(TONED * COLORS @ np.transpose(FROM_2020))
    np.testing.assert_allclose(photo[16, 16::32], expected, atol=5)


# COLORS in BT.2020 with PQ, white at 203 cd/m2, by `cjxl -d 0 -x color_space=RGB_D65_202_Rel_PeQ`
# of libjxl 0.7.
JPEG_XL = {
    8: "/woAAAgIICCPHnE4AAAAAAQIAgEAeABLGIsVUlxTb7hdPkW5qD36lQPsnSrBH8A4NFBbmQE=",
    16: "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAAJanhsbAoAAABHanhsY/8KAAAICPgByKNHHA4AAAAA"
    "AQgCAQCcAEsYixVCCsTdAXQtHYB3SjGl6Zcy+XEREW+PLvay15HS36cl32iPAA==",
}


@pytest.mark.parametrize("depth", [8, 16])
def test_a_jpeg_xl_with_hdr_is_toned(depth: int) -> None:
    """Its decoder states the coding in an ICC profile that Little CMS takes for another."""
    picture = open_picture(base64.b64decode(JPEG_XL[depth]))

    expected = encoded(TONED * COLORS @ np.transpose(FROM_2020))
    np.testing.assert_allclose(picture.photo[0], expected, atol=3)
    if depth == 16:
        np.testing.assert_allclose(picture.values[0], pq(COLORS * 203) * 65535, atol=1)


def test_the_most_light_that_a_file_states_is_where_toning_ends() -> None:
    """In cLLI, else in mDCV (PNG, third edition, 11.3.2.7 and 11.3.2.8); HEIC has the same."""
    bare = png(pq(COLORS[np.newaxis] * 203), (REC_2020, PQ), 16)
    light = chunk(b"cLLI", struct.pack(">II", 1000 * 10_000, 0))
    screen = chunk(b"mDCV", struct.pack(">8HII", *range(8), 400 * 10_000, 0))

    def white(*chunks: bytes) -> int:
        return int(open_photo(bare[:33] + b"".join(chunks) + bare[33:])[0, 0, 0])

    assert white() == white(light) == white(screen, light)
    assert white() == pytest.approx(encoded(np.array(TONED)), abs=1)
    assert white() < white(screen) < 255


def test_the_values_of_a_16_bit_hdr_picture_stay_those_of_the_file() -> None:
    coded = pq(COLORS[np.newaxis] * 1000)

    picture = open_picture(png(coded, (REC_2020, PQ), 16))

    np.testing.assert_array_equal(picture.values, np.rint(coded * 65535))


def test_codings_of_srgb_and_unknown_ones_change_nothing() -> None:
    values = np.random.default_rng(0).random((9, 9, 3))
    expected = np.rint(values * 255)

    for coding in ((1, SRGB), (2, 2), (99, 13), (1, 99)):
        np.testing.assert_array_equal(open_photo(png(values, coding, 8)), expected)
    assert to_srgb(Coding(1, SRGB)) is None
    assert to_srgb(Coding(1, 1)) is None


def test_damaged_boxes_say_nothing() -> None:
    content = heic(COLORS[np.newaxis], (DISPLAY_P3, SRGB))
    assert of_heif(content) == Coding(DISPLAY_P3, SRGB)

    for length in range(0, 600, 7):
        assert of_heif(content[:length]) in (None, Coding(DISPLAY_P3, SRGB))
