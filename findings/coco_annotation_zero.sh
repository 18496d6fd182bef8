#!/bin/bash
# pycocotools 2.0.11, COCOeval: an annotation whose id is 0 can never be found, and the detection that
# finds it counts as a false alarm.
#
# One would expect: COCO's format describes an annotation's id as an integer, no more. So a detector
# that repeats every box exactly has an average precision of 1, whether the boxes are numbered from
# 0, as with Python's `enumerate`, or from 1.
#
# Instead: if they are numbered from 0, the same detections score less, without a warning: the fewer
# boxes, the less, and 0 for a single one. COCOeval stores with each detection the id of the annotation
# that it matches, and later reads a 0 there as "no match". `COCO` itself loads that annotation like any
# other, so nothing else points to the cause. Files should be numbered from 1, and before somebody
# else's file is used for an evaluation its smallest id is worth a look.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pycocotools==2.0.11 numpy==2.4.6 2>/dev/null

cat > "$folder/score.py" <<'PYTHON'
import contextlib
import io

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def average_precision(first, count):
    """Of a detector that repeats the boxes: one in each of `count` pictures, numbered from `first`."""
    box = {"category_id": 1, "bbox": [10, 10, 20, 20]}
    truth = COCO()
    truth.dataset = {
        "info": {},
        "categories": [{"id": 1, "name": "cat"}],
        "images": [{"id": 1 + i, "width": 100, "height": 100} for i in range(count)],
        "annotations": [
            {"id": first + i, "image_id": 1 + i, "area": 400, "iscrowd": 0, **box}
            for i in range(count)
        ],
    }
    truth.createIndex()
    assert truth.loadAnns([first])[0]["id"] == first
    found = truth.loadRes([{"image_id": 1 + i, "score": 0.9, **box} for i in range(count)])
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


for count in (1, 4, 100):
    with contextlib.redirect_stdout(io.StringIO()):
        zero, one = average_precision(0, count), average_precision(1, count)
    print(f"{count} of {count} boxes found: from 0 {zero:.3f}, from 1 {one:.3f}")
PYTHON

"$folder/venv/bin/python" "$folder/score.py" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
1 of 1 boxes found: from 0 0.000, from 1 1.000
4 of 4 boxes found: from 0 0.564, from 1 1.000
100 of 100 boxes found: from 0 0.980, from 1 1.000
SEEN
