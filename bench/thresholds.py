"""How long thresholds of a picture of 12 megapixels take, beside scikit-image's.

    python -m bench.thresholds            # renews its table
    python -m bench.thresholds --short    # a small picture, once; only prints the table

scikit-image's functions take turns with ours, so that other programs on the machine slow down both.
All global methods share one histogram of a 16-bit picture, as on the page; the local ones
have a window of 101 pixels and an 8-bit picture. The pictures are decoded already.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import documents
from bench import visitors

SIZE = 3000, 4000
WINDOW = 101
ROUNDS = 5
START, END = "<!-- thresholds: written by bench.thresholds -->", "<!-- /thresholds -->"

Pair = tuple[Callable[[], object], Callable[[], object] | None]
"""Our way to do something, and scikit-image's, if it has one."""


def picture(height: int, width: int) -> NDArray[np.uint16]:
    """A 16-bit picture of noise around two grey levels, with nearly all values in use."""
    noise = np.random.default_rng(0)
    light = noise.random((height, width), np.float32) < 0.3
    gray = noise.standard_normal(light.shape, np.float32) * 6000 + np.where(light, 45_000, 18_000)
    return gray.clip(0, 65_535).astype(np.uint16)


def ways(deep: NDArray[np.uint16]) -> dict[str, Pair]:
    """What is measured, by name."""
    from skimage import filters

    from models.thresholding import GLOBAL_METHODS, ThresholdError, find_cut, histogram
    from models.thresholding.local_methods import LOCAL_METHODS, local_threshold

    gray = (deep >> 8).astype(np.uint8)

    def all_global() -> None:
        counted = histogram(deep)
        for method in GLOBAL_METHODS:
            with suppress(ThresholdError):  # two of them look for two peaks, and may find none
                find_cut(counted, method)

    theirs: dict[str, Callable[[], object]] = {
        "local_mean": lambda: filters.threshold_local(gray, WINDOW, "mean"),
        "local_gaussian": lambda: filters.threshold_local(gray, WINDOW, "gaussian"),
        "niblack": lambda: filters.threshold_niblack(gray, WINDOW, 0.2),
        "sauvola": lambda: filters.threshold_sauvola(gray, WINDOW, 0.2),
    }

    def local(method: str) -> Callable[[], Any]:
        return lambda: local_threshold(gray, method, WINDOW)

    found: dict[str, Pair] = {"all global methods": (all_global, None)}
    return found | {
        method.replace("_", " "): (local(method), theirs.get(method)) for method in LOCAL_METHODS
    }


def measure(deep: NDArray[np.uint16], rounds: int) -> dict[str, tuple[float, float | None]]:
    """Median seconds of ours and of scikit-image's, by name; the first run is not counted."""
    found = {}
    for name, (ours, theirs) in ways(deep).items():
        taken: tuple[list[float], list[float]] = [], []
        for _ in range(rounds + 1):
            for way, seconds in zip((ours, theirs), taken, strict=True):
                if way is not None:
                    began = time.perf_counter()
                    way()
                    seconds.append(time.perf_counter() - began)
        found[name] = median(taken[0][1:]), median(taken[1][1:]) if theirs else None
    return found


def table(seconds: dict[str, tuple[float, float | None]]) -> str:
    """The seconds as Markdown."""
    lines = ["| method | s | scikit-image, s | times ours |", "|---|---|---|---|"]
    for name, (ours, theirs) in seconds.items():
        beside = "| |" if theirs is None else f"| {theirs:.3f} | {theirs / ours:.1f}"
        lines.append(f"| {name} | {ours:.3f} {beside} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and renew the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="small and once; write nothing")
    arguments = parser.parse_args(words)
    height, width = (300, 400) if arguments.short else SIZE
    rounds = 1 if arguments.short else ROUNDS
    text = (
        f"{table(measure(picture(height, width), rounds))}\n\n{width} x {height} pixels, median of "
        f"{rounds} on {visitors.machine()}, {time.strftime('%Y-%m-%d')}: "
        "`python -m bench.thresholds`."
    )
    print(text)
    if not arguments.short:
        documents.renew(START, END, text)


if __name__ == "__main__":
    commandline.run(main)
