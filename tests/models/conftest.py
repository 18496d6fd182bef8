"""Tiny networks with their cards, and a timer that is robust against other programs."""

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from models import breeds, detection, segmentation, store
from models.preprocessing import InputSpec

AddModel = Callable[..., Path]
Clock = Callable[[Callable[[], object], float], float]

TOO_LONG = 60  # seconds after which no further round is begun

# The masks' classes in the order of the network's output.
MASK_LABELS = ({"name": "pet"}, {"name": "background"}, {"name": "border"})


# A red pixel is of the first class, a green one of the second, a blue one of the third.
SURE = np.eye(3) * 10


@pytest.fixture
def fresh_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Loaded models are forgotten before and after, and the embedded ones are used."""
    monkeypatch.delenv(store.SOURCE_VARIABLE, raising=False)
    kept = (store.resolve, segmentation.load, breeds.load, detection.load)
    for load in kept:
        load.cache_clear()
    yield monkeypatch
    for load in kept:
        load.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, fresh_models: pytest.MonkeyPatch) -> Path:
    """An empty folder from which models are loaded."""
    fresh_models.setenv(store.SOURCE_VARIABLE, str(tmp_path))
    fresh_models.setattr(store, "EMBEDDED", tmp_path)  # no models from elsewhere
    return tmp_path


@pytest.fixture
def add_segmenter(folder: Path) -> AddModel:
    """Writes a mask model, `softmax(weights @ normalized pixel)`, into the folder.

    Where `halved`, its answer has half its input's size.
    """

    def add(
        name: str = "pet",
        weights: ArrayLike = SURE,
        labels: Sequence[dict[str, str]] = MASK_LABELS,
        fixed: bool = False,
        halved: bool = False,
        **changes: Any,  # noqa: ANN401
    ) -> Path:
        card = make_card("segmentation", labels, output="NHWC", **changes)
        to_nhwc, pixels = as_nhwc(card["input"]["layout"])
        matrix = np.asarray(weights, np.float32).T
        side = 2 if halved else 1
        nodes = [
            *to_nhwc,
            helper.make_node("MatMul", [pixels, "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["in_nhwc"], axis=-1),
            helper.make_node("Transpose", ["in_nhwc"], ["in_nchw"], perm=[0, 3, 1, 2]),
            # Half the size: the mean of each 2 x 2 pixels.
            helper.make_node(
                *("AveragePool", ["in_nchw"], ["answer"]),
                kernel_shape=[side] * 2,
                strides=[side] * 2,
            ),
            helper.make_node(
                "Transpose",
                ["answer"],
                ["probabilities"],
                perm=[0, 1, 2, 3] if card["output"]["layout"] == "NCHW" else [0, 2, 3, 1],
            ),
        ]
        outputs = {"probabilities": 4}
        return write_model(folder, name, card, nodes, {"weights": matrix}, outputs, fixed)

    return add


@pytest.fixture
def add_classifier(folder: Path) -> AddModel:
    """Writes a breed model, `softmax(weights @ mean of the normalized pixels)`, into the folder."""

    def add(
        name: str = "breeds",
        weights: ArrayLike = SURE,
        labels: Sequence[dict[str, str]] = (),
        activation: bool = False,
        others: ArrayLike | None = None,
        **changes: Any,  # noqa: ANN401
    ) -> Path:
        matrix = np.asarray(weights, np.float32).T
        labels = labels or [{"name": f"breed {i}", "species": "cat"} for i in range(len(matrix.T))]
        card = make_card("classification", labels, output="NC", **changes)
        to_nhwc, pixels = as_nhwc(card["input"]["layout"])
        nodes = [
            *to_nhwc,
            helper.make_node("ReduceMean", [pixels, "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        ]
        if activation:  # a second output: how much each pixel supports each breed
            nodes += [
                helper.make_node("MatMul", [pixels, "weights"], ["places"]),
                helper.make_node("Transpose", ["places"], ["class_activation"], perm=[0, 3, 1, 2]),
            ]
        tensors: dict[str, NDArray[Any]] = {"weights": matrix, "axes": np.array([1, 2], np.int64)}
        outputs = {"probabilities": 2, **({"class_activation": 4} if activation else {})}
        if others is not None:  # the logits of a second head
            tensors["others"] = np.asarray(others, np.float32).T
            nodes.append(helper.make_node("MatMul", ["means", "others"], ["otherwise"]))
            outputs["otherwise"] = 2
        return write_model(folder, name, card, nodes, tensors, outputs)

    return add


def as_nhwc(layout: str) -> tuple[list[onnx.NodeProto], str]:
    if layout == "NHWC":
        return [], "photo"
    return [helper.make_node("Transpose", ["photo"], ["pixels"], perm=[0, 2, 3, 1])], "pixels"


def make_card(
    task: str,
    labels: Sequence[dict[str, str]],
    output: str,
    **changes: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """A card with those fields of `training.export.make_card` that the app reads."""
    size = {"height": changes.pop("height", 24), "width": changes.pop("width", 32)}
    spec = {
        **size,
        "resize": changes.pop("resize", "squash"),
        "multiple": changes.pop("multiple", 1),
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "layout": changes.pop("layout", "NHWC"),
        "color": "RGB",
    }
    return {
        "task": task,
        "architecture": "one matrix",
        "labels": list(labels),
        "input": spec,
        "output": {"layout": changes.pop("output_layout", output), "meaning": "probabilities"},
        **changes,
    }


def write_model(
    folder: Path,
    name: str,
    card: dict[str, Any],
    nodes: Sequence[onnx.NodeProto],
    tensors: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, int],
    fixed: bool = False,
) -> Path:
    """Write `NAME.onnx`, all of its sizes dynamic, and `NAME.json`; return the card's path.

    `outputs` gives the number of axes of each output; `fixed` networks accept only the card's size.
    """
    shape: list[Any] = list("abcd")
    if fixed:
        shape = ["batch", *InputSpec(**card["input"]).batch_shape(1)[1:]]
    graph = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(
                output, TensorProto.FLOAT, [f"{output}_{axis}" for axis in range(axes)]
            )
            for output, axes in outputs.items()
        ],
        [numpy_helper.from_array(tensor, key) for key, tensor in tensors.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10, producer_name="tests"
    )
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    (folder / f"{name}.onnx").write_bytes(content)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**card, "sha256": hashlib.sha256(content).hexdigest()}))
    return path


@pytest.fixture
def median_seconds() -> Clock:
    """Median time of 30 calls after a warm-up: the best of up to 5 rounds.

    Other programs can slow a round down but never speed one up, so the first round within the limit
    is enough. What is far too slow is not tried for many minutes.
    """

    def measure(action: Callable[[], object], limit: float) -> float:
        begun = time.perf_counter()
        for _ in range(3):
            action()
        best = float("inf")
        for _ in range(5):
            times = []
            for _ in range(30):
                start = time.perf_counter()
                action()
                times.append(time.perf_counter() - start)
                if times[-1] > limit and time.perf_counter() - begun > TOO_LONG:
                    break
            best = min(best, statistics.median(times))
            if best <= limit or time.perf_counter() - begun > TOO_LONG:
                break
        return best

    return measure
