"""Albums on ZeroGPU, in a process of their own: the package `spaces` changes Gradio and forks.

python tests/serving/zerogpu_albums.py PHOTOS OUTCOME ...

The scheduler is the stand-in of `test_zerogpu.py`. It prints a line of JSON for each outcome.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

# PyTorch is no part of the app, and `spaces` would change it.
sys.modules["torch"] = None  # type: ignore[assignment]
sys.path.insert(0, str(Path(__file__).parents[2]))

from models import runtime  # noqa: E402
from serving import decoding, zerogpu  # noqa: E402
from ui import album  # noqa: E402

STAND_IN = Path(__file__).with_name("zerogpu_stand_in.py")


class DecidedLease(zerogpu.Lease):
    """A lease that is waited for: these few photos could be done before a GPU comes."""

    def __init__(self, photos: Sequence[Path]) -> None:
        super().__init__(photos)
        while not (self._there() or self._over.is_set()):
            time.sleep(0.01)


def wait_for_the_end() -> None:
    """Wait until the GPU has been given back."""
    for thread in threading.enumerate():
        if thread.name == "GPU lease":
            thread.join()


def take_the_gpu_away() -> None:
    """End the processes that have a GPU, as the scheduler does when their time is over."""
    for process in multiprocessing.active_children():
        os.kill(process.pid or 0, signal.SIGKILL)


def main(folder: str, *outcomes: str) -> None:
    """Let each outcome happen to an album of a folder's photos."""
    assert zerogpu.here()
    runtime.no_gpu.set()
    zerogpu.Lease = DecidedLease  # type: ignore[misc]
    zerogpu.GPU_PROCESS = [sys.executable, str(STAND_IN)]
    decoding.start()
    zerogpu.declare()
    files = [str(path) for path in sorted(Path(folder).iterdir())]
    for outcome in outcomes:
        httpx.post(os.environ["SPACES_ZERO_DEVICE_API_URL"] + "/outcome", params={"is": outcome})
        found = None
        for found, *_ in album.analyze_photos(files, album.Run()):
            if outcome == "ended" and found and found.devices["GPU"] == 2:
                take_the_gpu_away()
        wait_for_the_end()
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
