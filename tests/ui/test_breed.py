"""What the page says of something that is none of the breeds, and of breeds that look alike."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from models import store
from models.album import Entry
from models.breeds import Classification, Otherwise
from models.cards import Label, LookAlikes
from models.pipeline import Pet
from models.regions import Region
from ui import album, breed, pets
from ui.texts import TEXTS

SHEPHERD = Otherwise("German shepherd", "dog", 0.6)


@pytest.mark.parametrize(
    ("otherwise", "sentence"),
    [
        (SHEPHERD, "Not one of the 37 breeds. It looks like a German shepherd (60%)"),
        (
            Otherwise("Airedale", "dog", 0.9),
            "Not one of the 37 breeds. It looks like an Airedale (90%)",
        ),
        (Otherwise("cat", "cat", 0.8), "A cat of no known breed (80%)"),
        (Otherwise("ox", "other animal", 0.5), "No cat or dog: it looks like an ox (50%)"),
        (Otherwise("espresso", "thing", 0.7), "No pet: it looks like espresso (70%)"),
        (Otherwise("sunglasses", "thing", 0.7), "No pet: it looks like sunglasses (70%)"),
        (Otherwise("unicycle", "thing", 0.7), "No pet: it looks like a unicycle (70%)"),
        (Otherwise("EntleBucher", "dog", 0.2), "Not sure: probably none of the 37 breeds"),
        (None, "Not sure: probably none of the 37 breeds"),
    ],
)
def test_it_is_said_what_something_else_looks_like(
    otherwise: Otherwise | None, sentence: str
) -> None:
    assert breed.unknown(otherwise, 37) == sentence


def test_only_a_thing_leads_to_the_tabs_for_any_picture() -> None:
    assert "Threshold" in breed.lead_on(Otherwise("espresso", "thing", 0.7))
    assert breed.lead_on(Otherwise("espresso", "thing", 0.1)) == ""
    assert breed.lead_on(SHEPHERD) == ""
    assert breed.lead_on(None) == ""


class Refused(Pet):
    """A pet that looks like a German shepherd."""

    @property
    def otherwise(self) -> Otherwise:
        """What it is."""
        return SHEPHERD


def a_pet(refused: bool) -> Pet:
    labels = (Label("Boxer", "dog"), Label("Pug", "dog"))
    answer = Classification(np.array([0.7, 0.3], np.float32), labels)
    kind = Refused if refused else Pet
    region = Region.of_mask(np.ones((2, 2), np.bool_))
    return kind(region, (0, 0, 2, 2), (), answer, 0.5, refused)


@pytest.fixture
def look_alikes(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(look_alikes=lambda one, other: LookAlikes(40, 31))
    monkeypatch.setattr(store, "default", lambda task: "breeds")
    monkeypatch.setattr(store, "read_card", lambda name: card)


@pytest.mark.usefixtures("look_alikes")
def test_a_pet_s_card_tells_how_often_look_alikes_are_told_apart() -> None:
    shown = pets.card(1, a_pet(refused=False), (0, 0, 0))

    assert "Boxer and Pug look alike" in shown
    assert "in 31 of 40 pictures" in shown
    assert "(78%)" in shown
    shown = pets.card(1, a_pet(refused=True), (0, 0, 0))
    assert "look alike" not in shown
    assert "It looks like a German shepherd (60%)" in shown


def test_a_box_has_the_name_of_what_was_found() -> None:
    assert pets.label(2, a_pet(refused=True)) == "2 German shepherd 60%"


def test_an_album_s_summary_names_what_was_refused() -> None:
    best = {"name": "Pug", "probability": 0.5}
    pet = {"refused": True, "breeds": [best], "otherwise": {"name": "cat", "probability": 0.8}}
    found = [
        pet,
        {**pet, "otherwise": None},
        {**pet, "otherwise": {"name": "cup", "probability": 0.1}},
        {**pet, "refused": False},
    ]
    entry = replace(Entry("a.jpg"), facts={"pets": found})

    assert album.summary(entry) == "cat 80%, not sure, not sure, Pug 50%"
    assert cast("str", TEXTS["de"]["pets.otherwise.cat"]).startswith("Eine Katze unbekannter Rasse")
