"""The rule for photos on their side, on logits whose meaning is known."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from models import store
from models.cards import Card, ModelError
from training import turns
from training.errors import UserError

CLASSES = 30


def logits(photos: int, seed: int) -> np.ndarray:
    """Class 3 speaks for upright, class 7 against it, the others for nothing."""
    values = np.random.default_rng(seed).normal(0, 1, (photos, 4, CLASSES)).astype(np.float32)
    values[:, 0, 3] += 4
    values[:, 1:, 7] += 4
    return values


def test_the_rule_knows_upright_photos_by_few_classes() -> None:
    rule = turns.fit(logits(200, seed=0))

    assert rule.weights[3] > 0 > rule.weights[7]
    assert set(rule.weights) < set(range(CLASSES))
    assert (rule.sure, rule.margin) == (turns.SURE, turns.MARGIN)
    scores = np.array([[rule.score(turn) for turn in photo] for photo in logits(100, seed=1)])
    assert np.mean(scores[:, 0] > rule.sure) > 0.95
    assert np.mean(scores[:, 1:] < rule.sure) > 0.95
    by_hand = rule.intercept + sum(w * logits(1, 2)[0, 0, n] for n, w in rule.weights.items())
    assert rule.score(logits(1, 2)[0, 0]) == pytest.approx(by_hand, abs=1e-5)


def test_a_model_without_a_second_head_cannot_tell() -> None:
    card = cast("Card", SimpleNamespace(name="mine", task="classification", second_head=None))
    with pytest.raises(UserError, match="mine has no second head"):
        turns.check(card)


def test_a_card_whose_rule_names_unknown_classes_is_refused(tmp_path: Path) -> None:
    facts = json.loads((store.EMBEDDED / "breeds.json").read_text())
    assert store.read_card("breeds", store.EMBEDDED).upright is not None
    facts["upright"]["rule"]["weights"]["1000"] = 0.5
    (tmp_path / "breeds.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match="names classes that the head does not have"):
        store.read_card("breeds", tmp_path)
