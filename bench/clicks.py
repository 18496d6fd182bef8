"""How many clicks a mask needs: the field's protocol for masks that are corrected by hand.

    python -m bench.clicks                       # 200 pictures of the test split; renews its table
    python -m bench.clicks --split validation    # the held-out pictures; only prints
    python -m bench.clicks --split validation --compare --every 3    # and other methods; a table

"Deep Interactive Object Selection" (Xu, Price, Cohen, Yang, Huang, CVPR 2016): the next click comes
into the middle of the largest connected error, until the mask's intersection over union with the
truth reaches 90 %, or 20 clicks are given, which then count. Here the page's own mask is the
start, so a picture whose mask is good enough needs no click. Mask and truth are binary, at the
truth's size, and the border belongs to the pet.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import documents
from bench.click_rivals import GraphCut, RandomWalker, Rival
from models import pipeline, segmentation, store
from models.correcting import Corrector, Stroke
from models.images import open_photo
from models.runtime import usable_cores
from training import pets
from training.clicking import ENOUGH, MOST, next_click, overlap

Method = type[Corrector] | type[Rival]

START = "<!-- clicks: written by bench.clicks -->"
END = "<!-- /clicks -->"
METHODS_START = "<!-- methods: written by bench.clicks -->"
METHODS_END = "<!-- /methods -->"

PICTURES = 200
SEED = 42


METHODS: dict[str, Method] = {
    "`models/correcting.py`": Corrector,
    "graph cut (OpenCV's GrabCut)": GraphCut,
    "random walker (scikit-image)": RandomWalker,
}


@dataclass(frozen=True)
class Course:
    """What the clicks on one picture led to.

    Attributes
    ----------
    overlaps
        Intersection over union at the start and after each click.
    seconds
        How long the answer to each click took.
    inside
        What belongs to the pet in the end, `(height, width)` bool, to the middle of the border.
    """

    name: str
    overlaps: tuple[float, ...]
    seconds: tuple[float, ...]
    inside: NDArray[np.bool_]

    @property
    def clicks(self) -> int:
        """How many were given."""
        return len(self.overlaps) - 1

    @property
    def enough(self) -> bool:
        """Whether the mask became good enough."""
        return self.overlaps[-1] >= ENOUGH


def click_through(
    example: pets.Example, segmenter: segmentation.Segmenter, method: Method = Corrector
) -> Course:
    """Click on one picture until its mask is good enough."""
    photo = open_photo(example.photo)
    truth = pets.read_trimap(example.trimap) != pets.BACKGROUND
    looks = pipeline.look_closer(photo, segmenter)
    found = pipeline.segment(photo, segmenter, looks).resized(*truth.shape)
    background = found.classes.index("background") + 1
    corrector = method(found, photo)
    corrected, mask = found, found.mask != background
    overlaps, seconds = [overlap(mask, truth)], []
    strokes: list[Stroke] = []
    while overlaps[-1] < ENOUGH and len(strokes) < MOST:
        row, column, keep = next_click(mask, truth)
        place = (column + 0.5) / truth.shape[1], (row + 0.5) / truth.shape[0]
        strokes.append(Stroke(keep, (place,), 0.0))
        begin = time.perf_counter()
        corrected = corrector.correct(strokes)
        mask = corrected.mask != background
        seconds.append(time.perf_counter() - begin)
        overlaps.append(overlap(mask, truth))
    return Course(example.name, tuple(overlaps), tuple(seconds), corrected.foreground() > 0.5)


def chosen(root: Path, split: str) -> list[pets.Example]:
    """The pictures of a split that count: all held-out ones, 200 drawn from the test split."""
    examples = pets.with_masks(pets.split(root, split))
    if split != "test":
        return examples
    places = np.random.default_rng(SEED).permutation(len(examples))[:PICTURES]
    return [examples[place] for place in sorted(places)]


def table(courses: Sequence[Course], split: str) -> str:
    """The clicks as Markdown."""
    below = [course for course in courses if course.overlaps[0] < ENOUGH]
    never = [course for course in below if not course.enough]
    taken = sorted(second for course in courses for second in course.seconds)
    clicks = [course.clicks for course in courses]

    def reached(most: int) -> str:
        return f"{np.mean([each.enough and each.clicks <= most for each in courses]):.1%}"

    rows = [
        ("pictures", f"{len(courses)}"),
        ("mean IoU before the first click", f"{np.mean([c.overlaps[0] for c in courses]):.3f}"),
        ("clicks to 90 % IoU, mean of all", f"{np.mean(clicks):.2f}"),
        ("pictures that start below 90 %", f"{len(below)}"),
        ("their clicks, mean", f"{np.mean([each.clicks for each in below]):.2f}"),
        ("their clicks, median", f"{np.median([each.clicks for each in below]):.0f}"),
        ("at 90 % without a click", reached(0)),
        ("after at most 1, 3, 5 clicks", ", ".join(map(reached, (1, 3, 5)))),
        (f"not at 90 % after {MOST} clicks", f"{len(never)}"),
        ("milliseconds of a click, median", f"{1000 * taken[len(taken) // 2]:.0f}"),
    ]
    lines = [f"| {split} split | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join(lines)


def comparison(courses: dict[str, list[Course]], split: str) -> str:
    """Several methods on the same pictures as Markdown, where the start is below 90 %."""
    lines = [
        f"| method, {split} split | pictures below 90 % | clicks, mean | median "
        f"| not at 90 % after {MOST} | milliseconds of a click, median |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in courses.items():
        below = [course for course in each if course.overlaps[0] < ENOUGH]
        clicks = [course.clicks for course in below]
        never = sum(not course.enough for course in below)
        taken = sorted(second for course in below for second in course.seconds)
        lines.append(
            f"| {name} | {len(below)} | {np.mean(clicks):.2f} | {np.median(clicks):.0f} "
            f"| {never} | {1000 * taken[len(taken) // 2]:.0f} |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and renew the table where it is the test split's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pets.add_arguments(parser)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--every", type=int, default=1, help="only every EVERY-th picture")
    parser.add_argument(
        "--compare", action="store_true", help="compare methods on held-out pictures; renew a table"
    )
    parser.add_argument("--each", action="store_true", help="print every picture, too")
    arguments = parser.parse_args(words)
    segmenter = segmentation.load(store.default("segmentation"))
    root = pets.prepare(arguments.root, arguments.source)
    examples = chosen(root, arguments.split)[:: arguments.every]
    if arguments.compare:
        if arguments.split == "test":
            parser.error("Methods are compared on held-out pictures: --split validation.")
        every = {
            name: [click_through(example, segmenter, method) for example in examples]
            for name, method in METHODS.items()
        }
        written = comparison(every, arguments.split)
        documents.renew(METHODS_START, METHODS_END, written)
        print(written)
        return
    courses = []
    for example in examples:
        courses.append(click_through(example, segmenter))
        if arguments.each:
            values = " ".join(f"{value:.3f}" for value in courses[-1].overlaps)
            print(f"{example.name} {courses[-1].clicks} {values}", flush=True)
    written = f"{table(courses, arguments.split)}\n\nOn {usable_cores()} cores."
    if arguments.split == "test" and arguments.every == 1:
        documents.renew(START, END, written)
    print(written)


if __name__ == "__main__":
    commandline.run(main)
