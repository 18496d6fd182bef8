"""Make an exported model quicker and its file smaller.

    python -m training.compress pet
    python -m training.compress breeds --int8-from 20000 --to /tmp/drafts

The graph is simplified (see `training.graphs`). Weights are stored rounded: float16, and kernels
of `--int8-from` weights or more as int8 with one scale for each output channel. The network
computes in float32 as before; ONNX Runtime decodes the weights when it loads them, so no answer
takes longer.

On real photos the simpler graph must answer as the exported one does, and the stored weights as the
same rounded weights in float32; where any probability differs by more than 1e-3, nothing is
written. What rounding costs in accuracy, `training.evaluate` measures: the card's figures are those
of the file before until then.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models import store
from models.images import Photo, open_photo
from training.data_sets import DATA_SETS, select
from training.export import LARGEST_DIFFERENCE, PARITY_PHOTOS, Predict, largest_difference
from training.graphs import simplify
from training.runs import command

INT8_FROM = 100_000
SMALLEST = 64  # values of a constant that is worth two more operations


class CompressError(Exception):
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
        Kernels and matrices of so many weights become int8.
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


def round_model(model: onnx.ModelProto, int8_from: int, decoded: bool = False) -> onnx.ModelProto:
    """Return the model with rounded weights: stored as such, or `decoded` to float32 again.

    Stored, weights come from a `Cast`, and of int8 a `Mul`, of constants, under their old name.
    """
    channels = {node.input[1]: 1 for node in model.graph.node if node.op_type == "ConvTranspose"}
    constants, decoding = [], []
    for tensor in model.graph.initializer:
        name, value = tensor.name, numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.size < SMALLEST:
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
    for field, kept in (
        (rounded.graph.initializer, constants),
        (rounded.graph.node, [*decoding, *model.graph.node]),
    ):
        del field[:]
        field.extend(kept)
    return rounded


def predictor(network: bytes) -> Predict:
    """How ONNX Runtime predicts with a network."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def compress(
    card: store.Card, folder: Path, to: Path, photos: Sequence[Photo], int8_from: int = INT8_FROM
) -> dict[str, Any]:
    """Compress `folder/NAME.onnx`; write it and its card into `to`.

    Parameters
    ----------
    card, folder
        The model, and the folder that it lies in.
    to
        The folder to write to; it may be the same.
    photos
        Real photos, to compare answers on.
    int8_from
        Kernels and matrices of so many weights become int8, other weights float16.

    Returns
    -------
    What the new card says of it.

    Raises
    ------
    CompressError
        When it was compressed before, or a probability would differ by more than
        `LARGEST_DIFFERENCE`; nothing is then written.
    """
    if "compression" in card.facts:
        raise CompressError(f"{card.name} was compressed before: export it again.")
    exported = store.read_network(card, folder)
    simple = simplify(onnx.load_from_string(exported))
    compressed = round_model(simple, int8_from)
    onnx.checker.check_model(compressed, full_check=True)
    content = compressed.SerializeToString()
    rounded = round_model(simple, int8_from, decoded=True).SerializeToString()
    difference = max(
        largest_difference(network, predictor(reference), photos, card.input)
        for network, reference in (
            (simple.SerializeToString(), exported),
            (content, rounded),
        )
    )
    if difference > LARGEST_DIFFERENCE:
        raise CompressError(
            f"With the same weights, a probability would differ by {difference:.2g}, more than "
            f"{LARGEST_DIFFERENCE:.0e}: {card.name} was not compressed."
        )
    done = {
        "command": command(),
        "weights": f"int8 in kernels and matrices of {int8_from:,} or more, else float16",
        "computed": "in float32",
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


def main(words: Sequence[str] | None = None) -> None:
    """Compress the model that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="name of the model: NAME.onnx and NAME.json")
    parser.add_argument("--folder", type=Path, default=store.EMBEDDED, help="where it lies")
    parser.add_argument("--to", type=Path, help="folder to write to; by default the same")
    parser.add_argument(
        "--int8-from", type=int, default=INT8_FROM, help="least weights of a kernel stored as int8"
    )
    parser.add_argument("--root", type=Path, help="where the data lies; by default data/pets, ...")
    parser.add_argument("--source", help="base URL of the official archives, or a folder with them")
    arguments = parser.parse_args(words)
    card = store.read_card(arguments.name, arguments.folder)
    data = DATA_SETS[card.facts["training"]["data"]]
    root = data.prepare(arguments.root or data.ROOT, arguments.source or data.URL)
    held_out = select(card.facts["training"], root, "validation")
    step = max(len(held_out) // PARITY_PHOTOS, 1)
    photos = [open_photo(example.photo) for example in held_out[::step]]
    to = arguments.to or arguments.folder
    try:
        done = compress(card, arguments.folder, to, photos, arguments.int8_from)
    except (CompressError, store.ModelError) as error:
        raise SystemExit(str(error)) from error
    print(
        f"{to / card.name}.onnx: {done['bytes'] / 1e6:.1f} MB instead of "
        f"{done['bytes_before'] / 1e6:.1f} MB, largest difference {done['largest_difference']:.1e}"
    )


if __name__ == "__main__":
    main()
