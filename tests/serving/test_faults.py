"""A process that is told to stop, a full disk, and a read-only home folder."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import visitors
from tests.raw_http import CAT, EXAMPLES, Answer, Served, everything, file_data
from tests.serving.real_app import FORM, NAMED, picture, started

ROOT = EXAMPLES.parent
DISK = 24_000_000  # bytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate small disk for uploads and results."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk of its own")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_an_unwritable_home_and_a_clean_shutdown(
    small_disk: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with visitors.served(
        log,
        GRADIO_TEMP_DIR=str(small_disk),
        HOME="/proc/nowhere",  # not even root can write there
        PETSCOPE_BEHIND_PROXY="1",
    ) as (port, process):
        app = Served(port, None)
        (path,) = json.loads(app.upload(CAT.read_bytes()).body)
        assert app.call("breed", file_data(path))[0] == "complete"

        rest = small_disk / "rest"
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        rest.write_bytes(bytes(free - 20_000))
        refused = app.upload(bytes(1_000_000))
        no_room = app.call("cut_out", file_data(path))
        needs_none = app.call("breed", file_data(path))
        rest.unlink()
        again = app.upload(bytes(1_000_000))
        room = app.call("cut_out", file_data(path))

        assert refused.status == 507
        assert "no room" in refused.sentence
        assert no_room[0] == "error"
        assert "no room on the disk" in no_room[1]["error"]
        assert needs_none[0] == "complete"
        assert again.status == 200
        assert room[0] == "complete"

        photos = [json.loads(app.upload(picture(1600 + n, 1200)).body)[0] for n in range(6)]
        asked = [app.post("/gradio_api/call/analyze", analysis(photo)) for photo in photos]
        events = [json.loads(answer.body)["event_id"] for answer in asked]
        answers: list[Answer] = []
        readers = [
            threading.Thread(
                target=lambda event=event: answers.append(
                    app.ask("GET", f"/gradio_api/call/analyze/{event}")
                )
            )
            for event in events
        ]
        for reader in readers:
            reader.start()
        # A page that is open, and one that waits for answers, but has asked for nothing more.
        app.post("/gradio_api/queue/join", {"data": [], "fn_index": 0, "session_hash": "open"})
        app.ask("GET", "/gradio_api/queue/data?session_hash=open")
        listening = [
            app.raw(f"GET /gradio_api/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            for path in ("heartbeat/open", "queue/data?session_hash=open")
        ]
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # an impatient user sends two
        while app.ask("GET", "/healthz").status == 200:
            time.sleep(0.02)
        late = app.post("/gradio_api/call/analyze", analysis(path))
        for reader in readers:
            reader.join()
        process.wait(300)

    assert late.status == 503
    assert late.sentence == "Petscope is being restarted: please try again."
    assert [b"event: complete" in answer.body for answer in answers] == [True] * 6
    assert process.returncode == 0
    alive, idle = map(everything, listening)
    assert alive.endswith(b"\r\n0\r\n\r\n")
    assert idle.endswith(b"\r\n0\r\n\r\n")
    lines = log.read_text()
    assert "Traceback" not in lines
    assert "CancelledError" not in lines
    assert '"event": "closed", "all_answered": true' in lines
    assert "CAT" not in lines
    assert not [file for file in small_disk.rglob("*.png") if "cut-out" in file.name]


def test_results_count_on_the_disk_and_the_oldest_unused_go_first(
    small_disk: Path, tmp_path: Path
) -> None:
    with started(tmp_path / "log", small_disk, PETSCOPE_BEHIND_PROXY="1") as app:
        (path,) = json.loads(app.upload(CAT.read_bytes()).body)
        uploaded = app.metric("petscope_stored_bytes")
        _, (first,) = app.call("cut_out", file_data(path))
        one = Path(first["path"]).stat().st_size
        with_result = app.metric("petscope_stored_bytes")
        small = b"".join(NAMED + b"x\r\n" for _ in range(50)) + b"--x--\r\n"
        assert app.ask("POST", "/gradio_api/upload", small, FORM).status == 200
        with_small = app.metric("petscope_stored_bytes")
        (old,) = json.loads(app.upload(bytes(3 * one), "old").body)
        time.sleep(1.1)  # what was used a moment ago does not go

        # A tenth of the disk is to stay free: there is room for half a result more.
        rest = small_disk / "rest"
        rest.write_bytes(bytes(free(small_disk) - DISK // 10 - one // 2))
        answers = [app.call("cut_out", file_data(path)) for _ in range(4)]

        assert one <= with_result - uploaded < 2 * one
        assert with_small - with_result >= 50 * 8192  # a block each, and one for its folder
        assert [kind for kind, _ in answers] == ["complete"] * 4
        assert not Path(old).exists()
        assert Path(answers[-1][1][0]["path"]).exists()
        assert free(small_disk) > DISK // 10 - 2 * one
        rest.unlink()


def free(disk: Path) -> int:
    """Bytes that are free on a disk."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def test_a_swapped_model_is_reported_in_one_sentence(tmp_path: Path) -> None:
    for name in ("pet", "breeds"):
        (tmp_path / f"{name}.json").write_bytes(
            (ROOT / "models" / "weights" / f"{name}.json").read_bytes()
        )
    for name, other in (("pet", "breeds"), ("breeds", "pet")):
        (tmp_path / f"{name}.onnx").symlink_to(ROOT / "models" / "weights" / f"{other}.onnx")

    done = subprocess.run(
        [sys.executable, "app.py", "--models", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
    )

    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "pet" in done.stderr


def analysis(path: str) -> dict[str, object]:
    return {"data": [file_data(path), 3]}
