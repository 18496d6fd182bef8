"""Pictures of a single stain: they are grey pictures, in whatever colour they are shown."""

import numpy as np
from numpy.typing import NDArray

from models.picture import Photo, Picture, Values
from models.stretch import percentile_range, to_8_bits

# How far a pixel's channels may be from the stain's colour, in grey levels, and how many per cent
# of the pixels may be farther: JPEG shifts colours a little.
TOLERANCE, OUTLIERS = 16, 1.0
DEPTHS = (8, 10, 12, 14, 16)  # bit depths of microscope cameras


def single_stain(photo: Photo) -> NDArray[np.uint8] | None:
    """The brightness of a picture whose pixels all range from black to one colour.

    Microscope software shows a channel in a colour of choice, whose brightest channel has the
    values.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8 RGB.

    Returns
    -------
    `(height, width)` uint8; None if the picture has several colours.

    Examples
    --------
    >>> single_stain(np.array([[[0, 200, 200], [0, 20, 20]]], np.uint8))
    array([[200,  20]], dtype=uint8)
    >>> single_stain(np.array([[[0, 200, 200], [20, 0, 0]]], np.uint8)) is None
    True
    """
    strongest = int(photo.sum(axis=(0, 1)).argmax())
    brightness = photo[:, :, strongest]
    wide = brightness.astype(np.float32)
    energy = float(np.square(wide, dtype=np.float64).sum())
    if not energy:
        return brightness.copy()
    allowed = photo.shape[0] * photo.shape[1] * OUTLIERS / 100
    for channel in {0, 1, 2} - {strongest}:
        share = float((wide * photo[:, :, channel]).sum(dtype=np.float64)) / energy
        away = np.abs(photo[:, :, channel] - share * wide) > TOLERANCE
        if np.count_nonzero(away) > allowed:
            return None
    return brightness.copy()


def micrograph(picture: Picture) -> Photo:
    """A picture as networks expect micrographs: grey if it has one stain, unstretched.

    They were trained on 8-bit pictures with unstretched contrast. So a deeper picture is scaled to
    8 bits by the bit depth of its camera: the smallest common one that holds its brightest value.

    Returns
    -------
    `(height, width, 3)` uint8 RGB at the size of the values.

    Examples
    --------
    >>> deep = np.array([[0, 16 * 100, 16 * 255]], np.uint16)
    >>> picture = Picture(np.zeros((1, 3, 3), np.uint8), deep, (1, 3), (0, 4095), channels=())
    >>> micrograph(picture)[:, :, 0]
    array([[  0, 100, 254]], dtype=uint8)
    """
    photo = picture.photo
    if picture.deep:
        values = picture.counted
        photo = to_8_bits(values, *_depth(values))
    gray = photo if photo.ndim == 2 else single_stain(photo)
    return photo if gray is None else np.repeat(gray[:, :, np.newaxis], 3, axis=2)


def _depth(values: Values) -> tuple[float, float]:
    """The camera's values for black and white, by its bit depth."""
    low, high = float(values.min()), float(values.max())
    if values.dtype == np.uint8:
        return 0.0, 255.0
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    usual = (2.0**bits - 1 for bits in DEPTHS)
    white = next((each for each in usual if each >= high), high)
    return (0.0, white) if low >= 0 else percentile_range(values)
