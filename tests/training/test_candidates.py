"""The rule that decides which boxes are pets, on boxes whose meaning is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import store
from models.cards import ModelError
from training import candidates, evaluate_pets, pets
from training.candidates import Seen
from training.composites import Scenes


def boxes(number: int, seed: int) -> list[Seen]:
    """Boxes that are pets if both signs together say so, with some noise."""
    random = np.random.default_rng(seed)
    signs = random.normal(0, 2, (number, 2))
    true = 2 * signs[:, 0] + signs[:, 1] + random.logistic(0, 1, number) > 0
    return [
        Seen(float(b), float(p), False, False, bool(t))
        for (b, p), t in zip(signs, true, strict=True)
    ]


def test_the_rule_weighs_both_signs_as_they_count() -> None:
    rule = candidates.fit(boxes(4000, seed=0))
    assert (rule.box, rule.pet, rule.intercept) == pytest.approx((2, 1, 0), abs=0.25)
    assert (rule.animal, rule.least) == (candidates.ANIMAL, candidates.LINE)
    accepted = candidates.shares(replace(rule, least=0), boxes(1000, seed=1))
    assert accepted["of_pets"] > 0.8 > 0.2 > accepted["of_others"]


def test_heavier_boxes_count_more_and_other_animals_not_at_all() -> None:
    seen = boxes(500, seed=0)
    wrong = [Seen(3, 3, False, False, False, weight=4)] * 100
    assert candidates.fit(seen + wrong).intercept < candidates.fit(seen).intercept
    animals = [replace(each, animal=True) for each in wrong]
    assert candidates.fit(seen + animals) == candidates.fit(seen)


def test_each_pet_has_at_most_one_box() -> None:
    truth = np.array([(0, 0, 100, 100), (80, 0, 180, 100)], np.float32)
    found = [(0, 0, 95, 100), (0, 0, 60, 100), (90, 0, 180, 90), (300, 300, 340, 340)]
    assert candidates.matched(found, truth) == {0, 2}
    assert candidates.matched([(0, 0, 30, 100)], truth) == set()


def test_stray_parts_do_not_enlarge_the_box_of_a_pet() -> None:
    numbers = np.zeros((100, 120), np.uint8)
    numbers[20:60, 30:80] = 1
    numbers[95:98, 2:6] = 1
    numbers[70:90, 90:110] = 2
    np.testing.assert_array_equal(
        candidates.true_boxes(numbers), [(30, 20, 80, 60), (90, 70, 110, 90)]
    )


def test_no_scene_is_made_of_a_photo_that_shows_more_pets_than_its_trimap(
    tiny_pets: Path,
) -> None:
    examples = pets.split(tiny_pets, "trainval")
    drawn_from = Scenes(examples, [])
    every = list(evaluate_pets.scenes(drawn_from, 2, 6))
    unclear = every[2].sources
    assert len(unclear) in (2, 3)  # two pets, and perhaps another's background
    clear = list(evaluate_pets.scenes(drawn_from, 2, 4, unclear=unclear))
    assert all(not scene.sources & unclear for scene in clear)
    # The other scenes stay the same.
    kept = [scene for scene in every if not scene.sources & unclear]
    for scene, same in zip(kept, clear, strict=False):
        np.testing.assert_array_equal(scene.photo, same.photo)


def test_photos_with_several_pets_were_counted() -> None:
    names = evaluate_pets.with_several("trainval")
    assert "Bengal_105" in names
    assert "Bengal_148" not in names


def test_a_card_with_an_incomplete_rule_is_refused(tmp_path: Path) -> None:
    facts = json.loads((store.EMBEDDED / "finder.json").read_text())
    assert store.read_card("finder", store.EMBEDDED).candidates is not None
    del facts["candidates"]["rule"]["alone"]
    (tmp_path / "finder.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match="alone"):
        store.read_card("finder", tmp_path)
