"""Functions that run in the processes of `bench.peers`: they load contestants, and measure them.

Each function runs in a process made by `start`, and loads what it needs on first use.
"""

import gc
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.contestants import CONTESTANTS, ROOT, Answers, Means, Picture
from models.images import open_photo

EXAMPLES = ROOT / "examples"
PICTURE = "cat_chelsea.png"  # 451 x 300 pixels, about what the data set's pictures have

WARM_UP = 0.2  # seconds of calls that are not counted, because a process is slower after waiting
CALLS = 0.5  # seconds of calls that are

PATIENCE = 10.0  # seconds; an answer that took longer in the comparison is not repeated

_given: dict[str, Means] = {}
_long: dict[int, float] = {}


def start(means: Means) -> ProcessPoolExecutor:
    """Start a process that waits for work.

    It is spawned, because a forked process would start with its parent's memory.
    """
    os.environ["OMP_NUM_THREADS"] = str(means.threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return ProcessPoolExecutor(1, get_context("spawn"), _give, (means,))


def _give(means: Means) -> None:
    _given["means"] = means


@cache
def answers(place: int) -> Answers:
    """The loaded contestant at a place in `CONTESTANTS`."""
    return CONTESTANTS[place].build(_given["means"])


@cache
def picture(place: int, name: str = PICTURE) -> Picture:
    """An example picture in the form that a contestant expects."""
    photo = open_photo(EXAMPLES / name)
    if "otsu" in CONTESTANTS[place].task:
        return np.asarray(Image.fromarray(photo).convert("L"))
    return photo


def numbers(place: int, name: str) -> NDArray[np.generic]:
    """The numbers behind a contestant's answer to a picture."""
    contestant = answers(place)
    before = time.perf_counter()
    values = np.asarray(contestant.numbers(picture(place, name)))
    taken = time.perf_counter() - before
    if taken > PATIENCE and contestant.numbers is contestant.answer:
        _long[place] = taken
    return values


def seconds(place: int) -> list[float]:
    """Seconds of each of several answers; a very slow one is not repeated."""
    if place in _long:
        return [_long[place]]
    answer, photo = answers(place).answer, picture(place)
    gc.collect()
    for budget in (WARM_UP, CALLS):
        taken: list[float] = []
        while sum(taken) < budget:
            before = time.perf_counter()
            answer(photo)
            taken.append(time.perf_counter() - before)
    return taken


def work(place: int) -> tuple[int, int]:
    """Operations of a contestant's network for a photo, and bytes of its input and output.

    Raises
    ------
    ValueError
        If the contestant's framework cannot tell.
    """
    count = answers(place).work
    if count is None:
        raise ValueError(f"{CONTESTANTS[place].name} does not count its operations")
    return count()


def rates(threads: int) -> dict[str, float]:
    """How fast this machine multiplies matrices and copies memory: the best of several attempts."""
    import onnxruntime
    from onnx import TensorProto, helper

    side = 1024
    shape = helper.make_tensor_value_info("a", TensorProto.FLOAT, (side, side))
    product = helper.make_tensor_value_info("product", TensorProto.FLOAT, (side, side))
    node = helper.make_node("MatMul", ["a", "a"], ["product"])
    graph = helper.make_graph([node], "product", [shape], [product])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    matrix = np.random.default_rng(0).random((side, side), np.float32)
    source = np.zeros(64_000_000, np.uint8)
    target = source.copy()
    halves = [
        slice(i * len(source) // threads, (i + 1) * len(source) // threads) for i in range(threads)
    ]

    def copy(half: slice) -> None:
        target[half] = source[half]

    with ThreadPoolExecutor(threads) as pool:
        copying = min(_timed(lambda: list(pool.map(copy, halves))) for _ in range(10))
    multiplying = min(_timed(lambda: session.run(None, {"a": matrix})) for _ in range(20))
    return {
        "gigaflops": round(2 * side**3 / multiplying / 1e9, 1),
        "gigabytes_per_second": round(len(source) / copying / 1e9, 1),
    }


def _timed(call: Callable[[], object]) -> float:
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


def first_answer(place: int, asked: float) -> tuple[float, int]:
    """Seconds from the start of a new process to its first answer, and its peak memory in bytes.

    Parameters
    ----------
    asked
        When the process was started, by `time.time`.
    """
    answers(place).answer(picture(place))
    return time.time() - asked, peak_memory()


def peak_memory() -> int:
    """Peak memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # `getrusage` keeps the parent's peak when another program is started; this does not.
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
