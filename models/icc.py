"""ICC profiles: converts the colours of cameras, phones and screens to sRGB."""

import io
import logging
import struct
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.picture import Photo

logger = logging.getLogger(__name__)


def to_srgb(
    content: bytes | None, mode: str
) -> Callable[[Image.Image], Image.Image | Photo] | None:
    """The function that converts pictures with an ICC profile to sRGB; None if nothing changes.

    Parameters
    ----------
    content
        The profile; an invalid one, or one for another kind of picture, changes nothing.
    mode
        Pillow's mode of the pictures: "L", "RGB" or "CMYK".
    """
    if not content:
        return None
    try:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        transform = ImageCms.ImageCmsTransform(profile, srgb, mode, "RGB")
        if mode != "RGB":
            return transform.apply
        # Most profiles are sRGB under one of many names, and change nothing.
        colors = Image.fromarray(_COLORS)
        changed = np.asarray(transform.apply(colors))
        if _most_different(changed, _COLORS) <= 2:
            return None
    except MemoryError:
        raise
    except Exception:  # a profile for another kind of picture, or a damaged one
        logger.debug("The colour profile cannot be used.", exc_info=True)
        return None
    try:
        tables = _profile_tables(content, srgb.tobytes())
        if _most_different(_look_up(tables, colors), changed) <= 2:
            return partial(_look_up, tables)
    except (ValueError, KeyError, struct.error, np.linalg.LinAlgError):
        logger.debug("The colour profile is more than curves and a matrix.", exc_info=True)
    return transform.apply


def tags(profile: bytes) -> dict[bytes, bytes]:
    """The tags of a profile (ICC.1:2022, section 7.3).

    Raises
    ------
    struct.error
        When it is cut off.
    """
    (count,) = struct.unpack_from(">I", profile, 128)
    found = {}
    for number in range(min(count, 100)):
        name, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        found[name] = profile[start : start + size]
    return found


def _most_different(one: Photo, other: Photo) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


# All combinations of eighteen values of each channel.
_COLORS = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), -1).reshape(18, -1, 3)


# In Pillow 12's wheels, Little CMS is compiled without optimisation and takes 35 ns per pixel.
# Cameras and phones embed profiles of three curves and a matrix, which can be computed as sums of
# table entries. A sum holds three linear values of 16 bits, in which _ZERO stands for 0 and _ZERO +
# _ONE for 1: colours outside sRGB have values below 0 and above 1.
_ZERO, _ONE = 3 * 2**13, 2**14

Tables = tuple[NDArray[np.int64], NDArray[np.uint8]]


def _look_up(tables: Tables, image: Image.Image) -> Photo:
    """The colours of an RGB picture in sRGB, by the tables of `_profile_tables`."""
    linear, encoded = tables
    values = np.asarray(image)
    # "clip" has nothing to clip; it is the mode that makes no copy.
    packed = np.take(linear[0], values[:, :, 0], mode="clip")
    packed += np.take(linear[1], values[:, :, 1], mode="clip")
    packed += np.take(linear[2], values[:, :, 2], mode="clip")
    photo = np.empty(values.shape, np.uint8)
    for channel in range(3):
        photo[:, :, channel] = np.take(encoded, packed & 0xFFFF, mode="clip")
        packed >>= 16
    return photo


def _profile_tables(content: bytes, srgb: bytes) -> Tables:
    """Tables that convert colours of an RGB profile of curves and a matrix to another one, sRGB.

    Returns
    -------
    `(3, 256)` int64: what each value of a channel adds to red, green and blue, packed; and
    `(65536,)` uint8: the sRGB value for each packed value.

    Raises
    ------
    ValueError, KeyError, struct.error, LinAlgError
        If the profile is of another kind, or damaged.
    """
    curves, matrix = _curves_and_matrix(content)
    srgb_curves, srgb_matrix = _curves_and_matrix(srgb)
    mixed = np.linalg.solve(srgb_matrix, matrix)
    parts = np.rint(_ONE * mixed[:, :, np.newaxis] * curves).astype(np.int64)  # to, from, value
    parts[:, 0] += _ZERO
    if parts.min(2).sum(1).min() < 0 or parts.max(2).sum(1).max() >= 2**16:
        raise ValueError("The colours lie far outside of sRGB.")
    linear = parts[0] + (parts[1] << 16) + (parts[2] << 32)
    values = (np.arange(2**16) - _ZERO) / _ONE
    return linear, np.rint(np.interp(values, srgb_curves[0], np.arange(256))).astype(np.uint8)


def _curves_and_matrix(profile: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The linear values of each channel, `(3, 256)`, and the matrix to XYZ, of an ICC profile.

    ICC.1:2022, sections 10.6, 10.18 and 10.31.
    """
    found = tags(profile)
    curves = np.stack([_curve(found[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
    columns = [_fixed(found[name], 3, 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return curves, np.stack(columns, 1)


def _curve(tag: bytes) -> NDArray[np.float64]:
    """The linear values of a channel's 256 values, by a curve of an ICC profile."""
    values = np.linspace(0, 1, 256)
    if tag[:4] == b"para":
        numbers = _fixed(tag, {0: 1, 3: 5}[int.from_bytes(tag[8:10])], 12)
        gamma, a, b, c, d = [*numbers, 1, 0, 0, 0][:5]
        return np.where(values < d, c * values, np.maximum(a * values + b, 0) ** gamma)
    if tag[:4] != b"curv":
        raise ValueError("This is not a curve.")
    points = np.frombuffer(tag, ">u2", int.from_bytes(tag[8:12]), 12)
    if len(points) < 2:
        return values ** (points[0] / 256 if len(points) else 1)
    return np.interp(values, np.linspace(0, 1, len(points)), points / 65535)


def _fixed(tag: bytes, count: int, start: int) -> NDArray[np.float64]:
    """Fixed-point numbers of an ICC profile."""
    return np.frombuffer(tag, ">i4", count, start) / 65536
