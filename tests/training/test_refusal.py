"""The rule that refuses to name a breed, on regions with known answers."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import documents
from models import store
from models.store import Refusal
from training import others, pets, refusal
from training.evaluation import tables

random = np.random.default_rng(3)
# Pets are large and unambiguous, other things small and ambiguous.
PETS = np.stack([random.normal(-1, 0.5, 200), random.normal(0.3, 0.3, 200)], axis=1)
OTHERS = np.stack([random.normal(-4, 0.5, 60), random.normal(2.5, 0.3, 60)], axis=1)


def test_the_rule_separates_pets_from_other_things() -> None:
    rule = refusal.fit(PETS, OTHERS)

    assert rule.log_share > 0
    assert rule.entropy < 0
    figures = refusal.score(rule, PETS, OTHERS)
    assert figures["auroc"] > 0.999
    assert figures["pets_refused"] == pytest.approx(refusal.REFUSED, abs=0.005)
    assert figures["others_accepted"] == 0
    assert (figures["pets"], figures["others"]) == (200, 60)


def test_a_photo_without_a_region_is_refused_but_teaches_nothing() -> None:
    nothing = np.array([refusal.NOTHING])
    rule = refusal.fit(PETS, OTHERS)

    assert refusal.fit(np.concatenate([PETS, nothing]), np.concatenate([OTHERS, nothing])) == rule
    sure = PETS[:3] * [1, 0]
    figures = refusal.score(rule, np.concatenate([sure, nothing]), nothing)
    assert figures["pets_refused"] == 0.25
    assert figures["others_accepted"] == 0
    assert figures["auroc"] == pytest.approx(0.875)  # of four pairs, one is a draw


def test_large_and_clear_regions_are_more_probably_pets() -> None:
    rule = Refusal(log_share=1.0, entropy=-2.0, intercept=1.0, threshold=0.5)

    assert rule.probability(1.0, 0.5) == pytest.approx(0.5)
    assert rule.probability(0.5, 0.5) < rule.probability(1.0, 0.5) < rule.probability(1.0, 0.1)


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

    made = {".jpg": PETS, ".webp": OTHERS}
    monkeypatch.setattr(refusal, "features", lambda paths, *_: made[paths[0].suffix][: len(paths)])

    refusal.main(
        [
            *("breeds", "--models", str(models), "--write", "--root", str(tiny_pets)),
            *("--others-root", str(tmp_path / "others")),
        ]
    )

    facts = json.loads((models / "breeds.json").read_text())["refusal"]
    assert store.read_card("breeds", models).refusal == Refusal(**facts["rule"])
    assert list(facts["measured"]) == ["train"]
    assert facts["measured"]["train"]["others"] == 12
    assert facts["measured"]["train"]["pets"] == len(pets.split(tiny_pets, "validation"))
