"""ONNX Runtime sessions: their device and threads, and warming them up."""

import ctypes
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Lock
from types import MappingProxyType

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.replay import Replay

# Memory for intermediate results is kept for batches of at most so many values: one photo of 448
# px, the detector's input.
KEPT = 448 * 448 * 3
# At the start, the arena that all networks share reserves so many bytes of address space, which
# take no memory until used. Three photos at a time need 70 MB. An arena that grew in steps never
# stopped growing: overlapping photos allocate in a different order every time, which fragments it.
ARENA = 128 << 20
# Batch sizes for the GPU. cuDNN prepares itself when it first sees a size, so there are only a few,
# and each is run once before the first visitor comes.
SIZES = (1, 2, 4, 8, 16)
# The sizes whose runs are recorded and replayed. Each has a session of its own, which takes memory
# and most of a second at the start.
REPLAYED = (1, 4, 16)
RUNS_TO_RECORD = 3  # one allocates, one is recorded, and one replayed
CLOSE = 1e-2  # a replay whose answers are farther from the plain run's is not used

NOTHING: Mapping[str, NDArray[np.float32]] = MappingProxyType({})

Answers = list[NDArray[np.float32]]
Run = Callable[[NDArray[np.float32]], Answers]
Providers = list[str | tuple[str, dict[str, str]]]

logger = logging.getLogger(__name__)

Away = Callable[["Network", NDArray[np.float32]], Answers | None]
# Runs the networks of this context elsewhere; if it returns None, they run here.
away: ContextVar[Away | None] = ContextVar("away", default=None)

no_gpu = Event()  # set where the driver must not be touched, as before a fork that uses the GPU
# Set when visitors are answered: while runs are recorded, no other network may allocate on the GPU.
answering = Event()
gpu_failed = Event()  # set for good when a network had to leave the GPU


class Cores:
    """Divides the cores among the networks that run at the same time.

    Runs that each use all cores wait for one another's threads: on two cores, two photos at a time
    take a tenth longer that way than with one core each. A run with two threads also takes a fifth
    more processor time than with one thread, which slows down other answers even while these run no
    network.

    Attributes
    ----------
    answers
        Returns how many answers are being computed, if a server sets it.
    """

    def __init__(self) -> None:
        self.answers: Callable[[], int] = lambda: 0
        self._lock = Lock()
        self._runs = 0

    @contextmanager
    def share(self, cores: int) -> Iterator[int]:
        """Threads for a run that begins now: as many as all cores, half of them, a quarter, ..."""
        with self._lock:
            self._runs += 1
            halvings = (max(self._runs, self.answers()) - 1).bit_length()
        try:
            yield max(cores >> halvings, 1)
        finally:
            with self._lock:
                self._runs -= 1


running = Cores()


def shares(cores: int) -> list[int]:
    """The numbers of threads that runs get: all cores, half of them, a quarter, ..., one.

    Examples
    --------
    >>> shares(6)
    [6, 3, 1]
    """
    return [cores >> halvings for halvings in range(cores.bit_length())]


class Network:
    """A network ready to run, on the GPU if the machine has one and the packages support it.

    If the GPU fails (lost, or out of memory), the network continues on the CPU. There it has one
    session for each number of threads, opened on first use.

    Attributes
    ----------
    device
        The device it runs on: "GPU" or "CPU".
    input_shape
        Lengths of the input's axes; None for an axis of any length.
    """

    def __init__(
        self, content: bytes, warm_up_shape: Sequence[int], providers: Providers | None = None
    ) -> None:
        """Load a network from the bytes of an `.onnx` file and run it on zeros.

        The first run allocates memory and selects kernels, which no visitor should wait for. On a
        GPU, so does the first run at each batch size.

        Parameters
        ----------
        content
            The file.
        warm_up_shape
            Of the zeros.
        providers
            What ONNX Runtime is to use; by default the GPU if this process sees one.
        """
        self.content, self.warm_up_shape = content, tuple(warm_up_shape)
        self._lock = Lock()
        self._keeps = math.prod(warm_up_shape) <= KEPT
        self._threads = usable_cores()
        session = _open(content, providers or _providers(), self._keeps, self._threads)
        self._sessions = {self._threads: session}
        photo = session.get_inputs()[0]
        self._input = photo.name
        self.input_shape = tuple(n if isinstance(n, int) else None for n in photo.shape)
        self._off = {
            each.name: np.zeros(each.shape, np.float32)
            for each in session.get_overridable_initializers()
        }
        self._replays: dict[tuple[int, ...], Replay] = {}
        on_gpu = session.get_providers()[0] == "CUDAExecutionProvider"
        self.device = "GPU" if on_gpu else "CPU"
        if on_gpu:
            # Larger photos may have any size, and would not all fit into the GPU's memory.
            self._gathered = Gathered(self._run_rounded if self._keeps else self._run)
        for photos in SIZES if on_gpu and self._keeps else SIZES[:1]:
            self.run(np.zeros((photos, *warm_up_shape[1:]), np.float32))
            if self.device == "CPU":
                break
        if self.device == "GPU" and self._keeps and not answering.is_set():
            self._record(photo.shape)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a batch through the network; return its first output."""
        return self.run_all(batch)[0]

    def run_all(self, batch: NDArray[np.float32]) -> Answers:
        """Run a batch through the network; return all its outputs."""
        if (run := away.get()) and (answers := run(self, batch)) is not None:
            return answers
        if self.device == "CPU":
            return self._run_on_cpu(batch)
        try:
            return self._gathered(batch)
        except Exception:  # ONNX Runtime's errors have no narrower base class
            logger.exception("The GPU failed, so a model continues on the CPU.")
            self._leave_gpu()
            return self._run_on_cpu(batch)

    def run_last(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a batch through the network; return its last output alone.

        Files may have constants that the other outputs alone depend on, and that leave out a part
        of the network where they are 0; they offer these as inputs. See `training.second_opinion`.
        """
        if self.device == "CPU" and away.get() is None:
            return self._run_on_cpu(batch, self._off)[-1]
        return self.run_all(batch)[-1]

    def _run_on_cpu(
        self, batch: NDArray[np.float32], off: Mapping[str, NDArray[np.float32]] = NOTHING
    ) -> Answers:
        with running.share(self._threads) as threads:
            return self._run(batch, threads, off)

    def _run(
        self,
        batch: NDArray[np.float32],
        threads: int | None = None,
        off: Mapping[str, NDArray[np.float32]] = NOTHING,
    ) -> Answers:
        options = _give_memory_back() if self._keeps and batch.size > KEPT else None
        with self._lock:
            threads = threads or self._threads
            session = self._sessions.get(threads) or self._open_on_cpu(threads)
        return session.run(None, {self._input: batch, **off}, options)

    def _open_on_cpu(self, threads: int) -> onnxruntime.InferenceSession:
        session = _open(self.content, ["CPUExecutionProvider"], self._keeps, threads)
        self._sessions[threads] = session
        if self.device == "CPU" and self._sessions.keys() >= set(shares(self._threads)):
            self._content = b""  # nobody needs it any more
        return session

    def _record(self, axes: Sequence[int | str | None]) -> None:
        """Record runs, in float16 where the answers stay close.

        What cannot be recorded, or then gives other answers, is run plainly.
        """
        versions = _versions(self.content)
        for photos in REPLAYED:
            shape = (photos, *self.warm_up_shape[1:])
            batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            expected = self._run(batch)
            tries = (_recorded(content, batch, axes, expected) for content in versions)
            replay = next(filter(None, tries), None)
            if replay is None:
                return  # larger batches would do no better
            self._replays[shape] = replay

    def _run_rounded(self, batch: NDArray[np.float32]) -> Answers:
        """Run a batch, padded with empty photos to the next of the `SIZES`."""
        size = next((size for size in SIZES if size >= len(batch)), len(batch))
        empty = np.zeros((size - len(batch), *batch.shape[1:]), np.float32)
        filled = np.concatenate([batch, empty])
        run = self._replays.get(filled.shape, self._run)
        return [answer[: len(batch)] for answer in run(filled)]

    def _leave_gpu(self) -> None:
        with self._lock:
            if self.device == "GPU":
                self._open_on_cpu(self._threads)
                self.device = "CPU"
                gpu_failed.set()


def _versions(content: bytes) -> list[bytes]:
    """A network in float16 and as it is, or only as it is if it cannot be converted."""
    try:
        from models.half import half_file

        return [half_file(content), content]
    except Exception:  # the package is missing, or it raises almost anything
        logger.info("A network cannot be converted to float16.", exc_info=True)
        return [content]


def _recorded(
    content: bytes,
    batch: NDArray[np.float32],
    axes: Sequence[int | str | None],
    expected: Answers,
) -> Replay | None:
    """Record a network's run; None if the GPU cannot, or the answers are not the expected ones."""
    try:
        replay = Replay(content, batch.shape, axes, expected)
        for _ in range(RUNS_TO_RECORD):
            found = replay(batch)
    except Exception:  # ONNX Runtime's errors have no narrower base class
        logger.info("A network cannot be recorded on this GPU.", exc_info=True)
        return None
    pairs = zip(found, expected, strict=True)
    return replay if all(np.allclose(ours, plain, 0, CLOSE) for ours, plain in pairs) else None


@dataclass(frozen=True, eq=False)  # comparing arrays would give no single truth value
class _Waiting:
    batch: NDArray[np.float32]
    answers: "Future[Answers]"


class Gathered:
    """Combines batches that wait for the GPU at the same time into one.

    One large batch takes the GPU hardly longer than a small one. A batch that arrives while the GPU
    is busy waits a few milliseconds, and is then run together with all others of the same size that
    are waiting. A batch that arrives alone does not wait.
    """

    def __init__(self, run: Run, most: int = SIZES[-1]) -> None:
        """Gather batches for `run`, until they hold `most` photos."""
        self._run, self._most = run, most
        self._waiting: list[_Waiting] = []
        self._list, self._gpu = Lock(), Lock()

    def __call__(self, batch: NDArray[np.float32]) -> Answers:
        """Run a batch, possibly together with others; raises what the run raises."""
        own = _Waiting(batch, Future())
        with self._list:
            self._waiting.append(own)
        with self._gpu:
            if not own.answers.done():
                self._answer(self._take(own))
        return own.answers.result()

    def _take(self, own: _Waiting) -> list[_Waiting]:
        """Take the own batch, and others of its size, from the waiting ones."""
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
        except Exception as error:  # every waiting batch gets it
            for each in taken:
                each.answers.set_exception(error)
            return
        ends = np.cumsum([len(each.batch) for each in taken])[:-1]
        parts = zip(*(np.split(output, ends) for output in outputs), strict=True)
        for each, part in zip(taken, parts, strict=True):
            each.answers.set_result(list(part))


def usable_cores() -> int:
    """Number of cores that this process may use, which may be fewer than the machine has.

    A container may be limited to some cores, or to a share of their time. $PETSCOPE_CORES sets the
    number if several processes share a machine.
    """
    if cores := os.environ.get("PETSCOPE_CORES"):
        return int(cores)
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return int(max(min(usable, _quota()), 1))


def _quota(folder: Path = Path("/sys/fs/cgroup")) -> float:
    """Number of cores that a container's control group allows, rounded up; infinity if unlimited.

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
    # A thread that spins while it waits takes a core from the other models and the page.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without an arena, each run asks the system again for the memory of its largest arrays, and a
    # mask of 256 px takes 40 % longer. But an arena keeps what the largest input ever needed. So
    # networks for large inputs have none, and runs with unusually large inputs release memory.
    options.enable_cpu_mem_arena = keeps
    if keeps and providers == ["CPUExecutionProvider"]:
        _make_common_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(content, options, providers=providers)


@cache
def _make_common_arena() -> None:
    """Make one arena for all sessions; one for each would take 20 MB more."""
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
    # A Space without a GPU also has the GPU packages, whose libraries take long to load.
    available = onnxruntime.get_available_providers()
    if no_gpu.is_set() or "CUDAExecutionProvider" not in available or not _has_gpu():
        return ["CPUExecutionProvider"]
    return cuda_providers()


def cuda_providers() -> Providers:
    """The GPU, and the CPU for what it cannot do."""
    # Finds the CUDA and cuDNN libraries that pip installed with onnxruntime-gpu. If they do not fit
    # the GPU, the session falls back to the CPU by itself.
    onnxruntime.preload_dlls()
    # By default all of cuDNN's algorithms are tried for each new input size, which takes many times
    # as long as the run itself.
    options = {"cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]


def _has_gpu() -> bool:
    """Whether NVIDIA's driver is installed and finds a GPU."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return (
        not (driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))) and count.value > 0
    )
