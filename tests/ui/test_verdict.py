"""Every tab says the same of a photo: whether there is a pet, and how probable its breed is."""

import html
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import album as models_album
from models import store
from models.album import Entry
from ui import album, breed, cutout, mask, pets, programs, theme
from ui.uploads import Upload

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
ELSEWHERE = {"threshold", "mask"}


def percentages(text: str) -> list[str]:
    return re.findall(r"[<>]?[\d.]+%", html.unescape(re.sub("<[^>]*>", " ", text)))


@pytest.mark.parametrize("name", ["coffee_cup.jpg", "coins.png"])
def test_no_pet_is_no_pet_in_every_tab_and_each_leads_to_others(name: str) -> None:
    upload = Upload(str(EXAMPLES / name))

    model = store.default("segmentation")
    answers = [
        pets.show_pets(upload),
        cutout.show_cut_out(upload, "transparent", "#ffffff", None),
        *mask.show_overlay(upload, model, 0.5, True),
        breed.show_breeds(upload),
    ]
    verdict = breed.nothing(upload)
    assert verdict.startswith("No ")
    for message, shown, *_ in answers:
        assert html.escape(verdict) in str(message)
        assert set(re.findall(r'data-opens="(\w+)"', str(message))) == ELSEWHERE
        assert not shown  # no ghost of a cut-out, no outline, no breed
    entry = Entry(name, {"pets": []})
    assert album.summary(entry) == "no pet found"


def test_the_breed_of_one_pet_has_one_percentage() -> None:
    upload = Upload(str(EXAMPLES / "kitten_with_wool.jpg"))

    cards = pets.show_pets(upload)[2]
    message, answer = breed.show_breeds(upload)

    listed = re.findall(r'<ol class="bars">.*?</ol>', cards)
    assert [percentages(each) for each in listed] == [percentages(answer)]
    assert "whole" not in message


def test_of_several_pets_the_breed_tab_says_that_it_looks_at_the_whole() -> None:
    message, _ = breed.show_breeds(Upload(str(EXAMPLES / "cat_and_dog.jpg")))

    assert "For the picture as a whole" in message


def test_nuclei_are_never_counted_without_a_word() -> None:
    upload = Upload(str(EXAMPLES / "coffee_cup.jpg"))

    [(message, _, legend, *_)] = mask.show_overlay(upload, "nuclei", 0.5, True)

    assert "Made for microscope pictures" in message
    assert "Objects found" in str(legend)


def test_programs_and_albums_get_no_ghost_of_a_pet_either(tmp_path: Path) -> None:
    cup = EXAMPLES / "coffee_cup.jpg"
    entry = models_album.examine(
        cup, cup.name, tmp_path, theme.SUBJECTS[:3], theme.SUBJECTS, pets.label, 200
    )

    assert entry.facts
    assert entry.facts["pets"] == []
    for file in (
        programs.cut_out(Upload(str(cup))),
        str(tmp_path / "cut-outs" / "coffee_cup-cut-out.png"),
    ):
        assert not np.asarray(Image.open(file).convert("RGBA"))[:, :, 3].any()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("kitten_with_wool.jpg", "One pet found and named"),
        ("german_shepherd.jpg", "One pet found; its breed is uncertain"),
        ("red_panda.jpg", "Something found, but no cat or dog"),
    ],
)
def test_what_was_found_is_said_as_it_is(name: str, sentence: str) -> None:
    assert sentence in pets.show_pets(Upload(str(EXAMPLES / name)))[0]
