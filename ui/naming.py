"""The pets of a photo with their names, found once for all tabs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from models import breeds, pipeline, store
from models.pipeline import Pet
from ui import mask, photos


@dataclass(frozen=True)
class Named:
    """The photo's pets, their numbers at each pixel, and how long it took to find and name them."""

    pets: Sequence[Pet]
    regions: NDArray[np.uint8]
    seconds: float
    device: str

    @property
    def sure(self) -> bool:
        """Whether any of them is to be believed to be of one of the breeds."""
        return any(not pet.refused for pet in self.pets)


def name(path: str) -> Named:
    """Find and name a photo's pets once; later calls for the same upload give the same result."""
    with _LOCK:
        return _name(path)


_LOCK = Lock()


@lru_cache(maxsize=photos.KEPT)
def _name(path: str) -> Named:
    photo = photos.shown(path)  # here the smallest pet has about the pixels that are looked at
    found = mask.find(path, store.default("segmentation"))
    classifier = breeds.load(store.default("classification"))
    start = time.perf_counter()
    regions = np.zeros(photo.shape[:2], np.uint8) if found.regions is None else found.regions
    pets, regions = pipeline.recognize(photo, regions, classifier)
    return Named(pets, regions, found.seconds + time.perf_counter() - start, classifier.device)
