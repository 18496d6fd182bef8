"""Measure whether the evidence that the page shows for a breed lies on the pet.

    python -m training.evidence breeds --split test --write

The peak of the most probable breed's class-activation map should lie on the pet, not on its
surroundings: the "pointing game" of Zhang et al., "Top-down neural attention by excitation
backprop", ECCV 2016. The largest region of the whole photo's mask is used (the page instead looks
closely at each pet that its detector finds). A photo is a hit if the peak lies on the pet or border
of the data set's own trimap. Photos whose trimap is known to be wrong are left out. So are those in
which the mask model finds no pet, but these are counted.

`--write` stores the figures in the breed model's card and, for an embedded model, renews the table
of results.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models import breeds, pipeline, segmentation, store
from models.cards import ModelError
from models.images import open_photo
from models.pipeline import Pet
from models.regions import of_numbers
from training import command_line, data_sets, pets
from training.evaluation.tables import store_facts
from training.metrics import Figures
from training.runs import command


def peak(pet: Pet) -> tuple[int, int]:
    """Row and column of the strongest evidence in the photo for a pet's most probable breed."""
    left, upper, right, lower = pet.crop
    evidence = pet.answer.evidence(pet.breeds[0].name, lower - upper, right - left)
    if evidence is None:
        raise ModelError("This model has no class-activation maps.")
    row, column = np.unravel_index(evidence.argmax(), evidence.shape)
    return upper + int(row), left + int(column)


def pointing_game(examples: Sequence[pets.Example], classifier: breeds.BreedClassifier) -> Figures:
    """Share of the photos whose peak is on the pet, and how many were used and left out."""
    segmenter = segmentation.load(store.default("segmentation"))
    hits = []
    for example in tqdm(examples, desc="photos"):
        photo = open_photo(example.photo)
        largest = of_numbers(segmenter.glance(photo).regions())[:1]
        found = pipeline.name_pets(photo, largest, classifier)
        trimap = pets.read_trimap(example.trimap, *photo.shape[:2])
        hits += [trimap[peak(pet)] != pets.BACKGROUND for pet in found]
    return {
        "on_pet": float(np.mean(hits)),
        "pictures": len(hits),
        "without_pet": len(examples) - len(hits),
    }


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("model", help="name of a breed model in the models' folder")
    parser.add_argument("--models", type=Path, default=store.EMBEDDED, help="folder of the model")
    parser.add_argument("--split", choices=pets.SPLITS, default="validation", help="part to score")
    data_sets.add_arguments(parser)
    parser.add_argument("--write", action="store_true", help="store the figures in the card")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Score the model that the command line names."""
    arguments = parse_arguments(words)
    card, network = store.load(arguments.model, "classification", arguments.models)
    data = data_sets.open_pets(arguments.root, arguments.source)
    examples = data.check(
        pets.with_masks(data.split(arguments.split, 0)),
        masks=True,
        skip_damaged=arguments.skip_damaged,
    )
    figures = pointing_game(examples, breeds.BreedClassifier(card, network))
    figures |= {"split": arguments.split, "mask": store.default("segmentation")}
    figures |= {"command": command()}
    print(json.dumps(figures, indent=2))
    if arguments.write:
        store_facts(arguments.models / f"{arguments.model}.json", "evidence", figures)


if __name__ == "__main__":
    command_line.run(main)
