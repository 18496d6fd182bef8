"""The app's functions and the usual tools: time, memory, and equal answers, in one run.

    python -m bench.peers            # under ten minutes; renews docs/speed.json and its table
    python -m bench.peers --short    # about a minute; only prints the table

Every framework has its own process with the same number of threads, and all take turns, so that
other load on the machine affects all of them alike. A ratio is the median over rounds of the ratios
within a round. Before that, all must give the same answers for the example pictures; of a breed's
probability, the app's int8 may be 0.05 off. Memory, and the time to the first answer, are measured
in fresh processes.

The networks have the same weights on both sides: those of the embedded models' files, which
`bench.networks` puts into the frameworks' own networks. rembg is not among the contestants, because
its models are on a separate server, and none comes with the package.

The floor is the least time that the machine needs: the network's operations at the speed of
multiplying large matrices, or its weights, input and output at the speed of copying memory,
whichever is longer. Both speeds are measured in the same run.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

# Modules imported here are imported by every contestant's process too, and count as its memory.
import documents
from bench import peer_process
from bench.contestants import BREED, CONTESTANTS, MASK, OURS, ROOT, Means
from models import processor

RECORD = ROOT / "docs" / "speed.json"
START = "<!-- speed: written by bench.peers -->"
END = "<!-- /speed -->"
PLOT = ROOT / "docs" / "speed.svg"
PLOTTED = ("otsu", "multi-otsu 5", "mask", "breed")

ROUNDS, SHORT_ROUNDS = 5, 2
LARGEST_DIFFERENCE = 1e-3
# The app's breed network computes in int8, the others' in float32; and the app scales the picture
# in another way, to within two grey levels, which alone makes up to 0.03 for a breed. Where the
# best breed's probability is near the limit, one may ask a further network and the other not.
APART = {"breed": 0.2, "mask": 0.15}
# They take seconds or minutes for an answer, or for the first one: not in the short version.
SLOW = ("multi-otsu 6", "timm, `torch.compile`")
ONE_PICTURE = ("multi-otsu 5", "multi-otsu 6")  # compared only on the timed picture
FRESH = ("otsu", "multi-otsu 5", "mask", "breed")  # the contestants whose memory is measured
PACKAGES = (
    "numpy",
    "onnxruntime",
    "scikit-image",
    "opencv-python-headless",
    "tensorflow-cpu",
    "keras",
    "torch",
    "timm",
    "fastai",
)
TITLES = {
    "otsu": "Otsu",
    **{f"multi-otsu {classes}": f"multi-Otsu, {classes} classes" for classes in range(2, 7)},
    "mask": "mask",
    "breed": "breed",
}

Result = TypeVar("Result")
Processes = Mapping[str, ProcessPoolExecutor]
Figures = dict[str, Any]


class DifferentError(Exception):
    """A contestant's answers differ from the app's."""


def measure(short: bool = False) -> Figures:
    """Measure the contestants; see the module's text.

    Returns
    -------
    `machine`; `floors`, the least milliseconds that the machine needs for a network; `minutes` of
    the run; and `contestants` with their `task`, `name`, `milliseconds`, `ratio` to the app's time,
    the lowest and highest `ratios` of the rounds, the largest `difference` from the app's answers,
    and from fresh processes the `peak` memory in megabytes and `first`, the seconds to the first
    answer.

    Raises
    ------
    DifferentError
        If one gives other answers than the app.
    """
    from bench.weights import read
    from models.runtime import usable_cores

    started = time.monotonic()
    means = Means(usable_cores(), {name: read(name) for name in (MASK, BREED)})
    places = [
        place
        for place, contestant in enumerate(CONTESTANTS)
        if not (short and {contestant.task, contestant.name} & set(SLOW))
    ]
    processes = {
        name: peer_process.start(means) for name in {CONTESTANTS[place].process for place in places}
    }
    try:
        differences = compare(processes, places, short)
        rounds = [
            {place: ask(processes, peer_process.seconds, place) for place in places}
            for _ in range(SHORT_ROUNDS if short else ROUNDS)
        ]
        rates = processes["onnxruntime"].submit(peer_process.rates, means.threads).result()
        floors = find_floors(processes, means, rates)
    finally:
        for process in processes.values():
            process.shutdown(cancel_futures=True)
    contestants = [
        summary(place, rounds, differences[place])
        | (fresh(means, place) if CONTESTANTS[place].task in FRESH and not short else {})
        for place in places
    ]
    return {
        "machine": conditions(means.threads) | rates,
        "floors": floors,
        "contestants": contestants,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }


def ask(processes: Processes, what: Callable[..., Result], place: int, *more: object) -> Result:
    """Run a function in a contestant's process, and wait for it."""
    return processes[CONTESTANTS[place].process].submit(what, place, *more).result()


def ours(place: int) -> int:
    """The place of the app's contestant for the same task."""
    task = CONTESTANTS[place].task
    (found,) = [i for i, c in enumerate(CONTESTANTS) if (c.task, c.name) == (task, OURS)]
    return found


def compare(processes: Processes, places: Sequence[int], short: bool) -> dict[int, float]:
    """The largest difference of each contestant's answers from the app's."""
    examples = sorted(path.name for path in peer_process.EXAMPLES.glob("*.[jp][pn]g"))
    differences = {}
    for place in places:
        contestant = CONTESTANTS[place]
        one = short or contestant.task in ONE_PICTURE
        differences[place] = max(
            abs(
                ask(processes, peer_process.numbers, place, name).astype(float)
                - ask(processes, peer_process.numbers, ours(place), name)
            ).max()
            for name in ([peer_process.PICTURE] if one else examples)
        )
        if differences[place] > APART.get(contestant.task, LARGEST_DIFFERENCE):
            raise DifferentError(
                f"{contestant.name} differs by {differences[place]:.2g} in {contestant.task}"
            )
    return differences


def summary(
    place: int, rounds: Sequence[Mapping[int, Sequence[float]]], difference: float
) -> Figures:
    """A contestant's figures over the rounds."""
    ratios = [median(taken[place]) / median(taken[ours(place)]) for taken in rounds]
    seconds = median(median(taken[place]) for taken in rounds)
    return {
        "task": CONTESTANTS[place].task,
        "name": CONTESTANTS[place].name,
        "milliseconds": float(f"{seconds * 1000:.4g}"),
        "ratio": float(f"{median(ratios):.4g}"),
        "ratios": [float(f"{ratio:.4g}") for ratio in (min(ratios), max(ratios))],
        "difference": float(f"{difference:.1g}"),
    }


def fresh(means: Means, place: int) -> Figures:
    """A contestant's memory and time for its first answer, in a fresh process.

    Its weights are read in advance, and the time starts after that.
    """
    asked = time.time()
    with peer_process.start(means) as process:
        seconds, peak = process.submit(peer_process.first_answer, place, asked).result()
    return {"first": round(seconds, 2), "peak": round(peak / 1e6)}


def find_floors(processes: Processes, means: Means, rates: Mapping[str, float]) -> dict[str, float]:
    """The least milliseconds that the machine needs for each network."""
    floors = {}
    for task, model in (("mask", MASK), ("breed", BREED)):
        place = next(i for i, c in enumerate(CONTESTANTS) if c.task == task and c.name != OURS)
        operations, activations = ask(processes, peer_process.work, place)
        weights = sum(
            layer.weights.nbytes + layer.offset.nbytes
            for chain in means.weights[model]
            for layer in chain.layers
        )
        computing = operations / (rates["gigaflops"] * 1e9)
        copying = (weights + activations) / (rates["gigabytes_per_second"] * 1e9)
        floors[task] = float(f"{max(computing, copying) * 1000:.3g}")
    return floors


def conditions(threads: int) -> Figures:
    """The machine and the measured pictures."""
    return {
        "processor": processor.name(),
        "threads": threads,
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: version(name) for name in PACKAGES},
    }


def table(figures: Figures) -> str:
    """The figures as Markdown."""
    lines = [
        "| task | with | ms | times ours | MB at most | first answer, s |",
        "|---|---|---|---|---|---|",
    ]
    for row in figures["contestants"]:
        ratio = "" if row["name"] == OURS else f"{row['ratio']:,.1f}"
        if row["ratio"] >= 100:
            ratio = f"{row['ratio']:,.0f}"
        peak, first = row.get("peak", ""), row.get("first", "")
        lines.append(
            f"| {TITLES[row['task']]} | {row['name']} | {row['milliseconds']:,} | {ratio} | "
            f"{peak} | {first} |"
        )
        floor = figures["floors"].get(row["task"])
        if row["name"] == OURS and floor:
            lines.append(f"| {TITLES[row['task']]} | the machine at its best | {floor} | | | |")
    return "\n".join(lines)


def plot(figures: Figures, path: Path) -> None:
    """Plot the milliseconds of the main tasks as bars, the app's in another colour, as SVG."""
    import matplotlib

    matplotlib.use("Agg")  # no window
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 5), layout="constrained")
    for axis, task in zip(axes.flat, PLOTTED, strict=True):
        rows = [row for row in figures["contestants"] if row["task"] == task][::-1]
        names = [row["name"].replace("`", "") for row in rows]
        times = [row["milliseconds"] for row in rows]
        colors = ["#0f766e" if row["name"] == OURS else "#a8a29e" for row in rows]
        bars = axis.barh(names, times, color=colors)
        axis.bar_label(bars, [f"{float(f'{time:.3g}'):,g} ms" for time in times], padding=3)
        axis.set(title=TITLES[task], xlim=(0, 1.25 * max(times)))
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.xaxis.set_visible(False)
    # Text stays text, and the same figures give the same file.
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "speed"}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def text(figures: Figures) -> str:
    """The table, with the conditions of the measurement."""
    machine = figures["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    largest = max(row["difference"] for row in figures["contestants"])
    return (
        f"![Milliseconds of Petscope and of the usual tools, as in the table]"
        f"({os.path.relpath(PLOT, documents.find(START).parent)})\n\n"
        f"{table(figures)}\n\n"
        f"Median of {ROUNDS} rounds on {machine['threads']} cores ({machine['processor']}: "
        f"{machine['gigaflops']:.0f} GFLOP/s in matrix products, "
        f"{machine['gigabytes_per_second']:.0f} GB/s copying), {machine['date']}; a picture of "
        f"451 x 300 pixels in, its cuts, mask or breeds out; largest difference of an answer "
        f"{largest:g}. {versions}."
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and renew the record, the plot and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--short", action="store_true", help="leave out what is slow; write nothing"
    )
    arguments = parser.parse_args(words)
    try:
        figures = measure(arguments.short)
    except DifferentError as error:
        sys.exit(f"{error}.")
    if arguments.short:
        print(table(figures))
        return
    RECORD.write_text(json.dumps(figures, indent=2) + "\n")
    plot(figures, PLOT)
    documents.renew(START, END, text(figures))
    print(text(figures))


if __name__ == "__main__":
    commandline.run(main)
