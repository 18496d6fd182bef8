"""Measure whether what the page shows as evidence for a breed lies on the pet.

    python -m training.evidence breeds --split test --write

The peak of the class-activation map of the most probable breed should be a place of the pet, not
of its surroundings: the "pointing game" of Zhang et al., "Top-down neural attention by excitation
backprop", ECCV 2016. Each photo is looked at as on the page, and counts for its largest pet; it is
a hit if the peak lies on pet or border of the data set's own trimap. Photos whose trimap is known
to be wrong are left out; so are those in which the mask model finds no pet, and they are counted.

`--write` stores the figures in the breed model's card and renews the results table in README.md.
"""

import argparse
import json
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from models import breeds, pipeline, segmentation, store
from models.images import open_photo
from models.pipeline import Pet
from training import pets
from training.evaluate import store_facts
from training.metrics import Figures
from training.runs import command


def peak(pet: Pet) -> tuple[int, int]:
    """Row and column in the photo of the strongest evidence for a pet's most probable breed."""
    left, upper, right, lower = pet.crop
    evidence = pet.answer.evidence(pet.breeds[0].name, lower - upper, right - left)
    if evidence is None:
        raise store.ModelError("This model has no class-activation maps.")
    row, column = np.unravel_index(evidence.argmax(), evidence.shape)
    return upper + int(row), left + int(column)


def measure(examples: Sequence[pets.Example], classifier: breeds.BreedClassifier) -> Figures:
    """Share of the photos whose peak is on the pet, and how many were looked at and left out."""
    segmenter = segmentation.load(store.default("segmentation"))
    hits = []
    usable = pets.with_masks(examples)
    for example in tqdm(usable, desc="photos"):
        photo = open_photo(example.photo)
        largest = segmenter.predict(photo).regions() == 1
        found = pipeline.name_pets(photo, largest.astype(np.uint8), classifier)
        trimap = pets.read_trimap(example.trimap, *photo.shape[:2])
        hits += [trimap[peak(pet)] != pets.BACKGROUND for pet in found]
    return {
        "on_pet": float(np.mean(hits)),
        "pictures": len(hits),
        "without_pet": len(usable) - len(hits),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure the model that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name of a breed model in the models' folder")
    parser.add_argument("--split", choices=pets.SPLITS, default="validation")
    pets.add_arguments(parser)
    parser.add_argument("--write", action="store_true", help="store the figures in the card")
    arguments = parser.parse_args(words)
    root = pets.prepare(arguments.root, arguments.source)
    classifier = breeds.load(arguments.model)
    figures = measure(pets.split(root, arguments.split), classifier)
    figures |= {"split": arguments.split, "mask": store.default("segmentation")}
    figures |= {"command": command()}
    print(json.dumps(figures, indent=2))
    if arguments.write:
        store_facts(arguments.model, "evidence", figures)


if __name__ == "__main__":
    main()
