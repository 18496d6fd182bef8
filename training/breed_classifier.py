"""The breed classifier as a network to fine-tune: input, layer groups, start, end, accuracy."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training import fastai_runs  # before timm and fastai

from fastai.vision.all import CategoryBlock, DataLoaders  # isort: skip
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from models.preprocessing import InputSpec, normalize
from training.pretrained import TorchNetwork

MIN_SCALE = 0.5  # smallest share of the picture's area that a random crop keeps
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
