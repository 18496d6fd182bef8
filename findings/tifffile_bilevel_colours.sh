#!/bin/bash
# tifffile 2026.3.3: a picture of booleans with several samples in each pixel comes out scrambled.
#
# One would expect: `imwrite` stores three masks (pet, background, border) as the samples of a pixel,
# with one bit each, and `imread` gives them back. It does so for booleans in planes of their own, for
# other types as samples of a pixel, and with the same numbers 0 and 1 as uint8 and `bitspersample=1`.
#
# Instead: no error and no warning, and nearly half of the pixels of random masks change. The writer
# packs eight neighbours of one sample into a byte, but TIFF 6.0 stores the samples of a pixel side by
# side (PlanarConfiguration 1, as the file's own tag says). The reader is right: given bits that are
# packed by hand, it reads them, and GDAL (rasterio 1.4.4) agrees with it about both files.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tifffile==2026.3.3 imagecodecs==2026.3.6 rasterio==1.4.4 numpy==2.4.6 2>/dev/null

cat > "$folder/masks.py" <<'PYTHON'
import io
import warnings

import numpy as np
import rasterio
import tifffile

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
masks = np.random.default_rng(1).integers(0, 2, (32, 48, 3)).astype(bool)


def written(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def packed_by_hand(content):
    """The same file with each row's bits in the order pixel by pixel."""
    page = tifffile.TiffFile(io.BytesIO(content)).pages.first
    assert (page.planarconfig, page.bitspersample, page.samplesperpixel) == (1, 1, 3)
    pixels = np.packbits(masks.reshape(len(masks), -1), axis=1).tobytes()
    start, size = page.dataoffsets[0], page.databytecounts[0]
    assert size == len(pixels)
    return content[:start] + pixels + content[start + size :]


def by_gdal(content):
    with rasterio.MemoryFile(content) as file, file.open() as picture:
        return np.moveaxis(picture.read(), 0, -1) > 0


def report(name, content, planes=False):
    back = tifffile.imread(io.BytesIO(content)) > 0
    back = np.moveaxis(back, 0, -1) if planes else back
    shares = [(read != masks).mean() for read in (back, by_gdal(content))]
    print(f"{name}: wrong by tifffile {shares[0]:.2f}, by GDAL {shares[1]:.2f}")


planes = np.ascontiguousarray(np.moveaxis(masks, -1, 0))
report("booleans in planes", written(planes, photometric="rgb", planarconfig="separate"), True)
report("uint8, one bit each", written(masks.astype(np.uint8), photometric="rgb", bitspersample=1))
report("booleans", written(masks, photometric="rgb"))
report("booleans, deflate", written(masks, photometric="rgb", compression="deflate"))
report("packed by hand", packed_by_hand(written(masks, photometric="rgb")))
PYTHON

"$folder/venv/bin/python" "$folder/masks.py" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
booleans in planes: wrong by tifffile 0.00, by GDAL 0.00
uint8, one bit each: wrong by tifffile 0.00, by GDAL 0.00
booleans: wrong by tifffile 0.45, by GDAL 0.45
booleans, deflate: wrong by tifffile 0.45, by GDAL 0.45
packed by hand: wrong by tifffile 0.00, by GDAL 0.00
SEEN
