"""Fast resampling of 8-bit pictures, for viewing and for previews (`models.previews`).

A network's own input is made as it was trained and measured: see `models.preprocessing`. This is a
separate module so that the processes that decode uploads need not load OpenCV.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

cv2.setNumThreads(1)  # the other cores have other answers to compute


def bilinear(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """`(rows, columns)` or `(rows, columns, 3)` uint8 at another size, interpolated bilinearly.

    OpenCV takes a tenth of Pillow's time, but uses only the two nearest pixels along each side. So
    reductions to half the size or less are first done by a whole factor, with Pillow.

    Examples
    --------
    >>> bilinear(np.array([[0, 100]], np.uint8), 1, 4).tolist()
    [[0, 25, 75, 100]]
    """
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    if rows >= 2 * height or columns >= 2 * width:
        image = Image.fromarray(picture)
        small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1.0)
        return np.asarray(small)
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
