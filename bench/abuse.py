"""One client sends as much as the limits let it: what another visitor notices, and the memory.

    python -m bench.abuse            # five minutes; prints the figures, and keeps them
    python -m bench.abuse --short    # one minute; only prints them

The app is started by its own command, and all that is sent goes to 127.0.0.1. The greedy client
keeps as many large cut-outs waiting as it may, uploads, and makes sessions up; the other visitor
asks for the breed of a small photo, one after the other. Then fifty visitors send mixed photos.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import io
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from bench import visitors

GREEDY, OTHER = "9.0.0.1", "9.0.0.2"
VISITORS = 50
ENDPOINTS: tuple[tuple[str, list[object]], ...] = (
    ("analyze", [3]),
    ("breed", []),
    ("mask", ["pet-fine"]),
    ("cut_out", []),
)


def large_photo() -> bytes:
    """A phone's photo of 12 megapixels, as JPEG."""
    small = Image.open(visitors.ROOT / "examples" / "german_shepherd.jpg")
    content = io.BytesIO()
    small.resize((4000, 3000)).save(content, "JPEG", quality=90)
    return content.getvalue()


def answer_times(port: int, photo: bytes, seconds: float, client: str) -> list[float]:
    """How long a visitor waits for each of its answers, one after the other."""
    times: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or not times:
        start = time.monotonic()
        outcome = visitors.ask(port, "breed", photo, [], client)
        if outcome != "complete":
            raise RuntimeError(f"The visitor got no answer: {outcome}.")
        times.append(time.monotonic() - start)
        time.sleep(0.2)
    return times


def be_greedy(port: int, over: threading.Event) -> None:
    """Send what the limits allow, until told to stop."""
    form = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n%s\r\n--x--\r\n'
    )
    kind = "multipart/form-data; boundary=x"
    _, body = visitors.request(
        port, "POST", "/gradio_api/upload", form % large_photo(), kind, GREEDY
    )
    file = {"path": json.loads(body)[0], "meta": {"_type": "gradio.FileData"}}
    cut_out = json.dumps({"data": [file]}).encode()
    noise = np.random.default_rng(0).integers(0, 255, 5_000_000, np.uint8).tobytes()
    number = 0
    while not over.is_set():
        number += 1
        with suppress(OSError):  # a refused upload may be cut off
            if number % 20 == 0:
                visitors.request(port, "POST", "/gradio_api/upload", form % noise, kind, GREEDY)
        status, _ = visitors.request(
            port, "POST", "/gradio_api/call/cut_out", cut_out, "application/json", GREEDY
        )
        made_up = json.dumps({"data": [], "fn_index": 0, "session_hash": f"s{number}"}).encode()
        visitors.request(
            port, "POST", "/gradio_api/queue/join", made_up, "application/json", GREEDY
        )
        if status != 200:
            over.wait(0.2)


def send_mixed(port: int, uploads: int) -> dict[str, int]:
    """Photos of many kinds by fifty visitors; what came of them."""
    photos = visitors.photos()

    def visit(number: int) -> str:
        name, more = ENDPOINTS[number % len(ENDPOINTS)]
        client = f"9.1.0.{number % VISITORS + 1}"
        return visitors.ask(port, name, photos[number % len(photos)], more, client)

    with ThreadPoolExecutor(VISITORS) as threads:
        outcomes = list(threads.map(visit, range(uploads)))
    return {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}


def measure(seconds: float, uploads: int) -> dict[str, object]:
    """Start the app, and measure."""
    small = (visitors.ROOT / "examples" / "cat_chelsea.png").read_bytes()
    with (
        tempfile.TemporaryDirectory() as folder,
        visitors.served(Path(folder) / "log", PETSCOPE_BEHIND_PROXY="1") as (port, _),
    ):
        answer_times(port, small, 3, OTHER)  # all is warm
        idle = answer_times(port, small, seconds / 2, OTHER)
        start = visitors.metric(port, "petscope_resident_bytes")
        over = threading.Event()
        thread = threading.Thread(target=be_greedy, args=(port, over))
        thread.start()
        try:
            time.sleep(5)
            beside = answer_times(port, small, seconds, OTHER)
        finally:
            over.set()
            thread.join()
        while visitors.metric(port, "petscope_queue_length"):
            time.sleep(0.5)
        outcomes = send_mixed(port, uploads)
        return {
            "machine": visitors.machine(),
            "idle_median_seconds": round(median(idle), 3),
            "beside_greedy_median_seconds": round(median(beside), 3),
            "beside_greedy_worst_seconds": round(max(beside), 3),
            "answers_beside_greedy": len(beside),
            "resident_megabytes_before": round(start / 1e6),
            "uploads": uploads,
            "outcomes": outcomes,
            "resident_megabytes": round(visitors.metric(port, "petscope_resident_bytes") / 1e6),
        }


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a minute; keep nothing")
    arguments = parser.parse_args(words)
    figures = measure(20, 100) if arguments.short else measure(120, 1000)
    print(json.dumps(figures, indent=2))
    if not arguments.short:
        known = json.loads(visitors.RECORD.read_text()) if visitors.RECORD.exists() else {}
        known["abuse"] = figures
        visitors.RECORD.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    commandline.run(main)
