"""Counts and times of this process, for Prometheus."""

import os
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds

disable_created_metrics()  # the time when each series began, which is not needed
REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "petscope_requests",
    "HTTP requests by route and status.",
    ("route", "status"),
    registry=REGISTRY,
)
REFUSED = Counter(
    "petscope_refused", "HTTP requests refused, by reason.", ("reason",), registry=REGISTRY
)
ANSWERS = Counter(
    "petscope_answers",
    "Answers of the queue, by function and outcome.",
    ("function", "outcome"),
    registry=REGISTRY,
)
DECODE_FAILURES = Counter(
    "petscope_decode_failures",
    "Pictures that could not be used.",
    ("reason",),
    registry=REGISTRY,
)
RUN_SECONDS = Histogram(
    "petscope_run_seconds",
    "Time that an answer was computed, by function.",
    ("function",),
    buckets=BUCKETS,
    registry=REGISTRY,
)
WAIT_SECONDS = Histogram(
    "petscope_wait_seconds",
    "Time that an answer waited in the queue.",
    buckets=BUCKETS,
    registry=REGISTRY,
)
_GAUGES = {
    name: Gauge(name, text, registry=REGISTRY)
    for name, text in (
        ("petscope_queue_length", "Answers that wait or are computed."),
        ("petscope_resident_bytes", "Resident memory of the process."),
        ("petscope_open_files", "Open file descriptors of the process."),
        ("petscope_stored_bytes", "Uploads and results on the disk."),
    )
}


def resident_bytes() -> int:
    """Resident memory of this process, if the system tells (Linux), otherwise 0."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def open_files() -> int:
    """Open file descriptors of this process, if the system tells (Linux, macOS), otherwise 0."""
    try:
        return len(os.listdir("/dev/fd")) - 1  # noqa: PTH208 -- no path is made of the names
    except OSError:
        return 0


def expose(gauges: Mapping[str, float]) -> bytes:
    """All metrics in Prometheus' text format; the caller provides the gauges."""
    now = {
        "petscope_resident_bytes": resident_bytes(),
        "petscope_open_files": open_files(),
        **gauges,
    }
    for name, value in now.items():
        _GAUGES[name].set(value)
    return generate_latest(REGISTRY)
