"""What twenty corrected photos teach: correct held-out pictures by clicks, fine-tune, measure.

    python -m bench.teaching runs/fine      # the page's mask network, as a run; renews the table
    python -m bench.teaching runs/fine --seeds 1 --kinds worst

The page's mask is tried on all held-out pictures of trainval. Twenty of them are corrected: those
on which it is worst, or twenty that are drawn, by simulated clicks (see `bench.clicks`); or the
worst by their trimaps, as a very patient visitor would. They are written into a folder as the page
writes corrections. A short fine-tuning of the run learns from them, by `--more`, and from a sample
of the training pictures; as a control, the same fine-tuning learns from that sample alone. Measured
are those held-out pictures from which neither has learnt, and all is repeated with other seeds.

What is in the folder `--out` already is kept: corrections, trainings and their figures.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import documents
from bench import clicks
from bench.clicks import Course, overlap
from models import segmentation, store
from models.images import open_photo
from models.preprocessing import prepare
from models.segmentation import at_photo_size
from training import pets
from training.evaluation.models import Model, open_model
from training.metrics import confusion_matrix

START = "<!-- teaching: written by bench.teaching -->"
END = "<!-- /teaching -->"

OUT = Path("runs/teaching")
CORRECTED = 20
DRAWN_BY = 42  # seed of the twenty that are drawn
SAMPLE, SIZE, EPOCHS, BATCH, RATE = 180, 256, 2, 10, 1e-4  # of the fine-tuning
SEEDS = 3
CONTROL, BEFORE = "control", "before"
KINDS = {
    "worst": "the 20 worst masks, by clicks",
    "drawn": "20 drawn at random, by clicks",
    "trimaps": "the 20 worst masks, by their trimaps",
}
RESAMPLED = 2000  # times, for the interval of a difference


@dataclass(frozen=True)
class Figures:
    """How well a mask network knows pictures, each by itself, at the photos' own size.

    Attributes
    ----------
    overlaps
        `(n,)` float: intersection over union with the truth, the border as the pet's.
    confusions
        `(n, 3, 3)` int: pixels by their true and predicted class.
    """

    overlaps: NDArray[np.float64]
    confusions: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> "Figures":
        """Those of some of the pictures."""
        return Figures(self.overlaps[kept], self.confusions[kept])

    @property
    def iou(self) -> float:
        """Mean over the pictures of their intersection over union."""
        return float(self.overlaps.mean())

    @property
    def mean_iou(self) -> float:
        """Mean over the three classes of the intersection over union of all pixels together."""
        total = self.confusions.sum(axis=0)
        right = np.diag(total)
        return float((right / (total.sum(axis=0) + total.sum(axis=1) - right)).mean())


def correct(
    examples: Sequence[pets.Example], courses: Sequence[Course], folder: Path, root: Path
) -> None:
    """Write the corrections of each kind, and `corrections.json`, which says what they are."""
    worst = np.argsort([course.overlaps[0] for course in courses], kind="stable")[:CORRECTED]
    drawn = np.random.default_rng(DRAWN_BY).permutation(len(examples))[:CORRECTED]
    chosen = {"worst": worst, "drawn": drawn, "trimaps": worst}
    facts = {}
    for kind, indices in chosen.items():
        masks = {
            examples[index]: pets.read_trimap(examples[index].trimap)
            if kind == "trimaps"
            else courses[index].mask
            for index in indices
        }
        write(folder / kind, masks, root)
        facts[kind] = {
            "names": [examples[index].name for index in indices],
            "clicks": float(np.mean([courses[index].clicks for index in indices])),
            "before": float(np.mean([courses[index].overlaps[0] for index in indices])),
            "after": float(np.mean([courses[index].overlaps[-1] for index in indices])),
        }
    (folder / "corrections.json").write_text(json.dumps(facts, indent=2) + "\n")


def write(folder: Path, masks: Mapping[pets.Example, NDArray[np.uint8]], root: Path) -> None:
    """Write photos with corrected masks in the layout of `training.corrections`."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    breeds, lines = pets.breeds(root), []
    for example, mask in masks.items():
        shutil.copy(example.photo, folder / "images" / f"{example.name}.jpg")
        Image.fromarray(mask).save(folder / "annotations" / "trimaps" / f"{example.name}.png")
        species = 1 if breeds[example.label].species == "cat" else 2
        lines.append(f"{example.name} {example.label + 1} {species} 0\n")
    (folder / "annotations" / "list.txt").write_text("".join(lines))


def fine_tune(run: Path, out: Path, more: Path | None, seed: int, root: Path) -> None:
    """Fine-tune a run shortly on a sample of the training pictures and `more` corrected ones."""
    from training import train_encoder_unet

    train_encoder_unet.train(
        out,
        root=root,
        more=more,
        sample=SAMPLE,
        encoder_weights="none",
        start_from=run,
        size=SIZE,
        epochs=EPOCHS,
        batch=BATCH,
        rate=RATE,
        seed=seed,
        overwrite=True,
    )


def measure(model: Model, examples: Sequence[pets.Example]) -> Figures:
    """How well a mask network knows each picture."""
    overlaps, confusions = [], []
    for example in examples:
        photo = open_photo(example.photo)
        truth = pets.read_trimap(example.trimap)
        (answer,) = model.predict(prepare(photo, model.input))
        mask = at_photo_size(answer, model.labels, model.input, *photo.shape[:2]).mask
        overlaps.append(overlap(mask != pets.BACKGROUND, truth != pets.BACKGROUND))
        confusions.append(confusion_matrix(truth - 1, mask - 1, len(pets.MASK_CLASSES)))
    return Figures(np.array(overlaps), np.array(confusions))


def measured(run: Path, file: Path, examples: Sequence[pets.Example]) -> Figures:
    """The figures of a run, from a file if they have been measured before."""
    if not file.exists():
        figures = measure(open_model(str(run)), examples)
        np.savez(file, overlaps=figures.overlaps, confusions=figures.confusions)
    with np.load(file) as stored:
        return Figures(stored["overlaps"], stored["confusions"])


def interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Between which values their mean lies in 95 % of the samples that are drawn from them."""
    random = np.random.default_rng(0)
    draws = random.integers(0, len(differences), (RESAMPLED, len(differences)))
    low, high = np.quantile(differences[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def rows(
    kind: str, before: Figures, controls: Sequence[Figures], taught: Sequence[Figures]
) -> Iterator[str]:
    """The two rows of a kind of correction, as Markdown: IoU of the pet, and mean IoU."""
    gains = np.mean([one.overlaps for one in taught], axis=0) - np.mean(
        [one.overlaps for one in controls], axis=0
    )
    low, high = interval(gains)
    yield _row(
        f"{KINDS[kind]}: IoU of the pet",
        before.iou,
        [one.iou for one in controls],
        [one.iou for one in taught],
        f" ({low:+.4f} to {high:+.4f})",
    )
    yield _row(
        "the same: mean IoU of the three classes",
        before.mean_iou,
        [one.mean_iou for one in controls],
        [one.mean_iou for one in taught],
        "",
    )


def _row(
    name: str, before: float, controls: Sequence[float], taught: Sequence[float], range_: str
) -> str:
    each = ", ".join(f"{b - a:+.4f}" for a, b in zip(controls, taught, strict=True))
    gain = np.mean(taught) - np.mean(controls)
    return (
        f"| {name} | {before:.4f} | {np.mean(controls):.4f} | {np.mean(taught):.4f} | "
        f"{gain:+.4f}{range_} | {each} |"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Correct, fine-tune and measure what is not there yet; renew the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the run of the page's mask network")
    pets.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of all that is made")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="trainings of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args(words)
    out: Path = arguments.out
    root = pets.prepare(arguments.root, arguments.source)
    examples = pets.with_masks(pets.split(root, "validation"))
    folder = out / "corrected"
    if not (folder / "corrections.json").exists():
        segmenter = segmentation.load(store.default("segmentation"))
        correct(
            examples, [clicks.click_through(each, segmenter) for each in examples], folder, root
        )
    facts = json.loads((folder / "corrections.json").read_text())

    def of(kind: str, seed: int) -> Figures:
        run = out / f"{kind}-{seed}"
        if not (run / "run.json").exists():
            fine_tune(arguments.run, run, None if kind == CONTROL else folder / kind, seed, root)
        return measured(run, out / f"{kind}-{seed}.npz", examples)

    seeds = range(1, arguments.seeds + 1)
    before = measured(arguments.run, out / f"{BEFORE}.npz", examples)
    controls = [of(CONTROL, seed) for seed in seeds]
    lines = [
        "| corrected | before | fine-tuned without | with them | gain (95 %) | of each seed |",
        "|---|---|---|---|---|---|",
    ]
    for kind in arguments.kinds:
        taught = [of(kind, seed) for seed in seeds]
        rest = np.array([example.name not in facts[kind]["names"] for example in examples])
        lines += rows(
            kind,
            before.only(rest),
            [one.only(rest) for one in controls],
            [one.only(rest) for one in taught],
        )
    lines += ["", told(facts, len(examples), arguments.seeds)]
    if arguments.kinds == list(KINDS) and arguments.seeds == SEEDS:
        documents.renew(START, END, "\n".join(lines))
    print("\n".join(lines))


def told(facts: Mapping[str, Mapping[str, float]], pictures: int, seeds: int) -> str:
    """What was measured, in words."""
    corrections = "; ".join(
        f"{KINDS[kind]}, {one['clicks']:.1f} clicks each, IoU {one['before']:.2f} to "
        f"{one['after']:.2f}"
        for kind, one in facts.items()
        if kind != "trimaps"
    )
    return (
        f"Held-out part of trainval, the {pictures - CORRECTED} pictures that are not corrected, "
        f"at the photos' own size; means of {seeds} seeds. Corrections: {corrections}. "
        f"Fine-tuning: {SAMPLE} training pictures and the {CORRECTED}, {EPOCHS} epochs at "
        f"{SIZE} px, rate {RATE:g}."
    )


if __name__ == "__main__":
    commandline.run(main)
