"""Further networks that are asked where the others are not sure, against each by itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.special import softmax

from models import store
from models.cards import read_network
from models.half import unpacked
from models.runtime import Network
from training import second_opinion, starting_weights
from training.errors import UserError
from training.second_opinion import Opinion

LABELS = ["Siamese", "pug", "boxer"]
SIDE = 8
BELOW = 0.7


def network(seed: int, scale: float) -> onnx.ModelProto:
    """Maps of three breeds by one convolution, and their means' softmax."""
    random = np.random.default_rng(seed)
    weights = {
        "kernel": scale * random.normal(size=(3, 3, 4, 4)),
        "bias": random.normal(size=3),
        "head": random.normal(size=(5, 3)),
        "nothing": np.zeros(5),
    }
    nodes = [
        helper.make_node("Conv", ["photo", "kernel", "bias"], ["class_activation"], strides=[4, 4]),
        helper.make_node("GlobalAveragePool", ["class_activation"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits_"]),
        helper.make_node("Softmax", ["logits_"], ["probabilities"], axis=1),
        helper.make_node("Gemm", ["logits_", "head", "nothing"], ["otherwise"], transB=1),
    ]
    shapes: dict[str, list[str | int | None]] = {
        "photo": ["batch", 3, SIDE, SIDE],
        "probabilities": ["batch", 3],
        "class_activation": ["batch", 3, SIDE // 4, SIDE // 4],
        "otherwise": ["batch", 5],
    }
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    constants = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    ]
    graph = helper.make_graph(nodes, "network", values[:1], values[1:], constants)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def answers(model: onnx.ModelProto, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"photo": batch})


def sure(maps: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether the largest probability of each photo's maps reaches the limit."""
    return softmax(maps.mean(axis=(2, 3)), axis=1).max(axis=1) >= BELOW


@pytest.fixture
def first() -> onnx.ModelProto:
    return network(0, 0.3)


@pytest.fixture
def second() -> onnx.ModelProto:
    return network(1, 0.5)


@pytest.fixture
def photos() -> NDArray[np.float32]:
    return np.random.default_rng(2).normal(size=(40, 3, SIDE, SIDE)).astype(np.float32)


def test_the_second_network_is_asked_only_where_the_first_is_not_sure(
    first: onnx.ModelProto, second: onnx.ModelProto, photos: NDArray[np.float32]
) -> None:
    probabilities, maps, otherwise = answers(first, photos)
    sure = probabilities.max(axis=1) >= BELOW
    assert 5 < sure.sum() < 35
    both = (maps + answers(second, photos)[1]) / 2 / 1.25
    expected = np.where(sure[:, None, None, None], maps, both)

    joined = second_opinion.join(first, [Opinion(second, temperature=1.25)], BELOW)
    onnx.checker.check_model(joined, full_check=True)
    found = answers(joined, photos)

    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    np.testing.assert_allclose(found[0], softmax(expected.mean(axis=(2, 3)), axis=1), atol=1e-5)
    np.testing.assert_array_equal(found[2], otherwise)
    # One by one as in a batch, and where a graph has no conditions.
    for index in (int(sure.argmax()), int(sure.argmin())):
        (alone, *_) = answers(joined, photos[index : index + 1])
        np.testing.assert_allclose(alone[0], found[0][index], atol=1e-6)
    for each, other in zip(answers(unpacked(joined), photos), found, strict=True):
        np.testing.assert_allclose(each, other, atol=1e-6)
    assert not any(node.op_type == "If" for node in unpacked(joined).graph.node)


def test_a_third_network_is_asked_only_where_the_mean_of_two_is_not_sure(
    first: onnx.ModelProto, second: onnx.ModelProto, photos: NDArray[np.float32]
) -> None:
    third = network(3, 0.6)
    scale = np.array([0.5, 2, 1], np.float32).reshape(3, 1, 1)
    shift = np.array([0.1, 0, -0.3], np.float32).reshape(3, 1, 1)
    maps = answers(first, photos)[1]
    two = (maps + answers(second, photos)[1]) / 2 / 1.25
    three = (2 * 1.25 * two + answers(third, scale * photos + shift)[1]) / 3 / 0.8

    asked = [int((~sure(maps)).sum()), int((~sure(maps) & ~sure(two)).sum())]
    assert 40 > asked[0] > asked[1] > 5
    expected = np.where(sure(two)[:, None, None, None], two, three)
    expected = np.where(sure(maps)[:, None, None, None], maps, expected)

    opinions = [Opinion(second, 1.25), Opinion(third, 0.8, scale, shift)]
    joined = second_opinion.join(first, opinions, BELOW)
    onnx.checker.check_model(joined, full_check=True)
    found = answers(joined, photos)

    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    np.testing.assert_allclose(found[0], softmax(expected.mean(axis=(2, 3)), axis=1), atol=1e-5)
    for index in range(len(photos)):
        (alone, *_) = answers(joined, photos[index : index + 1])
        np.testing.assert_allclose(alone[0], found[0][index], atol=1e-6)
    for each, other in zip(answers(unpacked(joined), photos), found, strict=True):
        np.testing.assert_allclose(each, other, atol=1e-6)
    network_ = Network(joined.SerializeToString(), photos[:1].shape, ["CPUExecutionProvider"])
    np.testing.assert_array_equal(network_.run_last(photos), answers(first, photos)[-1])


def test_the_second_network_is_not_computed_for_a_photo_that_is_sure(
    first: onnx.ModelProto, second: onnx.ModelProto, photos: NDArray[np.float32]
) -> None:
    # A network that fails if it runs: it takes the maps of the hundredth photo.
    number = numpy_helper.from_array(np.array([99], np.int64), "number")
    second.graph.initializer.append(number)
    second.graph.node[0].output[0] = "maps"
    second.graph.node.insert(
        1, helper.make_node("Gather", ["maps", "number"], ["class_activation"], axis=0)
    )
    joined = second_opinion.join(first, [Opinion(second)], BELOW)
    best = answers(first, photos)[0].max(axis=1)
    session = onnxruntime.InferenceSession(
        joined.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    session.run(None, {"photo": photos[best.argmax()][np.newaxis]})
    unsure = photos[best.argmin()][np.newaxis]
    with pytest.raises(Exception, match="Gather"):
        session.run(None, {"photo": unsure})
    # Nor for any photo where the limit is 0.
    off = np.zeros(1, np.float32)
    *_, otherwise = session.run(None, {"photo": unsure, "below": off})
    np.testing.assert_array_equal(otherwise, answers(first, unsure)[-1])


def test_a_network_sets_the_limit_to_0_for_the_last_output_alone(
    first: onnx.ModelProto,
    second: onnx.ModelProto,
    photos: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = second_opinion.join(first, [Opinion(second)], BELOW).SerializeToString()
    network = Network(content, photos[:1].shape, providers=["CPUExecutionProvider"])
    fed = []
    run = network._run

    def listen(
        batch: NDArray[np.float32], threads: int, off: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        fed.append(off)
        return run(batch, threads, off)

    monkeypatch.setattr(network, "_run", listen)
    np.testing.assert_array_equal(network.run_last(photos), answers(first, photos)[-1])
    network.run_all(photos)
    assert [dict(each) for each in fed] == [{"below": 0}, {}]


def write(folder: Path, name: str, model: onnx.ModelProto, **changes: object) -> None:
    content = model.SerializeToString()
    half = [0.5, 0.5, 0.5]
    card = {
        "task": "classification",
        "architecture": f"net of {name}",
        "parameters": 99,
        "labels": [{"name": each, "species": "dog"} for each in LABELS],
        "input": {
            **{"height": SIDE, "width": SIDE, "resize": "squash", "interpolation": "bicubic"},
            **{"mean": half, "std": half, "layout": "NCHW"},
        },
        "output": {"layout": "NC", "temperature": 0.9, "second": "maps"},
        "training": {"data": "Oxford-IIIT Pet", "epochs": 8, "command": f"train {name}"},
        "metrics": {"end of training": {"top1": 0.9}, "test": {"top1": 0.91}},
        "evidence": {"on_pet": 0.9},
        "export": {"command": f"export {name}"},
        "sha256": hashlib.sha256(content).hexdigest(),
        **changes,
    }
    (folder / f"{name}.onnx").write_bytes(content)
    (folder / f"{name}.json").write_text(json.dumps(card))


def test_the_card_tells_of_both_networks_and_drops_what_was_measured_of_one(
    first: onnx.ModelProto, second: onnx.ModelProto, tmp_path: Path, photos: NDArray[np.float32]
) -> None:
    write(tmp_path, "one", first)
    write(tmp_path, "two", second)

    words = ["one", str(tmp_path / "two.onnx"), "--models", str(tmp_path), "--below", str(BELOW)]
    second_opinion.main(words)

    card = store.read_card("one", tmp_path)
    told = card.facts["second_opinion"]
    assert told["architecture"] == "net of two"
    assert told["training"]["command"] == "train two"
    assert told["temperatures"] == [0.9, 0.9, 1.0]
    assert told["below"] == BELOW
    assert list(card.facts["metrics"]) == ["end of training"]
    assert "evidence" not in card.facts
    joined = onnx.load_from_string(read_network(card, tmp_path))
    expected = answers(second_opinion.join(first, [Opinion(second)], BELOW), photos)[0]
    np.testing.assert_array_equal(answers(joined, photos)[0], expected)
    with pytest.raises(UserError, match="has a second opinion already"):
        second_opinion.main(words)


def test_the_card_tells_of_a_third_network_with_a_range_of_its_own(
    first: onnx.ModelProto, second: onnx.ModelProto, tmp_path: Path, photos: NDArray[np.float32]
) -> None:
    third = network(3, 0.6)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    start = {"project": "timm"}
    write(tmp_path, "one", first)
    write(tmp_path, "two", second, starting_weights=start)
    spec = {
        **{"height": SIDE, "width": SIDE, "resize": "squash", "interpolation": "bicubic"},
        **{"mean": mean, "std": std, "layout": "NCHW"},
    }
    write(tmp_path, "three", third, input=spec, starting_weights=start)
    files = [str(tmp_path / f"{name}.onnx") for name in ("two", "three")]
    words = ["one", *files, "--models", str(tmp_path), "--below", str(BELOW)]
    with pytest.raises(UserError, match="2 further networks need as many temperatures"):
        second_opinion.main([*words, "--temperature", "1.1"])
    second_opinion.main([*words, "--temperature", "1.1", "0.95"])

    card = store.read_card("one", tmp_path)
    told = card.facts["second_opinion"]
    assert told["architecture"] == "net of two + net of three"
    assert told["parameters"] == 2 * 99
    assert told["training"]["command"] == "train two && train three"
    assert told["training"]["epochs"] == 16
    assert told["temperatures"] == [0.9, 0.9, 0.9, 1.1, 0.95]
    assert starting_weights.listed(card.facts) == [start, start]
    joined = onnx.load_from_string(read_network(card, tmp_path))

    def shown(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        own_mean, own_std = (np.array(each, np.float32).reshape(3, 1, 1) for each in (mean, std))
        return (batch * 0.5 + 0.5 - own_mean) / own_std

    alone = answers(joined, photos)[1]
    one, two, three = (
        answers(each, batch)[1]
        for each, batch in ((first, photos), (second, photos), (third, shown(photos)))
    )
    pair, all_three = (one + two) / 2 / 1.1, (one + two + three) / 3 / 0.95

    expected = np.where(sure(pair)[:, None, None, None], pair, all_three)
    expected = np.where(sure(one)[:, None, None, None], one, expected)
    np.testing.assert_allclose(alone, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [{"name": each} for each in "abc"]}, "different classes"),
        ({"output": {"layout": "NC"}}, "no classifier with class-activation maps"),
    ],
)
def test_models_that_do_not_fit_together_stay_as_they_are(
    first: onnx.ModelProto,
    second: onnx.ModelProto,
    tmp_path: Path,
    changes: dict[str, object],
    message: str,
) -> None:
    write(tmp_path, "one", first)
    write(tmp_path, "two", second, **changes)
    before = (tmp_path / "one.onnx").read_bytes()
    with pytest.raises(UserError, match=message):
        second_opinion.main(["one", str(tmp_path / "two.onnx"), "--models", str(tmp_path)])
    assert (tmp_path / "one.onnx").read_bytes() == before
