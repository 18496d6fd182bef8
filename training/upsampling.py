"""Nearest-neighbour upsampling and the next convolution as one convolution of the smaller picture.

If a picture is doubled by repeating its pixels, a 3 x 3 convolution of it sees each pixel up to
four times. A 2 x 2 convolution of the smaller picture, with a set of output channels for each of
the four copies of a pixel (the phases), gives the same values with four ninths of the
multiplications: Shi et al., "Is the deconvolution layer the same as a convolutional layer?", arXiv
1609.07009, 2016. What a U-Net concatenates with the doubled picture is split into its phases, which
become channels of the smaller picture.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from models.onnx_graph import Graph, attributes
from models.preprocessing import InputSpec

# The outputs of a 2 x 2 convolution, padded by 1, lie between the pixels it sees: output i has the
# larger picture's pixels 2 i - 1 and 2 i, and sees the smaller one's i - 1 and i. So along one axis
# [phase, seen pixel, weight of the kernel] tells which of the kernel's weights a seen pixel gets.
REPEATED = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]])
# The same for a picture that was not repeated: [phase, seen pixel, its own phase, weight].
OWN = np.array(
    [
        [[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 0]]],
        [[[0, 0, 0], [1, 0, 0]], [[0, 1, 0], [0, 0, 1]]],
    ]
)


def convolve_before_doubling(graph: Graph, node: onnx.NodeProto, spec: InputSpec) -> None:
    """Replace a doubling `Resize`, a `Concat` of its output, and the convolution after them.

    They are replaced only if the result is certainly the same: doubling by repetition, and a
    convolution of stride 1 whose output has the size of its input. The network's input must be
    known, and the sides of smaller pictures must be whole parts of its own.
    """
    found = _match(graph, node, spec)
    if found is None:
        return
    joined, convolution = found
    small, skip = node.input[0], joined.input[1] if joined is not None else None
    kernel, bias = (graph.value(name) for name in convolution.input[1:3])
    if kernel is None or bias is None:
        return
    outputs, channels = len(kernel), graph.shapes[small][1]
    writer = _Writer(graph, convolution.output[0], spec, graph.shapes[small][2:])
    kernels = [phase_kernel(kernel[:, :channels])]
    seen = small
    if skip is not None:
        kernels.append(phase_kernel_of_own(kernel[:, channels:]))
        parted = writer.part(skip, kernel.shape[1] - channels)
        seen = writer.add("Concat", [small, parted], "seen", axis=1)
    phases = writer.add(
        "Conv",
        [
            seen,
            writer.constant("kernel", np.concatenate(kernels, axis=1)),
            writer.constant("bias", np.tile(bias, 4)),
        ],
        "phases",
        kernel_shape=[2, 2],
        pads=[1, 1, 1, 1],
    )
    last = convolution
    activation = graph.only_user(convolution.output[0], "Relu")
    if activation is not None:
        last = activation  # moved forward, it can be fused with the convolution
        phases = writer.add("Relu", [phases], "activated")
    writer.join(phases, outputs)
    writer.nodes[-1].output[0] = last.output[0]
    graph.replace(last, writer.nodes)


def phase_kernel(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The kernel over a smaller picture that is doubled.

    Parameters
    ----------
    kernel
        `(outputs, channels, 3, 3)`, of the larger picture.

    Returns
    -------
    `(4 outputs, channels, 2, 2)`: the outputs for the upper left phase, the upper right one, the
    lower left one and the lower right one.
    """
    parts = np.einsum("atk,bul,oikl->aboitu", REPEATED, REPEATED, kernel.astype(np.float64))
    return parts.reshape(-1, *parts.shape[3:]).astype(np.float32)


def phase_kernel_of_own(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same for a picture of the larger size, split into its phases.

    Returns
    -------
    `(4 outputs, 4 channels, 2, 2)`, outputs as in `phase_kernel`; the channels of the upper left
    pixels of each 2 x 2 come first, then those of the upper right ones, ...
    """
    parts = np.einsum("atpk,buql,oikl->abopqitu", OWN, OWN, kernel.astype(np.float64))
    outputs = parts.reshape(-1, 4 * kernel.shape[1], 2, 2)
    return outputs.astype(np.float32)


def _match(
    graph: Graph, node: onnx.NodeProto, spec: InputSpec
) -> tuple[onnx.NodeProto | None, onnx.NodeProto] | None:
    """The `Concat`, if any, and the convolution after a doubling; None if any does not fit."""
    doubled = node.output[0]
    joined = graph.only_user(doubled, "Concat")
    if joined is not None and (attributes(joined)["axis"] != 1 or len(joined.input) != 2):
        return None
    larger = joined.output[0] if joined is not None else doubled
    convolution = graph.only_user(larger, "Conv")
    if convolution is None or (joined is not None and joined.input[0] != doubled):
        return None
    sizes = graph.shapes.get(node.input[0], ()), graph.shapes.get(larger, ())
    if any(len(size) != 4 or not all(size) for size in sizes):
        return None
    small, large = (size[2:] for size in sizes)
    whole = (spec.height, spec.width)
    if large != tuple(2 * side for side in small) or any(
        side % part for side, part in zip(whole, small, strict=True)
    ):
        return None
    resize, layer = attributes(node), attributes(convolution)
    kernel = graph.value(convolution.input[1])
    repeats = (
        resize.get("mode", b"nearest") == b"nearest"
        and resize.get("coordinate_transformation_mode") == b"asymmetric"
        and resize.get("nearest_mode") == b"floor"
    )
    plain = (
        layer.get("pads") == [1, 1, 1, 1]
        and layer.get("group", 1) == 1
        and layer.get("strides", [1, 1]) == [1, 1]
        and layer.get("dilations", [1, 1]) == [1, 1]
        and len(convolution.input) == 3
        and graph.value(convolution.input[2]) is not None
    )
    if kernel is None or kernel.shape[2:] != (3, 3) or not (repeats and plain):
        return None
    return joined, convolution


class _Writer:
    """Writes the nodes that replace a convolution.

    Sizes are computed from the network's input: in an int8 network, a `Shape` of any other
    value would have that value decoded first.
    """

    def __init__(self, graph: Graph, name: str, spec: InputSpec, small: tuple[int, ...]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._name = graph, name
        self._parts = [
            whole // side for whole, side in zip((spec.height, spec.width), small, strict=True)
        ]
        self._axes = (2, 3) if spec.layout == "NCHW" else (1, 2)
        self._input = graph.proto.input[0].name

    def add(self, kind: str, inputs: list[str], name: str, **settings: Any) -> str:  # noqa: ANN401
        """Add a node; return the name of its output."""
        output = f"{self._name}_{name}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **settings))
        return output

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant; return its name."""
        return self._graph.add(f"{self._name}_{name}", value)

    def numbers(self, name: str, *values: int) -> str:
        """Add a constant of whole numbers; return its name."""
        return self.constant(name, np.array(values, np.int64))

    def side(self, axis: int, name: str) -> str:
        """The smaller picture's height (0) or width (1), as `(1,)` int64."""
        start = self._axes[axis]
        whole = self.add("Shape", [self._input], f"{name}_whole", start=start, end=start + 1)
        return self.add("Div", [whole, self.numbers(f"{name}_parts", self._parts[axis])], name)

    def part(self, picture: str, channels: int) -> str:
        """Split a picture of the larger size into phases: each channel becomes 4 smaller ones."""
        last = self.add("Transpose", [picture], "own_last", perm=[0, 2, 3, 1])
        shape = self.add(
            "Concat",
            [
                self.numbers("own_all", -1),
                self.side(0, "own_height"),
                self.numbers("own_two", 2),
                self.side(1, "own_width"),
                self.numbers("own_pair", 2 * channels),
            ],
            "own_shape",
            axis=0,
        )
        rows = self.add("Reshape", [last, shape], "own_rows")
        apart = self.add("Transpose", [rows], "own_apart", perm=[0, 1, 3, 2, 4])
        four = self.numbers("own_four", 0, 0, 0, 4 * channels)
        joined = self.add("Reshape", [apart, four], "own_phases_last")
        return self.add("Transpose", [joined], "own_phases", perm=[0, 3, 1, 2])

    def join(self, phases: str, channels: int) -> None:
        """Assemble a picture from its phases, and crop it."""
        last = self.add("Transpose", [phases], "last", perm=[0, 2, 3, 1])
        pairs = self.numbers("pairs", 0, 0, 0, 2, 2 * channels)
        rows = self.add("Reshape", [last, pairs], "rows")
        apart = self.add("Transpose", [rows], "apart", perm=[0, 1, 3, 2, 4])
        sides = []
        for axis, name in enumerate(("height", "width")):
            more = self.add(
                "Add", [self.side(axis, name), self.numbers(f"{name}_one", 1)], f"{name}_more"
            )
            sides.append(self.add("Mul", [more, self.numbers(f"{name}_two", 2)], f"{name}_twice"))
        shape = self.add(
            "Concat",
            [self.numbers("all", -1), *sides, self.numbers("channels", channels)],
            "shape",
            axis=0,
        )
        larger = self.add("Reshape", [apart, shape], "larger")
        limits = [
            self.numbers("start", 1, 1),
            self.numbers("end", -1, -1),
            self.numbers("axes", 1, 2),
        ]
        cut = self.add("Slice", [larger, *limits], "cut")
        self.add("Transpose", [cut], "whole", perm=[0, 3, 1, 2])
