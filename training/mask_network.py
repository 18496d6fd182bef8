"""The mask network for photos of all kinds as a network to train: start, loss, learner."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from training import fastai_runs  # before timm and fastai

import segmentation_models_pytorch as smp  # isort: skip
from fastai.vision.all import DataLoader, DataLoaders, Learner  # isort: skip
from safetensors.torch import load_file

from models.preprocessing import InputSpec
from training import encoder_unet, pets
from training.composites import Scenes
from training.deeplab import GRID, MEAN, STD, read_deeplab, unbelieved
from training.half_size_unet import read_unet
from training.mask_pictures import IGNORED, HeldOut, Pictures
from training.pretrained import TorchNetwork
from training.runs import RunError, read_facts

ENCODER = "tu-mobilenetv2_100"
DECODER = (128, 64, 48, 32, 16)  # channels


class BelievedLoss(torch.nn.Module):
    """Cross-entropy plus soft Dice loss, without the pixels that teach nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.entropy = torch.nn.CrossEntropyLoss(ignore_index=IGNORED)
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORED)

    def forward(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Loss of logits against class indices, as of `encoder_unet.DiceCrossEntropy`."""
        logits = encoder_unet.enlarged(logits, truth)
        return self.entropy(logits, truth) + self.dice(logits, truth)


def build(deeplab: Path | None, size: int) -> tuple[TorchNetwork, InputSpec, str]:
    """The U-Net, on DeepLab's encoder or on a random one, its input and its architecture's name."""
    model = smp.Unet(
        ENCODER,
        encoder_weights=None,
        classes=len(pets.MASK_CLASSES),
        decoder_channels=DECODER,
        pad_type="same",
    )
    if deeplab:
        stored, own = load_file(deeplab), model.encoder.model.state_dict()
        for name in own:
            if not name.endswith("num_batches_tracked"):
                own[name] = stored[f"encoder.{name}"]
        model.encoder.model.load_state_dict(own)
    spec = InputSpec(size, size, "squash", "bilinear", MEAN, STD, layout="NCHW")
    return model, spec, f"U-Net, {ENCODER} encoder (segmentation-models-pytorch)"


def read_run(folder: Path) -> tuple[TorchNetwork, InputSpec, str]:
    """The network of a finished run, its input, and the name of its architecture.

    Raises
    ------
    training.runs.RunError
        When the folder is not a finished run of a mask network of segmentation-models-pytorch.
    """
    facts = read_facts(folder)
    try:
        return read_unet(folder), facts["input"], facts["architecture"]
    except Exception as error:  # of smp, safetensors or the file system
        raise RunError(f"{folder} has no network that can be trained on.") from error


def make_learner(
    model: TorchNetwork,
    train_part: Sequence[pets.Example],
    held_out: Sequence[pets.Example],
    backgrounds: Sequence[Path],
    spec: InputSpec,
    batch: int,
    deeplab: Path | None,
    frozen: float,
) -> Learner:
    """A learner of the U-Net on pictures that are drawn anew each time."""
    doubtful = np.zeros((len(train_part), GRID, GRID), np.bool_)
    if deeplab:
        doubtful = unbelieved(train_part, read_deeplab(deeplab))
        print(f"DeepLab sees another pet in {doubtful.any(axis=(1, 2)).sum()} pictures", flush=True)
    pictures = Pictures(Scenes(train_part, backgrounds), spec, doubtful)
    device = fastai_runs.DEVICE
    loaders = DataLoaders(
        DataLoader(pictures, bs=batch, shuffle=True, drop_last=True, device=device),
        DataLoader(HeldOut(held_out, spec), bs=batch, device=device),
        device=device,
    )
    return encoder_unet.make_learner(model, loaders, frozen, BelievedLoss())
