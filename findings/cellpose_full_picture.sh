#!/bin/bash
# cellpose 4.2.1.1, cellpose.metrics.average_precision: where cells fill the whole picture, one of them
# is not counted. A cell that was missed costs nothing, and a perfect result scores 2, or infinity.
#
# One would expect: the score of a label image, TP / (TP + FP + FN), lies between 0 and 1. It is 1 if
# all cells are found and nothing else is, and less if one is missed. The documentation says that 0
# means "no cell"; it does not demand that some pixel be 0.
#
# Instead: the function counts the different values in a label image and subtracts one, for the 0.
# Without a pixel of 0, as in a confluent layer or a crop of dense tissue, its count is one too low, and
# FN and FP fall to -1. Four cells, all found, score 4 / (4 - 1 - 1) = 2; two score infinity. Four
# cells of which three were found score 1. In a mean over many crops, that only looks like a better
# network. aggregated_jaccard_index, in the same module, is right throughout. A border of zeros
# around both pictures avoids the error.
#
# Installs PyTorch. Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  numpy==2.4.6 scipy==1.17.1 torch==2.13.0 opencv-python-headless==4.14.0.94 tqdm==4.70.1 \
  fastremap==1.21.0 fill_voids==2.1.2 2>/dev/null
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps cellpose==4.2.1.1 2>/dev/null

cat > "$folder/score.py" <<'PYTHON'
import numpy as np
from cellpose.metrics import aggregated_jaccard_index, average_precision

four = np.array([[1, 2], [3, 4]]).repeat(8, axis=0).repeat(8, axis=1)
two = four[:8]
missed = np.where(four == 4, 0, four)
framed = np.pad(four, 1)

for name, truth, found in (
    ("four cells and background, all found", framed, framed),
    ("four cells and background, three found", framed, np.pad(missed, 1)),
    ("four cells that fill it, all found", four, four),
    ("four cells that fill it, three found", four, missed),
    ("two cells that fill it, both found", two, two),
):
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = average_precision(truth, found, 0.5)
        jaccard = aggregated_jaccard_index([truth], [found])[0]
    precision, *counts = (float(score[0]) for score in scores)
    print(f"{name}: {precision:.3g} (TP, FP, FN: {counts}); aggregated Jaccard {jaccard:.3g}")
PYTHON

"$folder/venv/bin/python" "$folder/score.py" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
four cells and background, all found: 1 (TP, FP, FN: [4.0, 0.0, 0.0]); aggregated Jaccard 1
four cells and background, three found: 0.75 (TP, FP, FN: [3.0, 0.0, 1.0]); aggregated Jaccard 0.75
four cells that fill it, all found: 2 (TP, FP, FN: [4.0, -1.0, -1.0]); aggregated Jaccard 1
four cells that fill it, three found: 1 (TP, FP, FN: [3.0, 0.0, 0.0]); aggregated Jaccard 0.75
two cells that fill it, both found: inf (TP, FP, FN: [2.0, -1.0, -1.0]); aggregated Jaccard 1
SEEN
