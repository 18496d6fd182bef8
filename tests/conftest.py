"""A Hub without a network, and models small enough to upload to it."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from huggingface_hub import constants
from onnx import TensorProto, helper, numpy_helper

from tests.hub import FakeHub

# Slow files come first: begun last, they would leave all workers but one idle.
LONG = ("training", "batch", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = dict(zip(LONG, range(len(LONG)), strict=True))
    items.sort(key=lambda item: order.get(item.path.parent.name, len(LONG)))


@pytest.fixture
def hub(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeHub]:
    """A Hub, a login and an empty cache, for this process and its children."""
    home = tmp_path_factory.mktemp("huggingface")
    hub = FakeHub(xet=home / "xet-storage")
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_test",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    # In this process, the library has already read its settings.
    loaded: dict[str, object] = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
    }
    for name, known in loaded.items():
        monkeypatch.setattr(constants, name, known)
    yield hub
    hub.stop()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a breed and a mask model, as after export and evaluation."""
    folder = tmp_path_factory.mktemp("tiny-models")
    breeds = [helper.make_node("ReduceMean", ["photo", "axes"], ["logits"], keepdims=0)]
    _write(
        folder / "breeds.onnx",
        breeds,
        output_axes=2,
        task="classification",
        labels=[{"name": name, "species": "dog"} for name in ("Beagle", "Boxer", "Pug")],
        layouts=("NCHW", "NC"),
        metrics={
            "test": {
                "command": "python -m training.evaluate breeds --split test --write",
                "pictures": 3669,
                "size": 288,
                "top1": 0.892886345053148,
                "top1_per_breed": {f"breed {number}": number / 40 for number in range(37)},
            },
        },
    )
    pet = [helper.make_node("Identity", ["photo"], ["logits"])]
    _write(
        folder / "pet.onnx",
        pet,
        output_axes=4,
        task="segmentation",
        labels=[{"name": name} for name in ("pet", "background", "border")],
        layouts=("NHWC", "NHWC"),
        metrics={
            "end of training": {"split": "validation", "pictures": 369, "miou": 0.7722936272621155},
            "test, dogs": {
                "pictures": 3662,
                "at 128 px": {"pixel_accuracy": 0.920760400043948, "iou": {"pet": 0.86128024}},
            },
        },
    )
    return folder


def _write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    output_axes: int,
    task: str,
    labels: Sequence[dict[str, str]],
    layouts: tuple[str, str],
    metrics: dict[str, Any],
) -> None:
    """Write `softmax(nodes(photo))` with its card."""
    softmax = helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1)
    graph = helper.make_graph(
        [*nodes, softmax],
        path.stem,
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, list("abcd"))],
        [
            helper.make_tensor_value_info(
                "probabilities", TensorProto.FLOAT, list("efgh")[:output_axes]
            )
        ],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content = model.SerializeToString()
    path.write_bytes(content)
    card = {
        "task": task,
        "architecture": "a mean",
        "framework": "timm",
        "parameters": 0,
        "license": "apache-2.0",
        "labels": labels,
        "input": {
            "height": 16,
            "width": 24,
            "resize": "squash",
            "interpolation": "bilinear",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "layout": layouts[0],
            "color": "RGB",
        },
        "output": {"layout": layouts[1], "meaning": "softmax probabilities"},
        "training": {"data": "Oxford-IIIT Pet", "epochs": 12, "command": "python -m training.x"},
        "metrics": metrics,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(card))
