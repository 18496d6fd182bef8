"""What exporters have in common: runs in, a network's file and how its framework predicts out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.preprocessing import InputSpec
from training.data_sets import Examples
from training.errors import UserError

OPSET = 18
PROBABILITIES, ACTIVATION, OTHERWISE = "probabilities", "class_activation", "otherwise"
OUTPUTS = (PROBABILITIES,)  # classifiers that end in maps, or have two heads, have more

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class ExportError(UserError):
    """The runs cannot be exported together, or ONNX Runtime and the framework disagree."""


class Run:
    """A finished training run: its folder, what it says of itself, and the input to serve."""

    def __init__(self, folder: Path, facts: dict[str, Any], size: int | None = None) -> None:
        self.folder, self.facts = folder, facts
        self.spec: InputSpec = facts["input"]
        if size is not None:
            self.spec = replace(self.spec, height=size, width=size)


@dataclass(frozen=True)
class Calibration:
    """Classifiers that are averaged, and examples that all of them held out."""

    runs: Sequence[Run]
    examples: Examples


@dataclass(frozen=True)
class Exported:
    """What an exporter tells of the network it wrote: how the framework predicts, and facts."""

    predict: Predict
    parameters: int
    temperature: float | None = None
    outputs: tuple[str, ...] = OUTPUTS
    meaning: str = "softmax probabilities in the order of the labels"


Exporter = Callable[..., Exported]
"""Writes runs of a framework as one network; takes `(runs, target, calibrations)`.

What more an exporter takes, it names itself.
"""


def single(runs: Sequence[Run]) -> Run:
    """The only run of an export that cannot average several.

    Raises
    ------
    ExportError
        When there are more.
    """
    if len(runs) > 1:
        raise ExportError("Only classifiers of timm can be averaged: give one run.")
    return runs[0]
