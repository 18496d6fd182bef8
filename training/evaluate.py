"""Score a model on a split of the data set it was trained on.

    python -m training.evaluate pet --split test --write
    python -m training.evaluate runs/breeds                       # a training run's folder
    python -m training.evaluate flowers --models runs/exported --folder flowers
    python -m training.evaluate /tmp/draft.onnx --size 320        # with its card beside it

`--models` names the folder of the model. Photos are prepared as in the app, and a `.onnx` file runs
through `models/`, so the figures describe what the app does. Masks are scored at the network's
input size (photo and mask squashed to it) and at the photo's own size, without the trimaps known to
be wrong. Nuclei are scored at the photo's own size, as foreground and as single objects. Breeds are
also scored without the pictures of the official test split that trainval repeats
(`training/pets_duplicates.csv`).

Writes `figures.json`, `figures.md` and plots. `--write` also stores the figures in the model's card
and, for an embedded model, renews the table of results. Figures of a part of a split (`--names`)
never get into that table.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models import store
from training import command_line, data_sets, duplicates, nuclei, pets
from training.errors import UserError
from training.evaluation.models import Model, open_model
from training.evaluation.scores import score_breeds, score_masks, score_nuclei
from training.evaluation.tables import as_markdown, store_figures
from training.metrics import Figures
from training.runs import RANDOM, WHOLE, command


def evaluate(
    model: Model,
    split: str = "validation",
    *,
    out: Path,
    names: Path | None = None,
    root: Path | None = None,
    source: str | Path | None = None,
    folder: Path | None = None,
    skip_damaged: bool = False,
) -> tuple[str, Figures]:
    """Score a model; return the name of what was measured, and the figures.

    Writes `figures.json`, `figures.md` and plots into the folder `out`.

    Parameters
    ----------
    model
        From `open_model`.
    split
        Split of the data set on which the model was trained.
    out
        Folder to write to.
    names
        Text file with the names of the pictures to use, one per line, with or without extension.
    root, source, folder, skip_damaged
        As the options of the same names.

    Raises
    ------
    training.errors.UserError
        If the split cannot be measured on, or the data is not available.
    """
    part = model.training["split"]
    if part == RANDOM or (part == WHOLE and split != "test"):
        raise UserError(f"{model.name} was trained on {part}, so also on this split.")
    data = data_sets.open_for(model.training, root=root, source=source, folder=folder)
    if split not in data.splits:
        raise UserError(f"--split must be one of {', '.join(data.splits)}, not {split}.")
    examples = data_sets.held_out_by(data, model.training, split)
    measured = split
    if names is not None:
        examples = data_sets.choose(examples, names)
        measured += f", {names.stem}"
    masks = model.task == "segmentation"
    examples = data.check(examples, masks=masks, skip_damaged=skip_damaged)

    out.mkdir(parents=True, exist_ok=True)
    if data.name == nuclei.NAME:
        figures = score_nuclei(model, examples, out)
    elif masks:
        labels = [label["name"] for label in data.labels] or [data.name]
        figures = score_masks(model, examples, labels, out)
    else:
        labels = [label["name"] for label in data.labels]
        repeated = {each.test for each in duplicates.read()} if data.name == pets.NAME else ()
        figures = score_breeds(model, examples, labels, out, repeated)
    figures = {"command": command(), **figures}
    facts = {"model": model.name, "split": measured, **figures}
    (out / "figures.json").write_text(json.dumps(facts, indent=2) + "\n")
    (out / "figures.md").write_text(as_markdown(f"{model.name}, {measured}", figures))
    return measured, figures


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument(
        "model", help="name in the models' folder, path to a .onnx file, or a run's folder"
    )
    parser.add_argument("--models", type=Path, default=store.EMBEDDED, help="folder of the model")
    parser.add_argument("--split", choices=pets.SPLITS, default="validation", help="part to score")
    parser.add_argument(
        "--size", type=command_line.positive, help="input side; by default the model's own"
    )
    parser.add_argument(
        "--names", type=Path, help="text file: only these pictures of the split, one name a line"
    )
    parser.add_argument(
        "--out", type=Path, help="folder to write to; by default runs/evaluation/MODEL-SPLIT"
    )
    parser.add_argument(
        "--write", action="store_true", help="store the figures in the model's card"
    )
    data_sets.add_arguments(parser, folder=data_sets.EITHER_FOLDER)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Evaluate the model that the command line names."""
    arguments = parse_arguments(words)
    model = open_model(arguments.model, arguments.models)
    if arguments.size:
        resized = replace(model.input, height=arguments.size, width=arguments.size)
        model = replace(model, input=resized)
    if arguments.write and (model.card is None or arguments.size):
        raise UserError("--write is for exported models at their own size.")
    part = "-".join([arguments.split, *([arguments.names.stem] if arguments.names else [])])
    out = arguments.out or Path("runs/evaluation", f"{model.name}-{part}")
    measured, figures = evaluate(
        model,
        arguments.split,
        out=out,
        names=arguments.names,
        root=arguments.root,
        source=arguments.source,
        folder=arguments.folder,
        skip_damaged=arguments.skip_damaged,
    )
    print((out / "figures.md").read_text())
    if arguments.write and model.card is not None:
        store_figures(model.card, measured, figures)


if __name__ == "__main__":
    command_line.run(main)
