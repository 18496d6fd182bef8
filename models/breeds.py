"""The most probable breeds of a pet, of the 37 of the Oxford-IIIT Pet data set."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import store
from models.images import Photo
from models.preprocessing import Window, prepare
from models.runtime import Network


@dataclass(frozen=True)
class Breed:
    """One answer of the classifier: a breed, its species, and its probability in [0, 1]."""

    name: str
    species: str | None
    probability: float


@dataclass(frozen=True)
class Classification:
    """A breed model's answer to a photo.

    Attributes
    ----------
    probabilities
        `(breeds,)` float32 in [0, 1], summing to 1.
    labels
        The breeds in this order.
    activation
        `(breeds, rows, columns)` float32 class-activation maps over the whole photo: how strongly
        each place supports each breed. The mean of a breed's map is its logit. None where the model
        has no such output.
    """

    probabilities: NDArray[np.float32]
    labels: tuple[store.Label, ...]
    activation: NDArray[np.float32] | None = None

    def top(self, count: int = 5) -> list[Breed]:
        """The most probable breeds, best first."""
        ranked = self.probabilities.argsort()[::-1][:count]
        return [
            Breed(label.name, label.species, float(self.probabilities[index]))
            for index in ranked
            for label in (self.labels[index],)
        ]

    @property
    def entropy(self) -> float:
        """Entropy of the probabilities in nats: 0 when certain, log(37) when all are equal."""
        present = self.probabilities[self.probabilities > 0]
        return float(-(present * np.log(present)).sum())

    def evidence(self, breed: str, height: int, width: int) -> NDArray[np.float32] | None:
        """Where the photo supports a breed: `(height, width)` float32, 1 at the strongest place.

        Places that count against the breed are 0. None where the model has no such output.

        Parameters
        ----------
        breed
            Name of a breed that the model knows.
        height, width
            Size of the photo.

        Source: Zhou et al., "Learning deep features for discriminative localization", CVPR 2016.
        """
        if self.activation is None:
            return None
        index = [label.name for label in self.labels].index(breed)
        image = Image.fromarray(np.maximum(self.activation[index], 0))
        large = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
        return np.clip(large / max(float(large.max()), np.finfo(np.float32).tiny), 0, 1)


class BreedClassifier:
    """A breed model ready to use."""

    def __init__(self, card: store.Card, network: Network) -> None:
        self.card = card
        self._network = network

    @property
    def device(self) -> str:
        """Where the model runs, "CPU" or "GPU"."""
        return self._network.device

    def predict(self, photo: Photo, top: int = 5) -> list[Breed]:
        """Rank the breeds of a photo.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB.
        top
            How many breeds to return.

        Returns
        -------
        The `top` most probable breeds, best first. Probabilities sum to 1 over all breeds.

        Examples
        --------
        >>> from models.images import open_photo
        >>> [best, *others] = load("breeds").predict(open_photo("examples/cat_chelsea.png"))
        >>> best.species
        'cat'
        """
        return self.classify(photo).top(top)

    def classify(self, photo: Photo | Image.Image, window: Window | None = None) -> Classification:
        """All that the model finds in a photo, or in a part of it.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB, or the same as a picture of Pillow's.
        window
            `(left, top, right, bottom)` of the part in pixels of the photo.
        """
        batch = prepare(photo, self.card.input, window)
        probabilities, *more = self._network.run_all(batch)
        activation = more[0][0] if more else None
        return Classification(probabilities[0], self.card.labels, activation)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Classify a prepared batch: `(batch, breeds)` float32 probabilities, in label order."""
        return self._network.run(batch)


@cache
def load(name: str = "breeds") -> BreedClassifier:
    """Load a breed model once; later calls return the same one.

    Raises
    ------
    models.store.ModelError
        When the model is missing or damaged.
    """
    return BreedClassifier(*store.load(name, "classification"))
