"""A process that analyzes photos, and is replaced if a photo kills or blocks it.

A damaged or hostile picture can crash a decoder, hang it, or take all memory. Here only
this process ends; the worker that asked, the other photos and the pool of workers are not affected.
"""

import ctypes
import json
import logging
import multiprocessing
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from models import commandline
from models.cards import ModelError

ATTEMPTS = 3  # for a photo that ends the process or blocks it
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
START_SECONDS = 300  # to import the packages and load the models, on a busy machine or slow disk

ENDED = "The photo ended the program that looked at it, {attempts} times: please save it again."
HELD_UP = "The photo took longer than {seconds:g} seconds, {attempts} times: please save it again."
FAILED = "The photo could not be looked at ({reason}): please save it again."

logger = logging.getLogger(__name__)


class AnalystError(Exception):
    """The process cannot be started, or has no models; the message is one sentence."""


class Analyst:
    """Analyses one photo after another in a separate process, on one core.

    Parameters
    ----------
    classes
        Number of brightness classes of each photo.
    seconds
        How long a photo may take.
    memory
        How many bytes of memory the process may have, None for no limit.
    environment
        Environment variables that the process gets in addition to this one's.

    Raises
    ------
    AnalystError
        When it cannot be started, or its models cannot be loaded.
    """

    def __init__(
        self,
        classes: int,
        seconds: float,
        memory: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._seconds = seconds
        # Many analysts work in parallel, rather than many threads in one.
        single = {name: "1" for name in ("PETSCOPE_CORES", "OMP_NUM_THREADS")}
        self._facts = (classes, memory, {**(environment or {}), **single})
        self.models: dict[str, str] = {}
        self._start()

    def row(self, content: bytes) -> dict[str, Any]:
        """The columns of a photo's row: those of `rows.columns`, or only `error`.

        Raises
        ------
        AnalystError
            If the process had to be restarted and could not be.
        """
        sentence = ""
        for _ in range(ATTEMPTS):
            try:
                self._pipe.send_bytes(content)
                if self._pipe.poll(self._seconds):
                    return json.loads(self._pipe.recv_bytes())
                sentence = HELD_UP.format(seconds=self._seconds, attempts=ATTEMPTS)
            except (EOFError, OSError):
                sentence = ENDED.format(attempts=ATTEMPTS)
            self.close()
            self._start()
        return {"error": sentence}

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, *self._facts), daemon=True)
        with commandline.undisturbed():
            self._process.start()
        other.close()  # so that the end of the process is noticed here
        try:
            answer = json.loads(self._pipe.recv_bytes()) if self._pipe.poll(START_SECONDS) else {}
        except (EOFError, OSError):
            answer = {}
        if "models" not in answer:
            self.close()
            raise AnalystError(answer.get("error", "The models could not be loaded in time."))
        self.models = answer["models"]


def _serve(
    pipe: Connection, classes: int, memory: int | None, environment: Mapping[str, str]
) -> None:
    """Answer each photo's bytes with its row as JSON, until the other end is closed."""
    os.environ.update(environment)
    _be_the_first_to_go(memory)
    _keep_freed_memory()
    from batch import rows
    from models import images, pipeline
    from models.errors import ExplainedError

    images.set_limits(*images.limits_in(os.environ))
    try:
        pipeline.load()
        pipe.send_bytes(json.dumps({"models": rows.models_used()}).encode())
    except ModelError as error:
        pipe.send_bytes(json.dumps({"error": str(error)}).encode())
        return
    with suppress(EOFError, BrokenPipeError):
        while True:
            content = pipe.recv_bytes()
            try:
                row = rows.columns(content, classes)
            except ExplainedError as error:
                row = {"error": str(error)}
            except Exception as error:  # a fault with one photo must not stop the others
                logger.exception("A photo could not be looked at.")
                row = {"error": FAILED.format(reason=type(error).__name__)}
            pipe.send_bytes(json.dumps(row).encode())


def _keep_freed_memory() -> None:
    """Keep what one photo needed for the next: new pages from the system take a fifth of the time.

    See mallopt(3); other C libraries than glibc have no such function.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_TRIM_THRESHOLD, 2**30)
        mallopt(M_MMAP_THRESHOLD, 2**25)  # the largest value that it takes


def _be_the_first_to_go(memory: int | None) -> None:
    """Limit the memory, and let the system kill this process first if memory runs out."""
    if memory is not None and sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
