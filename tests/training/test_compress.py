"""Smaller files of the same network: what is rounded, what stays, and what is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models import store
from models.cards import read_network
from models.preprocessing import InputSpec, prepare
from training import compress, quantization
from training.graphs import simplify

CHANNELS = 16


def spec(side: int) -> dict[str, object]:
    half = [0.5, 0.5, 0.5]
    size = {"height": side, "width": side, "resize": "squash", "interpolation": "bilinear"}
    return {**size, "mean": half, "std": half, "layout": "NCHW"}


@pytest.fixture
def network() -> onnx.ModelProto:
    """A convolution, a transposed one followed by batch norm, and a softmax."""
    random = np.random.default_rng(0)
    weights = {
        "kernel": random.normal(size=(CHANNELS, 3, 3, 3)),
        "bias": random.normal(size=CHANNELS),
        "up": random.normal(size=(CHANNELS, 3, 3, 3)) * np.array([1, 10, 100])[:, None, None] / 100,
        "scale": random.normal(size=(1, 3, 1, 1)),
        "shift": random.normal(size=(1, 3, 1, 1)),
    }
    up: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["photo", "kernel", "bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ConvTranspose", ["b", "up"], ["c"], **up),
        helper.make_node("Mul", ["c", "scale"], ["d"]),
        helper.make_node("Add", ["d", "shift"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, height, "width"])
        for name, height in (("photo", "height"), ("probabilities", "twice"))
    ]
    constants = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    ]
    graph = helper.make_graph(nodes, "network", values[:1], values[1:], constants)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


@pytest.fixture
def unet() -> onnx.ModelProto:
    """A convolution that halves, a doubling, and convolutions of it beside the photo."""
    random = np.random.default_rng(4)
    weights = {
        "down": random.normal(size=(CHANNELS, 3, 3, 3)) / 5,
        "down_bias": random.normal(size=CHANNELS),
        "twice": np.array([1, 1, 2, 2]),
        "up": random.normal(size=(CHANNELS, CHANNELS + 3, 3, 3)) / 20,
        "up_bias": random.normal(size=CHANNELS),
        "last": random.normal(size=(3, CHANNELS, 1, 1)) / 5,
        "last_bias": random.normal(size=3),
    }
    resize = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["photo", "down", "down_bias"], ["a"], strides=[2, 2], pads=pads),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Resize", ["b", "", "twice"], ["c"], nearest_mode="floor", **resize),
        helper.make_node("Concat", ["c", "photo"], ["d"], axis=1),
        helper.make_node("Conv", ["d", "up", "up_bias"], ["e"], pads=pads),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("Conv", ["f", "last", "last_bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", "width"])
        for name in ("photo", "probabilities")
    ]
    constants = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    ]
    graph = helper.make_graph(nodes, "unet", values[:1], values[1:], constants)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


@pytest.fixture
def photos() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (24, 30, 3), dtype=np.uint8) for _ in range(2)]


def write(network: onnx.ModelProto, folder: Path) -> Path:
    """Write a network and its card into a folder; return the folder."""
    content = network.SerializeToString()
    (folder / "pet.onnx").write_bytes(content)
    card = {
        "task": "segmentation",
        "labels": [{"name": "pet"}, {"name": "background"}, {"name": "border"}],
        "input": spec(16),
        "output": {"layout": "NCHW"},
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / "pet.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def folder(network: onnx.ModelProto, tmp_path: Path) -> Path:
    return write(network, tmp_path)


def answer(model: onnx.ModelProto | bytes, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content).run(None, {"photo": batch})[0]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_a_simpler_graph_gives_the_same_answers(network: onnx.ModelProto) -> None:
    simple = simplify(network)
    onnx.checker.check_model(simple, full_check=True)
    assert "Softmax" not in kinds(simple)
    assert "Mul" not in kinds(simple)
    batch = np.random.default_rng(2).normal(size=(2, 3, 8, 6)).astype(np.float32) * 50
    np.testing.assert_allclose(answer(simple, batch), answer(network, batch), atol=1e-5)
    assert kinds(simplify(simple)) == kinds(simple)


@pytest.mark.parametrize(("shape", "channels"), [((8, 5, 3, 3), 0), ((5, 8, 3, 3), 1), ((8, 9), 0)])
def test_int8_is_as_near_as_half_a_step_of_each_output_channel(
    shape: tuple[int, ...], channels: int
) -> None:
    value = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    scales = np.logspace(-3, 3, 8).astype(np.float32)
    value = np.moveaxis(np.moveaxis(value, channels, -1) * scales, -1, channels)
    weights, scale = compress.round_weights(value, 1, channels)
    assert weights.dtype == np.int8
    decoded = compress.decode((weights, scale))
    error = np.moveaxis(np.abs(decoded - value), channels, 0).reshape(8, -1).max(axis=1)
    largest = np.moveaxis(np.abs(value), channels, 0).reshape(8, -1).max(axis=1)
    assert (error <= largest / 254 * 1.001).all()


def test_a_channel_without_weights_stays_zero() -> None:
    value = np.zeros((2, 3, 1, 1), np.float32)
    assert not compress.decode(compress.round_weights(value, 1)).any()


def test_the_file_holds_rounded_weights_and_its_card_says_so(
    folder: Path, photos: list[NDArray[np.uint8]]
) -> None:
    before = (folder / "pet.onnx").read_bytes()
    card = store.read_card("pet", folder)
    compress.compress(card, folder, folder, photos, int8_from=400)
    after = store.read_card("pet", folder)
    content = read_network(after, folder)  # checks its SHA-256
    stored = [each.data_type for each in onnx.load_from_string(content).graph.initializer]
    assert stored.count(TensorProto.INT8) == 2
    done = after.facts["compression"]
    assert done["largest_difference"] < 1e-3
    assert done["bytes"] == len(content)
    assert done["bytes_before"] == len(before)
    assert after.input == card.input
    batch = np.random.default_rng(2).normal(size=(2, 3, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(answer(content, batch), answer(before, batch), atol=0.05)


def test_a_compressed_model_is_not_compressed_again(
    folder: Path, photos: list[NDArray[np.uint8]]
) -> None:
    compress.compress(store.read_card("pet", folder), folder, folder, photos)
    with pytest.raises(compress.CompressError, match="before"):
        compress.compress(store.read_card("pet", folder), folder, folder, photos)


def test_a_graph_that_answers_differently_is_not_written(
    folder: Path, photos: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: onnx.ModelProto, spec: InputSpec) -> onnx.ModelProto:
        simple = simplify(model, spec)
        for tensor in simple.graph.initializer:
            if tensor.name == "bias":
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, "bias"))
        return simple

    before = (folder / "pet.onnx").read_bytes()
    monkeypatch.setattr(compress, "simplify", wrong)
    with pytest.raises(compress.CompressError, match="not compressed"):
        compress.compress(store.read_card("pet", folder), folder, folder / "new", photos)
    assert (folder / "pet.onnx").read_bytes() == before
    assert not (folder / "new").exists()


def test_int8_answers_nearly_the_same_with_weights_that_no_processor_overflows(
    unet: onnx.ModelProto, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    folder = write(unet, tmp_path)
    before = (folder / "pet.onnx").read_bytes()
    card = store.read_card("pet", folder)
    compress.compress(card, folder, folder, photos[:1], learned=photos)
    after = store.read_card("pet", folder)
    content = read_network(after, folder)
    model = onnx.load_from_string(content)
    stored = {
        each.name: numpy_helper.to_array(each)
        for each in model.graph.initializer
        if len(each.dims) == 4
    }
    assert [weights.dtype for weights in stored.values()] == [np.int8] * 3
    # Two products of a uint8 and a weight, added in 16 bits, as x86's `vpmaddubsw` does.
    largest = max(np.abs(weights.astype(int)).max() for weights in stored.values())
    assert 2 * 255 * largest < 2**15
    batch = np.concatenate([prepare(photo, after.input) for photo in photos])
    np.testing.assert_allclose(answer(content, batch), answer(before, batch), atol=0.03)
    assert after.facts["compression"]["computed"].startswith("in int8")
    assert "encoder" not in after.facts["compression"]["computed"]
    assert 0 < after.facts["compression"]["mean_difference"] < 0.005


def test_an_encoder_whose_channels_have_very_different_ranges_stays_in_float32(
    unet: onnx.ModelProto, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    # A first layer makes red 3,000 times as large as the others, which the next one takes back.
    spread = np.array([3e3, 1, 1], np.float32)
    constants = {each.name: each for each in unet.graph.initializer}
    down = numpy_helper.to_array(constants["down"]) / spread[:, None, None]
    constants["down"].CopyFrom(numpy_helper.from_array(down, "down"))
    unet.graph.initializer.append(
        numpy_helper.from_array(np.diag(spread)[..., None, None], "spread")
    )
    first = helper.make_node("Conv", ["photo", "spread"], ["uneven"])
    unet.graph.node[0].input[0] = "uneven"
    unet.graph.node.insert(0, first)
    folder = write(unet, tmp_path)
    card = store.read_card("pet", folder)
    done = compress.compress(card, folder, folder, photos[:1], learned=photos)
    model = onnx.load(folder / "pet.onnx")
    kinds_of = {
        each.name.rsplit("_", 1)[0]: numpy_helper.to_array(each).dtype
        for each in model.graph.initializer
        if len(each.dims) == 4
    }
    assert kinds_of.pop("spread") == np.float32  # too few weights to be worth rounding
    assert kinds_of.pop("down") == np.float16
    assert list(kinds_of.values()) == [np.int8, np.int8]
    assert done["computed"].endswith("and the encoder in float32")
    assert 0 < done["mean_difference"] < 0.005


def test_int8_with_ranges_of_other_photos_is_not_written(
    unet: onnx.ModelProto, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    folder = write(unet, tmp_path)
    before = (folder / "pet.onnx").read_bytes()
    gray = [np.full_like(photo, 127) for photo in photos]
    with pytest.raises(compress.CompressError, match="In int8"):
        compress.compress(store.read_card("pet", folder), folder, folder, photos, learned=gray)
    assert (folder / "pet.onnx").read_bytes() == before


def test_rounded_weights_do_not_change_a_network_s_mean_answers() -> None:
    # In 7 bits, the small weights of each output become 0, though all of them count the same way.
    kernel = np.full((16, 8, 1, 1), 0.007, np.float32)
    kernel[:, 0] = 1
    constants = [
        numpy_helper.from_array(kernel, "kernel"),
        numpy_helper.from_array(np.zeros(16, np.float32), "bias"),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, 8, 8])
        for name, channels in (("photo", 8), ("maps", 16))
    ]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["photo", "kernel", "bias"], ["maps"])],
        "convolution",
        values[:1],
        values[1:],
        constants,
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    random = np.random.default_rng(0)
    batches = [random.uniform(size=(1, 8, 8, 8)).astype(np.float32) for _ in range(4)]
    fast = quantization.quantize(model, batches)
    error = np.mean([answer(fast, batch) - answer(model, batch) for batch in batches])
    assert abs(error) < 0.007 * 7 * 0.5 / 10  # a tenth of what the lost weights had added


def test_a_convolution_of_few_outputs_answers_the_same_with_more(network: onnx.ModelProto) -> None:
    narrow = onnx.ModelProto()
    narrow.CopyFrom(network)
    random = np.random.default_rng(3)
    last = [
        numpy_helper.from_array(random.normal(size=(3, 3, 1, 1)).astype(np.float32), "last"),
        numpy_helper.from_array(random.normal(size=3).astype(np.float32), "last_bias"),
    ]
    narrow.graph.initializer.extend(last)
    convolution = helper.make_node("Conv", ["logits", "last", "last_bias"], ["narrow"])
    narrow.graph.node[-1].input[0] = "narrow"
    narrow.graph.node.insert(len(narrow.graph.node) - 1, convolution)
    batch = random.normal(size=(2, 3, 8, 6)).astype(np.float32)
    wide = quantization.widen(narrow)
    onnx.checker.check_model(wide, full_check=True)
    shapes = [list(each.dims) for each in wide.graph.initializer]
    assert [16, 3, 1, 1] in shapes
    np.testing.assert_allclose(answer(wide, batch), answer(narrow, batch), atol=1e-6)
