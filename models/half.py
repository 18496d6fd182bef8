"""Networks that compute in float16, which is several times as fast as float32 on a GPU.

Only machines with a GPU have the package `onnx`.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from models.onnx_graph import Graph, attributes

UNPACKING = ("Cast", "DequantizeLinear")  # turn stored weights into float32


def half_file(content: bytes) -> bytes:
    """The bytes of an `.onnx` file of a network that computes in float16, as of `half`."""
    return half(onnx.load_from_string(content)).SerializeToString()


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model that computes in float16; its input and outputs stay float32.

    Weights that are stored as float16 are used as they are stored.
    """
    converted = convert_float_to_float16(unpacked(model), keep_io_types=True)
    _sort(converted.graph)
    return converted


def unpacked(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model that computes only in float32, with weights stored as float32.

    Values that it computed in int8 keep their limits: an activation that only bounds values, such
    as ReLU, is not in the file if a range of int8 does the same. What it computes only if that is
    needed, it always computes: a schedule for a GPU has no conditions.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    _compute_always(graph)
    for node in [node for node in graph.proto.node if node.op_type in UNPACKING]:
        if node.input[0] in graph.constants:
            graph.add(node.output[0], _value(graph, node))
            graph.proto.node.remove(node)
        elif node.op_type == "DequantizeLinear":
            graph.replace(node, [_limited(graph, graph.maker(node.input[0]), node.output[0])])
    graph.remove_unused()
    return copy


def _compute_always(graph: Graph) -> None:
    """Replace each condition by what is computed if it holds.

    For conditions as of `training.second_opinion`: where one does not hold, its answer is not used.
    """
    # One at a time, since replacing a node makes copies of all others.
    while node := next((node for node in graph.proto.node if node.op_type == "If"), None):
        branch = attributes(node)["then_branch"]
        graph.proto.initializer.extend(branch.initializer)
        names = {inner.name: name for inner, name in zip(branch.output, node.output, strict=True)}
        steps = list(branch.node)
        for step in steps:
            step.output[:] = [names.get(name, name) for name in step.output]
        graph.replace(node, steps)
    graph.constants = {each.name: each for each in graph.proto.initializer}


def _limited(graph: Graph, quantizing: onnx.NodeProto, name: str) -> onnx.NodeProto:
    """A node that bounds values, under a new name, as turning them into int8 did."""
    _, step, zero = (graph.value(each) for each in quantizing.input)
    if step is None or zero is None:
        raise ValueError(f"{quantizing.name} has no constant range.")
    whole = np.iinfo(zero.dtype)
    limits = [
        graph.add(f"{name}_{end}", np.array((value - int(zero)) * float(step), np.float32))
        for end, value in (("least", whole.min), ("most", whole.max))
    ]
    return helper.make_node("Clip", [quantizing.input[0], *limits], [name], name)


def _value(graph: Graph, node: onnx.NodeProto) -> NDArray[np.float32]:
    """The float32 constant that a node computes from a smaller one."""
    stored, *rest = (np.asarray(graph.value(name), np.float32) for name in node.input)
    if not rest:
        return stored
    axes = [1] * stored.ndim
    if rest[0].ndim:
        axes[attributes(node).get("axis", 1)] = -1
    scale, *zero = (each.reshape(axes) if each.ndim else each for each in rest)
    return (stored - zero[0] if zero else stored) * scale


def _sort(graph: onnx.GraphProto) -> None:
    """Put each node after those that it needs, as the format requires."""
    waiting = list(graph.node)
    made = {"", *(each.name for each in graph.input), *(each.name for each in graph.initializer)}
    del graph.node[:]
    while waiting:
        ready = [node for node in waiting if made.issuperset(node.input)]
        graph.node.extend(ready)
        made.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not made.issuperset(node.output)]
