"""Replays a network's run for one shape: its buffers and its schedule stay on the GPU.

Small networks have hundreds of short kernels, and a GPU often waits for the next one to be
launched. A CUDA graph launches all at once, but only for the same shapes and addresses. So each
shape has its own session with the shape built in, and its own bound buffers. Source: ONNX Runtime's
documentation, "CUDA Execution Provider", "Using CUDA Graphs".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

# Each session's memory grows by the amount needed, not to the next power of two.
OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "enable_cuda_graph": "1",
    "arena_extend_strategy": "kSameAsRequested",
}

CUDA: tuple[str, Any] = ("CUDAExecutionProvider", OPTIONS)


class Replay:
    """Runs a network on batches of one shape.

    Parameters
    ----------
    content
        The bytes of an `.onnx` file.
    shape
        Of the batches.
    axes
        Axes of the network's input, from its session: lengths, and names of free ones.
    answers
        The network's answers for any batch of this shape, which give the shapes of its outputs.
    provider, device
        Where to run, in ONNX Runtime's terms.

    Raises
    ------
    RuntimeError
        And other errors of ONNX Runtime, if the provider cannot run the whole network.
    """

    def __init__(
        self,
        content: bytes,
        shape: Sequence[int],
        axes: Sequence[int | str | None],
        answers: Sequence[NDArray[np.float32]],
        provider: str | tuple[str, Any] = CUDA,
        device: str = "cuda",
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        for name, length in zip(axes, shape, strict=True):
            if isinstance(name, str):
                options.add_free_dimension_override_by_name(name, length)
        self._session = onnxruntime.InferenceSession(content, options, providers=[provider])
        make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        self.shape = tuple(shape)
        self._photo = make(list(shape), np.float32, device)
        self._answers = [make(list(answer.shape), np.float32, device) for answer in answers]
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(self._session.get_inputs()[0].name, self._photo)
        for output, value in zip(self._session.get_outputs(), self._answers, strict=True):
            self._binding.bind_ortvalue_output(output.name, value)

    def __call__(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The network's answers to a batch of the shape; one run at a time."""
        self._photo.update_inplace(np.ascontiguousarray(batch))
        self._session.run_with_iobinding(self._binding)
        return [np.array(value.numpy()) for value in self._answers]
