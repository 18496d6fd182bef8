#!/bin/bash
# Hugging Face datasets 5.2.0, Image feature: colours of 16 bits, and label maps of 32 bits, wrap around.
#
# One would expect: an array that is too deep for the file is scaled to 8 bits, as image libraries do with
# colours, or cut off at the largest value, or refused, as arrays of float colours are. And what is
# changed at all is told.
#
# Instead: uint16 colours, as microscopes have them, keep their lowest 8 bits alone: 255 stays 255, 256
# becomes 0, and a smooth ramp becomes 256 ramps. A warning says "downcasting", but not that values
# wrap. A uint32 label map is stored as signed numbers, without a warning: labels from 2 ** 31 on come
# back negative. (uint64 wraps in the same way, and warns.)
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  datasets==5.2.0 pillow==12.3.0 numpy==2.4.6 2>/dev/null

cat > "$folder/wrap.py" <<'PYTHON'
import warnings

import numpy as np
from datasets import Dataset, Features, Image

COLOURS = np.array([[0, 255, 256, 40_000, 65_535]], np.uint16)
LABELS = np.array([[0, 1, 70_000, 2**31 - 1, 2**31, 3_000_000_000]], np.uint32)


def show(name, values):
    """What comes back of a picture, its first channel if it has several."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        stored = Dataset.from_dict({"picture": [values]}, Features({"picture": Image()}))
        back = np.asarray(stored[0]["picture"])
    own = [str(each.message) for each in told if "cast" in str(each.message)]
    first = back[..., 0] if back.ndim == 3 else back
    print(f"{name}: {first[0].tolist()} {own or 'no warning'}")


show("uint16 colours", np.stack([COLOURS] * 3, axis=2))
show("uint16 grey", COLOURS)
show("uint32 labels", LABELS)
show("uint64 labels", LABELS.astype(np.uint64))
PYTHON

HF_HUB_OFFLINE=1 HF_HOME="$folder/home" "$folder/venv/bin/python" "$folder/wrap.py" 2>/dev/null | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
uint16 colours: [0, 255, 0, 64, 255] ["Downcasting array dtype uint16 to uint8 to be compatible with 'Pillow'"]
uint16 grey: [0, 255, 256, 40000, 65535] no warning
uint32 labels: [0, 1, 70000, 2147483647, -2147483648, -1294967296] no warning
uint64 labels: [0, 1, 70000, 2147483647, -2147483648, -1294967296] ["Downcasting array dtype uint64 to uint32 to be compatible with 'Pillow'"]
SEEN
