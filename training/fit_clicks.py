"""Fit what a click on a wrong mask means: the weights of `models.correcting`.

    python -m training.fit_clicks

Clicks are simulated on photos of the train part whose mask is wrong (`training.clicking`). Each
place where the mask says the opposite of a click is an example: does the truth say what the click
says there, too? A logistic regression on the evidence of `models.correcting` answers it. Masks
after a click are made with the weights that are there, so a run with new ones gives slightly other
ones. The weights are printed; they belong into `models/correcting.py`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models import segmentation, store
from models.correcting import WEIGHTS, Corrector, Stroke
from models.images import open_photo
from training import command_line, pets
from training.clicking import ENOUGH, next_click, overlap

PHOTOS = 700
CLICKS = 10  # of a photo, at most
PLACES = 300  # of a click
SEED = 1


def examples_of(
    example: pets.Example, segmenter: segmentation.Segmenter, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The evidence of simulated clicks on one photo, and whether they meant the place.

    Returns
    -------
    `(places, len(WEIGHTS))` float32, `(places,)` bool; empty where the mask is good enough.
    """
    photo = open_photo(example.photo)
    truth = pets.read_trimap(example.trimap) != pets.BACKGROUND
    found = segmenter.predict(photo).resized(*truth.shape)
    rows, columns = found.answer.shape[:2]
    background = found.classes.index("background")
    small_truth = pets.read_trimap(example.trimap, rows, columns) != pets.BACKGROUND
    corrector, corrected = Corrector(found, photo), found
    values, meant = [np.zeros((0, len(WEIGHTS)), np.float32)], [np.zeros(0, bool)]
    strokes: list[Stroke] = []
    while len(strokes) < CLICKS:
        mask = corrected.mask != background + 1
        if overlap(mask, truth) >= ENOUGH:
            break
        row, column, keep = next_click(mask, truth)
        place = (column + 0.5) / truth.shape[1], (row + 0.5) / truth.shape[0]
        stroke = Stroke(keep, (place,), 0.0)
        inside = corrected.answer.argmax(axis=2) != background
        evidence = corrector.evidence(inside, strokes, stroke)
        if evidence is not None:
            wrong = np.flatnonzero(evidence.wrong)
            drawn = random.choice(wrong, min(len(wrong), PLACES), replace=False)
            values.append(evidence.values.reshape(-1, len(WEIGHTS))[drawn])
            meant.append(small_truth[evidence.window].ravel()[drawn] == keep)
        strokes.append(stroke)
        corrected = corrector.correct(strokes)
    return np.concatenate(values), np.concatenate(meant)


def fit(values: NDArray[np.float32], meant: NDArray[np.bool_]) -> tuple[float, dict[str, float]]:
    """The log odds without any evidence, and the weight of each kind of evidence."""
    middle, spread = values.mean(axis=0), values.std(axis=0) + 1e-6
    from sklearn.linear_model import LogisticRegression  # slow to import: not for --help

    model = LogisticRegression(C=10).fit((values - middle) / spread, meant)
    weights = model.coef_[0] / spread
    start = float(model.intercept_[0] - weights @ middle)
    return start, dict(zip(WEIGHTS, map(float, weights), strict=True))


def main(words: Sequence[str] | None = None) -> None:
    """Simulate clicks, fit, and print the weights."""
    parser = command_line.parser(__doc__)
    pets.add_arguments(parser)
    parser.add_argument("--photos", type=command_line.positive, default=PHOTOS, help="how many")
    arguments = parser.parse_args(words)
    root = pets.prepare(arguments.root, arguments.source)
    random = np.random.default_rng(SEED)
    examples = pets.with_masks(pets.split(root, "train"))
    drawn = random.permutation(len(examples))[: arguments.photos]
    segmenter = segmentation.load(store.default("segmentation"))
    photos = [
        examples_of(examples[place], segmenter, random) for place in tqdm(drawn, desc="photos")
    ]
    values, meant = (np.concatenate(each) for each in zip(*photos, strict=True))
    start, weights = fit(values, meant)
    wrong = sum(len(each) > 0 for each, _ in photos)
    print(f"{len(values)} places in {wrong} photos of the train part")
    print(f"LOG_ODDS = {start:.2f}")
    print("WEIGHTS =", {name: round(weight, 2) for name, weight in weights.items()})


if __name__ == "__main__":
    command_line.run(main)
