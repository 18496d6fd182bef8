"""Threads, batches that are combined, and a GPU that fails."""

import ctypes
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models import runtime
from models.runtime import Gathered, Network, usable_cores
from ui import markup


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
            assert go_on.wait(60)
        return double(batch)

    gathered = Gathered(run, most=5)
    batches = [photos(0, 1), photos(10, 2), photos(20, 1), photos(30, 3), photos(40, 1, size=3)]
    answers: dict[int, list[NDArray[np.float32]]] = {}

    def ask(index: int) -> None:
        answers[index] = gathered(batches[index])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(batches))]
    threads[0].start()
    assert started.wait(60)
    for thread in threads[1:]:
        thread.start()
    while len(gathered._waiting) < 4:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join(60)
    for index, batch in enumerate(batches):
        for answer, expected in zip(answers[index], double(batch), strict=True):
            np.testing.assert_array_equal(answer, expected)
    assert sum(sizes) == 8
    assert max(sizes) <= 5
    assert len(sizes) < len(batches)


def test_an_error_reaches_the_whole_batch_and_the_next_one_works() -> None:
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
    """Doubles its input; on the GPU, only until the GPU is lost."""

    lost = False

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self.sizes: list[int] = []

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="photo", shape=["batch", 2])]

    def get_overridable_initializers(self) -> list[SimpleNamespace]:
        return []

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"] * self.on_gpu + ["CPUExecutionProvider"]

    def run(
        self, names: None, inputs: dict[str, NDArray[np.float32]], options: object
    ) -> list[NDArray[np.float32]]:
        if self.on_gpu and FakeSession.lost:
            raise RuntimeError("CUDA failure 719: unspecified launch failure")
        self.sizes.append(len(inputs["photo"]))
        return double(inputs["photo"])


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[FakeSession]:
    """A machine with a GPU; the sessions that were opened on it."""
    opened: list[FakeSession] = []

    def open_fake(
        content: bytes, providers: runtime.Providers, keeps: bool, threads: int
    ) -> FakeSession:
        assert content == b"network"
        opened.append(FakeSession(len(providers) == 2))
        return opened[-1]

    monkeypatch.setattr(FakeSession, "lost", False)
    monkeypatch.setattr(runtime, "gpu_failed", threading.Event())
    monkeypatch.setattr(runtime, "_open", open_fake)
    monkeypatch.setattr(
        runtime, "_providers", lambda: [("CUDAExecutionProvider", {}), "CPUExecutionProvider"]
    )
    return opened


def test_every_batch_size_is_run_before_the_first_visitor(
    sessions: list[FakeSession],
) -> None:
    network = Network(b"network", (1, 2))
    (session,) = sessions
    seen = set(session.sizes)
    for count in range(1, 17):
        np.testing.assert_array_equal(network.run(photos(1, count)), photos(1, count) * 2)
    assert network.device == "GPU"
    assert set(session.sizes) == seen
    assert all(size < 2 * count for count, size in enumerate(session.sizes[len(seen) :], start=1))


@pytest.mark.parametrize(
    ("half_error", "error", "replayed"),
    [(0.005, 0.0, b"half"), (0.1, 0.0, b"network"), (0.1, 0.1, None)],
)
def test_runs_of_some_sizes_are_replayed_in_float16_if_they_answer_the_same(
    sessions: list[FakeSession],
    monkeypatch: pytest.MonkeyPatch,
    half_error: float,
    error: float,
    replayed: bytes | None,
) -> None:
    replays: list[tuple[int, bytes]] = []

    class FakeReplay:
        def __init__(self, content: bytes, shape: tuple[int, ...], *_: object) -> None:
            self.size, self.content = shape[0], content

        def __call__(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            replays.append((self.size, self.content))
            wrong = half_error if self.content == b"half" else error
            return [answer + np.float32(wrong) for answer in double(batch)]

    monkeypatch.setattr(runtime, "Replay", FakeReplay)
    monkeypatch.setattr("models.half.half_file", lambda content: b"half")
    network = Network(b"network", (1, 2))
    assert {size for size, _ in replays} == ({1, 4, 16} if replayed else {1})
    replays.clear()
    for count in (1, 2, 3, 9):
        found = network.run(photos(1, count))
        np.testing.assert_allclose(found, photos(1, count) * 2, rtol=0, atol=runtime.CLOSE)
    assert replays == ([(size, replayed) for size in (1, 4, 16)] if replayed else [])


def test_once_visitors_are_answered_nothing_is_recorded(
    sessions: list[FakeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = threading.Event()
    answering.set()
    monkeypatch.setattr(runtime, "answering", answering)
    monkeypatch.setattr(runtime, "Replay", lambda *_: pytest.fail("recorded"))
    Network(b"network", (1, 2))


def test_a_network_for_large_photos_is_warmed_up_with_one(sessions: list[FakeSession]) -> None:
    network = Network(b"network", (1, 1024, 1024, 3))
    np.testing.assert_array_equal(network.run(photos(1, 3)), photos(1, 3) * 2)
    assert sessions[0].sizes == [1, 3]


def test_a_gpu_that_fails_at_the_start_is_not_used(
    sessions: list[FakeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSession, "lost", True)
    network = Network(b"network", (1, 2))
    assert network.device == "CPU"
    assert [session.sizes for session in sessions] == [[], [1]]


@pytest.mark.parametrize(
    ("driver", "loaded"),
    [
        (None, False),  # there is none
        ((0, 0, 1), True),
        ((0, 0, 0), False),  # as on a Space with a GPU only for moments
        ((100, 0, 1), False),  # CUDA_ERROR_NO_DEVICE
    ],
)
def test_the_libraries_for_a_gpu_are_loaded_only_where_there_is_one(
    driver: tuple[int, int, int] | None, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_driver(name: str) -> SimpleNamespace:
        if driver is None:
            raise OSError
        started, asked, gpus = driver

        def count(place: Any) -> int:  # noqa: ANN401 -- what ctypes passes has no public type
            ctypes.cast(place, ctypes.POINTER(ctypes.c_int))[0] = gpus
            return asked

        return SimpleNamespace(cuInit=lambda flags: started, cuDeviceGetCount=count)

    loads: list[str] = []
    fake = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        preload_dlls=lambda: loads.append("CUDA"),
    )
    monkeypatch.setattr(runtime, "onnxruntime", fake)
    monkeypatch.setattr(ctypes, "CDLL", open_driver)
    providers = runtime._providers.__wrapped__()
    assert providers[-1] == "CPUExecutionProvider"
    assert (len(providers), len(loads)) == ((2, 1) if loaded else (1, 0))


def test_a_network_goes_on_on_the_cpu_when_the_gpu_is_lost(
    sessions: list[FakeSession], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = Network(b"network", (1, 2))
    assert network.device == "GPU"
    np.testing.assert_array_equal(network.run(photos(1, 2)), photos(1, 2) * 2)
    monkeypatch.setattr(FakeSession, "lost", True)
    np.testing.assert_array_equal(network.run(photos(1, 2)), photos(1, 2) * 2)
    assert network.device == "CPU"
    assert "The GPU failed" in markup.took(0.01, network.device)
    assert "The GPU failed" in caplog.text
    np.testing.assert_array_equal(network.run(photos(4, 1)), photos(4, 1) * 2)


def test_runs_that_happen_at_the_same_time_share_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run alone gets all cores, and the answer does not depend on their number."""
    opened: list[int] = []
    inside, go_on = threading.Barrier(4), threading.Event()

    class Session(FakeSession):
        def __init__(self, threads: int) -> None:
            super().__init__(on_gpu=False)
            self.threads = threads

        def run(self, *words: Any) -> list[NDArray[np.float32]]:  # noqa: ANN401
            taken.append(self.threads)
            if waiting:
                inside.wait(60)
                assert go_on.wait(60)
            return super().run(*words)

    def open_session(content: bytes, providers: object, keeps: bool, threads: int) -> Session:
        opened.append(threads)
        return Session(threads)

    monkeypatch.setenv("PETSCOPE_CORES", "8")
    monkeypatch.setattr(runtime, "_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(runtime, "_open", open_session)
    taken: list[int] = []
    waiting = False
    network = Network(b"network", (1, 2))
    assert opened == taken == [8]

    waiting, answers = True, []
    threads = [
        threading.Thread(target=lambda: answers.append(network.run(photos(3, 1)))) for _ in "123"
    ]
    for thread in threads:
        thread.start()
    inside.wait(60)
    waiting = False
    go_on.set()
    for thread in threads:
        thread.join(60)
    network.run(photos(3, 1))
    assert sorted(taken) == [2, 4, 8, 8, 8]
    assert sorted(opened) == [2, 4, 8]
    for answer in answers:
        np.testing.assert_array_equal(answer, photos(3, 1) * 2)


def test_answers_that_run_no_network_count_when_cores_are_shared() -> None:
    cores = runtime.Cores()
    with cores.share(8) as threads:
        assert threads == 8
    for answers, expected in ((0, 8), (1, 8), (2, 4), (3, 2), (9, 1)):
        cores.answers = lambda answers=answers: answers  # type: ignore[misc]
        with cores.share(8) as threads:
            assert threads == expected
