"""What a model's card says: `NAME.json` beside the network in `NAME.onnx`.

The card has everything that the app needs and a reader wants to know; the code contains no such
facts.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from models.preprocessing import InputSpec

Task = Literal["segmentation", "classification", "detection"]
PET = "pet"  # what the page's own mask models outline
# The inputs of a rule that refuses, see `models.pipeline.signs`; without a second head only the
# first two.
SIGNS = ("log_share", "entropy", "breed", "other_pet", "other_thing", "known_pet", "agreement")
LARGEST_EXPONENT = 700.0  # e to this power still fits into a float


class ModelError(Exception):
    """A model is missing, damaged, or for another task."""


@dataclass(frozen=True)
class Label:
    """A class of a model; breeds have a species, "cat" or "dog"."""

    name: str
    species: str | None = None


Kind = Literal["dog", "cat", "other animal", "thing"]


@dataclass(frozen=True)
class OtherClass:
    """A class of a breed model's second head: what a photo may show besides the model's breeds.

    Attributes
    ----------
    name
        In English.
    kind
        "cat" is the domestic one.
    breed
        Name of the model's breed that it is; None if it is none of them.
    """

    name: str
    kind: Kind
    breed: str | None = None


@dataclass(frozen=True, eq=False)  # compared by identity: a thousand classes are many
class SecondHead:
    """What a breed model's second head answers.

    Attributes
    ----------
    classes
        In the order of the output.
    temperature
        What its logits are divided by.
    seen_as
        For each of the model's breeds, the numbers of the classes that its photos are seen as: the
        breed itself, or those it looks like if it is not among them.
    """

    classes: tuple[OtherClass, ...]
    temperature: float
    seen_as: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Refusal:
    """How probably something is a pet of one of the model's breeds: a logistic regression.

    Attributes
    ----------
    weights
        By name, of the signs that it uses: `log_share`, the logarithm of the share of the photo
        that the region covers, and those of `models.breeds.Classification.signs`.
    intercept
        Added to the weighted signs.
    threshold
        The least probability, in [0, 1], at which it is accepted.
    """

    weights: Mapping[str, float]
    intercept: float
    threshold: float

    def probability(self, signs: Mapping[str, float]) -> float:
        """The probability that it is one, in [0, 1], if pets and other things are equally frequent.

        Parameters
        ----------
        signs
            The value of each sign that has a weight; there may be more.
        """
        score = sum(weight * signs[name] for name, weight in self.weights.items()) + self.intercept
        return 1 / (1 + math.exp(-score)) if score > -LARGEST_EXPONENT else 0.0


@dataclass(frozen=True)
class Upright:
    """How surely a pet is seen upright: a logistic regression on the second head's logits.

    Attributes
    ----------
    weights
        By the number of the class; classes that are left out have the weight 0.
    intercept
        Added to the weighted logits.
    sure
        The least log-odds at which a photo is taken as upright without another look.
    margin
        By how much the log-odds of a turned photo must exceed those of the photo as it is.
    """

    weights: Mapping[int, float]
    intercept: float
    sure: float
    margin: float

    def score(self, logits: NDArray[np.float32]) -> float:
        """The log-odds, from the second head's `(classes,)` logits before their temperature."""
        weighted = (weight * logits[number] for number, weight in self.weights.items())
        return float(sum(weighted)) + self.intercept


class LookAlikes(NamedTuple):
    """Two breeds that are often confused, counted on pictures that were not trained on.

    `pictures` show one of them and have both as the network's first two answers; in `right` of
    these the first is the true one.
    """

    pictures: int
    right: int


@dataclass(frozen=True)
class Boxes:
    """How a detector's output describes boxes; see `models.detection`.

    Attributes
    ----------
    strides
        Strides of the grids whose cells its output lists, in this order, in pixels of the input.
    bins
        Number of distances, 0 and up in strides, over which each side of a box has a distribution.
    least
        The least probability, in [0, 1], of a box that is kept.
    overlap
        IoU above which two boxes in one picture count as one.
    """

    strides: tuple[int, ...]
    bins: int
    least: float
    overlap: float


@dataclass(frozen=True)
class Candidates:
    """Which of several boxes in a photo are pets: a small network, as `models.judging` uses it.

    Attributes
    ----------
    look
        Weights of a second head's logits, whose sum is the last sign of a box.
    hidden
        `(units, signs)` weights of the hidden layer, whose activation is SiLU.
    offsets
        Added to each hidden unit.
    output
        Weights of the hidden units.
    intercept
        Added to their sum.
    asked
        The least probability, in [0, 1], of a second box for which the network is asked.
    alone
        The least probability, in [0, 1], of the surest box for which there is a pet at all.
    """

    look: tuple[float, ...]
    hidden: tuple[tuple[float, ...], ...]
    offsets: tuple[float, ...]
    output: tuple[float, ...]
    intercept: float
    asked: float
    alone: float

    def log_odds(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds that each box is a pet: `(n,)`, of `(n, signs)` as of `models.judging.signs`."""
        sums = signs @ np.array(self.hidden).T + np.array(self.offsets)
        return sums / (1 + np.exp(-sums)) @ np.array(self.output) + self.intercept


@dataclass(frozen=True)
class Card:
    """The parts of a model card that the app needs, and the whole card for readers.

    Attributes
    ----------
    name
        The file's name without its extension.
    task
        "segmentation", "classification" or "detection".
    labels
        The classes in the order of the network's output.
    input
        How the network expects its photo.
    output_layout
        Order of the output's axes: "NC", "NCHW", "NHWC", or "NLC" for a detector's grid cells.
    sha256
        Of the `.onnx` file.
    facts
        The whole card as it was read.
    subject
        What a mask model outlines, such as "pet" or "nucleus"; if the card does not say, the first
        class that is neither background nor border.
    title
        The name that people see; if the card has none, its name.
    default
        Whether it is the default of its task.
    instances
        Whether a mask model's subject is separated into single objects and counted.
    refusal
        The rule for refusing a breed model's answer, if one was fitted.
    second_head
        What a breed model's last output means, if it has a second head.
    upright
        The rule for photos that lie on their side, if one was fitted to the second head.
    boxes
        How to decode a detector's output.
    candidates
        The rule that decides between a detector's boxes, if one was fitted.
    pointing
        Whether a mask model understands greyed surroundings; see `models.looks.point_out`.
    close_side
        Side of a mask model's input for a closer look, in pixels, if it is not that of `input`.
    mirror
        Whether a mask model sees a whole photo's mirror image, too, and both answers are averaged.
    """

    name: str
    task: Task
    labels: tuple[Label, ...]
    input: InputSpec
    output_layout: Literal["NC", "NCHW", "NHWC", "NLC"]
    sha256: str
    facts: Mapping[str, Any]
    subject: str | None = None
    title: str = ""
    default: bool = False
    instances: bool = False
    refusal: Refusal | None = None
    second_head: SecondHead | None = None
    upright: Upright | None = None
    boxes: Boxes | None = None
    candidates: Candidates | None = None
    pointing: bool = False
    close_side: int | None = None
    mirror: bool = False

    @property
    def close_input(self) -> InputSpec:
        """How a mask model is shown one pet closely: as `input`, but perhaps at another size.

        Most of a close look is the pet, so it needs fewer pixels than a whole photo.
        """
        if self.close_side is None:
            return self.input
        return replace(self.input, height=self.close_side, width=self.close_side)

    @property
    def close_as_whole(self) -> bool:
        """Whether a closer look at all of a photo is the answer to the photo as a whole."""
        return self.close_input == self.input and not self.mirror

    def look_alikes(self, one: str, other: str) -> LookAlikes | None:
        """What was measured for two breeds that are often confused; None for other pairs.

        The split with the most pictures counts.
        """
        measured: list[tuple[int, dict[str, dict[str, int]]]] = [
            (figures["pictures"], figures["look_alikes"])
            for figures in self.facts.get("metrics", {}).values()
            if "look_alikes" in figures
        ]
        _, pairs = max(measured, key=lambda each: each[0], default=(0, {}))
        names = [label.name for label in self.labels if label.name in (one, other)]
        counts = pairs.get(" or ".join(names))
        return LookAlikes(counts["pictures"], counts["right"]) if counts else None


def names_in(folder: Path) -> list[str]:
    """Names of the models in a folder, as their cards sort: `pet-fine.json` before `pet.json`.

    Other `.json` files have no network beside them.
    """
    try:
        files = set(os.listdir(folder))  # noqa: PTH208
    except OSError:  # there is no such folder
        return []
    # macOS writes "._NAME.json" beside a file on some disks.
    found = (file for file in sorted(files) if file.endswith(".json") and not file.startswith("."))
    names = (file.removesuffix(".json") for file in found)
    return [name for name in names if f"{name}.onnx" in files]


def read(name: str, folder: Path) -> Card:
    """Read a model's card.

    Raises
    ------
    ModelError
        If there is none, or something is missing in it.
    """
    file = f"{folder}{os.sep}{name}.json"  # a Path for each card would take 1 ms of an answer
    try:
        return _parse(file, os.stat(file).st_mtime_ns)  # noqa: PTH116
    except FileNotFoundError:
        raise ModelError(f"There is no model {name!r} in {folder}.") from None


@lru_cache(maxsize=32)
def _parse(file: str, changed: int) -> Card:
    """The card in a file, read again only if the file changes: each answer needs several cards."""
    path = Path(file)
    try:
        facts = json.loads(path.read_text())
        if facts["task"] not in get_args(Task):
            raise ValueError(f"task must be {' or '.join(get_args(Task))}")
        return Card(
            name=path.stem,
            task=facts["task"],
            labels=tuple(Label(**label) for label in facts["labels"]),
            input=InputSpec(**facts["input"]),
            output_layout=facts["output"]["layout"],
            sha256=facts["sha256"],
            facts=facts,
            subject=_subject(facts),
            title=facts.get("title", path.stem),
            default=facts.get("default", False),
            instances=facts.get("instances", False),
            refusal=_refusal(facts) if "refusal" in facts else None,
            second_head=_second_head(facts["otherwise"]) if "otherwise" in facts else None,
            upright=_upright(facts) if "upright" in facts else None,
            boxes=_boxes(facts["boxes"]) if "boxes" in facts else None,
            candidates=_candidates(facts) if "candidates" in facts else None,
            pointing=facts.get("pointing", False),
            close_side=int(facts["close_side"]) if "close_side" in facts else None,
            mirror=facts.get("mirror", False),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model card {path} cannot be used: {error!r}.") from error


def _subject(facts: Mapping[str, Any]) -> str | None:
    if facts["task"] != "segmentation":
        return None
    named = (label["name"] for label in facts["labels"])
    return facts.get("subject") or next(
        (name for name in named if name not in ("background", "border")), None
    )


def _refusal(facts: Mapping[str, Any]) -> Refusal:
    """The rule of a card: the signs' weights by name, with intercept and threshold among them."""
    numbers = {name: float(value) for name, value in facts["refusal"]["rule"].items()}
    intercept, threshold = numbers.pop("intercept"), numbers.pop("threshold")
    if unknown := set(numbers) - set(SIGNS if "otherwise" in facts else SIGNS[:2]):
        raise ValueError(f"the rule that refuses has unknown signs: {', '.join(sorted(unknown))}")
    return Refusal(numbers, intercept, threshold)


def _upright(facts: Mapping[str, Any]) -> Upright:
    """What `training.turns` wrote into a card."""
    rule, classes = facts["upright"]["rule"], len(facts["otherwise"]["names"])
    weights = {int(number): float(weight) for number, weight in rule["weights"].items()}
    if not all(0 <= number < classes for number in weights):
        raise ValueError("The rule for upright photos names classes that the head does not have.")
    return Upright(weights, *(float(rule[name]) for name in ("intercept", "sure", "margin")))


def _second_head(facts: Mapping[str, Any]) -> SecondHead:
    """What `training.imagenet` and `training.refusal` wrote into a card."""
    kinds = {
        number: run["kind"]
        for run in facts["kinds"]
        for number in range(run["first"], run["last"] + 1)
    }
    breeds = {number: name for name, number in facts["breeds"].items()}
    classes = tuple(
        OtherClass(name, kinds[number], breeds.get(number))
        for number, name in enumerate(facts["names"])
    )
    seen_as = facts.get("seen_as") or {name: [number] for number, name in breeds.items()}
    return SecondHead(
        classes,
        float(facts.get("temperature", 1.0)),
        {name: tuple(numbers) for name, numbers in seen_as.items()},
    )


def _boxes(facts: Mapping[str, Any]) -> Boxes:
    return Boxes(**{**facts, "strides": tuple(facts["strides"])})


def _candidates(facts: Mapping[str, Any]) -> Candidates:
    """What `training.candidates` wrote into a card."""
    rule = facts["candidates"]["rule"]
    return Candidates(
        look=tuple(map(float, rule["look"])),
        hidden=tuple(tuple(map(float, unit)) for unit in rule["hidden"]),
        offsets=tuple(map(float, rule["offsets"])),
        output=tuple(map(float, rule["output"])),
        intercept=float(rule["intercept"]),
        asked=float(rule["asked"]),
        alone=float(rule["alone"]),
    )


def read_network(card: Card, folder: Path) -> bytes:
    """Read the `.onnx` file that belongs to a card.

    Raises
    ------
    ModelError
        If it is missing, or its checksum is not the card's.
    """
    path = folder / f"{card.name}.onnx"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"The model file {path} cannot be read: {error}.") from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise ModelError(f"{path} is damaged or was replaced: its SHA-256 is not the card's.")
    return content
