"""Networks that compute in int8.

Values between layers become uint8 and weights int8, with scales that stand in the file as
`QuantizeLinear` and `DequantizeLinear`; ONNX Runtime joins them with the layers between them: Jacob
et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", CVPR 2018. The ranges of the values between layers are measured on photos, and so is the
error that rounded weights make on average, which the biases then take back.
"""

import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from models.onnx_graph import Graph, attributes

# What is computed in int8, or only moved. A classifier's last layers and the softmax stay in
# float32: they take hardly any time, and directly give the answers.
KINDS = (
    *("Conv", "Add", "Clip", "Relu", "LeakyRelu", "GlobalAveragePool", "MaxPool"),
    *("Concat", "Resize", "Reshape", "Slice", "Split", "Transpose"),
)
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
DECODED = ["DequantizeLinear"] * 2  # what makes a convolution's kernel and bias of stored ones
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

    In int8 these cost most of the accuracy where the channels of depthwise convolutions have very
    different ranges, as MobileNetV2's. There are none in a network that enlarges nothing.
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


def plain_weights(model: onnx.ModelProto) -> set[str]:
    """Names of the weights that a network with parts in int8 still uses as they are."""
    nodes = [node for node in model.graph.node if node.op_type in WEIGHTED]
    constants = {tensor.name for tensor in model.graph.initializer}
    return constants.intersection(name for node in nodes for name in node.input)


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
            _copy(wide),  # it moves the weights into a file
            target,
            Photos(wide.graph.input[0].name, batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(KINDS),
            nodes_to_exclude=[node.name for node in wide.graph.node if node.output[0] in kept],
            # The mean of the photos' extremes: those of a single photo would make steps coarser.
            extra_options={"CalibMovingAverage": True},
        )
        quantized = onnx.load(target)
    correct_biases(quantized, wide, batches)
    return quantized


def correct_biases(
    quantized: onnx.ModelProto, model: onnx.ModelProto, batches: Sequence[NDArray[np.float32]]
) -> None:
    """Take the mean error of rounded weights back, in place.

    The rounding errors of a kernel's weights do not average out, because the values that they
    weight are mostly positive: each output channel is off by a constant. Its bias can hold that:
    Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV
    2019, here with inputs measured instead of assumed.

    Parameters
    ----------
    quantized
        With the nodes' names of `model`.
    model
        The network in float32.
    batches
        Prepared photos, on which the convolutions' inputs are averaged.
    """
    rounded = Graph(quantized)
    makers = {node.output[0]: node for node in rounded.proto.node}
    lost, biases = {}, {}
    for node in rounded.proto.node:
        decoders = [makers[name] for name in node.input[1:] if name in makers]
        if node.op_type == "Conv" and [each.op_type for each in decoders] == DECODED:
            lost[node.name], biases[node.name] = decoders[0].input[:2], decoders[1].input[:2]
    errors = _mean_errors(model, lost, rounded, batches)
    for name, (bias, step) in biases.items():
        value = _constant(rounded, bias) + errors[name] / _constant(rounded, step)
        tensor = numpy_helper.from_array(np.rint(value).astype(np.int32), bias)
        rounded.constants[bias].CopyFrom(tensor)


def _mean_errors(
    model: onnx.ModelProto,
    stored: Mapping[str, Sequence[str]],
    rounded: Graph,
    batches: Sequence[NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    """What rounding took from each output channel of convolutions, on average over photos.

    Each gets a second one beside it, of the same values, with what its kernel lost.

    Parameters
    ----------
    model
        The network in float32.
    stored
        Names of the rounded kernel and its scales, by the convolution's name.
    rounded
        Where these are.
    """
    both = _copy(model)
    del both.graph.output[:]
    exact = Graph(both)
    for node in [each for each in exact.proto.node if each.name in stored]:
        weights, scale = (_constant(rounded, name) for name in stored[node.name])
        kernel = _constant(exact, node.input[1])
        lost = kernel - weights * scale.reshape(-1, *[1] * (kernel.ndim - 1))
        second = onnx.NodeProto()
        second.CopyFrom(node)
        second.name = second.output[0] = f"{node.name}_lost"
        second.input[1:] = [exact.add(f"{node.name}_lost_kernel", lost.astype(np.float32))]
        exact.proto.node.append(second)
        exact.proto.output.append(onnx.ValueInfoProto(name=second.output[0]))
    session = onnxruntime.InferenceSession(
        both.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    photo = session.get_inputs()[0].name
    channels = [
        [maps.mean(axis=(0, *range(2, maps.ndim))) for maps in session.run(None, {photo: batch})]
        for batch in batches
    ]
    names = [output.name.removesuffix("_lost") for output in session.get_outputs()]
    return {
        name: np.mean(of_name, axis=0)
        for name, of_name in zip(names, zip(*channels, strict=True), strict=True)
    }


def _constant(graph: Graph, name: str) -> NDArray[Any]:
    return numpy_helper.to_array(graph.constants[name])


def widen(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network with `WIDTH` outputs for convolutions that have fewer.

    In int8, ONNX Runtime takes twice as long for 3 outputs as for 16. The added ones are cut off.
    """
    wide = _copy(model)
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


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


@contextmanager
def _without_advice() -> Iterator[None]:
    """Suppress the advice to simplify the network first."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
