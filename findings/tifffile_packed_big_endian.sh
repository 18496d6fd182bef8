#!/bin/bash
# tifffile 2026.3.3: big-endian files of packed samples (12 bits and the like) come out scrambled.
#
# One would expect: `imwrite(..., byteorder=">", bitspersample=12)` writes the numbers that it is given,
# as it does with byteorder="<"; TIFF 6.0 packs samples of fewer than 16 bits in the order of their
# bits, whatever the byte order of the file.
#
# Instead: no error and no warning, and `imread` gives other numbers back. The reader is right: given
# bits that are packed by hand, it reads them in a file of either byte order. The writer packs the
# bytes of each number in swapped order. Whoever stores 10, 12 or 14 bits of a camera that way has
# lost the picture.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6 2>/dev/null

cat > "$folder/pack.py" <<'PYTHON'
import io
import sys

import numpy
import tifffile

values = (numpy.arange(64, dtype=numpy.uint16) * 64).reshape(4, 16)


def written(order):
    file = io.BytesIO()
    tifffile.imwrite(file, values, byteorder=order, bitspersample=12, metadata=None)
    return file.getvalue()


def with_pixels(content, pixels):
    page = tifffile.TiffFile(io.BytesIO(content)).pages.first
    start, size = page.dataoffsets[0], page.databytecounts[0]
    assert size == len(pixels)
    return content[:start] + pixels + content[start + size :]


bits = "".join(f"{value:012b}" for value in values.ravel())
by_hand = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
print("tifffile", tifffile.__version__)
seen = []
for order, name in (("<", "little"), (">", "big")):
    content = written(order)
    back = tifffile.imread(io.BytesIO(content))
    right = tifffile.imread(io.BytesIO(with_pixels(content, by_hand)))
    seen += [numpy.array_equal(back, values), numpy.array_equal(right, values)]
    print(f"{name}-endian: wrote {values[0, 1:4]}, read {back[0, 1:4]};", end=" ")
    print(f"packed by hand, read {right[0, 1:4]}")
sys.exit(seen != [True, True, False, True])
PYTHON
"$folder/venv/bin/python" "$folder/pack.py"
