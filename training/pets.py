"""The Oxford-IIIT Pet data set in its official layout: download, verify, extract, split.

37 breeds of cats and dogs, 7,349 pictures, each with a trimap (1 pet, 2 background, 3 border):
Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and Dogs", CVPR 2012,
https://www.robots.ox.ac.uk/~vgg/data/pets/. Licence CC BY-SA 4.0.

    python -m training.pets --root data/pets                      # from the official server
    python -m training.pets --root data/pets --source FOLDER      # from a folder with the archives
"""

import argparse
import gzip
import hashlib
import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

NAME = "Oxford-IIIT Pet"
ROOT = Path("data/pets")  # where it lies unless said otherwise
URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"
ARCHIVES = {  # name -> MD5 of the official file, as torchvision and TensorFlow Datasets know it
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
}
VALIDATION_SHARE = 0.1
SPLIT_SEED = 42
SPLITS = ("train", "validation", "trainval", "test")

PET, BACKGROUND, BORDER = 1, 2, 3
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


class DataError(Exception):
    """The data set cannot be had or is not what it should be; the message says what to do."""


@dataclass(frozen=True)
class Example:
    """One picture of the data set: its files, and its breed as an index into `breeds()`."""

    name: str
    photo: Path
    trimap: Path
    breed: int


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
        When an archive cannot be had, is damaged, or holds a path outside its folder.
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


def download(url: str, target: Path, md5: str | None = None, attempts: int = 5) -> None:
    """Download `url` to `target`, going on where an earlier try stopped, and check its MD5.

    Without an MD5 a file that is there is taken to be complete.

    Raises
    ------
    DataError
        When all attempts fail, or the complete file has another checksum (it is then deleted).
    """
    if target.exists() and md5 in (None, file_md5(target)):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    for attempt in range(1, attempts + 1):
        try:
            _download_rest(url, part)
            break
        except (OSError, http.client.HTTPException) as error:  # a URLError is an OSError
            permanent = isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404)
            if permanent or attempt == attempts:
                raise DataError(f"{url} cannot be downloaded: {error}.") from error
            time.sleep(min(2**attempt, 30) / 4)
    if md5 is not None and file_md5(part) != md5:
        part.unlink()
        raise DataError(f"{url} arrived damaged (wrong MD5): run the command again.")
    part.replace(target)


def _download_rest(url: str, part: Path) -> None:
    """Append to `part` what it lacks of `url`."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  # `prepare` checks it
    try:
        response = urllib.request.urlopen(request, timeout=60)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send: the part is complete
            return
        raise
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        total = int(length) + (have if resumed else 0) if length else None
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                total=total,
                initial=have if resumed else 0,
                unit="B",
                unit_scale=True,
                desc=part.name.removesuffix(".part"),
            ) as bar,
        ):
            while chunk := response.read(1 << 20):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise OSError("the connection was cut")


def file_md5(path: Path) -> str:
    """MD5 of a file as hexadecimal digits; it guards against damage, not against forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def extract(archive: Path, root: Path) -> None:
    """Extract a `.tar.gz` or `.zip` of plain files; refuse anything that leaves `root`.

    Raises
    ------
    DataError
        For absolute or parent paths, links and devices, and damaged archives.
    """
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    unpack = _extract_zip if archive.suffix == ".zip" else _extract_tar
    try:
        unpack(archive, root)
    except (
        *(tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError),
    ) as error:
        raise DataError(f"{archive} cannot be extracted: {error}.") from error


def _extract_tar(archive: Path, root: Path) -> None:
    size = archive.stat().st_size  # of which the share that is read tells the time left
    with (
        archive.open("rb") as file,
        tqdm.wrapattr(file, "read", total=size, desc=f"extracting {archive.name}") as counted,
        gzip.open(counted) as content,
        tarfile.open(fileobj=content, mode="r|") as tar,
    ):
        for member in tar:
            target = _target(archive, root, member.name)
            if not (member.isfile() or member.isdir()):
                raise DataError(f"{archive} holds {member.name!r}, which is refused.")
            packed = tar.extractfile(member)
            if packed is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed, target.open("wb") as copy:
                shutil.copyfileobj(packed, copy)
        # At a damaged header tarfile stops as if the archive ended there; the checksum at the
        # end of the compressed file tells, once everything before it has been read.
        while content.read(1 << 20):
            pass


def _extract_zip(archive: Path, root: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        for member in tqdm(content.infolist(), unit=" files", desc=f"extracting {archive.name}"):
            _target(archive, root, member.filename)
            content.extract(member, root)


def _target(archive: Path, root: Path, name: str) -> Path:
    target = (root / name).resolve()
    if not target.is_relative_to(root):
        raise DataError(f"{archive} holds {name!r}, which is refused.")
    return target


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

    "test" and "trainval" are the official ones; "validation" is a stratified, seeded part of
    trainval and "train" the rest of it. The parts of different folds do not overlap. The test split
    is for the last measurement only.
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
                breed=int(class_id) - 1,
            )
        )
    if name in ("test", "trainval"):
        return examples
    held_out = stratified([example.breed for example in examples], validation_share, seed, fold)
    return [
        example
        for index, example in enumerate(examples)
        if (index in held_out) == (name == "validation")
    ]


def random_split(
    root: Path, share: float = 0.2, seed: int = SPLIT_SEED
) -> tuple[list[Example], list[Example]]:
    """Training and held-out examples drawn at random from all pictures, the official test too.

    The protocol of many notebooks. Its figures cannot be set beside those on the official split.
    """
    examples = [*split(root, "trainval"), *split(root, "test")]
    order = np.random.default_rng(seed).permutation(len(examples))
    held_out = set(order[: round(share * len(examples))].tolist())
    return (
        [example for index, example in enumerate(examples) if index not in held_out],
        [example for index, example in enumerate(examples) if index in held_out],
    )


def stratified(classes: Sequence[int | str], share: float, seed: int, fold: int = 0) -> set[int]:
    """Indices of a random part that holds the same share of every class; each fold has others."""
    labels = np.array(classes)
    random = np.random.default_rng(seed)
    chosen: set[int] = set()
    for label in np.unique(labels):
        indices = random.permutation(np.flatnonzero(labels == label))
        size = round(share * len(indices))
        chosen.update(indices[fold * size : (fold + 1) * size].tolist())
    return chosen


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
    """Leave out the examples whose trimap is known to be wrong."""
    return [example for example in examples if example.name not in FAULTY_TRIMAPS]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every script on this data set has."""
    parser.add_argument("--root", type=Path, default=ROOT, help="where the data set lies extracted")
    parser.add_argument(
        "--source", default=URL, help="base URL of the official archives, or a folder with them"
    )


def main() -> None:
    """Download, verify and extract the data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    arguments = parser.parse_args()
    root = prepare(arguments.root, arguments.source)
    sizes = ", ".join(f"{name} {len(split(root, name))}" for name in SPLITS)
    print(f"{root}: {len(breeds(root))} breeds; pictures: {sizes}")


if __name__ == "__main__":
    main()
