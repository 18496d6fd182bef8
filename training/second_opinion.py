"""Give a breed model further networks, which it asks where it is not sure.

    python -m training.export runs/breeds-tf breeds-tf --size 288
    python -m training.compress breeds-tf --compute int8
    python -m training.second_opinion breeds runs/exported/breeds-tf.onnx --embed

Networks of other architectures make other mistakes, so the mean of two answers is better than one.
But most photos are easy, and one network is enough for them. So the second one is asked only where
the first one's best breed has a probability below `--below`, a third one only where the mean of the
first two is not sure either, and so on: Wang et al., "IDK cascades: Fast deep learning by learning
not to overthink", UAI 2018. The answer is the mean of the class-activation maps of all networks
that were asked; the maps' means are the logits. What the first network says of other things stays
as it is.

All networks lie in one `.onnx` file, in which conditions decide which of them run. So nothing
changes for those who use the file. Those who want the first network's last output alone may set the
limit, an input with a value of its own, to 0: the others then never run. The models must have the
same classes and maps, and inputs of one size.

`training.evaluate` measures the result, and the rules of `training.refusal` must be fitted anew.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models import store
from models.cards import Card, read_network
from models.onnx_graph import Graph
from models.preprocessing import InputSpec
from training import command_line
from training.errors import UserError
from training.export import add_models_arguments
from training.exporting.common import ACTIVATION, PROBABILITIES
from training.runs import command

BELOW = 0.9  # probability of the best breed below which the next network is asked


class OpinionError(UserError):
    """The models do not fit together."""


@dataclass(frozen=True)
class Opinion:
    """A network that is asked after others.

    Attributes
    ----------
    network
        Its input has the shape of the first network's, and so have the class-activation maps among
        its outputs, whose means are calibrated logits.
    temperature
        What the mean of the maps of this network and of all before it is divided by.
    scale, shift
        `(3, 1, 1)` float32: its input is the first network's times one plus the other. None where
        both networks want the same values.
    """

    network: onnx.ModelProto
    temperature: float = 1.0
    scale: NDArray[np.float32] | None = None
    shift: NDArray[np.float32] | None = None


def join(
    first: onnx.ModelProto, opinions: Sequence[Opinion], below: float = BELOW
) -> onnx.ModelProto:
    """Return all networks as one that has the first one's input and outputs.

    Parameters
    ----------
    first
        The network that is always asked. It has class-activation maps, too.
    opinions
        The others, in the order in which they are asked.
    below
        The next one is asked where the largest probability so far is less.
    """
    joined = onnx.ModelProto()
    joined.CopyFrom(first)
    graph = Graph(joined)
    limit = graph.add("below", np.array([below], np.float32))
    graph.proto.input.append(helper.make_tensor_value_info(limit, TensorProto.FLOAT, [1]))
    graph.add("places", np.array([2, 3], np.int64))
    graph.add("breeds_axis", np.array([1], np.int64))
    graph.add("each_photo", np.array([-1, 1, 1, 1], np.int64))
    before = 1.0
    for number, opinion in enumerate(opinions, 2):
        _ask(graph, opinion, number, before)
        before = opinion.temperature
    del graph.proto.value_info[:]
    return joined


def _ask(graph: Graph, opinion: Opinion, number: int, before: float) -> None:
    """Add the `number`-th network to a graph; `before` is the temperature of the mean so far."""

    def named(name: str) -> str:
        return f"{name}_{number}"

    old = {name: f"{name}_of_{number - 1}" for name in (PROBABILITIES, ACTIVATION)}
    for name, renamed in old.items():
        graph.maker(name).output[0] = renamed
        graph.redirect(name, renamed)
    asked = _branch(graph, opinion, number, old[ACTIVATION], before)
    sure = helper.make_graph(
        [helper.make_node("Identity", [old[ACTIVATION]], [named("own")])],
        named("sure"),
        [],
        [helper.make_tensor_value_info(named("own"), TensorProto.FLOAT, None)],
    )
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("ReduceMax", [old[PROBABILITIES], "breeds_axis"], "best", {}),
        ("Less", [named("best"), "below"], "unsure", {}),
        ("ReduceMin", [named("best")], "least", {"keepdims": 0}),
        ("Less", [named("least"), "below"], "any_unsure", {}),
        ("If", [named("any_unsure")], "opinion", {"then_branch": asked, "else_branch": sure}),
        # In a batch, photos of which the networks so far are sure keep their answer.
        ("Reshape", [named("unsure"), "each_photo"], "unsure_photo", {}),
    ]
    graph.proto.node.extend(
        [
            helper.make_node(kind, inputs, [named(output)], **settings)
            for kind, inputs, output, settings in steps
        ]
    )
    graph.proto.node.extend(
        [
            helper.make_node(
                "Where", [named("unsure_photo"), named("opinion"), old[ACTIVATION]], [ACTIVATION]
            ),
            helper.make_node("ReduceMean", [ACTIVATION, "places"], [named("logits")], keepdims=0),
            helper.make_node("Softmax", [named("logits")], [PROBABILITIES], axis=1),
        ]
    )


def _branch(
    graph: Graph, opinion: Opinion, number: int, answer: str, before: float
) -> onnx.GraphProto:
    """The `number`-th network, and the mean with the answer so far, computed on a condition."""
    prefix, added = f"network_{number}_", f"opinion_{number}_"
    network = onnx.ModelProto()
    network.CopyFrom(opinion.network)
    own = Graph(network)
    maps = next(each for each in own.proto.output if each.name == ACTIVATION)
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(maps)
    del own.proto.output[:]
    own.proto.output.append(kept)
    own.remove_unused()
    photo = graph.proto.input[0].name
    nodes, constants = [], []

    def constant(name: str, value: NDArray[np.generic]) -> str:
        constants.append(numpy_helper.from_array(value, f"{added}{name}"))
        return constants[-1].name

    for kind, name, values in (("Mul", "scale", opinion.scale), ("Add", "shift", opinion.shift)):
        if values is not None:
            changed = f"{added}after_{name}"
            nodes.append(helper.make_node(kind, [photo, constant(name, values)], [changed]))
            photo = changed
    known = {own.proto.input[0].name: photo, "": ""}
    for node in own.proto.node:
        renamed = onnx.NodeProto()
        renamed.CopyFrom(node)
        renamed.name = node.name and f"{prefix}{node.name}"
        renamed.input[:] = [known.get(name, f"{prefix}{name}") for name in node.input]
        renamed.output[:] = [f"{prefix}{name}" for name in node.output]
        nodes.append(renamed)
    constants += [
        numpy_helper.from_array(numpy_helper.to_array(tensor), f"{prefix}{tensor.name}")
        for tensor in own.proto.initializer
    ]
    # The answer so far is the mean of all networks before, divided by its temperature.
    share = 1 / (number * opinion.temperature)
    so_far = constant("so_far", np.array((number - 1) * before * share, np.float32))
    new = constant("new", np.array(share, np.float32))
    mean = f"mean_of_{number}"
    nodes += [
        helper.make_node("Mul", [answer, so_far], [f"{added}before"]),
        helper.make_node("Mul", [f"{prefix}{ACTIVATION}", new], [f"{added}own"]),
        helper.make_node("Add", [f"{added}before", f"{added}own"], [mean]),
    ]
    output = helper.make_tensor_value_info(mean, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, f"unsure_{number}", [], [output], constants)


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
        if "second_opinion" in card.facts:
            raise OpinionError(f"{card.name} has a second opinion already: export it again.")
    if first.labels != second.labels:
        raise OpinionError(f"{first.name} and {second.name} have different classes.")
    if first.input != _with_range(second.input, first.input):
        raise OpinionError(f"{first.name} and {second.name} need different inputs.")


def _with_range(spec: InputSpec, other: InputSpec) -> InputSpec:
    """An input with the mean and deviation of another one."""
    return replace(spec, mean=other.mean, std=other.std)


def opinion_of(
    network: onnx.ModelProto, spec: InputSpec, first: InputSpec, temperature: float
) -> Opinion:
    """A network that wants its own mean and deviation, on the input of the first one."""
    if spec == first:
        return Opinion(network, temperature)
    mean, std, own_mean, own_std = (
        np.array(values, np.float32).reshape(3, 1, 1)
        for values in (first.mean, first.std, spec.mean, spec.std)
    )
    return Opinion(network, temperature, std / own_std, (mean - own_mean) / own_std)


def add_opinions(
    first: Card,
    folder: Path,
    others: Sequence[tuple[Card, Path]],
    below: float = BELOW,
    temperatures: Sequence[float] = (),
) -> dict[str, Any]:
    """Replace `folder/NAME.onnx` and its card by those of all networks together.

    The card loses its figures and the rules that were fitted to the first network's answers, but
    keeps what tells photos on their side, which looks at the other head alone.

    Parameters
    ----------
    first, folder
        The first model's card, and its folder.
    others
        The cards and folders of the others, in the order in which they are asked.
    below
        As in `join`.
    temperatures
        Of the mean after each of the others; 1 by default.

    Returns
    -------
    What the card says of the others.

    Raises
    ------
    OpinionError
        If the models do not fit together; nothing is then written.
    """
    temperatures = temperatures or [1.0] * len(others)
    if len(temperatures) != len(others):
        raise OpinionError(f"{len(others)} further networks need as many temperatures.")
    for card, _ in others:
        check(first, card)

    def network(card: Card, place: Path) -> onnx.ModelProto:
        return onnx.load_from_string(read_network(card, place))

    opinions = [
        opinion_of(network(card, place), card.input, first.input, temperature)
        for (card, place), temperature in zip(others, temperatures, strict=True)
    ]
    joined = join(network(first, folder), opinions, below)
    onnx.checker.check_model(joined, full_check=True)
    content = joined.SerializeToString()
    facts = dict(first.facts)
    for stale in ("refusal", "evidence"):
        facts.pop(stale, None)
    own = [card.facts["output"]["temperature"] for card in (first, *(card for card, _ in others))]
    facts["second_opinion"] = {
        **_told([card.facts for card, _ in others]),
        "below": below,
        "temperatures": [*own, *temperatures],
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


def _told(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a card says of further networks: of several as a card does of a mean of several."""
    commands = [card["training"]["command"] for card in cards]
    starts = [card["starting_weights"] for card in cards if "starting_weights" in card]
    compressions = [card["compression"]["command"] for card in cards if "compression" in card]
    return {
        "architecture": " + ".join(card["architecture"] for card in cards),
        "parameters": sum(card["parameters"] for card in cards),
        "training": {
            **cards[0]["training"],
            **({"epochs": sum(card["training"]["epochs"] for card in cards)} if cards[1:] else {}),
            "command": " && ".join(commands),
        },
        **({"starting_weights": starts if cards[1:] else starts[0]} if starts else {}),
        "export": " && ".join(card["export"]["command"] for card in cards),
        "compression": " && ".join(compressions) or None,
    }


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("name", help="name of the first model: NAME.onnx and NAME.json")
    parser.add_argument(
        "others",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="files of the others, in the order in which they are asked, with their cards beside "
        "them",
    )
    add_models_arguments(parser, "folder of the first model")
    parser.add_argument(
        "--below",
        type=command_line.share,
        default=BELOW,
        help="probability of the best breed below which the next network is asked",
    )
    parser.add_argument(
        "--temperature",
        type=command_line.positive_float,
        nargs="+",
        default=[],
        help="of the mean of the networks' calibrated answers, after each further one (default: 1)",
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Join the models that the command line names."""
    arguments = parse_arguments(words)
    folder = arguments.models
    add_opinions(
        store.read_card(arguments.name, folder),
        folder,
        [(store.read_card(file.stem, file.parent), file.parent) for file in arguments.others],
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
