"""A round: Ray Data gives the missing parts to a pool of workers on all its machines.

A part contains no pictures: its worker reads them in place and writes the rows itself, so Ray holds
no objects that must survive when a machine dies. A round may lose parts, or never end; it runs in a
separate process, which `runner` ends and restarts.
"""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from batch import names, places, rows, sources
from batch.analyst import Analyst, AnalystError
from models import images

ROOT = Path(__file__).parent.parent

REPORT_SECONDS = 1.0  # seconds between two reports from a worker on a part
TRIES = 3  # for a part whose worker dies, in one round; the next round tries again

# Nothing listens there.
NOWHERE = "http://127.0.0.1:9"


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


class Worker:
    """An actor in Ray Data's pool, which processes one part after another."""

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

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
        """Process one part, and report the progress every second."""
        (number,), (text,) = batch["number"], batch["part"]
        path = rows.part_file(self._settings.results, int(number))
        yield _report(number, 0)  # a sign of life
        since, failed = time.monotonic(), 0
        if not path.exists():
            part = sources.Part.from_json(text)
            left_out = Counter[str]()
            try:
                with rows.PartFile(path, {"models": json.dumps(self._analyst.models)}) as file:
                    for found in sources.read(part, self._settings.column, left_out):
                        row = self._look(found)
                        failed += row["error"] is not None
                        file.add(rows.place(part.source, part.start + file.count, found.name) | row)
                        if time.monotonic() > since + REPORT_SECONDS:
                            since = time.monotonic()
                            yield _report(number, file.count, failed)
                    if part.stop is None:  # the plan has counted those of the other parts
                        file.note(rows.LEFT_OUT, json.dumps(left_out))
            except (OSError, places.UnreachableError, AnalystError) as error:
                yield _report(number, 0, error=places.one_line(error))
                return
        yield _report(number, pq.read_metadata(path).num_rows, failed, finished=True)

    def _look(self, found: sources.SourcePhoto) -> dict[str, Any]:
        if found.error:
            return {"error": names.printable(found.error)}
        return {"error": None, **self._analyst.row(found.content)}


def _report(
    number: int, done: int, failed: int = 0, finished: bool = False, error: str = ""
) -> dict[str, NDArray[Any]]:
    facts = {
        "number": number,
        "done": done,
        "failed": failed,
        "finished": finished,
        "error": names.printable(error),
    }
    return {name: np.array([value]) for name, value in facts.items()}


def run(pipe: Connection, parts: Sequence[tuple[int, sources.Part]], settings: Settings) -> None:
    """Process these numbered parts, and send a report through the pipe for each step of each part.

    A report is a dict: the part's `number`, how many of its photos are `done` and how many of those
    `failed`, whether the part is `finished`, and the `error` because of which it could not be
    finished, otherwise empty.
    """
    start(settings.address)
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # lost parts are missing, and come again in the next round
    context.target_max_block_size = 1  # a report leaves its worker at once
    context.wait_for_min_actors_s = 0
    if settings.workers_per_gpu:
        room = int(ray.cluster_resources().get("GPU", 0) * settings.workers_per_gpu)
        share: dict[str, Any] = {"num_cpus": 0, "num_gpus": 1 / settings.workers_per_gpu}
    else:
        room, share = int(ray.cluster_resources().get("CPU", 0)), {"num_cpus": 1}
    size = max(min(settings.workers or room, len(parts)), 1)
    reports = (
        ray.data.from_items(
            [{"number": number, "part": part.to_json()} for number, part in parts],
            override_num_blocks=len(parts),
        )
        .map_batches(
            Worker,
            fn_constructor_args=(settings,),
            batch_size=1,
            # A second part queued for the same worker would be stuck with its machine.
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            max_restarts=-1,
            max_task_retries=TRIES - 1,
            **share,
        )
        .iter_batches(batch_size=1, prefetch_batches=0)  # reports are not held back
    )
    for report in reports:
        pipe.send({name: value.item() for name, value in report.items()})
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
