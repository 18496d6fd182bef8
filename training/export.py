"""Turn a finished training run into `NAME.onnx` and its card `NAME.json`.

    python -m training.export runs/unet pet
    python -m training.export runs/breeds breeds --size 288

The network gets a softmax at its end, so that the file gives probabilities. A classifier also sees
the photo's mirror image, and is calibrated by a temperature fitted on the held-out photos.
Framework and ONNX Runtime then answer for the same held-out photos; where they differ by more than
1e-3 in any probability, nothing is written.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
from training import pets
from training.runs import command, read_run

LARGEST_DIFFERENCE = 1e-3
PARITY_PHOTOS = 32
OPSET = 18
LICENCE = "apache-2.0"

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Exported:
    """What an exporter tells of the network it wrote: how the framework predicts, and facts."""

    predict: Predict
    parameters: int
    temperature: float | None = None


class ParityError(Exception):
    """ONNX Runtime and the training framework disagree; the export is not to be used."""


def export_keras(
    run: Path, spec: InputSpec, target: Path, held_out: Sequence[pets.Example]
) -> Exported:
    """Write a Keras run as ONNX with dynamic batch, height and width."""
    import keras

    import training.train_unet  # noqa: F401  (registers the loss that the saved model names)

    model = keras.models.load_model(run / "model.keras")
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    network = keras.Model(model.input, probabilities)
    network.export(
        target,
        format="onnx",
        verbose=False,
        opset_version=OPSET,
        input_signature=[keras.InputSpec(shape=(None, None, None, 3), dtype="float32")],
    )
    return Exported(lambda batch: np.asarray(network(batch, training=False)), model.count_params())


def export_timm(
    run: Path, spec: InputSpec, target: Path, held_out: Sequence[pets.Example]
) -> Exported:
    """Write a timm run as ONNX with dynamic batch and calibrated probabilities.

    The network averages the photo's and its mirror image's logits: the breed is the same, and the
    errors are not quite.
    """
    import torch

    import training.torchvision_ops  # noqa: F401  (before timm)
    import timm  # isort: skip

    class Network(torch.nn.Module):
        """The classifier on the photo and its mirror image, calibrated, with a softmax."""

        temperature = 1.0

        def __init__(self, classifier: torch.nn.Module) -> None:
            super().__init__()
            self.classifier = classifier

        def logits(self, photo: torch.Tensor) -> torch.Tensor:
            both = self.classifier(torch.cat([photo, photo.flip(3)]))
            return both.reshape(2, -1, both.shape[1]).mean(dim=0)

        def forward(self, photo: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.logits(photo) / self.temperature, dim=1)

    model = timm.create_model(f"local-dir:{run}", pretrained=True)
    network = Network(model).eval()
    with torch.inference_mode():
        logits = [
            network.logits(torch.from_numpy(prepare(open_photo(example.photo), spec))).numpy()
            for example in tqdm(held_out, desc="calibrating")
        ]
    network.temperature = fit_temperature(
        np.concatenate(logits), np.array([example.breed for example in held_out])
    )
    torch.onnx.export(
        network,
        # A batch of one would be taken for a constant.
        (torch.zeros(spec.batch_shape(2)),),
        target,
        input_names=["photo"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(batch)).numpy()

    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Exported(predict, parameters, network.temperature)


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


EXPORTERS = {"keras": export_keras, "timm": export_timm}
OUTPUT_LAYOUTS = {"keras": "NHWC", "timm": "NC"}


def largest_difference(
    path: Path, predict: Predict, photos: Sequence[NDArray[np.uint8]], spec: InputSpec
) -> float:
    """Largest difference of any probability between ONNX Runtime and the framework.

    Photos go one by one and as one batch, so that the dynamic batch is tried too.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    batch = np.concatenate([prepare(photo, spec) for photo in photos])
    expected = predict(batch)
    together = session.run(None, {name: batch})[0]
    alone = np.concatenate([session.run(None, {name: one[np.newaxis]})[0] for one in batch])
    return float(max(np.abs(together - expected).max(), np.abs(alone - expected).max()))


def export(
    run: Path,
    name: str,
    folder: Path,
    held_out: Sequence[pets.Example],
    size: int | None = None,
) -> float:
    """Write `folder/NAME.onnx` and `folder/NAME.json`; return the largest difference found.

    All held-out examples calibrate, some of their photos compare framework and ONNX Runtime.

    `size` replaces the run's input side. A classifier trained on random crops sees its objects
    larger than in whole photos, and is often better at a larger size than it was trained at:
    Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019.

    Raises
    ------
    ParityError
        When a probability differs by more than `LARGEST_DIFFERENCE`; nothing is then written.
    """
    facts = read_run(run)
    spec: InputSpec = facts["input"]
    if size is not None:
        spec = replace(spec, height=size, width=size)
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / f"{name}.onnx"
        exported = EXPORTERS[facts["framework"]](run, spec, draft, held_out)
        onnx.checker.check_model(str(draft), full_check=True)
        step = max(len(held_out) // PARITY_PHOTOS, 1)
        photos = [open_photo(example.photo) for example in held_out[::step]]
        difference = largest_difference(draft, exported.predict, photos, spec)
        if difference > LARGEST_DIFFERENCE:
            raise ParityError(
                f"ONNX Runtime and {facts['framework']} differ by {difference:.2g} in a "
                f"probability, more than {LARGEST_DIFFERENCE:.0e}: {name} was not exported."
            )
        content = draft.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(content)
    card = make_card(facts, spec, exported, content, difference, len(photos))
    (folder / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
    return difference


def make_card(
    facts: dict[str, Any],
    spec: InputSpec,
    exported: Exported,
    content: bytes,
    difference: float,
    photos: int,
) -> dict[str, Any]:
    """All that serving needs and a reader wants to know of a model, ready for JSON."""
    return {
        "task": facts["task"],
        "architecture": facts["architecture"],
        "framework": facts["framework"],
        "parameters": exported.parameters,
        "license": LICENCE,
        "labels": facts["labels"],
        "input": asdict(spec),
        "output": {
            "layout": OUTPUT_LAYOUTS[facts["framework"]],
            "meaning": "softmax probabilities in the order of the labels",
            "temperature": exported.temperature,
        },
        "training": {
            "data": facts["data"],
            "input_size": facts["input"].height,
            "split": "train (trainval without the held-out part)",
            "epochs": facts["epochs"],
            "command": facts["command"],
        },
        "metrics": {
            "end of training": {
                "split": "validation",
                "command": facts["command"],
                **facts["held_out"],
            }
        },
        "export": {
            "command": command(),
            "opset": OPSET,
            "largest_difference": difference,
            "compared_on": f"{photos} held-out photos",
        },
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Export the run that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the training run's folder")
    parser.add_argument("name", help="name of the model: NAME.onnx and NAME.json")
    parser.add_argument("--to", type=Path, default=EMBEDDED, help="folder to write to")
    parser.add_argument(
        "--size", type=int, help="input side to serve at; by default the training's"
    )
    pets.add_arguments(parser)
    arguments = parser.parse_args(words)
    root = pets.prepare(arguments.root, arguments.source)
    held_out = pets.split(root, "validation")
    try:
        difference = export(arguments.run, arguments.name, arguments.to, held_out, arguments.size)
    except ParityError as error:
        raise SystemExit(str(error)) from error
    path = arguments.to / f"{arguments.name}.onnx"
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
