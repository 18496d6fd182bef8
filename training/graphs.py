"""The same network in fewer and faster operations.

Exporters write correct graphs, but not always the ones that ONNX Runtime runs fastest. `simplify`
rewrites the patterns that cost most in the embedded models, and leaves the rest unchanged.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class Graph:
    """A model's graph with the look-ups that rewriting needs.

    Attributes
    ----------
    proto
        The graph that is rewritten.
    ranks
        How many axes each computed value has, by its name.
    constants
        Its constants by name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.ranks = {
            each.name: len(each.type.tensor_type.shape.dim)
            for each in (*inferred.value_info, *inferred.output)
        }
        self.proto = model.graph
        self.constants = {each.name: each for each in self.proto.initializer}

    def value(self, name: str) -> NDArray[Any] | None:
        """The value of a constant; None if it is computed."""
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def add(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant; return its name."""
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        self.constants[name] = tensor
        self.proto.initializer.append(tensor)
        return name

    def maker(self, name: str) -> onnx.NodeProto:
        """The node that computes a value."""
        return next(node for node in self.proto.node if name in node.output)

    def users(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a value."""
        return [node for node in self.proto.node if name in node.input]

    def only_user(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The only node that reads a value, if there is just one and it is of this kind."""
        users = self.users(name)
        return users[0] if len(users) == 1 and users[0].op_type == kind else None

    def redirect(self, name: str, new: str) -> None:
        """Let all nodes that read one value read another instead."""
        for node in self.users(name):
            node.input[:] = [new if each == name else each for each in node.input]

    def replace(self, node: onnx.NodeProto, nodes: list[onnx.NodeProto]) -> None:
        """Replace a node with others."""
        everything = list(self.proto.node)
        index = everything.index(node)
        everything[index : index + 1] = nodes
        del self.proto.node[:]
        self.proto.node.extend(everything)

    def remove_unused(self) -> None:
        """Remove the nodes and constants that no output needs."""
        needed = {output.name for output in self.proto.output}
        nodes: list[onnx.NodeProto] = []
        for node in reversed(self.proto.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.insert(0, node)
        constants = [each for each in self.proto.initializer if each.name in needed]
        del self.proto.node[:], self.proto.initializer[:]
        del self.proto.value_info[:]  # may contain shapes of removed values
        self.proto.node.extend(nodes)
        self.proto.initializer.extend(constants)


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite the known patterns of a float32 model; its answers change only by rounding.

    The names of inputs, outputs and unchanged weights stay the same.
    """
    simpler = onnx.ModelProto()
    simpler.CopyFrom(model)
    graph = Graph(simpler)
    for kind, rewrite in (
        ("ConvTranspose", _crop_by_padding),
        ("ConvTranspose", _fold_batch_norm),
        ("Softmax", _spread_softmax),
    ):
        for output in [node.output[0] for node in graph.proto.node if node.op_type == kind]:
            rewrite(graph, graph.maker(output))
            graph.remove_unused()
    return simpler


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    """A node's attributes by name."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _crop_by_padding(graph: Graph, node: onnx.NodeProto) -> None:
    """Let a transposed convolution write its "same" output directly.

    tf2onnx computes the whole output, derives from its shape what TensorFlow's "same" padding
    keeps, and crops: 35 nodes for what stride and kernel already determine.
    """
    cut = next((user for user in graph.users(node.output[0]) if user.op_type == "Slice"), None)
    padded = cut and graph.only_user(cut.output[0], "Pad")
    known = attributes(node)
    if padded is None or "pads" in known:
        return
    excess = np.array(known["kernel_shape"]) - np.array(known["strides"])
    begin = excess // 2
    pads = [*begin.tolist(), *(excess - begin).tolist()]
    node.attribute.append(helper.make_attribute("pads", pads))
    graph.redirect(padded.output[0], node.output[0])


def _fold_batch_norm(graph: Graph, node: onnx.NodeProto) -> None:
    """Fold the scale and shift after a transposed convolution into its weights.

    ONNX Runtime does so for convolutions, but not for transposed ones.
    """
    scaled = graph.only_user(node.output[0], "Mul")
    shifted = scaled and graph.only_user(scaled.output[0], "Add")
    if scaled is None or shifted is None or len(node.input) > 2:
        return
    weights = graph.value(node.input[1])
    scale, shift = (
        next((graph.value(name) for name in each.input if name in graph.constants), None)
        for each in (scaled, shifted)
    )
    if weights is None or scale is None or shift is None:
        return
    scale, shift = (np.broadcast_to(each.ravel(), weights.shape[1]) for each in (scale, shift))
    node.input[:] = [
        node.input[0],
        graph.add(f"{node.input[1]}_scaled", weights * scale[:, None, None]),
        graph.add(f"{node.input[1]}_shift", shift),
    ]
    graph.redirect(shifted.output[0], node.output[0])


def _spread_softmax(graph: Graph, node: onnx.NodeProto) -> None:
    """Compute a softmax over channels on whole planes.

    ONNX Runtime transposes, and then processes the few values of each pixel separately, which is
    five times slower for three classes.
    """
    logits, probabilities = node.input[0], node.output[0]
    if graph.ranks.get(probabilities) != 4 or attributes(node).get("axis") != 1:
        return
    names = {part: f"{probabilities}_{part}" for part in ("most", "below", "powers", "sum")}
    axes = graph.add(f"{probabilities}_axes", np.array([1], np.int64))
    graph.replace(
        node,
        [
            helper.make_node("ReduceMax", [logits, axes], [names["most"]]),
            helper.make_node("Sub", [logits, names["most"]], [names["below"]]),
            helper.make_node("Exp", [names["below"]], [names["powers"]]),
            helper.make_node("ReduceSum", [names["powers"], axes], [names["sum"]]),
            helper.make_node("Div", [names["powers"], names["sum"]], [probabilities]),
        ],
    )
