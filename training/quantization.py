"""Networks that compute in int8.

Values between layers become uint8 and weights int8, with scales that stand in the file as
`QuantizeLinear` and `DequantizeLinear`; ONNX Runtime joins them with the layers between them: Jacob
et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", CVPR 2018. The ranges of the values between layers are measured on photos.
"""

import logging
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from models.onnx_graph import Graph, attributes

# What is computed in int8, or only moved. The softmax at the end stays in float32.
KINDS = (
    *("Conv", "Gemm", "MatMul", "Add", "Clip", "Relu", "GlobalAveragePool", "MaxPool"),
    *("Concat", "Resize", "Reshape", "Slice", "Transpose"),
)
WIDTH = 16  # outputs of a convolution that ONNX Runtime computes together


class Photos(CalibrationDataReader):
    """Prepared photos, one by one, for a network's input."""

    def __init__(self, name: str, batches: Sequence[NDArray[np.float32]]) -> None:
        self._name, self._batches = name, iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next one, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def encoder(model: onnx.ModelProto) -> set[str]:
    """Names of the values that a U-Net computes before it first enlarges anything.

    In int8 these cost most of the accuracy: the channels of depthwise convolutions have very
    different ranges. There are none in a network that enlarges nothing.
    """
    kinds = ("Resize", "ConvTranspose")
    first = next((node for node in model.graph.node if node.op_type in kinds), None)
    makers = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    waiting = [first.input[0]] if first is not None else []
    while waiting:
        name = waiting.pop()
        if name in makers and name not in found:
            found.add(name)
            waiting += makers[name].input
    return found


def quantize(
    model: onnx.ModelProto, batches: Sequence[NDArray[np.float32]], kept: Collection[str] = ()
) -> onnx.ModelProto:
    """Return a float32 network that computes in int8.

    Weights get 7 bits and a scale for each output channel. With 8, processors without instructions
    for products of four bytes (x86 before AVX-VNNI and AVX512-VNNI) add two products in 16 bits,
    which can overflow and give other results.

    Parameters
    ----------
    model
        As of `training.graphs.simplify`.
    batches
        Prepared photos, on which the ranges of values are measured.
    kept
        Names of values that are computed in float32 as before.
    """
    wide = widen(model)
    for index, node in enumerate(wide.graph.node):
        node.name = node.name or f"node_{index}"
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        target = Path(folder) / "int8.onnx"
        quantize_static(
            wide,
            target,
            Photos(wide.graph.input[0].name, batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(KINDS),
            nodes_to_exclude=[node.name for node in wide.graph.node if node.output[0] in kept],
        )
        return onnx.load(target)


def widen(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network with `WIDTH` outputs for convolutions that have fewer.

    In int8, ONNX Runtime takes twice as long for 3 outputs as for 16. The added ones are cut off.
    """
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    graph = Graph(wide)
    for output in [node.output[0] for node in graph.proto.node if node.op_type == "Conv"]:
        _widen(graph, graph.maker(output))
    graph.remove_unused()
    return wide


def _widen(graph: Graph, node: onnx.NodeProto) -> None:
    kernel, bias = (graph.value(name) for name in (*node.input[1:3], "")[:2])
    group = attributes(node).get("group", 1)
    if kernel is None or bias is None or len(kernel) >= WIDTH or group != 1:
        return
    outputs, narrow = len(kernel), node.output[0]
    more = (0, WIDTH - outputs)
    kernel = np.pad(kernel, [more, *[(0, 0)] * (kernel.ndim - 1)])
    node.input[1:] = [
        graph.add(f"{narrow}_wide_kernel", kernel),
        graph.add(f"{narrow}_wide_bias", np.pad(bias, [more])),
    ]
    node.output[0] = f"{narrow}_wide"
    limits = [
        graph.add(f"{narrow}_{name}", np.array([value], np.int64))
        for name, value in (("first", 0), ("end", outputs), ("axis", 1))
    ]
    cut = helper.make_node("Slice", [node.output[0], *limits], [narrow], f"{narrow}_narrow")
    wide = onnx.NodeProto()
    wide.CopyFrom(node)
    graph.replace(node, [wide, cut])


@contextmanager
def _without_advice() -> Iterator[None]:
    """Suppress the advice to simplify the network first."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
