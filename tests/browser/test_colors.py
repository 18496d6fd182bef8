"""Photos look as Chromium shows them."""

import base64
import io
import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser

from models.images import open_photo
from tests.models.test_color_coding import JPEG_XL, chunk, png, pq

pytestmark = pytest.mark.browser

HEIGHT, WIDTH = 64, 96
BT_709, REC_2020, DISPLAY_P3, SRGB, PQ, HLG = 1, 9, 12, 13, 16, 18


def scene() -> NDArray[np.float64]:
    """Values in [0, 1]: a ramp of all channels, and patches of all colours."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramp = np.stack([x / (WIDTH - 1), y / (HEIGHT - 1), (x + y) / (WIDTH + HEIGHT - 2)], 2)
    patches = np.random.default_rng(0).random((8, 12, 3)).repeat(8, 0).repeat(8, 1)
    return np.where(x[:, :, np.newaxis] < WIDTH // 2, ramp, patches)


def pq_png(peak: float, *chunks: bytes) -> bytes:
    """A PNG of BT.2020 and PQ with light up to a peak, and more chunks."""
    content = png(pq(scene() ** 2 * peak), (REC_2020, PQ), 16)
    return content[:33] + b"".join(chunks) + content[33:]


def states(light: float) -> bytes:
    """The chunk that says how much light there is at most, in cd/m2."""
    return chunk(b"cLLI", struct.pack(">II", int(light * 10_000), 0))


def made_on(light: float) -> bytes:
    """The chunk that says how much light the author's screen had, in cd/m2."""
    points = 35400, 14600, 8500, 39850, 6550, 2300, 15635, 16450
    return chunk(b"mDCV", struct.pack(">8HII", *points, int(light * 10_000), 0))


def turned_jxl() -> bytes:
    """A JPEG XL whose EXIF data states an orientation."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.rint(scene() * 255).astype(np.uint8))
    image.save(buffer, "JXL", lossless=True, exif=exif.tobytes())
    return buffer.getvalue()


def jxl(values: NDArray[np.generic]) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(values, lossless=True))


def avif(values: NDArray[np.float64], coding: tuple[int, int]) -> bytes:
    """An AVIF of 10 bits with nclx colours."""
    primaries, transfer = coding
    return bytes(
        imagecodecs.avif_encode(
            np.rint(values * 1023).astype(np.uint16),
            level=100,
            speed=8,
            bitspersample=10,
            pixelformat="444",
            primaries=primaries,
            transfer=transfer,
            matrix=0,
        )
    )


PICTURES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "8 bits of BT.709": ("png", lambda: png(scene(), (BT_709, BT_709), 8)),
    "16 bits of BT.709": ("png", lambda: png(scene(), (BT_709, BT_709), 16)),
    "Display P3": ("png", lambda: png(scene(), (DISPLAY_P3, SRGB), 16)),
    "BT.2020": ("png", lambda: png(scene(), (REC_2020, 14), 16)),
    "HLG": ("png", lambda: png(scene(), (REC_2020, HLG), 16)),
    "HLG without bright light": ("png", lambda: png(scene() * 0.6, (REC_2020, HLG), 16)),
    "PQ of 8 bits that states nothing": (
        "png",
        lambda: png(pq(scene() ** 2 * 203), (REC_2020, PQ), 8),
    ),
    "PQ no brighter than white that states nothing": ("png", lambda: pq_png(203)),
    "PQ with 1,000 cd/m2": ("png", lambda: pq_png(1000)),
    "PQ with 4,000 cd/m2": ("png", lambda: pq_png(4000)),
    "PQ, stated to be no brighter than white": ("png", lambda: pq_png(203, states(203))),
    "PQ, stated to be brighter than it is": ("png", lambda: pq_png(203, states(4000))),
    "PQ, made on a screen of 600 cd/m2": ("png", lambda: pq_png(600, made_on(600))),
    "AVIF with PQ": ("avif", lambda: avif(pq(scene() ** 2 * 1000), (REC_2020, PQ))),
    "AVIF with PQ no brighter than white": (
        "avif",
        lambda: avif(pq(scene() ** 2 * 203), (REC_2020, PQ)),
    ),
    "AVIF with HLG": ("avif", lambda: avif(scene(), (REC_2020, HLG))),
    "AVIF in Display P3": ("avif", lambda: avif(scene(), (DISPLAY_P3, SRGB))),
    "JPEG XL with PQ": ("jxl", lambda: base64.b64decode(JPEG_XL[16])),
    "JPEG XL of 16 bits": ("jxl", lambda: jxl(np.rint(scene() * 65535).astype(np.uint16))),
    "JPEG XL of floats": ("jxl", lambda: jxl(scene().astype(np.float32))),
    "JPEG XL with EXIF data": ("jxl", turned_jxl),
}


def test_photos_look_as_chromium_shows_them(browser: Browser) -> None:
    """Within 2 of 255 grey levels on average.

    Chromium does not open HEIC, whose nclx colours are those of AVIF.
    """
    page = browser.new_page(viewport={"width": 200, "height": 200})
    away = {}
    for name, (kind, make) in PICTURES.items():
        content = make()
        data = base64.b64encode(content).decode()
        page.set_content(
            f'<body style="margin: 0"><img style="display: block" src="data:image/{kind};base64,'
            f'{data}">'
        )
        if not page.evaluate("document.images[0].decode().then(() => true, () => false)"):
            assert kind == "jxl", name  # older ones cannot show it
            continue
        shown = np.asarray(Image.open(io.BytesIO(page.locator("img").screenshot())).convert("RGB"))
        ours = open_photo(content)
        assert ours.shape == shown.shape, name
        away[name] = float(np.abs(ours.astype(int) - shown).mean())
    page.close()

    assert {name: value for name, value in away.items() if value > 2} == {}
