"""A folder of corrected photos for `--more`: they join the pets that a network is trained on.

    FOLDER/images/ID.jpg
    FOLDER/annotations/trimaps/ID.png       1 pet, 2 background, 3 border; of the photo's size
    FOLDER/annotations/list.txt             ID CLASS-ID SPECIES BREED-ID, one photo a line

This is the layout of the Oxford-IIIT Pet data set: breeds count from 1 in the order of
`training.pets.breeds`, and the species are 1, cat, and 2, dog. CLASS-ID 0 stands for a breed that
is not among them: such a photo teaches masks, and no breeds.
"""

from collections.abc import Sequence
from pathlib import Path

from training import pets
from training.archives import DataError

SPECIES = {"1": "cat", "2": "dog"}


def read(folder: Path, breeds: Sequence[pets.Breed]) -> list[pets.Example]:
    """The photos that a folder lists, in its order.

    Parameters
    ----------
    folder
        In the layout above. Its pictures are not opened.
    breeds
        Of the data set that the photos join, in the order of their class ids.

    Raises
    ------
    training.archives.DataError
        When the folder lacks its list, or a line of it cannot be used.
    """
    listed = folder / "annotations" / "list.txt"
    if not folder.is_dir():
        raise DataError(f"--more {folder} is not a folder.")
    try:
        lines = listed.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(
            f"--more {folder} has no annotations/list.txt, which lists its photos."
        ) from None
    except (OSError, UnicodeError) as error:
        raise DataError(f"{listed} cannot be read as text: {error}.") from error
    found: dict[str, pets.Example] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            example = _example(folder, line, breeds)
            if example.name in found:
                raise ValueError(f"{example.name} is listed twice")
        except ValueError as error:
            raise DataError(f"Line {number} of {listed} cannot be used: {error}.") from None
        found[example.name] = example
    if not found:
        raise DataError(f"{listed} lists no photo.")
    return list(found.values())


def _example(folder: Path, line: str, breeds: Sequence[pets.Breed]) -> pets.Example:
    words = line.split()
    if len(words) != 4 or not all(word.isascii() and word.isdigit() for word in words[1:]):
        raise ValueError(f"{line.strip()!r} is not ID CLASS-ID SPECIES BREED-ID")
    name, number, kind, _ = words
    if name.startswith(".") or set(name) & set("/\\:"):
        raise ValueError(f"{name!r} is not the name of a photo in images")
    if kind not in SPECIES:
        raise ValueError(f"the species is 1, cat, or 2, dog, and not {kind}")
    label = int(number) - 1
    if label >= len(breeds):
        raise ValueError(f"there are {len(breeds)} breeds, and no class {number}")
    if label >= 0 and breeds[label].species != SPECIES[kind]:
        raise ValueError(f"class {number}, {breeds[label].name}, is not a {SPECIES[kind]}")
    return pets.Example(
        name=name,
        photo=folder / "images" / f"{name}.jpg",
        trimap=folder / "annotations" / "trimaps" / f"{name}.png",
        label=label if label >= 0 else pets.ANOTHER_BREED,
    )
