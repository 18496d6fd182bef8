"""Runs of segmentation-models-pytorch as ONNX."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

import training.torchvision_ops  # noqa: F401  (before timm)

from timm.layers import Conv2dSame  # isort: skip

from training.exporting.common import Calibration, Exported, Run, single
from training.exporting.of_torch import export_torch, predictor
from training.half_size_unet import HalfSizeUnet, read_unet


class Softmaxed(torch.nn.Module):
    """A U-Net with a softmax."""

    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor]:
        """Probabilities `(batch, classes, rows, columns)`, at the size of the U-Net's answer."""
        return (torch.softmax(self.unet(photo), dim=1),)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    down, across = values
    return down, across


class PaddedAlike(torch.nn.Module):
    """A convolution with TensorFlow's "same" padding, of the same widths for inputs of any size.

    How wide that padding is depends on the input's size, in ways that the exporter follows for
    minutes and writes into the graph. For even inputs, and with a stride of one for all, it is
    always the same; a U-Net of five levels takes only sizes divisible by 32, which halve to even
    ones down to the last level.
    """

    def __init__(self, convolution: Conv2dSame) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(
            convolution.in_channels,
            convolution.out_channels,
            _pair(convolution.kernel_size),
            _pair(convolution.stride),
            dilation=_pair(convolution.dilation),
            groups=convolution.groups,
            bias=convolution.bias is not None,
        )
        self.convolution.load_state_dict(convolution.state_dict())
        # Left, right, top, bottom; what is odd comes at the end, as TensorFlow has it.
        self.widths: list[int] = []
        for axis in (1, 0):
            reach = convolution.dilation[axis] * (convolution.kernel_size[axis] - 1) + 1
            total = max(reach - convolution.stride[axis], 0)
            self.widths += [total // 2, total - total // 2]

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """As `Conv2dSame` for inputs whose sides the strides divide."""
        return self.convolution(torch.nn.functional.pad(values, self.widths))


def pad_alike(network: torch.nn.Module) -> None:
    """Replace a network's convolutions with TensorFlow's padding: see `PaddedAlike`."""
    for name, child in network.named_children():
        if isinstance(child, Conv2dSame):
            setattr(network, name, PaddedAlike(child))
        else:
            pad_alike(child)


def with_offsets(unet: torch.nn.Module, offsets: Sequence[float]) -> torch.nn.Module:
    """Add a constant to each class's logit, in place: a U-Net ends in a convolution with biases."""
    with torch.no_grad():
        unet.get_parameter("segmentation_head.0.bias").add_(torch.tensor(offsets))
    return unet


def export_smp(
    runs: Sequence[Run],
    target: Path,
    calibrations: Sequence[Calibration],
    offsets: Sequence[float] = (),
) -> Exported:
    """Write a segmentation-models-pytorch run as ONNX; batch, height and width are dynamic.

    `offsets` are added to the classes' logits, if there are any.
    """
    run = single(runs)
    unets = [read_unet(run.folder) for _ in range(2)]
    if offsets:
        unets = [with_offsets(unet, offsets) for unet in unets]
    trained, exported = (Softmaxed(unet).eval() for unet in unets)
    pad_alike(exported)
    facts = export_torch(exported, run.spec, target, any_size=True)
    if isinstance(unets[0], HalfSizeUnet):
        facts = replace(facts, meaning=f"{facts.meaning}, at half the input's height and width")
    return replace(facts, predict=predictor(trained))
