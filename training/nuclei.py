"""The cell nuclei of the 2018 Data Science Bowl in their official layout: download, extract, split.

664 pictures (with the community's corrections): fluorescent nuclei on black, grey ones in bright
field, and stained tissue in colour, with one mask file per nucleus: Caicedo et al., "Nucleus
segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods 2019;
collection BBBC038 of the Broad Bioimage Benchmark Collection, https://bbbc.broadinstitute.org.
Licence CC0.

    python -m training.nuclei --root data/nuclei                    # from the official server
    python -m training.nuclei --root data/nuclei --source FOLDER    # from a folder with the archive
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from models.images import open_photo
from training import archives, command_line, pets
from training.pictures import read_all

NAME = "DSB 2018 nuclei"
ROOT = Path("data/nuclei")  # default folder
URL = "https://data.broadinstitute.org/bbbc/BBBC038"
ARCHIVES = ("stage1_train.zip", "stage1_train.tar.gz")  # the official archive, and a repacked one
FOLDER = "stage1_train"
LABELS = "labels"
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1  # share of what is not in the test split
SPLIT_SEED = 42
SPLITS = ("train", "validation", "test")

NUCLEUS, BACKGROUND, BORDER = 1, 2, 3
MASK_CLASSES = ("nucleus", "background", "border")

Kind = Literal["fluorescence", "bright", "stained"]


@dataclass(frozen=True)
class Example:
    """One picture: its file, its nuclei (a 16-bit PNG of labels), and how it was made."""

    name: str
    photo: Path
    labels: Path
    kind: Kind


def prepare(root: Path, source: str | Path = URL) -> Path:
    """Make sure that the pictures lie extracted under `root`; return `root`.

    Each picture's many mask files are merged into one label image.

    Parameters
    ----------
    root
        Folder for `stage1_train/` and `labels/`; the archive stays in `root/archives`.
    source
        Base URL of the official archive, or a folder that holds it.

    Raises
    ------
    training.archives.DataError
        If the archive is not available, is damaged, or contains a path outside its folder.
    """
    root = Path(root)
    complete = root / ".complete"
    if complete.exists():
        return root
    if str(source).startswith(("http://", "https://")):
        archive = root / "archives" / ARCHIVES[0]
        archives.download(f"{source}/{ARCHIVES[0]}", archive)
    else:
        found = [Path(source) / name for name in ARCHIVES if (Path(source) / name).is_file()]
        if not found:
            raise archives.DataError(
                f"--source must hold {' or '.join(ARCHIVES)}: {source} does not."
            )
        archive = found[0]
    archives.extract(archive, root)
    folders = sorted(path.parent for path in root.glob(f"{FOLDER}/*/images"))
    if not folders:  # in the official zip, the pictures' folders have no common parent
        folders = sorted(path.parent for path in root.glob("*/images"))
        (root / FOLDER).mkdir()
        folders = [folder.rename(root / FOLDER / folder.name) for folder in folders]
    (root / LABELS).mkdir(exist_ok=True)
    with ThreadPoolExecutor() as pool:
        for _ in tqdm(pool.map(_merge_masks, folders), total=len(folders), desc="merging masks"):
            pass
    complete.touch()
    return root


def _merge_masks(folder: Path) -> None:
    """Write the label image: 0 for the background, then 1, 2, 3, ... for one nucleus each."""
    labels: NDArray[np.uint16] | None = None
    for number, path in enumerate(sorted((folder / "masks").glob("*.png")), start=1):
        with Image.open(path) as image:
            mask = np.array(image.convert("L")) > 0
        if labels is None:
            labels = np.zeros(mask.shape, np.uint16)
        labels[mask] = number
    if labels is None:
        raise archives.DataError(f"{folder} holds no masks.")
    Image.fromarray(labels).save(folder.parent.parent / LABELS / f"{folder.name}.png")


def kind_of(photo: NDArray[np.uint8]) -> Kind:
    """How a `(height, width, 3)` uint8 picture was made, judged by its colours."""
    if np.any(np.ptp(photo, axis=2) > 0):
        return "stained"
    return "fluorescence" if photo.mean() < 128 else "bright"


@cache  # splits are drawn from all of them
def examples(root: Path) -> tuple[Example, ...]:
    """All pictures, sorted by name."""
    paths = sorted((root / FOLDER).glob("*/images/*.png"))
    kinds = read_all(lambda path: kind_of(open_photo(path)), paths, "pictures' kinds")
    return tuple(
        Example(path.stem, path, root / LABELS / f"{path.stem}.png", kind)
        for path, kind in zip(paths, kinds, strict=True)
    )


def split(root: Path, name: str, seed: int = SPLIT_SEED) -> list[Example]:
    """The examples of a split: "test" is a seeded fifth of all, stratified by kind.

    "validation" is a tenth of the rest, drawn in the same way, and "train" what remains. The
    official test pictures were published without masks, so a part of the training pictures takes
    their place.
    """
    if name not in SPLITS:
        raise ValueError(f"The split must be one of {', '.join(SPLITS)}, not {name!r}.")
    everything = examples(root)
    rest, test = _divide(everything, TEST_SHARE, seed)
    if name == "test":
        return test
    train, validation = _divide(rest, VALIDATION_SHARE, seed)
    return train if name == "train" else validation


def _divide(
    whole: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    chosen = pets.stratified([example.kind for example in whole], share, seed)
    return (
        [example for index, example in enumerate(whole) if index not in chosen],
        [example for index, example in enumerate(whole) if index in chosen],
    )


def read_instances(example: Example) -> NDArray[np.int32]:
    """The nuclei as `(height, width)` int32: 0 for the background, 1 and up for the nuclei."""
    with Image.open(example.labels) as image:
        return np.array(image, dtype=np.int32)


def classes_of(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Class indices (0 nucleus, 1 background, 2 border) of `(..., height, width)` numbered nuclei.

    A nucleus's border is its outermost pixels, one pixel wide. Two touching nuclei are thus
    separated by two pixels, and nucleus and border together are exactly the annotated area.
    """
    inner = labels > 0
    for axis in (-2, -1):
        for step in (-1, 1):
            neighbour = np.roll(labels, step, axis)
            edge = [slice(None)] * labels.ndim
            edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            neighbour[tuple(edge)] = labels[tuple(edge)]  # the picture's edge is not a border
            inner &= neighbour == labels
    return np.select([inner, labels == 0], [0, 1], 2).astype(np.uint8)


def random_window(
    photo: NDArray[np.uint8],
    labels: NDArray[np.int32],
    side: int,
    random: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """A square crop of a picture and its labels; smaller pictures are mirrored to fill it."""
    rows, columns = labels.shape
    short = ((0, max(side - rows, 0)), (0, max(side - columns, 0)))
    photo, labels = np.pad(photo, (*short, (0, 0)), "symmetric"), np.pad(labels, short, "symmetric")
    top, left = (random.integers(0, length - side + 1) for length in labels.shape)
    window = slice(top, top + side), slice(left, left + side)
    return photo[window], labels[window]


def window_count(example: Example, area: float) -> int:
    """How many windows of a picture are used per epoch, depending on its area.

    Large pictures give more, but not as many as would fit, since their nuclei are similar. The two
    rare kinds count twice.
    """
    return max(1, round(area**0.5)) * (1 if example.kind == "fluorescence" else 2)


def main(words: Sequence[str] | None = None) -> None:
    """Download, extract and count the data set."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="its folder")
    parser.add_argument(
        "--source", default=URL, help="base URL of the official archive, or a folder with it"
    )
    arguments = parser.parse_args(words)
    root = prepare(arguments.root, arguments.source)
    for name in SPLITS:
        part = split(root, name)
        kinds = {kind: sum(example.kind == kind for example in part) for kind in get_args(Kind)}
        print(f"{name}: {len(part)} pictures, {kinds}")


if __name__ == "__main__":
    command_line.run(main)
