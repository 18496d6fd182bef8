"""A U-Net whose answer has half its input's size.

It is that of segmentation-models-pytorch without the last level of its decoder, which sees nothing
of the encoder, only what the level before it made, doubled, and takes a quarter of the time.
Enlarging the answer bilinearly costs next to nothing, so for the same time the input can be larger.
"""

import json
from collections.abc import Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import torch

import training.torchvision_ops  # noqa: F401  (before timm, which this package imports)

import segmentation_models_pytorch as smp  # isort: skip


class HalfSizeUnet(smp.Unet):
    """`smp.Unet` that ends before its decoder's last level; it takes the same arguments.

    Its logits are `(batch, classes, height / 2, width / 2)`.
    """

    # By the parameters of `__init__`, the package knows what it has to store.
    @wraps(smp.Unet.__init__)  # type: ignore[misc]
    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **settings)
        convolution = self.decoder.blocks[-1].conv1[0]  # its input is the last but one's output
        head = self.segmentation_head[0]
        del self.decoder.blocks[-1]
        self.segmentation_head[0] = torch.nn.Conv2d(
            convolution.in_channels, head.out_channels, head.kernel_size, padding=head.padding
        )
        smp.base.initialization.initialize_head(self.segmentation_head)

    def take(self, trained: Mapping[str, torch.Tensor]) -> None:
        """Take the weights of a trained U-Net, with or without the last level, in place.

        Of a whole U-Net's last convolution, whose kernel has another shape here, only the biases
        are taken.

        Raises
        ------
        RuntimeError
            When they are those of another network.
        """
        level = f"decoder.blocks.{len(self.decoder.blocks)}."
        known = {name: value for name, value in trained.items() if not name.startswith(level)}
        if len(known) < len(trained):
            own = self.segmentation_head.state_dict(prefix="segmentation_head.")
            known["segmentation_head.0.weight"] = own["segmentation_head.0.weight"]
        self.load_state_dict(known)


def read_unet(folder: Path) -> Any:  # noqa: ANN401 -- `pretrained.TorchNetwork`
    """The U-Net, whole or of half size, of a finished run.

    Raises
    ------
    OSError, KeyError, ValueError, RuntimeError, safetensors.SafetensorError
        When the folder holds none, or a damaged one.
    """
    settings = json.loads((folder / "config.json").read_text())
    if settings["_model_class"] == HalfSizeUnet.__name__:
        return HalfSizeUnet.from_pretrained(folder, strict=True)
    return smp.from_pretrained(folder)
