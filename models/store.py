"""Which models exist and where their bytes come from: a folder of `NAME.onnx` + `NAME.json`.

The card, `NAME.json`, says all that serving needs and a reader wants; no code holds such facts.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.preprocessing import InputSpec
from models.runtime import Network

EMBEDDED = Path(__file__).parent / "weights"
SOURCE_VARIABLE = "PETSCOPE_MODELS"

Task = Literal["segmentation", "classification"]


class ModelError(Exception):
    """A model is missing, damaged, or not of the kind asked for."""


@dataclass(frozen=True)
class Label:
    """A class of a model; breeds say their species, "cat" or "dog"."""

    name: str
    species: str | None = None


@dataclass(frozen=True)
class Card:
    """What serving needs of a model card, and the whole card for readers.

    Attributes
    ----------
    name
        The file's name without its ending.
    task
        "segmentation" or "classification".
    labels
        The classes in the order of the network's output.
    input
        How the network wants its photo.
    output_layout
        Order of the output's axes: "NC", "NCHW" or "NHWC".
    sha256
        Of the `.onnx` file.
    facts
        The whole card as it was read.
    """

    name: str
    task: Task
    labels: tuple[Label, ...]
    input: InputSpec
    output_layout: Literal["NC", "NCHW", "NHWC"]
    sha256: str
    facts: Mapping[str, Any]


def source() -> Path:
    """The folder that models are loaded from: $PETSCOPE_MODELS, else the embedded ones."""
    return Path(os.environ.get(SOURCE_VARIABLE) or EMBEDDED)


def names(task: Task | None = None, folder: Path | None = None) -> list[str]:
    """Names of the models in the folder, of one task or of all, sorted."""
    folder = folder or source()
    cards = (read_card(path.stem, folder) for path in sorted(folder.glob("*.json")))
    return [card.name for card in cards if task in (None, card.task)]


def read_card(name: str, folder: Path | None = None) -> Card:
    """Read a model's card.

    Raises
    ------
    ModelError
        When there is none, or it lacks something.
    """
    path = (folder or source()) / f"{name}.json"
    try:
        facts = json.loads(path.read_text())
        return Card(
            name=name,
            task=facts["task"],
            labels=tuple(Label(**label) for label in facts["labels"]),
            input=InputSpec(**facts["input"]),
            output_layout=facts["output"]["layout"],
            sha256=facts["sha256"],
            facts=facts,
        )
    except FileNotFoundError:
        raise ModelError(f"There is no model {name!r} in {path.parent}.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model card {path} cannot be used: {error!r}.") from error


def load(name: str, task: Task, folder: Path | None = None) -> tuple[Card, Network]:
    """Load a model and make it ready to run.

    Raises
    ------
    ModelError
        When it is missing, is for another task, or its bytes are not those of its card.
    """
    folder = folder or source()
    card = read_card(name, folder)
    if card.task != task:
        raise ModelError(f"The model {name!r} is for {card.task}, not for {task}.")
    path = folder / f"{name}.onnx"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"The model file {path} cannot be read: {error}.") from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise ModelError(f"{path} is damaged or was replaced: its SHA-256 is not the card's.")
    return card, Network(content, card.input.batch_shape(1))
