"""Timm runs as ONNX: one or several, averaged and calibrated."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import training.torchvision_ops  # noqa: F401  (before timm)

import timm  # isort: skip

from models.images import open_photo
from models.preprocessing import InputSpec, prepare
from training.calibration import fit_temperature
from training.exporting.common import (
    ACTIVATION,
    OTHERWISE,
    OUTPUTS,
    Calibration,
    Exported,
    ExportError,
    Run,
)
from training.exporting.of_torch import export_torch
from training.pretrained import TorchNetwork, timm_network

IMAGENET_CLASSES = 1000


class Ensemble(torch.nn.Module):
    """Classifiers as one network, calibrated, with a softmax.

    The logits are averaged over the classifiers, and over the photo and its mirror image if wanted:
    the class is the same, but the errors differ.

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
    otherwise
        A second linear classifier on the features of the only network.
    """

    def __init__(
        self,
        classifiers: Sequence[TorchNetwork],
        specs: Sequence[InputSpec],
        mirror: bool,
        temperature: float = 1.0,
        otherwise: torch.nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.otherwise = otherwise
        self.classifiers: TorchNetwork = torch.nn.ModuleList(classifiers)
        self.specs, self.mirror, self.temperature = specs, mirror, temperature
        for index, spec in enumerate(specs):
            std = torch.tensor(spec.std)
            scale = torch.tensor(specs[0].std) / std
            shift = (torch.tensor(specs[0].mean) - torch.tensor(spec.mean)) / std
            self.register_buffer(f"scale_{index}", scale.reshape(3, 1, 1))
            self.register_buffer(f"shift_{index}", shift.reshape(3, 1, 1))
        self.has_activation = self._ends_in_maps()
        self.outputs = (
            *OUTPUTS,
            *((ACTIVATION,) if self.has_activation else ()),
            *((OTHERWISE,) if otherwise is not None else ()),
        )

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
        return self._unmirrored(torch.stack(answers).mean(dim=0))

    def _unmirrored(self, logits: torch.Tensor) -> torch.Tensor:
        """Mean logits of the photos and their mirror images."""
        return logits.reshape(1 + self.mirror, -1, logits.shape[1]).mean(dim=0)

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
        """The values that `outputs` names.

        Probabilities, class-activation maps if all classifiers have them, and the logits of the
        second classifier if there is one.
        """
        features = self.features(photo)
        answers = [torch.softmax(self.logits_of(features) / self.temperature, dim=1)]
        if self.has_activation:
            answers.append(self.activation_of(features) / self.temperature)
        if self.otherwise is not None:
            pooled = self.classifiers[0].forward_head(features[0], pre_logits=True)
            answers.append(self._unmirrored(self.otherwise(pooled)))
        return tuple(answers)


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


def ensemble(
    runs: Sequence[Run],
    mirror: bool,
    temperature: float = 1.0,
    otherwise: torch.nn.Module | None = None,
) -> Ensemble:
    """The runs' classifiers as one network."""
    networks = [
        timm.create_model(f"local-dir:{run.folder}", pretrained=True).eval() for run in runs
    ]
    specs = [run.spec for run in runs]
    return Ensemble(networks, specs, mirror, temperature, otherwise).eval()


def imagenet_head(run: Run, weights: str) -> TorchNetwork:
    """The classifier that a run's network had before it was fine-tuned.

    It still works on the fine-tuned features, because these are moved half of the way back; see
    `training.breed_classifier.go_back`.

    Parameters
    ----------
    run
        The fine-tuned network.
    weights
        Where it started from: a file, or "imagenet" for what timm downloads.

    Raises
    ------
    training.errors.UserError
        If the weights are not available, or are of other classes or another network.
    """
    config = None if weights == "imagenet" else {"file": weights}
    start = timm_network(
        run.facts["architecture"], IMAGENET_CLASSES, pretrained=True, pretrained_cfg=config
    )
    head = start.get_classifier()
    if not isinstance(head, torch.nn.Linear):
        raise ExportError(
            f"{run.facts['architecture']} does not end in a linear classifier that could be kept."
        )
    return head


def export_timm(
    runs: Sequence[Run],
    target: Path,
    calibrations: Sequence[Calibration],
    mirror: bool = False,
    temperature: float | None = None,
    otherwise: str | None = None,
) -> Exported:
    """Write one or more timm runs as one ONNX with dynamic batch and calibrated probabilities.

    `mirror`, `temperature` and `otherwise` are those of `training.export.export`.
    """
    head = imagenet_head(runs[0], otherwise) if otherwise else None
    if temperature is None:
        temperature = calibrated(calibrations, mirror)
    network = ensemble(runs, mirror, temperature, head)
    exported = export_torch(network, runs[0].spec, target, outputs=network.outputs)
    return replace(exported, temperature=temperature)


def calibrated(calibrations: Sequence[Calibration], mirror: bool) -> float:
    """The temperature of networks on what they held out, as `fit_temperature` finds it."""
    logits, truth = [], []
    for calibration in calibrations:
        network = ensemble(calibration.runs, mirror)
        with torch.inference_mode():
            for example in tqdm(calibration.examples, desc="calibrating"):
                photo = prepare(open_photo(example.photo), calibration.runs[0].spec)
                logits.append(network.logits(torch.from_numpy(photo)).numpy())
                truth.append(example.label)
    return fit_temperature(np.concatenate(logits), np.array(truth))
