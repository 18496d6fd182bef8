"""The rule that refuses to name a breed, on regions with known answers."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

import documents
from models import store
from models.breeds import Classification, Others
from models.cards import Label, OtherClass, Refusal, SecondHead
from training import others, pets, refusal
from training.errors import UserError
from training.evaluation import tables
from training.refusal import Found

random = np.random.default_rng(3)


def seen(kind: str, log_share: float, entropy: float, **more: float) -> Found:
    """What was found in a photo, with the signs that the rule is to see in it."""
    answer = SimpleNamespace(signs={"entropy": entropy, **more}, other_logits=None, others=None)
    return Found(kind, None, float(np.exp(log_share)), cast("Classification", answer))


# Pets are large and named without doubt, other things small and named with doubt.
PETS = [
    seen("listed", *row)
    for row in zip(random.normal(-1, 0.5, 200), random.normal(0.3, 0.3, 200), strict=True)
]
OTHERS = [
    seen("thing", *row)
    for row in zip(random.normal(-4, 0.5, 60), random.normal(2.5, 0.3, 60), strict=True)
]
NOTHING = Found("listed")  # no region


def test_the_rule_separates_pets_from_other_things() -> None:
    rule = refusal.fit(PETS, OTHERS)

    assert rule.weights["log_share"] > 0
    assert rule.weights["entropy"] < 0
    figures = refusal.score(rule, PETS, OTHERS)
    assert figures["auroc"] > 0.999
    assert figures["pets_refused"] == pytest.approx(refusal.REFUSED, abs=0.005)
    assert figures["others_accepted"] == 0
    assert (figures["pets"], figures["others"]) == (200, 60)
    assert "other_pets" not in figures


def test_a_photo_without_a_region_is_refused_but_teaches_nothing() -> None:
    rule = refusal.fit(PETS, OTHERS)

    assert refusal.fit([*PETS, NOTHING], [*OTHERS, Found("thing")]) == rule
    sure = [seen("listed", 0.0, 0.0)] * 3
    figures = refusal.score(rule, [*sure, NOTHING], [Found("thing")])
    assert figures["pets_refused"] == 0.25
    assert figures["others_accepted"] == 0
    assert figures["auroc"] == pytest.approx(0.875)  # of four pairs, one is a draw


def signs_of(kind: str, other_pet: float) -> Found:
    rest = {"breed": 8.0, "other_thing": 1.0, "known_pet": -0.1, "agreement": -0.2}
    return seen(kind, -1.0, 0.1, other_pet=other_pet, **rest)


def test_a_second_head_tells_pets_of_other_breeds() -> None:
    pets = [signs_of("listed", value) for value in random.normal(2, 1, 200)]
    dogs = [signs_of("dog", value) for value in random.normal(9, 1, 20)]

    rule = refusal.fit(pets, [*dogs, *OTHERS_WITH_HEAD])

    assert set(rule.weights) == set(refusal.WITH)
    assert rule.weights["other_pet"] < 0
    figures = refusal.score(rule, pets, [*dogs, *OTHERS_WITH_HEAD])
    assert figures["other_pets"] == 20
    assert figures["other_pets_accepted"] == 0
    assert figures["others"] == len(OTHERS_WITH_HEAD)


OTHERS_WITH_HEAD = [
    seen(
        "thing", -1.0, 3.0, breed=2.0, other_pet=0.0, other_thing=9.0, known_pet=-6.0, agreement=-9
    )
] * 30

HEAD = SecondHead(
    (OtherClass("Airedale", "dog"), OtherClass("pug", "dog", "Pug")), 2.0, {"Pug": (1,)}
)


def answered(*logits: float) -> Classification:
    values = np.array(logits, np.float32)
    label = (Label("Pug", "dog"),)
    return Classification(np.ones(1, np.float32), label, None, values, Others(HEAD))


def test_a_second_head_is_calibrated_on_what_it_has_a_name_for() -> None:
    # It says 0.88 (a logit of 2 before the other) and is right in three of four cases.
    photos = [Found("dog", number, 0.5, answered(2.0, 0.0)) for number in (0, 0, 0, 1)]

    temperature = refusal.fit_head(HEAD, photos)

    # Logits 4 apart before the card's temperature give 3 / 4 where they are divided by 4 / log(3).
    assert temperature == pytest.approx(4 / np.log(3), rel=1e-3)
    (read, *_) = refusal.with_head(photos, replace(HEAD, temperature=temperature))
    assert read.answer is not None
    assert read.answer.other_logits == pytest.approx([np.log(3), 0], abs=1e-3)
    assert refusal.fit_head(HEAD, [Found("thing")]) == HEAD.temperature


def test_a_dog_of_another_breed_is_named_right_where_its_class_comes_first() -> None:
    rule = refusal.fit(PETS, OTHERS)
    dogs = [Found("dog", 0, 0.5, answered(1.0, 5.0)), Found("dog", 1, 0.5, answered(1.0, 5.0))]

    figures = refusal.score(rule, PETS, [*OTHERS, *dogs, Found("dog", 0)])

    # The pug is a breed of the model's, and so no answer besides them; one dog was not found.
    assert figures["other_pets_named"] == pytest.approx(1 / 3)


def test_a_large_sure_thing_is_more_probably_a_pet() -> None:
    rule = Refusal({"log_share": 1.0, "entropy": -2.0}, intercept=1.0, threshold=0.5)

    def probability(share: float, entropy: float) -> float:
        return rule.probability({"log_share": np.log(share), "entropy": entropy, "breed": 3.0})

    assert probability(1.0, 0.5) == pytest.approx(0.5)
    assert probability(0.5, 0.5) < probability(1.0, 0.5) < probability(1.0, 0.1)
    assert rule.probability({"log_share": -1e6, "entropy": 1e6}) == 0


def test_the_command_writes_the_rule_into_the_card(
    tmp_path: Path, tiny_pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("breeds", "pet"):
        (models / f"{name}.onnx").symlink_to(store.EMBEDDED / f"{name}.onnx")
        (models / f"{name}.json").write_bytes((store.EMBEDDED / f"{name}.json").read_bytes())
    (tmp_path / "README.md").write_text(f"{tables.START}{tables.END}")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    for resource in others.RESOURCES:
        folder = tmp_path / "others" / resource
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8)).save(folder / f"{number}.webp")
    (tmp_path / "others" / ".complete").touch()

    strangers = tmp_path / "strangers"
    strangers.mkdir()
    rows = ["file,kind,imagenet_class,name"]
    for number in range(4):
        Image.new("RGB", (8, 8)).save(strangers / f"{number}.png")
        rows.append(f"{number}.png,dog,{151 + number},a dog")
    (strangers / "labels.csv").write_text("\n".join(rows))

    def look(examples: list[Any], *_: object) -> list[Found]:
        kinds = [getattr(each, "kind", "listed") for each in examples]
        dogs = (replace(each, kind="dog") for each in OTHERS)
        made = {"listed": iter(PETS), "dog": dogs}
        return [next(made.get(kind, iter(OTHERS))) for kind in kinds]

    monkeypatch.setattr(refusal, "look", look)
    monkeypatch.setattr(refusal, "seen_as", lambda *_: {"Pug": [254]})

    words = [
        *("breeds", "--models", str(models), "--write", "--root", str(tiny_pets)),
        *("--others-root", str(tmp_path / "others"), "--strangers", str(strangers)),
    ]
    refusal.main(words)

    card, facts = (
        store.read_card("breeds", models),
        json.loads((models / "breeds.json").read_text()),
    )
    rule = facts["refusal"]["rule"]
    assert card.refusal is not None
    assert {**card.refusal.weights, "intercept": card.refusal.intercept} == {
        name: value for name, value in rule.items() if name != "threshold"
    }
    assert card.refusal.threshold == rule["threshold"]
    measured = facts["refusal"]["measured"]
    assert list(measured) == ["train"]
    assert measured["train"]["others"] == 12
    assert measured["train"]["other_pets"] == 2  # the other two are kept for the test
    assert measured["train"]["pets"] == len(pets.split(tiny_pets, "validation"))
    assert card.second_head is not None
    assert card.second_head.seen_as == {"Pug": (254,)}
    assert len(card.second_head.classes) == 1000

    facts["refusal"]["rule"]["threshold"] = 1.0
    (models / "breeds.json").write_text(json.dumps(facts))
    refusal.main([*words, "--keep"])
    kept = store.read_card("breeds", models)
    assert kept.refusal == replace(card.refusal, threshold=1.0)
    assert kept.second_head is not None
    assert kept.second_head.temperature == card.second_head.temperature
    assert kept.facts["refusal"]["measured"]["train"]["pets_refused"] == 1.0


def test_without_a_rule_none_is_kept(tmp_path: Path) -> None:
    facts = json.loads((store.EMBEDDED / "breeds.json").read_text())
    del facts["refusal"]
    (tmp_path / "breeds.json").write_text(json.dumps(facts))
    (tmp_path / "breeds.onnx").touch()
    with pytest.raises(UserError, match="no rule yet"):
        refusal.main(["breeds", "--models", str(tmp_path), "--keep"])
