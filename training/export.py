"""Turn a finished training run into `NAME.onnx` and its card `NAME.json`.

    python -m training.export runs/unet pet
    python -m training.export runs/breeds breeds --size 288

The network gets a softmax at its end, so that the file gives probabilities. Framework and ONNX
Runtime then answer for the same held-out photos; where they differ by more than 1e-3 in any
probability, nothing is written.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

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


class ParityError(Exception):
    """ONNX Runtime and the training framework disagree; the export is not to be used."""


def export_keras(run: Path, spec: InputSpec, target: Path) -> tuple[Predict, int]:
    """Write a Keras run as ONNX with dynamic batch, height and width.

    Returns
    -------
    The framework's own prediction, for comparison, and the number of parameters.
    """
    import keras

    import training.train_unet  # noqa: F401  (registers the loss that the saved model names)

    model = keras.models.load_model(run / "model.keras")
    # The name must stay out of the graph's way: tf2onnx names the output after the last layer.
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    network = keras.Model(model.input, probabilities)
    network.export(
        target,
        format="onnx",
        verbose=False,
        opset_version=OPSET,
        input_signature=[keras.InputSpec(shape=(None, None, None, 3), dtype="float32")],
    )
    return lambda batch: np.asarray(network(batch, training=False)), model.count_params()


def export_timm(run: Path, spec: InputSpec, target: Path) -> tuple[Predict, int]:
    """Write a timm run as ONNX with dynamic batch; returns as `export_keras` does."""
    import torch

    import training.torchvision_ops  # noqa: F401  (before timm)
    import timm  # isort: skip

    model = timm.create_model(f"local-dir:{run}", pretrained=True)
    network = torch.nn.Sequential(model, torch.nn.Softmax(dim=1)).eval()
    # A batch of one would be taken for a constant.
    sample = torch.zeros(spec.batch_shape(2))
    torch.onnx.export(
        network,
        (sample,),
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

    return predict, sum(parameter.numel() for parameter in model.parameters())


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
    photos: Sequence[NDArray[np.uint8]],
    size: int | None = None,
) -> float:
    """Write `folder/NAME.onnx` and `folder/NAME.json`; return the largest difference found.

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
        predict, parameters = EXPORTERS[facts["framework"]](run, spec, draft)
        onnx.checker.check_model(str(draft), full_check=True)
        difference = largest_difference(draft, predict, photos, spec)
        if difference > LARGEST_DIFFERENCE:
            raise ParityError(
                f"ONNX Runtime and {facts['framework']} differ by {difference:.2g} in a "
                f"probability, more than {LARGEST_DIFFERENCE:.0e}: {name} was not exported."
            )
        content = draft.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(content)
    card = make_card(facts, spec, parameters, content, difference, len(photos))
    (folder / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
    return difference


def make_card(
    facts: dict[str, Any],
    spec: InputSpec,
    parameters: int,
    content: bytes,
    difference: float,
    photos: int,
) -> dict[str, Any]:
    """All that serving needs and a reader wants to know of a model, ready for JSON."""
    return {
        "task": facts["task"],
        "architecture": facts["architecture"],
        "framework": facts["framework"],
        "parameters": parameters,
        "license": LICENCE,
        "labels": facts["labels"],
        "input": asdict(spec),
        "output": {
            "layout": OUTPUT_LAYOUTS[facts["framework"]],
            "meaning": "softmax probabilities in the order of the labels",
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
    step = max(len(held_out) // PARITY_PHOTOS, 1)
    photos = [open_photo(example.photo) for example in held_out[::step][:PARITY_PHOTOS]]
    try:
        difference = export(arguments.run, arguments.name, arguments.to, photos, arguments.size)
    except ParityError as error:
        raise SystemExit(str(error)) from error
    path = arguments.to / f"{arguments.name}.onnx"
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
