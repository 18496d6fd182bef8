"""A round: the missing parts are handed to workers, Ray's actors, on all its machines.

A part contains no pictures: its worker reads them in place and writes the rows itself, so Ray holds
no objects that must survive when a machine dies. A round may lose parts, or never end; it runs in a
separate process, which `runner` ends and restarts.

Ray Data could hand out the parts too. But its executor and three actors of its own poll all the
time: on two cores, that costs the workers 2 to 3 % of theirs, and a start takes seconds more.
"""

import json
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pyarrow.parquet as pq

from batch import names, places, rows, sources
from batch.analyst import Analyst, AnalystError
from models import images
from models.errors import one_line

if TYPE_CHECKING:
    from ray.actor import ActorHandle

ROOT = Path(__file__).parent.parent

REPORT_SECONDS = 1.0  # seconds between two reports from a worker on a part
TRIES = 3  # for a part whose worker dies, in one round; the next round tries again

# Nothing listens there.
NOWHERE = "http://127.0.0.1:9"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Settings of a round.

    Attributes
    ----------
    results
        The folder for the rows, which all machines see under this path.
    classes
        Brightness classes of each photo.
    column
        Column of Parquet files with the pictures; None for the first one that can have them.
    seconds
        How long a photo may take.
    memory
        Bytes of memory for the process that analyses photos; None for no limit.
    address
        Of a Ray cluster; None for this machine only.
    workers
        Their number; None for one per core or, on GPUs, as many as fit.
    workers_per_gpu
        How many share a GPU; None to use no GPU.
    environment
        Environment variables of this process that the workers need.
    """

    results: Path
    classes: int = 3
    column: str | None = None
    seconds: float = 60.0
    memory: int | None = 4_000_000_000
    address: str | None = None
    workers: int | None = None
    workers_per_gpu: int | None = None
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Report:
    """What a worker says about its part.

    Attributes
    ----------
    number
        The part's.
    done, failed
        Photos that have a row, and how many of those an error.
    finished
        Whether the part has its file.
    error
        Why it could not be finished; otherwise empty.
    """

    number: int
    done: int
    failed: int = 0
    finished: bool = False
    error: str = ""


class Worker:
    """An actor, which processes one part after another."""

    def __init__(self, settings: Settings) -> None:
        for name in PROXIES:
            if os.environ.get(name) == NOWHERE:
                del os.environ[name]
        os.environ.update(settings.environment or {})
        images.set_limits(*images.limits_in(os.environ))
        self._settings = settings
        self._analyst = Analyst(
            settings.classes, settings.seconds, settings.memory, settings.environment
        )

    def process(self, number: int, part: sources.Part) -> Iterator[Report]:
        """Process one part, and report the progress every second."""
        path = rows.part_file(self._settings.results, number)
        yield Report(number, 0)  # a sign of life
        since, failed = time.monotonic(), 0
        if not path.exists():
            left_out = Counter[str]()
            try:
                with rows.PartFile(path, {"models": json.dumps(self._analyst.models)}) as file:
                    for found in sources.read(part, self._settings.column, left_out):
                        row = self._look(found)
                        failed += row["error"] is not None
                        file.add(rows.place(part.source, part.start + file.count, found.name) | row)
                        if time.monotonic() > since + REPORT_SECONDS:
                            since = time.monotonic()
                            yield Report(number, file.count, failed)
                    if part.stop is None:  # the plan has counted those of the other parts
                        file.note(rows.LEFT_OUT, json.dumps(left_out))
            except (OSError, places.UnreachableError, AnalystError) as error:
                yield Report(number, 0, error=names.printable(one_line(error)))
                return
        yield Report(number, pq.read_metadata(path).num_rows, failed, finished=True)

    def _look(self, found: sources.SourcePhoto) -> dict[str, Any]:
        if found.error:
            return {"error": names.printable(found.error)}
        return {"error": None, **self._analyst.row(found.content)}


class Task(NamedTuple):
    """A part that is being processed."""

    worker: "ActorHandle[Any]"
    number: int
    part: sources.Part


def run(pipe: Connection, parts: Sequence[tuple[int, sources.Part]], settings: Settings) -> None:
    """Process these numbered parts, and send a `Report` through the pipe for each step of each."""
    start(settings.address)
    import ray

    if settings.workers_per_gpu:
        room = int(ray.cluster_resources().get("GPU", 0) * settings.workers_per_gpu)
        share: dict[str, Any] = {"num_cpus": 0, "num_gpus": 1 / settings.workers_per_gpu}
    else:
        room, share = int(ray.cluster_resources().get("CPU", 0)), {"num_cpus": 1}
    actor: Any = ray.remote(**share)(Worker)
    size = max(min(settings.workers or room, len(parts)), 1)
    idle = [actor.remote(settings) for _ in range(size)]
    left, tries = deque(parts), Counter[int]()
    running: dict[ray.ObjectRefGenerator, Task] = {}  # by their reports

    def begin(worker: "ActorHandle[Any]", number: int, part: sources.Part) -> None:
        tries[number] += 1
        running[worker.process.remote(number, part)] = Task(worker, number, part)

    while running or (idle and left):
        while idle and left:  # a second part queued for a worker would be stuck with its machine
            begin(idle.pop(), *left.popleft())
        idle.clear()  # so they end, and leave their cores to those that wait for one
        ray.wait(list(running), fetch_local=False)
        ready, _ = ray.wait(list(running), num_returns=len(running), timeout=0, fetch_local=False)
        for reports in cast(list[ray.ObjectRefGenerator], ready):
            try:
                pipe.send(ray.get(next(reports)))
            except StopIteration:
                idle.append(running.pop(reports).worker)
            except ray.exceptions.RayActorError as error:
                logger.warning("A worker is lost: %s", error)
                _, number, part = running.pop(reports)
                if not error.actor_init_failed:  # that of its machine would fail again
                    idle.append(actor.remote(settings))
                if tries[number] < TRIES:
                    left.append((number, part))
            except ray.exceptions.RayError as error:
                logger.warning("A part is lost: %s", error)
    ray.shutdown()


PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")


def start(address: str | None) -> None:
    """Connect to a Ray cluster, or start one on this machine."""
    calm()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    import ray

    # The code is sent to the machines of a cluster, with the embedded models.
    modules = [str(ROOT / name) for name in ("batch", "models")]
    options = (
        {"address": address, "runtime_env": {"py_modules": modules}}
        if address
        else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    )
    ray.init(log_to_driver=False, logging_level=logging.WARNING, **options)


def calm(set_variable: Callable[[str, str], object] = os.environ.__setitem__) -> None:
    """Set variables so that Ray has time to start, and contacts no other machine.

    Even with usage statistics off, the dashboard's process asks two addresses of cloud providers
    for the kind of machine, and `ray start` reports that it reports nothing. They use the proxy
    that these variables name.
    """
    set_variable("RAY_raylet_start_wait_time_s", "180")
    set_variable("RAY_USAGE_STATS_ENABLED", "0")
    set_variable("RAY_USAGE_STATS_REPORT_URL", NOWHERE)
    for name in PROXIES:
        set_variable(name, NOWHERE)
