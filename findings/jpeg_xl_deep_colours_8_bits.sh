#!/bin/bash
# pillow-jxl-plugin 1.3.8 with pillow 12.3.0: a colour JPEG XL of 16 bits opens with 8 bits.
#
# One would expect: a picture of 16 bits that Pillow has no mode for is refused, or warned of, as the
# plug-in warns of floats of 16 bits; or all pictures of 16 bits are treated alike.
#
# Instead: grey of 16 bits opens as "I;16" with its own numbers and grey floats as "F". Colours of 16
# bits, and of floats, open as "RGB" of 8 bits, without a warning. imagecodecs 2026.3.6 reads the
# same files in their own numbers.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pillow-jxl-plugin==1.3.8 pillow==12.3.0 imagecodecs==2026.3.6 numpy==2.4.6 2>/dev/null

cat > "$folder/depths.py" <<'PYTHON'
import io
import warnings

import imagecodecs
import numpy as np
import pillow_jxl  # noqa: F401
from PIL import Image

warnings.simplefilter("error")
grey = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 150
colour = np.dstack([grey, grey[::-1], grey[:, ::-1]])
modes = {}
for name, values in {
    "grey of 16 bits": grey,
    "colours of 16 bits": colour,
    "grey floats": (grey / 65535).astype(np.float32),
    "colour floats": (colour / 65535).astype(np.float32),
}.items():
    content = bytes(imagecodecs.jpegxl_encode(values, lossless=True))
    assert np.array_equal(imagecodecs.jpegxl_decode(content), values)
    with Image.open(io.BytesIO(content)) as image:
        modes[name] = (image.mode, str(np.asarray(image).dtype))
    print(f"{name}: {modes[name]}")
seen = {
    "grey of 16 bits": ("I;16", "uint16"),
    "colours of 16 bits": ("RGB", "uint8"),
    "grey floats": ("F", "float32"),
    "colour floats": ("RGB", "uint8"),
}
raise SystemExit(modes != seen)
PYTHON
"$folder/venv/bin/python" "$folder/depths.py"
