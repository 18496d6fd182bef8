"""Fit and measure the rule that decides when the page refuses to name a breed.

    python -m training.refusal breeds                         # fit, and measure on training data
    python -m training.refusal breeds --split test --write    # measure on the test splits too
    python -m training.refusal breeds --strangers other-things
    python -m training.refusal breeds --keep --split test     # measure the stored rule
    python -m training.refusal mine --models runs/exported --others-folder others --write

A mask model also outlines other things, and a breed model names a breed for anything. Several
values of a region separate pets of the breeds from the rest: how undecided the breed model is, how
much of the photo the region covers, and what a second head says, if there is one (`training.export
--otherwise`). A logistic regression on them gives the probability that it is a pet of one of the
breeds; below a threshold it is refused. Photos without any region are refused anyway.

The regression is fitted on the held-out photos of pets and on half of the photos of others. Pets
weigh as much as others, and among the others, pets of other breeds as much as things. The threshold
refuses 2.5 % of the pets. A second head is fitted first: its temperature on those photos of others
whose class is known, and, on photos that the model was trained on, what it sees each breed as.
Without `--split test` the test splits are not used. `--write` stores all of this in the model's
card, and for an embedded model renews the table of results.

`--strangers` names a folder with more photos of others. Its `labels.csv` has the columns `file`,
`kind` ("dog", "cat", "other animal" or "thing"; dogs and cats are of breeds unknown to the model)
and, optionally, `imagenet_class`, the index of the class in the second head. Every second photo of
each kind belongs to the test split.

For a model of your own classes the held-out photos are those of its `--folder`, and
`--others-folder` may name a folder of photos that show none of them.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models import breeds, pipeline, segmentation, store
from models.breeds import BreedClassifier, Classification
from models.cards import SIGNS, Refusal, SecondHead
from models.images import open_photo
from training import command_line, data_sets, others
from training.calibration import fit_temperature
from training.data_sets import EITHER_FOLDER, Examples
from training.errors import UserError
from training.evaluation.tables import store_facts
from training.metrics import Figures
from training.runs import command, facts_of

FEWEST = 2  # least photos with a region, both of the classes and of other things
REFUSED = 0.025  # share of refused pets, among those that the rule is fitted on
COST = 0.05  # inverse regularisation: there are few photos of pets of other breeds
PETS = ("cat", "dog")  # kinds of other photos that may be taken for the model's breeds
# Inputs of the rule for a model with and without a second head.
WITH = SIGNS[1:]
WITHOUT = SIGNS[:2]
SEEN_PER_CLASS = 20  # training photos of each class that show what a second head sees it as
SEEN_SHARE = 0.1  # least mean probability of a class that it is seen as


@dataclass(frozen=True)
class Found:
    """The largest region found in a photo of a pet or of something else, if there is one.

    Attributes
    ----------
    kind
        That of a `training.others.Example`; "listed" for the model's own pets.
    number
        Index of its class in the second head, if known.
    share, answer
        Share of the photo that it covers, and the classifier's answer; None without a region.
    """

    kind: str
    number: int | None = None
    share: float | None = None
    answer: Classification | None = None

    def signs(self) -> Mapping[str, float] | None:
        """Inputs of the rule; None without a region."""
        if self.share is None or self.answer is None:
            return None
        return pipeline.signs(self.share, self.answer)


def look(
    examples: Iterable[Any], classifier: BreedClassifier, segmenter: segmentation.Segmenter
) -> list[Found]:
    """Find the largest pet of each photo as the page does, and ask the classifier about it."""
    rows = []
    for example in tqdm(examples, desc="photos"):
        photo = open_photo(example.photo)
        kind, number = getattr(example, "kind", "listed"), getattr(example, "number", None)
        found = pipeline.recognize(photo, segmenter, classifier)[:1]
        rows += [Found(kind, number, pet.share, pet.answer) for pet in found] or [
            Found(kind, number)
        ]
    return rows


def fit_head(head: SecondHead, seen: Sequence[Found]) -> float:
    """A second head's temperature, fitted on photos of its classes; unchanged without any."""
    known = [
        (each.answer.other_logits * head.temperature, each.number)
        for each in seen
        if each.answer is not None and each.answer.other_logits is not None
        if each.number is not None
    ]
    if len(known) < FEWEST:
        return head.temperature
    logits, numbers = zip(*known, strict=True)
    return fit_temperature(np.stack(logits), np.array(numbers))


def seen_as(
    examples: Sequence[Any], classifier: BreedClassifier, temperature: float
) -> dict[str, tuple[int, ...]]:
    """The classes that a second head sees each of the model's breeds as.

    Parameters
    ----------
    examples
        Photos with their label.
    classifier
        A model with a second head.
    temperature
        The head's temperature.
    """
    head = classifier.card.second_head
    if head is None:
        return {}
    shares: dict[int, list[NDArray[np.float64]]] = {}
    for example in tqdm(examples, desc="training photos"):
        logits = classifier.classify(open_photo(example.photo)).other_logits
        if logits is not None:
            calibrated = logits * np.float32(head.temperature / temperature)
            shares.setdefault(example.label, []).append(breeds.softmax(calibrated))
    return {
        classifier.card.labels[label].name: tuple(
            np.flatnonzero(np.mean(of_label, axis=0) >= SEEN_SHARE).tolist()
        )
        for label, of_label in sorted(shares.items())
    }


def _few_of_each(examples: Examples) -> Examples:
    """The first `SEEN_PER_CLASS` of each label."""
    seen = Counter[int]()
    few = []
    for example in examples:
        seen[example.label] += 1
        if seen[example.label] <= SEEN_PER_CLASS:
            few.append(example)
    return few


def with_head(found: Sequence[Found], head: SecondHead | None) -> list[Found]:
    """The same with a newly fitted second head: its temperature, and what it sees breeds as."""
    if head is None:
        return list(found)
    read = breeds.Others(head)
    rows = []
    for each in found:
        answer = each.answer
        if answer is not None and answer.others is not None and answer.other_logits is not None:
            scale = np.float32(answer.others.head.temperature / head.temperature)
            answer = replace(answer, other_logits=answer.other_logits * scale, others=read)
        rows.append(replace(each, answer=answer))
    return rows


def fit(pets: Sequence[Found], other: Sequence[Found]) -> Refusal:
    """Fit the rule to regions of pets and of other things; photos without a region do not count.

    Raises
    ------
    training.errors.UserError
        When too few of either have a region.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    pet_signs, other_signs = (
        [signs for each in rows if (signs := each.signs()) is not None] for rows in (pets, other)
    )
    kinds = [each.kind in PETS for each in other if each.signs() is not None]
    if min(len(pet_signs), len(other_signs)) < FEWEST:
        raise UserError(
            f"The mask model finds a region in {len(pet_signs)} photos of the model's classes "
            f"and in {len(other_signs)} of other things: a rule needs {FEWEST} of each. "
            "Photos of animals and toys are outlined more often than those of flat things."
        )
    names = WITH if set(WITH) <= set(pet_signs[0]) else WITHOUT
    values = np.array([[signs[name] for name in names] for signs in (*pet_signs, *other_signs)])
    groups = np.array([0] * len(pet_signs) + [1 + kind for kind in kinds])
    sizes = np.bincount(groups, minlength=3)
    weights = np.where(groups == 0, np.count_nonzero(sizes[1:]), 1) / sizes[groups]
    scaler = StandardScaler()
    regression = LogisticRegression(C=COST).fit(
        scaler.fit_transform(values), groups == 0, weights * len(groups) / weights.sum()
    )
    coefficients = regression.coef_[0] / scaler.scale_
    intercept = float(regression.intercept_[0] - coefficients @ scaler.mean_)
    rule = Refusal(dict(zip(names, coefficients.tolist(), strict=True)), intercept, 0.0)
    threshold = np.quantile([rule.probability(signs) for signs in pet_signs], REFUSED)
    return replace(rule, threshold=float(threshold))


def score(rule: Refusal, pets: Sequence[Found], other: Sequence[Found]) -> Figures:
    """How well the rule distinguishes pets from other things, including photos without a region.

    `others` are other things and animals, `other_pets` of other breeds; `other_pets_named` is the
    share of those with a known class for which that class is the first besides the model's breeds.
    """
    from sklearn.metrics import roc_auc_score

    def scores(rows: Iterable[Found]) -> NDArray[np.float64]:
        signs = [each.signs() for each in rows]
        return np.array([rule.probability(each) if each else 0.0 for each in signs])

    other_pets = [each for each in other if each.kind in PETS]
    pet_scores = scores(pets)
    other_scores = scores(each for each in other if each.kind not in PETS)
    figures: Figures = {
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
    if other_pets:
        figures["other_pets"] = len(other_pets)
        figures["other_pets_accepted"] = float((scores(other_pets) >= rule.threshold).mean())
        named = [_named_right(each) for each in other_pets if each.number is not None]
        if named:
            figures["other_pets_named"] = float(np.mean(named))
    return figures


def _named_right(found: Found) -> bool:
    answer = found.answer
    if answer is None or answer.others is None or answer.otherwise is None:
        return False
    if found.number is None:
        return False
    return answer.otherwise.name == answer.others.head.classes[found.number].name


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
    strangers_folder: Path | None = None,
    skip_damaged: bool = False,
    keep: bool = False,
) -> tuple[Figures, SecondHead | None]:
    """Fit the rule for a model and score it.

    Returns
    -------
    The rule's entry for the model's card; and the second head as it was fitted, if any.

    The arguments are the command line's options.

    Raises
    ------
    training.errors.UserError
        If the data is not available, or too few photos have a region.
    """
    card = store.read_card(model, models)
    if card.task != "classification":
        raise UserError(f"{model} is for {card.task}: only classifiers name a class wrongly.")
    if keep and card.refusal is None:
        raise UserError(f"The card of {model} has no rule yet: leave --keep out.")
    facts = facts_of(card)
    data = data_sets.open_for(facts, root=root, source=source, folder=folder)
    other_photos, name = _other_photos(others_root, others_source, others_folder, strangers_folder)
    classifier = BreedClassifier(*store.load(model, "classification", models))
    segmenter = segmentation.load(store.default("segmentation"))

    def of(examples: Examples) -> list[Found]:
        return look(checked(examples), classifier, segmenter)

    def checked(examples: Examples) -> Examples:
        return data.check(examples, masks=False, skip_damaged=skip_damaged)

    pets = of(data_sets.held_out_by(data, facts, "validation"))
    other = of(other_photos("train"))
    head = classifier.card.second_head
    if head is not None and not keep:
        temperature = fit_head(head, other)
        trained = checked(_few_of_each(data_sets.held_out_by(data, facts, "train")))
        seen = seen_as(trained, classifier, temperature)
        head = replace(head, temperature=temperature, seen_as=seen)
    pets, other = with_head(pets, head), with_head(other, head)
    rule = card.refusal if keep else None
    rule = rule or fit(pets, other)
    scores = {"train": score(rule, pets, other)}
    if split == "test":
        scores["test"] = score(
            rule,
            with_head(of(data_sets.held_out_by(data, facts, "test")), head),
            with_head(of(other_photos("test")), head),
        )
    figures = {
        "rule": {**rule.weights, "intercept": rule.intercept, "threshold": rule.threshold},
        "mask": store.default("segmentation"),
        "data": f"{data.name} and {name}",
        "measured": scores,
        "command": command(),
    }
    return figures, head


def _other_photos(
    root: Path, source: str, folder: Path | None, strangers_folder: Path | None
) -> tuple[Callable[[str], list[others.Example]], str]:
    """A function that gives a split's photos of other things than pets, and their name."""
    if folder:
        of_split, name = others.own(folder), folder.name
    else:
        of_split, name = partial(others.split, others.prepare(root, source)), others.NAME
    if strangers_folder is None:
        return of_split, name
    labelled = partial(others.labelled, strangers_folder)
    return lambda split: [*of_split(split), *labelled(split)], f"{name} and {strangers_folder.name}"


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("model", help="name of a classifier in the models' folder")
    parser.add_argument("--models", type=Path, default=store.EMBEDDED, help="folder of the model")
    parser.add_argument(
        "--split",
        choices=("train", "test"),
        default="train",
        help="test: score the rule on the test splits too",
    )
    data_sets.add_arguments(parser, folder=EITHER_FOLDER)
    parser.add_argument(
        "--others-root", type=Path, default=others.ROOT, help="folder of the photos of other things"
    )
    parser.add_argument("--others-source", default=others.URL, help="source of these photos")
    parser.add_argument(
        "--others-folder", type=Path, help="a folder of your own photos of other things instead"
    )
    parser.add_argument(
        "--strangers",
        type=Path,
        dest="strangers_folder",
        metavar="FOLDER",
        help="a folder of more photos of others, with labels.csv",
    )
    parser.add_argument("--keep", action="store_true", help="measure the card's rule, fit none")
    parser.add_argument("--write", action="store_true", help="store the rule in the model's card")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Fit the rule for the model that the command line names."""
    arguments = vars(parse_arguments(words))
    write = arguments.pop("write")
    facts, head = fit_and_score(**arguments)
    print(json.dumps(facts, indent=2))
    if not write:
        return
    card = arguments["models"] / f"{arguments['model']}.json"
    if head is not None:
        told = json.loads(card.read_text())["otherwise"]
        fitted = {"temperature": head.temperature, "seen_as": head.seen_as}
        store_facts(card, "otherwise", {**fitted, **{k: told[k] for k in told if k not in fitted}})
    store_facts(card, "refusal", facts)


if __name__ == "__main__":
    command_line.run(main)
