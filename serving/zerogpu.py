"""A Space on ZeroGPU hardware, whose GPU is lent for moments to functions that `spaces.GPU` marks.

The CPU answers a single photo before the scheduler could lend a GPU. An album requests the GPU
once, for as long as its photos will probably take. The marked function runs in a forked process and
starts another one that runs networks. Their inputs and outputs go through a pipe, while photos are
decoded and results are written here. Until the GPU comes, if it is refused, and once its time is
over, the networks run here. So no photo is lost, and none is analysed twice.
"""

import logging
import math
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from models.runtime import Answers, Gathered, Network

Refusal = Literal["quota", "refused", "ended"]
"""Why there is no GPU: the visitor's time is used up, none was free, or its time ran out."""

# How long a GPU is requested for: first networks are loaded on it, then it waits for photos that
# two cores decode. A single request is never longer than the daily time of a visitor without an
# account.
START_SECONDS, PHOTO_SECONDS, MEGABYTE_SECONDS = 15.0, 0.1, 0.1
MOST_SECONDS = 120
PATIENCE = 0.1  # seconds between two looks at whether the GPU is still there

ROOT = Path(__file__).parents[1]
GPU_PROCESS = [sys.executable, "-m", "serving.gpu_process"]

PHOTOS_AT_A_TIME = 3  # whose networks go together as batches

logger = logging.getLogger(__name__)

_lend: Callable[[Connection, int], None] | None = None


def here() -> bool:
    """Whether this is a Space on ZeroGPU, as the package `spaces` finds out."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def declare() -> None:
    """Tell the Hub which function wants the GPU; elsewhere than on ZeroGPU it does nothing.

    Call it before the page is served: the Hub ends a Space that does not say so while it starts.
    """
    global _lend
    if not here():
        return
    import spaces  # the Hub installs it
    from spaces import zero

    _lend = spaces.GPU(duration=lambda pipe, seconds: seconds)(run_networks)
    zero.startup()  # it waits for `Blocks.launch` otherwise, which this server does without


def seconds_for(photos: Sequence[Path]) -> int:
    """For how many seconds an album requests the GPU, by the number and size of its files."""
    megabytes = sum(path.stat().st_size for path in photos if path.exists()) / 1e6
    needed = START_SECONDS + PHOTO_SECONDS * len(photos) + MEGABYTE_SECONDS * megabytes
    return min(math.ceil(needed), MOST_SECONDS)


def run_networks(pipe: Connection, seconds: int) -> None:
    """Run networks for the other end of a pipe, in the process that the GPU was lent to.

    That process is a fork of this one, whose threads were running networks. A lock of ONNX Runtime
    that one of them held stays locked in it for good. So a new process, which inherits the GPU,
    loads the networks.

    Raises
    ------
    RuntimeError
        When the networks cannot use the GPU.
    """
    with pipe:
        given = pipe.fileno()
        process = subprocess.Popen(  # noqa: S603
            [*GPU_PROCESS, str(given)], cwd=ROOT, pass_fds=[given], stdin=subprocess.DEVNULL
        )
    if process.wait():
        raise RuntimeError("The networks cannot use the GPU that was lent.")


class Lease:
    """The GPU for one album, if it is lent.

    As a context manager it gives the GPU back. Where there is no ZeroGPU it does nothing.

    Attributes
    ----------
    refusal
        Why networks run here and not on the GPU; None while they run there or may yet.
    """

    def __init__(self, photos: Sequence[Path]) -> None:
        """Ask for the GPU, and do not wait for it."""
        self.refusal: Refusal | None = None
        self._over, self._ready = Event(), False
        self._lock = Lock()  # for the pipe and its other end
        self._sent: set[int] = set()
        self._gathered: dict[int, Gathered] = {}
        self.photos_at_a_time = PHOTOS_AT_A_TIME if _lend else 1
        if _lend is None:
            self._over.set()
            return
        self._pipe, self._other = multiprocessing.Pipe()
        # The scheduler finds the visitor in the context.
        hold = partial(copy_context().run, self._hold, _lend, seconds_for(photos))
        Thread(target=hold, name="GPU lease", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._over.is_set():
            with self._lock, suppress(OSError):
                self._pipe.send(None)  # a GPU that is lent only now is given back at once

    def share(self) -> "Share":
        """The lease for one photo."""
        return Share(self)

    def run(self, network: Network, batch: NDArray[np.float32]) -> Answers | None:
        """A network's answers from the GPU, together with other batches; None without the GPU."""
        if not self._there():
            return None
        number = id(network)
        gathered = self._gathered.setdefault(number, Gathered(partial(self._ask, network)))
        try:
            return gathered(batch)
        except (EOFError, OSError):
            self.refusal = "ended"
            self._over.set()
            return None

    def _there(self) -> bool:
        if self._over.is_set():
            return False
        with self._lock:
            if not self._ready and self._pipe.poll():
                with suppress(EOFError, OSError):
                    self._ready = self._pipe.recv() == "ready"
                    self._other.close()  # so that the end of the other process is noticed here
            return self._ready

    def _ask(self, network: Network, batch: NDArray[np.float32]) -> Answers:
        number = id(network)
        with self._lock:
            known = number in self._sent
            self._sent.add(number)
            description = None if known else (network.content, network.warm_up_shape)
            self._pipe.send((number, batch, description))
            while not self._pipe.poll(PATIENCE):
                if self._over.is_set():
                    raise EOFError
            answers: Answers = self._pipe.recv()
            return answers

    def _hold(self, lend: Callable[[Connection, int], None], seconds: int) -> None:
        try:
            lend(self._other, seconds)
        except Exception as error:  # of the scheduler, of the process, or of the network to them
            self.refusal = "ended" if self._ready else _refusal(error)
            logger.warning("The GPU is not lent (any more): %s", error)
        self._over.set()


def _refusal(error: Exception) -> Refusal:
    """Why the GPU is not lent at all; only the title of Gradio's errors tells that."""
    title = getattr(error, "title", "")
    return "quota" if any(word in title for word in ("quota", "credits")) else "refused"


class Share:
    """A lease for one photo: to be set as `runtime.away`.

    Attributes
    ----------
    devices
        Where the photo's networks ran.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.devices: set[str] = set()

    def __call__(self, network: Network, batch: NDArray[np.float32]) -> Answers | None:
        """As `Lease.run`."""
        answers = self._lease.run(network, batch)
        self.devices.add(network.device if answers is None else "GPU")
        return answers
