"""A process that runs networks on a lent GPU for `serving.zerogpu`, and does nothing else.

    python -m serving.gpu_process PIPE

PIPE is the file descriptor of a connection. A request over it is a network's number, a batch, and
the first time the network itself. The answers go back the same way, until None comes.
"""

import sys
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from models import runtime
from models.runtime import Network
from serving.lockdown import end_with_parent

Request = tuple[int, NDArray[np.float32], tuple[bytes, tuple[int, ...]] | None]


def run_networks(pipe: Connection) -> None:
    """Run networks for the other end of a pipe until it sends None or is closed.

    Raises
    ------
    RuntimeError
        When a network cannot use the GPU.
    """
    networks: dict[int, Network] = {}
    pipe.send("ready")
    while (request := _next(pipe)) is not None:
        number, batch, description = request
        if description is not None:
            networks[number] = on_gpu(*description)
        answers = networks[number].run_all(batch)
        if networks[number].device != "GPU":
            raise RuntimeError("The networks cannot use the GPU that was lent.")
        pipe.send(answers)


def _next(pipe: Connection) -> Request | None:
    try:
        request: Request | None = pipe.recv()
    except EOFError:  # the other end is gone
        return None
    return request


def on_gpu(content: bytes, warm_up_shape: tuple[int, ...]) -> Network:
    """Open a network on the GPU that was lent."""
    return Network(content, warm_up_shape, runtime.cuda_providers())


def main(pipe: str) -> None:
    """Run networks for the process that started this one."""
    end_with_parent()
    run_networks(Connection(int(pipe)))


if __name__ == "__main__":
    main(sys.argv[1])
