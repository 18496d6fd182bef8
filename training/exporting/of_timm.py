"""Timm runs as ONNX: one or several, averaged and calibrated."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from tqdm import tqdm

import training.torchvision_ops  # noqa: F401  (before timm)

import timm  # isort: skip

from models.images import open_photo
from models.preprocessing import InputSpec, prepare
from training.exporting.common import Calibration, Exported, Run
from training.exporting.of_torch import export_torch
from training.pretrained import TorchNetwork


class Ensemble(torch.nn.Module):
    """Classifiers as one network, calibrated, with a softmax.

    The logits are averaged over the classifiers, and over the photo and its mirror image if wanted:
    the class is the same, and the errors are not quite.

    Parameters
    ----------
    classifiers
        Networks of timm with the same classes.
    specs
        The input that each was trained on; the ensemble takes that of the first.
    mirror
        Whether it also sees the mirror image.
    temperature
        What logits are divided by.
    """

    def __init__(
        self,
        classifiers: Sequence[TorchNetwork],
        specs: Sequence[InputSpec],
        mirror: bool,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.classifiers: TorchNetwork = torch.nn.ModuleList(classifiers)
        self.specs, self.mirror, self.temperature = specs, mirror, temperature
        for index, spec in enumerate(specs):
            std = torch.tensor(spec.std)
            scale = torch.tensor(specs[0].std) / std
            shift = (torch.tensor(specs[0].mean) - torch.tensor(spec.mean)) / std
            self.register_buffer(f"scale_{index}", scale.reshape(3, 1, 1))
            self.register_buffer(f"shift_{index}", shift.reshape(3, 1, 1))
        self.has_activation = self._ends_in_maps()

    def _ends_in_maps(self) -> bool:
        """Whether all end in feature maps of one size.

        A transformer ends in tokens, and maps of several sizes cannot be averaged.
        """
        with torch.inference_mode():
            nothing = torch.zeros(self.specs[0].batch_shape(1))
            features = [model.forward_features(nothing) for model in self.classifiers]
        return len({maps.shape[2:] for maps in features}) == 1 and all(
            maps.ndim == 4 and maps.shape[1] == model.num_features
            for model, maps in zip(self.classifiers, features, strict=True)
        )

    def own_range(self, photo: torch.Tensor, index: int) -> torch.Tensor:
        """The photo with the mean and deviation that a classifier was trained on."""
        spec, first = self.specs[index], self.specs[0]
        if (spec.mean, spec.std) == (first.mean, first.std):
            return photo
        return photo * getattr(self, f"scale_{index}") + getattr(self, f"shift_{index}")

    def features(self, photo: torch.Tensor) -> list[torch.Tensor]:
        """Each classifier's last features, of the photos and then of their mirror images."""
        if self.mirror:
            photo = torch.cat([photo, photo.flip(3)])
        return [
            classifier.forward_features(self.own_range(photo, index))
            for index, classifier in enumerate(self.classifiers)
        ]

    def logits(self, photo: torch.Tensor) -> torch.Tensor:
        """Mean logits `(batch, classes)` before calibration."""
        return self.logits_of(self.features(photo))

    def logits_of(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Mean logits of features."""
        answers = [
            classifier.forward_head(maps)
            for classifier, maps in zip(self.classifiers, features, strict=True)
        ]
        mean = torch.stack(answers).mean(dim=0)
        return mean.reshape(1 + self.mirror, -1, mean.shape[1]).mean(dim=0)

    def activation_of(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Mean class-activation maps `(batch, classes, height, width)` of features."""
        answers = [
            local_logits(classifier, maps)
            for classifier, maps in zip(self.classifiers, features, strict=True)
        ]
        mean = torch.stack(answers).mean(dim=0)
        if not self.mirror:
            return mean
        straight, flipped = mean.reshape(2, -1, *mean.shape[1:])
        return (straight + flipped.flip(3)) / 2

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Probabilities, and class-activation maps where all classifiers have them."""
        features = self.features(photo)
        probabilities = torch.softmax(self.logits_of(features) / self.temperature, dim=1)
        if not self.has_activation:
            return (probabilities,)
        return probabilities, self.activation_of(features) / self.temperature


def local_logits(classifier: TorchNetwork, features: torch.Tensor) -> torch.Tensor:
    """The classifier's head on each place of its last feature maps alone.

    Behind average pooling and a linear layer these are class-activation maps, whose mean over all
    places is the logit: Zhou et al., "Learning deep features for discriminative localization", CVPR
    2016.

    Parameters
    ----------
    classifier
        A timm network.
    features
        `(batch, channels, height, width)`.

    Returns
    -------
    `(batch, classes, height, width)`.
    """
    channels, height, width = features.shape[1:]
    places = features.permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
    logits = classifier.forward_head(places)
    return logits.reshape(-1, height, width, logits.shape[1]).permute(0, 3, 1, 2)


def ensemble(runs: Sequence[Run], mirror: bool, temperature: float = 1.0) -> Ensemble:
    """The runs' classifiers as one network."""
    networks = [
        timm.create_model(f"local-dir:{run.folder}", pretrained=True).eval() for run in runs
    ]
    return Ensemble(networks, [run.spec for run in runs], mirror, temperature).eval()


def export_timm(
    runs: Sequence[Run], target: Path, mirror: bool, calibrations: Sequence[Calibration]
) -> Exported:
    """Write one or more timm runs as one ONNX with dynamic batch and calibrated probabilities."""
    logits, truth = [], []
    for calibration in calibrations:
        network = ensemble(calibration.runs, mirror)
        with torch.inference_mode():
            for example in tqdm(calibration.examples, desc="calibrating"):
                photo = prepare(open_photo(example.photo), calibration.runs[0].spec)
                logits.append(network.logits(torch.from_numpy(photo)).numpy())
                truth.append(example.label)
    temperature = fit_temperature(np.concatenate(logits), np.array(truth))
    network = ensemble(runs, mirror, temperature)
    return replace(export_torch(network, runs[0].spec, target), temperature=temperature)


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """The temperature that makes the held-out breeds most likely.

    Dividing all logits by one number changes no ranking, but makes "80 %" right in four of five
    cases: Guo et al., "On calibration of modern neural networks", ICML 2017.

    Parameters
    ----------
    logits
        `(n, classes)`.
    truth
        `(n,)` true class indices.
    """

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(truth)), truth]))

    best = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20)))
    return float(np.exp(best.x))
