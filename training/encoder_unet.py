"""A U-Net with a timm encoder as a network to train: pictures, loss, learner, results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training import fastai_runs  # before timm and fastai

import segmentation_models_pytorch as smp  # isort: skip
from fastai.vision.all import DataLoaders, Learner, PILMask, TransformBlock  # isort: skip
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.images import open_photo
from models.preprocessing import InputSpec, prepare, resize_photo
from training.data_sets import Examples
from training.half_size_unet import HalfSizeUnet
from training.metrics import confusion_matrix, mask_figures
from training.pictures import decode, few
from training.pretrained import Statistics, TorchNetwork
from training.reports import plot_curves, plot_segmentations
from training.runs import Run, RunError, read_facts

MIN_SCALE = 0.6  # smallest share of the picture's area that a random crop keeps
WEIGHT_DECAY = 0.01


def input_spec(mean: Statistics, std: Statistics, size: int) -> InputSpec:
    """The photo as the encoder wants it, squashed to a square."""
    return InputSpec(size, size, "squash", "bilinear", mean, std, layout="NCHW")


def data_loaders(
    train_part: Examples, held_out: Examples, spec: InputSpec, batch: int
) -> DataLoaders:
    """Loaders of photos and class indices (0 object, 1 background, 2 border)."""
    presized = fastai_runs.presized(spec)
    masks = [
        read_mask(example, size)
        for part, size in ((train_part, presized), (held_out, spec))
        for example in part
    ]
    return fastai_runs.loaders(
        decode(train_part, presized, "training photos"),
        decode(held_out, spec, "held-out photos"),
        TransformBlock(type_tfms=PILMask.create),
        lambda index: masks[index],
        spec,
        batch,
        MIN_SCALE,
    )


def read_mask(example: Any, spec: InputSpec) -> NDArray[np.uint8]:  # noqa: ANN401
    """An example's class indices at the size of the input."""
    return example.read_classes(spec.height, spec.width)


def enlarged(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Logits at the size of the truth, interpolated bilinearly if that is larger."""
    size = (int(truth.shape[-2]), int(truth.shape[-1]))
    if logits.shape[-2:] == size:
        return logits
    return torch.nn.functional.interpolate(logits, size, mode="bilinear")


class DiceCrossEntropy(torch.nn.Module):
    """Cross-entropy plus soft Dice loss (Milletari et al., "V-Net", 3DV 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.entropy = torch.nn.CrossEntropyLoss()
        self.dice = smp.losses.DiceLoss("multiclass")

    def forward(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Loss of logits against `(batch, h, w)` class indices.

        The logits are `(batch, classes, rows, columns)`; they are enlarged if the truth is larger.
        """
        logits, truth = torch.Tensor(logits), torch.Tensor(truth).long()
        logits = enlarged(logits, truth)
        return self.entropy(logits, truth) + self.dice(logits, truth)


def pixel_accuracy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Share of pixels with the right class."""
    return (enlarged(logits, truth).argmax(dim=1) == truth).float().mean()


def take_weights(model: TorchNetwork, run: Path) -> None:
    """Give a network the weights of a finished run.

    Raises
    ------
    training.runs.RunError
        When the folder is not such a run, or has another network.
    """
    read_facts(run)
    try:
        trained = load_file(run / "model.safetensors")
        if isinstance(model, HalfSizeUnet):
            model.take(trained)
        else:
            model.load_state_dict(trained)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise RunError(f"{run} has no weights for this network: give its own --encoder.") from error


def known_part(model: TorchNetwork, start_from: Path | None, size: int) -> torch.nn.Module:
    """The part of a pretrained network whose batch norms need no other statistics.

    A decoder has them to find, unless they come from a run at the same size.
    """
    same = start_from is not None and read_facts(start_from)["input"].height == size
    return model if same else model.encoder


def make_learner(
    model: TorchNetwork,
    loaders: DataLoaders,
    frozen: float,
    loss: torch.nn.Module | None = None,
) -> Learner:
    """A learner of a U-Net of segmentation-models-pytorch, whose encoder keeps a share frozen.

    The loss is cross-entropy and Dice unless given.
    """
    body = list(model.encoder.parameters())
    head = [*model.decoder.parameters(), *model.segmentation_head.parameters()]
    return fastai_runs.fast(
        Learner(
            loaders,
            model,
            loss_func=loss or DiceCrossEntropy(),
            splitter=lambda _: fastai_runs.body_groups(body, head, frozen),
            metrics=[pixel_accuracy],
            wd=WEIGHT_DECAY,
        )
    )


def write_results(
    run: Run,
    model: TorchNetwork,
    held_out: Examples,
    classes: Sequence[str],
    spec: InputSpec,
    rows: Sequence[Mapping[str, float]],
) -> dict[str, Any]:
    """Write the network as its package stores it, curves and predictions; return the figures."""
    model = model.cpu().to(memory_format=torch.contiguous_format).eval()
    model.save_pretrained(run.folder)
    figures = held_out_figures(model, held_out, classes, spec)
    curves = {"loss": "loss", "pixel_accuracy": "pixel accuracy"}
    plot_curves(rows, run.folder / "curves.png", curves)
    plot_predictions(model, few(held_out, 8), classes, spec, run.folder)
    return figures


def predicted_classes(
    model: TorchNetwork, photos: Sequence[NDArray[np.uint8]], spec: InputSpec
) -> NDArray[np.int64]:
    """Class indices `(n, height, width)` of photos at the input's size."""
    inputs = torch.from_numpy(np.concatenate([prepare(photo, spec) for photo in photos]))
    with torch.inference_mode():
        return enlarged(model(inputs), inputs).argmax(dim=1).numpy()


def held_out_figures(
    model: TorchNetwork, held_out: Examples, classes: Sequence[str], spec: InputSpec
) -> dict[str, Any]:
    """Figures of the held-out part at the network's size."""
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    for example in held_out:
        truth = read_mask(example, spec)
        prediction = predicted_classes(model, [open_photo(example.photo)], spec)[0]
        confusion += confusion_matrix(truth, prediction, len(classes))
    return mask_figures(confusion, classes)


def plot_predictions(
    model: TorchNetwork,
    examples: Examples,
    classes: Sequence[str],
    spec: InputSpec,
    folder: Path,
) -> None:
    """Write the sheet of held-out photos with their true and predicted masks."""
    photos = [open_photo(example.photo) for example in examples]
    plot_segmentations(
        [resize_photo(photo, spec) for photo in photos],
        [read_mask(example, spec) for example in examples],
        list(predicted_classes(model, photos, spec)),
        classes,
        folder / "predictions.png",
    )
