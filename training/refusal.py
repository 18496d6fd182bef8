"""Fit and measure the rule by which the page refuses to name a breed.

    python -m training.refusal breeds                         # fit, and measure on training data
    python -m training.refusal breeds --split test --write    # measure on the test splits too
    python -m training.refusal mine --models runs/exported --others-folder others --write

A mask model also outlines other things, and a breed model names a breed for anything. Two values of
a region distinguish pets from the rest: how much of the photo it covers, and how undecided the
breed model is. A logistic regression on both gives the probability that it is a pet of one of the
breeds; below a threshold it is refused. Photos without any region are refused anyway.

The regression is fitted on the held-out photos of pets and on half of the photos of other things,
with the same weight for both groups; the threshold refuses 2 % of these pets. Without `--split
test` the test splits are not used. `--write` stores rule and figures in the model's card, and for
an embedded model renews the table of results.

For a model of your own classes the held-out photos are those of its `--folder`, and
`--others-folder` may name a folder of photos that show none of them.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from models import breeds, pipeline, segmentation, store
from models.images import open_photo
from models.regions import of_numbers
from models.store import Refusal
from training import command_line, data_sets, others
from training.data_sets import EITHER_FOLDER, Examples
from training.errors import UserError
from training.evaluation.tables import store_facts
from training.metrics import Figures
from training.runs import command

FEWEST = 2  # photos with a region needed, of the classes and of other things each
REFUSED = 0.02  # share of the pets in the fit that the rule refuses
NOTHING = (-np.inf, np.inf)  # log share and entropy if no region was found


def features(
    paths: Sequence[Path],
    classifier: breeds.BreedClassifier,
    segmenter: segmentation.Segmenter,
) -> NDArray[np.float64]:
    """The rule's inputs for each photo's largest region: `(n, 2)`, log share and entropy."""
    rows = []
    for path in tqdm(paths, desc="photos"):
        photo = open_photo(path)
        largest = of_numbers(segmenter.predict(photo).regions())[:1]
        found = pipeline.name_pets(photo, largest, classifier)
        rows += [(np.log(pet.share), pet.answer.entropy) for pet in found] or [NOTHING]
    return np.array(rows)


def fit(pet_features: NDArray[np.float64], other_features: NDArray[np.float64]) -> Refusal:
    """Fit the rule to the regions of pets and of other things; photos without one are ignored.

    Parameters
    ----------
    pet_features, other_features
        `(n, 2)` as of `features`.

    Raises
    ------
    training.errors.UserError
        When too few of either have a region.
    """
    pet_features, other_features = (
        rows[np.isfinite(rows).all(axis=1)] for rows in (pet_features, other_features)
    )
    if min(len(pet_features), len(other_features)) < FEWEST:
        raise UserError(
            f"The mask model finds a region in {len(pet_features)} photos of the model's classes "
            f"and in {len(other_features)} of other things: a rule needs {FEWEST} of each. "
            "Photos of animals and toys are outlined more often than those of flat things."
        )
    regression = LogisticRegression(class_weight="balanced").fit(
        np.concatenate([pet_features, other_features]),
        np.repeat([1, 0], [len(pet_features), len(other_features)]),
    )
    (log_share, entropy), intercept = regression.coef_[0], regression.intercept_[0]
    threshold = np.quantile(regression.predict_proba(pet_features)[:, 1], REFUSED)
    return Refusal(float(log_share), float(entropy), float(intercept), float(threshold))


def score(
    rule: Refusal, pet_features: NDArray[np.float64], other_features: NDArray[np.float64]
) -> Figures:
    """How well the rule separates pets from other things, including photos without a region."""
    pet_scores, other_scores = (
        np.array([rule.probability(np.exp(x), y) if np.isfinite(x) else 0.0 for x, y in rows])
        for rows in (pet_features, other_features)
    )
    return {
        "pets": len(pet_scores),
        "others": len(other_scores),
        "auroc": float(
            roc_auc_score(
                np.repeat([1, 0], [len(pet_scores), len(other_scores)]),
                np.concatenate([pet_scores, other_scores]),
            )
        ),
        "pets_refused": float((pet_scores < rule.threshold).mean()),
        "others_accepted": float((other_scores >= rule.threshold).mean()),
    }


def fit_and_score(
    model: str,
    models: Path = store.EMBEDDED,
    *,
    split: str = "train",
    root: Path | None = None,
    source: str | None = None,
    folder: Path | None = None,
    others_root: Path = others.ROOT,
    others_source: str = others.URL,
    others_folder: Path | None = None,
    skip_damaged: bool = False,
) -> Figures:
    """Fit the rule for a model and score it; return what goes into its card.

    The arguments are the command line's options.

    Raises
    ------
    training.errors.UserError
        If the data is not available, or too few photos have a region.
    """
    card = store.read_card(model, models)
    if card.task != "classification":
        raise UserError(f"{model} is for {card.task}: only classifiers name a class wrongly.")
    facts = {**card.facts["training"], "task": card.task, "labels": card.facts["labels"]}
    data = data_sets.open_for(facts, root=root, source=source, folder=folder)
    if others_folder:
        strangers = others.own(others_folder)
    else:
        prepared = others.prepare(others_root, others_source)
        strangers = partial(others.split, prepared)
    classifier = breeds.BreedClassifier(*store.load(model, "classification", models))
    segmenter = segmentation.load(store.default("segmentation"))

    def of(examples: Examples) -> NDArray[np.float64]:
        checked = data.check(examples, masks=False, skip_damaged=skip_damaged)
        return features([each.photo for each in checked], classifier, segmenter)

    pet_features = of(data_sets.held_out_by(data, facts, "validation"))
    other_features = of(strangers("train"))
    rule = fit(pet_features, other_features)
    scores = {"train": score(rule, pet_features, other_features)}
    if split == "test":
        scores["test"] = score(
            rule, of(data_sets.held_out_by(data, facts, "test")), of(strangers("test"))
        )
    return {
        "rule": asdict(rule),
        "mask": store.default("segmentation"),
        "data": f"{data.name} and {others_folder.name if others_folder else others.NAME}",
        "measured": scores,
        "command": command(),
    }


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("model", help="name of a classifier in the models' folder")
    parser.add_argument(
        "--models", type=Path, default=store.EMBEDDED, help="folder that the model lies in"
    )
    parser.add_argument(
        "--split",
        choices=("train", "test"),
        default="train",
        help="test: score the rule on the test splits too",
    )
    data_sets.add_arguments(parser, folder=EITHER_FOLDER)
    parser.add_argument(
        "--others-root", type=Path, default=others.ROOT, help="where the photos of others lie"
    )
    parser.add_argument("--others-source", default=others.URL, help="where they come from")
    parser.add_argument(
        "--others-folder", type=Path, help="a folder of your own photos of other things instead"
    )
    parser.add_argument("--write", action="store_true", help="store the rule in the model's card")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Fit the rule for the model that the command line names."""
    arguments = vars(parse_arguments(words))
    write = arguments.pop("write")
    facts = fit_and_score(**arguments)
    print(json.dumps(facts, indent=2))
    if write:
        store_facts(arguments["models"] / f"{arguments['model']}.json", "refusal", facts)


if __name__ == "__main__":
    command_line.run(main)
