"""ONNX Runtime sessions: which device, how many threads, warmed up."""

import os
from collections.abc import Sequence
from functools import cache

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class Network:
    """A network ready to run, on the GPU where this machine and its packages have one.

    Attributes
    ----------
    device
        Where it runs, for people: "GPU" or "CPU".
    input_shape
        Lengths of its input's axes, None where it takes any.
    """

    def __init__(self, content: bytes, warm_up_shape: Sequence[int]) -> None:
        """Load a network from the bytes of an `.onnx` file and run it once on zeros.

        The first run allocates memory and picks kernels; a visitor should not wait for it.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = usable_cores()
        # A waiting thread that spins takes a core from the other models and the page.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # An arena keeps what the largest input ever needed, for each network: 975 MB after each had
        # its turn at its largest size, against 350 MB without, for no time that can be measured at
        # 256 px, and a quarter more for nuclei at 512 px.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(content, options, providers=_providers())
        photo = self._session.get_inputs()[0]
        self._input = photo.name
        self.input_shape = tuple(n if isinstance(n, int) else None for n in photo.shape)
        on_gpu = self._session.get_providers()[0] == "CUDAExecutionProvider"
        self.device = "GPU" if on_gpu else "CPU"
        self.run(np.zeros(warm_up_shape, np.float32))

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a batch through the network; return its first output."""
        return self.run_all(batch)[0]

    def run_all(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run a batch through the network; return all its outputs."""
        return self._session.run(None, {self._input: batch})


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has.

    $PETSCOPE_CORES says so where several such processes share a machine.
    """
    if cores := os.environ.get("PETSCOPE_CORES"):
        return int(cores)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _providers() -> list[str]:
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    # Finds the CUDA and cuDNN libraries that pip installed beside onnxruntime-gpu. Without a GPU
    # the session falls back to the CPU by itself.
    onnxruntime.preload_dlls()
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]
