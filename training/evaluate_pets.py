"""Count and outline the pets of pictures, as the page does.

    python -m training.evaluate_pets                            # scenes of held-out pictures
    python -m training.evaluate_pets --split test --write       # of test pictures, and the list

Two kinds of pictures are analysed with the default mask model, detector and breed model, as in the
Pets tab:

- scenes of one, two and three pets, cut from pictures of the split and pasted onto backgrounds that
  training does not use (see `training.composites`); which pet each pixel shows is known, every run
  uses the same scenes, and none is made of a photo in which several pets were counted;
- the photos of `training/pets_per_photo.csv`, whose pets were counted by eye.

The masks of the Mask tab, for which the network looks closer at each pet too, are compared with the
trimaps of all pictures of the split, as `training.evaluate` does with a network's own masks. Of
trainval, these are the pictures that the mask network held out from its training.

The script prints the share of pictures in which the right number of pets was found and, for the
scenes, the average precision at IoU 0.5: found / (found + missed + invented). `--write` stores the
figures in the detector's card and renews the table of results.
"""

import csv
import json
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models import pipeline, previews, segmentation, store
from models.images import open_photo
from models.segmentation import Segmentation
from training import command_line, data_sets, others, pets
from training.composites import Scene, Scenes
from training.evaluation.scores import COMMON_SIDE, compare_masks
from training.evaluation.tables import store_figures
from training.metrics import Figures, instance_precision
from training.runs import command, facts_of

LIST = Path(__file__).parent / "pets_per_photo.csv"
COUNTS = (1, 2, 3)
SCENES = 100  # of each number of pets
SEED = 42
OFFICIAL = {"validation": "trainval", "test": "test"}  # the split of the list's photos


def scenes(
    drawn_from: Scenes, count: int, number: int, seed: int = SEED, unclear: Set[str] = frozenset()
) -> Iterator[Scene]:
    """`number` scenes with exactly `count` pets, always the same.

    Parameters
    ----------
    drawn_from
        Draws them.
    count, number, seed
        Pets of each scene, scenes, and where they begin.
    unclear
        Names of examples that show more pets than their trimaps say: scenes of these are left out.
    """
    random = np.random.default_rng([seed, count])
    made = 0
    while made < number:
        scene = drawn_from.draw(count, random)
        if len(scene.pets) == count and not scene.sources & unclear:
            made += 1
            yield scene


def found_in(photo: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The pets that the page finds, as `(height, width)` labels."""
    numbers = np.zeros(photo.shape[:2], np.int32)
    for number, pet in enumerate(pipeline.analyze(photo), start=1):
        numbers[pet.mask] = number
    return numbers


def measure_scenes(drawn_from: Scenes, number: int, unclear: Set[str] = frozenset()) -> Figures:
    """Share of the scenes with the right number of pets, by true number, and average precision."""
    figures: Figures = {"scenes_of_each_number": number}
    everything: list[float] = []
    for count in COUNTS:
        drawn = scenes(drawn_from, count, number, unclear=unclear)
        made = tqdm(drawn, total=number, desc=f"scenes of {count}")
        pairs = [(scene.numbers, found_in(scene.photo)) for scene in made]
        right = [found.max() == count for _, found in pairs]
        figures[f"right_number_of_{count}"] = float(np.mean(right))
        everything += [float(instance_precision(truth, found)[0]) for truth, found in pairs]
    return {**figures, "ap50": float(np.mean(everything))}


def counted(split: str) -> dict[str, int]:
    """Names of the photos of an official split whose pets were counted, with their number."""
    with LIST.open(newline="") as file:
        return {
            row["name"]: int(row["pets"]) for row in csv.DictReader(file) if row["split"] == split
        }


def with_several(split: str) -> Set[str]:
    """Names of the photos of an official split in which several pets were counted.

    Their trimaps outline all as one pet, or leave some for background.
    """
    return {name for name, pets in counted(split).items() if pets > 1}


def measure_photos(examples: Sequence[pets.Example], counts: dict[str, int]) -> Figures:
    """Share of the counted photos with the right number: those of one pet, and of several."""
    right: dict[str, list[bool]] = {"one": [], "several": []}
    chosen = [example for example in examples if example.name in counts]
    for example in tqdm(chosen, desc="counted photos"):
        true = counts[example.name]
        found = len(pipeline.analyze(open_photo(example.photo)))
        right["one" if true == 1 else "several"].append(found == true)
    figures: Figures = {}
    for key, values in right.items():
        figures[f"photos_of_{key}"] = len(values)
        figures[f"right_number_of_{key}"] = float(np.mean(values)) if values else 0.0
    return figures


def measure_masks(data: data_sets.DataSet, split: str) -> Figures:
    """How well the masks of the Mask tab fit, at a common size and at each photo's own.

    They are of the pictures of a split, as the mask network's training divided them.
    """
    segmenter = segmentation.load(store.default("segmentation"))
    examples = data_sets.held_out_by(data, facts_of(segmenter.card), split)

    def found() -> Iterator[Segmentation]:
        for example in tqdm(examples, desc="masks"):
            photo = open_photo(example.photo)
            seen = previews.preview(photo)
            looks = pipeline.look_closer(seen, segmenter)
            yield pipeline.segment(seen, segmenter, looks).resized(*photo.shape[:2])

    sizes = {f"at {COMMON_SIDE} px": (COMMON_SIDE, COMMON_SIDE)}
    figures, _ = compare_masks(examples, found(), segmenter.classes, sizes)
    return {f"{size}, as on the page": values for size, values in figures.items()}


def main(words: Sequence[str] | None = None) -> None:
    """Measure with the models that are used by default."""
    parser = command_line.parser(__doc__)
    pets.add_arguments(parser)
    parser.add_argument(
        "--split", choices=tuple(OFFICIAL), default="validation", help="whose pictures are shown"
    )
    parser.add_argument("--scenes", type=int, default=SCENES, help="of each number of pets")
    parser.add_argument(
        "--others-root", type=Path, default=others.ROOT, help="folder of photos of other things"
    )
    parser.add_argument("--others-source", default=others.URL, help="source of these photos")
    parser.add_argument("--write", action="store_true", help="store the figures in the card")
    arguments = parser.parse_args(words)
    data = data_sets.open_pets(arguments.root, arguments.source)
    root = data.home
    backgrounds = others.backgrounds(arguments.others_root, arguments.others_source, "test")
    official = OFFICIAL[arguments.split]
    examples = pets.with_masks(pets.split(root, arguments.split))
    figures = {
        "command": command(),
        "pictures": len(examples),
        "models": [card.name for card in store.defaults()],
        "at scenes, as on the page": measure_scenes(
            Scenes(examples, backgrounds), arguments.scenes, with_several(official)
        ),
        "at photos counted by eye, as on the page": measure_photos(
            pets.split(root, official), counted(official)
        ),
        **measure_masks(data, arguments.split),
    }
    print(json.dumps(figures, indent=2))
    if arguments.write:
        name = store.default("detection")
        store_figures(store.source() / f"{name}.json", arguments.split, figures)


if __name__ == "__main__":
    command_line.run(main)
