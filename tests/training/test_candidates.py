"""The rule that decides which boxes are pets, on boxes whose meaning is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from models import store
from models.cards import ModelError
from training import candidates, evaluate_pets, pets
from training.candidates import Seen
from training.composites import Scenes

SIGNS, CLASSES = 5, 4


def pictures(number: int, seed: int, count: int = 2, weight: float = 1.0) -> list[Seen]:
    """Pictures with three boxes: pets have a sign and a logit above 0, others below."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        true = random.permutation([each < count for each in range(3)])
        side = np.where(true, 1, -1)
        signs = random.normal(0, 1, (3, SIGNS))
        signs[:, 1] += 2 * side
        signs[:, [0, -1]] = 0  # the box's log-odds, and what the logits will say
        logits = random.normal(0, 1, (3, CLASSES)).astype(np.float32)
        logits[:, 1] += 2 * side
        made.append(Seen(signs, logits, true, count, weight))
    return made


def test_the_rule_finds_the_right_number_in_pictures_that_it_was_not_fitted_to() -> None:
    parts = [pictures(60, seed, count=1) + pictures(60, seed + 9, count=2) for seed in range(3)]
    found = candidates.measure(parts)
    assert set(found) == {"scenes_of_1", "scenes_of_2"}
    assert all(float(share) > 0.9 for share in found.values())


def test_the_rule_gives_what_its_networks_say() -> None:
    from torch import nn, tensor

    rule = candidates.fit(candidates.rows_of([pictures(30, seed) for seed in range(3)]))
    signs = np.random.default_rng(0).normal(0, 2, (6, SIGNS))
    hidden = nn.functional.silu(
        tensor(signs) @ tensor(rule.hidden).double().T + tensor(rule.offsets)
    )
    expected = hidden @ tensor(rule.output).double() + rule.intercept
    np.testing.assert_allclose(rule.log_odds(signs), expected.numpy(), atol=1e-5)


def test_the_sum_of_logits_is_a_linear_regression() -> None:
    random = np.random.default_rng(0)
    values = random.normal(3, 2, (500, 3)).astype(np.float32)
    true = values[:, 0] > 3
    weights, intercept = candidates.linear(values, true, np.ones(500))
    # With a penalty, the closed form on standardized values; a constant is free.
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    standard = (values - mean) / deviation
    expected = np.linalg.solve(
        standard.T @ standard + candidates.PENALTY * np.eye(3), standard.T @ (true - true.mean())
    )
    np.testing.assert_allclose(weights * deviation, expected, rtol=1e-3, atol=1e-6)
    assert values @ weights + intercept == pytest.approx(
        standard @ expected + true.mean(), abs=1e-4
    )


def test_heavier_boxes_count_more() -> None:
    seen = pictures(60, seed=0)
    wrong = [Seen(each.signs, each.logits, ~each.true, 1, weight=30) for each in pictures(20, 1)]
    rule = candidates.fit(candidates.rows_of([seen, seen]))
    other = candidates.fit(candidates.rows_of([[*seen, *wrong], [*seen, *wrong]]))
    rows = candidates.rows_of([seen])
    true = rows.true
    assert rule.log_odds(rows.signs)[true].mean() > 0 > other.log_odds(rows.signs)[true].mean()


def test_what_was_seen_is_kept(tmp_path: Path) -> None:
    nothing = Seen(np.zeros((0, 0)), np.zeros((0, 0), np.float32), np.zeros(0, bool), 1, 0.5)
    seen = [nothing, *pictures(3, seed=0), nothing]
    candidates.keep(tmp_path / "seen.npz", seen)
    again = candidates.kept(tmp_path / "seen.npz")
    assert [(each.count, each.weight) for each in again] == [(e.count, e.weight) for e in seen]
    for one, other in zip(again, seen, strict=True):
        np.testing.assert_array_equal(one.true, other.true)
        assert len(one.signs) == len(one.logits) == len(other.signs)
    np.testing.assert_array_equal(again[1].signs, seen[1].signs)


def test_parts_share_no_picture_and_leave_the_held_out_ones(tiny_pets: Path) -> None:
    examples = pets.split(tiny_pets, "trainval")
    held_out = {examples[0].name}
    parts = candidates.parts_of(examples, held_out, [])
    drawn = [{each.name for each in scenes.examples} for scenes, _ in parts]
    assert not any(one & two for n, one in enumerate(drawn) for two in drawn[:n])
    assert set().union(*drawn) == {each.name for each in pets.with_masks(examples)} - held_out
    assert sum(len(photos) for _, photos in parts) == len(examples)


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


def test_pets_of_a_scene_can_be_of_one_breed(tiny_pets: Path) -> None:
    drawn_from = Scenes(pets.split(tiny_pets, "trainval"), [])
    random = np.random.default_rng(0)
    alike = [drawn_from.draw(2, random, alike=True) for _ in range(6)]
    assert all(len(set(scene.breeds)) == 1 for scene in alike)
    assert len({breed for scene in alike for breed in scene.breeds}) > 1


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


def test_photos_with_several_pets_were_counted_and_have_as_many_boxes() -> None:
    names = evaluate_pets.with_several("trainval")
    assert "Bengal_105" in names
    assert "Bengal_148" not in names
    boxes = candidates.boxes_of_several()
    counts = evaluate_pets.counted("trainval")
    assert {name: len(boxes[name]) for name in names} == {name: counts[name] for name in names}


def test_a_card_with_an_incomplete_rule_is_refused(tmp_path: Path) -> None:
    facts = json.loads((store.EMBEDDED / "finder.json").read_text())
    assert store.read_card("finder", store.EMBEDDED).candidates is not None
    del facts["candidates"]["rule"]["alone"]
    (tmp_path / "finder.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match="alone"):
        store.read_card("finder", tmp_path)
