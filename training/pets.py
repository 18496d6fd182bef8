"""The Oxford-IIIT Pet data set in its official layout: download, verify, extract, split.

37 breeds of cats and dogs, 7,349 pictures, each with a trimap (1 pet, 2 background, 3 border):
Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and Dogs", CVPR 2012,
https://www.robots.ox.ac.uk/~vgg/data/pets/. Licence CC BY-SA 4.0.

    python -m training.pets --root data/pets                      # from the official server
    python -m training.pets --root data/pets --source FOLDER      # from a folder with the archives
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import pet_folders
from training import command_line
from training.archives import DataError, download, extract, file_md5

NAME = "Oxford-IIIT Pet"
ROOT = Path("data/pets")  # default folder
URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"
ARCHIVES = {  # name -> MD5 of the official file, as in torchvision and TensorFlow Datasets
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
}
VALIDATION_SHARE = 0.1
FOLDS = 10  # drawn at random, and as many that are ranges of numbers
SPLIT_SEED = 42
SPLITS = ("train", "validation", "trainval", "test")

PET, BACKGROUND, BORDER = pet_folders.PET, pet_folders.BACKGROUND, pet_folders.BORDER
ANOTHER_BREED = -1  # label of a pet whose breed is none of the 37
MASK_CLASSES = ("pet", "background", "border")

# Trimaps that say "background" everywhere although the picture shows a pet.
FAULTY_TRIMAPS = frozenset(
    {
        "Egyptian_Mau_20",
        "Egyptian_Mau_162",
        "Egyptian_Mau_165",
        "Egyptian_Mau_196",
        "Persian_259",
        "japanese_chin_199",
        "keeshond_7",
        "leonberger_18",
        "miniature_pinscher_14",
        "saint_bernard_15",
        "saint_bernard_60",
        "saint_bernard_78",
        "saint_bernard_108",
        "wheaten_terrier_195",
    }
)


@dataclass(frozen=True)
class Example:
    """A picture: its files, and its breed's index in `breeds()`, or `ANOTHER_BREED`."""

    name: str
    photo: Path
    trimap: Path
    label: int

    def read_classes(
        self, height: int | None = None, width: int | None = None
    ) -> NDArray[np.uint8]:
        """The trimap as `(height, width)` class indices: 0 pet, 1 background, 2 border."""
        return read_trimap(self.trimap, height, width) - 1


@dataclass(frozen=True)
class Breed:
    """A class of the data set: display name ("German Shorthaired") and species ("cat", "dog")."""

    name: str
    species: str


def prepare(root: Path, source: str | Path = URL) -> Path:
    """Make sure that the data set lies extracted under `root`; return `root`.

    Parameters
    ----------
    root
        Folder for `images/` and `annotations/`; archives are kept in `root/archives`.
    source
        Base URL of the official archives, or a folder that holds them.

    Raises
    ------
    DataError
        If an archive is not available, is damaged, or contains a path outside its folder.
    """
    root = Path(root)
    complete = root / ".complete"
    if complete.exists():
        return root
    for name, md5 in ARCHIVES.items():
        if str(source).startswith(("http://", "https://")):
            archive = root / "archives" / name
            download(f"{source}/{name}", archive, md5)
        else:
            archive = Path(source) / name
            if not archive.is_file():
                raise DataError(
                    f"{archive} is missing: --source must hold {' and '.join(ARCHIVES)}."
                )
            if file_md5(archive) != md5:
                # A local copy may be resized or repacked on purpose; its figures then differ.
                print(
                    f"Note: {archive} is not the official file; figures will not compare exactly."
                )
        extract(archive, root)
    complete.touch()
    return root


def breeds(root: Path) -> list[Breed]:
    """The 37 breeds in the order of their class ids."""
    found: dict[int, Breed] = {}
    for line in (root / "annotations" / "list.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, class_id, species, _ = line.split()
        breed = name.rpartition("_")[0].replace("_", " ").title()
        found[int(class_id) - 1] = Breed(breed, "cat" if species == "1" else "dog")
    return [found[index] for index in range(len(found))]


def split(
    root: Path,
    name: str,
    validation_share: float = VALIDATION_SHARE,
    seed: int = SPLIT_SEED,
    fold: int = 0,
) -> list[Example]:
    """The examples of a split.

    "test" and "trainval" are the official ones; "validation" is a part of trainval with a share of
    each breed, and "train" the rest of it. In the folds 0 to 9 that part is drawn at random with a
    seed; their parts do not overlap. In the folds 10 to 19 it is a range of each breed's numbers,
    the first tenth to the last, which seldom divides the photos of one animal. Use the test split
    for the final measurement only.
    """
    if name not in SPLITS:
        raise ValueError(f"The split must be one of {', '.join(SPLITS)}, not {name!r}.")
    official = "test" if name == "test" else "trainval"
    examples = []
    for line in (root / "annotations" / f"{official}.txt").read_text().splitlines():
        stem, class_id, *_ = line.split()
        examples.append(
            Example(
                name=stem,
                photo=root / "images" / f"{stem}.jpg",
                trimap=root / "annotations" / "trimaps" / f"{stem}.png",
                label=int(class_id) - 1,
            )
        )
    if name in ("test", "trainval"):
        return examples
    labels = [example.label for example in examples]
    if fold < FOLDS:
        held_out = stratified(labels, validation_share, seed, fold)
    else:
        parts = ranges([example.name for example in examples], labels, FOLDS)
        held_out = set(np.flatnonzero(parts == fold - FOLDS).tolist())
    return [
        example
        for index, example in enumerate(examples)
        if (index in held_out) == (name == "validation")
    ]


def random_split(
    root: Path, share: float = 0.2, seed: int = SPLIT_SEED
) -> tuple[list[Example], list[Example]]:
    """Training and held-out examples drawn at random from all pictures, the official test too.

    This is the protocol of many notebooks. Its figures are not comparable with those of the
    official split.
    """
    examples = [*split(root, "trainval"), *split(root, "test")]
    order = np.random.default_rng(seed).permutation(len(examples))
    held_out = set(order[: round(share * len(examples))].tolist())
    return (
        [example for index, example in enumerate(examples) if index not in held_out],
        [example for index, example in enumerate(examples) if index in held_out],
    )


def stratified(classes: Sequence[int | str], share: float, seed: int, fold: int = 0) -> set[int]:
    """Indices of a random part with the same share of every class; folds do not overlap."""
    labels = np.array(classes)
    random = np.random.default_rng(seed)
    chosen: set[int] = set()
    for label in np.unique(labels):
        indices = random.permutation(np.flatnonzero(labels == label))
        size = round(share * len(indices))
        chosen.update(indices[fold * size : (fold + 1) * size].tolist())
    return chosen


def ranges(names: Sequence[str], labels: Sequence[int], parts: int) -> NDArray[np.int64]:
    """Divide each class into ranges of the numbers in its names: `(n,)` parts from 0.

    Photos of one animal often have neighbouring numbers.

    Examples
    --------
    >>> ranges(["pug_10", "pug_2", "pug_1", "pug_11"], [0] * 4, parts=2).tolist()
    [1, 0, 0, 1]
    """
    found = np.zeros(len(names), np.int64)
    classes = np.array(labels)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label).tolist()
        ordered = sorted(members, key=lambda index: _natural(names[index]))
        found[ordered] = np.arange(len(ordered)) * parts // len(ordered)
    return found


def _natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts numbers in names by their value."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def read_trimap(
    path: Path, height: int | None = None, width: int | None = None
) -> NDArray[np.uint8]:
    """A trimap as `(height, width)` uint8 (1 pet, 2 background, 3 border).

    With `height` and `width` it is squashed to them by nearest neighbour, at its own size without.
    """
    with Image.open(path) as image:
        if height is None or width is None:
            return np.array(image, dtype=np.uint8)
        return np.array(image.resize((width, height), Image.Resampling.NEAREST), dtype=np.uint8)


def with_masks(examples: Iterable[Example]) -> list[Example]:
    """The examples without those whose trimap is known to be wrong."""
    return [example for example in examples if example.name not in FAULTY_TRIMAPS]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every script on this data set has."""
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the extracted data set")
    parser.add_argument(
        "--source", default=URL, help="base URL of the official archives, or a folder with them"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Download, verify and extract the data set."""
    parser = command_line.parser(__doc__)
    add_arguments(parser)
    arguments = parser.parse_args(words)
    root = prepare(arguments.root, arguments.source)
    sizes = ", ".join(f"{name} {len(split(root, name))}" for name in SPLITS)
    print(f"{root}: {len(breeds(root))} breeds; pictures: {sizes}")


if __name__ == "__main__":
    command_line.run(main)
