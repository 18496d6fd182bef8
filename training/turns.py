"""Fit and measure the rule that recognizes photos lying on their side.

    python -m training.turns breeds                           # fit, and measure on held-out photos
    python -m training.turns breeds --write                   # store the rule in the model's card
    python -m training.turns breeds --keep --split test       # measure the stored rule

A phone that was held flat, or a scan, gives a photo that is turned by a quarter or by half, and
nothing in the file says so. The breed network then names only four pets of five, and the mask
network's outlines are worse. A second head sees the difference: a logistic regression on its logits
tells upright pets from turned ones. The card lists its weights, so most of them are made 0:
Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 1996.

The page takes a photo as upright if its largest pets are surely so. Otherwise it classifies their
crops at the three other quarter turns too, and looks at the photo as it is most probably upright.

The regression is fitted on photos that the model was trained on, each at all four turns. The script
measures, on photos that it was not trained on and with the page's own functions, the share whose
largest pet is named rightly, with and without the rule, the share that is turned upright, and the
share that is looked at again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models import detection, pipeline, segmentation, store
from models.breeds import BreedClassifier
from models.cards import Card, Upright
from models.images import Photo, open_photo
from models.preprocessing import as_image
from models.turning import QUARTERS, back, turn_array
from training import command_line, data_sets
from training.data_sets import Examples
from training.errors import UserError
from training.evaluation.tables import store_facts
from training.metrics import Figures
from training.runs import command, facts_of

PHOTOS = 1000  # of the training photos, drawn at random
SEED = 42
COST = 0.03  # inverse regularisation
SURE = 0.5  # log-odds of a photo that is taken as upright without a look at the other turns
MARGIN = 1.0  # by how much the log-odds of a turned photo must be larger: most photos are upright
FIGURES = ("top1_without_the_rule", "top1", "seen_upright", "looked_at_again")
STEPS = 1000  # of the solver, at most


def logits_of(photo: Photo, classifier: BreedClassifier) -> NDArray[np.float32]:
    """The second head's logits for the likeliest pet at each turn: `(turns, classes)` float32."""
    detector = detection.default()
    found = detector.detect(photo)[:1] if detector else []
    height, width = photo.shape[:2]
    box = pipeline.crop_box(found[0].box, height, width) if found else (0, 0, width, height)
    crop = as_image(photo).crop(box)
    return classifier.turned_logits(crop, QUARTERS)


def check(card: Card) -> None:
    """Check that a model can see which photos are turned.

    Raises
    ------
    training.errors.UserError
        If it cannot.
    """
    if card.task != "classification":
        raise UserError(
            f"{card.name} is for {card.task}: only classifiers see which photos are turned."
        )
    if card.second_head is None:
        raise UserError(
            f"{card.name} has no second head: only with `training.export --otherwise` does a model "
            "see which photos are turned."
        )


def fit(logits: NDArray[np.float32]) -> Upright:
    """Fit the rule to `(photos, turns, classes)` logits, the first turn of each being upright."""
    values = logits.reshape(-1, logits.shape[2])
    upright = np.tile(np.arange(logits.shape[1]) == 0, len(logits))
    from sklearn.linear_model import LogisticRegression  # slow to import: not for --help
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(values)
    regression = LogisticRegression(
        C=COST, l1_ratio=1.0, solver="saga", class_weight="balanced", max_iter=STEPS
    ).fit(scaler.transform(values), upright)
    coefficients = regression.coef_[0] / scaler.scale_
    intercept = float(regression.intercept_[0] - coefficients @ scaler.mean_)
    weights = {int(number): float(coefficients[number]) for number in np.flatnonzero(coefficients)}
    return Upright(weights, intercept, SURE, MARGIN)


def measure(examples: Examples, classifier: BreedClassifier, rule: Upright) -> Figures:
    """Score the page's answers to photos at each turn, with the rule and without it."""
    card = classifier.card
    segmenter = segmentation.load(store.default("segmentation"))
    blind = classifier.with_card(replace(card, upright=None))
    seeing = classifier.with_card(replace(card, upright=rule))

    def analyze(photo: Photo, judge: BreedClassifier) -> list[pipeline.Pet]:
        return pipeline.recognize(photo, segmenter, judge)

    rows: list[list[tuple[bool, bool, bool, bool]]] = []
    for example in tqdm(examples, desc="photos"):
        photo = open_photo(example.photo)
        name = card.labels[example.label].name
        row = []
        for turn in QUARTERS:
            turned = turn_array(photo, turn)
            after = analyze(turned, seeing)
            seen = pipeline.turn_of(after)
            before = analyze(turned, blind) if seen else after
            named = [bool(pets) and pets[0].breeds[0].name == name for pets in (before, after)]
            unsure = bool(before) and before[0].answer.upright(rule) < rule.sure
            row.append((named[0], named[1], seen == back(turn), unsure))
        rows.append(row)
    shares = np.moveaxis(np.array(rows, float), 2, 0).mean(axis=1)
    return {
        "pictures": len(rows),
        "turned_by": list(QUARTERS),
        **{name: share.tolist() for name, share in zip(FIGURES, shares, strict=True)},
    }


def fit_and_measure(
    model: str,
    models: Path = store.EMBEDDED,
    *,
    split: str = "validation",
    keep: bool = False,
    photos: int = PHOTOS,
    pictures: int | None = None,
    root: Path | None = None,
    source: str | None = None,
    folder: Path | None = None,
    skip_damaged: bool = False,
) -> Figures:
    """Fit the rule, or take the card's, and measure it.

    The arguments are the command line's options.

    Raises
    ------
    training.errors.UserError
        When the data cannot be had, or the model has no second head.
    """
    card = store.read_card(model, models)
    check(card)
    classifier = BreedClassifier(*store.load(model, "classification", models))
    facts = facts_of(card)
    data = data_sets.open_for(facts, root=root, source=source, folder=folder)

    def drawn(name: str, number: int | None) -> Examples:
        found = data_sets.held_out_by(data, facts, name)
        found = data.check(found, masks=False, skip_damaged=skip_damaged)
        order = np.random.default_rng(SEED).permutation(len(found))
        return [found[index] for index in order[:number]]

    if keep:
        if card.upright is None:
            raise UserError(f"The card of {model} has no rule yet: leave --keep out.")
        rule, fitted = card.upright, card.facts["upright"]
    else:
        chosen = tqdm(drawn("train", photos), desc="training photos")
        logits = [logits_of(open_photo(example.photo), classifier) for example in chosen]
        rule = fit(np.stack(logits))
        fitted = {
            "rule": {
                "weights": {str(number): weight for number, weight in rule.weights.items()},
                "intercept": rule.intercept,
                "sure": rule.sure,
                "margin": rule.margin,
            },
            "data": data.name,
            "photos": len(logits),
        }
    measured = {**measure(drawn(split, pictures), classifier, rule), "command": command()}
    return {**fitted, "measured": {**fitted.get("measured", {}), split: measured}}


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("model", help="name of a breed model in the models' folder")
    parser.add_argument("--models", type=Path, default=store.EMBEDDED, help="folder of the model")
    parser.add_argument(
        "--split", choices=("validation", "test"), default="validation", help="photos to measure on"
    )
    parser.add_argument("--keep", action="store_true", help="measure the card's rule, fit none")
    parser.add_argument("--photos", type=int, default=PHOTOS, help="number of photos to fit it on")
    parser.add_argument(
        "--pictures", type=int, help="number of held-out photos to measure on (default: all)"
    )
    data_sets.add_arguments(parser, folder=data_sets.EITHER_FOLDER)
    parser.add_argument("--write", action="store_true", help="store it in the model's card")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Fit and measure the rule of the model that the command line names."""
    arguments: dict[str, Any] = vars(parse_arguments(words))
    write = arguments.pop("write")
    facts = fit_and_measure(**arguments)
    shown = {key: value for key, value in facts.items() if key != "rule"}
    print(json.dumps({"weights": len(facts["rule"]["weights"]), **shown}, indent=2))
    if write:
        card = arguments["models"] / f"{arguments['model']}.json"
        store_facts(card, "upright", facts)


if __name__ == "__main__":
    command_line.run(main)
