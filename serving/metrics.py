"""Counts and times of this process, in Prometheus' text format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import os
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds

_lock = threading.Lock()
_counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
_times: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}

_HELP = {
    "petscope_requests_total": "HTTP requests by route and status.",
    "petscope_refused_total": "HTTP requests refused, by reason.",
    "petscope_answers_total": "Answers of the queue, by function and outcome.",
    "petscope_decode_failures_total": "Pictures that could not be used.",
    "petscope_run_seconds": "Time that an answer was computed, by function.",
    "petscope_wait_seconds": "Time that an answer waited in the queue.",
    "petscope_queue_length": "Answers that wait or are computed.",
    "petscope_resident_bytes": "Resident memory of the process.",
    "petscope_open_files": "Open file descriptors of the process.",
    "petscope_stored_bytes": "Uploads and results on the disk.",
}


def count(name: str, **labels: str) -> None:
    """Add one to a counter."""
    with _lock:
        _counts[name, tuple(labels.items())] += 1


def observe(name: str, seconds: float, **labels: str) -> None:
    """Add a time to a histogram."""
    with _lock:
        # a count for each bucket and the one above them all, then the sum
        row = _times.setdefault((name, tuple(labels.items())), [0.0] * (len(BUCKETS) + 2))
        row[bisect_left(BUCKETS, seconds)] += 1
        row[-1] += seconds


def resident_bytes() -> int:
    """Memory of this process that is in RAM, as far as the system tells (Linux), else 0."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def open_files() -> int:
    """File descriptors of this process, as far as the system tells (Linux, macOS), else 0."""
    try:
        return len(os.listdir("/dev/fd")) - 1  # noqa: PTH208 -- no path is made of the names
    except OSError:
        return 0


def expose(gauges: Mapping[str, float]) -> str:
    """All metrics as text; the gauges are what only the caller knows."""
    now = {
        "petscope_resident_bytes": resident_bytes(),
        "petscope_open_files": open_files(),
        **gauges,
    }
    with _lock:
        counts = sorted(_counts.items())
        times = sorted((key, list(row)) for key, row in _times.items())
    lines: list[str] = []
    told: set[str] = set()

    def tell(name: str, kind: str, samples: Iterable[str]) -> None:
        if name not in told:
            told.add(name)
            lines.extend((f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"))
        lines.extend(samples)

    for (name, labels), value in counts:
        tell(name, "counter", [f"{name}{_braces(labels)} {value}"])
    for (name, labels), row in times:
        samples, total = [], 0.0
        for bound, number in zip((*BUCKETS, "+Inf"), row, strict=False):
            total += number
            samples.append(f"{name}_bucket{_braces((*labels, ('le', str(bound))))} {total:g}")
        samples.append(f"{name}_sum{_braces(labels)} {row[-1]:.6f}")
        samples.append(f"{name}_count{_braces(labels)} {total:g}")
        tell(name, "histogram", samples)
    for name, value in now.items():
        tell(name, "gauge", [f"{name} {value:.0f}"])
    return "\n".join(lines) + "\n"


def _braces(labels: Iterable[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{value}"' for name, value in labels)
    return f"{{{text}}}" if text else ""
