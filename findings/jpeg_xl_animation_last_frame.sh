#!/bin/bash
# pillow-jxl-plugin 1.3.8 with pillow 12.3.0: an animated JPEG XL opens at its last frame.
#
# One would expect: a picture that says of itself that it has one frame is the first frame of the file,
# as with every other animated format that Pillow reads, and as a browser shows where animations are
# switched off.
#
# Instead: the plug-in says n_frames 1 and is_animated False, and gives the last frame's pixels.
# imagecodecs 2026.3.6 finds every frame of the same file by its number.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pillow-jxl-plugin==1.3.8 pillow==12.3.0 imagecodecs==2026.3.6 numpy==2.4.6 2>/dev/null

cat > "$folder/frames.py" <<'PYTHON'
import io

import imagecodecs
import numpy as np
import pillow_jxl  # noqa: F401
from PIL import Image

frames = np.stack([np.full((16, 24, 3), grey, np.uint8) for grey in (10, 100, 200)])
content = imagecodecs.jpegxl_encode(frames, lossless=True)
with Image.open(io.BytesIO(content)) as image:
    print("frames by Pillow:", image.n_frames, "animated:", image.is_animated)
    print("grey by Pillow:", image.getpixel((0, 0))[0])
greys = [int(imagecodecs.jpegxl_decode(content, index=number)[0, 0, 0]) for number in range(3)]
print("greys by imagecodecs:", greys)
PYTHON

"$folder/venv/bin/python" "$folder/frames.py" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
frames by Pillow: 1 animated: False
grey by Pillow: 200
greys by imagecodecs: [10, 100, 200]
SEEN
