"""Colour profiles of pictures that are not in sRGB."""

import struct
from collections.abc import Sequence

from PIL import ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# XYZ of red, green and blue, for D50.
PRIMARIES = {
    "Display P3": ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)),
    "Adobe RGB": ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)),
    "ProPhoto RGB": ((0.7977, 0.2880, 0), (0.1352, 0.7119, 0), (0.0313, 0.0001, 0.8249)),
}
CURVES = {
    "as sRGB": b"",
    "gamma as a number": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)),
    "gamma as a formula": b"para\0\0\0\0" + struct.pack(">HHi", 0, 0, round(1.8 * 65536)),
    "a table": b"curv\0\0\0\0" + struct.pack(">I5H", 5, 0, 4096, 16384, 36864, 65535),
    "none": b"curv" + bytes(8),
}


def profile(primaries: Sequence[Sequence[float]], curve: bytes = b"") -> bytes:
    """The sRGB profile with other primaries, and another curve if one is given."""
    content = bytearray(SRGB)
    (count,) = struct.unpack_from(">I", content, 128)
    for number in range(count):
        name, start, _ = struct.unpack_from(">4sII", content, 132 + 12 * number)
        if name in (b"rXYZ", b"gXYZ", b"bXYZ"):
            xyz = primaries[(b"rXYZ", b"gXYZ", b"bXYZ").index(name)]
            struct.pack_into(">3i", content, start + 8, *(round(65536 * value) for value in xyz))
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            content[start : start + len(curve)] = curve
    return bytes(content)


DISPLAY_P3 = profile(PRIMARIES["Display P3"])
