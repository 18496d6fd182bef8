"""Albums of synthetic photos, with networks so small that their answers are known."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import album
from models.album import Entry
from models.images import PhotoError
from models.pipeline import Pet

AddModel = Callable[..., Path]

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLORS = [(200, 100, 0), (0, 100, 200), (0, 150, 100)]


@pytest.fixture
def models(add_segmenter: AddModel, add_classifier: AddModel) -> None:
    """To the mask model, green is background and all else pet; what is red is a Pug."""
    add_segmenter(weights=np.array([[0.0, -20, 0], [0, 20, 0], [0, 0, 0]]))
    labels = [{"name": "Pug", "species": "dog"}, {"name": "Sphynx", "species": "cat"}]
    add_classifier(weights=np.array([[5.0, 0, 0], [0, 0, 5]]), labels=labels)


def photo_file(folder: Path, name: str, *boxes: tuple[int, int, tuple[int, int, int]]) -> Path:
    """A green picture with coloured squares at the columns given."""
    photo = np.full((300, 700, 3), GREEN, np.uint8)
    for column, side, color in boxes:
        photo[50 : 50 + side, column : column + side] = color
    Image.fromarray(photo).save(folder / name)
    return folder / name


def label(number: int, pet: Pet) -> str:
    return f"{number} {pet.breeds[0].name}"


def examine(path: Path, name: str, folder: Path) -> Entry:
    return album.examine(path, name, folder, COLORS, COLORS, label, 200)


@pytest.mark.usefixtures("models")
def test_an_album_is_packed_with_its_table_masks_and_cut_outs(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    two = photo_file(tmp_path, "two.png", (60, 200, RED), (450, 150, BLUE))
    none = photo_file(tmp_path, "none.png")
    (bad := tmp_path / "bad.jpg").write_bytes(b"no picture")

    entries = [examine(path, path.name, folder) for path in (two, none, bad)]
    archive = album.pack(entries, folder)

    with zipfile.ZipFile(archive) as packed:
        lines = list(csv.DictReader(io.StringIO(packed.read("pets.csv").decode("utf-8-sig"))))
        assert sorted(packed.namelist()) == [
            "cut-outs/none-cut-out.png",
            "cut-outs/two-cut-out.png",
            "masks/none-mask.png",
            "masks/two-mask.png",
            "pets.csv",
        ]
        mask = np.array(Image.open(packed.open("masks/two-mask.png")))
        cut_out = np.array(Image.open(packed.open("cut-outs/two-cut-out.png")))
    assert [(line["file"], line["pet"], line["breed"]) for line in lines] == [
        ("two.png", "1", "Pug"),
        ("two.png", "2", "Sphynx"),
        ("none.png", "", ""),
        ("bad.jpg", "", ""),
    ]
    assert "damaged" in lines[-1]["error"]
    assert float(lines[0]["share"]) == pytest.approx(200 * 200 / 210_000, rel=0.1)
    assert mask.shape == (300, 700)
    assert mask[150, 160] == 1
    assert mask[10, 10] == 2
    assert cut_out[150, 160].tolist() == [*RED, 255]
    assert cut_out[10, 10, 3] == 0
    assert entries[0].preview is not None
    with Image.open(entries[0].preview) as preview:
        assert preview.size == (200, 86)
    assert entries[2].facts is None


@pytest.mark.usefixtures("models")
def test_deleted_files_are_mentioned_in_the_table(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    path = photo_file(tmp_path, "cat.png", (60, 200, RED))
    entries = [examine(path, name, folder) for name in ("kept.png", "lost.png")]
    (folder / "masks" / "lost-mask.png").unlink()

    kept, lost = album.with_losses(entries, folder)

    assert kept.error is None
    assert lost.facts is not None
    with zipfile.ZipFile(album.pack([kept, lost], folder)) as packed:
        content = packed.read("pets.csv").decode("utf-8-sig")
        assert "masks/lost-mask.png" not in packed.namelist()
    told = {line["file"]: line["error"] for line in csv.DictReader(io.StringIO(content))}
    assert told["kept.png"] == ""
    assert "no longer there" in told["lost.png"]


@pytest.mark.usefixtures("models")
def test_a_cut_out_is_reduced_so_that_two_hundred_fit(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1500), RED).save(tmp_path / "large.png")

    examine(tmp_path / "large.png", "large.png", tmp_path / "results")

    with Image.open(tmp_path / "results" / "cut-outs" / "large-cut-out.png") as cut_out:
        assert cut_out.size == (2048, 1024)
    with Image.open(tmp_path / "results" / "masks" / "large-mask.png") as mask:
        assert mask.size == (3000, 1500)


@pytest.mark.parametrize(
    ("names", "unique"),
    [
        (["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"]),
        (["x/a.jpg", "y/a.jpg", "A.JPG"], ["a.jpg", "a (2).jpg", "A (3).JPG"]),
        (["a.jpg", "a.png", "a.b.png"], ["a.jpg", "a (2).png", "a.b.png"]),
        (["a (2).jpg", "a.jpg", "a.jpg"], ["a (2).jpg", "a.jpg", "a (3).jpg"]),
        (["../../etc/passwd", "C:\\photos\\cat.png"], ["passwd", "cat.png"]),
        (["", "/"], ["photo", "photo (2)"]),
        (["-a.jpg", " =1+1.png", "+b", "@c"], ["_-a.jpg", "_ =1+1.png", "_+b", "_@c"]),
        # A byte-order mark, a no-break space, and the wide form of the sign.
        (["\ufeff=a", "\xa0=b", "\uff1dc"], ["_\ufeff=a", "_\xa0=b", "_\uff1dc"]),
    ],
)
def test_each_photo_gets_a_name_of_its_own(names: list[str], unique: list[str]) -> None:
    assert album.unique_names(names) == unique


@pytest.mark.usefixtures("models")
def test_the_table_s_names_are_those_of_the_files_beside_it(tmp_path: Path) -> None:
    paths = [
        photo_file(tmp_path, name, (60, 200, RED)) for name in ("-Kätzchen süß.png", "=cmd|x.png")
    ]
    entries = [
        examine(path, name, tmp_path / "results")
        for path, name in zip(paths, album.unique_names([path.name for path in paths]), strict=True)
    ]

    with zipfile.ZipFile(album.pack(entries, tmp_path / "results")) as packed:
        content = packed.read("pets.csv")
        names = set(packed.namelist())

    assert content.startswith(b"\xef\xbb\xbf")  # by which Excel knows UTF-8
    lines = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [line["file"] for line in lines] == ["_-Kätzchen süß.png", "_=cmd|x.png"]
    for line in lines:
        stem = Path(line["file"]).stem
        assert {f"masks/{stem}-mask.png", f"cut-outs/{stem}-cut-out.png"} <= names


@pytest.mark.usefixtures("models")
def test_a_table_is_written_for_the_reader_s_language(tmp_path: Path) -> None:
    photo = photo_file(tmp_path, "two.png", (60, 200, RED))
    entries = [
        examine(photo, photo.name, tmp_path / "results"),
        Entry("bad.jpg", error=PhotoError("photo_damaged")),
    ]
    german = album.Spreadsheet(";", ",", lambda error: f"Das Bild ist beschädigt ({error.key}).")

    pet, bad = csv.DictReader(io.StringIO(album.table(entries, german)), delimiter=";")

    usual, _ = csv.DictReader(io.StringIO(album.table(entries)))
    assert pet["share"] == usual["share"].replace(".", ",")
    assert "," in pet["probability"]
    assert bad["error"] == "Das Bild ist beschädigt (photo_damaged)."


def test_the_table_says_what_a_refused_pet_is_otherwise() -> None:
    best = {"name": "Pug", "species": "dog", "probability": 0.4}
    pet = {"box": (0, 0, 2, 2), "share": 0.5, "refused": True, "breeds": [best]}
    wolf = {"name": "timber wolf", "kind": "other animal", "probability": 0.75}
    pets = [{**pet, "otherwise": wolf}, {**pet, "refused": False, "otherwise": None}]
    facts = {"width": 2, "height": 2, "cuts": None, "turn": 0, "pets": pets}

    refused, named = csv.DictReader(io.StringIO(album.table([Entry("a.jpg", facts)])))

    columns = ("otherwise", "otherwise_kind", "otherwise_probability")
    assert [refused[name] for name in columns] == ["timber wolf", "other animal", "0.7500"]
    assert [named[name] for name in columns] == ["", "", ""]
