"""Find and list the pictures of the pets' test split that are also in trainval.

    python -m training.duplicates            # renews training/pets_duplicates.csv

The data set was collected from several websites and contains some pictures twice: the same file,
another size or crop of it, or the next shot of a series. Figures without the test split's
duplicates show whether these flatter a model.

Pictures are compared by a perceptual hash, the signs of the lowest frequencies of a small grey copy
(Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010). Those with
similar hashes are compared by the correlation of their copies, because some plain pictures have
equal hashes of 64 bits. Mirror images count as duplicates.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from tqdm import tqdm

from models.images import open_photo
from training import command_line, data_sets, pets
from training.data_sets import Examples

LIST = Path(__file__).parent / "pets_duplicates.csv"
SIDE = 32  # pixels of the grey copies
LOW = 8  # frequencies of each axis in the hash
NEAR = 12  # bits of the hash that may differ, at most
ALIKE = 0.95  # least correlation of two copies


@dataclass(frozen=True)
class Duplicate:
    """A picture of the test split, one of trainval that it repeats, and their correlation."""

    test: str
    trainval: str
    correlation: float


def gray_copies(examples: Examples) -> NDArray[np.float32]:
    """Small grey copies of all pictures: `(n, SIDE, SIDE)` float32, mean 0, Euclidean norm 1."""
    copies = np.empty((len(examples), SIDE, SIDE), np.float32)
    for copy, example in zip(copies, tqdm(examples, desc="pictures"), strict=True):
        gray = Image.fromarray(open_photo(example.photo)).convert("L")
        small = gray.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
        copy[:] = np.asarray(small)
    copies -= copies.mean(axis=(1, 2), keepdims=True)
    lengths = np.sqrt((copies**2).sum(axis=(1, 2), keepdims=True))
    return copies / np.maximum(lengths, np.finfo(np.float32).tiny)


def hashes(copies: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The signs of each copy's lowest frequencies against their median: `(n, LOW * LOW)` bool."""
    low = dctn(copies, axes=(1, 2), norm="ortho")[:, :LOW, :LOW].reshape(len(copies), -1)
    return low > np.median(low, axis=1, keepdims=True)


def find(test: NDArray[np.float32], trainval: NDArray[np.float32]) -> dict[int, tuple[int, float]]:
    """For each test picture that repeats one of trainval, that one's index and the correlation.

    Takes `gray_copies` of both.
    """
    known = hashes(trainval).astype(np.float32)
    flat = trainval.reshape(len(trainval), -1)
    found: dict[int, tuple[int, float]] = {}
    for mirrored in (False, True):
        copies = test[:, :, ::-1] if mirrored else test
        own = hashes(copies).astype(np.float32)
        # The number of bits that are set in only one of two hashes, as matrix products.
        differ = own @ (1 - known.T) + (1 - own) @ known.T
        for number, other in zip(*np.nonzero(differ <= NEAR), strict=True):
            correlation = float(copies[number].ravel() @ flat[other])
            if correlation >= ALIKE and correlation > found.get(number, (0, 0.0))[1]:
                found[int(number)] = (int(other), correlation)
    return found


def read(path: Path = LIST) -> list[Duplicate]:
    """The duplicates that are listed."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Duplicate(row["test"], row["trainval"], float(row["correlation"]))
            for row in csv.DictReader(file)
        ]


def write(duplicates: Sequence[Duplicate], path: Path = LIST) -> None:
    """List duplicates by the test picture's name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("test", "trainval", "correlation"))
        for each in sorted(duplicates, key=lambda each: each.test):
            writer.writerow((each.test, each.trainval, f"{each.correlation:.3f}"))


def main(words: Sequence[str] | None = None) -> None:
    """Find the duplicates of the official data set and list them."""
    parser = command_line.parser(__doc__)
    data_sets.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=LIST, help="the list")
    arguments = parser.parse_args(words)
    data = data_sets.open_pets(arguments.root, arguments.source)
    test, trainval = (data.split(name, 0) for name in ("test", "trainval"))
    found = find(gray_copies(test), gray_copies(trainval))
    duplicates = [
        Duplicate(test[number].name, trainval[other].name, correlation)
        for number, (other, correlation) in found.items()
    ]
    write(duplicates, arguments.out)
    print(
        f"{arguments.out}: {len(duplicates)} of {len(test)} pictures of the {pets.NAME} test split"
    )


if __name__ == "__main__":
    command_line.run(main)
