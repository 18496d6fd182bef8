"""Albums on a ZeroGPU Space: the Hub's package `spaces`, and a stand-in for its scheduler."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from serving import zerogpu

ROOT = Path(__file__).parents[2]
PHOTOS = 8
OUTCOMES = ("lent", "again", "refused", "quota", "ended")
LENT = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "token"}


class Scheduler(BaseHTTPRequestHandler):
    """What the package asks for a GPU: it lends one or says why not."""

    calls: list[tuple[str, dict[str, str]]]
    outcome: str

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        kind = type(self)
        kind.calls.append((parts.path, asked))
        if parts.path == "/outcome":
            kind.outcome = asked["is"]
        answer: dict[str, Any] = {}
        status = 200
        if parts.path == "/schedule":
            if kind.outcome == "refused":
                status = 503
            elif kind.outcome == "quota":
                status, answer = 429, {"left": 0, "wait": 3600}
            else:
                answer = LENT | {"idle": kind.outcome == "again"}  # the process is there already
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    Scheduler.calls, Scheduler.outcome = [], "lent"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scheduler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def albums(scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What happened to an album for each outcome."""
    folder = tmp_path_factory.mktemp("album")
    photos = folder / "photos"
    photos.mkdir()
    for number in range(PHOTOS):
        name = ("cat_chelsea.png", "coffee_cup.jpg")[number % 2]
        shutil.copy(ROOT / "examples" / name, photos / f"{number}-{name}")
    group = folder / "cgroup"
    group.write_text("0::/space\n")
    environment = {
        **os.environ,
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": scheduler,
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(group),
        "GRADIO_TEMP_DIR": str(folder / "files"),
    }
    script = Path(__file__).with_name("zerogpu_albums.py")
    done = subprocess.run(
        [sys.executable, script, photos, *OUTCOMES],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["outcome"]: line for line in lines}


@pytest.mark.parametrize(
    ("outcome", "devices", "sentence"),
    [
        ("lent", {"GPU"}, "Computed on the GPU"),
        ("again", {"GPU"}, "Computed on the GPU"),
        ("refused", {"CPU"}, "Computed on the CPU. No GPU was free."),
        ("quota", {"CPU"}, "Computed on the CPU. Your GPU time for today is used up."),
        ("ended", {"GPU", "CPU"}, "The GPU time ran out."),
    ],
)
def test_every_photo_has_one_row_and_the_page_its_sentence(
    albums: dict[str, dict[str, Any]], outcome: str, devices: set[str], sentence: str
) -> None:
    found = albums[outcome]

    assert [photo["file"][:2] for photo in found["photos"]] == [f"{n}-" for n in range(PHOTOS)]
    assert all(len(photo["pets"]) == ("cat" in photo["file"]) for photo in found["photos"])
    assert set(found["devices"]) >= devices
    assert sum(found["devices"].values()) == PHOTOS
    assert f"{PHOTOS} photos analysed." in found["message"]
    assert sentence in found["message"]
    boxes = [photo["pets"] for photo in albums["refused"]["photos"]]
    assert [photo["pets"] for photo in found["photos"]] == boxes


@pytest.mark.usefixtures("albums")
def test_the_hub_is_told_at_the_start_and_asked_once_for_each_album() -> None:
    paths = [path for path, _ in Scheduler.calls if path != "/outcome"]
    assert paths[0] == "/startup-report"
    assert paths.count("/startup-report") == 1
    asked = [words for path, words in Scheduler.calls if path == "/schedule"]
    assert len(asked) == len(OUTCOMES)
    assert all(zerogpu.START_SECONDS < float(each["durationSeconds"]) < 30 for each in asked)
    # The GPU is given back, or was taken away.
    assert paths.count("/allow") == 2
    assert paths.count("/release") == 3


def test_an_album_asks_for_longer_with_more_and_larger_photos(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(100_000))
    large.write_bytes(bytes(4_000_000))
    few, more, most = (zerogpu.seconds_for(p) for p in ([small] * 9, [small] * 90, [large] * 90))
    assert zerogpu.START_SECONDS < few < more < most
    assert zerogpu.seconds_for([large] * 1000) == zerogpu.MOST_SECONDS


@pytest.mark.parametrize("value", [None, "", "false", "0"])
def test_elsewhere_no_gpu_is_asked_for(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    if value is not None:
        monkeypatch.setenv("SPACES_ZERO_GPU", value)
    zerogpu.declare()
    with zerogpu.Lease([]) as lease:
        assert (lease.photos_at_a_time, lease.refusal) == (1, None)
