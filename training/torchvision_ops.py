"""Lets timm and fastai be imported where torchvision's compiled operators cannot be loaded.

PyPI's torchvision for Linux is built against CUDA. With a CPU-only torch its library of compiled
operators does not load, and importing torchvision then fails at two undeclared operators. Nothing
here uses those two (non-maximum suppression of detection boxes); declaring them is enough. Import
this module before timm or fastai.
"""

import importlib.util
from ctypes import CDLL
from pathlib import Path

import torch

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _compiled_operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # no torchvision at all: its own import error explains that best
    library = next(Path(spec.origin).parent.glob("_C*.so"), None)
    if library is None:
        return True
    try:
        CDLL(str(library))
    except OSError:
        return False
    return True


if not _compiled_operators_load():
    # Kept for the life of the process: the declarations vanish with the library object.
    _DECLARATIONS = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _DECLARATIONS.define(_name + _SIGNATURE)
