"""Threads for the machine; batches that go together; a GPU that fails."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from models import runtime
from models.runtime import Gathered, Network, usable_cores
from ui import photos as photos_of_page


def test_cores_are_those_that_the_process_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PETSCOPE_CORES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(runtime, "_quota", lambda: float("inf"))
    assert usable_cores() == 6
    monkeypatch.setattr(runtime, "_quota", lambda: 3)
    assert usable_cores() == 3
    monkeypatch.setenv("PETSCOPE_CORES", "2")
    assert usable_cores() == 2


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", float("inf")), ("150000 100000\n", 2), ("50000 100000\n", 1)],
)
def test_a_container_s_share_of_the_time_counts_as_cores(
    text: str, cores: float, tmp_path: Path
) -> None:
    assert runtime._quota(tmp_path) == float("inf")
    (tmp_path / "cpu.max").write_text(text)
    assert runtime._quota(tmp_path) == cores


def double(batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [batch * 2, batch.sum(axis=1, keepdims=True)]


def photos(first: int, count: int, size: int = 2) -> NDArray[np.float32]:
    return np.arange(first, first + count, dtype=np.float32)[:, None] * np.ones(size, np.float32)


def test_batches_that_come_while_the_gpu_is_busy_go_together() -> None:
    started, go_on = threading.Event(), threading.Event()
    sizes = []

    def run(batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        sizes.append(len(batch))
        if len(sizes) == 1:
            started.set()
            assert go_on.wait(10)
        return double(batch)

    gathered = Gathered(run, most=5)
    batches = [photos(0, 1), photos(10, 2), photos(20, 1), photos(30, 3), photos(40, 1, size=3)]
    answers: dict[int, list[NDArray[np.float32]]] = {}

    def ask(index: int) -> None:
        answers[index] = gathered(batches[index])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(batches))]
    threads[0].start()
    assert started.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(gathered._waiting) < 4:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join(10)
    for index, batch in enumerate(batches):
        for answer, expected in zip(answers[index], double(batch), strict=True):
            np.testing.assert_array_equal(answer, expected)
    assert sum(sizes) == 8
    assert max(sizes) <= 5
    assert len(sizes) < len(batches)


def test_all_who_went_together_hear_of_an_error_and_the_next_goes_on() -> None:
    broken = True

    def run(batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        if broken:
            raise RuntimeError("out of memory")
        return double(batch)

    gathered = Gathered(run)
    with pytest.raises(RuntimeError, match="out of memory"):
        gathered(photos(0, 1))
    broken = False
    np.testing.assert_array_equal(gathered(photos(3, 1))[0], photos(3, 1) * 2)


class FakeSession:
    """Doubles its input; on the GPU, only until that is lost."""

    lost = False

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="photo", shape=["batch", 2])]

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"] * self.on_gpu + ["CPUExecutionProvider"]

    def run(
        self, names: None, inputs: dict[str, NDArray[np.float32]], options: object
    ) -> list[NDArray[np.float32]]:
        if self.on_gpu and FakeSession.lost:
            raise RuntimeError("CUDA failure 719: unspecified launch failure")
        return double(inputs["photo"])


def test_a_network_goes_on_on_the_cpu_when_the_gpu_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def open_fake(content: bytes, providers: list[str], keeps: bool) -> FakeSession:
        assert content == b"network"
        return FakeSession("CUDAExecutionProvider" in providers)

    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(runtime, "gpu_failed", threading.Event())
    monkeypatch.setattr(runtime, "_open", open_fake)
    monkeypatch.setattr(runtime, "_providers", lambda: providers)
    network = Network(b"network", (1, 2))
    assert network.device == "GPU"
    np.testing.assert_array_equal(network.run(photos(1, 2)), photos(1, 2) * 2)
    monkeypatch.setattr(FakeSession, "lost", True)
    np.testing.assert_array_equal(network.run(photos(1, 2)), photos(1, 2) * 2)
    assert network.device == "CPU"
    assert "The GPU failed" in photos_of_page.took("mask.took", 0.01, network.device)
    assert "The GPU failed" in caplog.text
    np.testing.assert_array_equal(network.run(photos(4, 1)), photos(4, 1) * 2)
