"""Give a breed model a second network, which it asks where it is not sure.

    python -m training.export runs/breeds-tf breeds-tf --size 288
    python -m training.compress breeds-tf --compute int8
    python -m training.second_opinion breeds runs/exported/breeds-tf.onnx --embed

Networks of other architectures make other mistakes, so the mean of two answers is better than one.
But most photos are easy, and one network is enough for them. So the second one is asked only where
the first one's best breed has a probability below `--below`: Wang et al., "IDK cascades: Fast deep
learning by learning not to overthink", UAI 2018. There the answer is the mean of both networks'
class-activation maps, whose means are the logits. What the first network says of other things stays
as it is.

Both networks lie in one `.onnx` file, in which a condition decides whether the second one runs. So
nothing changes for those who use the file. Those who want the first network's last output alone may
set the limit, an input with a value of its own, to 0: the second one then never runs. The models
must have the same classes, input and maps.

`training.evaluate` measures the result, and the rules of `training.refusal` must be fitted anew.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models import store
from models.cards import Card, read_network
from models.onnx_graph import Graph
from training import command_line
from training.errors import UserError
from training.export import add_models_arguments
from training.exporting.common import ACTIVATION, PROBABILITIES
from training.runs import command

BELOW = 0.9  # probability of the best breed below which the second network is asked
PREFIX = "second_"  # of the second network's names


class OpinionError(UserError):
    """The two models do not fit together."""


def join(
    first: onnx.ModelProto, second: onnx.ModelProto, below: float = BELOW, temperature: float = 1.0
) -> onnx.ModelProto:
    """Return both networks as one that has the first one's input and outputs.

    Parameters
    ----------
    first, second
        Networks with an input of the same shape, and class-activation maps of the same shape whose
        means are calibrated logits, among their outputs.
    below
        The second network is asked where the first one's largest probability is less.
    temperature
        What the mean of both networks' maps is divided by.
    """
    joined = onnx.ModelProto()
    joined.CopyFrom(first)
    graph = Graph(joined)
    for name in (PROBABILITIES, ACTIVATION):
        graph.maker(name).output[0] = f"first_{name}"
        graph.redirect(name, f"first_{name}")
    weight = np.array(1 / (2 * temperature), np.float32)
    limit = graph.add("below", np.array([below], np.float32))
    graph.proto.input.append(helper.make_tensor_value_info(limit, TensorProto.FLOAT, [1]))
    places = graph.add("places", np.array([2, 3], np.int64))
    breeds = graph.add("breeds_axis", np.array([1], np.int64))
    each = graph.add("each_photo", np.array([-1, 1, 1, 1], np.int64))
    asked = _branch(second, graph.proto.input[0].name, graph.add("half", weight))
    own = helper.make_graph(
        [helper.make_node("Identity", [f"first_{ACTIVATION}"], ["own"])],
        "sure",
        [],
        [helper.make_tensor_value_info("own", TensorProto.FLOAT, None)],
    )
    graph.proto.node.extend(
        [
            helper.make_node("ReduceMax", [f"first_{PROBABILITIES}", breeds], ["best"]),
            helper.make_node("Less", ["best", limit], ["unsure"]),
            helper.make_node("ReduceMin", ["best"], ["least"], keepdims=0),
            helper.make_node("Less", ["least", limit], ["any_unsure"]),
            helper.make_node("If", ["any_unsure"], ["opinion"], then_branch=asked, else_branch=own),
            # In a batch, photos of which the first network is sure keep its answer.
            helper.make_node("Reshape", ["unsure", each], ["unsure_photo"]),
            helper.make_node(
                "Where", ["unsure_photo", "opinion", f"first_{ACTIVATION}"], [ACTIVATION]
            ),
            helper.make_node("ReduceMean", [ACTIVATION, places], ["logits"], keepdims=0),
            helper.make_node("Softmax", ["logits"], [PROBABILITIES], axis=1),
        ]
    )
    del graph.proto.value_info[:]
    return joined


def _branch(second: onnx.ModelProto, photo: str, weight: str) -> onnx.GraphProto:
    """The second network, and the mean of both, as what is computed on a condition."""
    graph = Graph(second)
    maps = next(each for each in graph.proto.output if each.name == ACTIVATION)
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(maps)
    del graph.proto.output[:]
    graph.proto.output.append(kept)
    graph.remove_unused()
    own = {graph.proto.input[0].name: photo, "": ""}
    nodes = []
    for node in graph.proto.node:
        renamed = onnx.NodeProto()
        renamed.CopyFrom(node)
        renamed.name = node.name and f"{PREFIX}{node.name}"
        renamed.input[:] = [own.get(name, f"{PREFIX}{name}") for name in node.input]
        renamed.output[:] = [f"{PREFIX}{name}" for name in node.output]
        nodes.append(renamed)
    constants = [
        numpy_helper.from_array(numpy_helper.to_array(tensor), f"{PREFIX}{tensor.name}")
        for tensor in graph.proto.initializer
    ]
    nodes += [
        helper.make_node("Add", [f"first_{ACTIVATION}", f"{PREFIX}{ACTIVATION}"], ["both"]),
        helper.make_node("Mul", ["both", weight], ["mean_of_both"]),
    ]
    answer = helper.make_tensor_value_info("mean_of_both", TensorProto.FLOAT, None)
    return helper.make_graph(nodes, "unsure", [], [answer], constants)


def check(first: Card, second: Card) -> None:
    """Check that two models fit together.

    Raises
    ------
    OpinionError
        If they do not.
    """
    for card in (first, second):
        if card.task != "classification" or "second" not in card.facts["output"]:
            raise OpinionError(f"{card.name} is no classifier with class-activation maps.")
    if "second_opinion" in first.facts:
        raise OpinionError(f"{first.name} has a second opinion already: export it again.")
    if first.labels != second.labels:
        raise OpinionError(f"{first.name} and {second.name} have different classes.")
    if first.input != second.input:
        raise OpinionError(f"{first.name} and {second.name} need different inputs.")


def add_opinion(
    first: Card,
    folder: Path,
    second: Card,
    second_folder: Path,
    below: float = BELOW,
    temperature: float = 1.0,
) -> dict[str, Any]:
    """Replace `folder/NAME.onnx` and its card by those of both networks together.

    The parameters are those of `join`, with the models' cards and folders. The card loses its
    figures and the rules that were fitted to the first network's answers, but keeps what tells
    photos on their side, which looks at the other head alone.

    Returns
    -------
    What the card says of the second opinion.

    Raises
    ------
    OpinionError
        If the models do not fit together; nothing is then written.
    """
    check(first, second)
    one, other = (
        onnx.load_from_string(read_network(card, place))
        for card, place in ((first, folder), (second, second_folder))
    )
    joined = join(one, other, below, temperature)
    onnx.checker.check_model(joined, full_check=True)
    content = joined.SerializeToString()
    facts = dict(first.facts)
    for stale in ("refusal", "evidence"):
        facts.pop(stale, None)
    facts["second_opinion"] = {
        "architecture": second.facts["architecture"],
        "parameters": second.facts["parameters"],
        "below": below,
        "temperatures": [
            *(card.facts["output"]["temperature"] for card in (first, second)),
            temperature,
        ],
        "training": second.facts["training"],
        **{key: second.facts[key] for key in ("starting_weights",) if key in second.facts},
        "export": second.facts["export"]["command"],
        "compression": second.facts.get("compression", {}).get("command"),
        "command": command(),
    }
    facts["metrics"] = {
        name: figures
        for name, figures in first.facts["metrics"].items()
        if name == "end of training"
    }
    facts["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / f"{first.name}.onnx").write_bytes(content)
    (folder / f"{first.name}.json").write_text(json.dumps(facts, indent=2) + "\n")
    return facts["second_opinion"]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("name", help="name of the first model: NAME.onnx and NAME.json")
    parser.add_argument("second", type=Path, help="file of the second, with its card beside it")
    add_models_arguments(parser, "folder of the first model")
    parser.add_argument(
        "--below",
        type=command_line.share,
        default=BELOW,
        help="probability of the best breed below which the second network is asked",
    )
    parser.add_argument(
        "--temperature",
        type=command_line.positive_float,
        default=1.0,
        help="of the mean of both networks' calibrated answers",
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Join the models that the command line names."""
    arguments = parse_arguments(words)
    folder = arguments.models
    second_folder = arguments.second.parent
    add_opinion(
        store.read_card(arguments.name, folder),
        folder,
        store.read_card(arguments.second.stem, second_folder),
        second_folder,
        arguments.below,
        arguments.temperature,
    )
    path = folder / f"{arguments.name}.onnx"
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; fit its rules anew with training.refusal "
        "and measure it with training.evaluate."
    )


if __name__ == "__main__":
    command_line.run(main)
