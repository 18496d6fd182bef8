"""Converts colours to sRGB from the code points of ITU-T H.273, as in PNG's cICP, AVIF and HEIC.

HDR pictures are tone-mapped for a screen without HDR as in Chromium: by the reference white tone
mapping operator of SMPTE ST 2094-50, which keeps proportions below reference white (203 cd/m2,
ITU-R BT.2408) and rolls off above. Its range ends at the brightest light that the file states, else
at 1,000 cd/m2: then white is shown as grey, because there may be something brighter.
"""

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models import icc
from models.picture import Photo

# Red, green, blue and white as x and y of CIE 1931: H.273, table 2.
D65 = (0.3127, 0.3290)
PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65),  # BT.709, sRGB
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), D65),  # BT.601, 625 lines
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),  # BT.601, 525 lines
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),  # Display P3
}
BT_709, SRGB, PQ, HLG = 1, 13, 16, 18  # of H.273, table 3
CAMERA_CURVES = (BT_709, 6, 14, 15)

WHITE = 203.0  # cd/m2
BRIGHTEST = 1000.0  # cd/m2, where the file states none
MOST = 10_000.0  # cd/m2, PQ's limit
LINEAR_STEPS = 4096  # entries of the table from square roots of linear values to sRGB's
KAPPA = 0.65  # of ST 2094-50: how tight the bend is

Convert = Callable[[Photo], Photo]


@dataclass(frozen=True)
class Coding:
    """Code points of H.273 for the primaries and the transfer function of RGB values.

    Attributes
    ----------
    primaries, transfer
        The code points.
    brightest
        The brightest light in cd/m2, of the picture or else of the screen it was made on, as stated
        in the file; 0 if it is not.
    """

    primaries: int
    transfer: int
    brightest: float = 0.0

    @property
    def is_hdr(self) -> bool:
        """Whether values may be brighter than white."""
        return self.transfer in (PQ, HLG)


def of_png(content: bytes) -> Coding | None:
    """The coding in a PNG's cICP chunk (PNG, third edition, 11.3.2.6); None without a known one."""
    chunks = dict(png_chunks(content))
    data = chunks.get(b"cICP", b"")
    if len(data) != 4 or data[2] != 0:
        return None
    most, screen = chunks.get(b"cLLI", b"")[:4], chunks.get(b"mDCV", b"")[16:20]
    light = int.from_bytes(most) / 10_000, int.from_bytes(screen) / 10_000
    return _known(data[0], data[1], light[0], light[1])


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG before its pixels."""
    place = 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind in (b"IDAT", b"IEND"):
            return
        yield kind, content[place + 8 : place + 8 + length]
        place += 12 + length


def of_profile(profile: bytes | None) -> Coding | None:
    """What the "cicp" tag of an ICC profile says (ICC.1:2022, 10.3), if that is HDR.

    Little CMS knows nothing of HDR.
    """
    try:
        tag = icc.tags(profile or b"").get(b"cicp", b"")
    except struct.error:
        return None
    coding = _known(tag[8], tag[9]) if len(tag) >= 12 and tag[10] == 0 else None
    return coding if coding and coding.is_hdr else None


def of_heif(content: bytes) -> Coding | None:
    """The coding in the "nclx" colours of a HEIC's or AVIF's primary picture (ISO/IEC 14496-12)."""
    try:
        return _nclx(content)
    except (struct.error, IndexError):
        return None


def _nclx(content: bytes) -> Coding | None:
    meta = next((body for kind, body in _boxes(content) if kind == b"meta"), b"")[4:]
    boxes = dict(_boxes(meta))
    layout = ">H" if boxes.get(b"pitm", b"\1")[0] == 0 else ">I"
    (primary,) = struct.unpack_from(layout, boxes.get(b"pitm", b""), 4)
    properties = dict(_boxes(boxes.get(b"iprp", b"")))
    everything = list(_boxes(properties.get(b"ipco", b"")))
    points, most, screen = None, 0.0, 0.0
    for index in _associated(properties.get(b"ipma", b""), primary):
        kind, body = everything[index - 1]
        if kind == b"colr" and body[:4] == b"nclx":
            points = struct.unpack_from(">HH", body, 4)
        elif kind == b"clli":
            most = float(int.from_bytes(body[:2]))
        elif kind == b"mdcv":
            screen = int.from_bytes(body[16:20]) / 10_000
    return _known(points[0], points[1], most, screen) if points else None


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        start = place + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, start)
            start += 8
        end = place + size if size else len(content)
        if end < start:
            return
        yield kind, content[start:end]
        place = end


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers of a picture's properties."""
    version, flags = ipma[0], ipma[3]
    (count,) = struct.unpack_from(">I", ipma, 4)
    place = 8
    for _ in range(min(count, 10_000)):
        (number,) = struct.unpack_from(">I" if version else ">H", ipma, place)
        place += 4 if version else 2
        entries, place = ipma[place], place + 1
        wide = flags & 1
        indexes = [
            struct.unpack_from(">H" if wide else ">B", ipma, place + (1 + wide) * i)[0]
            & (0x7FFF if wide else 0x7F)
            for i in range(entries)
        ]
        if number == item:
            return [index for index in indexes if index]
        place += entries * (1 + wide)
    return []


def _known(primaries: int, transfer: int, most: float = 0.0, screen: float = 0.0) -> Coding | None:
    """The coding, if it is known; with the picture's brightest light, or else its screen's."""
    primaries = 1 if primaries == 2 else primaries
    if primaries not in PRIMARIES or transfer not in (2, 4, 5, 8, SRGB, PQ, HLG, *CAMERA_CURVES):
        return None
    return Coding(primaries, SRGB if transfer == 2 else transfer, most or screen)


def to_srgb(coding: Coding, is_png: bool = False) -> Convert | None:
    """The function that converts a coding's 8-bit RGB values to sRGB; None if they stay the same.

    Parameters
    ----------
    coding
        What the values mean.
    is_png
        Chromium treats BT.709's curve as that of its screens in PNG, and as sRGB's in AVIF.
    """
    if coding.transfer in CAMERA_CURVES and not is_png:
        coding = replace(coding, transfer=SRGB)
    if (coding.primaries, coding.transfer) == (1, SRGB):
        return None
    linear = _linear(coding.transfer, np.arange(256) / 255)
    matrix = np.linalg.solve(_to_xyz(1), _to_xyz(coding.primaries)).T.astype(np.float32)
    luminance = _to_xyz(coding.primaries)[1].astype(np.float32)
    encoded = _encoded()
    stated = coding.brightest if coding.transfer == PQ else 0.0
    peak = min(max(stated or BRIGHTEST, WHITE), MOST)

    def convert(photo: Photo) -> Photo:
        light = linear[photo]
        if coding.transfer == HLG:  # BT.2100: the system's gamma on a screen of 1,000 cd/m2
            brightness = light @ luminance
            light *= (BRIGHTEST / WHITE) * np.power(brightness, np.float32(0.2))[:, :, np.newaxis]
        if coding.is_hdr:
            light *= _gain(light.max(axis=2), peak)[:, :, np.newaxis]
        light = light @ matrix
        np.clip(light, 0, 1, out=light)
        np.sqrt(light, out=light)
        return encoded[(light * (LINEAR_STEPS - 1) + 0.5).astype(np.uint16)]

    return convert


def _linear(transfer: int, values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Light of coded values: 1 is white; for HLG, 1 is the brightest possible light."""
    linear: NDArray[np.float64]
    if transfer == PQ:  # SMPTE ST 2084
        root = values ** (1 / 78.84375)
        light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        linear = 10_000 / WHITE * light ** (1 / 0.1593017578125)
    elif transfer == HLG:  # BT.2100
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        linear = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    elif transfer == SRGB:
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    elif transfer == 8:
        linear = values
    elif transfer in (4, 5):
        linear = values ** (2.2 if transfer == 4 else 2.8)
    else:  # such pictures are graded for the screen of BT.1886
        linear = values**2.4
    return linear.astype(np.float32)


def _encoded() -> NDArray[np.uint8]:
    """SRGB's 8-bit value for each of `LINEAR_STEPS` square roots of light."""
    light = np.linspace(0, 1, LINEAR_STEPS) ** 2
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255).astype(np.uint8)


def _gain(strongest: NDArray[np.float32], peak: float) -> NDArray[np.float32]:
    """The factor for the light of a pixel, by its strongest channel: ST 2094-50, annex C."""
    headroom = peak / WHITE
    if headroom <= 1:
        return np.ones_like(strongest)
    white = 1 - 0.5 * min(math.log(headroom) / math.log(BRIGHTEST / WHITE), 1)
    # A parabola from (1, white) to (headroom, 1) that continues the slope before it.
    middle = 1 - KAPPA + KAPPA / white, (1 - KAPPA) * white + KAPPA
    x = np.linspace(1, headroom, 1024)
    a, b, c = 1 - 2 * middle[0] + headroom, 2 * (middle[0] - 1), 1 - x
    t = 2 * -c / (b + np.sqrt(b * b - 4 * a * c))
    y = white + 2 * (middle[1] - white) * t + (white - 2 * middle[1] + 1) * t * t
    toned = np.interp(strongest, np.append([0, 1], x[1:]), np.append([0, white], y[1:]))
    return np.divide(toned, strongest, out=np.ones_like(strongest), where=strongest > 0)


def _to_xyz(primaries: int) -> NDArray[np.float64]:
    """The matrix from linear RGB to XYZ, where white is (1, 1, 1) in RGB."""
    *colors, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in PRIMARIES[primaries])
    columns = np.stack(colors, 1)
    return columns * np.linalg.solve(columns, white)
