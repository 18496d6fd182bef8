"""Uploads are decoded in separate processes, so that no file can harm the app.

Decoders are C code, and anybody can send them anything. One that crashes, hangs or takes too much
memory ends with its process: that costs one request, whose visitor gets a sentence, and the process
is replaced. Pixels come back in shared memory; nothing that is received can contain code.
"""

import atexit
import fcntl
import json
import logging
import math
import mmap
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
from numpy.typing import NDArray

from models import images
from models.images import Photo, PhotoError
from models.picture import AXES, FIRST, Axis, Picture, Place, Stretch
from models.runtime import usable_cores
from serving import decoder_packages, metrics
from serving.decoder import ALIGNED, ANY, HEADER, REQUEST

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parent.parent
SECONDS = 15.0  # for a picture, however busy the machine is; `decoder` limits processor time
START = 60.0  # seconds for a process to start
WAIT = 60.0  # seconds after which a request gives up if all processes are busy
KEPT = 40_000_000  # bytes of shared memory that are wiped rather than given back
PIECE = 8_000_000  # bytes of it that are copied at a time
LONGEST_ANSWER = 100_000  # bytes
VALUES = 6  # bytes of shared memory a pixel for the values of deep pictures

# A process that may be compromised should not know the app's secrets.
ENVIRONMENT = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONUTF8")
SETTINGS = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # each picture is decoded in new memory
    "MALLOC_ARENA_MAX": "1",  # each further heap takes 64 MB of the limited address space
    "MALLOC_MMAP_THRESHOLD_": "16000000",  # larger pictures go back to the system
    "MALLOC_TRIM_THRESHOLD_": "16000000",
    "OPENBLAS_NUM_THREADS": "1",
}


class Decoder:
    """A process that has each picture decoded by a child process, one at a time."""

    def __init__(self) -> None:
        kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        if own := decoder_packages.find():
            paths = [str(own), *filter(None, [kept.get("PYTHONPATH")])]
            kept["PYTHONPATH"] = os.pathsep.join(paths)
        self._waits = False
        self._connection, theirs = socket.socketpair()
        shared = _shared_memory((3 + VALUES) * images.MAX_PIXELS)
        self._shared = mmap.mmap(shared, 0)
        self._ready, ready = os.pipe()
        with theirs, os.fdopen(shared), os.fdopen(ready):
            # It ends when this process does, in whatever way, because its socket is closed then.
            # Its own session keeps the terminal's Ctrl-C from it.
            given = (theirs.fileno(), shared, ready)
            numbers = (*given, images.MAX_BYTES, images.MAX_PIXELS)
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "serving.decoder", *map(str, numbers)],
                cwd=ROOT,
                env=kept | SETTINGS,
                pass_fds=given,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def usable(self) -> bool:
        """Whether it runs."""
        return self._connection.fileno() >= 0 and self.process.poll() is None

    def waits(self) -> bool:
        """Whether it waits for a picture or soon will, and the previous picture's process is gone.

        Raises
        ------
        OSError
            When it was ended.
        """
        if not self._waits and select.select([self._ready], [], [], START)[0]:
            self._waits = bool(os.read(self._ready, 1))  # nothing if it has ended
        return self._waits

    def read(self, file: BinaryIO, side: int = 0, place: Place = FIRST) -> Picture:
        """Decode a file; if that fails in an unexpected way, the process is ended.

        Parameters
        ----------
        file
            A picture file.
        side, place
            As for `models.images.open_picture`.

        Raises
        ------
        PhotoError
            When the picture cannot be used, or its decoder crashed or took too long.
        """
        written = None
        try:
            if not self.waits():
                raise ConnectionError
            self._waits = False
            deadline = time.monotonic() + SECONDS
            self._connection.settimeout(SECONDS)
            wanted = [getattr(place, name) for name in AXES]
            request = REQUEST.pack(side, *(ANY if index is None else index for index in wanted))
            socket.send_fds(self._connection, [request], [file.fileno()])
            header = bytearray(HEADER.size)
            self._receive(memoryview(header), deadline)
            (length,) = HEADER.unpack(header)
            if length > LONGEST_ANSWER:
                raise OSError("The decoder was taken over.")
            text = bytearray(length)
            self._receive(memoryview(text), deadline)
            picture = self._read_answer(text)
            written = picture.photo.nbytes + ALIGNED
            if picture.deep:
                written += picture.values.nbytes + ALIGNED
        except PhotoError:
            raise
        except OSError as error:
            timed_out = isinstance(error, TimeoutError)
            status = self.end()
            logger.warning("A decoder ended (%s, status %s).", type(error).__name__, status)
            if timed_out or -status in (signal.SIGPROF, signal.SIGXCPU):
                raise PhotoError("photo_takes_too_long") from None
            raise PhotoError("photo_decoder_ended") from None
        except BaseException:  # the rest of its answer would be taken as part of the next one
            self.end()
            raise
        finally:
            self._wipe(written)
        return picture

    def _wipe(self, written: int | None) -> None:
        """Remove everything of a picture from the shared memory.

        It is filled from the beginning; `written` is None if it is unknown how far. Large amounts
        are released to the system, although new memory costs time.
        """
        if written is not None and written <= KEPT:
            np.frombuffer(self._shared, np.uint8, written)[:] = 0
        elif sys.platform == "linux":
            self._shared.madvise(mmap.MADV_REMOVE)
        else:
            np.frombuffer(self._shared, np.uint8)[:] = 0

    def give_back(self) -> None:
        """Give the shared memory back, while no picture is in it."""
        if sys.platform == "linux":
            self._shared.madvise(mmap.MADV_REMOVE)

    def _read_answer(self, text: bytearray) -> Picture:
        """The picture that an answer describes, or the error.

        Raises
        ------
        PhotoError
            When the picture cannot be used.
        OSError
            If the answer makes no sense.
        """
        try:
            said = json.loads(text)
            if "error" in said:
                error = PhotoError(said["error"], **said["named"])
            else:
                return self._picture(said)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as unforeseen:
            raise OSError("The decoder was taken over.") from unforeseen
        raise error

    def _picture(self, said: dict[str, Any]) -> Picture:
        """The picture that an answer describes; nonsense raises ValueError, KeyError, TypeError."""
        photo = self._array(said["photo"])
        height, width = map(int, said["size"])
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise ValueError("This is no photo.")
        if not 0 < height * width <= images.MAX_PIXELS:
            raise ValueError("The picture is too large.")
        values = photo if said["values"] is None else self._array(said["values"])
        channels = tuple(map(str, said["channels"]))
        if values is not photo and (
            values.shape[:2] != (height, width)
            or values.ndim != 2 + bool(channels)
            or values.shape[2:] not in ((), (len(channels),))
        ):
            raise ValueError("The values are not those of the photo.")
        if said["stretch"] not in (None, *get_args(Stretch)):
            raise ValueError("This stretch is not known.")
        axes = tuple(
            Axis(AXES[AXES.index(axis["name"])], int(axis["count"]), int(axis["index"]))
            for axis in said["axes"]
        )
        return Picture(
            photo=photo,
            values=values,
            size=(height, width),
            shown=_two_numbers(said["shown"]),
            stretch=said["stretch"],
            channels=channels,
            axes=axes,
            pixel_size=_two_numbers(said["pixel_size"]),
        )

    def _array(self, said: dict[str, Any]) -> NDArray[Any]:
        """A copy of an array in the shared memory; nonsense raises ValueError, KeyError."""
        dtype = np.dtype(str(said["dtype"]))
        shape = tuple(map(int, said["shape"]))
        if dtype.kind not in "biuf" or not 2 <= len(shape) <= 3 or min(shape) < 1:
            raise ValueError("This is no picture.")
        if math.prod(shape[:2]) > images.MAX_PIXELS or int(said["offset"]) < 0:
            raise ValueError("The picture is too large.")
        start, count = int(said["offset"]), math.prod(shape)
        array = np.empty(count, dtype)
        own, shared = array.view(np.uint8), np.frombuffer(self._shared, dtype, count, start)
        for first in range(0, array.nbytes, PIECE):
            last = min(first + PIECE, array.nbytes)
            own[first:last] = shared.view(np.uint8)[first:last]
            if array.nbytes > KEPT:  # else a large picture would be there twice
                self._remove(start + first, start + last)
        return array.reshape(shape)

    def _remove(self, start: int, stop: int) -> None:
        """Give back the pages of the shared memory that lie wholly between two of its bytes."""
        start, stop = start + -start % mmap.PAGESIZE, stop - stop % mmap.PAGESIZE
        if sys.platform == "linux" and start < stop:
            self._shared.madvise(mmap.MADV_REMOVE, start, stop - start)

    def _receive(self, buffer: memoryview, deadline: float) -> None:
        """Fill a buffer.

        Raises
        ------
        OSError
            When the process has ended, or the time is over.
        """
        filled = 0
        while filled < len(buffer):
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            received = self._connection.recv_into(buffer[filled:])
            if not received:
                raise ConnectionError
            filled += received

    def end(self) -> int:
        """End the process; return how it ended: its exit status, or minus the signal's number."""
        self._connection.close()
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(0.2)  # it may have ended by itself, and then why is known
        # Its own process ends with it, on Linux by itself.
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        return self.process.wait()


def _shared_memory(size: int) -> int:
    """Descriptor of memory to share with another process; it takes none until it is written."""
    if sys.platform != "linux":
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return os.dup(file.fileno())
    memory = os.memfd_create("photo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size)
    # Reading mapped memory that another process has truncated would kill this process.
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return memory


def _two_numbers(said: list[Any] | None) -> tuple[float, float] | None:
    if said is None:
        return None
    first, second = map(float, said)
    if not (math.isfinite(first) and math.isfinite(second)):
        raise ValueError("These are no numbers.")
    return first, second


class Pool:
    """Processes that decode pictures, for any number of threads."""

    def __init__(self, size: int) -> None:
        # The most recently used one is taken first, because its memory is warm.
        self._idle: queue.LifoQueue[Decoder | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(_start())

    def open_photo(self, path: str | os.PathLike[str]) -> Photo:
        """Like `models.images.open_photo`, protected from the file; raises as `open_picture`."""
        return self.open_picture(path).photo

    def open_picture(
        self, path: str | os.PathLike[str], side: int = 0, place: Place = FIRST
    ) -> Picture:
        """Like `models.images.open_picture`, but protected from the file.

        Raises
        ------
        PhotoError
            If the picture cannot be used, all processes are busy for long, or none can start.
        """
        with images.open_file(path) as file:
            try:
                decoder = self._idle.get(timeout=WAIT)
            except queue.Empty:
                raise PhotoError("photo_has_to_wait") from None
            try:
                decoder = _waiting(decoder)
                if decoder is None:
                    raise PhotoError("photo_no_decoder")
                return decoder.read(file, side, place)
            finally:
                self._idle.put(_start() if decoder and not decoder.usable else decoder)

    def usable(self) -> bool:
        """Whether a process waits for a picture or decodes one, or a new one can."""
        try:
            decoder = self._idle.get_nowait()
        except queue.Empty:
            return True  # all are busy
        try:
            decoder = _waiting(decoder)
            return decoder is not None
        finally:
            self._idle.put(decoder)

    def give_back(self) -> None:
        """Give back the shared memory of the processes that are idle."""
        idle = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for decoder in reversed(idle):
            if decoder:
                decoder.give_back()
            self._idle.put(decoder)

    def close(self) -> None:
        """End the idle processes."""
        with suppress(queue.Empty):
            while True:
                if decoder := self._idle.get_nowait():
                    decoder.end()


def _waiting(decoder: Decoder | None) -> Decoder | None:
    """A process once it waits for a picture, or a new one in its place; None if none does."""
    if decoder:
        if decoder.usable and decoder.waits():
            return decoder
        decoder.end()  # it ended while it was idle, or is stuck
    decoder = _start()
    if decoder and not decoder.waits():
        decoder.end()
        return None
    return decoder


def _start() -> Decoder | None:
    try:
        return Decoder()
    except OSError:  # no memory or no process left; the next request tries again
        logger.exception("A decoder cannot be started.")
        return None


_lock = threading.Lock()
_pool: Pool | None = None


def start() -> Pool:
    """Start the processes, one for each core, unless they are running already."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = Pool(usable_cores())
            atexit.register(_pool.close)
        return _pool


def give_back() -> None:
    """Give the system the memory that idle processes need again only with the next picture."""
    if _pool:
        _pool.give_back()


def open_photo(path: str | os.PathLike[str]) -> Photo:
    """Read a visitor's picture: like `models.images.open_photo`, but protected from the file.

    Raises
    ------
    PhotoError
        When it cannot be used; the text is one sentence for the visitor.
    """
    return open_picture(path).photo


def open_picture(path: str | os.PathLike[str], side: int = 0, place: Place = FIRST) -> Picture:
    """Read a visitor's picture: like `models.images.open_picture`, but protected from the file.

    Raises
    ------
    PhotoError
        When it cannot be used; the text is one sentence for the visitor.
    """
    try:
        return start().open_picture(path, side, place)
    except PhotoError as error:
        metrics.DECODE_FAILURES.labels(error.key).inc()
        raise
