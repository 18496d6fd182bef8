"""What twenty corrected photos teach: correct held-out pictures by clicks, fine-tune, measure.

    python -m bench.teaching runs/fine      # the page's mask network, as a run; renews the table
    python -m bench.teaching runs/fine --seeds 1

The page's mask is tried on all held-out pictures of trainval, and the twenty on which it is worst
are corrected by simulated clicks (see `bench.clicks`). They are written into a folder as the page
writes corrections. A short fine-tuning of the run learns from them, by `--more`, and from a sample
of the training pictures; as a control, the same fine-tuning learns from that sample alone. The
other held-out pictures, from which neither has learnt, are measured. All is repeated with other
seeds.

What is in the folder `--out` already is kept: corrections, trainings and their figures.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import documents
from bench import clicks
from bench.clicks import Course
from models import pet_folders, segmentation, store
from models.images import open_photo
from models.preprocessing import prepare
from models.segmentation import at_photo_size
from training import pets
from training.clicking import overlap
from training.evaluation.models import Model, open_model
from training.metrics import confusion_matrix

START = "<!-- teaching: written by bench.teaching -->"
END = "<!-- /teaching -->"

OUT = Path("runs/teaching")
CORRECTED = 20
SAMPLE, SIZE, EPOCHS, BATCH, RATE = 180, 256, 2, 10, 1e-4  # of the fine-tuning
SEEDS = 2
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

    def iou(self) -> float:
        """Mean over the pictures of their intersection over union."""
        return float(self.overlaps.mean())

    def mean_iou(self) -> float:
        """Mean over the three classes of the intersection over union of all pixels together."""
        total = self.confusions.sum(axis=0)
        right = np.diag(total)
        return float((right / (total.sum(axis=0) + total.sum(axis=1) - right)).mean())


def correct(
    examples: Sequence[pets.Example], courses: Sequence[Course], folder: Path, root: Path
) -> dict[str, Any]:
    """Write the worst masks, corrected, into a folder; return what was done."""
    worst = np.argsort([course.overlaps[0] for course in courses], kind="stable")[:CORRECTED]
    masks = {examples[index]: pet_folders.trimap(courses[index].inside) for index in worst}
    write(folder, masks, root)
    return {
        "names": [examples[index].name for index in worst],
        "clicks": float(np.mean([courses[index].clicks for index in worst])),
        "before": float(np.mean([courses[index].overlaps[0] for index in worst])),
        "after": float(np.mean([courses[index].overlaps[-1] for index in worst])),
    }


def write(folder: Path, masks: Mapping[pets.Example, NDArray[np.uint8]], root: Path) -> None:
    """Write photos with corrected masks as the page does; they keep the data set's names."""
    shutil.rmtree(folder, ignore_errors=True)
    breeds = pets.breeds(root)
    for example, mask in masks.items():
        species = pet_folders.SPECIES[breeds[example.label].species]
        entry = pet_folders.Entry(example.name, example.label + 1, species, 0)
        pet_folders.add(folder, entry, open_photo(example.photo), mask)


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


def table(before: Figures, controls: Sequence[Figures], taught: Sequence[Figures]) -> str:
    """What the corrected photos change, by both figures, as Markdown.

    Parameters
    ----------
    before
        Of the run that is fine-tuned.
    controls, taught
        After fine-tuning without the corrected photos, and with them: one of each seed.
    """
    gains = np.mean([one.overlaps for one in taught], axis=0) - np.mean(
        [one.overlaps for one in controls], axis=0
    )
    low, high = interval(gains)
    lines = [
        "| | before | fine-tuned without them | with them | gain | gain of each seed |",
        "|---|---|---|---|---|---|",
    ]
    for name, figure, range_ in (
        ("IoU of the pet, mean of the pictures", Figures.iou, f" ({low:+.4f} to {high:+.4f})"),
        ("mean IoU of the three classes, all pixels", Figures.mean_iou, ""),
    ):
        without, together = [figure(one) for one in controls], [figure(one) for one in taught]
        each = ", ".join(f"{b - a:+.4f}" for a, b in zip(without, together, strict=True))
        gain = np.mean(together) - np.mean(without)
        lines.append(
            f"| {name} | {figure(before):.4f} | {np.mean(without):.4f} | {np.mean(together):.4f} | "
            f"{gain:+.4f}{range_} | {each} |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Correct, fine-tune and measure what is not there yet; renew the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the run of the page's mask network")
    pets.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of all that is made")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="trainings of each kind")
    arguments = parser.parse_args(words)
    out: Path = arguments.out
    root = pets.prepare(arguments.root, arguments.source)
    examples = pets.with_masks(pets.split(root, "validation"))
    corrected, corrections = out / "corrected", out / "corrections.json"
    if not corrections.exists():
        segmenter = segmentation.load(store.default("segmentation"))
        courses = [clicks.click_through(each, segmenter) for each in examples]
        facts = correct(examples, courses, corrected, root)
        corrections.write_text(json.dumps(facts, indent=2) + "\n")
    facts = json.loads(corrections.read_text())
    rest = np.array([example.name not in facts["names"] for example in examples])

    def of(name: str, seed: int, more: Path | None) -> Figures:
        run = out / f"{name}-{seed}"
        if not (run / "run.json").exists():
            fine_tune(arguments.run, run, more, seed, root)
        return measured(run, out / f"{name}-{seed}.npz", examples)

    seeds = range(1, arguments.seeds + 1)
    before = measured(arguments.run, out / "before.npz", examples)
    controls = [of("control", seed, None) for seed in seeds]
    taught = [of("taught", seed, corrected) for seed in seeds]
    learnt = [
        np.mean([one.only(~rest).iou() for one in each]) for each in ([before], controls, taught)
    ]
    written = (
        table(
            before.only(rest),
            [one.only(rest) for one in controls],
            [one.only(rest) for one in taught],
        )
        + f"\n\n{rest.sum()} pictures of the held-out part of trainval, at the photos' own size; "
        f"means of {len(seeds)} seeds, and in brackets the gain's 95 % interval over pictures. The "
        f"{CORRECTED} got {facts['clicks']:.1f} clicks each, and their IoU rose from "
        f"{facts['before']:.3f} to {facts['after']:.3f}. Fine-tuning: {SAMPLE} pictures of the "
        f"training part and these, {EPOCHS} epochs at {SIZE} px, rate {RATE:g}. The network's own "
        f"masks of the {CORRECTED} have an IoU of {learnt[0]:.3f} before, {learnt[1]:.3f} after "
        f"fine-tuning without them, and {learnt[2]:.3f} with them, where it has seen them."
    )
    if len(seeds) == SEEDS:
        documents.renew(START, END, written)
    print(written)


if __name__ == "__main__":
    commandline.run(main)
