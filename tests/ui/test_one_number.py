"""The page, its endpoints, the albums and the command line say the same percentage of a pet."""

import html
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batch import rows
from models import __main__ as command_line
from models import album, previews
from models.images import open_photo
from serving import decoding
from ui import album as album_tab
from ui import breed, examples, pets, programs, theme
from ui.texts import percent
from ui.uploads import Upload

TWELVE_MEGAPIXELS = (4000, 3000)


@pytest.fixture(scope="module", params=["cat_chelsea.png", "cat_and_dog.jpg", "camera"])
def photo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param != "camera":
        return examples.FOLDER / request.param
    path = tmp_path_factory.mktemp("camera") / "kitten.jpg"
    with Image.open(examples.FOLDER / "kitten_with_wool.jpg") as kitten:
        kitten.resize(TWELVE_MEGAPIXELS).save(path, quality=92)
    return path


def test_each_says_the_same(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = Upload(str(photo))
    found = upload.pets.pets
    assert found
    page = [(pet.breeds[0].name, pet.breeds[0].probability) for pet in found]

    asked = programs.analyze(Upload(str(photo)), 3)["pets"]
    command_line.main([str(photo)])
    printed = json.loads(capsys.readouterr().out)["pets"]
    entry = album.examine(
        photo, photo.name, tmp_path, theme.SUBJECTS[:3], theme.SUBJECTS, pets.label, 200,
        decoding.open_picture,
    )  # fmt: skip
    assert entry.facts
    row = rows.columns(photo.read_bytes(), 3)["pets"]

    for pets_of in (asked, printed, entry.facts["pets"], row):
        best = [(pet["breeds"][0]["name"], pet["breeds"][0]["probability"]) for pet in pets_of]
        assert best == [(name, pytest.approx(share, abs=1e-6)) for name, share in page]
    cards = pets.show_pets(upload)[2]
    _, listed = breed.show_breeds(upload)
    for pet, (_, share) in zip(found, page, strict=True):
        assert html.escape(percent(share)) in cards
        said = pet.otherwise if pet.refused else pet.breeds[0]
        assert said is not None
        assert percent(said.probability, 0) in album_tab.summary(entry)
    if len(page) == 1:
        assert html.escape(percent(page[0][1])) in listed
        assert programs.breed(Upload(str(photo)))[0]["probability"] == pytest.approx(page[0][1])


def test_answers_are_at_the_size_of_the_photo(tmp_path: Path) -> None:
    with Image.open(examples.FOLDER / "cat_chelsea.png") as cat:
        size = (cat.width * 7, cat.height * 7)
        cat.convert("RGB").resize(size).save(tmp_path / "large.png")
    large = Upload(str(tmp_path / "large.png"))

    (asked,) = programs.analyze(large, 2)["pets"]
    (pet,) = large.pets.pets

    ratio = size[0] / previews.SIDE
    np.testing.assert_allclose(asked["box"], np.array(pet.box) * ratio, atol=ratio)
    assert asked["share"] == pytest.approx(pet.share, rel=0.01)
    file, _ = programs.mask(large, "pet")
    assert Image.open(file).size == size


def test_the_preview_of_a_photo_that_is_known_is_that_of_its_file(tmp_path: Path) -> None:
    """However it is read, and from bytes, too."""
    noise = np.random.default_rng(0).integers(0, 256, (450, 600, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).resize((3000, 2250)).save(content, "JPEG")
    (tmp_path / "noise.jpg").write_bytes(content.getvalue())
    upload = Upload(str(tmp_path / "noise.jpg"))

    whole = open_photo(upload.path)
    of_path = previews.of_file(upload.path, whole, decoding.open_picture)
    of_bytes = previews.of_file(content.getvalue(), Image.fromarray(whole))

    np.testing.assert_array_equal(of_path, upload.preview)
    np.testing.assert_array_equal(of_bytes, upload.preview)
