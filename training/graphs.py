"""The same network in fewer and faster operations.

Exporters write correct graphs, but not always the ones that ONNX Runtime runs fastest. `simplify`
rewrites the patterns that cost most in the embedded models, and leaves the rest unchanged.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
from onnx import helper

from models.onnx_graph import Graph, attributes
from models.preprocessing import InputSpec
from training.upsampling import convolve_before_doubling


def simplify(model: onnx.ModelProto, spec: InputSpec | None = None) -> onnx.ModelProto:
    """Rewrite the known patterns of a float32 model; its answers change only by rounding.

    The names of inputs, outputs and unchanged weights stay the same.

    Parameters
    ----------
    model
        As an exporter wrote it.
    spec
        The model's input. Without it, patterns that depend on sizes are left alone.
    """
    simpler = onnx.ModelProto()
    simpler.CopyFrom(model)
    graph = Graph(simpler, spec.batch_shape(1) if spec else ())
    rewrites: list[tuple[str, Callable[[Graph, onnx.NodeProto], None]]] = [
        ("ConvTranspose", _crop_by_padding),
        ("ConvTranspose", _fold_batch_norm),
        ("Softmax", _spread_softmax),
    ]
    if spec:
        rewrites.append(("Resize", partial(convolve_before_doubling, spec=spec)))
    for kind, rewrite in rewrites:
        for output in [node.output[0] for node in graph.proto.node if node.op_type == kind]:
            rewrite(graph, graph.maker(output))
            graph.remove_unused()
    return simpler


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
    if len(graph.shapes.get(probabilities, ())) != 4 or attributes(node).get("axis") != 1:
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
