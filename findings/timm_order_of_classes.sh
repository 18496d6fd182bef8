#!/bin/bash
# timm 1.0.31 and torchvision 0.28.0: both read a folder of pictures for each class, and they number the
# same classes differently.
#
# One would expect: the classes are numbered in the order of the folders' sorted names ("sorted
# alphabetically", torchvision's documentation says), so a network that was trained with one library
# can be tested with the other.
#
# Instead: torchvision compares characters: capitals come before small letters, and "10" before "2".
# timm ignores the case and compares numbers by their size. In the Oxford-IIIT Pet data set the names
# of cats begin with capitals and those of dogs do not: torchvision puts all cats first, and timm
# mixes them with the dogs. Nothing fails, since the number of classes is the same; the
# names of nearly all answers are wrong. So the names have to be stored with the network. timm's
# `class_map` sets the order.
#
# Installs PyTorch. Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  timm==1.0.31 torch==2.13.0 torchvision==0.28.0 pillow==12.3.0 2>/dev/null

cat > "$folder/classes.py" <<'PYTHON'
import importlib.util
import sys
from pathlib import Path

import torch
from PIL import Image

# torchvision's wheel for Linux fits PyTorch with CUDA. Beside one without, its operators do not
# load, and its import fails at two that nothing here uses.
package = Path(importlib.util.find_spec("torchvision").origin).parent
try:
    torch.ops.load_library(next(package.glob("_C*.so")))
except OSError:
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from timm.data import create_dataset
from torchvision.datasets import ImageFolder

DATA = {
    "breeds": ("Abyssinian", "american_bulldog", "beagle", "Bengal", "pug", "Sphynx"),
    "numbers": ("class_1", "class_2", "class_10"),
}
for kind, names in DATA.items():
    root = Path(sys.argv[1]) / kind
    for name in names:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / name / "1.png")
    for library, numbers in (
        ("torchvision", ImageFolder(root).class_to_idx),
        ("timm", create_dataset("", root).reader.class_to_idx),
    ):
        print(f"{library}: {', '.join(sorted(numbers, key=numbers.get))}")
PYTHON

"$folder/venv/bin/python" "$folder/classes.py" "$folder/data" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
torchvision: Abyssinian, Bengal, Sphynx, american_bulldog, beagle, pug
timm: Abyssinian, american_bulldog, beagle, Bengal, pug, Sphynx
torchvision: class_1, class_10, class_2
timm: class_1, class_2, class_10
SEEN
