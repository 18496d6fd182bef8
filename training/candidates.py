"""Fit the rule that decides which of a detector's boxes are pets.

    python -m training.candidates --strangers other-things --others-root data/others
    python -m training.candidates --strangers other-things --others-root data/others --write

Where a detector sees several boxes in a photo, `models.judging` weighs what it says of each, how
they lie to one another, and what the breed model's second head, an ImageNet network, sees in them.
This script fits the weights to the boxes in

- scenes of one to three pets (see `training.composites`), cut from photos of trainval and pasted
  onto each other's backgrounds, those photos of `--strangers` on which rules are fitted (see
  `training.refusal`), and those of `--others-root` that are for training. Real pets side by side
  are often of one breed, so those of every second scene are;
- all photos of trainval. Of those with one pet only the surest box is one; where several were
  counted by eye, their boxes are in `training/pet_boxes.csv`, and count more, as they are few.

No scene shows a held-out picture, or one in which several pets were counted. The pictures are
divided into five parts by ranges of their numbers, and no scene mixes these: so the rule is also
fitted to four of them at a time, and measured on the fifth.

A weighted sum of the second head's logits comes first: a linear regression. What it says of a part
is of the regression on the others, as an input of the network, three small ones side by side:
Wolpert, "Stacked generalization", Neural Networks 1992.

`--signs` keeps what was seen in a folder, part by part, so that a run can be interrupted. `--write`
stores the rule in the card of the default detector.
"""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models import breeds, detection, judging, store
from models.breeds import BreedClassifier
from models.cards import Candidates
from models.detection import Detection, Detector, overlaps
from models.images import Photo, open_photo
from models.preprocessing import as_image
from training import command_line, others, pets
from training.composites import Scene, Scenes
from training.evaluate_pets import COUNTS, counted, with_several
from training.evaluation.tables import store_facts
from training.metrics import Figures
from training.runs import command

PARTS = 5  # ranges of the pictures' numbers
SCENES = 525  # of each part, of one, two and three pets in turn
SEED = 99
LEAST, OVERLAP = 0.2, 0.6  # as in a card's `boxes`, for the boxes that are looked at
ASKED = 0.25  # least probability of a second box for which the rule is asked at all
ALONE = 0.35  # least probability of the surest box for which there is a pet
SAME = 0.4  # IoU of a box with the pet's own, from which on it is the pet's
SMALL_PART = 0.05  # of a pet's pixels, in parts that do not count for its box: errors of the trimap

ONE, SEVERAL = 0.5, 30.0  # weights of a box in a photo of one, and of several; in a scene it has 1
PENALTY = 6000.0  # of the squared weights of standardized logits
NETWORKS, UNITS = 3, 8
STEPS, RATE, DECAY, DROPOUT = 150, 0.02, 0.09, 0.1
DIGITS = 5  # of the weights in the card

BOXES = Path(__file__).parent / "pet_boxes.csv"


@dataclass(frozen=True)
class Seen:
    """The boxes of a picture, if it has several.

    Attributes
    ----------
    signs
        `(boxes, signs)` as of `models.judging.signs`, the last of them 0.
    logits
        `(boxes, classes)` of the second head.
    true
        `(boxes,)` bool: which are pets.
    count
        The picture's pets.
    weight
        Of each box.
    """

    signs: NDArray[np.float64]
    logits: NDArray[np.float32]
    true: NDArray[np.bool_]
    count: int
    weight: float = 1.0


class Eyes:
    """The page's networks, with a detector that shows more boxes than count."""

    def __init__(self, detector: Detector, classifier: BreedClassifier) -> None:
        self.detector = detector.with_rule(replace(detector.rule, least=LEAST, overlap=OVERLAP))
        self.classifier = classifier

    def see(
        self, photo: Photo, truth: NDArray[np.float32] | None, count: int, weight: float = 1.0
    ) -> Seen:
        """The boxes in a photo; none if it has fewer than two.

        Parameters
        ----------
        photo
            `(height, width, 3)` uint8 RGB.
        truth
            `(pets, 4)` boxes; None for a photo in which only the surest box is a pet.
        count, weight
            As of `Seen`.
        """
        image = as_image(photo)
        found = [each for each in self.detector.detect(image) if each.other <= each.probability]
        if len(found) < 2:
            nothing = np.zeros((0, 0))
            return Seen(nothing, nothing.astype(np.float32), np.zeros(0, bool), count, weight)
        logits = self.classifier.other_logits(image, [each.box for each in found])
        kinds = judging.kinds_of(logits, self.classifier)
        return seen(found, image.height, image.width, logits, kinds, truth, count, weight)


def seen(
    found: Sequence[Detection],
    height: int,
    width: int,
    logits: NDArray[np.float32],
    kinds: NDArray[np.float64],
    truth: NDArray[np.float32] | None,
    count: int,
    weight: float,
) -> Seen:
    """What is seen in a photo with several boxes."""
    signs = judging.signs(found, height, width, kinds, np.zeros(len(found)))
    right = {0} if truth is None else matched([each.box for each in found], truth)
    return Seen(signs, logits, np.isin(np.arange(len(found)), list(right)), count, weight)


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


def boxes_of_several() -> dict[str, NDArray[np.float32]]:
    """`(pets, 4)` boxes of the pets in photos of several, by the photo's name."""
    with BOXES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    edges = ("left", "top", "right", "bottom")
    return {
        name: np.array(
            [[float(row[edge]) for edge in edges] for row in rows if row["name"] == name],
            np.float32,
        )
        for name in {row["name"] for row in rows}
    }


def scene(drawn_from: Scenes, part: int, number: int) -> Scene:
    """A scene of a part; every third has one pet, two or three, always the same."""
    random = np.random.default_rng([SEED, part, number])
    count = 1 + number % len(COUNTS)
    while True:
        alike = random.random() < 0.5
        drawn = drawn_from.draw(count, random, alike=alike)
        if len(drawn.pets) == count:
            return drawn


def parts_of(
    trainval: Sequence[pets.Example], held_out: Iterable[str], backgrounds: Sequence[Path]
) -> list[tuple[Scenes, list[pets.Example]]]:
    """What the scenes of each part are drawn from, and its photos."""
    number = pets.ranges([each.name for each in trainval], [each.label for each in trainval], PARTS)
    left_out = set(held_out) | with_several("trainval")
    parts = []
    for part in range(PARTS):
        photos = [each for each, its in zip(trainval, number, strict=True) if its == part]
        clear = [each for each in pets.with_masks(photos) if each.name not in left_out]
        parts.append((Scenes(clear, backgrounds), photos))
    return parts


def look_at_scenes(eyes: Eyes, drawn_from: Scenes, part: int) -> list[Seen]:
    """What is seen in the scenes of a part."""
    drawn = (scene(drawn_from, part, number) for number in range(SCENES))
    return [
        eyes.see(each.photo, true_boxes(each.numbers), len(each.pets))
        for each in tqdm(drawn, total=SCENES, desc=f"scenes of part {part + 1}")
    ]


def look_at_photos(eyes: Eyes, photos: Sequence[pets.Example], part: int) -> list[Seen]:
    """What is seen in the photos of a part."""
    counts, boxes = counted("trainval"), boxes_of_several()
    found = []
    for example in tqdm(photos, desc=f"photos of part {part + 1}"):
        count = counts.get(example.name, 1)
        weight = ONE if count == 1 else SEVERAL
        found.append(eyes.see(open_photo(example.photo), boxes.get(example.name), count, weight))
    return found


def keep(file: Path, seen: Sequence[Seen]) -> None:
    """Store what was seen."""
    some = [each for each in seen if len(each.true)]
    unfinished = file.with_suffix(".part")
    with unfinished.open("wb") as target:
        np.savez(
            target,
            signs=np.concatenate([each.signs for each in some]),
            logits=np.concatenate([each.logits for each in some]),
            true=np.concatenate([each.true for each in some]),
            boxes=np.array([len(each.true) for each in seen]),
            count=np.array([each.count for each in seen]),
            weight=np.array([each.weight for each in seen]),
        )
    unfinished.rename(file)


def kept(file: Path) -> list[Seen]:
    """What was stored."""
    with np.load(file) as stored:
        ends = np.cumsum(stored["boxes"])[:-1]
        rows = zip(
            *(np.split(stored[name], ends) for name in ("signs", "logits", "true")),
            stored["count"].tolist(),
            stored["weight"].tolist(),
            strict=True,
        )
        return [Seen(*row) for row in rows]


def _once(file: Path | None, look: Callable[[], list[Seen]]) -> list[Seen]:
    if file is None:
        return look()
    if not file.exists():
        keep(file, look())
    return kept(file)


@dataclass(frozen=True)
class Rows:
    """The boxes of all pictures: `Seen`, concatenated, and the part of each box."""

    signs: NDArray[np.float64]
    logits: NDArray[np.float32]
    true: NDArray[np.bool_]
    weight: NDArray[np.float64]
    part: NDArray[np.int64]


def rows_of(parts: Sequence[Sequence[Seen]]) -> Rows:
    """The boxes of several parts."""
    some = [(part, each) for part, seen in enumerate(parts) for each in seen if len(each.true)]
    lengths = [len(each.true) for _, each in some]
    return Rows(
        np.concatenate([each.signs for _, each in some]),
        np.concatenate([each.logits for _, each in some]),
        np.concatenate([each.true for _, each in some]),
        np.repeat([each.weight for _, each in some], lengths),
        np.repeat([part for part, _ in some], lengths),
    )


def linear(
    values: NDArray[np.float32], true: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Weights, and an intercept, of a linear regression with `PENALTY` on standardized values."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(values)
    regression = Ridge(alpha=PENALTY).fit(scaler.transform(values), true, weight)
    weights = regression.coef_ / scaler.scale_
    return weights, float(regression.intercept_ - weights @ scaler.mean_)


def fit(rows: Rows) -> Candidates:
    """Fit the rule: the sum of logits, then the network."""
    look, constant = linear(rows.logits, rows.true, rows.weight)
    signs = rows.signs.copy()
    for part in np.unique(rows.part):
        inside, outside = rows.part == part, rows.part != part
        weights, intercept = linear(rows.logits[outside], rows.true[outside], rows.weight[outside])
        signs[inside, -1] = rows.logits[inside] @ weights + intercept - constant
    return network(signs, rows.true, rows.weight, look)


def network(
    signs: NDArray[np.float64],
    true: NDArray[np.bool_],
    weight: NDArray[np.float64],
    look: NDArray[np.float64],
) -> Candidates:
    """Fit `NETWORKS` small networks to the boxes' signs; the rule is their mean."""
    import torch
    from torch import nn

    mean, deviation = signs.mean(axis=0), signs.std(axis=0)
    deviation[deviation == 0] = 1  # of a sign that is the same everywhere
    values = torch.tensor((signs - mean) / deviation, dtype=torch.float32)
    wanted = torch.tensor(true, dtype=torch.float32)
    weights = torch.tensor(weight / weight.mean(), dtype=torch.float32)
    hidden, offsets, output, intercepts = [], [], [], []
    for seed in range(NETWORKS):
        torch.manual_seed(seed)
        first, last = nn.Linear(values.shape[1], UNITS), nn.Linear(UNITS, 1)
        model = nn.Sequential(first, nn.SiLU(), nn.Dropout(DROPOUT), last)
        optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(
                model(values)[:, 0], wanted, weights
            )
            loss.backward()
            optimizer.step()
            schedule.step()
        own = first.weight.detach().double().numpy() / deviation
        hidden.append(own)
        offsets.append(first.bias.detach().double().numpy() - own @ mean)
        output.append(last.weight.detach().double().numpy()[0] / NETWORKS)
        intercepts.append(float(last.bias.detach()) / NETWORKS)
    return Candidates(
        look=_rounded(look),
        hidden=tuple(_rounded(unit) for unit in np.concatenate(hidden)),
        offsets=_rounded(np.concatenate(offsets)),
        output=_rounded(np.concatenate(output)),
        intercept=_rounded([sum(intercepts)])[0],
        asked=ASKED,
        alone=ALONE,
    )


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)


def number_of(rule: Candidates, seen: Seen) -> int:
    """How many pets the page then finds; a photo without several boxes has one."""
    asked = judging.log_odds(np.array(rule.asked))
    if not len(seen.true) or seen.signs[1, 0] < asked:
        return 1
    signs = seen.signs.copy()
    signs[:, -1] = seen.logits @ np.array(rule.look)
    odds = rule.log_odds(signs)
    return max(judging.most_probable_number(1 / (1 + np.exp(-odds))), 1)


def right_numbers(pairs: Iterable[tuple[Candidates, Seen]]) -> Figures:
    """The share of pictures with the right number: scenes by their pets, photos of one, several."""
    right: dict[str, list[bool]] = {}
    for rule, each in pairs:
        if each.weight == 1:
            name = f"scenes_of_{each.count}"
        else:
            name = "photos_of_one" if each.count == 1 else "photos_of_several"
        right.setdefault(name, []).append(number_of(rule, each) == each.count)
    return {name: float(np.mean(values)) for name, values in sorted(right.items())}


def measure(parts: Sequence[Sequence[Seen]]) -> Figures:
    """Right numbers of each part, by the rule that is fitted to the others."""
    pairs = []
    for left_out, part in enumerate(parts):
        rule = fit(rows_of([each for number, each in enumerate(parts) if number != left_out]))
        pairs += [(rule, each) for each in part]
    return right_numbers(pairs)


def main(words: Sequence[str] | None = None) -> None:
    """Fit the rule of the default detector."""
    parser = command_line.parser(__doc__)
    pets.add_arguments(parser)
    parser.add_argument(
        "--strangers", type=Path, help="folder of photos of other things, with their labels.csv"
    )
    parser.add_argument("--others-root", type=Path, help="folder of further photos of other things")
    parser.add_argument("--others-source", default=others.URL, help="source of these photos")
    parser.add_argument("--signs", type=Path, help="folder that keeps what was seen")
    parser.add_argument("--write", action="store_true", help="store the rule in the card")
    arguments = parser.parse_args(words)
    root = pets.prepare(arguments.root, arguments.source)
    strangers = others.labelled(arguments.strangers, "train") if arguments.strangers else []
    backgrounds = [each.photo for each in strangers if each.kind not in ("dog", "cat")]
    backgrounds += others.backgrounds(arguments.others_root, arguments.others_source)
    detector = detection.load(store.default("detection"))
    eyes = Eyes(detector, breeds.load(store.default("classification")))
    held_out = [each.name for each in pets.split(root, "validation")]
    folder = arguments.signs
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    parts = [
        _once(folder and folder / f"scenes-{part}.npz", partial(look_at_scenes, eyes, scenes, part))
        + _once(
            folder and folder / f"photos-{part}.npz", partial(look_at_photos, eyes, photos, part)
        )
        for part, (scenes, photos) in enumerate(
            parts_of(pets.split(root, "trainval"), held_out, backgrounds)
        )
    ]
    rows = rows_of(parts)
    rule = fit(rows)
    facts = {
        "rule": asdict(rule),
        "scenes": SCENES * PARTS,
        "photos": sum(each.weight != 1 for part in parts for each in part),
        "boxes": len(rows.true),
        "right_numbers_of_parts_left_out": measure(parts),
        "command": command(),
    }
    print(json.dumps({**facts, "rule": f"{len(rule.offsets)} hidden units"}, indent=2))
    if arguments.write:
        path = store.source() / f"{detector.card.name}.json"
        boxes = {**json.loads(path.read_text())["boxes"], "least": LEAST, "overlap": OVERLAP}
        store_facts(path, "boxes", boxes)
        store_facts(path, "candidates", facts)


if __name__ == "__main__":
    command_line.run(main)
