"""Many requests one after another, to see whether memory, disk use or open files grow.

    python -m bench.soak                     # 20,000 requests, about an hour on two cores
    python -m bench.soak --requests 2000

Visitors send pictures of all kinds and sizes, some of them damaged, to all endpoints in turn, and a
tenth of the requests are odd ones; no file is sent twice. Files are kept for one minute here, so
that disk use soon reaches its equilibrium.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import itertools
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bench import odd_requests, visitors

FIRST = 1000  # requests after which memory should not grow any more
EVERY = 100  # requests between two samples
WINDOW = 1000  # requests whose samples are averaged, because each meets other photos at work
VISITORS = 4
REQUESTS, MINUTES = 20_000, 600.0  # unless the command says otherwise
ENDPOINTS: tuple[tuple[str, list[object]], ...] = (
    ("analyze", [3]),
    ("threshold", [4, "luminance"]),
    ("mask", ["pet-fine"]),
    ("cut_out", []),
    ("breed", []),
)


def soak(port: int, requests: int, minutes: float) -> tuple[list[dict[str, float]], Counter[str]]:
    """Send the requests; return the samples of memory, files and disk, and the outcomes."""
    sent = itertools.count()
    pictures = visitors.photos()
    outcomes: Counter[str] = Counter()
    looks: list[dict[str, float]] = []
    start = time.monotonic()

    def visit() -> None:
        while (turn := next(sent)) < requests and time.monotonic() - start < 60 * minutes:
            # Decoders ignore bytes after a picture's end: the same picture, but a different file.
            photo = pictures[turn % len(pictures)] + turn.to_bytes(8, "big")
            name, more = ENDPOINTS[turn // len(pictures) % len(ENDPOINTS)]
            client = f"9.8.{turn >> 8 & 255}.{turn & 255}"
            try:
                if odd_requests.is_odd(turn):
                    odd_requests.send(port, turn, client)
                    outcomes["odd, answered as it should be"] += 1
                    continue
                outcomes[visitors.ask(port, name, photo, more, client)] += 1
            except Exception as error:
                outcomes[f"{type(error).__name__}: {error}"] += 1
            if turn % EVERY == 0:
                looks.append(
                    {
                        "requests": turn,
                        "minutes": round((time.monotonic() - start) / 60, 2),
                        "resident_megabytes": look(port, "resident_bytes") / 1e6,
                        "open_files": look(port, "open_files"),
                        "stored_megabytes": look(port, "stored_bytes") / 1e6,
                    }
                )

    threads = [threading.Thread(target=visit) for _ in range(VISITORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return looks, outcomes


def look(port: int, name: str) -> float:
    """A value of /metrics."""
    return visitors.metric(port, f"petscope_{name}")


def measure(requests: int, minutes: float) -> dict[str, Any]:
    """Soak the app; return what it uses after the first requests, and at the end."""
    log = Path(tempfile.mkstemp(suffix=".log")[1])
    with visitors.served(log, PETSCOPE_BEHIND_PROXY="1", PETSCOPE_KEEP_MINUTES="1") as (port, _):
        start = time.monotonic()
        looks, outcomes = soak(port, requests, minutes)
        took = time.monotonic() - start
        time.sleep(65 + 35)  # until the last files have expired and been swept
        left = look(port, "stored_bytes") / 1e6
        open_files = look(port, "open_files")
    faults = sum('"event": "fault"' in line for line in log.read_text().splitlines())
    log.unlink()
    return {
        "command": "python -m bench.soak"
        + (f" --requests {requests}" if requests != REQUESTS else "")
        + (f" --minutes {minutes:g}" if minutes != MINUTES else ""),
        "machine": visitors.machine(),
        "requests": sum(outcomes.values()),
        "minutes": round(took / 60, 1),
        "outcomes": dict(outcomes),
        "faults": faults,
        **growth(looks),
        "open_files_afterwards": open_files,
        "stored_megabytes_at_most": round(max(each["stored_megabytes"] for each in looks)),
        "stored_megabytes_afterwards": round(left, 1),
        "looks": looks,
    }


def growth(looks: list[dict[str, float]]) -> dict[str, float]:
    """Memory and open files after the first requests and at the end, each a mean of many samples.

    In a run too short for that, the beginning and the end of the last two thirds are compared.
    """
    looks.sort(key=lambda each: each["requests"])
    end = looks[-1]["requests"]
    start, window = min(FIRST, end / 3), min(WINDOW, end / 3)
    first = [each for each in looks if start <= each["requests"] <= start + window]
    last = [each for each in looks if each["requests"] >= end - window]
    memory, files = (
        [fmean(each[name] for each in some) for some in (first, last)]
        for name in ("resident_megabytes", "open_files")
    )
    return {
        "memory_after_requests": start,
        "averaged_over_requests": window,
        "resident_megabytes_then": round(memory[0]),
        "resident_megabytes_at_the_end": round(memory[1]),
        "resident_growth": round(memory[1] / memory[0] - 1, 4),
        "open_files_then": round(files[0], 1),
        "open_files_at_the_end": round(files[1], 1),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and renew the record and SECURITY.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="end after so long")
    parser.add_argument("--dry-run", action="store_true", help="keep no record")
    arguments = parser.parse_args(words)
    figures = measure(arguments.requests, arguments.minutes)
    print(json.dumps({**figures, "looks": len(figures["looks"])}, indent=2))
    if not arguments.dry_run:
        visitors.record("soak", figures)


if __name__ == "__main__":
    commandline.run(main)
