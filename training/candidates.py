"""Fit the rule that decides which of a detector's boxes are pets.

    python -m training.candidates --strangers other-things
    python -m training.candidates --strangers other-things --write

A detector alone takes a horse for a dog, and is unsure of a dog behind another. So where it sees
several pets, the page asks the breed model about each box. A logistic regression on both answers,
the log-odds of the box and of a cat or dog in it, decides. What the breed model surely sees as
another animal needs a surer box, and so does a box inside of a surer one in which it rather sees no
pet: a head, or a leg.

It is fitted on boxes in scenes of one to three pets (see `training.composites`), cut from held-out
pictures and pasted onto each other's backgrounds and those photos of `--strangers` on which rules
are fitted (see `training.refusal`), and in the held-out photos themselves, of which only the surest
box is a pet; photos in which several pets were counted are left out. The scenes of
`training.evaluate_pets`, which have other photos of other things, showed where to draw the line and
how much another animal weighs.

`--write` stores the rule in the card of the default detector, with the lower probability and the
larger overlap at which boxes are now looked at.
"""

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models import breeds, detection, pipeline, segmentation, store
from models.breeds import BreedClassifier
from models.cards import Candidates
from models.detection import Detector, overlaps
from models.images import Photo, open_photo
from models.preprocessing import as_image
from models.segmentation import Segmenter
from training import command_line, others, pets
from training.composites import Scenes
from training.evaluate_pets import COUNTS, OFFICIAL, scenes, with_several
from training.evaluation.tables import store_facts
from training.runs import command

SCENES = 200  # of each number of pets
SEED = 7
LEAST, OVERLAP = 0.25, 0.5  # as in a card's `boxes`, for the boxes that are looked at
ALONE = 0.35  # least probability of a box that counts whatever is in it
ANIMAL, PART = -2.0, -2.0  # weights of another animal that is surely seen, and of a part of a pet
LINE = -1.0  # least log-odds of a pet
PHOTO_WEIGHT = 4  # of a box in a photo; a box in a scene has 1
SAME = 0.4  # IoU of a box with the pet's own, from which on it is the pet's
SMALL_PART = 0.05  # of a pet's pixels, in parts that do not count for its box: errors of the trimap


@dataclass(frozen=True)
class Seen:
    """One of several boxes of a picture: what the rule looks at, and whether it is a pet."""

    box: float
    pet: float
    animal: bool
    part: bool
    true: bool
    weight: float = 1


class Eyes:
    """The page's networks, with a detector that shows more boxes than count.

    Parameters
    ----------
    detector, segmenter, classifier
        As the page uses them.
    """

    def __init__(
        self, detector: Detector, segmenter: Segmenter, classifier: BreedClassifier
    ) -> None:
        self.detector = detector.with_rule(replace(detector.rule, least=LEAST, overlap=OVERLAP))
        self.segmenter, self.classifier = segmenter, classifier

    def see(self, photo: Photo, truth: NDArray[np.float32] | None, weight: float) -> list[Seen]:
        """The boxes in a photo if there are several.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB.
        truth
            `(pets, 4)` boxes; None for a photo in which only the surest box is a pet.
        weight
            Of each box.
        """
        image = as_image(photo)
        found = self.detector.detect(image)
        if len(found) < 2:
            return []
        looks = [
            replace(self.segmenter.look_closer(image, each.box), probability=each.probability)
            for each in found
        ]
        named = pipeline.named_apart(image, looks, self.classifier)
        right = {0} if truth is None else matched([looks[number].box for number in named], truth)
        signs = pipeline.evidence(looks, named)
        return [Seen(*signs[number], place in right, weight) for place, number in enumerate(named)]


def matched(boxes: Sequence[tuple[int, int, int, int]], truth: NDArray[np.float32]) -> set[int]:
    """The number of the best box for each true one, if it is good enough and fits no other better.

    All boxes are left, top, right, bottom; `truth` is `(pets, 4)`.
    """
    alike = np.array([overlaps(np.array(box, np.float32), truth) for box in boxes])
    alike[alike < alike.max(axis=1, keepdims=True)] = 0
    best = alike.argmax(axis=0)
    return {int(box) for pet, box in enumerate(best) if alike[box, pet] > SAME}


def true_boxes(numbers: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`(pets, 4)` boxes around a scene's pets, without stray parts; 0 for what cannot be seen."""
    from skimage.measure import label

    boxes = np.zeros((int(numbers.max()), 4), np.float32)
    for row, number in zip(boxes, range(1, len(boxes) + 1), strict=True):
        parts = label(numbers == number, connectivity=2)
        areas = np.bincount(parts.ravel())
        areas[0] = 0
        places = np.nonzero(np.isin(parts, np.flatnonzero(areas > SMALL_PART * areas.max())))
        if areas.any():
            top, left = (int(axis.min()) for axis in places)
            bottom, right = (int(axis.max()) + 1 for axis in places)
            row[:] = left, top, right, bottom
    return boxes


def fit(seen: Iterable[Seen]) -> Candidates:
    """Fit the rule, on boxes in which no other animal is surely seen."""
    from sklearn.linear_model import LogisticRegression

    rows = [each for each in seen if not each.animal]
    signs = np.array([(each.box, each.pet) for each in rows])
    regression = LogisticRegression(C=10).fit(
        signs, [each.true for each in rows], [each.weight for each in rows]
    )
    box, pet = regression.coef_[0].tolist()
    return Candidates(box, pet, ANIMAL, PART, float(regression.intercept_[0]), LINE, ALONE)


def shares(rule: Candidates, seen: Sequence[Seen]) -> dict[str, float]:
    """The shares of the pets, and of the other boxes, that a rule accepts."""
    accepted = np.array([rule.accepts(each.box, each.pet, each.animal, each.part) for each in seen])
    true = np.array([each.true for each in seen])
    return {"of_pets": float(accepted[true].mean()), "of_others": float(accepted[~true].mean())}


def look(
    eyes: Eyes, examples: Sequence[pets.Example], backgrounds: Sequence[Path], unclear: Set[str]
) -> list[Seen]:
    """The boxes in scenes that are made of the examples, and in their photos.

    `unclear` are the names of examples that show several pets.
    """
    seen: list[Seen] = []
    for count in COUNTS:
        made = scenes(Scenes(examples, backgrounds), count, SCENES, SEED, unclear)
        for scene in tqdm(made, total=SCENES, desc=f"scenes of {count}"):
            seen += eyes.see(scene.photo, true_boxes(scene.numbers), 1)
    alone = [example for example in examples if example.name not in unclear]
    for example in tqdm(alone, desc="photos"):
        seen += eyes.see(open_photo(example.photo), None, PHOTO_WEIGHT)
    return seen


def main(words: Sequence[str] | None = None) -> None:
    """Fit the rule of the default detector."""
    parser = command_line.parser(__doc__)
    pets.add_arguments(parser)
    parser.add_argument(
        "--strangers", type=Path, help="folder of photos of other things, with their labels.csv"
    )
    parser.add_argument("--write", action="store_true", help="store the rule in the card")
    arguments = parser.parse_args(words)
    root = pets.prepare(arguments.root, arguments.source)
    examples = pets.with_masks(pets.split(root, "validation"))
    strangers = others.labelled(arguments.strangers, "train") if arguments.strangers else []
    backgrounds = [each.photo for each in strangers if each.kind not in ("dog", "cat")]
    detector = detection.load(store.default("detection"))
    eyes = Eyes(
        detector,
        segmentation.load(store.default("segmentation")),
        breeds.load(store.default("classification")),
    )
    unclear = with_several(OFFICIAL["validation"])
    seen = look(eyes, examples, backgrounds, unclear)
    rule = fit(seen)
    facts = {
        "rule": asdict(rule),
        "scenes": SCENES * len(COUNTS),
        "photos": sum(example.name not in unclear for example in examples),
        "boxes": len(seen),
        "accepted": shares(rule, seen),
        "command": command(),
    }
    print(json.dumps(facts, indent=2))
    if arguments.write:
        path = store.source() / f"{detector.card.name}.json"
        boxes = {**json.loads(path.read_text())["boxes"], "least": LEAST, "overlap": OVERLAP}
        store_facts(path, "boxes", boxes)
        store_facts(path, "candidates", facts)


if __name__ == "__main__":
    command_line.run(main)
