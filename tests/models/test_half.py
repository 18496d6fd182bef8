"""The embedded networks in float16, and in PyTorch, against ONNX Runtime in float32."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models import store
from models.half import half, unpacked
from models.images import open_photo
from models.preprocessing import prepare
from training.networks.onnx_network import OnnxNetwork

CAT = Path(__file__).parents[2] / "examples" / "cat_chelsea.png"
NAMES = [card.name for card in store.defaults()]


def load(name: str) -> tuple[onnx.ModelProto, np.ndarray]:
    """A network, in float32 alone, and a photo."""
    photo = prepare(open_photo(CAT), store.read_card(name).input)
    return unpacked(onnx.load(store.EMBEDDED / f"{name}.onnx")), photo


def answers(
    model: onnx.ModelProto, photo: np.ndarray, below: float | None = None
) -> list[np.ndarray]:
    """Its outputs; `below` is the limit below which it asks further networks, if it has any."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    limits = session.get_overridable_initializers() if below is not None else []
    given = {limit.name: np.full(limit.shape, below, np.float32) for limit in limits}
    return session.run(None, {session.get_inputs()[0].name: photo, **given})


@pytest.mark.parametrize("name", NAMES)
def test_unpacked_weights_change_nothing_but_what_int8_loses(name: str) -> None:
    model, photo = load(name)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert kinds <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}

    packed = onnx.load(store.EMBEDDED / f"{name}.onnx")

    # All networks are asked: the same step in int8 may decide whether a probability is the limit.
    pairs = zip(answers(packed, photo, below=2), answers(model, photo, below=2), strict=True)
    for expected, found in pairs:
        # Logits have a wider range than probabilities, and as many steps of int8.
        assert np.abs(found - expected).mean() < max(0.01, 0.05 * expected.std())


@pytest.mark.parametrize("name", NAMES)
def test_a_network_in_float16_says_about_the_same(name: str) -> None:
    model, photo = load(name)

    halved = half(model)

    onnx.checker.check_model(halved, full_check=True)
    kinds = {tensor.data_type for tensor in halved.graph.initializer}
    floats = [tensor for tensor in halved.graph.initializer if tensor.data_type == 1]
    assert onnx.TensorProto.FLOAT16 in kinds
    assert all(len(tensor.dims) < 2 for tensor in floats)  # factors that sizes are scaled by
    for expected, found in zip(answers(model, photo), answers(halved, photo), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=max(0.05, 0.05 * expected.std()))


@pytest.mark.parametrize("name", NAMES)
def test_pytorch_computes_the_same_graph(name: str) -> None:
    model, photo = load(name)

    with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
        found = OnnxNetwork(model).answers(torch.from_numpy(photo))

    for expected, each in zip(answers(model, photo), found, strict=True):
        np.testing.assert_allclose(each.numpy(), expected, atol=2e-3)
