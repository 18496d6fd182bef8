"""Processes that decode one picture each for `serving.decoding`, and can do nothing else.

    python -m serving.decoder SOCKET MEMORY READY BYTES PIXELS

The first three are file descriptors, the others the limits of `models.images.set_limits`. A request
over the socket is a few numbers with an open file: how many pixels the longer side of the photo
needs at least (0 for the whole photo), and which picture of the file to decode. The pixels go into
the shared memory; the answer is JSON that says where they are and what else is known about the
picture, or what is wrong with it. READY gets a byte whenever the previous process is gone and a new
one waits for a request.
"""

import gc
import io
import json
import math
import mmap
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import tiff
from models.images import PhotoError, open_picture, set_limits
from models.picture import AXES, Picture, Place
from serving.lockdown import end_with_parent, forbid_calls, forbid_files

REQUEST = struct.Struct(f"!I{len(AXES)}i")  # the side, and the place, whose numbers may be ANY
ANY = -1
HEADER = struct.Struct("!I")  # bytes of the JSON that follows
MEMORY = 500_000_000  # bytes of memory for a picture
SECONDS = 4.5  # seconds of processor time for a picture
NO_MORE = 100  # exit status of a process that received no request
POPULATE_WRITE = 23  # advice of madvise(2), from Linux 5.14 on
ALIGNED = 64  # bytes: where arrays may begin


def _small_picture() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (16, 16)).save(content, "JPEG")
    return content.getvalue()


SMALL = _small_picture()


class Shared:
    """The shared memory, allocated from its beginning."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._bytes = np.frombuffer(memory, np.uint8)
        self._start = self._bytes.ctypes.data
        self._used = 0

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An uninitialised array.

        Raises
        ------
        MemoryError
            If it is larger than what is left.
        """
        size = math.prod(shape) * dtype.itemsize
        if self._used + size > len(self._bytes):
            raise MemoryError
        # Getting all pages at once is faster than one by one at their first write.
        first = self._used - self._used % mmap.PAGESIZE
        with suppress(OSError):
            self._memory.madvise(POPULATE_WRITE, first, self._used + size - first)
        part = self._bytes[self._used : self._used + size]
        self._used += size + -size % ALIGNED
        return part.view(dtype).reshape(shape)

    def place(self, array: NDArray[Any]) -> dict[str, Any]:
        """Place, shape and type of an array of `allocate`."""
        offset = array.ctypes.data - self._start
        return {"offset": offset, "shape": array.shape, "dtype": array.dtype.str}


def picture_to_json(picture: Picture, shared: Shared) -> dict[str, Any]:
    """Everything about a picture except its pixels, as JSON data."""
    photo = shared.place(picture.photo)
    return {
        "photo": photo,
        "values": shared.place(picture.values) if picture.deep else None,
        "size": picture.size,
        "shown": picture.shown,
        "stretch": picture.stretch,
        "channels": picture.channels,
        "axes": [asdict(axis) for axis in picture.axes],
        "pixel_size": picture.pixel_size,
    }


def main() -> None:
    """Answer each request in a new process, until the other end of the socket is closed.

    So a decoder's memory never contains anything of the previous picture, and a compromised decoder
    ends with its answer. The process that starts them never sees a picture.
    """
    connection_number, memory_number, ready, max_bytes, max_pixels = map(int, sys.argv[1:])
    set_limits(max_bytes, max_pixels)
    with socket.socket(fileno=connection_number) as connection:
        shared = Shared(mmap.mmap(memory_number, 0))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        Image.init()  # loads the modules of all formats, which is impossible later
        tiff.preload()
        open_picture(SMALL)  # loads what decoders need
        # Whatever is done here is done once. A new process has a copy of each page that it or its
        # reference counts write to, so the less it does, the sooner it is there.
        forbid_files(MEMORY)
        gc.disable()
        gc.freeze()
        while True:
            try:
                os.write(ready, b".")
            except BrokenPipeError:  # no more requests will come
                return
            child = os.fork()
            if not child:
                os.close(ready)  # only the parent says when this process is gone
                answer_one(connection, shared, nowhere)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                # This process ends in the same way, which tells the app.
                number = os.WTERMSIG(status)
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            if status:
                sys.exit(os.waitstatus_to_exitcode(status) % NO_MORE)


def answer_one(connection: socket.socket, shared: Shared, nowhere: int) -> NoReturn:
    """Answer one request, and end; what decoders print goes to `nowhere`."""
    end_with_parent()
    forbid_calls()
    os.dup2(nowhere, 2)  # decoders may print parts of a visitor's picture
    os.close(nowhere)
    request, files, *_ = socket.recv_fds(connection, REQUEST.size, 1)
    if not request:
        os._exit(NO_MORE)
    side, *wanted = REQUEST.unpack(request)
    place = Place(**{name: index for name, index in zip(AXES, wanted, strict=True) if index != ANY})
    # Ends this process where nothing else would: inside a decoder, too.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with os.fdopen(files[0], "rb") as file:
            answer = picture_to_json(open_picture(file, side, place, shared.allocate), shared)
    except PhotoError as error:
        answer = {"error": error.key, "named": error.values}
    except BaseException:
        os._exit(1)
    text = json.dumps(answer).encode()
    connection.sendall(HEADER.pack(len(text)) + text)
    os._exit(0)


if __name__ == "__main__":
    main()
