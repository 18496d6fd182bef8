"""Scenes of several pets, whose masks are their visible parts."""

from pathlib import Path

import numpy as np
import pytest

from training import composites, pets
from training.composites import BACKGROUND, BORDER, PET, CutOut, Scenes


@pytest.fixture(scope="module")
def examples(tiny_pets: Path) -> list[pets.Example]:
    return pets.split(tiny_pets, "trainval")


def square(side: int, colour: tuple[int, int, int]) -> CutOut:
    classes = np.full((side, side), PET, np.uint8)
    classes[[0, -1]] = classes[:, [0, -1]] = BORDER
    return CutOut(np.full((side, side, 3), colour, np.uint8), classes)


def test_a_cut_out_is_the_pet_s_box_and_knows_where_its_picture_ended() -> None:
    classes = np.full((20, 30), BACKGROUND, np.uint8)
    classes[5:20, 10:15] = PET
    cut = composites.cut_out(np.zeros((20, 30, 3), np.uint8), classes, breed=3)
    assert cut is not None
    assert cut.classes.shape == (15, 5)
    assert cut.ends == (False, False, False, True)
    assert cut.breed == 3
    assert composites.cut_out(np.zeros((4, 4, 3), np.uint8), np.full((4, 4), BACKGROUND)) is None


def test_masks_are_the_visible_parts_and_add_up_to_the_whole() -> None:
    background = np.full((200, 200, 3), 90, np.uint8)
    cuts = [square(40, (200, 0, 0)), square(40, (0, 200, 0)), square(40, (0, 0, 200))]
    several = 0
    for seed in range(10):
        scene = composites.compose(background, cuts, np.random.default_rng(seed))
        pet_pixels = [classes == PET for classes in scene.pets]
        assert np.sum(pet_pixels, axis=0).max() == 1  # no pixel belongs to two pets
        several += len(scene.pets) > 1
        seen = np.logical_or.reduce([classes != BACKGROUND for classes in scene.pets])
        np.testing.assert_array_equal(seen, scene.classes != BACKGROUND)
        untouched = scene.classes == BACKGROUND
        changed = np.abs(scene.photo.astype(int) - 90).max(axis=2) > 40
        assert (changed & untouched).mean() < 0.01  # except at soft edges
        assert len(scene.breeds) == len(scene.pets)
        for classes in scene.pets:
            share = np.mean(classes != BACKGROUND)
            assert share <= composites.SHARES[1] + 0.01
    assert several >= 8


def test_a_pixel_is_of_the_pet_that_it_mostly_shows() -> None:
    background = np.full((200, 200, 3), 90, np.uint8)
    for seed in range(5):
        scene = composites.compose(
            background, [square(40, (90, 250, 90))], np.random.default_rng(seed)
        )
        green = scene.photo[..., 1].astype(float) - 90
        np.testing.assert_array_equal(scene.numbers == 1, green > green.max() / 2)
        assert np.count_nonzero(scene.numbers) < np.count_nonzero(scene.classes != BACKGROUND)


def test_each_pet_of_a_scene_has_its_number() -> None:
    background = np.full((200, 200, 3), 90, np.uint8)
    scene = composites.compose(background, [square(40, (9, 9, 9))] * 3, np.random.default_rng(0))
    assert len(scene.pets) == scene.numbers.max() > 1
    for number, classes in enumerate(scene.pets, start=1):
        assert (scene.numbers[classes == PET] == number).mean() > 0.9


def test_at_least_half_of_each_pet_is_seen() -> None:
    background = np.zeros((120, 120, 3), np.uint8)
    cuts = [square(60, (255, 0, 0))] * 4
    for seed in range(8):
        random = np.random.default_rng(seed)
        scene = composites.compose(background, cuts, random)
        for classes in scene.pets:
            box = composites.box_of(classes)
            assert box is not None
            assert np.count_nonzero(classes == PET) > 0.1 * (box[2] - box[0]) * (box[3] - box[1])


def test_a_background_shows_no_pet(examples: list[pets.Example]) -> None:
    from models.images import open_photo

    for example in examples[::9]:
        photo, classes = open_photo(example.photo), composites.read_classes(example)
        bright = photo[classes == PET].max(axis=1).mean()
        empty = composites.without_pet(photo, classes, np.random.default_rng(0))
        assert empty.shape == photo.shape
        assert empty[classes == PET].max(axis=1).mean() < bright / 2


def test_scenes_are_the_same_for_the_same_seed(examples: list[pets.Example]) -> None:
    scenes = Scenes(examples, [])
    one, other = (scenes.draw(3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.photo, other.photo)
    np.testing.assert_array_equal(one.classes, other.classes)
    assert one.breeds == other.breeds
