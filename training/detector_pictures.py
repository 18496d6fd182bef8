"""Pictures that the detector learns from: plain, as scenes, or empty, in a square."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from models.detection import Detector, overlaps
from models.images import Photo, open_photo
from models.preprocessing import normalize
from models.scaling import scaled
from training import pets
from training.composites import BACKGROUND, Classes, Scenes, box_of, read_classes
from training.convert_detector import input_spec
from training.mask_pictures import tilt, turn, weather

SMALLEST_SIDE = 0.6  # least length of the picture's longer side, as a share of it
# Probabilities of a plain picture and of a scene; the rest are empty backgrounds.
PLAIN, SCENE = 0.5, 0.42
QUARTER_TURNS = 0.25
LEAST_PIXELS = 8  # least longer side of a pet in the network's input


@dataclass(frozen=True)
class Drawn:
    """A training picture: the network's input, `(n, 4)` boxes and `(n,)` species in it."""

    photo: NDArray[np.float32]
    boxes: NDArray[np.float32]
    species: NDArray[np.int64]


class Pictures:
    """Draws training pictures.

    Parameters
    ----------
    scenes
        Where scenes and backgrounds are drawn from.
    species
        The species of each breed, as an index into the detector's labels.
    alone
        For each example of `scenes`, whether its picture may be used as it is.
    side
        Side of the network's input.
    """

    def __init__(
        self, scenes: Scenes, species: Sequence[int], alone: NDArray[np.bool_], side: int
    ) -> None:
        self.scenes, self.species, self.alone, self.side = scenes, species, alone, side
        self.spec = input_spec(side)

    def draw(self, index: int, random: np.random.Generator) -> Drawn:
        """The picture of an example, or a scene, or a background."""
        kind = random.random()
        subjects: Sequence[Classes]
        breeds: Sequence[int]
        if kind < PLAIN and self.alone[index]:
            example = self.scenes.examples[index]
            photo, classes = open_photo(example.photo), read_classes(example)
            subjects, breeds = (classes,), (example.label,)
        elif kind < PLAIN + SCENE:
            scene = self.scenes.draw(int(random.integers(1, 6)), random)
            photo, subjects, breeds = scene.photo, scene.pets, scene.breeds
        else:
            photo, subjects, breeds = self.scenes.background(random), (), ()
        turns = int(random.integers(1, 4)) if random.random() < QUARTER_TURNS else 0
        mirrored = random.random() < 0.5
        photo, *subjects = (turn(array, turns, mirrored) for array in (photo, *subjects))
        photo, *subjects = tilt([photo, *subjects], random)
        return self._letterboxed(photo, subjects, breeds, random)

    def _letterboxed(
        self,
        photo: Photo,
        subjects: Sequence[Classes],
        breeds: Sequence[int],
        random: np.random.Generator,
    ) -> Drawn:
        height, width = photo.shape[:2]
        longer = random.uniform(SMALLEST_SIDE, 1) * self.side
        scale = longer / max(height, width)
        rows, columns = scaled(height, width, scale)
        small = Image.fromarray(weather(photo, random)).resize((columns, rows))
        canvas = np.empty((self.side, self.side, 3), np.uint8)
        canvas[:] = np.round(255 * np.array(self.spec.mean)).astype(np.uint8)
        canvas[:rows, :columns] = np.asarray(small)
        boxes, species = [], []
        for classes, breed in zip(subjects, breeds, strict=True):
            # What rotation left empty is not a pet.
            box = box_of(np.where(classes > 2, BACKGROUND, classes).astype(np.uint8))
            if box is None or scale * max(box[2] - box[0], box[3] - box[1]) < LEAST_PIXELS:
                continue
            boxes.append([edge * scale for edge in box])
            species.append(self.species[breed])
        return Drawn(
            normalize(canvas, self.spec).astype(np.float32),
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(species, np.int64),
        )


def only_its_pet(examples: Sequence[pets.Example], detector: Detector) -> NDArray[np.bool_]:
    """Whether the detector sees no other pet in a picture than the trimap's."""
    alone = np.ones(len(examples), np.bool_)
    for index, example in enumerate(tqdm(examples, desc="looking for second pets")):
        box = box_of(read_classes(example))
        if box is None:
            alone[index] = False
            continue
        for found in detector.detect(open_photo(example.photo)):
            left, top, right, bottom = found.box
            inside = np.array(
                [max(left, box[0]), max(top, box[1]), min(right, box[2]), min(bottom, box[3])]
            )
            common = np.clip(inside[2:] - inside[:2], 0, None).prod()
            iou = overlaps(np.array(box, np.float32), np.array([found.box], np.float32))[0]
            if iou < 0.4 and common < 0.6 * (right - left) * (bottom - top):
                alone[index] = False
    return alone
