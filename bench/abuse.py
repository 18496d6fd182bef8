"""One client sends as much as the limits allow: the effect on another visitor, and on the memory.

    python -m bench.abuse                       # some ten minutes
    python -m bench.abuse --against ../older    # and the memory of another checkout
    python -m bench.abuse --short               # one minute; keeps no record

The app is started by its own command, and everything is sent to 127.0.0.1. The greedy client keeps
as many large cut-outs waiting as it may, uploads, and makes up sessions; the other visitor requests
the breed of a small photo again and again. Then, in another app, fifty visitors send mixed photos,
through the page and the endpoints.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import io
import itertools
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from bench import visitors
from bench.page_visitor import PageVisitor, PhotoEvent, RefusedError

GREEDY, OTHER = "9.0.0.1", "9.0.0.2"
VISITORS = 50
ENDPOINTS: tuple[tuple[str, list[object]], ...] = (
    ("analyze", [3]),
    ("breed", []),
    ("mask", ["pet-fine"]),
    ("cut_out", []),
    ("threshold", [4, "luminance"]),
    ("mask", ["nuclei"]),
)
SETTLED = 15.0  # seconds after which free memory has been released


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


def mixed_photos() -> list[bytes]:
    """Pictures of many kinds and sizes, some damaged, and large ones of phones and cameras."""
    photos = visitors.photos()
    dog = Image.open(visitors.ROOT / "examples" / "german_shepherd.jpg").convert("RGB")
    for size, kind in (
        ((4000, 3000), "JPEG"),
        ((6000, 4000), "JPEG"),
        ((8000, 6000), "JPEG"),
        ((3000, 2250), "PNG"),
        ((2048, 1536), "WEBP"),
    ):
        content = io.BytesIO()
        dog.resize(size).save(content, kind)
        photos.append(content.getvalue())
    return photos


def send_mixed(port: int, uploads: int) -> dict[str, int]:
    """Let fifty visitors send photos of many kinds, half of them through the page; the outcomes."""
    photos, event = mixed_photos(), PhotoEvent.of(port)
    turns = itertools.count()
    outcomes: Counter[str] = Counter()

    def visit(number: int) -> None:
        address = f"9.1.0.{number + 1}"
        page = PageVisitor(port, address, event)
        while (turn := next(turns)) < uploads:
            # Decoders ignore bytes after a picture's end: the same picture, but a different file.
            photo = photos[7 * turn % len(photos)] + turn.to_bytes(8, "big")
            if turn % 2:
                outcomes[shown(page, photo)] += 1
            else:
                name, more = ENDPOINTS[turn // 2 % len(ENDPOINTS)]
                outcomes[visitors.ask(port, name, photo, more, address)] += 1
        page.close()

    with ThreadPoolExecutor(VISITORS) as threads:
        list(threads.map(visit, range(VISITORS)))
    return dict(sorted(outcomes.items()))


def shown(page: PageVisitor, photo: bytes) -> str:
    """The outcome of dropping a photo on a page."""
    try:
        page.show(photo)
    except RefusedError as error:
        return f"page: {error}"
    except KeyError:
        return "page: a sentence"  # nothing to show
    return "page: complete"


def measure_memory(root: Path, uploads: int) -> dict[str, Any]:
    """Start the app of a checkout; its memory before and after mixed photos."""
    with (
        tempfile.TemporaryDirectory() as folder,
        visitors.served(Path(folder) / "log", root, PETSCOPE_BEHIND_PROXY="1") as (port, process),
    ):
        start = visitors.metric(port, "petscope_resident_bytes")
        outcomes = send_mixed(port, uploads)
        time.sleep(SETTLED)
        log = (Path(folder) / "log").read_text()
        return {
            "visitors": VISITORS,
            "uploads": uploads,
            "resident_megabytes_before": round(start / 1e6),
            "outcomes": outcomes,
            "faults": log.count('"event": "fault"'),
            "resident_megabytes": round(visitors.metric(port, "petscope_resident_bytes") / 1e6),
            "peak_megabytes": round(visitors.peak_memory(process.pid) / 1e6),
        }


def measure_waiting(seconds: float) -> dict[str, Any]:
    """Start the app; return how long a visitor waits alone, and beside a greedy client."""
    small = (visitors.ROOT / "examples" / "cat_chelsea.png").read_bytes()
    with (
        tempfile.TemporaryDirectory() as folder,
        visitors.served(Path(folder) / "log", PETSCOPE_BEHIND_PROXY="1") as (port, _),
    ):
        answer_times(port, small, 3, OTHER)  # warms everything up
        idle = answer_times(port, small, seconds / 2, OTHER)
        over = threading.Event()
        thread = threading.Thread(target=be_greedy, args=(port, over))
        thread.start()
        try:
            time.sleep(5)
            beside = answer_times(port, small, seconds, OTHER)
        finally:
            over.set()
            thread.join()
        return {
            "idle_median_seconds": round(median(idle), 3),
            "beside_greedy_median_seconds": round(median(beside), 3),
            "beside_greedy_worst_seconds": round(max(beside), 3),
            "answers_beside_greedy": len(beside),
        }


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and renew the records and SECURITY.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a minute; keep no record")
    parser.add_argument("--only", choices=("waiting", "memory"), help="one half of the figures")
    parser.add_argument("--against", type=Path, help="another checkout, whose memory is measured")
    arguments = parser.parse_args(words)
    if arguments.against and not (arguments.against / "app.py").is_file():
        parser.error(f"{arguments.against} is not a checkout of the app")
    seconds, uploads = (20, 100) if arguments.short else (120, 1000)
    figures: dict[str, dict[str, Any]] = {}
    if arguments.only != "memory":
        figures["waiting"] = measure_waiting(seconds)
    if arguments.only != "waiting":
        figures["memory"] = measure_memory(visitors.ROOT, uploads)
        if arguments.against:
            other = measure_memory(arguments.against, uploads)
            figures["memory"]["against"] = {"checkout": arguments.against.name, **other}
    for name, found in figures.items():
        against = f" --against ../{arguments.against.name}" if "against" in found else ""
        found["command"] = f"python -m bench.abuse --only {name}{against}"
        found["machine"] = visitors.machine()
        print(json.dumps(found, indent=2))
        if not arguments.short:
            visitors.record(f"abuse_{name}", found)


if __name__ == "__main__":
    commandline.run(main)
