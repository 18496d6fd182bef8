#!/bin/bash
# segmentation-models-pytorch 0.6.0, SoftCrossEntropyLoss beside PyTorch 2.13.0's own: pixels that are
# ignored count in the mean.
#
# One would expect: the class is a "drop-in replacement for torch.nn.CrossEntropyLoss with
# label_smoothing", as its documentation says, so with `ignore_index` the loss is the mean over the
# pixels that are not ignored. Then a picture gives the same loss, and the same gradient, however
# much of it is left out: people often leave out the border of a trimap, in which it is not known
# whether a pixel is of the pet.
#
# Instead: the sum over the remaining pixels is divided by the number of all pixels. If a quarter of
# them is left, loss and gradients are a quarter. So pictures with wide borders teach less than others,
# and losses of data sets with different borders do not compare. It is not a matter of the constants
# that libraries choose for label smoothing, because it is so without any.
#
# Installs PyTorch. Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  segmentation-models-pytorch==0.6.0 torch==2.13.0 torchvision==0.28.0 timm==1.0.31 2>/dev/null

cat > "$folder/losses.py" <<'PYTHON'
import importlib.util
from pathlib import Path

import torch

# torchvision's wheel for Linux fits PyTorch with CUDA. Beside one without, its operators do not
# load, and its import fails at two that nothing here uses.
package = Path(importlib.util.find_spec("torchvision").origin).parent
try:
    torch.ops.load_library(next(package.glob("_C*.so")))
except OSError:
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from segmentation_models_pytorch.losses import SoftCrossEntropyLoss
from torch.nn import CrossEntropyLoss

IGNORED = 255
torch.manual_seed(0)
logits = torch.randn(1, 2, 64, 64, requires_grad=True)  # of pet and background
picture = torch.randint(0, 2, (1, 64, 64))


def measure(loss: torch.nn.Module, truth: torch.Tensor) -> tuple[float, float]:
    """The loss, and the length of its gradient."""
    value = loss(logits, truth)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.item(), gradient.norm().item()


for ignored in (0, 32, 48):
    truth = picture.clone()
    truth[:, :ignored] = IGNORED
    theirs = measure(SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=IGNORED), truth)
    own = measure(CrossEntropyLoss(ignore_index=IGNORED), truth)
    loss, gradient = (one / other for one, other in zip(theirs, own))
    print(f"{ignored / 64:.2f} ignored: loss {loss:.2f} of PyTorch's, gradient {gradient:.2f}")
PYTHON

"$folder/venv/bin/python" "$folder/losses.py" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
0.00 ignored: loss 1.00 of PyTorch's, gradient 1.00
0.50 ignored: loss 0.50 of PyTorch's, gradient 0.50
0.75 ignored: loss 0.25 of PyTorch's, gradient 0.25
SEEN
