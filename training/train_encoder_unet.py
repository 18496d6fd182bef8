"""Train a U-Net with any timm encoder on pets: segmentation-models-pytorch under a fastai Learner.

    python -m training.train_encoder_unet                          # tu-mobilenetv2_100 from the Hub
    python -m training.train_encoder_unet --encoder timm-efficientnet-b0 --size 224
    python -m training.train_encoder_unet --size 256 --epochs 4 --start-from runs/encoder-unet
    python -m training.train_encoder_unet --folder cups            # your own photos and masks
    python -m training.train_encoder_unet --resume                 # continue an interrupted run
    accelerate launch -m training.train_encoder_unet               # on all GPUs of the machine

Reads the official trainval split, holds a tenth of it out, trains decoder and encoder (behind its
first layers) on cross-entropy plus Dice with augmentation and one cycle, and writes to the run's
folder `model.safetensors` and `config.json` (for `segmentation_models_pytorch.from_pretrained`),
`history.csv`, `tensorboard/`, `curves.png`, `predictions.png` and `run.json`.

`--start-from` takes the weights of a finished run: a few epochs at a larger size after many at a
small one reach what many at the large size reach, in a fraction of the time (Howard et al.,
"fastai: A layered API for deep learning", 2020, on progressive resizing). At the same size, the
batch norms keep that run's statistics.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training import fastai_runs  # before timm and fastai

import segmentation_models_pytorch as smp  # isort: skip
from fastai.vision.all import (  # isort: skip
    DataLoaders,
    Learner,
    PILMask,
    TransformBlock,
    rank_distrib,
    set_seed,
)
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.images import open_photo
from models.preprocessing import InputSpec, prepare, resize_photo
from training import command_line, data_sets, runs, starting_weights
from training.data_sets import MASK_FOLDER, Examples
from training.errors import UserError
from training.metrics import confusion_matrix, mask_figures
from training.pictures import decode, few
from training.pretrained import Statistics, TorchNetwork, encoder_statistics, smp_unet
from training.reports import plot_curves, plot_segmentations
from training.runs import Run, RunError, read_facts

OUT = Path("runs/encoder-unet")
ENCODER = "tu-mobilenetv2_100"
SIZE = 128  # side of the network's input in pixels
MULTIPLE = 32  # of which it must be
MIN_SCALE = 0.6  # smallest share of the picture's area that a random crop keeps
EPOCHS = 12
BATCH = 16
RATE = 2e-3  # peak rate of the decoder; the first trained layers get it divided by RATE_SPREAD
RATE_SPREAD = 10
FROZEN = 0.25  # share of a pretrained encoder's layers that are kept as they are
WEIGHT_DECAY = 0.01
SEED = 42


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


class DiceCrossEntropy(torch.nn.Module):
    """Cross-entropy plus soft Dice loss (Milletari et al., "V-Net", 3DV 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.entropy = torch.nn.CrossEntropyLoss()
        self.dice = smp.losses.DiceLoss("multiclass")

    def forward(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Loss of `(batch, classes, h, w)` logits against `(batch, h, w)` class indices."""
        logits, truth = torch.Tensor(logits), torch.Tensor(truth).long()
        return self.entropy(logits, truth) + self.dice(logits, truth)


def pixel_accuracy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Share of pixels with the right class."""
    return (logits.argmax(dim=1) == truth).float().mean()


def take_weights(model: TorchNetwork, run: Path) -> None:
    """Give a network the weights of a finished run.

    Raises
    ------
    training.runs.RunError
        When the folder is not such a run, or has another network.
    """
    read_facts(run)
    try:
        model.load_state_dict(load_file(run / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise RunError(f"{run} has no weights for this network: give its own --encoder.") from error


def train(
    out: str | Path = OUT,
    *,
    root: Path | None = None,
    source: str | None = None,
    folder: str | Path | None = None,
    more: Path | None = None,
    sample: int | None = None,
    encoder: str = ENCODER,
    encoder_weights: str = "imagenet",
    encoder_args: Mapping[str, Any] | None = None,
    start_from: Path | None = None,
    size: int = SIZE,
    epochs: int = EPOCHS,
    batch: int = BATCH,
    rate: float = RATE,
    seed: int = SEED,
    skip_damaged: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    find_rate: bool = False,
) -> Path:
    """Train a mask network; return the run's folder. The arguments are the command line's options.

    Raises
    ------
    training.errors.UserError
        When something is wrong with them, before anything is written.
    """
    encoder_args = encoder_args or {}
    settings = runs.settings(locals())
    if size % MULTIPLE:
        raise UserError(f"--size must be divisible by {MULTIPLE}, not {size}.")
    run = Run(
        out,
        "train_encoder_unet",
        settings,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        find_rate=find_rate,
        first=not rank_distrib(),
    )
    if run.finished:
        return run.folder
    with run:
        set_seed(seed, reproducible=True)
        data = data_sets.open_folder_or_pets(folder, root, source, more, masks=True)
        train_part, held_out = data.training_parts(
            masks=True, skip_damaged=skip_damaged, dry_run=dry_run, sample=sample, seed=seed
        )
        epochs, batch = run.length(epochs, batch)
        classes = data.mask_classes
        model = smp_unet(encoder, len(classes), encoder_weights, encoder_args)
        if start_from:
            take_weights(model, start_from)
        spec = input_spec(*encoder_statistics(model), size)
        pretrained = encoder_weights != "none" or start_from is not None
        run.begin()
        learn = make_learner(
            model, data_loaders(train_part, held_out, spec, batch), FROZEN if pretrained else 0.0
        )
        if find_rate:
            fastai_runs.find_rate(learn, run)
            return run.folder
        known = [_known(model, start_from, size)] if pretrained else []
        callbacks = [fastai_runs.FixedStatistics(each) for each in known]
        rows = fastai_runs.fit(learn, run, epochs, rate, RATE_SPREAD, seed, callbacks)
        if rank_distrib():  # one process writes the results
            return run.folder
        figures = write_results(run, model, held_out, classes, spec, rows)
        run.finish(
            task="segmentation",
            framework="smp",
            architecture=f"U-Net, {encoder} encoder (segmentation-models-pytorch)",
            labels=[{"name": name} for name in classes],
            input_spec=spec,
            data=data.name,
            folder=str(Path(folder).resolve()) if folder else None,
            more=data.more_facts(train_part),
            **(
                starting_weights.of_run(start_from)
                if start_from
                else {"start": starting_weights.of_encoder(encoder, encoder_weights)}
            ),
            held_out={
                "pictures": len(held_out),
                "size": size,
                "loss": rows[-1]["val_loss"],
                **figures,
            },
            epochs=len(rows),
        )
    print(f"{run.folder}: held-out mean IoU {figures['mean_iou']:.4f}")
    return run.folder


def _known(model: TorchNetwork, start_from: Path | None, size: int) -> torch.nn.Module:
    """The part of a pretrained network whose batch norms need no other statistics.

    A decoder has them to find, unless they come from a run at the same size.
    """
    same = start_from is not None and read_facts(start_from)["input"].height == size
    return model if same else model.encoder


def make_learner(model: TorchNetwork, loaders: DataLoaders, frozen: float) -> Learner:
    """A learner of a U-Net of segmentation-models-pytorch, whose encoder keeps a share frozen."""
    body = list(model.encoder.parameters())
    head = [*model.decoder.parameters(), *model.segmentation_head.parameters()]
    return fastai_runs.fast(
        Learner(
            loaders,
            model,
            loss_func=DiceCrossEntropy(),
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
    """Class indices `(n, height, width)` of photos at the network's size."""
    inputs = torch.from_numpy(np.concatenate([prepare(photo, spec) for photo in photos]))
    with torch.inference_mode():
        return model(inputs).argmax(dim=1).numpy()


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


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    data_sets.add_arguments(parser, folder=MASK_FOLDER, more=True)
    parser.add_argument(
        "--sample",
        type=command_line.positive,
        metavar="NUMBER",
        help="train on so many of the pictures only, drawn by --seed, and on all of --more: for a "
        "short training that does not forget the other pictures",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="the run's folder")
    parser.add_argument(
        "--encoder",
        default=ENCODER,
        help="an encoder of segmentation-models-pytorch; tu-NAME takes any of timm's networks",
    )
    parser.add_argument(
        "--encoder-weights",
        default="imagenet",
        help="'imagenet' (downloaded), 'none', or a .safetensors file of the timm network",
    )
    parser.add_argument(
        "--encoder-args",
        type=command_line.json_object,
        metavar="JSON",
        help='further arguments of a tu- encoder, as \'{"pad_type": "same"}\'',
    )
    parser.add_argument(
        "--start-from", type=Path, metavar="RUN", help="take a finished run's weights"
    )
    parser.add_argument(
        "--size", type=command_line.positive, default=SIZE, help="input side, divisible by 32"
    )
    runs.add_arguments(parser, epochs=EPOCHS, batch=BATCH, rate=RATE, seed=SEED)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    train(**vars(parse_arguments(words)))


if __name__ == "__main__":
    command_line.run(main)
