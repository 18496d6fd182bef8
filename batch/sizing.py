"""Speed and size of results, measured on this machine and extrapolated to albums of any size.

python -m batch.sizing FOLDER               # measure with a folder's photos, print the tables
python -m batch.sizing FOLDER --write       # and renew docs/batch.md
python -m batch.sizing --price 0.04         # the tables from the record, with a core-hour's price
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import documents
from batch import rows, runner, sources
from batch.analyst import Analyst, AnalystError
from batch.places import SourceError
from batch.rounds import Settings
from batch.runner import RunError
from models import processor
from models.cards import ModelError
from models.runtime import usable_cores

RECORD = documents.ROOT / "docs" / "batch.json"
START = "<!-- sizing: written by batch.sizing -->"
END = "<!-- /sizing -->"

PHOTOS = (1_000_000, 1_000_000_000)
MACHINES = ((1, 16), (10, 64), (100, 64))  # machines, cores of each
ALONE_SECONDS = 20.0  # for measuring one process
PART = 100  # photos at most
PARTS_A_CORE = 10  # at least, if there are enough photos: with fewer, some workers would get none


def measure(folder: str) -> dict[str, Any]:
    """Photos per second of one process and of one worker per core, with a folder's photos.

    The workers' rate is measured between their first and last report, so it excludes the seconds in
    which Ray starts and models load; those are recorded separately.
    """
    parts = sources.plan([folder], PART).parts
    analyst = Analyst(classes=3, seconds=600)
    photos = [found.content for part in parts for found in sources.read(part)]
    analyst.row(photos[0])
    began, count = time.monotonic(), 0
    while time.monotonic() < began + ALONE_SECONDS:
        analyst.row(photos[count % len(photos)])
        count += 1
    alone = count / (time.monotonic() - began)
    analyst.close()

    words: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as results:
        settings = Settings(results=Path(results))
        began = time.monotonic()
        runner.run(
            [folder],
            settings,
            part_size(len(photos), usable_cores()),
            show=lambda progress: words.append((time.monotonic(), sum(progress.done.values()))),
        )
        whole = time.monotonic() - began
        from pyarrow import dataset  # slow to import: not for --help

        together = Path(results) / "together.parquet"  # small files are more than their rows
        with rows.PartFile(together, {}) as file:
            for row in dataset.dataset(list(Path(results).glob("part-*"))).to_table().to_pylist():
                file.add(row)
        size = together.stat().st_size
    (first, before), (last, after) = words[0], words[-1]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor.name(),
        "cores": usable_cores(),
        "photos": len(photos),
        "photo_bytes": sum(map(len, photos)) / len(photos),
        "row_bytes": size / len(photos),
        "alone": alone,
        "together": (after - before) / (last - first),
        "start_seconds": first - began,
        "whole_seconds": whole,
    }


def part_size(photos: int, cores: int) -> int:
    """Photos in a part, so that every worker in a measurement gets several parts."""
    return min(max(photos // (PARTS_A_CORE * cores), 1), PART)


def tables(record: Mapping[str, Any], price: float | None = None) -> str:
    """The measurement and the sizes computed from it, as Markdown.

    Parameters
    ----------
    record
        From `measure`.
    price
        Of a core-hour, in any currency; without it, the table has no prices.
    """
    each = record["together"] / record["cores"]
    efficiency = record["together"] / (record["alone"] * record["cores"])
    lines = [
        f"Measured {record['date']} on {record['cores']} cores ({record['processor']}) with "
        f"{record['photos']:,} photos of {record['photo_bytes'] / 1000:,.0f} kB:",
        "",
        "| | photos/s |",
        "|---|---|",
        f"| one process alone | {record['alone']:.2f} |",
        f"| {record['cores']} workers | {record['together']:.2f} |",
        f"| of cores x one process | {efficiency:.0%} |",
        "",
        f"Ray and the workers took {record['start_seconds']:.0f} s to start. A row takes "
        f"{record['row_bytes'] / 1000:.1f} kB.",
        "",
        "Computed, at that rate a core:",
        "",
        "| photos | pictures | rows | core-hours | "
        + " | ".join(f"{count} x {cores} cores" for count, cores in MACHINES)
        + (" | price |" if price is not None else " |"),
        "|---|---|---|---|" + "---|" * (len(MACHINES) + (price is not None)),
    ]
    for photos in PHOTOS:
        seconds = photos / each
        cells = [
            f"{photos:,}",
            _bytes(photos * record["photo_bytes"]),
            _bytes(photos * record["row_bytes"]),
            f"{seconds / 3600:,.0f}",
            *(runner.duration(seconds / (count * cores)) for count, cores in MACHINES),
        ]
        if price is not None:
            cells.append(f"{seconds / 3600 * price:,.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _bytes(count: float) -> str:
    unit = next(unit for unit in ("MB", "GB", "TB", "PB") if count < _UNITS[unit] * 1000)
    return f"{count / _UNITS[unit]:,.1f} {unit}"


_UNITS = {"MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}


def write(record: Mapping[str, Any], table: str) -> None:
    """Save the record, and put the tables into docs/batch.md."""
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
    documents.renew(START, END, table)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, or read the record, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", help="photos to measure with")
    parser.add_argument("--write", action="store_true", help="renew docs/batch.md")
    parser.add_argument("--price", type=float, help="of a core-hour, for a column of prices")
    arguments = parser.parse_args(words)
    try:
        record = measure(arguments.folder) if arguments.folder else json.loads(RECORD.read_text())
    except (SourceError, RunError, AnalystError, ModelError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    table = tables(record, arguments.price)
    if arguments.write:
        write(record, table)
    print(table)
    return 0


if __name__ == "__main__":
    commandline.run(main)
