"""A photo at the size at which people look at it and networks get it.

Each percentage depends a little on how the photo was reduced before a network saw it. So the page,
the albums, the endpoints and the command line reduce it here, in the same way, and say the same of
the same pet.
"""

import os
from collections.abc import Callable

import numpy as np
from PIL import Image

from models import images
from models.drawing import reduced
from models.images import Photo
from models.picture import Picture

# Longer side in pixels. A phone's photo has 4,000 or more, and decoding a JPEG at a quarter of its
# size takes 60 % of the time of a half.
SIDE = 1000
# A slight reduction would only blur the photo.
CLEARLY_TOO_LARGE = 1.1 * SIDE

Read = Callable[..., Picture]


def preview(photo: Photo | Image.Image) -> Photo:
    """A photo, reduced if it is clearly too large: `(height, width, 3)` uint8 RGB.

    Examples
    --------
    >>> preview(np.zeros((3000, 4000, 3), np.uint8)).shape
    (750, 1000, 3)
    """
    pixels = np.asarray(photo)
    return reduced(pixels, SIDE) if max(pixels.shape) > CLEARLY_TOO_LARGE else pixels


def of_file(
    source: str | os.PathLike[str] | bytes,
    whole: Photo | Image.Image,
    read: Read = images.open_picture,
) -> Photo:
    """The preview of a file that was decoded at full size already.

    Parameters
    ----------
    source
        A path, or the bytes of the file.
    whole
        Its photo.
    read
        A function like `models.images.open_picture`. A large JPEG is decoded once more at about the
        preview's size, as where only the preview is needed; that takes less time than to reduce it.

    Raises
    ------
    models.images.PhotoError
        If the file cannot be read any more.
    """
    size = whole.size if isinstance(whole, Image.Image) else whole.shape[:2]
    if images.decodes_reduced(source, max(size), SIDE):
        return preview(read(source, SIDE).photo)
    return preview(whole)
