"""A process that decodes pictures for `serving.decoding` and may do nothing else.

    python -m serving.decoder SOCKET MEMORY BYTES PIXELS

The first two are descriptors, the others the limits of `models.images.set_limits`. Each request is
a few numbers with an open file, over the socket: how many pixels the longer side of the photo needs
at least, or 0 for the whole one, and which of the file's pictures. Its pixels go into the shared
memory; the answer is JSON that says where they lie and what else is known of the picture, or what
is wrong with it.
"""

import json
import math
import mmap
import os
import signal
import socket
import struct
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import tiff
from models.images import PhotoError, open_picture, set_limits
from models.picture import AXES, Picture, Place
from serving.lockdown import lock_down

REQUEST = struct.Struct(f"!I{len(AXES)}i")  # the side, and the place, whose parts may be ANY
ANY = -1
HEADER = struct.Struct("!I")  # bytes of the JSON that follows
MEMORY = 500_000_000  # bytes a picture may take
SECONDS = 4.5  # of the processor a picture may take
ALIGNED = 64  # bytes: where arrays may begin


class Shared:
    """The shared memory, which is handed out from its beginning for each picture."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._bytes = np.frombuffer(memory, np.uint8)
        self._start = self._bytes.ctypes.data
        self._used = 0

    def clear(self) -> None:
        """Begin anew."""
        self._used = 0

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array that is not filled.

        Raises
        ------
        MemoryError
            When it is larger than what is left.
        """
        size = math.prod(shape) * dtype.itemsize
        if self._used + size > len(self._bytes):
            raise MemoryError
        part = self._bytes[self._used : self._used + size]
        self._used += size + -size % ALIGNED
        return part.view(dtype).reshape(shape)

    def describe(self, array: NDArray[Any]) -> dict[str, Any]:
        """Where an array of `allocate` lies, and what it holds."""
        offset = array.ctypes.data - self._start
        return {"offset": offset, "shape": array.shape, "dtype": array.dtype.str}


def describe(picture: Picture, shared: Shared) -> dict[str, Any]:
    """All of a picture but its pixels, as JSON data."""
    photo = shared.describe(picture.photo)
    return {
        "photo": photo,
        "values": shared.describe(picture.values) if picture.deep else None,
        "size": picture.size,
        "shown": picture.shown,
        "stretch": picture.stretch,
        "channels": picture.channels,
        "axes": [asdict(axis) for axis in picture.axes],
        "pixel_size": picture.pixel_size,
    }


def main() -> None:
    """Answer requests until the other end of the socket is closed."""
    set_limits(int(sys.argv[3]), int(sys.argv[4]))
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        shared = Shared(mmap.mmap(int(sys.argv[2]), 0))
        Image.init()  # reads the modules of all formats, which is impossible later
        tiff.preload()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        lock_down(MEMORY)
        os.dup2(nowhere, 2)  # what decoders say about a visitor's picture
        os.close(nowhere)
        while True:
            request, files, *_ = socket.recv_fds(connection, REQUEST.size, 1)
            if not request:
                return
            side, *wanted = REQUEST.unpack(request)
            place = Place(
                **{name: index for name, index in zip(AXES, wanted, strict=True) if index != ANY}
            )
            shared.clear()
            # Ends this process where nothing else would: inside a decoder, too.
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            with os.fdopen(files[0], "rb") as file:
                try:
                    answer = describe(open_picture(file, side, place, shared.allocate), shared)
                except PhotoError as error:
                    answer = {"error": error.key, "named": error.values}
            text = json.dumps(answer).encode()
            connection.sendall(HEADER.pack(len(text)) + text)
            signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
