"""The most probable breeds of a pet, of the 37 of the Oxford-IIIT Pet data set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import store
from models.cards import Card, Kind, Label, SecondHead, Upright
from models.images import Photo
from models.preprocessing import Window, as_image, normalize, prepare, resize_photo
from models.runtime import Network
from models.turning import Turn, turn_array, turn_image

LEAST = 1e-6  # probability, where its logarithm is taken


@dataclass(frozen=True)
class Breed:
    """One answer of the classifier: a breed, its species, and its probability in [0, 1]."""

    name: str
    species: str | None
    probability: float


@dataclass(frozen=True)
class Otherwise:
    """What a photo shows instead of one of the breeds, with its probability in [0, 1].

    A dog's name is its breed; all domestic cats are a "cat".
    """

    name: str
    kind: Kind
    probability: float


class Others:
    """A second head's classes, grouped by how they relate to the model's breeds.

    Attributes
    ----------
    head
        What the card says about it.
    cats
        Numbers of the domestic cats.
    breeds
        Numbers of the model's breeds that are not cats.
    pets, any_pet
        `(classes,)` bool: dogs that are no breed of the model; all dogs and domestic cats.
    animals, things
        `(classes,)` bool: other animals; these and things.
    """

    def __init__(self, head: SecondHead) -> None:
        self.head = head
        self.cats = [n for n, each in enumerate(head.classes) if each.kind == "cat"]
        self.breeds = [
            n for n, each in enumerate(head.classes) if each.breed and each.kind != "cat"
        ]
        self.pets = np.array([each.kind == "dog" and not each.breed for each in head.classes])
        self.any_pet = np.array([each.kind in ("dog", "cat") for each in head.classes])
        self.animals = np.array([each.kind == "other animal" for each in head.classes])
        self.things = np.array([each.kind in ("other animal", "thing") for each in head.classes])

    def kinds(self, logits: NDArray[np.float32]) -> tuple[float, float]:
        """Probabilities, in [0, 1], of a dog or a domestic cat and of another animal.

        `logits` are `(classes,)`, calibrated.
        """
        shares = softmax(logits)
        return float(shares[self.any_pet].sum()), float(shares[self.animals].sum())


@dataclass(frozen=True)
class Classification:
    """What a breed model says about a photo.

    Attributes
    ----------
    probabilities
        `(breeds,)` float32 in [0, 1], summing to 1.
    labels
        The breeds in this order.
    activation
        `(breeds, rows, columns)` float32 class-activation maps over the whole photo: how strongly
        each place supports each breed. The mean of a breed's map is its logit. None if the model
        has no such output.
    other_logits
        `(classes,)` float32 calibrated logits of the second head; None if the model has none.
    others
        The second head's classes.
    """

    probabilities: NDArray[np.float32]
    labels: tuple[Label, ...]
    activation: NDArray[np.float32] | None = None
    other_logits: NDArray[np.float32] | None = None
    others: Others | None = None

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

    @property
    def otherwise(self) -> Otherwise | None:
        """What it most probably is, if it is none of the breeds; None without a second head.

        Classes that are breeds of the model are left out, and the others share all probability. The
        domestic cats count as one: their few classes are coats as well as breeds, and a cat of
        another breed has a bit of each.
        """
        if self.other_logits is None or self.others is None:
            return None
        shares = softmax(self.other_logits)
        shares[self.others.breeds] = 0
        total, cats = float(shares.sum()), float(shares[self.others.cats].sum())
        shares[self.others.cats] = 0
        best = int(shares.argmax())
        if cats > shares[best]:
            return Otherwise("cat", "cat", cats / total)
        found = self.others.head.classes[best]
        return Otherwise(found.name, found.kind, float(shares[best]) / total)

    @cached_property
    def signs(self) -> Mapping[str, float]:
        """What distinguishes the model's breeds from everything else, named as in a card's rule.

        `entropy`, as of the property. With a second head also:

        - `breed`, the largest logit of the breeds;
        - `other_pet` and `other_thing`, the largest logits of the head's dogs that are none of the
          model's breeds, and of its other animals and things, without the classes that photos of
          the named breed are seen as;
        - `known_pet`, the logarithm of the probability of the head's classes that are breeds of
          the model, or cats;
        - `agreement`, that of the classes that photos of the named breed are seen as.
        """
        signs = {"entropy": self.entropy}
        logits, others = self.other_logits, self.others
        if logits is None or others is None or self.activation is None:
            return signs
        shares = softmax(logits)
        best = int(self.probabilities.argmax())
        seen_as = list(others.head.seen_as.get(self.labels[best].name, ()))
        unexpected = logits.copy()
        unexpected[seen_as] = -np.inf
        return signs | {
            "breed": float(self.activation[best].mean()),
            "other_pet": float(unexpected[others.pets].max()),
            "other_thing": float(unexpected[others.things].max()),
            "known_pet": math.log(shares[others.breeds + others.cats].sum() + LEAST),
            "agreement": math.log(shares[seen_as].sum() + LEAST),
        }

    def upright(self, rule: Upright) -> float:
        """How surely the pet is seen upright, by a card's rule: log-odds; 0 without a head."""
        if self.other_logits is None or self.others is None:
            return 0.0
        return rule.score(self.other_logits * np.float32(self.others.head.temperature))

    def turned(self, turn: Turn) -> "Classification":
        """The same with its maps turned, for the photo after that turn."""
        if self.activation is None:
            return self
        return replace(self, activation=turn_array(self.activation, turn, (1, 2)))

    def evidence(self, breed: str, height: int, width: int) -> NDArray[np.float32] | None:
        """Where the photo supports a breed: `(height, width)` float32, 1 at the strongest place.

        Places that count against the breed are 0. None if the model has no such output.

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


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities of `(classes,)` logits, a new array."""
    powers = np.exp(logits - logits.max(), dtype=np.float64)
    return powers / powers.sum()


class BreedClassifier:
    """A breed model ready to use.

    Attributes
    ----------
    card
        The model's card.
    others
        The second head's classes; None without one.
    """

    def __init__(self, card: Card, network: Network) -> None:
        self.card = card
        self._network = network
        self.others = Others(card.second_head) if card.second_head else None

    @property
    def device(self) -> str:
        """Where the model runs, "CPU" or "GPU"."""
        return self._network.device

    def with_card(self, card: Card) -> "BreedClassifier":
        """The same network, used as another card says."""
        return BreedClassifier(card, self._network)

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
        """Classify a photo, or a part of it.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB, or the same as a Pillow image.
        window
            `(left, top, right, bottom)` of the part in pixels of the photo.
        """
        (answer,) = self._classify(prepare(photo, self.card.input, window))
        return answer

    def other_logits(
        self, photo: Photo | Image.Image, windows: Sequence[Window]
    ) -> NDArray[np.float32]:
        """The second head's calibrated logits for parts of a photo: `(windows, classes)` float32.

        Nothing else is computed. `windows` are left, top, right and bottom in pixels of the photo.

        Raises
        ------
        ValueError
            When the model has no second head.
        """
        head = self.card.second_head
        if head is None:
            raise ValueError(f"{self.card.name} has no second head.")
        batches = [prepare(photo, self.card.input, window) for window in windows]
        logits = [self._network.run_last(batch) for batch in batches]
        return np.concatenate(logits) / np.float32(head.temperature)

    def turned_logits(
        self, photo: Photo | Image.Image, turns: Sequence[Turn]
    ) -> NDArray[np.float32]:
        """The second head's logits after each of some turns, as `Upright.score` takes them.

        Returns
        -------
        `(turns, classes)` float32, before the head's temperature.

        Raises
        ------
        ValueError
            When the model has no second head.
        """
        if self.card.second_head is None:
            raise ValueError(f"{self.card.name} has no second head.")
        spec = self.card.input
        if spec.height != spec.width or spec.resize not in ("squash", "crop"):
            batches = (prepare(turn_image(as_image(photo), turn), spec) for turn in turns)
            return np.concatenate([self._network.run_last(batch) for batch in batches])
        square = resize_photo(photo, spec)  # that of a turned photo is the same, turned
        batch = normalize(np.stack([turn_array(square, turn) for turn in turns]), spec)
        return self._network.run_last(np.ascontiguousarray(batch))

    def _classify(self, batch: NDArray[np.float32]) -> list[Classification]:
        probabilities, *more = self._network.run_all(batch)
        count = len(probabilities)
        head = self.card.second_head
        other_logits = more.pop() / np.float32(head.temperature) if head else [None] * count
        activations = more[0] if more else [None] * count
        return [
            Classification(each, self.card.labels, activation, others, self.others)
            for each, activation, others in zip(
                probabilities, activations, other_logits, strict=True
            )
        ]

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Classify a prepared batch: `(batch, breeds)` float32 probabilities, in label order."""
        return self._network.run(batch)


@cache
def load(name: str = "breeds") -> BreedClassifier:
    """Load a breed model once; later calls return the same one.

    Raises
    ------
    models.cards.ModelError
        When the model is missing or damaged.
    """
    return BreedClassifier(*store.load(name, "classification"))
