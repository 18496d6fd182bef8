"""Convert a COCO detector into the page's detector of cats and dogs.

    python -m training.convert_detector data/nanodet_plus_m_416.onnx                    # as it is
    python -m training.convert_detector data/nanodet_plus_m_416.onnx --run runs/finder  # fine-tuned

The detector is NanoDet-Plus-m (Apache 2.0, https://github.com/RangiLyu/nanodet), as ONNX with its
own input and output: BGR minus the mean times a factor, 80 classes. Of its 80 classes, cat and dog
are kept, and the eight other animals, which tell a cow from a dog; its first kernels are changed to
take RGB; its weights are stored as float16. Fine-tuning knows cats and dogs alone, so a run's body
gets the COCO detector's own kernels for the other animals. The script writes `finder.onnx` and its
card, unless the answers of both networks differ on real photos.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import load_file

from models import store
from models.images import Photo, open_photo
from models.preprocessing import InputSpec, prepare
from training import command_line, pets
from training.compress import round_model
from training.errors import UserError
from training.runs import command, read_facts, trained_on

NAME = "finder"
# Of COCO's 80 classes, in the detector's order.
PETS = {"cat": 15, "dog": 16}
OTHER_ANIMALS = {
    "bird": 14,
    "horse": 17,
    "sheep": 18,
    "cow": 19,
    "elephant": 20,
    "bear": 21,
    "zebra": 22,
    "giraffe": 23,
}
ANIMALS = PETS | OTHER_ANIMALS
CLASSES = 80
BINS = 8
STRIDES = (8, 16, 32, 64)
SIDE, MULTIPLE = 416, 64
# The detector's own numbers, for blue, green and red values from 0 to 255.
MEAN, FACTOR = (103.53, 116.28, 123.675), (0.017429, 0.017507, 0.017125)
# Tuned on scenes of held-out pictures: see docs/ablation.md.
LEAST, OVERLAP = 0.35, 0.4
# Largest differences of a logit: by the conversion, and by rounding weights to float16. 0.1 changes
# a probability by at most 2.5 points.
EXACT, ROUNDED = 1e-3, 0.1
PHOTOS = 16
STARTING_WEIGHTS = {
    "project": "NanoDet",
    "network": "nanodet-plus-m_416",
    "license": "apache-2.0",
    "file": "nanodet_plus_m_416.onnx",
    "how": "It is the ncnn network of the releases at https://github.com/RangiLyu/nanodet, "
    "as ONNX.",
}


def input_spec(side: int = SIDE) -> InputSpec:
    """The network's input: normalised RGB, whole photos, sides that are multiples of strides."""
    blue, green, red = (value / 255 for value in MEAN)
    mean = red, green, blue
    blue, green, red = (1 / (255 * value) for value in FACTOR)
    std = red, green, blue
    return InputSpec(
        side, side, "letterbox", "bilinear", mean, std, layout="NCHW", multiple=MULTIPLE
    )


def read(path: Path) -> onnx.ModelProto:
    """The COCO detector in a file.

    Raises
    ------
    training.errors.UserError
        When it cannot be read.
    """
    try:
        return onnx.load(path)
    except (OSError, DecodeError) as error:
        raise UserError(f"{path} cannot be read as an ONNX network: {error}.") from error


def kept(classes: Mapping[str, int]) -> list[int]:
    """The channels of the COCO detector's output for some classes and the sides of boxes."""
    return [*classes.values(), *range(CLASSES, CLASSES + 4 * BINS)]


def convert(model: onnx.ModelProto, classes: Mapping[str, int] = PETS) -> onnx.ModelProto:
    """The detector for RGB input, with logits of some of its classes only."""
    converted = onnx.ModelProto()
    converted.CopyFrom(model)
    graph = converted.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}

    def change(name: str, value: NDArray[np.generic]) -> None:
        constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))

    users = {name: node for node in graph.node for name in node.input}
    for first in graph.node:
        if first.input[0] == graph.input[0].name:
            first.input[0] = "photo"
            change(first.input[1], numpy_helper.to_array(constants[first.input[1]])[:, ::-1])
    channels = kept(classes)
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        for name in node.input[1:]:
            value = numpy_helper.to_array(constants[name])
            if len(value) == CLASSES + 4 * BINS:
                change(name, value[channels])
        if len(node.input) > 1 and constants[node.input[1]].dims[0] == len(channels):
            reshape = users[node.output[0]]
            shape = numpy_helper.to_array(constants[reshape.input[1]]).copy()
            shape[shape == CLASSES + 4 * BINS] = len(channels)
            change(reshape.input[1], shape)
    graph.input[0].name = "photo"
    graph.output[0].type.tensor_type.shape.dim[2].dim_value = len(channels)
    graph.output[0].name = graph.node[-1].output[0] = "places"
    del graph.value_info[:]
    return converted


def with_run(whole: onnx.ModelProto, weights: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """A detector of pets and other animals with the weights of a run, which knows pets alone.

    The run's kernels of the last layers lack the other animals, which stay as they are.
    """
    from training.networks.onnx_network import with_weights  # imports PyTorch

    merged = {}
    constants = {tensor.name: tensor for tensor in whole.graph.initializer}
    for name, value in weights.items():
        merged[name] = numpy_helper.to_array(constants[name]).copy()
        pets, sides = value[: len(PETS)], value[len(PETS) :]
        if len(merged[name]) == len(value):
            merged[name] = value
        else:
            merged[name][: len(PETS)], merged[name][-len(sides) :] = pets, sides
    return with_weights(whole, merged)


def largest_difference(
    original: onnx.ModelProto,
    converted: onnx.ModelProto,
    photos: Sequence[Photo],
    all_classes: bool = False,
) -> float:
    """Largest difference of any logit that both networks have.

    `all_classes`: whether the original still takes BGR and gives 80 classes.
    """
    first, second = (
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for model in (original, converted)
    )
    channels = kept(ANIMALS)
    differences = []
    for photo in photos:
        batch = prepare(photo, input_spec())
        own = np.ascontiguousarray(batch[:, ::-1]) if all_classes else batch
        (expected,) = first.run(None, {first.get_inputs()[0].name: own})
        (answer,) = second.run(None, {"photo": batch})
        if all_classes:
            expected = expected[:, :, channels]
        differences.append(float(np.abs(expected - answer).max()))
    return max(differences)


def write(source: Path, to: Path, photos: Sequence[Photo], run: Path | None = None) -> float:
    """Write `finder.onnx` and `finder.json`; return the largest difference of any logit.

    Parameters
    ----------
    source
        The COCO detector.
    to
        The folder to write to.
    photos
        Real photos, to compare answers on.
    run
        A run of `training.train_detector` to take the weights from.

    Raises
    ------
    training.errors.UserError
        If the difference is more than rounding explains, or the file is not a network; nothing is
        written.
    """
    original = read(source)
    whole = convert(original, ANIMALS)
    onnx.checker.check_model(whole, full_check=True)
    exact = largest_difference(original, whole, photos, all_classes=True)
    if run:
        whole = with_run(whole, load_file(run / "model.safetensors"))
    rounded = round_model(whole, int8_from=10**9)
    difference = largest_difference(whole, rounded, photos)
    if exact > EXACT or difference > ROUNDED:
        raise UserError(f"A logit differs by {exact:.2g}, and rounded by {difference:.2g}.")
    content = rounded.SerializeToString()
    card = make_card(run)
    card["parameters"] = sum(
        int(np.prod(tensor.dims)) for tensor in whole.graph.initializer if tensor.data_type == 1
    )
    card["export"] = {
        "command": command(),
        "largest_difference": exact,
        "largest_difference_rounded": difference,
        "weights": "float16, computed in float32",
        "compared_on": f"{len(photos)} held-out photos, in logits",
    }
    card["sha256"] = hashlib.sha256(content).hexdigest()
    to.mkdir(parents=True, exist_ok=True)
    (to / f"{NAME}.onnx").write_bytes(content)
    (to / f"{NAME}.json").write_text(json.dumps(card, indent=2) + "\n")
    return difference


def make_card(run: Path | None) -> dict[str, Any]:
    """The parts of the card that are known before the file is made."""
    changed = "nothing but that 70 of the 80 classes were left out"
    training: dict[str, object] = {"data": "COCO", "split": "train2017", "input_size": SIDE}
    if run:
        facts = read_facts(run)
        changed = (
            f"fine-tuned on {facts['data']}; 70 of the 80 classes were left out, and the kernels "
            "of other animals are as they were"
        )
        training = {
            "data": facts["data"],
            "started_from": "COCO train2017",
            "split": trained_on(facts),
            **({"more_data": facts["more_data"]} if facts["more_data"] else {}),
            "input_size": facts["held_out"]["size"],
            "epochs": facts["epochs"],
            "tuned": facts["tuned"],
            "command": facts["command"],
        }
    return {
        "title": "Cats and dogs",
        "default": True,
        "task": "detection",
        "architecture": "NanoDet-Plus-m",
        "framework": "onnx",
        "license": "apache-2.0",
        "labels": [
            *({"name": name, "species": name} for name in PETS),
            *({"name": name} for name in OTHER_ANIMALS),
        ],
        "input": {**vars(input_spec())},
        "output": {
            "layout": "NLC",
            "meaning": "logits of the labels, then of the distances to a box's four sides, at each "
            "place of four grids",
        },
        "boxes": {"strides": STRIDES, "bins": BINS, "least": LEAST, "overlap": OVERLAP},
        "training": training,
        "starting_weights": {**STARTING_WEIGHTS, "changed": changed},
        "metrics": {},
    }


def main(words: Sequence[str] | None = None) -> None:
    """Convert the detector that the command line names."""
    parser = command_line.parser(__doc__)
    parser.add_argument("detector", type=Path, help="nanodet_plus_m_416.onnx")
    parser.add_argument("--run", type=Path, help="a run of training.train_detector")
    parser.add_argument("--models", type=Path, default=store.EMBEDDED, help="folder to write to")
    pets.add_arguments(parser)
    arguments = parser.parse_args(words)
    root = pets.prepare(arguments.root, arguments.source)
    held_out = pets.split(root, "validation")
    held_out = held_out[:: max(len(held_out) // PHOTOS, 1)]
    photos = [open_photo(example.photo) for example in held_out]
    difference = write(arguments.detector, arguments.models, photos, arguments.run)
    print(f"{arguments.models / NAME}.onnx: largest difference of a logit {difference:.1e}")


if __name__ == "__main__":
    command_line.run(main)
