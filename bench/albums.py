"""Photos a second of albums, of this build and of another one in turns, and whether rows are equal.

    python -m bench.albums                        # this build alone
    python -m bench.albums --against ../older     # and another checkout, in turns
    python -m bench.albums --against ../older --write    # and renew docs/batch.md

Sixty JPEGs of twelve megapixels are made of the examples: enlarged, and with a sensor's noise. Each
turn is `python -m batch` on them, with one worker and with one for each core. The rate is that from
when each worker has finished about one part to the last part, so without the seconds in which Ray
starts and models load.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

import documents
from batch import rle
from models import processor
from models.images import open_photo
from models.runtime import usable_cores

ROOT = Path(__file__).parent.parent
START = "<!-- albums: written by bench.albums -->"
END = "<!-- /albums -->"

PHOTOS, PART = 60, 6
WIDTH, HEIGHT = 4032, 3024
NOISE = 5.0  # standard deviation, of 255
TURNS = 5

Row = Mapping[str, Any]


def write_photo(number: int, example: Path, folder: Path) -> None:
    """An example as a camera might have taken it: enlarged, cropped to its format, with noise."""
    image = Image.fromarray(open_photo(example))
    side = min(image.width * HEIGHT, image.height * WIDTH)
    box = (0.0, 0.0, side / HEIGHT, side / WIDTH)
    large = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box), np.float32)
    noise = np.random.default_rng(number).normal(0, NOISE, (HEIGHT, WIDTH, 1)).astype(np.float32)
    photo = Image.fromarray(np.rint(np.clip(large + noise, 0, 255)).astype(np.uint8))
    photo.save(folder / f"{number:03}.jpg", quality=90)


def write_photos(folder: Path, count: int = PHOTOS) -> None:
    """The photos of the measurement: one of each example, and copies of these."""
    found = sorted((ROOT / "examples").glob("*.[jp][pn]g"))[:count]
    with ProcessPoolExecutor(usable_cores()) as pool:
        list(pool.map(write_photo, range(len(found)), found, [folder] * len(found)))
    for number in range(len(found), count):
        shutil.copy(folder / f"{number % len(found):03}.jpg", folder / f"{number:03}.jpg")


def photos_per_second(root: Path, photos: Path, results: Path, workers: int) -> float:
    """Let a build process the photos into a folder; return its photos per second."""
    command = [sys.executable, "-m", "batch", photos, results, "--part", PART, "--workers", workers]
    subprocess.run(list(map(str, command)), cwd=root, check=True, capture_output=True)  # noqa: S603
    return rate(results, workers)


def rate(results: Path, workers: int) -> float:
    """Photos per second after as many finished parts as there are workers.

    Workers that begin together finish their parts almost together. Counted from the first finished
    part, the others' first parts would seem to have taken no time.
    """
    finished = sorted(path.stat().st_mtime for path in results.glob("part-*.parquet"))
    return (len(finished) - workers) * PART / (finished[-1] - finished[workers - 1])


def rows(results: Path) -> dict[str, Row]:
    """The rows by the photos' names."""
    from pyarrow import dataset  # slow to import: not for --help

    table = dataset.dataset(list(map(str, results.glob("part-*.parquet")))).to_table()
    return {row["name"]: row for row in table.to_pylist()}


def differences(ours: Mapping[str, Row], theirs: Mapping[str, Row]) -> dict[str, float]:
    """The largest differences between two builds' rows.

    Returns
    -------
    `photos` with other cuts or another number of pets; and of the rest in `pixels` how far an edge
    of a box is moved, of the `probability` of a breed, and what share of the photo's pixels in a
    pet's `outline`.
    """
    found = {"photos": 0.0, "pixels": 0.0, "probability": 0.0, "outline": 0.0}
    for name, one in ours.items():
        other = theirs[name]
        if one["cuts"] != other["cuts"] or len(one["pets"]) != len(other["pets"]):
            found["photos"] += 1
            continue
        for pet, same in zip(one["pets"], other["pets"], strict=True):
            for key, value in _pet_differences(pet, same, one["height"], one["width"]):
                found[key] = max(found[key], value)
    return found


def _pet_differences(one: Row, other: Row, height: int, width: int) -> Iterator[tuple[str, float]]:
    yield "pixels", max(abs(a - b) for a, b in zip(one["box"], other["box"], strict=True))
    known = {breed["name"]: breed["probability"] for breed in other["breeds"]}
    for breed in one["breeds"]:
        if breed["name"] in known:  # each row has the five most probable
            yield "probability", abs(breed["probability"] - known[breed["name"]])
    masks = [rle.decode(pet["mask"], height, width) for pet in (one, other)]
    yield "outline", float((masks[0] != masks[1]).mean())


def measure(
    against: Path | None, turns: int = TURNS, count: int = PHOTOS, kept: Path | None = None
) -> dict[str, Any]:
    """Medians of some turns.

    Returns
    -------
    Photos a second by number of workers of `this` build and of the `other`, their `bytes`, and the
    `differences`.
    """
    roots = {"this": ROOT} | ({"other": against} if against else {})
    workers = sorted({1, usable_cores()})
    rates: dict[str, dict[int, list[float]]] = {
        name: {number: [] for number in workers} for name in roots
    }
    record: dict[str, Any] = {
        "photos": count,
        "cores": usable_cores(),
        "processor": processor.name(),
        "date": time.strftime("%Y-%m-%d"),
    }
    with tempfile.TemporaryDirectory() as folder:
        photos = kept or Path(folder) / "photos"
        photos.mkdir(parents=True, exist_ok=True)
        if not any(photos.iterdir()):
            write_photos(photos, count)
        record["bytes"] = sum(path.stat().st_size for path in photos.iterdir()) / count
        for turn in range(turns):
            for number in workers:
                for name, root in roots.items():
                    results = Path(folder) / f"{name}-{number}-{turn}"
                    rates[name][number].append(photos_per_second(root, photos, results, number))
        if against:
            record["differences"] = differences(
                *(rows(Path(folder) / f"{name}-1-0") for name in roots)
            )
    return record | {
        name: {number: median(found) for number, found in each.items()}
        for name, each in rates.items()
    }


def text(record: Mapping[str, Any]) -> str:
    """The rates as Markdown, with what they were measured on."""
    builds = {"this": "this build"} | ({"other": "the build before"} if "other" in record else {})
    few, *more = record["this"]
    lines = [
        f"Measured {record['date']} on {record['cores']} cores ({record['processor']}) with "
        f"{record['photos']} JPEGs of {WIDTH} x {HEIGHT} pixels, {record['bytes'] / 1e6:.1f} MB "
        "each (the examples enlarged, with noise), in turns:",
        "",
        f"| | {' | '.join(f'{name}, photos/s' for name in builds.values())} |",
        f"|---|{'---|' * len(builds)}",
    ]
    for number in record["this"]:
        label = "one worker" if number == 1 else f"{number} workers"
        lines.append(f"| {label} | {' | '.join(f'{record[b][number]:.2f}' for b in builds)} |")
    for number in more:
        shares = (record[build][number] / number / record[build][few] for build in builds)
        lines.append(f"| of {number} x one | {' | '.join(f'{share:.0%}' for share in shares)} |")
    if "differences" in record:
        found = record["differences"]
        lines += [
            "",
            f"Between the two, {found['photos']:.0f} photos have other cuts or another number of "
            f"pets; edges of boxes lie up to {found['pixels']:.0f} pixels apart, probabilities up "
            f"to {found['probability']:.4f}, and up to {found['outline']:.2%} of a photo's pixels "
            "are in one outline alone.",
        ]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and renew the table where that is asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="another checkout, measured in turns")
    parser.add_argument("--write", action="store_true", help="renew docs/batch.md")
    parser.add_argument("--turns", type=int, default=TURNS, help="(default: %(default)s)")
    parser.add_argument("--photos", type=int, default=PHOTOS, help="(default: %(default)s)")
    parser.add_argument("--kept", type=Path, help="folder for the photos, to use them again")
    arguments = parser.parse_args(words)
    if arguments.against and not (arguments.against / "batch" / "__main__.py").is_file():
        parser.error(f"{arguments.against} is not a checkout of the app")
    written = text(measure(arguments.against, arguments.turns, arguments.photos, arguments.kept))
    if arguments.write:
        documents.renew(START, END, written)
    print(written)


if __name__ == "__main__":
    commandline.run(main)
