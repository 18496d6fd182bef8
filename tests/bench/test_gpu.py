"""The measurement on a GPU, with this machine's CPU in its place."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench import gpu

WAYS = ["ONNX Runtime", "replayed", "replayed, float16", "PyTorch, float16, channels last"]


@pytest.fixture
def network() -> bytes:
    """A convolution whose weights are stored in float16, as those of the embedded networks."""
    weights = np.random.default_rng(0).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["stored"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["photo", "weights"], ["found"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["found"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["batch", 4, 16, 16])],
        [numpy_helper.from_array(weights, "stored")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def test_every_way_to_run_a_network_is_measured_and_compared(network: bytes) -> None:
    rows = gpu.measure_network(network, (1, 3, 16, 16), "cpu", sizes=(1, 4), seconds=0)

    assert [(row["way"], row["photos"]) for row in rows] == [(w, n) for n in (1, 4) for w in WAYS]
    for row in rows:
        assert "error" not in row, row
        assert row["photos_per_second"] == pytest.approx(1000 * row["photos"] / row["milliseconds"])
        assert row["difference"] < (0.02 if "float16" in row["way"] else 1e-5)
        assert ("float16" in row["way"]) == (row["difference"] > 1e-6)


def test_what_a_card_cannot_do_is_told(network: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("This operator has no kernel.\nAnd more.")

    monkeypatch.setattr(gpu, "ways", lambda *_: iter([("replayed", broken)]))
    (row,) = gpu.measure_network(network, (1, 3, 16, 16), "cpu", sizes=(1,), seconds=0)

    assert row["error"] == "RuntimeError: This operator has no kernel."
    figures = {"networks": [{"network": "tiny", **row}], "album": [gpu.measure_album(3)]}
    assert "has no kernel" in gpu.table(figures)
    assert "| album | CPU | 3 |" in gpu.table(figures)


def test_a_run_is_timed_by_the_median() -> None:
    calls: list[int] = []

    def run(batch: np.ndarray) -> list[np.ndarray]:
        calls.append(len(batch))
        return []

    figures = gpu.timed(run, np.zeros((4, 1), np.float32), 0)

    assert len(calls) >= 5
    assert figures["photos_per_second"] == pytest.approx(4000 / figures["milliseconds"])


def test_without_a_gpu_nothing_is_measured_or_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "has_gpu", lambda: False)
    monkeypatch.setattr(gpu, "RECORD", tmp_path / "gpu.json")

    assert gpu.main([]) == 1
    assert "nothing was measured" in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()


def test_wheels_are_installed_even_if_they_come_in_parts(tmp_path: Path) -> None:
    folder = tmp_path / "brought"
    folder.mkdir()
    wheel = folder / "tiny_thing-1.0-py3-none-any.whl"
    info = "tiny_thing-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_thing.py", "ANSWER = 42\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    content = wheel.read_bytes()
    wheel.unlink()
    for number, start in enumerate(range(0, len(content), 200)):
        part = folder / f"{wheel.name}.part-{number:02}"
        part.write_bytes(content[start : start + 200])

    gpu.install(folder, tmp_path / "target")

    assert (tmp_path / "target" / "site" / "tiny_thing.py").read_text() == "ANSWER = 42\n"
