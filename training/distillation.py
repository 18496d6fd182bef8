"""A network learns from finished runs instead of labels.

Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from training import fastai_runs  # before timm and fastai

import timm  # isort: skip
from fastai.vision.all import Callback  # isort: skip

from models.preprocessing import InputSpec
from training.pretrained import TorchNetwork
from training.runs import RunError, read_facts


class Distillation(Callback):
    """Mix pairs of pictures, with the teachers' mean answer to the mixture as the target.

    The learner's loss must take class indices (held-out part) as well as probabilities.
    """

    def __init__(self, teachers: Sequence[torch.nn.Module]) -> None:
        self.teachers = teachers

    def before_batch(self) -> None:
        """Replace the pictures of a training batch with mixtures, and its labels with answers."""
        if not self.training:
            return
        share = torch.rand((len(self.x), 1, 1, 1), device=self.x.device)
        mixed = torch.lerp(self.x, self.x[torch.randperm(len(self.x))], share / 2)
        with torch.no_grad(), fastai_runs.mixed():
            answers = [teacher(mixed).float().softmax(dim=1) for teacher in self.teachers]
        self.learn.xb = (mixed,)
        self.learn.yb = (torch.stack(answers).mean(dim=0),)


class Teacher(torch.nn.Module):
    """A finished run that predicts on its student's inputs.

    The two networks may expect different means and standard deviations.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, run: Path, student: InputSpec) -> None:
        super().__init__()
        facts = read_facts(run)
        if facts["framework"] != "timm":
            raise RunError(f"{run} is not a run of training.train_breeds: it cannot teach.")
        own: InputSpec = facts["input"]
        self.labels = [label["name"] for label in facts["labels"]]
        self.network = timm.create_model(f"local-dir:{run}", pretrained=True).eval()
        mean, std = torch.tensor([own.mean, student.mean]), torch.tensor([own.std, student.std])
        self.register_buffer("scale", (std[1] / std[0]).reshape(3, 1, 1))
        self.register_buffer("shift", ((mean[1] - mean[0]) / std[0]).reshape(3, 1, 1))
        network: TorchNetwork = self
        network.to(fastai_runs.DEVICE, memory_format=torch.channels_last)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Logits for `(batch, 3, height, width)` pictures that are normalised for the student."""
        return self.network(photos * self.scale + self.shift)
