"""Runs of segmentation-models-pytorch as ONNX."""

from collections.abc import Sequence
from pathlib import Path

import torch

import training.torchvision_ops  # noqa: F401  (before timm, which this package imports)

import segmentation_models_pytorch as smp  # isort: skip

from training.exporting.common import Calibration, Exported, Run, single
from training.exporting.of_torch import export_torch


class Softmaxed(torch.nn.Module):
    """A U-Net with a softmax, over the photo and its mirror image if wanted."""

    def __init__(self, unet: torch.nn.Module, mirror: bool) -> None:
        super().__init__()
        self.unet, self.mirror = unet, mirror

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor]:
        """Probabilities `(batch, classes, height, width)`."""
        if not self.mirror:
            return (torch.softmax(self.unet(photo), dim=1),)
        # As one batch: a second pass in the graph would hold the weights twice when served.
        both = torch.softmax(self.unet(torch.cat([photo, photo.flip(3)])), dim=1)
        straight, flipped = both.reshape(2, -1, *both.shape[1:])
        return ((straight + flipped.flip(3)) / 2,)


def export_smp(
    runs: Sequence[Run], target: Path, mirror: bool, calibrations: Sequence[Calibration]
) -> Exported:
    """Write a segmentation-models-pytorch run as ONNX; batch, height and width are dynamic."""
    run = single(runs)
    network = Softmaxed(smp.from_pretrained(run.folder), mirror).eval()
    return export_torch(network, run.spec, target, any_size=True)
