"""Finds cats and dogs: a box around each, however small, by a detector without anchors.

A label with a species is a pet. The others are animals that a pet might be mistaken for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import store
from models.cards import Boxes, Card, Label, ModelError
from models.images import Photo
from models.preprocessing import as_image, prepare, scaled_size
from models.runtime import Network

SUPPORT = (0.4, 0.6, 0.8)  # IoU of boxes that support one
FAINTEST = 0.05  # least probability of a place that supports a box


@dataclass(frozen=True)
class Detection:
    """A detected pet: its box, its class, and its probability.

    Attributes
    ----------
    box
        `(left, top, right, bottom)` in pixels of the photo, right and bottom exclusive.
    label
        What it is.
    probability
        Probability of the pet, in [0, 1].
    other
        The largest probability, in [0, 1], that the same place gives to an animal that is no pet.
    support
        Sums of the probabilities of all places whose boxes overlap this one by more than each of
        `SUPPORT`: a box that many places agree on is a pet more often.
    """

    box: tuple[int, int, int, int]
    label: Label
    probability: float
    other: float = 0.0
    support: tuple[float, ...] = (1.0, 1.0, 1.0)


def decode(
    output: NDArray[np.float32], height: int, width: int, rule: Boxes
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn a detector's output into boxes and probabilities.

    Each cell of each grid has a logit for each class and, for each side of its box, the logits of a
    distribution over `rule.bins` distances, whose mean is the distance: Li et al., "Generalized
    focal loss", NeurIPS 2020. The cell in row `r` and column `c` is at `(c, r)` strides.

    Parameters
    ----------
    output
        `(places, classes + 4 * bins)` logits; the sides in the order left, top, right, bottom.
    height, width
        Size of the network's input in pixels.
    rule
        Strides and bins; cells below `rule.least` are dropped.

    Returns
    -------
    `(n, 4)` left, top, right, bottom in pixels of the input, which may extend beyond it, and `(n,
    classes)` probabilities.
    """
    classes = output.shape[1] - 4 * rule.bins
    probabilities = 1 / (1 + np.exp(-output[:, :classes]))
    chosen = np.flatnonzero(probabilities.max(axis=1) >= rule.least)
    places = np.concatenate(list(_places(height, width, rule.strides)))[chosen]
    sides = output[chosen, classes:].reshape(-1, 4, rule.bins)
    weights = np.exp(sides - sides.max(axis=2, keepdims=True))
    distances = weights @ np.arange(rule.bins, dtype=np.float32) / weights.sum(axis=2)
    column, row, stride = places.T
    left, top, right, bottom = (distances * stride[:, np.newaxis]).T
    x, y = column * stride, row * stride
    boxes = np.stack([x - left, y - top, x + right, y + bottom], axis=1)
    return boxes.astype(np.float32), probabilities[chosen].astype(np.float32)


def _places(height: int, width: int, strides: tuple[int, ...]) -> Iterator[NDArray[np.float32]]:
    """Column, row and stride of each cell, grid by grid and row by row."""
    for stride in strides:
        rows, columns = np.mgrid[: -(-height // stride), : -(-width // stride)]
        flat = columns.ravel(), rows.ravel(), np.full(rows.size, stride)
        yield np.stack(flat, axis=1).astype(np.float32)


def overlaps(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of a box `(4,)` with each of `(n, 4)` others; all left, top, right, bottom."""
    corner = np.maximum(box[:2], others[:, :2])
    sides = np.clip(np.minimum(box[2:], others[:, 2:]) - corner, 0, None)
    common = sides.prod(axis=1)
    area = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - common
    return common / np.maximum(area, np.finfo(np.float32).tiny)


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], overlap: float
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression, over all classes together.

    A box that overlaps one with a higher score is dropped, whatever their classes: a dog that also
    looks slightly like a cat is one pet.

    Parameters
    ----------
    boxes, scores
        `(n, 4)` and `(n,)`.
    overlap
        IoU above which two boxes count as one.

    Returns
    -------
    Indices of the kept boxes, best first.
    """
    waiting = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        waiting = waiting[overlaps(boxes[best], boxes[waiting]) <= overlap]
    return np.array(kept, np.int64)


class Detector:
    """A detector ready to use."""

    def __init__(self, card: Card, network: Network) -> None:
        if card.boxes is None:
            raise ModelError(f"The card of {card.name} does not say how to read its boxes.")
        self.card, self.rule = card, card.boxes
        self._network = network
        self._pets = [n for n, label in enumerate(card.labels) if label.species]
        self._others = [n for n, label in enumerate(card.labels) if not label.species]

    @property
    def device(self) -> str:
        """Where the model runs, "CPU" or "GPU"."""
        return self._network.device

    def with_rule(self, rule: Boxes) -> "Detector":
        """The same network, its output read in another way."""
        return Detector(replace(self.card, boxes=rule), self._network)

    def detect(self, photo: Photo | Image.Image) -> list[Detection]:
        """Detect the pets in a photo, the most probable first.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB, or the same as a Pillow image.

        Examples
        --------
        >>> from models.images import open_photo
        >>> (cat,) = load("finder").detect(open_photo("examples/cat_chelsea.png"))
        >>> cat.label.name
        'cat'
        """
        image = as_image(photo)
        batch = prepare(image, self.card.input)
        axes = (2, 3) if self.card.input.layout == "NCHW" else (1, 2)
        rows, columns = batch.shape[axes[0]], batch.shape[axes[1]]
        faint = replace(self.rule, least=min(FAINTEST, self.rule.least))
        boxes, probabilities = decode(self._network.run(batch)[0], rows, columns, faint)
        pets, others = probabilities[:, self._pets], probabilities[:, self._others]
        best, other = pets.max(axis=1, initial=0), others.max(axis=1, initial=0)
        sure = np.flatnonzero(best >= self.rule.least)
        kept = sure[suppress(boxes[sure], best[sure], self.rule.overlap)]
        width, height = image.size
        seen_rows, seen_columns = scaled_size(height, width, self.card.input)
        scale = np.array([width / seen_columns, height / seen_rows] * 2)
        edges = np.array([width, height] * 2)
        found = []
        for index in kept:
            left, top, right, bottom = np.clip(np.round(boxes[index] * scale), 0, edges).astype(int)
            if left < right and top < bottom:
                label = self.card.labels[self._pets[int(pets[index].argmax())]]
                box = int(left), int(top), int(right), int(bottom)
                overlap = overlaps(boxes[index], boxes)
                support = tuple(float(best[overlap > least].sum()) for least in SUPPORT)
                found.append(
                    Detection(box, label, float(best[index]), float(other[index]), support)
                )
        return found


@cache
def load(name: str = "finder") -> Detector:
    """Load a detector once; later calls return the same one.

    Raises
    ------
    models.cards.ModelError
        When the model is missing or damaged.
    """
    return Detector(*store.load(name, "detection"))


def default() -> Detector | None:
    """The default detector; None if the models in use include none.

    Raises
    ------
    models.cards.ModelError
        When the model is missing or damaged.
    """
    return load(store.default("detection")) if store.cards("detection") else None
