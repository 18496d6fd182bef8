"""The embedded models in the frameworks they were trained with, with the weights of their files.

In an exported file, batch norms are folded into the convolutions before them. Here the frameworks'
own networks are built, including batch norms, which get scale 1 and the folded offset: so the
frameworks do the same work as after training, and give the same answers.

Nothing here imports ONNX Runtime: it would count as the frameworks' memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras
    import torch


@dataclass
class Layer:
    """A linear layer of a file: its kind, its weights in ONNX' order, and its offset."""

    kind: str
    weights: NDArray[np.float32]
    offset: NDArray[np.float32]


@dataclass
class Chain:
    """The layers of one network in a file, and the normalisation of its input.

    `padding` is timm's name for the padding of convolutions: "same" as in TensorFlow, or "" for
    symmetric.
    """

    scale: NDArray[np.float32]
    shift: NDArray[np.float32]
    padding: str
    layers: list[Layer] = field(default_factory=list)


def keras_unet(chain: Chain, size: int, classes: int) -> "keras.Model":
    """The Keras U-Net of the quick mask model, ending in probabilities.

    Returns
    -------
    A model from `(batch, size, size, 3)` float32 to `(batch, size, size, classes)`.
    """
    import keras

    from training.networks import mobilenet_unet

    unet = mobilenet_unet.build(size, classes)
    layers = iter(chain.layers)
    offset = chain.layers[0].offset
    for target in unet.layers:
        if isinstance(target, keras.layers.BatchNormalization):
            ones = np.ones_like(offset)
            # gamma, beta, mean, variance: only the offset of a folded norm remains
            target.set_weights([ones, offset, 0 * ones, ones - target.epsilon])
        elif target.weights:
            layer = next(layers)
            # ONNX has (output, input, rows, columns), and transposed (input, output, rows,
            # columns); Keras has (rows, columns, input, output), with the last two swapped for
            # depthwise and transposed.
            depthwise = isinstance(target, keras.layers.DepthwiseConv2D)
            kernel = layer.weights.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            offset = layer.offset
            target.set_weights([kernel, offset] if target.use_bias else [kernel])
    return keras.Model(unet.input, keras.layers.Softmax()(unet.output))


@dataclass
class Opinion:
    """When further networks are asked, as a card's `second_opinion` says.

    `below` is the largest probability so far below which the next one is, and `temperatures` are
    those of each network's logits, and then those of the mean after each further one.
    """

    below: float
    temperatures: Sequence[float]


def timm_classifier(
    chains: Sequence[Chain],
    architectures: Sequence[str],
    classes: int,
    temperature: float,
    opinion: Opinion | None = None,
) -> "torch.nn.Module":
    """The timm networks of the breed model, as a module.

    Parameters
    ----------
    chains
        The networks' weights.
    architectures
        Their names in timm.
    classes
        Number of breeds.
    temperature
        The divisor of the mean of their logits.
    opinion
        When further networks are asked; without it, the mean of all is the answer.

    Returns
    -------
    A module from `(batch, 3, height, width)` float32 to `(batch, classes)` logits; their softmax
    are the probabilities.
    """
    import torch

    import training.torchvision_ops  # noqa: F401  (before timm)
    import timm  # isort: skip

    networks = []
    for name, chain in zip(architectures, chains, strict=True):
        network = timm.create_model(name, num_classes=classes, pad_type=chain.padding)
        # A second head, of other classes, is left out.
        layers = iter(
            layer for layer in chain.layers if layer.kind != "Gemm" or len(layer.weights) == classes
        )
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                layer = next(layers)
                module.weight.data = torch.from_numpy(layer.weights)
                if module.bias is not None:
                    module.bias.data = torch.from_numpy(layer.offset)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.bias.data = torch.from_numpy(layer.offset)
                module.running_var = torch.full_like(module.bias.data, 1 - module.eps)
        networks.append(network)

    class Average(torch.nn.Module):
        """The networks' calibrated logits, each network on its own range of values."""

        def __init__(self) -> None:
            super().__init__()
            self.networks = torch.nn.ModuleList(networks)
            for index, chain in enumerate(chains):
                for part in ("scale", "shift"):
                    values = torch.from_numpy(getattr(chain, part).reshape(-1, 1, 1))
                    self.register_buffer(f"{part}_{index}", values)

        def logits(self, index: int, photo: torch.Tensor) -> torch.Tensor:
            scale, shift = getattr(self, f"scale_{index}"), getattr(self, f"shift_{index}")
            return self.networks[index](photo * scale + shift)

        def forward(self, photo: torch.Tensor) -> torch.Tensor:
            if opinion is None:
                every = [self.logits(index, photo) for index in range(len(networks))]
                return torch.stack(every).mean(dim=0) / temperature
            own = opinion.temperatures[: len(networks)]
            means = opinion.temperatures[len(networks) :]
            answer = total = self.logits(0, photo) / own[0]
            for index in range(1, len(networks)):
                sure = answer.softmax(dim=1).amax(dim=1, keepdim=True) >= opinion.below
                if bool(sure.all()):
                    break
                total = total + self.logits(index, photo) / own[index]
                mean = total / (index + 1) / means[index - 1]
                answer = torch.where(sure, answer, mean)
            return answer

    return Average().eval()


def keras_work(model: "keras.Model") -> tuple[int, int]:
    """Multiplications and additions of the convolutions for one photo, and bytes in and out."""
    import keras

    operations = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2DTranspose):
            operations += 2 * math.prod(layer.input.shape[1:3]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            operations += 2 * math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    return operations, 4 * (math.prod(model.input.shape[1:]) + math.prod(model.output.shape[1:]))


def torch_work(network: "torch.nn.Module", shape: tuple[int, ...]) -> tuple[int, int]:
    """Multiplications and additions for one photo, and bytes in and out."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        output = network(torch.zeros(shape))
    return counter.get_total_flops(), 4 * (math.prod(shape) + output.numel())
