#!/bin/bash
# Pillow 12.3.0 and opencv-python-headless 4.14.0.94: a grey TIFF in which 0 means white opens correctly
# with 8 bits, and as a negative with 16.
#
# One would expect: by TIFF 6.0 a grey picture's tag 262 (PhotometricInterpretation) says whether 0 is
# white or black, and what it says does not depend on the number of bits. A reader that inverts the
# first kind with 8 bits, so that 0 is black in its result, also does with 16, or else refuses them.
#
# Instead: both readers invert 8 bits only. They return the numbers of 16 bits as stored, without a
# warning, and nothing in the mode or the array says that 0 is white. Pillow does that with
# little-endian files; it cannot identify big-endian ones. So the same scene, saved with more bits for
# accuracy, is measured as its negative. Whoever reads such files has to look at tag 262 and to
# subtract from 65535.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pillow==12.3.0 opencv-python-headless==4.14.0.94 numpy==2.4.6 2>/dev/null

cat > "$folder/white.py" <<'PYTHON'
import io
import struct

import cv2
import numpy as np
from PIL import Image


def tiff(pixels, zero, order):
    """A grey TIFF without compression in one strip; `zero` is tag 262: 0 white, 1 black."""
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    height, width = pixels.shape
    tags = {
        256: width,
        257: height,
        258: 8 * pixels.itemsize,
        259: 1,
        262: zero,
        273: 8,  # where the strip begins
        277: 1,
        278: height,
        279: len(data),
    }
    entries = [
        struct.pack(order + "HHII", tag, 4, 1, value)
        if tag in (273, 279)
        else struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
        for tag, value in tags.items()
    ]
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HI", 42, 8 + len(data))
    folder = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    return head + data + folder


def by_pillow(content):
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image)[0].tolist()
    except OSError as error:
        return type(error).__name__


def by_opencv(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)[0].tolist()


for dtype in (np.uint8, np.uint16):
    top = np.iinfo(dtype).max
    shades = np.array([[0, top // 4, top]] * 4, dtype)  # black, dark, white
    for order, name in (("<", "little"), (">", "big")):
        for zero, meaning in ((1, "black"), (0, "white")):
            content = tiff(shades if zero else top - shades, zero, order)
            print(f"{dtype.__name__}, {name}-endian, zero is {meaning}:", end=" ")
            print(f"Pillow {by_pillow(content)}, OpenCV {by_opencv(content)}")
PYTHON

"$folder/venv/bin/python" "$folder/white.py" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
uint8, little-endian, zero is black: Pillow [0, 63, 255], OpenCV [0, 63, 255]
uint8, little-endian, zero is white: Pillow [0, 63, 255], OpenCV [0, 63, 255]
uint8, big-endian, zero is black: Pillow [0, 63, 255], OpenCV [0, 63, 255]
uint8, big-endian, zero is white: Pillow [0, 63, 255], OpenCV [0, 63, 255]
uint16, little-endian, zero is black: Pillow [0, 16383, 65535], OpenCV [0, 16383, 65535]
uint16, little-endian, zero is white: Pillow [65535, 49152, 0], OpenCV [65535, 49152, 0]
uint16, big-endian, zero is black: Pillow [0, 16383, 65535], OpenCV [0, 16383, 65535]
uint16, big-endian, zero is white: Pillow UnidentifiedImageError, OpenCV [65535, 49152, 0]
SEEN
