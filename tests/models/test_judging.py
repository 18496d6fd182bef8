"""Which boxes are pets: signs by counting pixels, and numbers by listing all cases."""

from itertools import product
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models import judging
from models.breeds import BreedClassifier
from models.cards import Candidates, Label
from models.detection import Detection
from models.regions import Box

DOG = Label("dog", "dog")
PHOTO = Image.new("RGB", (120, 80))
LEFT, RIGHT, HEAD = (10, 10, 50, 60), (60, 20, 120, 70), (12, 12, 30, 30)
SIGNS = 21
PET = 18  # the place of the log-odds of a cat or a dog


def detection(box: Box, probability: float) -> Detection:
    return Detection(box, DOG, probability, 0.1, (1.5, 1.2, 1.0))


class Seen:
    """Stands in for a classifier: it sees a pet, or none, in each box."""

    def __init__(self, *pets: bool) -> None:
        self.pets, self.looks = pets, 0
        self.others = SimpleNamespace(kinds=lambda logits: tuple(logits))

    def other_logits(self, photo: Image.Image, boxes: list[Box]) -> NDArray[np.float32]:
        self.looks += len(boxes)
        return np.array([(0.9, 0.05) if pet else (0.1, 0.8) for pet in self.pets], np.float32)


def rule(intercept: float = 0.0) -> Candidates:
    """A box's log-odds are those of a cat or a dog in it, nearly: SiLU(x) - SiLU(-x) = x."""
    unit = np.eye(SIGNS)[PET]
    return Candidates(
        look=(0.0, 0.0),
        hidden=(tuple(unit), tuple(-unit)),
        offsets=(0.0, 0.0),
        output=(1.0, -1.0),
        intercept=intercept,
        asked=0.25,
        alone=0.35,
    )


def pets(found: list[Detection], seen: Seen, intercept: float = 0.0) -> list[Box]:
    classifier = cast("BreedClassifier", seen)
    return [each.box for each in judging.judge(PHOTO, found, classifier, rule(intercept))]


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [([], []), ([0.34], []), ([0.36], [LEFT]), ([0.34, 0.3], []), ([0.9, 0.24], [LEFT])],
)
def test_one_sure_box_is_a_pet_whatever_is_seen_in_it(
    probabilities: list[float], expected: list[Box]
) -> None:
    seen = Seen(False, False)
    boxes = [detection(*each) for each in zip((LEFT, RIGHT), probabilities, strict=False)]
    assert pets(boxes, seen) == expected
    assert seen.looks == 0


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((True, True), [LEFT, RIGHT]),
        ((True, False), [LEFT]),
        ((False, True), [RIGHT]),
        ((False, False), [LEFT]),  # something is there
    ],
)
def test_of_several_boxes_those_count_in_which_a_pet_is_seen(
    seen: tuple[bool, bool], expected: list[Box]
) -> None:
    assert pets([detection(LEFT, 0.9), detection(RIGHT, 0.3)], Seen(*seen)) == expected


def test_of_several_unsure_boxes_the_most_probable_number_counts() -> None:
    found = [detection(box, 0.9) for box in (LEFT, RIGHT, HEAD)]
    # Three pets of a probability of 0.45 each, no matter which: one has 0.41, two have 0.33.
    even = float(np.log(0.45 / 0.55) - np.log(0.901 / 0.101))
    assert pets(found, Seen(True, True, True), even) == [LEFT]
    surer = float(np.log(0.55 / 0.45) - np.log(0.901 / 0.101))
    assert pets(found, Seen(True, True, True), surer) == [LEFT, RIGHT]


def test_without_a_second_head_all_sure_boxes_count() -> None:
    found = [detection(LEFT, 0.9), detection(RIGHT, 0.4), detection(HEAD, 0.3)]
    classifier = cast("BreedClassifier", SimpleNamespace(others=None))
    assert [e.box for e in judging.judge(PHOTO, found, classifier, rule())] == [LEFT, RIGHT]


def test_the_most_probable_number_is_that_of_all_cases() -> None:
    random = np.random.default_rng(0)
    for count in (1, 2, 5, 7):
        chances = random.random(count)
        shares = np.zeros(count + 1)
        for case in product((0, 1), repeat=count):
            shares[sum(case)] += np.prod(np.where(case, chances, 1 - chances))
        assert judging.most_probable_number(chances) == shares.argmax()


def filled(box: Box) -> NDArray[np.bool_]:
    mask = np.zeros((80, 120), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def test_signs_say_how_boxes_lie_to_one_another() -> None:
    boxes = [LEFT, (30, 20, 100, 70), HEAD]
    chances = [0.8, 0.5, 0.3]
    kinds = np.array([(0.9, 0.05), (0.5, 0.2), (0.1, 0.8)])
    found = [detection(*each) for each in zip(boxes, chances, strict=True)]
    signs = judging.signs(found, 80, 120, kinds, np.array([1.0, 2.0, 3.0]))
    assert signs.shape == (3, SIGNS)
    masks = [filled(box) for box in boxes]
    shares = np.array([[(one & two).sum() / one.sum() for two in masks] for one in masks])
    ious = np.array([[(one & two).sum() / (one | two).sum() for two in masks] for one in masks])
    np.testing.assert_allclose(signs[:, 2], [np.log(mask.mean()) for mask in masks])
    np.testing.assert_allclose(signs[:, 3], np.log([40 / 50, 70 / 50, 1]))
    np.testing.assert_allclose(signs[:, 5:8], np.log([[1.5, 1.2, 1.0]] * 3))
    np.testing.assert_allclose(signs[:, 8], [0, ious[1, 0], max(ious[2, :2])])
    np.testing.assert_allclose(signs[:, 9], [0, shares[1, 0], max(shares[2, :2])])
    np.testing.assert_allclose(signs[:, 10], [0, shares[0, 1], max(shares[:2, 2])])
    weighed = [
        max(values[i, j] * chances[j] for j in range(3) if j != i)
        for values in (ious, shares, shares.T)
        for i in range(3)
    ]
    np.testing.assert_allclose(signs[:, 11:14].T.ravel(), weighed)
    np.testing.assert_allclose(signs[:, 14], [0.3, 0, 0])  # the head is in the body
    np.testing.assert_allclose(signs[:, 15], [0, 0, 0.8])
    areas = [mask.sum() for mask in masks]
    np.testing.assert_allclose(
        signs[:, 17], [0, np.log(areas[1] / areas[0]), np.log(areas[2] / areas[0])]
    )
    np.testing.assert_allclose(
        signs[:, [0, 18]],
        np.log(np.c_[chances, kinds[:, 0]] / (1 - np.c_[chances, kinds[:, 0]])),
        atol=0.01,
    )
    np.testing.assert_array_equal(signs[:, -1], [1, 2, 3])


def test_signs_count_the_edges_that_cut_a_box_off() -> None:
    boxes = [LEFT, (0, 1, 120, 70), (60, 20, 119, 80)]
    signs = judging.signs(
        [detection(box, 0.5) for box in boxes], 80, 120, np.full((3, 2), 0.5), np.zeros(3)
    )
    assert signs[:, 4].tolist() == [0, 3, 2]
