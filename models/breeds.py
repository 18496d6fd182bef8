"""Which breed it is: the most probable of the 37 breeds of the Oxford-IIIT Pet data set."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models import store
from models.images import Photo
from models.preprocessing import prepare
from models.runtime import Network


@dataclass(frozen=True)
class Breed:
    """One answer of the classifier: a breed, its species, and its probability in [0, 1]."""

    name: str
    species: str | None
    probability: float


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
        >>> [best, *others] = load("breeds").predict(open_photo("examples/cat_chelsea.png"))
        >>> best.species
        'cat'
        """
        (probabilities,) = self.run(prepare(photo, self.card.input))
        ranked = probabilities.argsort()[::-1][:top]
        return [
            Breed(label.name, label.species, float(probabilities[index]))
            for index in ranked
            for label in (self.card.labels[index],)
        ]

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Classify a prepared batch: `(batch, breeds)` float32 probabilities, in label order."""
        return self._network.run(batch)


@cache
def load(name: str = "breeds") -> BreedClassifier:
    """Load a breed model once; later calls give the same one.

    Raises
    ------
    models.store.ModelError
        When the model is missing or damaged.
    """
    return BreedClassifier(*store.load(name, "classification"))
