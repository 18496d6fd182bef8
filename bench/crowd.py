"""Fifty visitors at once, through Gradio's own client: how fast, and how much slower than `models`.

    python -m bench.crowd                    # ten minutes
    python -m bench.crowd --minutes 2

Photo by photo the same work is measured twice in one run: by `models` alone, in a process with as
many threads as there are cores, and by visitors who each ask `/analyze` again as soon as they have
their answer. The visitors take processor time of the same cores, which the record tells.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from bench import visitors
from models import images, pipeline
from models.runtime import usable_cores

CLASSES = 3


def photo_files() -> list[Path]:
    """The examples that show pets: what visitors send."""
    return sorted((visitors.ROOT / "examples").glob("*.jpg"))


def bare(seconds: float) -> tuple[float, float]:
    """Answers a second of `models` alone, and processor seconds of each."""
    paths = photo_files()
    end = time.monotonic() + seconds

    def work(first: int) -> int:
        done = 0
        while time.monotonic() < end:
            path = paths[(first + done) % len(paths)]
            pipeline.describe(images.open_photo(path), CLASSES)
            done += 1
        return done

    pipeline.describe(images.open_photo(paths[0]), CLASSES)
    start, used = time.monotonic(), time.process_time()
    end = start + seconds
    with ThreadPoolExecutor(usable_cores()) as pool:
        done = sum(pool.map(work, range(usable_cores())))
    return done / (time.monotonic() - start), (time.process_time() - used) / done


def come(port: int, number: int) -> Client:
    """A visitor who has opened the app."""
    return Client(
        f"http://127.0.0.1:{port}",
        headers={"X-Forwarded-For": f"9.9.{number >> 8}.{number & 255}"},
        verbose=False,
        analytics_enabled=False,
        download_files=False,
        httpx_kwargs={"timeout": 120},
        ssl_verify=False,  # there is no TLS; reading the certificates thrice an answer costs 100 ms
    )


def visit(
    client: Client, turn: int, end: float, times: list[float], outcomes: Counter[str]
) -> None:
    """Let a visitor ask until the end."""
    paths = photo_files()
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            client.predict(handle_file(paths[turn % len(paths)]), CLASSES, api_name="/analyze")
        except QueueError:
            outcomes["busy"] += 1
            time.sleep(1)
        except httpx.HTTPStatusError as error:
            outcomes[f"refused {error.response.status_code}"] += 1
            time.sleep(1)
        except Exception as error:
            outcomes[f"{type(error).__name__}: {error}"] += 1
        else:
            outcomes["answered"] += 1
            times.append(time.monotonic() - start)
        turn += 1


def crowd(clients: Sequence[Client], seconds: float) -> tuple[list[float], Counter[str], float]:
    """Many visitors at once: their waiting times, what came of it, and how long it took."""
    times: list[float] = []
    outcomes: Counter[str] = Counter()
    start = time.monotonic()
    threads = [
        threading.Thread(target=visit, args=(client, turn, start + seconds, times, outcomes))
        for turn, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, outcomes, time.monotonic() - start


def measure(minutes: float, clients: int) -> dict[str, object]:
    """Measure `models` alone, before and after, and the crowd between."""
    log = Path(tempfile.mkstemp(suffix=".log")[1])
    alone_seconds = max(5, minutes * 60 / 8)
    before = _bare_process(alone_seconds)
    with visitors.served(log, PETSCOPE_BEHIND_PROXY="1") as (port, process):
        everyone = [come(port, number) for number in range(clients)]
        used, own = visitors.processor_seconds(process.pid), time.process_time()
        times, outcomes, took = crowd(everyone, minutes * 60)
        used, own = visitors.processor_seconds(process.pid) - used, time.process_time() - own
        memory = visitors.metric(port, "petscope_resident_bytes")
    after = _bare_process(alone_seconds)
    faults = sum('"event": "fault"' in line for line in log.read_text().splitlines())
    log.unlink()
    alone, alone_used = np.mean([before, after], axis=0)
    served = len(times) / took
    middle, late = np.percentile(times, [50, 99])
    return {
        "command": "python -m bench.crowd",
        "machine": visitors.machine(),
        "clients": clients,
        "minutes": round(took / 60, 2),
        "outcomes": dict(outcomes),
        "faults": faults,
        "median_seconds": round(float(middle), 3),
        "percentile_99_seconds": round(float(late), 3),
        "answers_a_second": round(served, 2),
        "models_alone_a_second": round(float(alone), 2),
        "share_of_models_alone": round(float(served / alone), 3),
        "models_processor_ms_an_answer": round(float(1000 * alone_used), 1),
        "server_processor_ms_an_answer": round(1000 * used / len(times), 1),
        "visitors_processor_ms_an_answer": round(1000 * own / len(times), 1),
        "resident_megabytes": round(memory / 1e6),
    }


def _bare_process(seconds: float) -> tuple[float, float]:
    code = f"from bench import crowd; print(*crowd.bare({seconds}))"
    done = subprocess.run(  # noqa: S603 -- our own words
        [sys.executable, "-c", code],
        cwd=visitors.ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    rate, used = map(float, done.stdout.split())
    return rate, used


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and renew the record and SECURITY.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--dry-run", action="store_true", help="keep no record")
    arguments = parser.parse_args(words)
    figures = measure(arguments.minutes, arguments.clients)
    print(json.dumps(figures, indent=2))
    if not arguments.dry_run:
        visitors.record("crowd", figures)


if __name__ == "__main__":
    main()
