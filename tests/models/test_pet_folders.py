"""Photos in the layout of the Oxford-IIIT Pet data set, read here with Pillow and NumPy alone."""

import re
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models import pet_folders
from models.images import Photo

ROOT = Path(__file__).parent.parent.parent
SHARED = ROOT.parent / "shared" / "oxford-iiit-pet"
# Lines of the data set's own list.txt: class, species and breed of the first of each.
OFFICIAL = {
    "Abyssinian": (1, 1, 1),
    "American Bulldog": (2, 2, 1),
    "Beagle": (5, 2, 4),
    "Bengal": (6, 1, 2),
    "Ragdoll": (27, 1, 9),
    "Sphynx": (34, 1, 12),
    "Yorkshire Terrier": (37, 2, 25),
}


@pytest.fixture
def inside() -> NDArray[np.bool_]:
    """A disc of 60 pixels in a picture of 200 x 160."""
    y, x = np.ogrid[:160, :200]
    found: NDArray[np.bool_] = (y - 80) ** 2 + (x - 90) ** 2 < 60**2
    return found


@pytest.fixture
def photo() -> Photo:
    return np.random.default_rng(0).integers(0, 255, (160, 200, 3), np.uint8)


Read = tuple[list[int], Image.Image, NDArray[np.uint8]]


def read(folder: Path) -> dict[str, Read]:
    """The numbers, photo and trimap of each line, as any reader of the data set gets them."""
    found: dict[str, Read] = {}
    for line in (folder / "annotations" / "list.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, *numbers = line.split(" ")
            photo = Image.open(folder / "images" / f"{name}.jpg")
            trimap = np.asarray(Image.open(folder / "annotations" / "trimaps" / f"{name}.png"))
            found[name] = [int(number) for number in numbers], photo, trimap
    return found


def test_a_photo_is_written_as_the_data_set_has_it(
    tmp_path: Path, photo: Photo, inside: NDArray[np.bool_]
) -> None:
    entry = pet_folders.new_entry("Beagle", "dog")
    pet_folders.add(tmp_path / "kept", entry, photo, pet_folders.trimap(inside))

    ((name, (numbers, picture, trimap)),) = read(tmp_path / "kept").items()
    assert re.fullmatch("[0-9a-f]{32}", name)
    assert numbers == [5, 2, 4]
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (200, 160), "RGB")
    assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert trimap.dtype == np.uint8
    assert trimap.shape == (160, 200)
    assert set(np.unique(trimap)) == {1, 2, 3}
    assert trimap[80, 90] == 1
    assert trimap[0, 0] == 2
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert len(files) == 3


@pytest.mark.parametrize("breed", OFFICIAL)
def test_the_numbers_are_the_data_set_s(breed: str) -> None:
    entry = pet_folders.new_entry(breed, "dog")
    assert (entry.class_id, entry.species, entry.breed_id) == OFFICIAL[breed]


@pytest.mark.realdata
def test_all_numbers_are_those_of_the_official_list() -> None:
    archive = SHARED / "annotations.tar.gz"
    if not archive.exists():
        pytest.skip("../shared/oxford-iiit-pet is not beside the repository")
    with tarfile.open(archive) as files:
        member = files.extractfile("annotations/list.txt")
        assert member is not None
        lines = member.read().decode().splitlines()
    official = {}
    for line in lines:
        if not line.startswith("#"):
            name, *words = line.split()
            breed = name.rpartition("_")[0].replace("_", " ").title()
            official[breed] = tuple(map(int, words))
    assert len(official) == 37
    for breed, numbers in official.items():
        entry = pet_folders.new_entry(breed, "cat")
        assert (entry.class_id, entry.species, entry.breed_id) == numbers


def test_another_breed_has_a_species_alone() -> None:
    cat, dog = (pet_folders.new_entry(None, species) for species in ("cat", "dog"))
    assert cat.line == f"{cat.name} 0 1 0\n"
    assert dog.line == f"{dog.name} 0 2 0\n"
    for breed, species in (("Unicorn", "cat"), (None, "cow")):
        with pytest.raises(ValueError, match="There is no"):
            pet_folders.new_entry(breed, species)


def test_the_border_runs_along_the_outline_as_wide_as_the_data_set_s(
    inside: NDArray[np.bool_],
) -> None:
    trimap = pet_folders.trimap(inside)

    border = trimap == 3
    # A ring of the mean radius 60: its area is its length times its width.
    width = np.count_nonzero(border) / (2 * np.pi * 60)
    assert width == pytest.approx(0.035 * 200, abs=1)
    assert np.count_nonzero(border & inside) == pytest.approx(np.count_nonzero(border) / 2, rel=0.1)
    assert not (trimap[~border] == 1)[~inside[~border]].any()
    assert not (trimap[~border] == 2)[inside[~border]].any()


def test_a_small_pet_is_more_than_its_border_and_the_photo_s_edge_is_none() -> None:
    small = np.zeros((400, 400), bool)
    small[100:106, 100:106] = True
    assert 1 in pet_folders.trimap(small)

    half = np.zeros((100, 100), bool)
    half[:, 50:] = True
    trimap = pet_folders.trimap(half)
    assert (trimap[:, 99] == 1).all()
    assert (trimap[:, 50] == 3).all()
    for whole, value in ((np.ones((9, 9), bool), 1), (np.zeros((9, 9), bool), 2)):
        assert (pet_folders.trimap(whole) == value).all()


def test_many_at_a_time_lose_none(tmp_path: Path) -> None:
    photo, mask = np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 2, np.uint8)
    program = (
        "import numpy as np; from pathlib import Path; from models import pet_folders\n"
        "for _ in range(10):\n"
        f"    pet_folders.add(Path({str(tmp_path)!r}), pet_folders.new_entry(None, 'cat'),\n"
        "        np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 2, np.uint8))"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as other:
        new = [pet_folders.new_entry(None, "dog") for _ in range(20)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda each: pet_folders.add(tmp_path, each, photo, mask), new))
            list(threads.map(lambda each: pet_folders.remove(tmp_path, [each]), new[:5]))
    assert other.returncode == 0

    found = read(tmp_path)
    assert {each.name for each in new[5:]} <= found.keys()
    assert len(found) == 25
    assert len(list((tmp_path / "images").iterdir())) == 25


def test_of_a_photo_that_cannot_be_written_nothing_is_left(
    tmp_path: Path, photo: Photo, inside: NDArray[np.bool_], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pet_folders.new_entry("Bombay", "cat")
    pet_folders.add(tmp_path, first, photo, pet_folders.trimap(inside))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        pet_folders.add(
            tmp_path, pet_folders.new_entry(None, "dog"), photo, pet_folders.trimap(inside)
        )
    monkeypatch.undo()
    pet_folders.tidy(tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_what_a_killed_process_left_goes_and_nothing_of_others(tmp_path: Path) -> None:
    pet_folders.tidy(tmp_path)
    left, own = tmp_path / "images" / f"{'a' * 32}.jpg", tmp_path / "images" / "Beagle_1.jpg"
    for path in (left, own):
        path.write_bytes(b"")

    pet_folders.tidy(tmp_path)

    assert not left.exists()
    assert own.exists()


def test_lines_that_others_wrote_stay_as_they_are(tmp_path: Path) -> None:
    listed = tmp_path / "annotations" / "list.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("# mine\nBeagle_1 5 2 4")  # without an end
    entry = pet_folders.new_entry("Birman", "cat")

    pet_folders.add(tmp_path, entry, np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.uint8))
    assert listed.read_text() == f"# mine\nBeagle_1 5 2 4\n{entry.name} 7 1 3\n"
    pet_folders.remove(tmp_path, [entry])

    assert listed.read_text() == "# mine\nBeagle_1 5 2 4\n"
    assert pet_folders.entries(tmp_path) == [pet_folders.Entry("Beagle_1", 5, 2, 4)]
