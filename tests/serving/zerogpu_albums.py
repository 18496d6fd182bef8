"""Albums on ZeroGPU, in a process of their own: the package `spaces` changes Gradio and forks.

python tests/serving/zerogpu_albums.py PHOTOS OUTCOME ...

The scheduler is the stand-in of `test_zerogpu.py`. It prints a line of JSON for each outcome.
"""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import httpx

# PyTorch is no part of the app, and `spaces` would change it.
sys.modules["torch"] = None  # type: ignore[assignment]
sys.path.insert(0, str(Path(__file__).parents[2]))

from models import runtime  # noqa: E402
from models.runtime import Gathered, Network  # noqa: E402
from serving import decoding, zerogpu  # noqa: E402
from ui import album  # noqa: E402


def stand_in(content: bytes, warm_up_shape: tuple[int, ...]) -> Network:
    """A network on this machine's CPU that says it is on the GPU."""
    network = Network(content, warm_up_shape, ["CPUExecutionProvider"])
    network._gathered = Gathered(network._run)
    network.device = "GPU"
    return network


def take_the_gpu_away() -> None:
    """End the processes that have a GPU, as the scheduler does when their time is over."""
    for process in multiprocessing.active_children():
        os.kill(process.pid or 0, signal.SIGKILL)


def main(folder: str, *outcomes: str) -> None:
    """Let each outcome happen to an album of a folder's photos."""
    assert zerogpu.here()
    runtime.no_gpu.set()
    zerogpu.on_gpu = stand_in
    decoding.start()
    zerogpu.declare()
    files = [str(path) for path in sorted(Path(folder).iterdir())]
    for outcome in outcomes:
        httpx.post(os.environ["SPACES_ZERO_DEVICE_API_URL"] + "/outcome", params={"is": outcome})
        found = None
        for found, *_ in album.analyze_photos(files, album.Run()):
            if outcome == "ended" and found and found.devices["GPU"] == 2:
                take_the_gpu_away()
        assert found is not None
        message, *_ = album.finish(found)
        facts = [
            {"file": entry.file, "pets": [pet["box"] for pet in (entry.facts or {})["pets"]]}
            for entry in found.entries
        ]
        told = {"message": message, "devices": found.devices, "photos": facts}
        print(json.dumps({"outcome": outcome, **told}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
