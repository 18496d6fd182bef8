"""Corrected photos that join the training: which are used, and what is wrong with a folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import pet_folders
from training import corrections, data_sets, pets
from training.archives import DataError
from training.errors import UserError
from training.publishing.readme import _fact

SIAMESE, BEAGLE = 1, 2  # class ids in `tiny_pets`


def write(folder: Path, lines: Sequence[str], *, trimap: np.ndarray | None = None) -> Path:
    """A folder of corrected photos in the data set's layout, with these lines in its list."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    (folder / "annotations" / "list.txt").write_text("\n".join(lines) + "\n")
    if trimap is None:
        trimap = np.full((6, 8), 2, np.uint8)
        trimap[1:4, 2:5] = 1
    for line in lines:
        if line and not line.startswith("#"):
            name = line.split()[0].replace("/", "-")
            Image.new("RGB", (8, 6), "grey").save(folder / "images" / f"{name}.jpg")
            Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
    return folder


def parts(
    root: Path, more: Path, *, masks: bool, skip_damaged: bool = False, dry_run: bool = False
) -> tuple[list[pets.Example], list[pets.Example], data_sets.DataSet]:
    data = data_sets.open_pets(root, more=more)
    train, held_out = data.training_parts(masks=masks, skip_damaged=skip_damaged, dry_run=dry_run)
    return list(train), list(held_out), data


def names(examples: Sequence[pets.Example]) -> list[str]:
    return [example.name for example in examples]


def test_corrected_photos_join_the_training_part_alone(tiny_pets: Path, tmp_path: Path) -> None:
    folder = write(
        tmp_path / "more",
        ["#Image CLASS-ID SPECIES BREED ID", f"a1 {SIAMESE} 1 9", "", "b2 0 2 0"],
    )
    plain = data_sets.open_pets(tiny_pets)
    train, held_out, data = parts(tiny_pets, folder, masks=True)
    assert names(train) == [*names(plain.split("train", 0)), "a1", "b2"]
    assert names(held_out) == names(plain.split("validation", 0))
    for split in pets.SPLITS:
        assert names(data.split(split, 0)) == names(plain.split(split, 0))
    assert train[-2].photo == folder / "images" / "a1.jpg"
    assert train[-2].read_classes().tolist()[1] == [1, 1, 0, 0, 0, 1, 1, 1]
    assert train[-2].label == SIAMESE - 1
    assert data.more_facts(train) == {"pictures": 2, "instead_of": []}
    assert plain.more_facts(plain.split("train", 0)) is None


def test_what_visitors_agreed_to_have_kept_is_read(tmp_path: Path) -> None:
    breeds = [
        pets.Breed(label.name, str(label.species)) for label in pet_folders.breeds()
    ]  # the data set's own, in its order
    inside = np.zeros((6, 8), np.bool_)
    inside[2:5, 3:6] = True
    photo = np.full((6, 8, 3), 120, np.uint8)
    kept = [pet_folders.new_entry("Beagle", "dog"), pet_folders.new_entry(None, "cat")]
    for entry in kept:
        pet_folders.add(tmp_path, entry, photo, pet_folders.trimap(inside))
    beagle, other = corrections.read(tmp_path, breeds)
    assert (beagle.name, other.name) == (kept[0].name, kept[1].name)
    assert breeds[beagle.label] == pets.Breed("Beagle", "dog")
    assert other.label == pets.ANOTHER_BREED
    np.testing.assert_array_equal(beagle.read_classes() + 1, pet_folders.trimap(inside))


def test_a_pet_of_another_breed_teaches_masks_alone(tiny_pets: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "more", [f"a {BEAGLE} 2 1", "b 0 1 0"])
    train, _, data = parts(tiny_pets, folder, masks=False)
    assert names(train)[-1] == "a"
    assert all(0 <= example.label < 6 for example in train)
    assert data.more_facts(train) == {"pictures": 1, "instead_of": []}
    others = write(tmp_path / "others", ["b 0 1 0"])
    with pytest.raises(UserError, match="only photos of other breeds"):
        parts(tiny_pets, others, masks=False)


def test_a_corrected_picture_of_the_data_set_replaces_it(tiny_pets: Path, tmp_path: Path) -> None:
    plain = data_sets.open_pets(tiny_pets)
    learned, held = names(plain.split("train", 0))[0], names(plain.split("validation", 0))[0]
    lines = {example.name: example.label for example in plain.split("trainval", 0)}
    species = {"cat": 1, "dog": 2}
    folder = write(
        tmp_path / "more",
        [
            f"{name} {lines[name] + 1} {species[plain.labels[lines[name]]['species']]} 1"
            for name in (learned, held)
        ],
    )
    train, held_out, data = parts(tiny_pets, folder, masks=True)
    assert names(train)[-2:] == [learned, held]
    assert names(train).count(learned) == 1
    assert train[-2].photo.is_relative_to(folder)
    assert held not in names(held_out)
    assert len(held_out) == len(plain.split("validation", 0)) - 1
    facts = data.more_facts(train)
    assert facts == {"pictures": 2, "instead_of": sorted([learned, held])}
    # What measures the run later leaves it out of the held-out part, too.
    later = data_sets.held_out_by(plain, {"task": "segmentation", "more": facts}, "validation")
    assert names(later) == names(held_out)
    before = data_sets.held_out_by(plain, {"task": "segmentation", "more": None}, "validation")
    assert held in names(before)


def test_a_faulty_trimap_of_the_data_set_can_be_corrected(
    tiny_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = data_sets.open_pets(tiny_pets).split("train", 0)[0].name
    monkeypatch.setattr(pets, "FAULTY_TRIMAPS", frozenset({faulty}))
    train, _, _ = parts(tiny_pets, write(tmp_path / "more", [f"{faulty} 0 1 0"]), masks=True)
    assert names(train).count(faulty) == 1


def test_a_dry_run_tries_some_of_them(tiny_pets: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "more", [f"p{number} 0 1 0" for number in range(9)])
    train, _, data = parts(tiny_pets, folder, masks=True, dry_run=True)
    assert len(train) == 20
    facts = data.more_facts(train)
    assert facts is not None
    assert facts["pictures"] == 4


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("a 1 1", "Line 1 of .*list.txt cannot be used: 'a 1 1' is not ID CLASS-ID SPECIES"),
        ("a one 1 1", "is not ID CLASS-ID SPECIES BREED-ID"),
        ("a -1 1 1", "is not ID CLASS-ID SPECIES BREED-ID"),
        ("../a 1 1 1", "'../a' is not the name of a photo"),
        (".a 1 1 1", "'.a' is not the name of a photo"),
        ("a 1 3 1", "the species is 1, cat, or 2, dog, and not 3"),
        ("a 7 1 1", "there are 6 breeds, and no class 7"),
        (f"a {SIAMESE} 2 1", "class 1, Siamese, is not a dog"),
        ("# nothing", "lists no photo"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(
    line: str, sentence: str, tiny_pets: Path, tmp_path: Path
) -> None:
    folder = write(tmp_path / "more", [line])
    with pytest.raises(DataError, match=sentence) as caught:
        data_sets.open_pets(tiny_pets, more=folder)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_that_cannot_be_used_is_named(tiny_pets: Path, tmp_path: Path) -> None:
    breeds = pets.breeds(tiny_pets)
    with pytest.raises(DataError, match="nothing is not a folder"):
        corrections.read(tmp_path / "nothing", breeds)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty has no annotations/list\.txt"):
        corrections.read(tmp_path / "empty", breeds)
    twice = write(tmp_path / "twice", ["a 0 1 0", "a 0 1 0"])
    with pytest.raises(DataError, match=r"Line 2 .* a is listed twice"):
        corrections.read(twice, breeds)
    (twice / "annotations" / "list.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match="cannot be read as text"):
        corrections.read(twice, breeds)


def test_a_picture_of_the_test_split_is_refused(tiny_pets: Path, tmp_path: Path) -> None:
    tested = data_sets.open_pets(tiny_pets).split("test", 0)[0].name
    folder = write(tmp_path / "more", ["a 0 1 0", f"{tested} 0 1 0"])
    with pytest.raises(DataError, match=f"{tested}, a picture of the test split"):
        data_sets.open_pets(tiny_pets, more=folder)


@pytest.mark.parametrize(
    ("trimap", "reason"),
    [
        (np.zeros((6, 8), np.uint8), "other values than 1, 2 and 3"),
        (np.full((6, 8), 4, np.uint8), "other values than 1, 2 and 3"),
        (np.full((5, 8), 2, np.uint8), "different sizes"),
        (np.full((6, 8, 3), 2, np.uint8), "several channels"),
    ],
)
def test_a_photo_that_cannot_be_used_is_named_or_left_out(
    trimap: np.ndarray,
    reason: str,
    tiny_pets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write(tmp_path / "more", ["a 0 1 0"], trimap=trimap)
    with pytest.raises(DataError, match=rf"a\.jpg \(.*{reason}"):
        parts(tiny_pets, folder, masks=True)
    train, _, data = parts(tiny_pets, folder, masks=True, skip_damaged=True)
    assert f"left out: {folder / 'images' / 'a.jpg'}" in capsys.readouterr().err
    assert data.more_facts(train) == {"pictures": 0, "instead_of": []}


def test_a_missing_file_is_named(tiny_pets: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "more", ["a 0 1 0", "b 0 1 0"])
    (folder / "annotations" / "trimaps" / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 of .* used: .*b\.jpg \(.*b\.png is missing\)"):
        parts(tiny_pets, folder, masks=True)
    shutil.rmtree(folder / "images")
    with pytest.raises(DataError, match=r"2 of .* cannot be used"):
        parts(tiny_pets, folder, masks=True)


def test_they_join_the_official_split_of_the_pets_alone(tiny_pets: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "more", ["a 0 1 0"])
    data = data_sets.open_pets(tiny_pets, more=folder)
    with pytest.raises(UserError, match="leave --split random out"):
        data.training_parts("random", masks=True, skip_damaged=False, dry_run=False)
    with pytest.raises(UserError, match="leave --folder out"):
        data_sets.open_folder_or_pets(tmp_path, tiny_pets, None, folder, masks=True)


def test_a_card_s_page_says_how_many_they_were() -> None:
    assert _fact("more", {"pictures": 20, "instead_of": []}) == "20 corrected photos"
    assert _fact("more", {"pictures": 20, "instead_of": ["a"]}) == (
        "20 corrected photos, 1 of them instead of the data set's own"
    )
