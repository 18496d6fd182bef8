"""Turn a finished training run into `NAME.onnx` and its card `NAME.json`.

    python -m training.export runs/unet pet
    python -m training.export runs/nuclei nuclei --title "Cell nuclei"
    python -m training.export runs/breeds-1 runs/breeds-2 breeds --size 288 --mirror
    python -m training.export runs/all breeds --calibrate runs/fold-0 runs/fold-1

The network gets a softmax at its end, so that the file gives probabilities; a classifier that ends
in feature maps gets a second output, its class-activation maps. Several classifiers become one
network that averages them; a classifier is calibrated by a temperature fitted on the held-out
photos. `--calibrate` takes it from other runs: for runs that held nothing out, or from several
folds, since the photos of one are few. Framework and ONNX Runtime then answer for the same photos;
where they differ by more than 1e-3 in any probability, nothing is written.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from tqdm import tqdm

from models.images import open_photo
from models.preprocessing import InputSpec, prepare
from models.store import EMBEDDED
from training.data_sets import DATA_SETS, Examples, select
from training.runs import WHOLE, RunError, command, read_run, trained_on

if TYPE_CHECKING:
    import torch

LARGEST_DIFFERENCE = 1e-3
PARITY_PHOTOS = 32
OPSET = 18
OUTPUTS = ("probabilities", "class_activation")  # only classifiers that end in maps have the second
SECOND_OUTPUT = "class-activation maps (labels, rows, columns), calibrated: their means are logits"
LICENCE = "apache-2.0"

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Calibration:
    """Classifiers that are averaged, and examples that all of them held out."""

    runs: "Sequence[Run]"
    examples: Examples


@dataclass(frozen=True)
class Exported:
    """What an exporter tells of the network it wrote: how the framework predicts, and facts."""

    predict: Predict
    parameters: int
    temperature: float | None = None
    outputs: tuple[str, ...] = OUTPUTS[:1]


class ExportError(Exception):
    """The runs cannot be exported together, or ONNX Runtime and the framework disagree."""


class Run:
    """A finished training run: its folder, what it says of itself, and the input to serve."""

    def __init__(self, folder: Path, facts: dict[str, Any], size: int | None) -> None:
        self.folder, self.facts = folder, facts
        self.spec: InputSpec = facts["input"]
        if size is not None:
            self.spec = replace(self.spec, height=size, width=size)


def export_keras(
    runs: Sequence[Run], target: Path, mirror: bool, calibrations: Sequence[Calibration]
) -> Exported:
    """Write a Keras run as ONNX with dynamic batch, height and width."""
    import keras

    import training.train_unet  # noqa: F401  (registers the loss that the saved model names)

    model = keras.models.load_model(single(runs).folder / "model.keras")
    softmax = keras.layers.Softmax(name="probabilities")
    photo = keras.Input((None, None, 3))
    probabilities = softmax(model(photo))
    if mirror:
        both = keras.ops.concatenate([photo, keras.ops.flip(photo, axis=2)])
        straight, flipped = keras.ops.split(softmax(model(both)), 2)
        probabilities = (straight + keras.ops.flip(flipped, axis=2)) / 2
    network = keras.Model(photo, probabilities)
    network.export(
        target,
        format="onnx",
        verbose=False,
        opset_version=OPSET,
        input_signature=[keras.InputSpec(shape=(None, None, None, 3), dtype="float32")],
    )
    return Exported(lambda batch: np.asarray(network(batch, training=False)), model.count_params())


def export_smp(
    runs: Sequence[Run], target: Path, mirror: bool, calibrations: Sequence[Calibration]
) -> Exported:
    """Write a segmentation-models-pytorch run as ONNX; batch, height and width are dynamic."""
    import torch

    import training.torchvision_ops  # noqa: F401  (before timm, which this package imports)
    import segmentation_models_pytorch as smp  # isort: skip

    class Network(torch.nn.Module):
        """The U-Net with a softmax, over the photo and its mirror image if wanted."""

        def __init__(self, unet: torch.nn.Module) -> None:
            super().__init__()
            self.unet = unet

        def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor]:
            if not mirror:
                return (torch.softmax(self.unet(photo), dim=1),)
            # As one batch: a second pass in the graph would hold the weights twice when served.
            both = torch.softmax(self.unet(torch.cat([photo, photo.flip(3)])), dim=1)
            straight, flipped = both.reshape(2, -1, *both.shape[1:])
            return ((straight + flipped.flip(3)) / 2,)

    run = single(runs)
    network = Network(smp.from_pretrained(run.folder)).eval()
    return _export_torch(network, run.spec, target, any_size=True)


def export_timm(
    runs: Sequence[Run], target: Path, mirror: bool, calibrations: Sequence[Calibration]
) -> Exported:
    """Write one or more timm runs as one ONNX with dynamic batch and calibrated probabilities."""
    import torch

    logits, truth = [], []
    for calibration in calibrations:
        network = _classifier(calibration.runs, mirror)
        with torch.inference_mode():
            for example in tqdm(calibration.examples, desc="calibrating"):
                photo = prepare(open_photo(example.photo), calibration.runs[0].spec)
                logits.append(network.logits(torch.from_numpy(photo)).numpy())
                truth.append(example.breed)
    temperature = fit_temperature(np.concatenate(logits), np.array(truth))
    network = _classifier(runs, mirror, temperature)
    return replace(_export_torch(network, runs[0].spec, target), temperature=temperature)


def _classifier(runs: Sequence[Run], mirror: bool, temperature: float = 1.0) -> "torch.nn.Module":
    """The timm runs as one network.

    The logits are averaged over the runs, and over the photo and its mirror image: the breed is the
    same, and the errors are not quite.
    """
    import torch

    import training.torchvision_ops  # noqa: F401  (before timm)
    import timm  # isort: skip

    first = runs[0].spec

    class Network(torch.nn.Module):
        """The classifiers on the photo and its mirror image, calibrated, with a softmax."""

        def __init__(self, classifiers: Sequence[torch.nn.Module]) -> None:
            super().__init__()
            self.classifiers = torch.nn.ModuleList(classifiers)
            # Each was trained on its own range of values; the file takes that of the first.
            for index, run in enumerate(runs):
                std = torch.tensor(run.spec.std)
                scale = torch.tensor(first.std) / std
                shift = (torch.tensor(first.mean) - torch.tensor(run.spec.mean)) / std
                self.register_buffer(f"scale_{index}", scale.reshape(3, 1, 1))
                self.register_buffer(f"shift_{index}", shift.reshape(3, 1, 1))

        def own_range(self, photo: torch.Tensor, index: int) -> torch.Tensor:
            spec = runs[index].spec
            if (spec.mean, spec.std) == (first.mean, first.std):
                return photo
            return photo * getattr(self, f"scale_{index}") + getattr(self, f"shift_{index}")

        def features(self, photo: torch.Tensor) -> list[torch.Tensor]:
            if mirror:
                photo = torch.cat([photo, photo.flip(3)])
            return [
                classifier.forward_features(self.own_range(photo, index))
                for index, classifier in enumerate(self.classifiers)
            ]

        def logits(self, photo: torch.Tensor) -> torch.Tensor:
            return self.logits_of(self.features(photo))

        def logits_of(self, features: list[torch.Tensor]) -> torch.Tensor:
            answers = [
                classifier.forward_head(maps)
                for classifier, maps in zip(self.classifiers, features, strict=True)
            ]
            mean = torch.stack(answers).mean(dim=0)
            return mean.reshape(1 + mirror, -1, mean.shape[1]).mean(dim=0)

        def activation_of(self, features: list[torch.Tensor]) -> torch.Tensor:
            answers = [
                local_logits(classifier, maps)
                for classifier, maps in zip(self.classifiers, features, strict=True)
            ]
            mean = torch.stack(answers).mean(dim=0)
            if not mirror:
                return mean
            straight, flipped = mean.reshape(2, -1, *mean.shape[1:])
            return (straight + flipped.flip(3)) / 2

        def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, ...]:
            features = self.features(photo)
            probabilities = torch.softmax(self.logits_of(features) / temperature, dim=1)
            if not with_activation:
                return (probabilities,)
            return probabilities, self.activation_of(features) / temperature

    models = [timm.create_model(f"local-dir:{run.folder}", pretrained=True).eval() for run in runs]
    with torch.inference_mode():
        features = [model.forward_features(torch.zeros(first.batch_shape(1))) for model in models]
    # A transformer ends in tokens, and maps of several sizes cannot be averaged.
    with_activation = len({maps.shape[2:] for maps in features}) == 1 and all(
        maps.ndim == 4 and maps.shape[1] == model.num_features
        for model, maps in zip(models, features, strict=True)
    )
    return Network(models).eval()


def local_logits(classifier: "torch.nn.Module", features: "torch.Tensor") -> "torch.Tensor":
    """The classifier's head on each place of its last feature maps alone.

    Behind average pooling and a linear layer these are class-activation maps, whose mean over all
    places is the logit: Zhou et al., "Learning deep features for discriminative localization", CVPR
    2016.

    Parameters
    ----------
    classifier
        A timm network.
    features
        `(batch, channels, height, width)`.

    Returns
    -------
    `(batch, classes, height, width)`.
    """
    channels, height, width = features.shape[1:]
    places = features.permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
    logits = classifier.forward_head(places)
    return logits.reshape(-1, height, width, logits.shape[1]).permute(0, 3, 1, 2)


def _export_torch(
    network: "torch.nn.Module", spec: InputSpec, target: Path, any_size: bool = False
) -> Exported:
    import torch

    dynamic = {0: torch.export.Dim("batch")}
    if any_size:
        # AUTO: what works at one size only, as a vision transformer, keeps it instead of failing.
        dynamic |= dict.fromkeys((2, 3), torch.export.Dim.AUTO)
    example = torch.zeros(spec.batch_shape(2))  # a batch of one would be taken for a constant
    with torch.inference_mode():
        outputs = len(network(example))
    torch.onnx.export(
        network,
        (example,),
        target,
        input_names=["photo"],
        output_names=list(OUTPUTS[:outputs]),
        dynamic_shapes=(dynamic,),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(batch))[0].numpy()

    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Exported(predict, parameters, outputs=OUTPUTS[:outputs])


def single(runs: Sequence[Run]) -> Run:
    """The only run of an export that cannot average several.

    Raises
    ------
    ExportError
        When there are more.
    """
    if len(runs) > 1:
        raise ExportError("Only classifiers of timm can be averaged: give one run.")
    return runs[0]


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """The temperature that makes the held-out breeds most likely.

    Dividing all logits by one number changes no ranking, but makes "80 %" right in four of five
    cases: Guo et al., "On calibration of modern neural networks", ICML 2017.

    Parameters
    ----------
    logits
        `(n, classes)`.
    truth
        `(n,)` true class indices.
    """

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(truth)), truth]))

    best = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20)))
    return float(np.exp(best.x))


EXPORTERS = {"keras": export_keras, "smp": export_smp, "timm": export_timm}
OUTPUT_LAYOUTS = {"keras": "NHWC", "smp": "NCHW", "timm": "NC"}


def largest_difference(
    network: Path | bytes, predict: Predict, photos: Sequence[NDArray[np.uint8]], spec: InputSpec
) -> float:
    """Largest difference of any probability between ONNX Runtime and another way to predict.

    The network is an `.onnx` file or its bytes. Photos go one by one, and those of the first one's
    size as one batch, so that the dynamic batch is tried too.
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
    folder: Path,
    held_out: Examples,
    *,
    size: int | None = None,
    mirror: bool = False,
    title: str | None = None,
    default: bool = False,
    calibrate: Sequence[tuple[Sequence[Path], Examples]] = (),
) -> float:
    """Write `folder/NAME.onnx` and `folder/NAME.json`; return the largest difference found.

    Some of the held-out photos compare framework and ONNX Runtime, and all calibrate a classifier.

    Parameters
    ----------
    folders
        The training runs' folders: one, or several classifiers to be averaged.
    name, folder
        What to write, and where.
    held_out
        Examples that the runs were not trained on, unless they were trained on all.
    size
        Replaces the runs' input side. A classifier trained on random crops sees its objects
        larger than in whole photos, and is often better at a larger size than it was trained at:
        Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019.
    mirror
        Whether the network also sees the photo's mirror image, and averages both answers.
    title, default
        What people are shown instead of the name, and whether it is the model of its task that is
        used unasked.
    calibrate
        Classifiers' runs that give the temperature instead of `folders`, as many as those, with
        the examples that they held out; once or more.

    Raises
    ------
    ExportError
        When a probability differs by more than `LARGEST_DIFFERENCE`, or the runs do not fit
        together; nothing is then written.
    """
    runs = [Run(path, read_run(path), size) for path in folders]
    calibrations = [
        Calibration([Run(path, read_run(path), size) for path in paths], examples)
        for paths, examples in calibrate or [(folders, held_out)]
    ]
    spec, facts = runs[0].spec, runs[0].facts
    if calibrate and facts["task"] != "classification":
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
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / f"{name}.onnx"
        exported = EXPORTERS[facts["framework"]](runs, draft, mirror, calibrations)
        onnx.checker.check_model(str(draft), full_check=True)
        step = max(len(held_out) // PARITY_PHOTOS, 1)
        photos = [open_photo(example.photo) for example in held_out[::step]]
        difference = largest_difference(draft, exported.predict, photos, spec)
        if difference > LARGEST_DIFFERENCE:
            raise ExportError(
                f"ONNX Runtime and {facts['framework']} differ by {difference:.2g} in a "
                f"probability, more than {LARGEST_DIFFERENCE:.0e}: {name} was not exported."
            )
        content = draft.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(content)
    card = make_card(runs, exported, content, difference, len(photos))
    shown = {"title": title} if title else {}
    card = {**shown, **({"default": True} if default else {}), **card}
    (folder / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
    return difference


def make_card(
    runs: Sequence[Run], exported: Exported, content: bytes, difference: float, photos: int
) -> dict[str, Any]:
    """All that serving needs and a reader wants to know of a model, ready for JSON."""
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
        **({"instances": True} if facts.get("instances") else {}),
        "input": asdict(runs[0].spec),
        "output": {
            "layout": OUTPUT_LAYOUTS[facts["framework"]],
            "meaning": "softmax probabilities in the order of the labels",
            "temperature": exported.temperature,
            **({"second": SECOND_OUTPUT} if exported.outputs == OUTPUTS else {}),
        },
        "training": {
            "data": facts["data"],
            "input_size": facts["held_out"]["size"],
            "split": trained_on(facts),
            **({"fold": facts["fold"]} if facts.get("fold") else {}),
            "epochs": sum(run.facts["epochs"] for run in runs),
            "command": " && ".join(commands),
        },
        "metrics": metrics,
        "export": {
            "command": command(),
            "opset": OPSET,
            "largest_difference": difference,
            "compared_on": f"{photos} held-out photos",
        },
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Export the runs that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="the training run's folder, or folders")
    parser.add_argument("name", help="name of the model: NAME.onnx and NAME.json")
    parser.add_argument("--to", type=Path, default=EMBEDDED, help="folder to write to")
    parser.add_argument("--title", help="what people are shown instead of the name")
    parser.add_argument(
        "--default", action="store_true", help="use it unasked where several have its task"
    )
    parser.add_argument(
        "--size", type=int, help="input side to serve at; by default the training's"
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
        "--mirror",
        action="store_true",
        help="average the answers to the photo and its mirror image",
    )
    parser.add_argument("--root", type=Path, help="where the data lies; by default data/pets, ...")
    parser.add_argument("--source", help="base URL of the official archives, or a folder with them")
    arguments = parser.parse_args(words)
    try:
        facts = read_run(arguments.runs[0])
        if facts["framework"] not in EXPORTERS:
            raise ExportError(f"Runs of {facts['framework']} have no network to export.")
        folds: dict[int, list[Path]] = {}
        for run in arguments.calibrate:
            folds.setdefault(read_run(run).get("fold", 0), []).append(run)
        data = DATA_SETS[facts["data"]]
        root = data.prepare(arguments.root or data.ROOT, arguments.source or data.URL)
        difference = export(
            arguments.runs,
            arguments.name,
            arguments.to,
            select(facts, root, "validation"),
            size=arguments.size,
            mirror=arguments.mirror,
            title=arguments.title,
            default=arguments.default,
            calibrate=[
                (runs, select(read_run(runs[0]), root, "validation")) for runs in folds.values()
            ],
        )
    except (ExportError, RunError) as error:
        raise SystemExit(str(error)) from error
    path = arguments.to / f"{arguments.name}.onnx"
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
