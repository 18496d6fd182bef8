"""Convolutions in front of a doubling give what they give behind it."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.preprocessing import InputSpec
from training.graphs import simplify
from training.upsampling import phase_kernel

HALF = (0.5, 0.5, 0.5)
SPEC = InputSpec(16, 24, "squash", "bilinear", HALF, HALF, "NCHW")
REPEATING = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
SMALL, OUTPUTS = 5, 4


def network(joined: bool = True, activated: bool = True, **resize: Any) -> onnx.ModelProto:  # noqa: ANN401
    """A level of a U-Net: down, up again, joined with what was there, and a convolution."""
    random = np.random.default_rng(0)
    channels = SMALL + 3 * joined
    weights = {
        "down": random.normal(size=(SMALL, 3, 3, 3)),
        "kernel": random.normal(size=(OUTPUTS, channels, 3, 3)),
        "bias": random.normal(size=OUTPUTS),
        "twice": np.array([1, 1, 2, 2]),
    }
    last = "convolved" if activated else "answer"
    up = {"nearest_mode": "floor", **REPEATING, **resize}
    nodes = [
        helper.make_node("Conv", ["photo", "down"], ["small"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["small", "", "twice"], ["doubled"], **up),
        helper.make_node("Concat", ["doubled", "photo"], ["joined"], axis=1),
        helper.make_node(
            "Conv", ["joined" if joined else "doubled", "kernel", "bias"], [last], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["convolved"], ["answer"]),
    ]
    kept = [node for node in nodes if joined or node.op_type != "Concat"][
        : None if activated else -1
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", count, "height", "width"])
        for name, count in (("photo", 3), ("answer", OUTPUTS))
    ]
    constants = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    ]
    graph = helper.make_graph(kept, "level", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answer(model: onnx.ModelProto, photos: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"photo": photos})[0]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("activated", [True, False])
def test_answers_stay_the_same_for_any_size_and_batch(joined: bool, activated: bool) -> None:
    before = network(joined, activated)
    after = simplify(before, SPEC)
    onnx.checker.check_model(after, full_check=True)
    assert "Resize" not in kinds(after)
    random = np.random.default_rng(1)
    for shape in ((1, 3, 16, 24), (2, 3, 8, 6), (3, 3, 2, 2)):
        photos = random.normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(
            answer(after, photos), answer(before, photos), rtol=1e-5, atol=1e-4
        )


def test_a_phase_is_what_pytorch_gives_behind_the_doubling() -> None:
    random = np.random.default_rng(2)
    kernel = random.normal(size=(2, 3, 3, 3)).astype(np.float32)
    small = torch.from_numpy(random.normal(size=(1, 3, 4, 5)).astype(np.float32))
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="nearest")
    expected = torch.nn.functional.conv2d(large, torch.from_numpy(kernel), padding=1)
    phases = torch.nn.functional.conv2d(small, torch.from_numpy(phase_kernel(kernel)), padding=1)
    found = phases.reshape(2, 2, 2, 5, 6)  # rows and columns of the phase, outputs, places
    for row, column in np.ndindex(2, 2):
        # A place's upper left phase lies one pixel up and left of twice its own position.
        rows, columns = slice(1 - row, 5 - row), slice(1 - column, 6 - column)
        torch.testing.assert_close(
            found[row, column][:, rows, columns],
            expected[0, :, 1 - row :: 2, 1 - column :: 2],
            atol=1e-5,
            rtol=1e-5,
        )


@pytest.mark.parametrize(
    "resize",
    [
        {"coordinate_transformation_mode": "half_pixel", "mode": "linear"},
        {"nearest_mode": "ceil"},
    ],
)
def test_other_ways_to_enlarge_are_left_alone(resize: dict[str, Any]) -> None:
    before = network(**resize)
    assert kinds(simplify(before, SPEC)) == kinds(before)


def test_without_a_known_size_nothing_changes() -> None:
    before = network()
    assert kinds(simplify(before)) == kinds(before)
