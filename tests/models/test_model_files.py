"""The embedded models are data: they contain no code, and match their cards."""

import hashlib

import onnx
import pytest

from models import store

OWN_OPERATORS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}  # ONNX Runtime has all of these


@pytest.mark.parametrize("name", store.names(folder=store.EMBEDDED))
def test_a_model_brings_no_code_and_no_other_file(name: str) -> None:
    path = store.EMBEDDED / f"{name}.onnx"
    model = onnx.load(path, load_external_data=False)

    assert {node.domain for node in model.graph.node} <= OWN_OPERATORS
    assert {used.domain for used in model.opset_import} <= OWN_OPERATORS
    assert not model.functions
    assert not any(
        tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer
    )
    card = store.read_card(name, store.EMBEDDED)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card.sha256
