"""ONNX Runtime sessions: which device, how many threads, warmed up."""

import ctypes
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Lock

import numpy as np
import onnxruntime
from numpy.typing import NDArray

# Values in a batch that the memory of a network's intermediate results is kept for: one photo of
# 256 px.
KEPT = 256 * 256 * 3
# Bytes of addresses that the memory of all networks begins with, which take no memory until they
# are used. Three photos at a time need 70 MB. Grown piece by piece instead, it went on growing when
# photos met in ever other ways.
ARENA = 128 << 20
# Photos that the GPU answers at a time. cuDNN prepares itself for each size of a batch when it is
# first seen, so there are few sizes, and all are seen before the first visitor's.
SIZES = (1, 2, 4, 8, 16)

Answers = list[NDArray[np.float32]]
Run = Callable[[NDArray[np.float32]], Answers]
Providers = list[str | tuple[str, dict[str, str]]]

logger = logging.getLogger(__name__)

gpu_failed = Event()  # set once a network had to leave the GPU, for good


class Cores:
    """Divides the cores among the runs that happen at the same time, of whatever networks.

    Runs that each take all cores wait for one another's threads: two photos at a time on two cores
    then take a tenth longer than with one core each.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs = 0

    @contextmanager
    def share(self, cores: int) -> Iterator[int]:
        """How many threads a run gets that begins now: all cores, half of them, a quarter, ..."""
        with self._lock:
            self._runs += 1
            halvings = (self._runs - 1).bit_length()
        try:
            yield max(cores >> halvings, 1)
        finally:
            with self._lock:
                self._runs -= 1


running = Cores()


class Network:
    """A network ready to run, on the GPU where this machine and its packages have one.

    When the GPU fails, by a lack of memory or because it is gone, the network goes on on the CPU.
    There it has a session for each number of threads that its runs get, opened when first needed.

    Attributes
    ----------
    device
        Where it runs, for people: "GPU" or "CPU".
    input_shape
        Lengths of its input's axes, None where it takes any.
    """

    def __init__(self, content: bytes, warm_up_shape: Sequence[int]) -> None:
        """Load a network from the bytes of an `.onnx` file and run it on zeros.

        The first run allocates memory and picks kernels; a visitor should not wait for it. On a GPU
        that holds for each size of a batch.
        """
        self._content = content
        self._lock = Lock()
        self._keeps = math.prod(warm_up_shape) <= KEPT
        self._threads = usable_cores()
        session = _open(content, _providers(), self._keeps, self._threads)
        self._sessions = {self._threads: session}
        photo = session.get_inputs()[0]
        self._input = photo.name
        self.input_shape = tuple(n if isinstance(n, int) else None for n in photo.shape)
        on_gpu = session.get_providers()[0] == "CUDAExecutionProvider"
        self.device = "GPU" if on_gpu else "CPU"
        if on_gpu:
            # Larger photos may have any size, and would not all fit into the GPU's memory.
            self._gathered = Gathered(self._run_rounded if self._keeps else self._run)
        for photos in SIZES if on_gpu and self._keeps else SIZES[:1]:
            self.run(np.zeros((photos, *warm_up_shape[1:]), np.float32))
            if self.device == "CPU":
                break

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a batch through the network; return its first output."""
        return self.run_all(batch)[0]

    def run_all(self, batch: NDArray[np.float32]) -> Answers:
        """Run a batch through the network; return all its outputs."""
        if self.device == "CPU":
            return self._run_on_cpu(batch)
        try:
            return self._gathered(batch)
        except Exception:  # ONNX Runtime's errors have no other base
            logger.exception("The GPU failed, so a model goes on on the CPU.")
            self._leave_gpu()
            return self._run_on_cpu(batch)

    def _run_on_cpu(self, batch: NDArray[np.float32]) -> Answers:
        with running.share(self._threads) as threads:
            return self._run(batch, threads)

    def _run(self, batch: NDArray[np.float32], threads: int | None = None) -> Answers:
        options = _give_memory_back() if self._keeps and batch.size > KEPT else None
        with self._lock:
            threads = threads or self._threads
            session = self._sessions.get(threads) or self._open_on_cpu(threads)
        return session.run(None, {self._input: batch}, options)

    def _open_on_cpu(self, threads: int) -> onnxruntime.InferenceSession:
        session = _open(self._content, ["CPUExecutionProvider"], self._keeps, threads)
        self._sessions[threads] = session
        return session

    def _run_rounded(self, batch: NDArray[np.float32]) -> Answers:
        """Run a batch with as many empty photos as the next of the `SIZES` has room for."""
        size = next((size for size in SIZES if size >= len(batch)), len(batch))
        empty = np.zeros((size - len(batch), *batch.shape[1:]), np.float32)
        return [answer[: len(batch)] for answer in self._run(np.concatenate([batch, empty]))]

    def _leave_gpu(self) -> None:
        with self._lock:
            if self.device == "GPU":
                self._open_on_cpu(self._threads)
                self.device = "CPU"
                gpu_failed.set()


@dataclass(frozen=True, eq=False)  # arrays cannot be compared
class _Waiting:
    batch: NDArray[np.float32]
    answers: "Future[Answers]"


class Gathered:
    """Runs batches that wait for the GPU at the same time as one, since that takes hardly longer.

    Whoever comes while the GPU is busy waits a few milliseconds for it, and goes with all others of
    the same size that wait by then. A batch that comes alone does not wait.
    """

    def __init__(self, run: Run, most: int = SIZES[-1]) -> None:
        """Gather batches for `run`, until they hold `most` photos."""
        self._run, self._most = run, most
        self._waiting: list[_Waiting] = []
        self._list, self._gpu = Lock(), Lock()

    def __call__(self, batch: NDArray[np.float32]) -> Answers:
        """Run a batch, perhaps with others; raises what the run raises."""
        own = _Waiting(batch, Future())
        with self._list:
            self._waiting.append(own)
        with self._gpu:
            if not own.answers.done():
                self._answer(self._take(own))
        return own.answers.result()

    def _take(self, own: _Waiting) -> list[_Waiting]:
        """Take one's own batch and others of its size from those that wait."""
        taken, photos = [own], len(own.batch)
        with self._list:
            self._waiting.remove(own)
            for other in list(self._waiting):
                alike = other.batch.shape[1:] == own.batch.shape[1:]
                if alike and photos + len(other.batch) <= self._most:
                    self._waiting.remove(other)
                    taken.append(other)
                    photos += len(other.batch)
        return taken

    def _answer(self, taken: list[_Waiting]) -> None:
        try:
            outputs = self._run(np.concatenate([each.batch for each in taken]))
        except Exception as error:  # each who waits hears of it
            for each in taken:
                each.answers.set_exception(error)
            return
        ends = np.cumsum([len(each.batch) for each in taken])[:-1]
        parts = zip(*(np.split(output, ends) for output in outputs), strict=True)
        for each, part in zip(taken, parts, strict=True):
            each.answers.set_result(list(part))


def usable_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has.

    A container may be bound to some of them, or to a share of their time. $PETSCOPE_CORES says so
    where several such processes share a machine.
    """
    if cores := os.environ.get("PETSCOPE_CORES"):
        return int(cores)
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return int(max(min(usable, _quota()), 1))


def _quota(folder: Path = Path("/sys/fs/cgroup")) -> float:
    """Cores that the control group of a container allows, rounded up; infinite without a limit.

    Source: Linux's documentation, admin-guide/cgroup-v2, `cpu.max`.
    """
    try:
        allowed, period = (folder / "cpu.max").read_text().split()
        return math.ceil(int(allowed) / int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf


def _open(
    content: bytes, providers: Providers, keeps: bool, threads: int
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = threads
    # A waiting thread that spins takes a core from the other models and the page.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without an arena, each run asks the system for the pages of its largest arrays anew, which
    # makes a mask of 256 px take 40 % longer. With one, what the largest input ever needed is kept:
    # so not for a network that is made for large inputs, and larger ones than usual give it back.
    options.enable_cpu_mem_arena = keeps
    if keeps:
        _make_common_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(content, options, providers=providers)


@cache
def _make_common_arena() -> None:
    """Make the arena of all sessions; each one's own would take 20 MB more."""
    kind, use = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, use)
    settings = onnxruntime.OrtArenaCfg({"initial_chunk_size_bytes": ARENA})
    onnxruntime.create_and_register_allocator(memory, settings)


@cache
def _give_memory_back() -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


@cache
def _providers() -> Providers:
    # A Space without a GPU has the packages for one, too, and their libraries take long to load.
    available = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in available or not _has_gpu():
        return ["CPUExecutionProvider"]
    # Finds the CUDA and cuDNN libraries that pip installed beside onnxruntime-gpu. Where they do
    # not fit the GPU, the session falls back to the CPU by itself.
    onnxruntime.preload_dlls()
    # By default every new size of an input is tried with all of cuDNN's algorithms, which takes
    # many times as long as the answer.
    options = {"cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]


def _has_gpu() -> bool:
    """Whether NVIDIA's driver is here and knows a GPU."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return (
        not (driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))) and count.value > 0
    )
