"""Photos without a cat or a dog: tools, cups, fish, monuments, music, farm and wild animals.

The rule that refuses photos is fitted and measured on them (see `training.refusal`). They come from
Debian's package of GCompris, https://gcompris.net, a suite of games for children: free pictures by
many authors, who are listed with their licences in the package.

    python -m training.others --root data/others                    # from Debian's server
    python -m training.others --root data/others --source FOLDER    # from a folder with the package
"""

import csv
import io
import struct
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training import archives, command_line, pets
from training.folders import ENDINGS

NAME = "GCompris photos without a pet"
ROOT = Path("data/others")  # default folder
URL = "https://deb.debian.org/debian/pool/main/g/gcompris-qt"
PACKAGE, PACKAGE_MD5 = "gcompris-qt-data_3.1-2_all.deb", "deabff968331d73e6821d853ddb6c4d8"
# The package's resource files that contain photos, and what kind of things these show.
RESOURCES = {
    "categorization": "things",
    "explore_monuments": "things",
    "explore_world_music": "things",
    "explore_farm_animals": "animals",
    "explore_world_animals": "animals",
    "erase": "animals",
}
PETS = ("cat", "dog", "kitten")
SPLITS = ("train", "test")
TEST_SHARE = 0.5
SPLIT_SEED = 42


@dataclass(frozen=True)
class Example:
    """One photo: its file, and what kind of thing it shows.

    `number` is the index of its class in a breed model's second head, if known.
    """

    name: str
    photo: Path
    kind: str
    number: int | None = None


def prepare(root: Path, source: str | Path = URL) -> Path:
    """Make sure that the photos are under `root`, one folder per resource file; return `root`.

    Raises
    ------
    training.archives.DataError
        If the package is not available, or is not the expected one.
    """
    root = Path(root)
    complete = root / ".complete"
    if complete.exists():
        return root
    if str(source).startswith(("http://", "https://")):
        package = root / "archives" / PACKAGE
        archives.download(f"{source}/{PACKAGE}", package, PACKAGE_MD5)
    else:
        package = Path(source) / PACKAGE
        if not package.is_file() or archives.file_md5(package) != PACKAGE_MD5:
            raise archives.DataError(
                f"--source must contain {PACKAGE}, undamaged: {source} does not."
            )
    for resource, content in _resource_files(package):
        folder = root / resource
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in read_resources(content):
            path = PurePosixPath(name)
            if path.suffix == ".webp" and path.stem not in PETS:
                (folder / path.name).write_bytes(picture)
    complete.touch()
    return root


def _resource_files(package: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of the package's resource files: a tar in an `ar` archive, see deb(5)."""
    content = package.read_bytes()
    start = len(b"!<arch>\n")
    while not content[start:].startswith(b"data.tar"):
        start += 60 + (int(content[start + 48 : start + 58]) + 1) // 2 * 2
    with tarfile.open(fileobj=io.BytesIO(content[start + 60 :])) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            file = archive.extractfile(member) if path.suffix == ".rcc" else None
            if file and path.stem in RESOURCES:
                yield path.stem, file.read()


def read_resources(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of each uncompressed file in a Qt resource file.

    The format is that of `rcc --binary`, version 2 and later, as QResource reads it: a tree of
    nodes, in which directories refer to their children, and files to their data. Compressed files
    are skipped; photos are not compressed.
    """
    _, _, tree, data, names = struct.unpack_from(">4s4I", content)
    node_size, directory, compressed = 22, 2, 1 | 4

    def walk(number: int, parent: PurePosixPath) -> Iterator[tuple[str, bytes]]:
        node = tree + number * node_size
        name, flags, first, second = struct.unpack_from(">IHII", content, node)
        length = struct.unpack_from(">H", content, names + name)[0] if number else 0
        start = names + name + 6  # after the length and a hash
        path = parent / content[start : start + 2 * length].decode("utf-16-be")
        if flags & directory:
            for child in range(second, second + first):
                yield from walk(child, path)
        elif not flags & compressed:
            # `first` is country and language
            size = struct.unpack_from(">I", content, data + second)[0]
            start = data + second + 4
            yield str(path), content[start : start + size]

    return walk(0, PurePosixPath())


def split(root: Path, name: str, seed: int = SPLIT_SEED) -> list[Example]:
    """The examples of a split, sorted by name: "test" is a seeded half of each resource file."""
    if name not in SPLITS:
        raise ValueError(f"The split must be one of {', '.join(SPLITS)}, not {name!r}.")
    files = sorted(root.glob("*/*.webp"))
    test = pets.stratified([file.parent.name for file in files], TEST_SHARE, seed)
    return [
        Example(f"{file.parent.name}/{file.stem}", file, RESOURCES[file.parent.name])
        for index, file in enumerate(files)
        if (index in test) == (name == "test")
    ]


def backgrounds(root: Path | None, source: str | Path = URL, name: str = "train") -> list[Path]:
    """The photos of a split as backgrounds of scenes; none without a `root`."""
    if root is None:
        return []
    return [example.photo for example in split(prepare(root, source), name)]


def own(folder: Path) -> Callable[[str], list[Example]]:
    """A folder of your own photos, divided as `split` divides those of the package.

    Raises
    ------
    training.archives.DataError
        If it contains fewer than two.
    """
    files = sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    )
    if len(files) < 2:
        raise archives.DataError(f"{folder} must contain at least two photos of other things.")
    test = pets.stratified(["own"] * len(files), TEST_SHARE, SPLIT_SEED)

    def part(name: str) -> list[Example]:
        return [
            Example(file.relative_to(folder).as_posix(), file, "things")
            for index, file in enumerate(files)
            if (index in test) == (name == "test")
        ]

    return part


def labelled(folder: Path, name: str) -> list[Example]:
    """The photos of a folder that its `labels.csv` names, as `training.refusal` describes it.

    The first, third, ... photo of each kind belongs to the split "train", the others to "test".

    Raises
    ------
    training.archives.DataError
        When the table cannot be read, or names a photo that is not there.
    """
    table = Path(folder) / "labels.csv"
    examples, seen = [], Counter[str]()
    try:
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                photo, number = table.with_name(row["file"]), row.get("imagenet_class")
                if not photo.is_file():
                    raise archives.DataError(f"{table} names {row['file']}, which is not there.")
                if (seen[row["kind"]] % 2 == 1) == (name == "test"):
                    known = int(number) if number else None
                    examples.append(Example(row["file"], photo, row["kind"], known))
                seen[row["kind"]] += 1
    except (OSError, UnicodeError, KeyError, ValueError) as error:
        raise archives.DataError(
            f"{table} cannot be read as a table with the columns file and kind: {error!r}."
        ) from error
    return examples


def main(words: Sequence[str] | None = None) -> None:
    """Download, extract and count the photos."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="their folder")
    parser.add_argument(
        "--source", default=URL, help="base URL of the package, or a folder with it"
    )
    arguments = parser.parse_args(words)
    root = prepare(arguments.root, arguments.source)
    for name in SPLITS:
        part = split(root, name)
        kinds = {
            kind: sum(example.kind == kind for example in part) for kind in ("things", "animals")
        }
        print(f"{name}: {len(part)} photos, {kinds}")


if __name__ == "__main__":
    command_line.run(main)
