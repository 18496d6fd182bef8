"""The grey channels of a colour picture, one of which is thresholded."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Channel = Literal[
    "luminance", "red", "green", "blue", "saturation", "hue", "lightness", "lab_a", "lab_b"
]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
RGB = ("red", "green", "blue")
LAB = ("lightness", "lab_a", "lab_b")
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601

STRIP = 2**18  # pixels whose L*a*b* values are in memory at a time: about a hundred bytes each


def gray_channel(picture: NDArray[Any], channel: Channel = "luminance") -> NDArray[Any]:
    """One channel of a picture as a `(height, width)` array.

    Luminance is ITU-R BT.601's luma. Saturation is that of HSV, scaled to the range of an integer
    type and in [0, 1] for floats. Hue is in degrees, [0, 360), and 0 where there is none. Lightness
    is L* of CIE 1976 L*a*b* with white D65, in [0, 100]; `lab_a` (from green to red) and `lab_b`
    (from blue to yellow) are its a* and b*, in about [-110, 110]. The last four are computed by
    scikit-image, which scales integers by their type's range.

    Parameters
    ----------
    picture
        `(height, width, 3)` RGB: uint8, other unsigned integers or floats in [0, 1]; or
        `(height, width)`, which stands for three equal channels.
    channel
        One of `CHANNELS`.

    Returns
    -------
    The picture's own type for luminance, red, green, blue and saturation; float64 otherwise.

    Raises
    ------
    ValueError
        For another channel.
    """
    if channel not in CHANNELS:
        raise ValueError(f"The channel must be one of {', '.join(CHANNELS)}, not {channel!r}.")
    if picture.ndim == 2:
        if channel in ("luminance", *RGB):
            return picture
        picture = np.broadcast_to(picture[:, :, np.newaxis], (*picture.shape, 3))
    if channel in RGB:
        return np.ascontiguousarray(picture[:, :, RGB.index(channel)])
    if channel == "luminance":
        return _luminance(picture)
    if channel == "saturation":
        return _saturation(picture)
    return _by_strips(picture, channel)


def _luminance(picture: NDArray[Any]) -> NDArray[Any]:
    if picture.dtype == np.uint8:
        return np.asarray(Image.fromarray(picture).convert("L"))
    gray = picture @ np.array(LUMA)
    exact = np.issubdtype(picture.dtype, np.integer)
    return (np.rint(gray) if exact else gray).astype(picture.dtype)


def _saturation(picture: NDArray[Any]) -> NDArray[Any]:
    if picture.dtype == np.uint8:
        return np.asarray(Image.fromarray(picture).convert("HSV").getchannel("S"))
    most = picture.max(axis=2)
    spread = (most - picture.min(axis=2)).astype(np.float64)
    share = np.divide(spread, most, out=np.zeros_like(spread), where=most > 0)
    if not np.issubdtype(picture.dtype, np.integer):
        return share.astype(picture.dtype)
    return (share * np.iinfo(picture.dtype).max).astype(picture.dtype)


def _by_strips(picture: NDArray[Any], channel: Channel) -> NDArray[np.float64]:
    from skimage import color  # takes half a second to import, so only when needed

    gray = np.empty(picture.shape[:2])
    rows = max(STRIP // picture.shape[1], 1)
    for top in range(0, len(picture), rows):
        strip = picture[top : top + rows]
        if channel == "hue":
            gray[top : top + rows] = color.rgb2hsv(strip)[:, :, 0] * 360
        else:
            gray[top : top + rows] = color.rgb2lab(strip)[:, :, LAB.index(channel)]
    return gray
