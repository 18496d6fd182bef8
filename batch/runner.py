"""Runs rounds until all parts are done, whatever fails on the way; resumes earlier runs.

A part is done when its file exists; nothing else records it. A crash at any moment leaves either
the whole file or none. The plan is written only once, so a resumed run has the same parts.
"""

import json
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batch import places, rounds, rows, sources
from batch.places import PLAN, SourceError
from batch.rounds import Report, Settings
from batch.sources import Part, Plan
from models import commandline
from models.errors import one_line

LOG = "_log.txt"
LEFT_OUT = "_left_out.json"
PARTS_A_ROUND = 10_000  # parts at a time, of which a round's process has a copy
START_PATIENCE = 600.0  # seconds, instead of `patience`, until a round's first report
FRUITLESS_ROUNDS = 3  # rounds in a row without progress, after which the run gives up
PASSED_ON = ("HF_", "HUGGINGFACE_", "PETSCOPE_", "AWS_", "FSSPEC_")

logger = logging.getLogger(__name__)


class RunError(Exception):
    """A run cannot begin or end; the message is one sentence for the user."""


@dataclass
class Progress:
    """Progress of a run.

    Attributes
    ----------
    parts, parts_done
        How many parts there are, and how many are finished.
    photos
        How many photos there are; None until that is known for all parts.
    before
        Photos processed by an earlier run.
    done, failed
        Photos of each part that this run has processed, and how many of them got a row with an
        error.
    left_out
        Skipped files of the sources, as in `sources.Plan`; known at the end.
    unread
        How many sources could not be read; each has a row with an error.
    """

    parts: int
    photos: int | None
    parts_done: int = 0
    before: int = 0
    done: dict[int, int] = field(default_factory=dict)
    failed: dict[int, int] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    unread: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Photos per second in this run, since the first worker's report."""
        return sum(self.done.values()) / max(time.monotonic() - self.began, 1e-9)

    def __str__(self) -> str:
        new = sum(self.done.values())
        text = f"{self.before + new:,} "
        text += f"of {self.photos:,} photos" if self.photos is not None else "photos"
        if failed := sum(self.failed.values()):
            text += f" ({failed:,} failed)"
        text += f", {self.parts_done:,} of {self.parts:,} parts, {self.rate:.1f} photos/s"
        left = None
        if self.photos is not None:
            left = (self.photos - self.before - new) / self.rate if new else None
        elif self.parts_done:
            left = (self.parts - self.parts_done) * (time.monotonic() - self.began)
            left /= self.parts_done
        return text if left is None else f"{text}, {duration(left)} left"


def duration(seconds: float) -> str:
    """A time in words: "2 d 4 h", "3 h 20 min", "45 s"."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def run(
    words: Sequence[str],
    settings: Settings,
    size: int | None = None,
    patience: float = 300.0,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Describe every photo of the sources, or those that an earlier run into this folder left.

    Parameters
    ----------
    words
        The sources, as of `sources.plan`.
    settings
        For the workers.
    size
        Most photos in a part; by default that of `sources.part_size`.
    patience
        Seconds without a report from any worker after which a round is ended and the next one
        begun.
    show
        Called about once a second.

    Raises
    ------
    RunError
        If the folder holds another run's results, parts cannot be finished, or a source cannot be
        searched; everything else is done then.
    batch.places.SourceError
        When there are no photos.
    models.cards.ModelError
        When there are no models.
    """
    settings = replace(settings, results=settings.results.absolute(), environment=_environment())
    plan = _plan(words, settings, size)
    parts = plan.parts
    counts = [part.photos for part in parts]
    photos = None if None in counts else sum(filter(None, counts))
    progress = Progress(len(parts), photos, unread=sum(part.error is not None for part in parts))
    missing = _missing(settings.results, range(len(parts)))
    progress.parts_done = len(parts) - len(missing)
    progress.before = _rows_before(settings.results, parts, set(missing))
    fruitless, reasons = 0, dict[int, str]()
    while missing:
        finished = set()
        chosen = [(number, parts[number]) for number in missing[:PARTS_A_ROUND]]
        for report in _round(chosen, settings, patience):
            number = report.number
            if not progress.done:
                progress.began = time.monotonic() - rounds.REPORT_SECONDS
            progress.done[number], progress.failed[number] = report.done, report.failed
            if report.error:
                reasons[number] = report.error
            if report.finished:
                finished.add(number)
            progress.parts_done = len(parts) - len(missing) + len(finished)
            show(progress)
        still = _missing(settings.results, missing)
        fruitless = fruitless + 1 if len(still) == len(missing) else 0
        if still:
            logger.warning("%d of %d parts are missing after a round.", len(still), len(parts))
        if fruitless == FRUITLESS_ROUNDS:
            known = next((reasons[number] for number in still if number in reasons), "")
            raise RunError(
                f"{len(still)} of {len(parts)} parts could not be finished"
                f"{f' ({known})' if known else ''}: {settings.results / LOG} says more; "
                "run the same command again to continue."
            )
        missing = still
        progress.parts_done = len(parts) - len(missing)
    for draft in settings.results.glob(".part-*"):  # left by workers that died
        draft.unlink(missing_ok=True)
    progress.left_out = _left_out(settings.results, plan)
    if plan.unreachable:
        told = [places.UNREADABLE.format(*each) for each in plan.unreachable.items()]
        raise RunError(f"{' '.join(told)} {progress}; run the same command again to continue.")
    return progress


def _environment() -> dict[str, str]:
    ways = (*rounds.PROXIES, "NO_PROXY", "no_proxy")
    proxies = {name: os.environ[name] for name in ways if name in os.environ}
    return proxies | {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)}


def _plan(words: Sequence[str], settings: Settings, size: int | None) -> Plan:
    """The plan of the run in this folder; a new one if the folder is empty."""
    results = settings.results
    wanted = {
        "sources": json.dumps(list(words)),
        "classes": str(settings.classes),
        "models": json.dumps(rows.models_used()),
    }
    try:
        results.mkdir(parents=True, exist_ok=True)
        path = results / PLAN
        if path.exists():
            plan = _read_plan(path, wanted)
            if plan.unreachable:  # when it was written
                with suppress(SourceError):
                    plan = _extended(
                        plan, sources.plan(list(plan.unreachable), size, settings.column)
                    )
                    _write_plan(path, plan, wanted)
            return plan
        if any(results.glob("*.parquet")):
            raise RunError(f"{results} holds other Parquet files: please choose another folder.")
        plan = sources.plan(words, size, settings.column)
        _write_plan(path, plan, wanted)
    except OSError as error:
        raise RunError(f"{results} cannot be used: {one_line(error)}.") from error
    return plan


def _read_plan(path: Path, wanted: Mapping[str, str]) -> Plan:
    """Read a plan that `_write_plan` wrote.

    Raises
    ------
    RunError
        If it belongs to a run with other settings.
    """
    table = pq.read_table(path)
    begun = {name.decode(): text.decode() for name, text in (table.schema.metadata or {}).items()}
    for name in wanted:
        if begun.get(name) != wanted[name]:
            raise RunError(
                f"{path.parent} holds the results of other {name}: please choose another "
                "folder, or go on with what it was begun with."
            )
    return Plan(
        [Part.from_json(text) for text in table.column("part").to_pylist()],
        Counter(json.loads(begun.get("left_out", "{}"))),
        json.loads(begun.get("unreachable", "{}")),
    )


def _write_plan(path: Path, plan: Plan, wanted: Mapping[str, str]) -> None:
    facts = {"left_out": json.dumps(plan.left_out), "unreachable": json.dumps(plan.unreachable)}
    table = pa.table({"part": [part.to_json() for part in plan.parts]})
    draft = path.with_name(f".{PLAN}.{os.getpid()}")
    pq.write_table(table.replace_schema_metadata({**wanted, **facts}), draft, compression="zstd")
    draft.replace(path)


def _extended(plan: Plan, more: Plan) -> Plan:
    """A plan with what was unreachable when it was made; its parts keep their numbers."""
    return Plan(plan.parts + more.parts, plan.left_out + more.left_out, more.unreachable)


def _left_out(results: Path, plan: Plan) -> Counter[str]:
    """Count the skipped files, and write that beside the results."""
    left_out = Counter(plan.left_out)
    for number, part in enumerate(plan.parts):
        if part.stop is None:
            facts = pq.read_metadata(rows.part_file(results, number)).metadata or {}
            left_out.update(json.loads(facts.get(rows.LEFT_OUT.encode(), b"{}")))
    path = results / LEFT_OUT
    draft = path.with_name(f".{LEFT_OUT}.{os.getpid()}")
    draft.write_text(json.dumps(left_out, indent=2, sort_keys=True) + "\n")
    draft.replace(path)
    return left_out


def _missing(results: Path, numbers: Sequence[int]) -> list[int]:
    there = {path.name for path in results.iterdir()}
    return [number for number in numbers if rows.part_file(results, number).name not in there]


def _rows_before(results: Path, parts: Sequence[Part], missing: set[int]) -> int:
    total = 0
    for number, part in enumerate(parts):
        if number not in missing:
            known = part.photos
            if known is None:
                known = pq.read_metadata(rows.part_file(results, number)).num_rows
            total += known
    return total


def _round(
    parts: Sequence[tuple[int, Part]], settings: Settings, patience: float
) -> Iterator[Report]:
    """The reports of a round, until it ends, dies, or is silent for too long."""
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe(duplex=False)
    process = context.Process(target=_quietly, args=(other, parts, settings))
    with commandline.undisturbed():
        process.start()
    other.close()
    limit = max(START_PATIENCE, patience)
    try:
        while pipe.poll(limit):
            yield pipe.recv()
            limit = patience
        logger.warning("No worker said anything for %g seconds: a new round begins.", limit)
    except EOFError:
        pass  # it ended, successfully or not: the files show that
    finally:
        process.terminate()  # Ray ends its own processes then
        process.join(30)
        process.kill()
        process.join()
        pipe.close()


def _quietly(pipe: Connection, parts: Sequence[tuple[int, Part]], settings: Settings) -> None:
    """A round whose output, like Ray's, goes to a file beside the results."""
    with (settings.results / LOG).open("a") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    rounds.run(pipe, parts, settings)
