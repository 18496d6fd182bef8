"""The breed classifier as a network to fine-tune: input, learner, start, end, results."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training import fastai_runs  # before timm and fastai

from fastai.vision.all import (  # isort: skip
    Callback,
    CategoryBlock,
    CutMix,
    DataLoaders,
    LabelSmoothingCrossEntropyFlat,
    Learner,
    MixUp,
    accuracy,
    top_k_accuracy,
)
from timm.models import save_for_hf  # isort: skip
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from models.images import open_photo
from models.preprocessing import InputSpec, normalize, prepare, resize_photo
from training.data_sets import DataSet, Examples
from training.distillation import Distillation, Teacher
from training.pictures import decode, few
from training.pretrained import TorchNetwork
from training.reports import plot_classifications, plot_curves
from training.runs import Run, RunError

MIN_SCALE = 0.5  # smallest share of the picture's area that a random crop keeps
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
PROBE_BATCH = 32
PROBE_COST = 0.05  # inverse regularisation of the linear classifier that fine-tuning starts from


def input_spec(cfg: dict[str, Any], size: int) -> InputSpec:
    """The input that the network expects: squashed to a square, in its timm range."""
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
    """Loaders of photos and breeds; `breeds` lists those for training, then the held-out ones."""
    return fastai_runs.loaders(
        train_photos,
        held_out_photos,
        CategoryBlock(vocab=list(labels), sort=False),
        lambda index: breeds[index],
        spec,
        batch,
        MIN_SCALE,
    )


def layer_groups(model: TorchNetwork, frozen: float) -> list[list[torch.nn.Parameter]]:
    """Split a timm network into frozen, early and late body, and classifier."""
    head = list(model.get_classifier().parameters())
    in_head = {id(parameter) for parameter in head}
    body = [parameter for parameter in model.parameters() if id(parameter) not in in_head]
    return fastai_runs.body_groups(body, head, frozen)


def fit_classifier(
    model: TorchNetwork,
    photos: NDArray[np.uint8],
    breeds: NDArray[np.integer],
    spec: InputSpec,
) -> None:
    """Give the network the best linear classifier of its features as they are.

    Fine-tuning then only has to improve the body. With a random or zero classifier, the first steps
    would distort features that few pictures cannot restore: Kumar et al., "Fine-tuning can distort
    pretrained features and underperform out-of-distribution", ICLR 2022.

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
        for start in tqdm(range(0, len(photos), PROBE_BATCH), desc="fitting the classifier"):
            batch = torch.from_numpy(normalize(photos[start : start + PROBE_BATCH], spec))
            batch = batch.to(fastai_runs.DEVICE, memory_format=torch.channels_last)
            pooled = model.forward_head(model.forward_features(batch), pre_logits=True)
            features.append(pooled.float().cpu().numpy())
    weights, biases = linear_probe(np.concatenate(features), breeds, model.num_classes)
    linear = model.get_classifier()
    linear.weight.data = torch.tensor(weights, dtype=torch.float32).contiguous()
    linear.bias.data = torch.tensor(biases, dtype=torch.float32)


def linear_probe(
    features: NDArray[np.float32], labels: NDArray[np.integer], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The best linear classifier of features, as `(classes, length)` weights and biases.

    A class without examples gets zero weights and the lowest bias of the others: it may get
    examples later, and should not be predicted until then.

    Parameters
    ----------
    features
        `(n, length)`.
    labels
        `(n,)` class indices; not every class needs examples.
    classes
        Number of classes.
    """
    present = np.unique(labels)
    weights, biases = np.zeros((classes, features.shape[1])), np.zeros(classes)
    if len(present) < 2:
        return weights, biases
    scaler, classifier = StandardScaler(), LogisticRegression(C=PROBE_COST, max_iter=500)
    classifier.fit(scaler.fit_transform(features), labels)
    coefficients, intercepts = classifier.coef_, classifier.intercept_
    if len(present) == 2:  # with two classes, scikit-learn returns the second one's weights alone
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weights[present] = coefficients / scaler.scale_
    own = intercepts - weights[present] @ scaler.mean_
    biases[:] = own.min()
    biases[present] = own
    return weights, biases


def go_back(model: TorchNetwork, start: Mapping[str, torch.Tensor], share: float) -> None:
    """Move the fine-tuned weights part of the way back to where fine-tuning started.

    Networks in between keep more of the pretraining than the fine-tuned one, and are better at the
    task than the start: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.

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
    model: TorchNetwork, loader: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[float, float]:
    """Top-1 and top-5 accuracy in [0, 1], in one process alone; fastai's needs all of them."""
    hits = []
    model.eval()
    with torch.inference_mode(), fastai_runs.mixed():
        for photos, breeds in loader:
            logits = model(photos)
            best = logits.topk(min(5, logits.shape[1])).indices
            hits.append(best == breeds[:, None])
    found = torch.cat(hits).float()
    return float(found[:, 0].mean()), float(found.amax(dim=1).mean())


def blending(mix: str) -> list[Callback]:
    """The callback that blends training pictures: "mixup", "cutmix" or, for none, "none"."""
    return {"none": [], "mixup": [MixUp(0.2)], "cutmix": [CutMix(1.0)]}[mix]


def teaching(teachers: Sequence[Path], spec: InputSpec, data: DataSet) -> list[Callback]:
    """The callback for the teachers, if there are any."""
    if not teachers:
        return []
    networks = [Teacher(Path(teacher), spec) for teacher in teachers]
    labels = [label["name"] for label in data.labels]
    for teacher, network in zip(teachers, networks, strict=True):
        if network.labels != labels:
            raise RunError(f"{teacher} has other classes than {data.name}: it cannot teach them.")
    return [Distillation(networks)]


def make_learner(
    model: TorchNetwork,
    train_part: Examples,
    held_out: Examples,
    data: DataSet,
    spec: InputSpec,
    batch: int,
    pretrained: bool,
    frozen: float,
    taught: bool,
) -> Learner:
    """A learner of a timm network on pictures that are decoded once.

    Parameters
    ----------
    model
        The network; a pretrained one gets the best linear classifier of its features.
    train_part, held_out
        Examples with a `photo` and a `label`.
    data, spec, batch
        Their data set, the network's input, and pictures a step.
    pretrained, frozen
        Whether the body is pretrained, and what share of it then stays frozen.
    taught
        Whether the targets are teachers' probabilities instead of labels.
    """
    photos = decode(train_part, fastai_runs.presized(spec), "training photos")
    held_out_photos = decode(held_out, spec, "held-out photos")
    labels = [label["name"] for label in data.labels]
    indices = [example.label for example in (*train_part, *held_out)]
    if pretrained:
        fit_classifier(model, photos, np.array(indices[: len(photos)]), spec)
    loss = (
        torch.nn.CrossEntropyLoss() if taught else LabelSmoothingCrossEntropyFlat(LABEL_SMOOTHING)
    )
    loaders = data_loaders(
        photos, held_out_photos, [labels[index] for index in indices], labels, spec, batch
    )
    return fastai_runs.fast(
        Learner(
            loaders,
            model,
            loss_func=loss,
            splitter=lambda network: layer_groups(network, frozen if pretrained else 0.0),
            metrics=[accuracy, partial(top_k_accuracy, k=min(5, len(labels)))],
            wd=WEIGHT_DECAY,
        )
    )


def write_results(
    run: Run,
    model: TorchNetwork,
    network_args: Mapping[str, Any],
    data: DataSet,
    held_out: Examples,
    spec: InputSpec,
    rows: Sequence[Mapping[str, float]],
) -> None:
    """Write the network as timm's standard checkpoint, the curves and a sheet of predictions."""
    labels = [label["name"] for label in data.labels]
    save_for_hf(
        model.to(memory_format=torch.contiguous_format),
        str(run.folder),
        model_config={"label_names": labels},
        model_args=dict(network_args),
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
    curves = {"loss": "loss"}
    if held_out:
        curves["accuracy"] = "accuracy"
        plot_predictions(model, few(held_out, 16), labels, spec, run.folder)
    if rows:
        plot_curves(rows, run.folder / "curves.png", curves)


def plot_predictions(
    model: TorchNetwork,
    examples: Examples,
    labels: Sequence[str],
    spec: InputSpec,
    folder: Path,
) -> None:
    """Write the sheet of held-out photos with their predicted and true classes."""
    photos = [open_photo(example.photo) for example in examples]
    inputs = torch.from_numpy(np.concatenate([prepare(photo, spec) for photo in photos]))
    with torch.inference_mode():
        probabilities = model.eval().cpu()(inputs).softmax(dim=1)
    best = probabilities.max(dim=1)
    plot_classifications(
        [resize_photo(photo, spec) for photo in photos],
        [labels[example.label] for example in examples],
        [labels[index] for index in best.indices],
        best.values.tolist(),
        folder / "predictions.png",
    )
