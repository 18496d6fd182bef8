"""Train the breed classifier: a plain timm network under a fastai Learner.

    python -m training.train_breeds                               # mobilenetv2_100 from the Hub
    python -m training.train_breeds --arch convnext_tiny.fb_in22k --batch 64
    python -m training.train_breeds --resume                      # go on with an interrupted run

Reads the official trainval split, holds a tenth of it out, fine-tunes the whole network with
presizing, augmentation, discriminative learning rates and one cycle (Smith, "A disciplined
approach to neural network hyper-parameters", 2018), and writes to the run's folder a standard timm
checkpoint (`model.safetensors` and `config.json` with the label names), `history.csv`,
`curves.png`, `predictions.png` and `run.json`.
"""

import argparse
import csv
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import training.torchvision_ops  # noqa: F401  (before timm and fastai)

import timm  # isort: skip
from fastai.vision.all import (  # isort: skip
    Callback,
    CategoryBlock,
    DataBlock,
    DataLoaders,
    IndexSplitter,
    IntToFloatTensor,
    LabelSmoothingCrossEntropyFlat,
    Learner,
    Normalize,
    PILImage,
    RandTransform,
    SaveModelCallback,
    TransformBlock,
    accuracy,
    aug_transforms,
    set_seed,
    to_float,
    top_k_accuracy,
)
from fastai.callback.channelslast import ChannelsLast  # isort: skip
from timm.models import save_for_hf  # isort: skip

from models.images import open_photo
from models.preprocessing import InputSpec, prepare, resize_photo
from training import pets
from training.reports import plot_classifications, plot_curves
from training.runs import describe_run, read_history

ARCH = "mobilenetv2_100"
SIZE = 224  # side of the network's input in pixels
PRESIZE = 1.25  # side of the pictures that the batch augmentation crops, as a factor of the input
MIN_SCALE = 0.5  # smallest share of the picture's area that a random crop keeps
EPOCHS = 12
BATCH = 32
RATE = 1e-3  # peak rate of the classifier; the body's deepest layers get it divided by RATE_SPREAD
RATE_SPREAD = 20
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
DROPOUT = 0.2
SEED = 42

CUDA = torch.cuda.is_available()


def input_spec(cfg: dict[str, Any], size: int) -> InputSpec:
    """The photo as this network wants it: squashed to a square, in its timm config's range."""
    return InputSpec(
        size, size, "squash", "bicubic", tuple(cfg["mean"]), tuple(cfg["std"]), layout="NCHW"
    )


class ResizePhoto(RandTransform):
    """fastai item transform: bring a photo to the size that its part of the data needs.

    Presizing: training pictures come a little larger than the input, to be augmented and cropped
    in one interpolation on the whole batch. Held-out ones come exactly as at serving.
    """

    split_idx = None  # used on both parts

    def __init__(self, spec: InputSpec) -> None:
        super().__init__(p=1)
        presize = round(spec.height * PRESIZE)
        self.specs = (replace(spec, height=presize, width=presize), spec)

    def before_call(self, _: PILImage, split_idx: int | None) -> None:
        """Take the size of the training (0, or None during set-up) or held-out (1) part."""
        self.spec = self.specs[split_idx or 0]

    def encodes(self, photo: PILImage) -> PILImage:
        """Resize as serving does."""
        return PILImage.create(resize_photo(np.asarray(photo), self.spec))


def data_loaders(
    train_part: Sequence[pets.Example],
    held_out: Sequence[pets.Example],
    labels: Sequence[str],
    spec: InputSpec,
    batch: int,
    workers: int,
) -> DataLoaders:
    """Make fastai's loaders: augmented pictures for training, as at serving for the held-out."""
    augmentation = aug_transforms(
        size=spec.height, min_scale=MIN_SCALE, max_rotate=15.0, max_warp=0.1, max_lighting=0.3
    )
    for transform in augmentation:
        transform.split_idx = 0  # fastai's crop would touch the held-out pictures too
    examples = [*train_part, *held_out]
    block = DataBlock(
        blocks=(
            TransformBlock(
                type_tfms=lambda example: PILImage.create(open_photo(example.photo)),
                batch_tfms=IntToFloatTensor,
            ),
            CategoryBlock(vocab=list(labels), sort=False),
        ),
        get_y=lambda example: labels[example.breed],
        splitter=IndexSplitter(range(len(train_part), len(examples))),
        item_tfms=ResizePhoto(spec),
        batch_tfms=[*augmentation, Normalize.from_stats(spec.mean, spec.std, cuda=CUDA)],
    )
    device = torch.device("cuda" if CUDA else "cpu")
    return block.dataloaders(examples, bs=batch, num_workers=workers, device=device)


def layer_groups(model: torch.nn.Module) -> list[list[torch.nn.Parameter]]:
    """Split a timm network into early body, late body and classifier, for graded rates."""
    head = list(model.get_classifier().parameters())
    in_head = {id(parameter) for parameter in head}
    body = [parameter for parameter in model.parameters() if id(parameter) not in in_head]
    return [body[: len(body) // 2], body[len(body) // 2 :], head]


class BFloat16OnCPU(Callback):
    """Mixed precision on a CPU with bfloat16 arithmetic (fastai's own callback knows CUDA only)."""

    order = 10

    def before_batch(self) -> None:
        """Compute forward pass and loss in bfloat16 where that is safe."""
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        self.autocast.__enter__()

    def after_pred(self) -> None:
        """Give the loss float32 logits."""
        self.learn.pred = to_float(self.pred)

    def after_loss(self) -> None:
        """Run the backward pass outside, as PyTorch advises."""
        self.autocast.__exit__(None, None, None)


class History(Callback):
    """Append a row an epoch to `history.csv`, also over resumed runs.

    fastai's own CSVLogger repeats its header then, and logs the epochs that it skips.
    """

    order = 62  # after the checkpoint: a row says that the epoch can be gone on from

    def __init__(self, path: Path, start: int) -> None:
        self.path, self.start = path, start

    def after_epoch(self) -> None:
        """Write the epoch's losses and metrics."""
        if self.epoch < self.start:
            return
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(self.recorder.metric_names)
            writer.writerow(self.recorder.log)


def mixed_precision(learn: Learner) -> Learner:
    """Let the learner use the fastest arithmetic of this machine that loses no accuracy."""
    if CUDA:
        return learn.to_fp16().add_cb(ChannelsLast())
    if torch.cpu._is_avx512_bf16_supported():  # elsewhere bfloat16 is emulated, and slower
        return learn.add_cbs([BFloat16OnCPU(), ChannelsLast()])
    return learn.add_cb(ChannelsLast())


def train(arguments: argparse.Namespace) -> Path:
    """Run the training that the command line describes; return the run's folder."""
    set_seed(SEED, reproducible=True)
    root = pets.prepare(arguments.root, arguments.source)
    train_part, held_out = pets.split(root, "train"), pets.split(root, "validation")
    epochs, batch = arguments.epochs, arguments.batch
    if arguments.dry_run:
        train_part, held_out = train_part[:: len(train_part) // 16], held_out[:8]
        epochs, batch = 1, 4
    run: Path = arguments.out
    checkpoints = run / "checkpoints"
    if not arguments.resume:
        shutil.rmtree(run, ignore_errors=True)
    checkpoints.mkdir(parents=True, exist_ok=True)

    breeds = pets.breeds(root)
    labels = [breed.name for breed in breeds]
    model_args = {**arguments.model_args, "drop_rate": DROPOUT}
    model = timm.create_model(
        arguments.arch,
        pretrained=arguments.pretrained,
        pretrained_cfg_overlay=arguments.pretrained_cfg,
        num_classes=len(labels),
        **model_args,
    )
    # A new classifier that says "all breeds alike" sends no noise into the pretrained body.
    for parameter in model.get_classifier().parameters():
        torch.nn.init.zeros_(parameter)
    spec = input_spec(model.pretrained_cfg, arguments.size)
    learn = mixed_precision(
        Learner(
            data_loaders(train_part, held_out, labels, spec, batch, arguments.workers),
            model,
            loss_func=LabelSmoothingCrossEntropyFlat(LABEL_SMOOTHING),
            splitter=layer_groups,
            metrics=[accuracy, top_k_accuracy],
            wd=WEIGHT_DECAY,
            path=run,
            model_dir=checkpoints.name,
        )
    )
    done = [int(file.stem.rpartition("_")[2]) for file in checkpoints.glob("epoch_*.pth")]
    start = max(done, default=-1) + 1
    if start:
        learn.load(f"epoch_{start - 1}", with_opt=True)
    history = run / "history.csv"
    learn.fit_one_cycle(
        epochs,
        slice(RATE / RATE_SPREAD, RATE),
        start_epoch=start,
        cbs=[
            SaveModelCallback(every_epoch=True, with_opt=True, fname="epoch"),
            History(history, start),
        ],
    )
    _, top_1, top_5 = learn.validate()
    rows = [
        {
            "loss": row["train_loss"],
            "val_loss": row["valid_loss"],
            "val_accuracy": row["accuracy"],
        }
        for row in read_history(history)
    ]
    save_for_hf(
        model.to(memory_format=torch.contiguous_format),
        run,
        model_config={"label_names": labels},
        model_args=model_args,
        safe_serialization=True,
        data_config={
            "input_size": (3, spec.height, spec.width),
            "interpolation": spec.interpolation,
            "mean": spec.mean,
            "std": spec.std,
            "crop_pct": 1.0,
            "crop_mode": "squash",
        },
    )
    describe_run(
        run,
        task="classification",
        framework="timm",
        architecture=arguments.arch,
        labels=[asdict(breed) for breed in breeds],
        input_spec=spec,
        data="Oxford-IIIT Pet",
        held_out={
            "pictures": len(held_out),
            "size": spec.height,
            "top1": top_1,
            "top5": top_5,
        },
        epochs=len(rows),
    )
    plot_curves(rows, run / "curves.png", {"loss": "loss", "accuracy": "accuracy"})
    plot_predictions(model, held_out[:: max(len(held_out) // 16, 1)][:16], labels, spec, run)
    shutil.rmtree(checkpoints)
    print(f"{run}: held-out top-1 {top_1:.4f}, top-5 {top_5:.4f}")
    return run


def plot_predictions(
    model: torch.nn.Module,
    examples: Sequence[pets.Example],
    labels: Sequence[str],
    spec: InputSpec,
    run: Path,
) -> None:
    """Write the sheet of held-out photos with their predicted and true breeds."""
    photos = [open_photo(example.photo) for example in examples]
    inputs = torch.from_numpy(np.concatenate([prepare(photo, spec) for photo in photos]))
    with torch.inference_mode():
        probabilities = model.eval().cpu()(inputs).softmax(dim=1)
    best = probabilities.max(dim=1)
    plot_classifications(
        [resize_photo(photo, spec) for photo in photos],
        [labels[example.breed] for example in examples],
        [labels[index] for index in best.indices],
        best.values.tolist(),
        run / "predictions.png",
    )


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pets.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path("runs/breeds"), help="the run's folder")
    parser.add_argument("--arch", default=ARCH, help="any name that timm.create_model takes")
    parser.add_argument(
        "--pretrained",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="start from timm's pretrained weights (downloaded, or --pretrained-cfg's file)",
    )
    parser.add_argument(
        "--pretrained-cfg",
        type=json.loads,
        metavar="JSON",
        help='changes to its pretrained_cfg, as \'{"file": "x.safetensors"}\' for local weights',
    )
    parser.add_argument(
        "--model-args",
        type=json.loads,
        default={},
        metavar="JSON",
        help='further arguments of timm.create_model, as \'{"pad_type": "same"}\'',
    )
    parser.add_argument("--size", type=int, default=SIZE, help="input side")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--batch", type=int, default=BATCH, help="pictures a step")
    parser.add_argument(
        "--workers", type=int, default=min(8, os.cpu_count() or 1), help="decoding processes"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--dry-run", action="store_true", help="one epoch on a few pictures")
    return parser.parse_args(words)


if __name__ == "__main__":
    train(parse_arguments())
