"""Photos with masks and breeds in a folder, in the layout of the Oxford-IIIT Pet data set.

    FOLDER/images/ID.jpg                   the photo
    FOLDER/annotations/trimaps/ID.png      its mask: 1 pet, 2 background, 3 border
    FOLDER/annotations/list.txt            a line for each: ID CLASS-ID SPECIES BREED-ID

See Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and Dogs", CVPR 2012. Several threads and processes
may use a folder at a time. A photo's line is written last, so whoever reads the list finds only
photos that are complete.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import store
from models.cards import Label
from models.images import Photo

PET, BACKGROUND, BORDER = 1, 2, 3
SPECIES = {"cat": 1, "dog": 2}
# The border of the data set's trimaps is as wide as this share of their longer side (median of 300
# of trainval; 90 % have 2.2 to 5.4 %).
BORDER_WIDTH = 0.035
QUALITY = 92  # of the photos' JPEG
LIST = Path("annotations", "list.txt")
HEADER = """\
#Image CLASS-ID SPECIES BREED ID
#CLASS-ID: 1-37, in the order of the Oxford-IIIT Pet data set; 0: another breed, for its mask alone
#SPECIES: 1: Cat 2: Dog
#BREED ID: 1-12: Cat 1-25: Dog; 0: another breed
"""
NAME = re.compile(r"[0-9a-f]{32}")  # of a photo that `add` named


@dataclass(frozen=True)
class Entry:
    """A line of the list.

    Attributes
    ----------
    name
        Of the photo's files; random if it comes from `add`.
    class_id
        The breed, counted from 1 in the order of `breeds`; 0 for another one.
    species
        1 for a cat, 2 for a dog.
    breed_id
        The breed's number among those of its species, counted from 1; 0 for another one.
    """

    name: str
    class_id: int
    species: int
    breed_id: int

    @property
    def line(self) -> str:
        """The line as it is written, with its newline."""
        return f"{self.name} {self.class_id} {self.species} {self.breed_id}\n"

    @property
    def files(self) -> tuple[Path, Path]:
        """The photo and its trimap, below the folder."""
        return Path("images", f"{self.name}.jpg"), Path(
            "annotations", "trimaps", f"{self.name}.png"
        )


def breeds() -> tuple[Label, ...]:
    """The data set's 37 breeds, in the order of their class ids."""
    return store.read_card("breeds", store.EMBEDDED).labels


def new_entry(breed: str | None, species: str) -> Entry:
    """An entry with a name that cannot be guessed, and the data set's numbers.

    Parameters
    ----------
    breed
        One of `breeds`; None for any other.
    species
        "cat" or "dog"; that of a known breed counts more.

    Raises
    ------
    ValueError
        If there is no such breed or species.

    Examples
    --------
    >>> entry = new_entry("Beagle", "dog")
    >>> entry.class_id, entry.species, entry.breed_id
    (5, 2, 4)
    """
    name = secrets.token_hex(16)
    if breed is None:
        if species not in SPECIES:
            raise ValueError(f"There is no species {species!r}.")
        return Entry(name, 0, SPECIES[species], 0)
    labels = breeds()
    names = [label.name for label in labels]
    if breed not in names:
        raise ValueError(f"There is no breed {breed!r}.")
    place = names.index(breed)
    same = [label.species == labels[place].species for label in labels[: place + 1]]
    return Entry(name, place + 1, SPECIES[str(labels[place].species)], sum(same))


def trimap(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A mask with a border along its outline, as the data set has it.

    Parameters
    ----------
    inside
        `(height, width)`: true for the pet.

    Returns
    -------
    `(height, width)` uint8: 1 pet, 2 background, 3 border. The outline runs in the middle of the
    border, which is narrower where the pet is small.
    """
    found = np.where(inside, PET, BACKGROUND).astype(np.uint8)
    if inside.all() or not inside.any():
        return found
    depth, outside = (
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for part in (inside, ~inside)
    )
    half = min(BORDER_WIDTH * max(inside.shape) / 2, float(depth.max()) / 2)
    # The next pixel's centre is 1 away, and the outline between the two is half as far.
    found[np.maximum(depth, outside) - 0.5 < half] = BORDER
    return found


def add(folder: Path, entry: Entry, photo: Photo, mask: NDArray[np.uint8]) -> None:
    """Write a photo, its trimap, and then its line.

    Parameters
    ----------
    folder
        Made if it is not there.
    entry
        From `new_entry`.
    photo
        `(height, width, 3)` uint8 RGB; written without any metadata.
    mask
        From `trimap`, of the same size.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it is then left.
    """
    picture, annotation = (folder / file for file in entry.files)
    with _locked(folder):
        try:
            Image.fromarray(photo).save(picture, quality=QUALITY)
            Image.fromarray(mask).save(annotation, optimize=True)
            _write_list(folder, f"{_read_list(folder)}{entry.line}")
        except BaseException:
            _unlink(folder, [entry])
            raise


def entries(folder: Path) -> list[Entry]:
    """The photos of a folder; none if it has no list."""
    try:
        return parse((folder / LIST).read_text())
    except FileNotFoundError:
        return []


def parse(text: str) -> list[Entry]:
    """The entries in a list's text; comments and invalid lines are left out."""
    found = re.findall(r"^([\w.-]+) (\d+) (\d+) (\d+) *$", text, re.MULTILINE | re.ASCII)
    return [Entry(name, *map(int, numbers)) for name, *numbers in found]


def without(text: str, names: Collection[str]) -> str:
    """A list's text without the lines of these photos."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.partition(" ")[0] not in names)


def remove(folder: Path, removed: Collection[Entry]) -> None:
    """Delete photos: first their lines, then their files."""
    with _locked(folder):
        names = {entry.name for entry in removed}
        _write_list(folder, without(_read_list(folder), names))
        _unlink(folder, removed)


def tidy(folder: Path) -> None:
    """Make the folder, and delete what `add` left of photos while its process was killed.

    Raises
    ------
    OSError
        If it cannot be made or written into.
    """
    with _locked(folder):
        listed = {entry.name for entry in entries(folder)}
        for below in {file.parent for file in Entry("", 0, 0, 0).files}:
            for path in (folder / below).iterdir():
                if NAME.fullmatch(path.stem) and path.stem not in listed:
                    path.unlink()


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    found = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                found += Path(path, name).stat().st_size
            except FileNotFoundError:  # deleted meanwhile
                continue
    return found


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make a folder, and keep all others from changing it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for below in {file.parent for file in Entry("", 0, 0, 0).files}:
        (folder / below).mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read_list(folder: Path) -> str:
    """The list's text, which ends with a whole line."""
    try:
        text = (folder / LIST).read_text()
    except FileNotFoundError:
        return HEADER
    return text if text.endswith("\n") or not text else f"{text}\n"


def _write_list(folder: Path, text: str) -> None:
    """Replace the list atomically, so that nobody reads half of it."""
    new = folder / LIST.with_suffix(".new")
    try:
        with new.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / LIST)
    finally:
        new.unlink(missing_ok=True)


def _unlink(folder: Path, removed: Collection[Entry]) -> None:
    for entry in removed:
        for file in entry.files:
            (folder / file).unlink(missing_ok=True)
