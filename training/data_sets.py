"""The data sets that all scripts use, whether official or a folder of your own pictures."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.images import open_photo
from training import corrections, folders, nuclei, pets, pictures
from training.archives import DataError
from training.errors import UserError

Examples = Sequence[Any]
"""Of one data set: `pets.Example`, `nuclei.Example` or `folders.Example`."""

DRY_PICTURES = 16, 8  # to train on and held out, in a dry run
DRY_MORE = 4  # further ones to train on
REMEMBERED = ".checked.json"  # in the data set's folder: which pictures could be read


@dataclass(frozen=True)
class DataSet:
    """Pictures with their classes or masks, divided for training and for measuring.

    Attributes
    ----------
    name
        Its name in runs and cards.
    labels
        The pictures' classes in the order of their indices: `name`, and a breed's `species`.
    mask_classes
        Names of the masks' classes: the object, "background" and "border".
    splits
        Names of the splits.
    split
        Gives the examples of a split, by its name and the fold that is held out from training.
    home
        The folder that the pictures lie in.
    random
        Gives training and held-out examples drawn from all pictures, if the data set has that
        protocol.
    own
        Whether it is a folder of the user's own pictures.
    more
        Corrected photos that are trained on as well; see `with_more`.
    """

    name: str
    labels: tuple[dict[str, str], ...]
    mask_classes: tuple[str, ...]
    splits: tuple[str, ...]
    split: Callable[[str, int], Examples]
    home: Path
    random: Callable[[], tuple[Examples, Examples]] | None = None
    own: bool = False
    more: tuple[pets.Example, ...] = ()

    def parts(self, split: str, fold: int = 0) -> tuple[Examples, Examples]:
        """The examples to train on and those held out, for a training script's `--split`."""
        if split == "random":
            if self.random is None:
                raise UserError(f"--split random is a protocol of the pets, not of {self.name}.")
            return self.random()
        if split == "trainval":
            return self.split("trainval", 0), []
        return self.split("train", fold), self.split("validation", fold)

    def training_parts(
        self,
        split: str = "official",
        fold: int = 0,
        *,
        masks: bool,
        skip_damaged: bool,
        dry_run: bool,
        sample: int | None = None,
        seed: int = 0,
    ) -> tuple[Examples, Examples]:
        """The `parts`, once their files have been read; only a few of them for a dry run.

        With `sample`, only so many of the pictures to train on are used, drawn by `seed`.

        Corrected photos come last of those to train on. One that has the name of a picture of the
        data set takes its place, and what was held out under that name is so no longer.
        """
        if self.more and split == "random":
            raise UserError("--more adds photos to the official split: leave --split random out.")
        train, held_out = (
            pets.with_masks(part) if masks else part for part in self.parts(split, fold)
        )
        more = [each for each in self.more if masks or each.label != pets.ANOTHER_BREED]
        if self.more and not more:
            raise UserError("--more holds only photos of other breeds, which teach masks alone.")
        names = {each.name for each in more}
        train, held_out = (
            [each for each in part if each.name not in names] for part in (train, held_out)
        )
        if sample is not None:
            drawn = np.random.default_rng(seed).permutation(len(train))[:sample]
            train = [train[index] for index in sorted(drawn)]
        if dry_run:
            train, held_out = map(pictures.few, (train, held_out), DRY_PICTURES)
            more = pictures.few(more, DRY_MORE)
        parts = (
            self.check([*train, *more], masks=masks, skip_damaged=skip_damaged),
            self.check(held_out, masks=masks, skip_damaged=skip_damaged),
        )
        if told := self.more_facts(parts[0]):
            print(f"Training on {len(parts[0])} pictures, {told['pictures']} of them corrected.")
        return parts

    def more_facts(self, train: Examples) -> dict[str, Any] | None:
        """What a run states of the corrected photos among those that it was trained on.

        Returns
        -------
        `pictures`, how many; and `instead_of`, the names of those pictures of the data set whose
        place they took. None without `--more`.
        """
        if not self.more:
            return None
        added = {each.name for each in self.more} & {each.name for each in train}
        own = {each.name for each in self.split("trainval", 0)}
        return {"pictures": len(added), "instead_of": sorted(added & own)}

    def check(self, examples: Examples, *, masks: bool, skip_damaged: bool) -> Examples:
        """Read all pictures (and masks) once; leave out damaged ones if `skip_damaged`.

        Raises
        ------
        training.archives.DataError
            If something is damaged or missing and not to be left out.
        """
        return pictures.check(
            examples,
            partial(_read, masks=masks),
            self.home / REMEMBERED,
            kind="photo and mask" if masks else "photo",
            skip_damaged=skip_damaged,
        )


def _read(example: Any, masks: bool) -> list[Path]:  # noqa: ANN401
    """Read an example's files; return them.

    Raises
    ------
    Exception
        If one cannot be read.
    """
    photo = open_photo(example.photo)
    files = [example.photo]
    if masks:
        mask: NDArray[np.integer]
        if isinstance(example, nuclei.Example):
            file, mask = example.labels, nuclei.read_instances(example)
        else:
            file = example.trimap if isinstance(example, pets.Example) else example.mask
            mask = example.read_classes()
        if mask.ndim != 2:
            raise ValueError("its mask is a picture of several channels")
        if mask.shape != photo.shape[:2]:
            raise ValueError("photo and mask have different sizes")
        if isinstance(example, pets.Example) and mask.max() >= len(pets.MASK_CLASSES):
            raise ValueError("its trimap has other values than 1, 2 and 3")
        files.append(file)
    return files


def open_pets(
    root: Path | None = None, source: str | Path | None = None, more: Path | None = None
) -> DataSet:
    """The Oxford-IIIT Pet data set, downloaded and extracted if necessary.

    `more` is a folder of corrected photos to train on as well; see `with_more`.
    """
    root = pets.prepare(root or pets.ROOT, source or pets.URL)
    data = DataSet(
        pets.NAME,
        tuple({"name": breed.name, "species": breed.species} for breed in pets.breeds(root)),
        pets.MASK_CLASSES,
        pets.SPLITS,
        lambda name, fold: pets.split(root, name, fold=fold),
        root,
        random=lambda: pets.random_split(root),
    )
    return with_more(data, more, pets.breeds(root)) if more else data


def with_more(data: DataSet, folder: Path, breeds: Sequence[pets.Breed]) -> DataSet:
    """The pets, with the corrected photos of a folder to train on; see `training.corrections`.

    Raises
    ------
    training.archives.DataError
        When the folder cannot be used, or holds pictures of the test split.
    """
    more = corrections.read(folder, breeds)
    tested = {each.name for each in more} & {each.name for each in data.split("test", 0)}
    if tested:
        raise DataError(
            f"{folder} holds {min(tested)}, a picture of the test split, on which nothing is "
            "trained: take it out."
        )
    return replace(data, more=tuple(more))


def open_nuclei(root: Path | None = None, source: str | Path | None = None) -> DataSet:
    """The 2018 Data Science Bowl's nuclei, downloaded and extracted if necessary."""
    root = nuclei.prepare(root or nuclei.ROOT, source or nuclei.URL)
    return DataSet(
        nuclei.NAME,
        (),
        nuclei.MASK_CLASSES,
        nuclei.SPLITS,
        lambda name, fold: nuclei.split(root, name),
        root,
    )


def open_folder(folder: str | Path, *, masks: bool) -> DataSet:
    """Your own pictures: with masks beside them, or in one folder per class."""
    folder = Path(folder)
    found = folders.examples(folder, masks)
    name = folder.resolve().name
    return DataSet(
        name,
        () if masks else tuple({"name": label} for label in folders.classes(folder)),
        (name, "background", "border"),
        folders.SPLITS,
        lambda name, fold: folders.split(found, name, fold),
        folder,
        own=True,
    )


def open_folder_or_pets(
    folder: str | Path | None,
    root: Path | None,
    source: str | None,
    more: Path | None = None,
    *,
    masks: bool,
) -> DataSet:
    """Your own pictures if a folder is given, otherwise the pets, with `more` corrected photos."""
    if folder and more:
        raise UserError("--more adds photos to the pets: leave --folder out.")
    return open_folder(folder, masks=masks) if folder else open_pets(root, source, more)


OFFICIAL = {pets.NAME: open_pets, nuclei.NAME: open_nuclei}


def open_for(
    facts: Mapping[str, Any],
    *,
    root: Path | None = None,
    source: str | Path | None = None,
    folder: Path | None = None,
) -> DataSet:
    """The data set on which a run or a model was trained.

    Parameters
    ----------
    facts
        Facts of the run or the card: `task`, `data`, and for a run `folder`.
    root, source
        Where an official data set is, and where it is downloaded from.
    folder
        Where your own pictures are, if they were moved since the run.

    Raises
    ------
    training.archives.DataError
        If the pictures are not available.
    """
    if facts["data"] in OFFICIAL:
        return OFFICIAL[facts["data"]](root, source)
    place = folder or facts.get("folder")
    if place is None:
        raise DataError(
            f"This model was trained on {facts['data']}: give its folder with --folder."
        )
    data = open_folder(Path(place), masks=facts["task"] == "segmentation")
    labels = [label["name"] for label in facts["labels"]]
    if data.labels and [label["name"] for label in data.labels] != labels:
        raise DataError(f"{place} has other classes than the model: {', '.join(labels)}.")
    return data


def held_out_by(data: DataSet, facts: Mapping[str, Any], split: str) -> Examples:
    """The examples of a split, divided as the run did it.

    What it was trained on after all, through `--more`, is not held out.
    """
    examples = data.split(split, facts.get("fold", 0))
    if split == "validation":
        learned = set((facts.get("more") or {}).get("instead_of", ()))
        examples = [each for each in examples if each.name not in learned]
    return pets.with_masks(examples) if facts["task"] == "segmentation" else examples


def choose(examples: Examples, names: Path) -> Examples:
    """The examples named in a text file, one per line, with or without their file extension.

    Raises
    ------
    training.errors.UserError
        If the file cannot be read, or names none of them.
    """
    try:
        chosen = {line.strip() for line in names.read_text().splitlines() if line.strip()}
    except (OSError, UnicodeError) as error:
        raise UserError(f"--names {names} cannot be read as text: {error}.") from error

    def ways(example: Any) -> set[str]:  # noqa: ANN401
        bare = PurePosixPath(example.name).with_suffix("").as_posix()
        return {example.name, bare, example.photo.name}

    kept = [example for example in examples if not chosen.isdisjoint(ways(example))]
    if not kept:
        raise UserError(f"{names} names no picture of the split.")
    return kept


def add_arguments(
    parser: argparse.ArgumentParser, *, folder: str | None = None, more: bool = False
) -> None:
    """Add the options about where the pictures are.

    `folder` is the help for your own ones; with `more`, corrected photos can be added.
    """
    parser.add_argument(
        "--root", type=Path, help="folder of the official data; by default data/pets, ..."
    )
    parser.add_argument("--source", help="base URL of the official archives, or a folder with them")
    if folder is not None:
        parser.add_argument("--folder", type=Path, help=folder)
    if more:
        parser.add_argument(
            "--more",
            type=Path,
            metavar="FOLDER",
            help="corrected photos to train on as well, in the layout of the pets: images, "
            "annotations/trimaps and annotations/list.txt",
        )
    parser.add_argument(
        "--skip-damaged", action="store_true", help="leave out pictures that cannot be read"
    )


def add_fold(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which pictures of the official split a training holds out."""
    parser.add_argument(
        "--fold",
        type=int,
        choices=range(2 * pets.FOLDS),
        metavar="FOLD",
        default=0,
        help="of the official split, the tenth to hold out: 0 to 9 drawn at random, 10 to 19 a "
        "range of each breed's numbers, which seldom divides the photos of one animal",
    )


CLASS_FOLDER = "your own pictures instead, in a folder for each class"
MASK_FOLDER = "your own photos instead, each with its mask beside it: NAME.png or NAME_mask.png"
EITHER_FOLDER = "folder of your own pictures, if they were moved since the training"
