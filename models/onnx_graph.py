"""A model's graph with the look-ups and changes that rewriting it needs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class Graph:
    """The graph of a model that is rewritten.

    Attributes
    ----------
    proto
        The graph that is rewritten.
    shapes
        The lengths of each computed value's axes, by its name; 0 if unknown.
    constants
        Its constants by name.
    """

    def __init__(self, model: onnx.ModelProto, shape: Sequence[int] = ()) -> None:
        """Analyze a model, for inputs of this shape if one is given."""
        fixed = onnx.ModelProto()
        fixed.CopyFrom(model)
        if shape:
            # The exporter's unknown lengths would contradict the known ones.
            del fixed.graph.value_info[:]
            for axis, length in zip(_axes(fixed.graph.input[0]), shape, strict=True):
                axis.dim_value = length
        inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=bool(shape)).graph
        self.shapes = {
            each.name: tuple(axis.dim_value for axis in _axes(each))
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


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _axes(value: onnx.ValueInfoProto) -> Sequence[onnx.TensorShapeProto.Dimension]:
    return value.type.tensor_type.shape.dim
