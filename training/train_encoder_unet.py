"""Train a U-Net with any timm encoder on pets: segmentation-models-pytorch under a fastai Learner.

    python -m training.train_encoder_unet                          # tu-mobilenetv2_100 from the Hub
    python -m training.train_encoder_unet --encoder timm-efficientnet-b0 --size 224
    python -m training.train_encoder_unet --size 256 --epochs 4 --start-from runs/encoder-unet
    python -m training.train_encoder_unet --resume                 # go on with an interrupted run
    accelerate launch -m training.train_encoder_unet               # on all GPUs of the machine

Reads the official trainval split, holds a tenth of it out, trains decoder and encoder (behind its
first layers) on cross-entropy plus Dice with augmentation and one cycle, and writes to the run's
folder `model.safetensors` and `config.json` (for `segmentation_models_pytorch.from_pretrained`),
`history.csv`, `tensorboard/`, `curves.png`, `predictions.png` and `run.json`.

`--start-from` takes the weights of a finished run: a few epochs at a larger size after many at a
small one reach what many at the large size reach, in a fraction of the time (Howard et al.,
"fastai: A layered API for deep learning", 2020, on progressive resizing).
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

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
from safetensors.torch import load_file

from models.images import open_photo
from models.preprocessing import InputSpec, prepare, resize_photo
from training import pets, runs
from training.metrics import confusion_matrix, mask_figures
from training.pictures import decode
from training.reports import plot_curves, plot_segmentations
from training.runs import describe_run

ENCODER = "tu-mobilenetv2_100"
SIZE = 128  # side of the network's input in pixels, divisible by 32
MIN_SCALE = 0.6  # smallest share of the picture's area that a random crop keeps
EPOCHS = 12
BATCH = 16
RATE = 2e-3  # peak rate of the decoder; the first trained layers get it divided by RATE_SPREAD
RATE_SPREAD = 10
FROZEN = 0.25  # share of a pretrained encoder's layers that are kept as they are
WEIGHT_DECAY = 0.01
SEED = 42


def input_spec(mean: Sequence[float], std: Sequence[float], size: int) -> InputSpec:
    """The photo as the encoder wants it, squashed to a square."""
    return InputSpec(size, size, "squash", "bilinear", tuple(mean), tuple(std), layout="NCHW")


def data_loaders(
    train_part: Sequence[pets.Example],
    held_out: Sequence[pets.Example],
    spec: InputSpec,
    batch: int,
) -> DataLoaders:
    """Loaders of photos and class indices (0 pet, 1 background, 2 border)."""
    presized = fastai_runs.presized(spec)
    masks = [
        read_trimap(example, size)
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


def read_trimap(example: pets.Example, spec: InputSpec) -> NDArray[np.uint8]:
    """The trimap's values 1, 2, 3 as class indices 0, 1, 2, at the size of the input."""
    return pets.read_trimap(example.trimap, spec.height, spec.width) - 1


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


def build(encoder: str, weights: str, encoder_args: dict[str, object]) -> torch.nn.Module:
    """The network, with the encoder's weights from the Hub, a `.safetensors` file, or random."""
    downloaded = "imagenet" if weights == "imagenet" else None
    model = smp.Unet(
        encoder, encoder_weights=downloaded, classes=len(pets.MASK_CLASSES), **encoder_args
    )
    if weights not in ("imagenet", "none"):
        trained, own = load_file(weights), model.encoder.model.state_dict()
        model.encoder.model.load_state_dict({name: trained[name] for name in own})
    return model


def train(arguments: argparse.Namespace) -> Path:
    """Run the training that the command line describes; return the run's folder."""
    set_seed(arguments.seed, reproducible=True)
    root = pets.prepare(arguments.root, arguments.source)
    train_part = pets.with_masks(pets.split(root, "train"))
    held_out = pets.with_masks(pets.split(root, "validation"))
    epochs, batch = arguments.epochs, arguments.batch
    if arguments.dry_run:
        train_part, held_out = train_part[:: len(train_part) // 16], held_out[:8]
        epochs, batch = 1, 4
    run: Path = arguments.out
    if not arguments.resume and not rank_distrib():
        shutil.rmtree(run, ignore_errors=True)

    model = build(arguments.encoder, arguments.encoder_weights, arguments.encoder_args)
    if arguments.start_from:
        model.load_state_dict(load_file(arguments.start_from / "model.safetensors"))
    pretrained = arguments.encoder_weights != "none" or arguments.start_from
    frozen = FROZEN if pretrained else 0.0
    preparation = smp.encoders.get_preprocessing_params(arguments.encoder)
    spec = input_spec(preparation["mean"], preparation["std"], arguments.size)
    body = list(model.encoder.parameters())
    head = [*model.decoder.parameters(), *model.segmentation_head.parameters()]
    learn = fastai_runs.fast(
        Learner(
            data_loaders(train_part, held_out, spec, batch),
            model,
            loss_func=DiceCrossEntropy(),
            splitter=lambda _: fastai_runs.body_groups(body, head, frozen),
            metrics=[pixel_accuracy],
            wd=WEIGHT_DECAY,
        )
    )
    if arguments.find_rate:
        fastai_runs.find_rate(learn, run)
        return run
    # The decoder's batch norms have statistics to find.
    callbacks = [fastai_runs.FixedStatistics(model.encoder)] if pretrained else []
    rows = fastai_runs.fit(
        learn, run, epochs, arguments.rate, RATE_SPREAD, arguments.seed, callbacks
    )
    if rank_distrib():  # one process writes the results
        return run
    model = model.cpu().to(memory_format=torch.contiguous_format).eval()
    model.save_pretrained(run)
    figures = held_out_figures(model, held_out, spec)
    describe_run(
        run,
        task="segmentation",
        framework="smp",
        architecture=f"U-Net, {arguments.encoder} encoder (segmentation-models-pytorch)",
        labels=[{"name": name} for name in pets.MASK_CLASSES],
        input_spec=spec,
        data=pets.NAME,
        held_out={
            "pictures": len(held_out),
            "size": arguments.size,
            "loss": rows[-1]["val_loss"],
            **figures,
        },
        epochs=len(rows),
    )
    plot_curves(rows, run / "curves.png", {"loss": "loss", "pixel_accuracy": "pixel accuracy"})
    plot_predictions(model, held_out[:: max(len(held_out) // 8, 1)][:8], spec, run)
    shutil.rmtree(run / fastai_runs.CHECKPOINTS)
    print(f"{run}: held-out mean IoU {figures['mean_iou']:.4f}")
    return run


def predict(model: torch.nn.Module, photos: Sequence[np.ndarray], spec: InputSpec) -> np.ndarray:
    """Class indices `(n, height, width)` of photos at the network's size."""
    inputs = torch.from_numpy(np.concatenate([prepare(photo, spec) for photo in photos]))
    with torch.inference_mode():
        return model(inputs).argmax(dim=1).numpy()


def held_out_figures(
    model: torch.nn.Module, held_out: Sequence[pets.Example], spec: InputSpec
) -> dict[str, object]:
    """Figures of the held-out part at the network's size."""
    classes = len(pets.MASK_CLASSES)
    confusion = np.zeros((classes, classes), np.int64)
    for example in held_out:
        truth = read_trimap(example, spec)
        prediction = predict(model, [open_photo(example.photo)], spec)[0]
        confusion += confusion_matrix(truth, prediction, classes)
    return mask_figures(confusion, pets.MASK_CLASSES)


def plot_predictions(
    model: torch.nn.Module, examples: Sequence[pets.Example], spec: InputSpec, run: Path
) -> None:
    """Write the sheet of held-out photos with their true and predicted masks."""
    photos = [open_photo(example.photo) for example in examples]
    plot_segmentations(
        [resize_photo(photo, spec) for photo in photos],
        [read_trimap(example, spec) for example in examples],
        predict(model, photos, spec),
        pets.MASK_CLASSES,
        run / "predictions.png",
    )


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pets.add_arguments(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/encoder-unet"), help="the run's folder"
    )
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
        type=json.loads,
        default={},
        metavar="JSON",
        help='further arguments of a tu- encoder, as \'{"pad_type": "same"}\'',
    )
    parser.add_argument(
        "--start-from", type=Path, metavar="RUN", help="take a finished run's weights"
    )
    parser.add_argument("--size", type=int, default=SIZE, help="input side, divisible by 32")
    runs.add_arguments(parser, epochs=EPOCHS, batch=BATCH, rate=RATE, seed=SEED)
    return parser.parse_args(words)


if __name__ == "__main__":
    train(parse_arguments())
