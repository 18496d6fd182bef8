"""The table of all systems beside their published references, made from finished runs.

    python -m training.systems                     # take what runs/ holds, renew the table
    python -m training.systems --runs elsewhere

The figures are copied from a run's `run.json` to `docs/systems/NAME.json`, and the table in
docs/ is made from those files alone. A system without such a file is "not measured here".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import documents
from training import command_line, nuclei
from training.runs import FILE

RECORDS = Path(__file__).parent.parent / "docs" / "systems"
START = "<!-- systems: written by training.systems -->"
END = "<!-- /systems -->"

# What a record copies from a run.
KEPT = ("command", "data", "split", "epochs", "seconds", "held_out", "test", "input")


@dataclass(frozen=True)
class System:
    """A published system: its name, its published figure, and its run.

    Attributes
    ----------
    run
        Name of the run's folder, and of its record.
    name
        Its name in the table.
    reference
        The published figure with its protocol.
    figures
        Figures to show: title, and path into the run's facts.
    """

    run: str
    name: str
    reference: str
    figures: Mapping[str, str]


TOP = {"held-out top-1": "held_out.top1", "top-5": "held_out.top5"}
MASK = {"held-out pixel accuracy": "held_out.accuracy", "mean IoU": "held_out.miou"}
SMP = {
    "held-out loss": "held_out.loss",
    "pixel accuracy": "held_out.pixel_accuracy",
    "mean IoU": "held_out.mean_iou",
}
SPECIES = {"held-out accuracy": "held_out.accuracy", "test accuracy": "test.accuracy"}

SYSTEMS = (
    System(
        "baseline-pixels",
        "SVM on grey 150x150 pixels, cat or dog",
        "accuracy 0.680 on a random fifth",
        SPECIES,
    ),
    System("baseline-pixels-random", "the same", "the same", SPECIES),
    System("baseline-hog", "SVM on HOG, cat or dog", "", SPECIES),
    System("baseline-hog-random", "the same", "", SPECIES),
    System("unet", "U-Net, MobileNetV2 + pix2pix, `block_16_project`", "", MASK),
    System("unet-expand", "U-Net, MobileNetV2 + pix2pix, `block_16_expand_relu`", "", MASK),
    System(
        "unet-scratch",
        "U-Net from scratch, 32 filters, 96x128",
        "training accuracy 0.853 after 3 epochs",
        MASK,
    ),
    System("nuclei", "U-Net from scratch, 16 filters, cell nuclei", "", MASK),
    System(
        "encoder-unet",
        "U-Net, `tu-mobilenetv2_100` encoder (segmentation-models-pytorch)",
        "validation loss 0.1686 after 25 epochs",
        SMP,
    ),
    System("fine", "the same, going on at 256 px", "", SMP),
    System(
        "breeds-resnet34",
        "fastai `resnet34`",
        "error 0.0731 on a random fifth, 3 epochs",
        TOP,
    ),
    System(
        "breeds-convnext",
        "fastai `convnext_tiny.fb_in22k`",
        "error 0.0480 on a random fifth, 3 epochs",
        TOP,
    ),
    System("breeds", "fastai `mobilenetv2_100`", "", TOP),
    System("breeds-lite2", "fastai `tf_efficientnet_lite2`", "", TOP),
)


def record(run: Path, to: Path) -> None:
    """Copy what the table needs of a run's facts."""
    facts = json.loads((run / FILE).read_text())
    kept = {key: facts[key] for key in KEPT if key in facts}
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(kept, indent=2) + "\n")


def look_up(facts: Mapping[str, Any], path: str) -> float | None:
    """The number at a path such as "held_out.top1"; None if there is none."""
    value: Any = facts
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def protocol(facts: Mapping[str, Any]) -> str:
    """Split, pictures and input size of a record, in words."""
    held_out = facts["held_out"]
    split = {
        "random": "random 80/20 of all pictures",
        "official": "trainval, a tenth held out",
        "trainval": "all of trainval",
    }[facts.get("split", "official")]
    if facts["data"] == nuclei.NAME:
        split = "stratified by kind, 20 % test, a tenth of the rest held out"
    size = held_out.get("size", f"{facts['input']['height']}x{facts['input']['width']}")
    epochs = f", {facts['epochs']} epochs" if "epochs" in facts else ""
    pictures = f"{held_out['pictures']:,} held-out pictures"
    if "test" in facts:
        pictures += f", {facts['test']['pictures']:,} test pictures"
    return f"{facts['data']}, {split}; {pictures}; {size} px{epochs}"


def table() -> str:
    """Markdown table of all systems, from the existing records."""
    lines = [
        "| system | reference | measured here | data and protocol | minutes | command |",
        "|---|---|---|---|---|---|",
    ]
    for system in SYSTEMS:
        path = RECORDS / f"{system.run}.json"
        if not path.exists():
            lines.append(f"| {system.name} | {system.reference} | not measured here | | | |")
            continue
        facts = json.loads(path.read_text())
        values = {title: look_up(facts, path) for title, path in system.figures.items()}
        shown = ", ".join(f"{title} {value:.4f}" for title, value in values.items() if value)
        lines.append(
            f"| {system.name} | {system.reference} | {shown} | {protocol(facts)} | "
            f"{facts['seconds'] / 60:.1f} | `{facts['command']}` |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Record the existing runs and renew the table."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    arguments = parser.parse_args(words)
    for system in SYSTEMS:
        run = arguments.runs / system.run
        if (run / FILE).exists():
            record(run, RECORDS / f"{system.run}.json")
            print(f"{run} recorded")
    documents.renew(START, END, table())


if __name__ == "__main__":
    command_line.run(main)
