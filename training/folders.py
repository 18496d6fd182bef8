"""A folder of your own pictures: in one folder per class, or with masks beside them.

    flowers/tulip/1.jpg, flowers/tulip/2.jpg, ..., flowers/rose/1.jpg, ...     # classes
    cups/a.jpg, cups/a.png, cups/b.jpg, cups/b.png, ...                        # masks

A class is a folder with pictures and has its name. A mask is a PNG beside its photo, with the same
name or with `_mask` appended (as it must be if the photo is a PNG): 0 is the background, everything
else the object. If each object has its own number, touching objects keep a border between them.

A seeded fifth of the pictures of each class is the test part, and a fifth of the rest is held out
from training.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training import nuclei, pets
from training.archives import DataError

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.2  # share of what is not in the test split
FOLDS = 5
SPLIT_SEED = 42
SPLITS = ("train", "validation", "trainval", "test")
FEWEST = 5  # pictures that a class needs to have one in each split


@dataclass(frozen=True)
class Example:
    """One picture: its name, its file, its mask if there is one, and its class's index."""

    name: str
    photo: Path
    mask: Path | None
    label: int

    def read_classes(
        self, height: int | None = None, width: int | None = None
    ) -> NDArray[np.uint8]:
        """The mask as `(height, width)` class indices: 0 object, 1 background, 2 border.

        With `height` and `width` it is squashed to them by nearest neighbour.
        """
        if self.mask is None:
            raise DataError(f"{self.photo} has no mask.")
        with Image.open(self.mask) as image:
            numbers = image if image.mode in ("P", "L", "1", "I", "I;16") else image.convert("L")
            if height is not None and width is not None:
                numbers = numbers.resize((width, height), Image.Resampling.NEAREST)
            return nuclei.classes_of(np.array(numbers, dtype=np.int32))


def classes(folder: Path) -> list[str]:
    """Names of the folders that contain pictures, in the order of their class indices."""
    found = sorted({example.photo.parent for example in _pictures(folder)})
    return [path.relative_to(folder).as_posix() for path in found]


def examples(folder: Path, masks: bool) -> list[Example]:
    """All pictures, sorted by path; with `masks`, only those that have one.

    Raises
    ------
    training.archives.DataError
        When there are too few, or classes are wanted and there is only one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"--folder {folder} is not a folder.")
    found = _pictures(folder)
    if masks:
        found = [Example(one.name, one.photo, one.mask, 0) for one in found if one.mask]
        if len(found) < FEWEST:
            raise DataError(
                f"{folder} holds {len(found)} photos with a mask beside them, NAME.png or "
                f"NAME_mask.png: {FEWEST} or more are needed."
            )
        return found
    counts = Counter(example.photo.parent for example in found)
    if len(counts) < 2:
        raise DataError(
            f"{folder} must hold two or more folders with pictures, one a class: it has "
            f"{len(counts)}."
        )
    if folder in counts:
        raise DataError(f"{folder} holds pictures outside of the classes' folders.")
    few = [f"{path.name} ({count})" for path, count in sorted(counts.items()) if count < FEWEST]
    if few:
        raise DataError(f"Each class needs {FEWEST} pictures or more: see {', '.join(few)}.")
    return found


def _pictures(folder: Path) -> list[Example]:
    files = [
        path
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix.lower() in ENDINGS and path.is_file() and not path.name.startswith(".")
    ]
    masks = {path.with_suffix("") for path in files if path.suffix.lower() == ".png"}
    photos: list[tuple[Path, Path | None]] = []
    names = {path.with_suffix("") for path in files if path.suffix.lower() != ".png"}
    for path in files:
        stem, is_png = path.with_suffix(""), path.suffix.lower() == ".png"
        if is_png and (stem in names or stem.name.endswith("_mask")):
            continue  # this is a mask itself
        marked = stem.with_name(f"{stem.name}_mask")
        mask = marked if marked in masks else None if is_png or stem not in masks else stem
        photos.append((path, mask and mask.with_name(f"{mask.name}.png")))
    parents = sorted({path.parent for path, _ in photos})
    return [
        Example(path.relative_to(folder).as_posix(), path, mask, parents.index(path.parent))
        for path, mask in photos
    ]


def split(found: Sequence[Example], name: str, fold: int = 0) -> list[Example]:
    """The examples of a split: "train", "validation", both together as "trainval", or "test"."""
    if name not in SPLITS:
        raise ValueError(f"The split must be one of {', '.join(SPLITS)}, not {name!r}.")
    chosen = pets.stratified([example.label for example in found], TEST_SHARE, SPLIT_SEED)
    part = [one for index, one in enumerate(found) if (index in chosen) == (name == "test")]
    if name in ("test", "trainval"):
        return part
    if fold >= FOLDS:
        raise DataError(f"--fold must be below {FOLDS} for a folder of your own.")
    labels = [example.label for example in part]
    held_out = pets.stratified(labels, VALIDATION_SHARE, SPLIT_SEED, fold)
    return [one for index, one in enumerate(part) if (index in held_out) == (name == "validation")]
