"""A process that decodes pictures for `serving.decoding` and may do nothing else.

    python -m serving.decoder SOCKET MEMORY

Both are descriptors. Each request is a number with an open file, over the socket: how many pixels
the longer side needs at least, or 0 for the whole photo. The photo's pixels go into the shared
memory; the answer is its size and that of the whole photo, or an error as JSON.
"""

import json
import math
import mmap
import os
import signal
import socket
import struct
import sys

import numpy as np
from PIL import Image

from models.images import Photo, PhotoError, open_preview
from serving.lockdown import lock_down

REQUEST = struct.Struct("!I")
# Height and width of the photo, those of the whole photo, bytes of the error that follows or 0.
HEADER = struct.Struct("!IIIII")
MEMORY = 500_000_000  # bytes a picture may take
SECONDS = 4.5  # of the processor a picture may take


def main() -> None:
    """Answer requests until the other end of the socket is closed."""
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        shared = np.frombuffer(mmap.mmap(int(sys.argv[2]), 0), np.uint8)

        def allocate(shape: tuple[int, int, int]) -> Photo:
            return shared[: math.prod(shape)].reshape(shape)

        Image.init()  # reads the modules of all formats, which is impossible later
        nowhere = os.open(os.devnull, os.O_WRONLY)
        lock_down(MEMORY)
        os.dup2(nowhere, 2)  # what decoders say about a visitor's picture
        os.close(nowhere)
        while True:
            request, files, *_ = socket.recv_fds(connection, REQUEST.size, 1)
            if not request:
                return
            (side,) = REQUEST.unpack(request)
            # Ends this process where nothing else would: inside a decoder, too.
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            with os.fdopen(files[0], "rb") as file:
                try:
                    photo, size = open_preview(file, side, allocate)
                except PhotoError as error:
                    text = json.dumps({"key": error.key, "values": error.values}).encode()
                    connection.sendall(HEADER.pack(0, 0, 0, 0, len(text)) + text)
                else:
                    connection.sendall(HEADER.pack(*photo.shape[:2], *size, 0))
            signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
