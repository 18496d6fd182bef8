"""A convolutional network in ONNX as one of PyTorch, to train it on."""

from collections.abc import Callable, Mapping
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
        With one input.

    Raises
    ------
    NotImplementedError
        In `forward`, for other operators.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.nodes = list(model.graph.node)
        self.input = model.graph.input[0].name
        self.outputs = [output.name for output in model.graph.output]
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
        """The network's first output for its input."""
        return self.answers(photo)[0]

    def answers(self, photo: torch.Tensor) -> list[torch.Tensor]:
        """All outputs of the network for its input."""
        values: Values = {self.input: photo, **self.constants}
        values |= {name: self.weights[own] for name, own in self.names.items()}
        for node in self.nodes:
            inputs = [values[name] for name in node.input if name]
            settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            outputs = _run(node, inputs, settings)
            values.update(zip(node.output, outputs, strict=True))
        return [values[name] for name in self.outputs]

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
    if kind == "Split":
        return torch.chunk(first, settings["num_outputs"], dim=settings["axis"])
    if kind in ELEMENTWISE:
        return (ELEMENTWISE[kind](*inputs),)
    if kind in REDUCTIONS:
        axes = [int(axis) for axis in inputs[1]]
        return (REDUCTIONS[kind](first, dim=axes, keepdim=bool(settings.get("keepdims", 1))),)
    if kind == "Conv":
        answer = _convolve(inputs, settings)
    elif kind == "LeakyRelu":
        answer = functional.leaky_relu(first, settings["alpha"])
    elif kind == "Clip":
        answer = first.clamp(float(inputs[1]), float(inputs[2]))
    elif kind == "Softmax":
        answer = first.softmax(settings["axis"])
    elif kind == "Gemm":
        answer = functional.linear(first, inputs[1], inputs[2])
    elif kind == "Cast":
        answer = first.to(TYPES[settings["to"]])
    elif kind == "MaxPool":
        answer = functional.max_pool2d(
            first, settings["kernel_shape"], settings["strides"], settings["pads"][:2]
        )
    elif kind == "Concat":
        answer = torch.cat(inputs, dim=settings["axis"])
    elif kind == "Shape":
        answer = torch.tensor(first.shape[settings.get("start", 0) : settings.get("end")])
    elif kind == "Unsqueeze":
        answer = first.unsqueeze(int(inputs[1]))
    elif kind == "Squeeze":
        answer = first.squeeze()
    elif kind == "Reshape":
        # Zero means that the axis stays.
        shape = [first.shape[i] if n == 0 else n for i, n in enumerate(inputs[1].tolist())]
        answer = first.reshape(shape)
    elif kind == "Slice":
        starts, ends, axes, *steps = (each.tolist() for each in inputs[1:])
        answer = first
        steps = steps or [[1] * len(axes)]
        for axis, start, end, step in zip(axes, starts, ends, steps[0], strict=True):
            answer = answer[(slice(None),) * (axis % first.ndim) + (slice(start, end, step),)]
    elif kind == "Transpose":
        answer = first.permute(settings["perm"])
    elif kind == "Resize":
        answer = _resize(first, inputs[-1], settings)
    else:
        raise NotImplementedError(f"The operator {kind} is not known here.")
    return (answer,)


def _divide(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return one / other if one.is_floating_point() else one // other


ELEMENTWISE: dict[str, Callable[..., torch.Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": _divide,
    "Exp": torch.exp,
    "Less": torch.lt,
    "Where": torch.where,
    "Relu": torch.relu,
}
REDUCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
}
TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}


def _convolve(inputs: list[torch.Tensor], settings: dict[str, Any]) -> torch.Tensor:
    photo, weight, *bias = inputs
    top, left, bottom, right = settings.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        photo = torch.nn.functional.pad(photo, (left, right, top, bottom))
        top = left = 0
    return torch.nn.functional.conv2d(
        photo,
        weight,
        bias[0] if bias else None,
        stride=tuple(settings.get("strides", (1, 1))),
        padding=(top, left),
        dilation=tuple(settings.get("dilations", (1, 1))),
        groups=settings.get("group", 1),
    )


def _resize(photo: torch.Tensor, wanted: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
    mode = "nearest" if settings.get("mode", b"nearest") == b"nearest" else "bilinear"
    if wanted.is_floating_point():
        factors = wanted.tolist()[2:]
        return torch.nn.functional.interpolate(photo, scale_factor=factors, mode=mode)
    return torch.nn.functional.interpolate(photo, size=wanted.tolist()[2:], mode=mode)
