"""Networks that compute in float16, which a GPU does several times as fast as in float32."""

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model that computes in float16; its input and outputs stay float32.

    Weights that are stored as float16 are used as they are stored.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _unpack(copy.graph)
    converted = convert_float_to_float16(copy, keep_io_types=True)
    _sort(converted.graph)
    return converted


def _sort(graph: onnx.GraphProto) -> None:
    """Put each node behind those that it needs, as the format wants it."""
    waiting = list(graph.node)
    made = {"", *(each.name for each in graph.input), *(each.name for each in graph.initializer)}
    del graph.node[:]
    while waiting:
        ready = [node for node in waiting if made.issuperset(node.input)]
        graph.node.extend(ready)
        made.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not made.issuperset(node.output)]


def _unpack(graph: onnx.GraphProto) -> None:
    """Replace the constants that nodes turn into float32 by float32 constants."""
    constants = {each.name: each for each in graph.initializer}
    unpacked = {}
    for node in [node for node in graph.node if node.op_type == "Cast"]:
        if node.input[0] in constants:
            value = numpy_helper.to_array(constants[node.input[0]]).astype(np.float32)
            unpacked[node.output[0]] = numpy_helper.from_array(value, node.output[0])
            graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *unpacked.values()])
