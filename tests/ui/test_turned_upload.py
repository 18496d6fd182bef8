"""A photo that lies on its side, on the page: it says so, and turns it for all tabs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models import store
from ui import pets, photo_input, programs
from ui.memory import Memory
from ui.uploads import Upload

KITTEN = Path(__file__).parent.parent.parent / "examples" / "kitten_with_wool.jpg"


@pytest.fixture(scope="module")
def lying(tmp_path_factory: pytest.TempPathFactory) -> Upload:
    """The kitten, its head to the right."""
    folder = tmp_path_factory.mktemp("0123abcd")
    Image.open(KITTEN).transpose(Image.Transpose.ROTATE_270).save(folder / "kitten.png")
    return Upload(str(folder / "kitten.png"), Memory(50_000_000))


def test_the_pets_tab_says_it_and_offers_to_turn_it(lying: Upload) -> None:
    message, _, _, _, button = pets.show_pets(lying)
    assert "lie on its side" in message
    assert getattr(button, "visible", False)
    assert getattr(button, "value", "") == "Turn the photo upright"

    upright = photo_input._turned(lying)
    assert upright.turn == lying.pets.turn == 270
    message, _, _, _, button = pets.show_pets(upright)
    assert "side" not in message
    assert getattr(button, "value", "") == "Turn the photo back"
    assert photo_input._turned(upright) == lying
    assert not getattr(pets.show_pets(Upload(str(KITTEN)))[4], "visible", True)


def test_all_results_are_of_the_turned_photo(lying: Upload) -> None:
    plain = Upload(str(KITTEN), lying.memory)
    upright = replace(lying, turn=270)
    np.testing.assert_array_equal(upright.whole, plain.whole)
    np.testing.assert_array_equal(upright.preview, plain.preview)
    assert (upright.size, upright.picture.size) == (plain.size, plain.size)
    np.testing.assert_array_equal(upright.gray("red"), plain.gray("red"))
    model = store.default("segmentation")
    np.testing.assert_array_equal(upright.whole_mask(model), plain.whole_mask(model))
    assert [pet.box for pet in upright.pets.pets] == [pet.box for pet in plain.pets.pets]
    assert upright.key != lying.key


def test_the_input_shows_the_turned_photo_and_knows_its_echo(lying: Upload) -> None:
    upright = replace(lying, turn=270)
    shown: Any = photo_input._shown(upright)
    np.testing.assert_array_equal(np.asarray(Image.open(shown)), upright.preview)
    assert photo_input._is_shown(Upload(shown), upright)
    assert not photo_input._is_shown(Upload(shown), lying)


def test_programs_learn_the_turn_and_get_boxes_in_the_photo_as_it_is(lying: Upload) -> None:
    answer = programs.analyze(lying, 3)
    plain = programs.analyze(Upload(str(KITTEN)), 3)
    assert (answer["turn"], plain["turn"]) == (270, 0)
    (pet,), (expected,) = answer["pets"], plain["pets"]
    left, top, right, bottom = expected["box"]
    width = plain["width"], plain["height"]
    assert width == (answer["height"], answer["width"])
    turned = plain["height"] - bottom, left, plain["height"] - top, right
    assert pet["box"] == pytest.approx(turned, abs=10)
    assert pet["breeds"][0]["name"] == expected["breeds"][0]["name"]
