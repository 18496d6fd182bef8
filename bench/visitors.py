"""Visitors of a served app, for measurements with many at once and with many one after another."""

import http.client
import io
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

import documents
from models import processor
from models.runtime import usable_cores

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "docs" / "serving.json"
START, END = (
    "<!-- serving: written by bench.crowd, bench.abuse and bench.soak -->",
    "<!-- /serving -->",
)

SIDES = (120, 300, 640, 1280)  # pixels of the longer side
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


@contextmanager
def served(
    log: Path, root: Path = ROOT, python: Path = Path(sys.executable), **environment: str
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The app of a checkout, by its own command: its port and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {"GRADIO_SSR_MODE": "False", **environment, "PETSCOPE_PORT": str(port)}
    with log.open("w") as file:
        process = subprocess.Popen(  # noqa: S603 -- our own words
            [python, "app.py"],
            cwd=root,
            env={**os.environ, **given},
            stdout=file,
            stderr=file,
        )
    try:
        if not ready(port, process):
            said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise SystemExit(f"The app of {root} does not start: {said[-1]}")
        yield port, process
    finally:
        process.terminate()
        process.wait(300)


def ready(port: int, process: subprocess.Popen[bytes], seconds: float = 400) -> bool:
    """Wait until the app reports that it is ready; False if it never does."""
    end = time.monotonic() + seconds
    while True:
        try:
            if get(port, "/healthz")[0] == 200:
                break
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                return False
        time.sleep(0.2)
    time.sleep(2)
    return True


def get(port: int, path: str, client: str | None = None) -> tuple[int, bytes]:
    """Status and body of the answer for a path."""
    return request(port, "GET", path, client=client)


def request(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    kind: str | None = None,
    client: str | None = None,
) -> tuple[int, bytes]:
    """Status and body of an answer; each request has its own connection."""
    headers = {"Content-Type": kind} if kind else {}
    if client:
        headers["X-Forwarded-For"] = client
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask(port: int, name: str, photo: bytes, more: list[object], client: str) -> str:
    """Upload a photo and call an endpoint with it, as a program without a client library would.

    Returns
    -------
    "complete", "error" with a sentence, or what went wrong.
    """
    form = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        + photo
        + b"\r\n--x--\r\n"
    )
    status, body = request(
        port, "POST", "/gradio_api/upload", form, "multipart/form-data; boundary=x", client
    )
    if status != 200:
        return f"upload {status}"
    file = {"path": json.loads(body)[0], "meta": {"_type": "gradio.FileData"}}
    return call(port, name, [file, *more], client)


def call(port: int, name: str, values: list[object], client: str) -> str:
    """Call an endpoint with these values; returns the same as `ask`."""
    data = json.dumps({"data": values}).encode()
    status, body = request(
        port, "POST", f"/gradio_api/call/{name}", data, "application/json", client
    )
    if status != 200:
        return f"call {status}"
    event = json.loads(body)["event_id"]
    _, told = get(port, f"/gradio_api/call/{name}/{event}", client)
    found = re.findall(rb"event: (complete|error)\ndata: (.*)", told)
    if not found:
        return "no answer"
    kind, content = found[-1]
    if kind == b"error" and not json.loads(content).get("error"):
        return "error without a sentence"
    return kind.decode()


def photos(seed: int = 0) -> list[bytes]:
    """Pictures of several sizes and kinds, made from the examples; one in ten is damaged."""
    generator = random.Random(seed)  # noqa: S311 -- no secret
    made: list[bytes] = []
    for path in sorted((ROOT / "examples").glob("*.[jp][pn]g")):
        with Image.open(path) as image:
            for side in SIDES:
                picture = image.convert("RGB")
                picture.thumbnail((side, side))
                content = io.BytesIO()
                picture.save(content, generator.choice(FORMATS))
                made.append(content.getvalue())
    damaged = generator.sample(range(len(made)), len(made) // 10)
    for place in damaged:
        made[place] = made[place][: len(made[place]) // 3]
    generator.shuffle(made)
    return made


def metric(port: int, name: str) -> float:
    """A value of /metrics."""
    _, body = get(port, "/metrics")
    (value,) = re.findall(rf"^{name} (\S+)$".encode(), body, re.MULTILINE)
    return float(value)


def processor_seconds(process: int) -> float:
    """Processor time that a process and its children have used (Linux).

    This includes finished children of its children, such as those that decode one picture each.
    """
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended meanwhile
            fields = file.read_text().rsplit(")", 1)[1].split()
            if process in (int(file.parent.name), int(fields[1])):
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_memory(process: int) -> int:
    """Peak memory of a process so far, in bytes (Linux)."""
    status = Path(f"/proc/{process}/status").read_text()
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(peak)


def machine() -> str:
    """The machine, for the record."""
    return f"{usable_cores()} cores of {processor.name()}"


def record(name: str, figures: dict[str, object]) -> None:
    """Save the figures of a measurement, and renew the table in SECURITY.md."""
    from bench.serving_table import table

    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    known[name] = figures
    RECORD.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    documents.renew(START, END, table(known))
