"""Make an exported model faster and its file smaller.

    python -m training.compress pet                       # in runs/exported
    python -m training.compress breeds --embed --int8-from 20000 --to drafts
    python -m training.compress pet-fine --compute int8

The graph is simplified (see `training.graphs`). Weights are stored as float16, and kernels of
`--int8-from` weights or more as int8 with one scale per output channel. The network still computes
in float32: ONNX Runtime decodes the weights when it loads them, so answers take no longer. With
`--compute int8` it computes in int8 instead (see `training.quantization`), in about half the time.
The ranges of its values are then measured on photos that it was trained on. A U-Net's encoder
stays in float32 where its rounding would cost too much.

On real photos, the simplified graph must give the answers of the exported one, and the stored
weights those of the same rounded weights in float32. If any probability differs by more than 1e-3,
nothing is written. Probabilities computed in int8 may differ by 0.005 on average.
`training.evaluate` measures how much accuracy the rounding costs; until then, the card has the
figures of the uncompressed file.
"""

import argparse
import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models import store
from models.cards import Card, read_network
from models.images import Photo, open_photo
from models.preprocessing import InputSpec, prepare
from training import command_line, data_sets
from training.data_sets import EITHER_FOLDER
from training.errors import UserError
from training.export import (
    LARGEST_DIFFERENCE,
    PARITY_PHOTOS,
    add_models_arguments,
    largest_difference,
)
from training.exporting.common import Predict
from training.graphs import simplify
from training.pictures import few
from training.quantization import encoder, plain_weights, quantize
from training.runs import command, facts_of

INT8_FROM = 100_000
LEARNED = 64  # photos on which the ranges of int8 values are measured
LARGEST_MEAN_DIFFERENCE = 0.005
SMALLEST = 64  # values of a constant for which two more operations are worth it


class CompressError(UserError):
    """The model cannot be compressed, or would answer differently."""


def round_weights(
    value: NDArray[np.float32], int8_from: int, channels: int = 0
) -> tuple[NDArray[Any], ...]:
    """Round weights as they will be stored.

    Parameters
    ----------
    value
        A kernel, a matrix, or other constants.
    int8_from
        Kernels and matrices of at least so many weights become int8.
    channels
        Their axis of output channels.

    Returns
    -------
    Weights in float16; or in int8, -127 to 127, and the float32 scale of each output channel,
    shaped to be multiplied with them.
    """
    if value.ndim < 2 or value.size < int8_from:
        return (value.astype(np.float16),)
    # A channel's largest weight is 127: Krishnamoorthi, "Quantizing deep convolutional networks for
    # efficient inference", arXiv 1806.08342, 2018.
    others = tuple(axis for axis in range(value.ndim) if axis != channels)
    largest = np.abs(value).max(axis=others, keepdims=True)
    scale = np.maximum(largest, np.finfo(np.float32).tiny) / 127
    return np.rint(value / scale).astype(np.int8), scale


def decode(rounded: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """The float32 weights that rounded ones stand for."""
    weights, *scale = rounded
    return weights.astype(np.float32) * scale[0] if scale else weights.astype(np.float32)


def round_model(
    model: onnx.ModelProto,
    int8_from: int,
    decoded: bool = False,
    names: Collection[str] | None = None,
) -> onnx.ModelProto:
    """Return the model with rounded weights: stored in their small types, or `decoded` to float32.

    In the stored form a `Cast` (and for int8 a `Mul`) of constants gives the weights under their
    old name. With `names`, only the constants of these names are rounded.
    """
    channels = {node.input[1]: 1 for node in model.graph.node if node.op_type == "ConvTranspose"}
    constants, decoding = [], []
    for tensor in model.graph.initializer:
        name, value = tensor.name, numpy_helper.to_array(tensor)
        chosen = names is None or name in names
        if value.dtype != np.float32 or value.size < SMALLEST or not chosen:
            constants.append(tensor)
            continue
        parts = round_weights(value, int8_from, channels.get(name, 0))
        if decoded:
            constants.append(numpy_helper.from_array(decode(parts), name))
            continue
        stored = [f"{name}_{part.dtype}" for part in parts]
        constants += map(numpy_helper.from_array, parts, stored)
        cast = f"{name}_cast" if len(parts) > 1 else name
        decoding.append(helper.make_node("Cast", stored[:1], [cast], to=TensorProto.FLOAT))
        if len(parts) > 1:
            decoding.append(helper.make_node("Mul", [cast, stored[1]], [name]))
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    del rounded.graph.initializer[:], rounded.graph.node[:]
    rounded.graph.initializer.extend(constants)
    rounded.graph.node.extend([*decoding, *model.graph.node])
    return rounded


def predictor(network: bytes) -> Predict:
    """A function that predicts with a network in ONNX Runtime."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def mean_difference(
    network: bytes, reference: bytes, photos: Sequence[Photo], spec: InputSpec
) -> float:
    """Mean absolute difference of the probabilities of two networks."""
    answers, others = predictor(network), predictor(reference)
    inputs = [prepare(photo, spec) for photo in photos]
    return float(np.mean([np.abs(answers(batch) - others(batch)).mean() for batch in inputs]))


def compress(
    card: Card,
    folder: Path,
    to: Path,
    photos: Sequence[Photo],
    int8_from: int = INT8_FROM,
    learned: Sequence[Photo] = (),
) -> dict[str, Any]:
    """Compress `folder/NAME.onnx`; write it and its card into `to`.

    Parameters
    ----------
    card, folder
        The model, and its folder.
    to
        The folder to write to, which may be the same.
    photos
        Real photos, to compare answers on.
    int8_from
        Kernels and matrices of at least so many weights become int8, other weights float16.
    learned
        Photos that the model was trained on. If there are any, the network will compute in int8,
        with ranges of values measured on them.

    Returns
    -------
    What the new card says of it.

    Raises
    ------
    CompressError
        If it was compressed before, a probability would differ by more than `LARGEST_DIFFERENCE`
        with the same weights, or probabilities computed in int8 by more than
        `LARGEST_MEAN_DIFFERENCE` on average; nothing is then written.
    """
    if "compression" in card.facts:
        raise CompressError(f"{card.name} was compressed before: export it again.")
    spec, exported = card.input, read_network(card, folder)
    original = onnx.load_from_string(exported)
    simple = simplify(original, spec)
    compared = [(simple.SerializeToString(), exported)]
    if learned:
        compressed, mean, whole = _in_int8(simple, original, learned, photos, spec, int8_from)
        if mean > LARGEST_MEAN_DIFFERENCE:
            raise CompressError(
                f"In int8, probabilities would differ by {mean:.2g} on average, more than "
                f"{LARGEST_MEAN_DIFFERENCE}: {card.name} was not compressed."
            )
        how = {
            "weights": "int8: 7 bits, and a scale for each output channel",
            "computed": f"in int8, ranges from {len(learned)} pictures of the training"
            + ("" if whole else ", and the encoder in float32"),
            "mean_difference": mean,
        }
    else:
        compressed = round_model(simple, int8_from)
        rounded = round_model(simple, int8_from, decoded=True)
        compared += [(compressed.SerializeToString(), rounded.SerializeToString())]
        how = {
            "weights": f"int8 in kernels and matrices of {int8_from:,} or more, else float16",
            "computed": "in float32",
        }
    onnx.checker.check_model(compressed, full_check=True)
    content = compressed.SerializeToString()
    difference = max(
        largest_difference(network, predictor(reference), photos, spec)
        for network, reference in compared
    )
    if difference > LARGEST_DIFFERENCE:
        raise CompressError(
            f"With the same weights, a probability would differ by {difference:.2g}, more than "
            f"{LARGEST_DIFFERENCE:.0e}: {card.name} was not compressed."
        )
    done = {
        "command": command(),
        **how,
        "bytes": len(content),
        "bytes_before": len(exported),
        "largest_difference": difference,
        "compared_on": f"{len(photos)} held-out photos, with the same weights",
    }
    facts = {**card.facts, "compression": done}
    facts["sha256"] = hashlib.sha256(content).hexdigest()
    to.mkdir(parents=True, exist_ok=True)
    (to / f"{card.name}.onnx").write_bytes(content)
    (to / f"{card.name}.json").write_text(json.dumps(facts, indent=2) + "\n")
    return done


def _in_int8(
    simple: onnx.ModelProto,
    exported: onnx.ModelProto,
    learned: Sequence[Photo],
    photos: Sequence[Photo],
    spec: InputSpec,
    int8_from: int,
) -> tuple[onnx.ModelProto, float, bool]:
    """A simplified network in int8, or all but its encoder where that would cost too much.

    Returns
    -------
    The network; by how much its probabilities differ from the exported one's on average; and
    whether all of it computes in int8.
    """
    batches, reference = [prepare(photo, spec) for photo in learned], exported.SerializeToString()
    for kept in (set[str](), encoder(exported)):
        quantized = quantize(simple, batches, kept)
        compressed = round_model(quantized, int8_from, names=plain_weights(quantized))
        mean = mean_difference(compressed.SerializeToString(), reference, photos, spec)
        if mean <= LARGEST_MEAN_DIFFERENCE:
            break
    return compressed, mean, not kept


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("name", help="name of the model: NAME.onnx and NAME.json")
    add_models_arguments(parser, "folder of the model")
    parser.add_argument("--to", type=Path, help="folder to write to; by default the same")
    parser.add_argument(
        "--int8-from",
        type=command_line.positive,
        default=INT8_FROM,
        help="least weights of a kernel stored as int8",
    )
    parser.add_argument(
        "--compute",
        choices=("float32", "int8"),
        default="float32",
        help="arithmetic of the network",
    )
    data_sets.add_arguments(parser, folder=EITHER_FOLDER)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Compress the model that the command line names."""
    arguments = parse_arguments(words)
    card = store.read_card(arguments.name, arguments.models)
    facts = facts_of(card)
    data = data_sets.open_for(
        facts, root=arguments.root, source=arguments.source, folder=arguments.folder
    )

    def some(split: str, count: int) -> list[Photo]:
        examples = few(data_sets.held_out_by(data, facts, split), count)
        checked = data.check(examples, masks=False, skip_damaged=arguments.skip_damaged)
        return [open_photo(example.photo) for example in checked]

    photos = some("validation", PARITY_PHOTOS)
    learned = some("train", LEARNED) if arguments.compute == "int8" else []
    to = arguments.to or arguments.models
    done = compress(card, arguments.models, to, photos, arguments.int8_from, learned)
    print(
        f"{to / card.name}.onnx: {done['bytes'] / 1e6:.1f} MB instead of "
        f"{done['bytes_before'] / 1e6:.1f} MB, largest difference {done['largest_difference']:.1e}"
    )


if __name__ == "__main__":
    command_line.run(main)
