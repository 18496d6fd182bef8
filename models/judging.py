"""Which of several boxes that a detector sees in a photo are pets.

A detector takes a horse for a dog, gives a head a box beside that of its body, and is unsure of a
dog behind another. A small network weighs what the detector says of each box, how the boxes lie to
one another, and what an ImageNet network sees in them. A detector's card has its weights;
`training.candidates` fits them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.breeds import BreedClassifier
from models.cards import Candidates
from models.detection import Detection

SUREST = 1e-3  # probability that is added to both sides of odds: networks are often too sure
AT_EDGE = 1  # pixel: a box that ends so near the photo's edge is cut off by it
MOSTLY = 0.8  # of a box, inside another

Values = NDArray[np.float64]


def judge(
    photo: Image.Image,
    detected: Sequence[Detection],
    classifier: BreedClassifier,
    rule: Candidates,
) -> list[Detection]:
    """The pets among the boxes of a photo, in the same order.

    There are none if the surest box is unsure, and one if all others are. Otherwise the
    probabilities that the boxes are pets say how probable each number of pets is. The most
    probable number of the likeliest boxes is returned: of two boxes that are pets with a
    probability of 0.45 each, one is.

    Parameters
    ----------
    photo
        In which they were detected.
    detected
        The most probable first.
    classifier
        A breed model with a second head; without one, all boxes count that are sure enough to be
        the only pet.
    rule
        Of the detector's card.
    """
    sure = [each for each in detected if each.probability >= rule.alone]
    if classifier.others is None or not sure:
        return sure
    if len(detected) == 1 or detected[1].probability < rule.asked:
        return sure[:1]
    logits = classifier.other_logits(photo, [each.box for each in detected])
    kinds = kinds_of(logits, classifier)
    seen = signs(detected, photo.height, photo.width, kinds, logits @ np.array(rule.look))
    odds = rule.log_odds(seen)
    number = max(most_probable_number(1 / (1 + np.exp(-odds))), 1)
    best = sorted(np.argsort(-odds, kind="stable")[:number])
    return [detected[index] for index in best]


def kinds_of(logits: NDArray[np.float32], classifier: BreedClassifier) -> Values:
    """`(n, 2)` probabilities of a cat or a dog, and of another animal, by `(n, classes)` logits."""
    others = classifier.others
    return np.array([others.kinds(each) if others else (0.5, 0.5) for each in logits])


def signs(
    detected: Sequence[Detection], height: int, width: int, kinds: Values, look: Values
) -> Values:
    """What speaks for and against each box being a pet.

    Parameters
    ----------
    detected
        The most probable first.
    height, width
        The photo's size.
    kinds
        `(n, 2)` probabilities of a cat or a dog, and of another animal, in the box.
    look
        `(n,)`: how much its look as a whole is that of a pet.

    Returns
    -------
    `(n, 21)`: of each box

    - its log-odds, those of another animal minus these, the logarithms of its share of the photo
      and of its width by its height, and how many edges of the photo cut it off;
    - the logarithm of all probabilities of places whose boxes overlap it by 0.4, 0.6 and 0.8;
    - the largest IoU with a surer box, its largest share inside of one, and the largest share of
      one inside of it; and the same for all other boxes, times their probabilities;
    - the sum of the probabilities of the boxes that lie mostly inside of it, and of those in which
      it mostly lies;
    - the logarithm of its rank, and of its area by that of the surer box of which it shares most;
    - the log-odds of a cat or a dog, and of another animal; and its look.
    """
    count = len(detected)
    boxes = np.array([each.box for each in detected], np.float64)
    probability = np.array([each.probability for each in detected])
    own = log_odds(probability)
    other = log_odds(np.array([each.other for each in detected])) - own
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = sides.prod(axis=1)
    corner = np.maximum(boxes[:, np.newaxis, :2], boxes[:, :2])
    common = np.minimum(boxes[:, np.newaxis, 2:], boxes[:, 2:]) - corner
    shared = common.clip(0).prod(axis=2)
    inside = shared / areas[:, np.newaxis]  # the share of each box (row) in each other (column)
    overlap = shared / (areas[:, np.newaxis] + areas - shared)
    surer = np.tri(count, k=-1, dtype=bool)
    others = ~np.eye(count, dtype=bool)
    cut_off = np.count_nonzero(boxes[:, :2] <= AT_EDGE, axis=1) + np.count_nonzero(
        boxes[:, 2:] >= np.array([width, height]) - AT_EDGE, axis=1
    )
    weighed = np.where(others, probability, 0)
    behind = np.where(surer, inside, -1).argmax(axis=1)
    return np.column_stack(
        [
            own,
            other,
            np.log(areas / (height * width)),
            np.log(sides[:, 0] / sides[:, 1]),
            cut_off,
            np.log([each.support for each in detected]),
            *(np.where(surer, shares, 0).max(axis=1) for shares in (overlap, inside, inside.T)),
            *((shares * weighed).max(axis=1) for shares in (overlap, inside, inside.T)),
            *((weighed * (shares > MOSTLY)).sum(axis=1) for shares in (inside.T, inside)),
            np.log1p(np.arange(count)),
            np.where(np.arange(count) > 0, np.log(areas / areas[behind]), 0),
            log_odds(kinds),
            look,
        ]
    )


def log_odds(probability: Values) -> Values:
    """Log-odds of probabilities, none beyond 7 either way."""
    return np.log((probability + SUREST) / (1 - probability + SUREST))


def most_probable_number(probabilities: Values) -> int:
    """How many of some independent events most probably happen, by the probability of each.

    Their number has a Poisson binomial distribution: Wang, "On the number of successes in
    independent trials", Statistica Sinica 1993.

    Examples
    --------
    >>> most_probable_number(np.array([0.45, 0.45])), most_probable_number(np.array([0.3]))
    (1, 0)
    """
    distribution = np.ones(1)
    for each in probabilities:
        distribution = np.convolve(distribution, [1 - each, each])
    return int(distribution.argmax())
