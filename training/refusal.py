"""Fit and measure the rule by which the page refuses to name a breed.

    python -m training.refusal breeds                         # fit, and measure on training data
    python -m training.refusal breeds --split test --write    # measure on the test splits too

A mask model also outlines other things, and a breed model names a breed for anything. What both
say of a region tells pets from the rest: how much of the photo it covers, and how undecided the
breeds are. A logistic regression of the two gives the probability that it is a pet of one of the
breeds; what is below a threshold is refused. The photos without a region at all are refused anyway.

The regression is fitted on the held-out photos of the pets and on half of the photos of other
things, both weighing the same; the threshold refuses 2 % of these pets. Without `--split test` the
test splits are not touched. `--write` stores rule and figures in the breed model's card and renews
the results table in README.md.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from models import breeds, pipeline, segmentation, store
from models.images import open_photo
from models.store import Refusal
from training import others, pets
from training.evaluate import store_facts
from training.metrics import Figures
from training.runs import command

REFUSED = 0.02  # share of the pets that the rule is fitted on which it refuses
NOTHING = (-np.inf, np.inf)  # logarithm of the share and entropy where no region was found


def features(paths: Sequence[Path], classifier: breeds.BreedClassifier) -> NDArray[np.float64]:
    """What the rule looks at in each photo's largest region: `(n, 2)`, log share and entropy."""
    segmenter = segmentation.load(store.default("segmentation"))
    rows = []
    for path in tqdm(paths, desc="photos"):
        photo = open_photo(path)
        largest = segmenter.predict(photo).regions() == 1
        found = pipeline.name_pets(photo, largest.astype(np.uint8), classifier)
        rows += [(np.log(pet.share), pet.answer.entropy) for pet in found] or [NOTHING]
    return np.array(rows)


def fit(pet_features: NDArray[np.float64], other_features: NDArray[np.float64]) -> Refusal:
    """Fit the rule to the regions of pets and of other things; photos without one do not count.

    Parameters
    ----------
    pet_features, other_features
        `(n, 2)` as of `features`.
    """
    pet_features, other_features = (
        rows[np.isfinite(rows).all(axis=1)] for rows in (pet_features, other_features)
    )
    regression = LogisticRegression(class_weight="balanced").fit(
        np.concatenate([pet_features, other_features]),
        np.repeat([1, 0], [len(pet_features), len(other_features)]),
    )
    (log_share, entropy), intercept = regression.coef_[0], regression.intercept_[0]
    threshold = np.quantile(regression.predict_proba(pet_features)[:, 1], REFUSED)
    return Refusal(float(log_share), float(entropy), float(intercept), float(threshold))


def measure(
    rule: Refusal, pet_features: NDArray[np.float64], other_features: NDArray[np.float64]
) -> Figures:
    """How well the rule tells pets from other things, photos without a region included."""
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


def main(words: Sequence[str] | None = None) -> None:
    """Fit the rule for the model that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name of a breed model in the models' folder")
    parser.add_argument("--split", choices=("train", "test"), default="train")
    parser.add_argument("--root", type=Path, default=pets.ROOT, help="where the pets lie")
    parser.add_argument("--source", default=pets.URL, help="where they come from")
    parser.add_argument(
        "--others-root", type=Path, default=others.ROOT, help="where the photos of others lie"
    )
    parser.add_argument("--others-source", default=others.URL, help="where they come from")
    parser.add_argument("--write", action="store_true", help="store the rule in the model's card")
    arguments = parser.parse_args(words)

    root = pets.prepare(arguments.root, arguments.source)
    others_root = others.prepare(arguments.others_root, arguments.others_source)
    classifier = breeds.load(arguments.model)
    held_out = features([each.photo for each in pets.split(root, "validation")], classifier)
    other = features([each.photo for each in others.split(others_root, "train")], classifier)
    rule = fit(held_out, other)
    measured = {"train": measure(rule, held_out, other)}
    if arguments.split == "test":
        measured["test"] = measure(
            rule,
            features([each.photo for each in pets.split(root, "test")], classifier),
            features([each.photo for each in others.split(others_root, "test")], classifier),
        )
    facts = {
        "rule": asdict(rule),
        "mask": store.default("segmentation"),
        "data": f"{pets.NAME} and {others.NAME}",
        "measured": measured,
        "command": command(),
    }
    print(json.dumps(facts, indent=2))
    if arguments.write:
        store_facts(arguments.model, "refusal", facts)


if __name__ == "__main__":
    main()
