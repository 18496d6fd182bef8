"""A convolutional network in ONNX as one of PyTorch, to train it on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

Values = dict[str, torch.Tensor]


class OnnxNetwork(torch.nn.Module):
    """Computes what a graph says, with its float constants as parameters.

    It knows the operators of plain convolutional networks whose batch norms are folded.

    Parameters
    ----------
    model
        With one input and one output.

    Raises
    ------
    NotImplementedError
        In `forward`, for other operators.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.nodes = list(model.graph.node)
        self.input, self.output = model.graph.input[0].name, model.graph.output[0].name
        self.weights = torch.nn.ParameterDict()
        self.names: dict[str, str] = {}  # a parameter's name has no dots
        self.constants: Values = {}
        trained = {name for node in self.nodes if node.op_type == "Conv" for name in node.input[1:]}
        for tensor in model.graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            if tensor.name in trained:
                self.names[tensor.name] = tensor.name.replace(".", "_")
                self.weights[self.names[tensor.name]] = torch.nn.Parameter(value)
            else:
                self.constants[tensor.name] = value

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        """The network's output for its input."""
        values: Values = {self.input: photo, **self.constants}
        values |= {name: self.weights[own] for name, own in self.names.items()}
        for node in self.nodes:
            inputs = [values[name] for name in node.input if name]
            settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            outputs = _run(node, inputs, settings)
            values.update(zip(node.output, outputs, strict=True))
        return values[self.output]

    def stored(self) -> dict[str, np.ndarray]:
        """The parameters by their names in the graph."""
        return {name: self.weights[own].detach().cpu().numpy() for name, own in self.names.items()}


def with_weights(model: onnx.ModelProto, weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A copy of the model with other values of the constants that are named."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in weights:
            value = np.ascontiguousarray(weights[tensor.name], np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return changed


def _run(
    node: onnx.NodeProto, inputs: list[torch.Tensor], settings: dict[str, Any]
) -> tuple[torch.Tensor, ...]:
    functional, kind, first = torch.nn.functional, node.op_type, inputs[0]
    if kind == "Conv":
        top, left = settings["pads"][:2]
        weight, bias = inputs[1], inputs[2] if len(inputs) > 2 else None
        answer = functional.conv2d(
            first,
            weight,
            bias,
            stride=tuple(settings["strides"]),
            padding=(top, left),
            groups=settings["group"],
        )
    elif kind == "LeakyRelu":
        answer = functional.leaky_relu(first, settings["alpha"])
    elif kind == "MaxPool":
        answer = functional.max_pool2d(
            first, settings["kernel_shape"], settings["strides"], settings["pads"][:2]
        )
    elif kind == "Add":
        answer = first + inputs[1]
    elif kind == "Concat":
        answer = torch.cat(inputs, dim=settings["axis"])
    elif kind == "Split":
        return torch.chunk(first, settings["num_outputs"], dim=settings["axis"])
    elif kind == "Shape":
        answer = torch.tensor(first.shape)
    elif kind == "Unsqueeze":
        answer = first.unsqueeze(int(inputs[1]))
    elif kind == "Reshape":
        # Zero means that the axis stays.
        shape = [first.shape[i] if n == 0 else n for i, n in enumerate(inputs[1].tolist())]
        answer = first.reshape(shape)
    elif kind == "Transpose":
        answer = first.permute(settings["perm"])
    elif kind == "Resize":
        factors = inputs[-1].tolist()[2:]
        answer = functional.interpolate(first, scale_factor=factors, mode="bilinear")
    else:
        raise NotImplementedError(f"The operator {kind} is not known here.")
    return (answer,)
