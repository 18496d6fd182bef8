"""What a browser may send of “This is wrong”, and what is kept of it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models import pet_folders, store
from models.correcting import Stroke
from serving import feedback as keeping
from ui import examples, feedback, pets
from ui.memory import Memory
from ui.uploads import Upload

MODEL = "pet-fine"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path) -> Iterator[Path]:
    """The owner's folder, which the page knows."""
    keeping.start(str(tmp_path / "kept"))
    yield tmp_path / "kept"
    keeping.start(None)


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory(100_000_000)


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory, memory: Memory) -> Upload:
    """A photo with everything in it that says whose it is."""
    path = tmp_path_factory.mktemp("abc") / "my-house.jpg"
    picture = Image.open(examples.FOLDER / "cat_chelsea.png").convert("RGB")
    exif = Image.Exif()
    exif[0x010E] = "Muster Street 5"
    exif[0x0112] = 1
    picture.save(path, exif=exif, comment=b"Muster Street 6", quality=90)
    return Upload(str(path), memory)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, memory: Memory) -> Upload:
    path = tmp_path_factory.mktemp("two") / "two.jpg"
    path.write_bytes((examples.FOLDER / "cat_and_dog.jpg").read_bytes())
    return Upload(str(path), memory)


def sent(form: str, **more: object) -> dict[str, Any]:
    """What the script sends of an open form."""
    data = dict(re.findall(r'data-(photo|shown|pet)="([^"]*)"', form))
    pet = {"pet": int(data["pet"])} if "pet" in data else {}
    return {"step": "send", "breed": "", "agreed": True, **data, **pet} | more


def lines(folder: Path) -> list[str]:
    """The list without its comments."""
    listed = folder / "annotations" / "list.txt"
    read = listed.read_text().splitlines() if listed.exists() else []
    return [line for line in read if line[0] != "#"]


def test_nothing_stands_there_unless_the_owner_asks(cat: Upload) -> None:
    keeping.start(None)
    assert "feedback" not in pets.show_pets(cat)[2]
    assert feedback.opener() == ""


def test_a_form_says_what_is_kept_and_where_and_keeps_nothing(cat: Upload, kept: Path) -> None:
    assert 'data-pet="1"' in pets.show_pets(cat)[2]
    assert "feedback-open" in feedback.show(cat, None, MODEL)

    form = feedback.answer(cat, {"step": "open"}, MODEL)

    assert "If you agree, this picture, its outline" in form
    assert "a folder of whoever runs this page" in form
    assert str(kept) not in form
    assert form.count("<option") == 38
    assert lines(kept) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"agreed": "yes"},
        {"agreed": None},
        {"shown": "0" * 32},
        {"photo": "another"},
        {"step": "close"},
        {"step": ["send"]},
        {"photo": None},
    ],
    ids=str,
)
def test_without_agreement_to_this_photo_nothing_is_kept(
    cat: Upload, kept: Path, changes: dict[str, object]
) -> None:
    form = feedback.answer(cat, {"step": "open"}, MODEL)
    answer = feedback.answer(cat, sent(form, **changes), MODEL)

    assert "feedback-kept" not in answer
    assert lines(kept) == []
    assert not list((kept / "images").iterdir())


@pytest.mark.parametrize("said", [None, 5, [], "send", {"step": "open", "pet": "1"}, {"pet": {}}])
def test_what_no_script_of_ours_sends_changes_nothing(
    cat: Upload, kept: Path, said: object
) -> None:
    for model in (MODEL, None):
        feedback.answer(cat, said, model)
        feedback.show(cat, said, model)
    assert feedback.answer(None, said, MODEL) == ""
    assert lines(kept) == []


def test_what_is_kept_is_what_was_shown_without_what_the_file_says(cat: Upload, kept: Path) -> None:
    form = feedback.answer(cat, {"step": "open"}, MODEL)
    answer = feedback.answer(cat, sent(form, breed="Bengal"), MODEL)

    (line,) = lines(kept)
    name = line.split()[0]
    assert line == f"{name} 6 1 2"
    assert f"<code>{name}</code>" in answer
    content = (kept / "images" / f"{name}.jpg").read_bytes()
    assert b"Muster" not in content
    assert b"Exif" not in content
    photo = Image.open(kept / "images" / f"{name}.jpg")
    assert photo.size == cat.preview.shape[1::-1]
    assert np.abs(np.asarray(photo) - cat.preview.astype(float)).mean() < 3
    trimap = np.asarray(Image.open(kept / "annotations" / "trimaps" / f"{name}.png"))
    inside = cat.mask(MODEL).segmentation.foreground() > 0.5
    np.testing.assert_array_equal(trimap == 1, inside & (trimap != 3))
    assert "my-house" not in "".join(map(str, kept.rglob("*")))


def test_a_correction_closes_no_form_and_is_what_is_kept(cat: Upload, kept: Path) -> None:
    form = feedback.answer(cat, {"step": "open"}, MODEL)
    corrected = replace(cat, strokes=(Stroke(True, ((0.1, 0.05),), 0.03),))

    again = feedback.show(corrected, sent(form, step="open", breed="Bengal"), MODEL)
    assert "feedback-form" in again
    assert '<option value="Bengal" selected>' in again
    late = feedback.answer(corrected, sent(form), MODEL)  # of the mask before
    assert "has changed since" in late
    assert lines(kept) == []
    feedback.answer(corrected, sent(again), MODEL)

    (line,) = lines(kept)
    trimap = np.asarray(Image.open(kept / "annotations" / "trimaps" / f"{line.split()[0]}.png"))
    assert trimap[round(0.05 * trimap.shape[0]), round(0.1 * trimap.shape[1])] != 2


def test_of_several_pets_one_is_kept_with_its_surroundings(two: Upload, kept: Path) -> None:
    whole = feedback.answer(two, {"step": "open"}, MODEL)
    assert "<select" not in whole
    assert "several pets" in whole
    feedback.answer(two, sent(whole, breed="Bengal"), MODEL)
    form = feedback.answer(two, {"step": "open", "pet": 2}, None)
    feedback.answer(two, sent(form, breed="No such breed"), None)

    for line, name in zip(lines(kept), (each.split()[0] for each in lines(kept)), strict=True):
        assert re.fullmatch(rf"{name} 0 [12] 0", line)
    left, upper, right, lower = two.pets.pets[1].crop
    photo = Image.open(kept / "images" / f"{lines(kept)[1].split()[0]}.jpg")
    assert photo.size == (right - left, lower - upper)
    assert photo.width < two.preview.shape[1]
    assert feedback.answer(two, {"step": "open", "pet": 3}, None) == ""


def test_a_refused_pet_s_species_is_what_it_looks_like(two: Upload, kept: Path) -> None:
    dog = next(place for place, pet in enumerate(two.pets.pets, 1) if pet.refused)
    form = feedback.answer(two, {"step": "open", "pet": dog}, None)
    feedback.answer(two, sent(form), None)

    assert pet_folders.entries(kept)[0].species == 2


def test_masks_of_other_things_are_not_asked_for(cat: Upload) -> None:
    assert store.read_card("nuclei").instances
    assert feedback.show(cat, None, "nuclei") == ""
    assert feedback.answer(cat, {"step": "open"}, "nuclei") == ""


def test_a_refusal_is_one_sentence_in_the_form(cat: Upload, kept: Path) -> None:
    form = feedback.answer(cat, {"step": "open"}, MODEL)
    for _ in range(keeping.PER_HOUR):
        assert "feedback-kept" in feedback.answer(cat, sent(form), MODEL)

    refused = feedback.answer(cat, sent(form), MODEL)

    assert "as many photos as one visitor may send in an hour" in refused
    assert "feedback-form" in refused
    assert len(lines(kept)) == keeping.PER_HOUR
