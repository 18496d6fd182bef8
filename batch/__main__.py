"""Describe every photo of folders, archives and data sets: one row of Parquet each.

python -m batch photos/ results/
python -m batch 'shards/*.tar' more.zip results/ --address auto
python -m batch hf://datasets/OWNER/NAME results/ --column image

Run the same command again to continue where it was stopped. docs/batch.md explains the rows.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from batch import names, runner
from batch.analyst import ATTEMPTS
from batch.places import SourceError
from batch.rounds import Settings
from batch.runner import Progress, RunError
from batch.sources import LARGEST_PART, MANY_PARTS, SMALLEST_PART, tell
from models import images
from models.cards import ModelError
from models.store import SOURCE_VARIABLE
from models.thresholding import MAX_CLASSES


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m batch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="folder, archive, Parquet file, hf:// or glob")
    add(
        "results", type=Path, metavar="RESULTS", help="folder that all machines see under this path"
    )
    add("--address", help="a Ray cluster, as HOST:6379 or auto (default: this machine alone)")
    add(
        "--workers",
        type=int,
        help="number of workers (default: one per core, or as many as GPUs hold)",
    )
    add("--workers-per-gpu", type=int, help="run on GPUs, with this many workers on each")
    part = (
        "photos in a part, which is repeated after a crash (default: all photos divided by "
        f"{MANY_PARTS}, but at least {SMALLEST_PART} and at most {LARGEST_PART})"
    )
    add("--part", type=int, help=part)
    add("--column", help="column of Parquet files with pictures (default: the first suitable one)")
    classes = f"brightness classes, 2 to {MAX_CLASSES} (default: %(default)s)"
    add(
        "--classes",
        type=int,
        choices=range(2, MAX_CLASSES + 1),
        default=3,
        metavar="N",
        help=classes,
    )
    models = "folder, or OWNER/REPO of the Hub (default: $PETSCOPE_MODELS, else the built-in ones)"
    add("--models", metavar="FOLDER", help=models)
    seconds = "seconds that one photo may take (default: %(default)g)"
    add("--seconds", type=float, default=60, help=seconds)
    memory = "GB that a worker may take for photos; 0: no limit (default: %(default)g)"
    add("--memory", type=float, default=4, help=memory)
    patience = "seconds without a report after which workers are replaced (default: %(default)g)"
    add("--patience", type=float, default=300, help=patience)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run until every photo has its row.

    Returns
    -------
    0, or 1 if the run could not begin, parts are missing, or a source could not be read.
    """
    parser = _parser()
    arguments = parser.parse_args(words)
    if arguments.patience <= ATTEMPTS * arguments.seconds:
        parser.error(f"--patience must be more than {ATTEMPTS} times --seconds")
    for name in ("part", "workers", "workers_per_gpu"):
        if (number := getattr(arguments, name)) is not None and number < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    if arguments.models:
        is_folder = Path(arguments.models).is_dir()
        chosen = str(Path(arguments.models).absolute()) if is_folder else arguments.models
        os.environ[SOURCE_VARIABLE] = chosen  # for the workers too
    try:
        images.limits_in(os.environ)
    except ValueError as error:
        parser.error(str(error))
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    settings = Settings(
        results=arguments.results,
        classes=arguments.classes,
        column=arguments.column,
        seconds=arguments.seconds,
        memory=int(arguments.memory * 1e9) or None,
        address=arguments.address,
        workers=arguments.workers,
        workers_per_gpu=arguments.workers_per_gpu,
    )
    try:
        progress = runner.run(
            arguments.sources, settings, arguments.part, arguments.patience, _shower()
        )
    except (RunError, SourceError, ModelError) as error:
        print(error, file=sys.stderr)
        return 1
    said = f"{progress}: {names.escape(str(arguments.results))}"
    if progress.left_out:
        said += f" ({tell(progress.left_out)})"
    print(said)
    return int(progress.unread > 0)


def _shower() -> Callable[[Progress], None]:
    """Shows progress in place on a terminal, and elsewhere as a line every half minute."""
    terminal = sys.stderr.isatty()
    shown = 0.0

    def show(progress: Progress) -> None:
        nonlocal shown
        if time.monotonic() > shown + (1 if terminal else 30):
            shown = time.monotonic()
            start, end = ("\x1b[K", "\r") if terminal else ("", "\n")
            print(f"{start}{progress}", end=end, file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    commandline.run(main, "Stopped: run the same command again to continue.")
