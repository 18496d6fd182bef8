"""Turn a finished training run into `NAME.onnx` and its card `NAME.json`.

    python -m training.export runs/unet pet
    python -m training.export runs/nuclei nuclei --title "Cell nuclei"
    python -m training.export runs/breeds-1 runs/breeds-2 breeds --size 288 --mirror --embed
    python -m training.export runs/all breeds --calibrate runs/fold-0 runs/fold-1
    python -m training.export runs/breeds breeds --otherwise imagenet

The network gets a softmax at its end, so that the file gives probabilities; a classifier that ends
in feature maps gets a second output, its class-activation maps. Several classifiers become one
network that averages them; a classifier is calibrated by a temperature fitted on the held-out
photos. `--calibrate` fits it with other runs: for runs that held nothing out, or to use the photos
of several folds. `--otherwise` keeps the classifier of 1,000 classes that the network had before
fine-tuning as a second head on the same body: one pass then also says what a photo shows that is
none of the run's classes. Framework and ONNX Runtime must then agree on the same photos: if any
probability differs by more than 1e-3, nothing is written.

The files go to `runs/exported`, which `python app.py --models runs/exported` serves. A model of the
same name, whose card may hold the results of later scripts, is replaced only with `--overwrite`;
`--embed` replaces the app's own model.
"""

import argparse
import hashlib
import json
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from models import store
from models.images import open_photo
from models.preprocessing import InputSpec, prepare
from training import command_line, data_sets, imagenet, starting_weights
from training.data_sets import EITHER_FOLDER, Examples
from training.exporting.common import (
    ACTIVATION,
    OPSET,
    OTHERWISE,
    Calibration,
    Exported,
    Exporter,
    ExportError,
    Predict,
    Run,
)
from training.runs import WHOLE, command, read_facts, trained_on

EXPORTED = Path("runs/exported")
LARGEST_DIFFERENCE = 1e-3
PARITY_PHOTOS = 32
SECOND_OUTPUT = "class-activation maps (labels, rows, columns), calibrated: their means are logits"
THIRD_OUTPUT = "logits of ImageNet's classes, as `otherwise` names them"
LICENCE = "apache-2.0"

FRAMEWORKS = ("keras", "smp", "timm")
OUTPUT_LAYOUTS = {"keras": "NHWC", "smp": "NCHW", "timm": "NC"}


def exporter(framework: str) -> Exporter:
    """The function that exports runs of a framework; only that framework is imported."""
    return getattr(import_module(f"training.exporting.of_{framework}"), f"export_{framework}")


def largest_difference(
    network: Path | bytes, predict: Predict, photos: Sequence[NDArray[np.uint8]], spec: InputSpec
) -> float:
    """Largest difference of any probability between ONNX Runtime and another way to predict.

    The network is an `.onnx` file or its bytes. Photos are compared one by one, and those of the
    first one's size also as one batch, which tests the dynamic batch size.
    """
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    inputs = [prepare(photo, spec) for photo in photos]
    together = np.concatenate([one for one in inputs if one.shape == inputs[0].shape])
    return max(
        float(np.abs(session.run(None, {name: batch})[0] - predict(batch)).max())
        for batch in [*inputs, together]
    )


def export(
    folders: Sequence[Path],
    name: str,
    models: Path = EXPORTED,
    *,
    size: int | None = None,
    close_size: int | None = None,
    mirror: bool = False,
    title: str | None = None,
    subject: str | None = None,
    default: bool = False,
    calibrate: Sequence[Path] = (),
    temperature: float | None = None,
    otherwise: str | None = None,
    offsets: Mapping[str, float] | None = None,
    start: Mapping[str, str] | None = None,
    root: Path | None = None,
    source: str | Path | None = None,
    folder: Path | None = None,
    skip_damaged: bool = False,
    overwrite: bool = False,
) -> float:
    """Write `models/NAME.onnx` and `models/NAME.json`; return the largest difference found.

    Some held-out photos are used to compare framework and ONNX Runtime; all are used to calibrate.

    Parameters
    ----------
    folders
        The training runs' folders: one, or several classifiers to be averaged.
    name, models
        Name of the model, and the folder to write it to.
    size
        Replaces the runs' input side. A classifier trained on random crops sees its objects
        larger than in whole photos, and is often better at a larger size than it was trained at:
        Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019.
    close_size
        Of a mask model, the input side for a closer look at one pet, if it is another.
    mirror
        Whether a photo's mirror image is seen, too, and both answers are averaged. A classifier's
        network does so itself; a mask model's card has it done for whole photos, not for closer
        looks.
    subject
        What a mask model outlines, if not the name of its first class; the page uses a model of
        "pet".
    title, default
        The name that people see, and whether this is the model of its task that is used if none is
        chosen.
    calibrate
        Runs of classifiers with which to fit the temperature instead of `folders`; as many per
        fold.
    temperature
        A temperature for a classifier; none is fitted then.
    otherwise
        The weights from which a timm classifier started: a file, or "imagenet" for those that timm
        downloads. Their own classifier becomes another output.
    offsets
        Of a mask model's classes, by name: constants to add to their logits, chosen on held-out
        photos. A loss that favours a class makes it too large, which its offset corrects.
    start
        For the card, what the runs do not say about their starting weights: see
        `training.starting_weights`.
    root, source, folder, skip_damaged
        The data that the runs held out, as in the options of the same names.
    overwrite
        Whether to replace a model of that name, including the rule and the figures in its card.

    Raises
    ------
    training.errors.UserError
        If a probability differs by more than `LARGEST_DIFFERENCE`, the runs do not fit together, or
        a model of that name exists; nothing is written then.
    """
    there = [path for end in ("onnx", "json") if (path := models / f"{name}.{end}").exists()]
    if there and not overwrite:
        raise ExportError(
            f"{there[0]} already exists: replace it with --overwrite, or choose another name."
        )
    runs = [Run(path, read_facts(path), size) for path in folders]
    facts = runs[0].facts
    if facts["framework"] not in FRAMEWORKS:
        raise ExportError(f"Runs of {facts['framework']} have no network to export.")
    sides = dict.fromkeys((size, close_size or size))
    if facts["framework"] == "smp":
        _check_sides(sides)
    elif close_size:
        raise ExportError("Only mask models of segmentation-models-pytorch take --close-size.")
    data = data_sets.open_for(facts, root=root, source=source, folder=folder)

    def held_out(run: Run) -> Examples:
        examples = data_sets.held_out_by(data, run.facts, "validation")
        return data.check(examples, masks=False, skip_damaged=skip_damaged)

    examples = held_out(runs[0])
    calibrations = [Calibration(runs, examples)]
    if calibrate:
        calibrations = [
            Calibration(fold, held_out(fold[0])) for fold in _by_fold(calibrate, size).values()
        ]
    _fit_together(runs, calibrations, calibrated=bool(calibrate))
    options = _options(runs, mirror, temperature, otherwise, offsets)
    photos = [
        open_photo(each.photo) for each in examples[:: max(len(examples) // PARITY_PHOTOS, 1)]
    ]
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / f"{name}.onnx"
        exported = exporter(facts["framework"])(runs, draft, calibrations, **options)
        difference = max(
            _check(draft, exported, photos, Run(folders[0], facts, side)) for side in sides
        )
        content = draft.read_bytes()
    models.mkdir(parents=True, exist_ok=True)
    (models / f"{name}.onnx").write_bytes(content)
    card = {
        **({"title": title} if title else {}),
        **({"default": True} if default else {}),
        **make_card(runs, exported, content, difference, len(photos), start or {}),
    }
    if offsets:
        card["output"]["offsets"] = dict(offsets)
    if facts["task"] == "segmentation":
        card |= {"subject": subject} if subject else {}
        card |= {"close_side": close_size} if close_size else {}
        card |= {"mirror": True} if mirror else {}
    (models / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
    return difference


def _check_sides(sides: Iterable[int | None]) -> None:
    """Refuse input sides that a U-Net cannot halve often enough."""
    from training.train_encoder_unet import MULTIPLE  # imports PyTorch

    for side in sides:
        if side and side % MULTIPLE:
            raise ExportError(f"A U-Net's input side must be divisible by {MULTIPLE}, not {side}.")


def _options(
    runs: Sequence[Run],
    mirror: bool,
    temperature: float | None,
    otherwise: str | None,
    offsets: Mapping[str, float] | None,
) -> dict[str, Any]:
    """The options for the exporter of these runs' framework, if it takes them."""
    facts = runs[0].facts
    given = {"temperature": temperature, "otherwise": otherwise}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options and (facts["framework"], facts["task"]) != ("timm", "classification"):
        raise ExportError(f"Only classifiers of timm take --{' and --'.join(options)}.")
    if otherwise and len(runs) > 1:
        raise ExportError("--otherwise is for one run: several have no body in common.")
    if offsets:
        options["offsets"] = _of_classes(offsets, facts)
    if mirror and facts["task"] == "classification":
        options["mirror"] = True
    return options


def _of_classes(offsets: Mapping[str, float], facts: Mapping[str, Any]) -> list[float]:
    """The offset of each class of a run."""
    if facts["framework"] != "smp":
        raise ExportError("Only mask models of segmentation-models-pytorch take --offsets.")
    classes = [label["name"] for label in facts["labels"]]
    for name, value in offsets.items():
        if name not in classes:
            raise ExportError(f"--offsets: the classes are {', '.join(classes)}, not {name!r}.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ExportError(f"--offsets: that of {name} must be a number, not {value!r}.")
    return [float(offsets.get(name, 0)) for name in classes]


def _check(
    network: Path, exported: Exported, photos: Sequence[NDArray[np.uint8]], run: Run
) -> float:
    """The largest difference of any probability; raises ExportError if that is too large."""
    onnx.checker.check_model(str(network), full_check=True)
    difference = largest_difference(network, exported.predict, photos, run.spec)
    if difference > LARGEST_DIFFERENCE:
        raise ExportError(
            f"ONNX Runtime and {run.facts['framework']} differ by {difference:.2g} in a "
            f"probability, more than {LARGEST_DIFFERENCE:.0e}: {network.stem} was not exported."
        )
    return difference


def _by_fold(folders: Sequence[Path], size: int | None) -> dict[int, list[Run]]:
    folds: dict[int, list[Run]] = {}
    for path in folders:
        run = Run(path, read_facts(path), size)
        folds.setdefault(run.facts.get("fold", 0), []).append(run)
    return folds


def _fit_together(
    runs: Sequence[Run], calibrations: Sequence[Calibration], calibrated: bool
) -> None:
    """Refuse runs that cannot be averaged, or cannot give a temperature."""
    facts = runs[0].facts
    if calibrated and facts["task"] != "classification":
        raise ExportError("Only classifiers are calibrated.")
    for calibration in calibrations:
        if any(trained_on(run.facts) == WHOLE for run in calibration.runs):
            raise ExportError("These runs held nothing out: --calibrate with runs that did.")
        if len({run.facts.get("fold", 0) for run in calibration.runs}) > 1:
            raise ExportError("These runs held out different pictures: --calibrate with others.")
        if len(calibration.runs) != len(runs):
            raise ExportError(f"--calibrate needs {len(runs)} runs of each fold.")
    if len({(run.facts["framework"], json.dumps(run.facts["labels"])) for run in runs}) > 1:
        raise ExportError("Runs that are averaged must share framework and labels.")


def make_card(
    runs: Sequence[Run],
    exported: Exported,
    content: bytes,
    difference: float,
    photos: int,
    start: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that the app needs and a reader wants to know about a model, ready for JSON."""
    facts = runs[0].facts
    commands = [run.facts["command"] for run in runs]
    metrics = {}
    if facts["held_out"]["pictures"]:
        metrics["end of training"] = {
            "split": "validation",
            "command": facts["command"],
            **facts["held_out"],
        }
    return {
        "task": facts["task"],
        "architecture": " + ".join(run.facts["architecture"] for run in runs),
        "framework": facts["framework"],
        "parameters": exported.parameters,
        "license": LICENCE,
        "labels": facts["labels"],
        **({"subject": facts["labels"][0]["name"]} if facts["task"] == "segmentation" else {}),
        **{name: True for name in ("instances", "pointing") if facts.get(name)},
        "input": asdict(runs[0].spec),
        "output": {
            "layout": OUTPUT_LAYOUTS[facts["framework"]],
            "meaning": exported.meaning,
            "temperature": exported.temperature,
            **({"second": SECOND_OUTPUT} if ACTIVATION in exported.outputs else {}),
            **({"last": THIRD_OUTPUT} if OTHERWISE in exported.outputs else {}),
        },
        "training": {
            "data": facts["data"],
            **({"more": facts["more"]} if facts.get("more") else {}),
            "input_size": facts["held_out"]["size"],
            "split": trained_on(facts),
            **({"fold": facts["fold"]} if facts.get("fold") else {}),
            "epochs": sum(run.facts["epochs"] for run in runs),
            "command": " && ".join(commands),
        },
        **starting_weights.of_runs([run.facts for run in runs], start),
        "metrics": metrics,
        "export": {
            "command": command(),
            "opset": OPSET,
            "largest_difference": difference,
            "compared_on": f"{photos} held-out photos",
        },
        "sha256": hashlib.sha256(content).hexdigest(),
        **(
            {"otherwise": imagenet.classes([label["name"] for label in facts["labels"]])}
            if OTHERWISE in exported.outputs
            else {}
        ),
    }


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="the training run's folder, or folders")
    parser.add_argument("name", help="name of the model: NAME.onnx and NAME.json")
    add_models_arguments(parser, "folder to write to")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a model of that name, with the rule and the figures in its card",
    )
    parser.add_argument("--title", help="what people are shown instead of the name")
    parser.add_argument(
        "--subject",
        help="what a mask model outlines, as 'pet' for the page's tabs about pets; by default the "
        "name of its first class",
    )
    parser.add_argument(
        "--default",
        action="store_true",
        help="use it where several have its task and none is named",
    )
    parser.add_argument(
        "--size",
        type=command_line.positive,
        help="input side to serve at; by default the training's",
    )
    parser.add_argument(
        "--close-size",
        type=command_line.positive,
        help="of a mask model, that for a closer look at one pet, if it is another",
    )
    parser.add_argument(
        "--calibrate",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs to take the temperature from, as many of each fold as are exported",
    )
    parser.add_argument(
        "--temperature",
        type=command_line.positive_float,
        help="of a classifier, found elsewhere, instead of one that is fitted",
    )
    parser.add_argument(
        "--otherwise",
        metavar="WEIGHTS",
        help="keep the classifier of the weights that a run started from as a second head: a file, "
        "or imagenet for those that timm downloads",
    )
    parser.add_argument(
        "--offsets",
        type=command_line.json_object,
        metavar="JSON",
        help="of a mask model's classes, as '{\"border\": -0.3}': constants to add to their logits",
    )
    parser.add_argument(
        "--starting-weights",
        dest="start",
        type=command_line.json_object,
        metavar="JSON",
        help="for the card, what the run does not say of its starting weights: project, license, "
        "repository, how",
    )
    parser.add_argument(
        "--mirror",
        action="store_true",
        help="average the answers to the photo and its mirror image",
    )
    data_sets.add_arguments(parser, folder=EITHER_FOLDER)
    return parser.parse_args(words)


def add_models_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the options about the folder of models that a script writes into."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--models", type=Path, default=EXPORTED, help=what)
    place.add_argument(
        "--embed",
        dest="models",
        action="store_const",
        const=store.EMBEDDED,
        help=f"{what.replace('folder', 'the folder')}: models/weights, the app's own models",
    )


def main(words: Sequence[str] | None = None) -> None:
    """Export the runs that the command line names."""
    arguments = parse_arguments(words)
    name, models = arguments.name, arguments.models
    difference = export(
        arguments.runs,
        name,
        models,
        size=arguments.size,
        close_size=arguments.close_size,
        mirror=arguments.mirror,
        title=arguments.title,
        subject=arguments.subject,
        default=arguments.default,
        calibrate=arguments.calibrate,
        temperature=arguments.temperature,
        otherwise=arguments.otherwise,
        offsets=arguments.offsets,
        start=arguments.start,
        root=arguments.root,
        source=arguments.source,
        folder=arguments.folder,
        skip_damaged=arguments.skip_damaged,
        overwrite=arguments.overwrite or models == store.EMBEDDED,
    )
    path = models / f"{name}.onnx"
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, largest difference {difference:.1e}")
    card = store.read_card(name, models)
    if card.task == "classification" and card.refusal is None:
        words = [command_line.python(), "-m", "training.refusal", name, "--models", str(models)]
        if own := arguments.folder or read_facts(arguments.runs[0]).get("folder"):
            words += ["--folder", str(own), "--others-folder", "OTHERS"]
        print(
            f"{name} names a class for any photo; a rule that refuses others is fitted by: "
            f"{shlex.join([*words, '--write'])}"
        )


if __name__ == "__main__":
    command_line.run(main)
