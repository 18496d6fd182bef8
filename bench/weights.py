"""The weights of an exported file, layer by layer, for other frameworks' networks."""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from bench.networks import Chain, Layer
from models import store
from models.half import unpacked

LINEAR = ("Conv", "ConvTranspose", "Gemm")
# Nodes between a layer and its scale and offset that change neither.
SPATIAL = ("Slice", "Pad")


def read(model: str) -> list[Chain]:
    """The networks in a model's file; more than one if it averages several."""
    graph = _simplified(store.EMBEDDED / f"{model}.onnx")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            if node.op_type != "Shape":
                readers[name].append(node)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    before = {graph.input[0].name: (one, zero)}  # normalisation before the first layer
    chain_of: dict[str, Chain] = {}
    seen: set[str] = set()
    chains = []
    for node in graph.node:
        source = node.input[0] if node.input else ""
        if node.op_type in LINEAR and node.input[1] in constants:
            if source in before:
                chains.append(Chain(*before[source], _padding(node)))
                chain_of[source] = chains[-1]
            chain = chain_of[source]
            if node.input[1] not in seen:  # a head may be used twice
                seen.add(node.input[1])
                chain.layers.append(_layer(node, constants, readers))
        elif source in before:
            scale, shift = before[source]
            if node.op_type in ("Transpose", "Cast", "Clip"):  # the range of int8
                before[node.output[0]] = scale, shift
            elif node.op_type == "Mul":
                factor = constants[node.input[1]].ravel()
                before[node.output[0]] = scale * factor, shift * factor
            elif node.op_type in ("Add", "Sub"):
                term = constants[node.input[1]].ravel()
                term = term if node.op_type == "Add" else -term
                before[node.output[0]] = scale, shift + term
        known = [chain_of[name] for name in node.input if name in chain_of]
        if known:
            chain_of.update(dict.fromkeys(node.output, known[0]))
    return chains


def _simplified(file: Path) -> onnx.GraphProto:
    """The graph in float32, with constants computed, and scales folded into convolutions."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / file.name)
        content = unpacked(onnx.load(file)).SerializeToString()
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath).graph


def _padding(node: onnx.NodeProto) -> str:
    pads = next((list(each.ints) for each in node.attribute if each.name == "pads"), [])
    half = len(pads) // 2
    return "" if pads[:half] == pads[half:] else "same"


def _layer(
    node: onnx.NodeProto,
    constants: dict[str, NDArray[np.generic]],
    readers: dict[str, list[onnx.NodeProto]],
) -> Layer:
    """A layer together with the scale and the offset that follow it."""
    kind = node.op_type
    weights = constants[node.input[1]].astype(np.float32)
    axis = 1 if kind == "ConvTranspose" else 0
    outputs = weights.shape[axis]
    scale, offset = np.ones(outputs, np.float32), np.zeros(outputs, np.float32)
    if len(node.input) > 2:
        offset = constants[node.input[2]].astype(np.float32)
    while len(readers[node.output[0]]) == 1:
        (node,) = readers[node.output[0]]
        if node.op_type in SPATIAL:
            continue
        constant = constants.get(node.input[1]) if len(node.input) > 1 else None
        if constant is None or constant.size != outputs or node.op_type not in ("Mul", "Add"):
            break
        term = constant.ravel().astype(np.float32)
        if node.op_type == "Mul":
            scale, offset = scale * term, offset * term
        else:
            offset = offset + term
    shape = [1] * weights.ndim
    shape[axis] = outputs
    return Layer(kind, weights * scale.reshape(shape), offset)
