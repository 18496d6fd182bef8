"""Train the breed classifier: a plain timm network under a fastai Learner.

    python -m training.train_breeds                               # mobilenetv2_100 from the Hub
    python -m training.train_breeds --arch resnet34 --split random --epochs 3
    python -m training.train_breeds --arch convnext_tiny.fb_in22k --batch 64
    python -m training.train_breeds --resume                      # go on with an interrupted run
    accelerate launch -m training.train_breeds                    # on all GPUs of the machine

Reads the official trainval split, holds a tenth of it out, fine-tunes the network behind its first
layers with presizing, augmentation, discriminative learning rates and one cycle, goes half the way
back to where fine-tuning started, and writes to the run's folder a standard timm checkpoint
(`model.safetensors` and `config.json` with the label names), `history.csv`, `tensorboard/`,
`curves.png`, `predictions.png` and `run.json`.

With `--teachers` the labels are not used: finished runs answer instead for each augmented and mixed
picture, and the network learns to answer as they do on average (Beyer et al., "Knowledge
distillation: A good teacher is patient and consistent", CVPR 2022).
"""

import argparse
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training import fastai_runs  # before timm and fastai

import timm  # isort: skip
from fastai.vision.all import (  # isort: skip
    Callback,
    CategoryBlock,
    CutMix,
    DataLoaders,
    LabelSmoothingCrossEntropyFlat,
    Learner,
    MixUp,
    accuracy,
    rank_distrib,
    set_seed,
    top_k_accuracy,
)
from fastai.distributed import num_distrib  # isort: skip
from timm.models import save_for_hf  # isort: skip
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from models.images import open_photo
from models.preprocessing import InputSpec, normalize, prepare, resize_photo
from training import pets, runs
from training.pictures import decode
from training.reports import plot_classifications, plot_curves
from training.runs import describe_run, read_run

ARCH = "mobilenetv2_100"
SIZE = 224  # side of the network's input in pixels
MIN_SCALE = 0.5  # smallest share of the picture's area that a random crop keeps
EPOCHS = 12
BATCH = 32
RATE = 2e-4  # peak rate of the classifier; the first trained layers get it divided by RATE_SPREAD
RATE_SPREAD = 10
FROZEN = 1 / 3  # share of a pretrained body's layers that are kept as they are
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
DROPOUT = 0.2
TUNED = 0.5  # share of the way from the start to the fine-tuned weights at which the result lies
PROBE_COST = 0.05  # inverse regularisation of the linear classifier that fine-tuning starts from
MIX = {"none": [], "mixup": [MixUp(0.2)], "cutmix": [CutMix(1.0)]}
SEED = 42


def input_spec(cfg: dict[str, Any], size: int) -> InputSpec:
    """The photo as this network wants it: squashed to a square, in its timm config's range."""
    return InputSpec(
        size, size, "squash", "bicubic", tuple(cfg["mean"]), tuple(cfg["std"]), layout="NCHW"
    )


def data_loaders(
    train_photos: NDArray[np.uint8],
    held_out_photos: NDArray[np.uint8],
    breeds: Sequence[str],
    labels: Sequence[str],
    spec: InputSpec,
    batch: int,
) -> DataLoaders:
    """Loaders of photos and breeds, those of the training photos and then the held-out ones'."""
    return fastai_runs.loaders(
        train_photos,
        held_out_photos,
        CategoryBlock(vocab=list(labels), sort=False),
        lambda index: breeds[index],
        spec,
        batch,
        MIN_SCALE,
    )


def layer_groups(model: torch.nn.Module, frozen: float) -> list[list[torch.nn.Parameter]]:
    """Split a timm network into frozen, early and late body, and classifier."""
    head = list(model.get_classifier().parameters())
    in_head = {id(parameter) for parameter in head}
    body = [parameter for parameter in model.parameters() if id(parameter) not in in_head]
    return fastai_runs.body_groups(body, head, frozen)


def fit_classifier(
    model: torch.nn.Module,
    photos: NDArray[np.uint8],
    breeds: NDArray[np.integer],
    spec: InputSpec,
) -> None:
    """Give the network the best linear classifier of its features as they are.

    Fine-tuned from there, the body only has to improve; behind a random or zero classifier its
    first steps distort features that few pictures cannot restore: Kumar et al., "Fine-tuning can
    distort pretrained features and underperform out-of-distribution", ICLR 2022.

    Parameters
    ----------
    model
        A timm network with a linear classifier.
    photos
        `(n, height, width, 3)` uint8.
    breeds
        `(n,)` class indices.
    spec
        Mean and standard deviation of the input.
    """
    model.eval().to(fastai_runs.DEVICE, memory_format=torch.channels_last)
    features = []
    with torch.inference_mode(), fastai_runs.mixed():
        for start in tqdm(range(0, len(photos), BATCH), desc="fitting the classifier"):
            batch = torch.from_numpy(normalize(photos[start : start + BATCH], spec))
            batch = batch.to(fastai_runs.DEVICE, memory_format=torch.channels_last)
            pooled = model.forward_head(model.forward_features(batch), pre_logits=True)
            features.append(pooled.float().cpu().numpy())
    scaler, classifier = StandardScaler(), LogisticRegression(C=PROBE_COST, max_iter=500)
    classifier.fit(scaler.fit_transform(np.concatenate(features)), breeds)
    weights = classifier.coef_ / scaler.scale_
    linear = model.get_classifier()
    linear.weight.data = torch.tensor(weights, dtype=torch.float32).contiguous()
    linear.bias.data = torch.tensor(
        classifier.intercept_ - weights @ scaler.mean_, dtype=torch.float32
    )


def go_back(model: torch.nn.Module, start: Mapping[str, torch.Tensor], share: float) -> None:
    """Move the weights from where fine-tuning ended back towards where it started.

    Between the two lie networks that keep more of what pretraining taught than the tuned one and
    know more than the start: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.

    Parameters
    ----------
    model
        The fine-tuned network.
    start
        Its parameters by name, as they were before.
    share
        0 for the start, 1 for the fine-tuned weights.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.lerp(start[name].to(parameter.device), parameter, share))


def accuracies(
    model: torch.nn.Module, loader: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[float, float]:
    """Top-1 and top-5 accuracy in [0, 1], by this process alone: fastai's own asks all of them."""
    hits = []
    model.eval()
    with torch.inference_mode(), fastai_runs.mixed():
        for photos, breeds in loader:
            best = model(photos).topk(5).indices
            hits.append(best == breeds[:, None])
    found = torch.cat(hits).float()
    return float(found[:, 0].mean()), float(found.amax(dim=1).mean())


class Distillation(Callback):
    """Mix pairs of pictures, and take the teachers' mean answer to the mixture as the target.

    The learner's loss must take class indices (held-out part) as well as probabilities.
    """

    def __init__(self, teachers: Sequence[torch.nn.Module]) -> None:
        self.teachers = teachers

    def before_batch(self) -> None:
        """Replace a training batch's pictures by mixtures, and its labels by the answers."""
        if not self.training:
            return
        share = torch.rand((len(self.x), 1, 1, 1), device=self.x.device)
        mixed = torch.lerp(self.x, self.x[torch.randperm(len(self.x))], share / 2)
        with torch.no_grad(), fastai_runs.mixed():
            answers = [teacher(mixed).float().softmax(dim=1) for teacher in self.teachers]
        self.learn.xb = (mixed,)
        self.learn.yb = (torch.stack(answers).mean(dim=0),)


class Teacher(torch.nn.Module):
    """A finished run that answers about pictures as its student gets them.

    The two networks may want different means and standard deviations.
    """

    def __init__(self, run: Path, student: InputSpec) -> None:
        super().__init__()
        own: InputSpec = read_run(run)["input"]
        self.network = timm.create_model(f"local-dir:{run}", pretrained=True).eval()
        mean, std = torch.tensor([own.mean, student.mean]), torch.tensor([own.std, student.std])
        self.register_buffer("scale", (std[1] / std[0]).reshape(3, 1, 1))
        self.register_buffer("shift", ((mean[1] - mean[0]) / std[0]).reshape(3, 1, 1))
        self.to(fastai_runs.DEVICE, memory_format=torch.channels_last)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Logits for `(batch, 3, height, width)` pictures that are normalised for the student."""
        return self.network(photos * self.scale + self.shift)


def train(arguments: argparse.Namespace) -> Path:
    """Run the training that the command line describes; return the run's folder."""
    set_seed(arguments.seed, reproducible=True)
    root = pets.prepare(arguments.root, arguments.source)
    if arguments.split == "random":
        train_part, held_out = pets.random_split(root)
    elif arguments.split == "trainval":
        train_part, held_out = pets.split(root, "trainval"), []
    else:
        train_part, held_out = (
            pets.split(root, part, fold=arguments.fold) for part in ("train", "validation")
        )
    epochs, batch = arguments.epochs, arguments.batch
    if arguments.dry_run:
        train_part, held_out = train_part[:: len(train_part) // 16], held_out[:8]
        epochs, batch = 1, 4
    run: Path = arguments.out
    if not arguments.resume and not rank_distrib():
        shutil.rmtree(run, ignore_errors=True)

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
    spec = input_spec(model.pretrained_cfg, arguments.size)
    photos = decode(train_part, fastai_runs.presized(spec), "training photos")
    held_out_photos = decode(held_out, spec, "held-out photos")
    breed_ids = [example.breed for example in (*train_part, *held_out)]
    if arguments.pretrained:
        fit_classifier(model, photos, np.array(breed_ids[: len(photos)]), spec)
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    if arguments.teachers:
        loss = torch.nn.CrossEntropyLoss()
        callbacks = [Distillation([Teacher(teacher, spec) for teacher in arguments.teachers])]
    else:
        loss = LabelSmoothingCrossEntropyFlat(LABEL_SMOOTHING)
        callbacks = MIX[arguments.mix]
    frozen = 0.0
    if arguments.pretrained:
        frozen = arguments.frozen
        callbacks = [*callbacks, fastai_runs.FixedStatistics(model)]
    learn = fastai_runs.fast(
        Learner(
            data_loaders(
                photos,
                held_out_photos,
                [labels[breed] for breed in breed_ids],
                labels,
                spec,
                batch,
            ),
            model,
            loss_func=loss,
            splitter=lambda network: layer_groups(network, frozen),
            metrics=[accuracy, top_k_accuracy],
            wd=WEIGHT_DECAY,
        )
    )
    if arguments.find_rate:
        fastai_runs.find_rate(learn, run)
        return run
    if arguments.pretrained and held_out and not num_distrib():
        _, top_1, top_5 = learn.validate()
        print(f"before fine-tuning: held-out top-1 {top_1:.4f}, top-5 {top_5:.4f}")
    rows = fastai_runs.fit(
        learn, run, epochs, arguments.rate, RATE_SPREAD, arguments.seed, callbacks
    )
    if rank_distrib():  # one process writes the results
        return run
    if arguments.pretrained:
        go_back(model, start, arguments.tuned)
    figures = {}
    if held_out:
        top_1, top_5 = accuracies(model, learn.dls.valid)
        figures = {"top1": top_1, "top5": top_5}
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
        data=pets.NAME,
        split=arguments.split,
        fold=arguments.fold,
        processes=max(num_distrib(), 1),
        held_out={"pictures": len(held_out), "size": spec.height, **figures},
        epochs=len(rows),
    )
    curves = {"loss": "loss"}
    if held_out:
        curves["accuracy"] = "accuracy"
        plot_predictions(model, held_out[:: max(len(held_out) // 16, 1)][:16], labels, spec, run)
    plot_curves(rows, run / "curves.png", curves)
    shutil.rmtree(run / fastai_runs.CHECKPOINTS)
    shown = "top-1 {top1:.4f}, top-5 {top5:.4f}".format(**figures) if figures else "nothing"
    print(f"{run}: held-out {shown}")
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
    parser.add_argument(
        "--frozen",
        type=float,
        default=FROZEN,
        help="share of a pretrained body's layers, from the input on, that are not trained",
    )
    parser.add_argument(
        "--tuned",
        type=float,
        default=TUNED,
        help="share of the way from the start to the fine-tuned weights at which the result lies",
    )
    parser.add_argument("--mix", choices=MIX, default="none", help="blend training pictures")
    parser.add_argument(
        "--teachers", type=Path, nargs="+", default=[], metavar="RUN", help="learn from these runs"
    )
    parser.add_argument(
        "--split",
        choices=("official", "trainval", "random"),
        default="official",
        help="official: trainval, a tenth held out; trainval: all of it, so that only the test "
        "split can measure; random: a fifth of all pictures held out",
    )
    parser.add_argument(
        "--fold", type=int, choices=range(10), default=0, help="official: the tenth to hold out"
    )
    runs.add_arguments(parser, epochs=EPOCHS, batch=BATCH, rate=RATE, seed=SEED)
    return parser.parse_args(words)


if __name__ == "__main__":
    train(parse_arguments())
