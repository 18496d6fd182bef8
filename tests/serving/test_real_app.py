"""The claims of SECURITY.md, tried on `python app.py` over raw HTTP."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import visitors
from serving import uploads
from tests.raw_http import CAT, EXAMPLES, Served, everything, file_data, within

ROOT = EXAMPLES.parent
JOIN = "/gradio_api/queue/join"
UPLOAD = "/gradio_api/upload"
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
NAMED = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
NAMELESS = b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\n'
KEPT = 4.0  # seconds for which files are kept after their last use


class App(Served):
    """The app, started by its own command."""

    process: subprocess.Popen[bytes]
    log: Path
    folder: Path

    def metric(self, name: str) -> float:
        return visitors.metric(self.port, name)

    def resident(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def files(self) -> set[Path]:
        return {path for path in self.folder.rglob("*") if path.is_file()}

    def logged(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app behind a proxy, so that each test can pose as different clients."""
    log, folder = (tmp_path_factory.mktemp(name) for name in ("log", "files"))
    given: dict[str, Any] = {
        "GRADIO_TEMP_DIR": str(folder),
        "PETSCOPE_BEHIND_PROXY": "1",
        "PETSCOPE_KEEP_MINUTES": str(KEPT / 60),
    }
    with visitors.served(log / "log", visitors.ROOT, **given) as (port, process):
        found = App(port, None)
        found.process, found.log, found.folder = process, log / "log", folder
        yield found


def picture(width: int, height: int, kind: str = "JPEG") -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    Image.fromarray(noise).resize((width, height)).save(content, kind)
    return content.getvalue()


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *lines, "", "")).encode()


def test_a_part_without_a_file_name_is_refused_before_it_is_collected(app: App) -> None:
    (path,) = json.loads(app.upload(CAT.read_bytes()).body)
    app.call("analyze", file_data(path), 3)  # all is imported
    before = app.resident()
    rest = bytes(60_000_000)

    answer = app.ask("POST", UPLOAD, NAMELESS + rest + b"\r\n--x--\r\n", FORM)

    assert answer.status == 400
    assert answer.sentence == "Only files can be uploaded here, as a form sends them."
    assert app.resident() - before < 30_000_000


def test_an_upload_has_no_more_files_than_an_album(app: App) -> None:
    before = app.files()
    answer = app.ask("POST", UPLOAD, (NAMED + b"x\r\n") * 1000 + b"--x--\r\n", FORM)

    assert answer.status == 413
    assert answer.sentence == "No more than 200 files can be uploaded at a time."
    assert within(5, lambda: app.files() <= before)


def test_unfinished_uploads_hold_few_files_open(app: App) -> None:
    client, before = app.new_client(), app.metric("petscope_open_files")
    part = (NAMED + b"x\r\n") * 200
    request = head(
        "POST", UPLOAD, f"Content-Length: {len(part) + 9}", f"X-Forwarded-For: {client}",
        "Content-Type: multipart/form-data; boundary=x",
    )  # fmt: skip
    held = [app.raw(request + part) for _ in range(2)]
    assert within(10, lambda: app.metric("petscope_open_files") - before > 390)

    third = everything(app.raw(request + part))

    assert b" 503 " in third.split(b"\r\n")[0]
    assert app.metric("petscope_open_files") - before <= uploads.OPEN_EACH + 20
    assert app.upload(CAT.read_bytes()).status == 200  # another client's
    for connection in held:
        connection.close()
    assert within(10, lambda: app.metric("petscope_open_files") - before < 10)


def test_a_chunked_upload_is_charged_its_own_size(app: App) -> None:
    client = app.new_client()
    body = NAMED + CAT.read_bytes() + b"\r\n--x--\r\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    headers = {**FORM, "Transfer-Encoding": "chunked"}

    # Charged with the largest size, 1 GB each, the second would be too much.
    statuses = [app.ask("POST", UPLOAD, chunked, headers, client).status for _ in range(4)]

    assert statuses == [200] * 4


def test_made_up_sessions_cost_only_those_who_make_them_up(app: App) -> None:
    (path,) = json.loads(app.upload(CAT.read_bytes()).body)
    joined = app.post("/gradio_api/call/breed", {"data": [file_data(path)]}, "9.9.9.9")
    event = json.loads(joined.body)["event_id"]
    assert within(20, lambda: any(line.get("id") == event for line in app.logged()))
    greedy = app.new_client()

    def ask(number: int) -> int:
        body = {"data": [], "fn_index": light(app), "session_hash": f"made{number}"}
        return app.post(JOIN, body, greedy).status

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(ask, range(100)))

    assert statuses.count(200) > 50
    told = app.ask("GET", f"/gradio_api/call/breed/{event}", client="9.9.9.9").body
    assert b"event: complete" in told


def light(app: App) -> int:
    """A function of the page that computes almost nothing."""
    config = json.loads(app.ask("GET", "/config").body)
    return next(
        each["id"]
        for each in config["dependencies"]
        if not each["inputs"] and each["backend_fn"] and each["queue"] is not False
    )


def test_one_client_s_large_answers_leave_a_worker_to_the_others(app: App) -> None:
    large = picture(1600, 1200)
    greedy = app.new_client()
    (path,) = json.loads(app.upload(large, "large.jpg", greedy).body)
    (small,) = json.loads(app.upload(CAT.read_bytes()).body)
    app.call("breed", file_data(small))
    body = {"data": [file_data(path)]}
    for _ in range(6):
        assert app.post("/gradio_api/call/cut_out", body, greedy).status == 200

    start = time.monotonic()
    kind, _ = app.call("breed", file_data(small))
    own = time.monotonic() - start

    assert kind == "complete"
    waiting = app.metric("petscope_queue_length")
    assert waiting >= 3, "the greedy client's answers came before the other's"
    (answer,) = [line for line in app.logged() if line.get("function") == "breed"][-1:]
    assert float(str(answer["wait_ms"])) < 500
    assert own < 5
    assert within(90, lambda: app.metric("petscope_queue_length") == 0)


def test_files_go_after_their_last_use_and_not_while_a_page_shows_them(app: App) -> None:
    client = app.new_client()
    (shown,) = json.loads(app.upload(CAT.read_bytes() + b"1", client=client).body)
    (looked_at,) = json.loads(app.upload(CAT.read_bytes() + b"2", client=client).body)
    (unused,) = json.loads(app.upload(CAT.read_bytes() + b"3", client=client).body)
    heartbeat = app.raw(head("GET", "/gradio_api/heartbeat/page1", f"X-Forwarded-For: {client}"))
    config = json.loads(app.ask("GET", "/config").body)
    breed = next(each["id"] for each in config["dependencies"] if each["api_name"] == "breed")
    event = {"data": [file_data(shown)], "fn_index": breed, "session_hash": "page1"}
    assert app.post(JOIN, event, client).status == 200

    for _ in range(10):
        time.sleep(1)
        assert app.ask("GET", f"/gradio_api/file={looked_at}").status == 200
    assert within(10, lambda: not Path(unused).exists())
    assert Path(shown).exists()
    heartbeat.close()
    assert within(20, lambda: not Path(shown).exists())
    assert within(20, lambda: not Path(looked_at).exists())


def test_a_client_that_keeps_sending_after_its_answer_is_disconnected(app: App) -> None:
    connection = app.raw(head("POST", "/nothing", "Content-Length: 100000000"))
    connection.settimeout(1)
    ended, start = False, time.monotonic()
    while not ended and time.monotonic() - start < 20:
        try:
            connection.sendall(b"x" * 100)
            ended = connection.recv(65536) == b""
        except TimeoutError:
            pass
        except OSError:
            ended = True
        time.sleep(0.2)

    assert ended


def test_a_client_s_mistake_is_not_a_fault_and_is_logged_in_one_short_line(app: App) -> None:
    before = len(app.logged())
    unknown = app.post(JOIN, {"data": [], "fn_index": 10_000, "session_hash": "x"})
    said = {"jsonrpc": "2.0", "method": "notifications/x", "params": {"a": "secret" * 100_000}}
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    app.ask("POST", "/gradio_api/mcp/", json.dumps(said).encode(), headers)
    app.ask("GET", "/healthz")

    assert unknown.status == 404
    assert within(5, lambda: any(each.get("route") == "healthz" for each in app.logged()[before:]))
    text = app.log.read_text()
    assert not [line for line in app.logged()[before:] if line["event"] == "fault"]
    assert "secret" not in text
    for line in text.splitlines():
        assert len(line) <= 2_000
        assert line.startswith("* ") or isinstance(json.loads(line), dict), line


def test_a_photo_through_mcp_may_be_as_large_as_one_of_the_page(app: App) -> None:
    content = picture(2400, 2400, "PNG")
    content += b"\0" * max(12_000_000 - len(content), 0)
    photo = "data:image/png;base64," + base64.b64encode(content).decode()
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "breed", "arguments": {"photo": photo}},
    }
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    client = app.new_client()
    before = len(app.logged())

    answer = app.ask("POST", "/gradio_api/mcp/", json.dumps(call).encode(), headers, client)

    assert answer.status == 200, answer.body[:300]
    assert b"species" in answer.body, answer.body[:300]
    # MCP's calls for it count as those of the client that asked.
    assert within(5, lambda: any(each.get("route") == "mcp" for each in app.logged()[before:]))
    lines = app.logged()[before:]
    (outer,) = [line for line in lines if line.get("route") == "mcp"]
    (inner,) = [line for line in lines if line["event"] == "answer"]
    assert inner["client"] == outer["client"]


def test_a_range_request_s_headers_are_not_echoed(app: App) -> None:
    (path,) = json.loads(app.upload(CAT.read_bytes()).body)
    headers = {"Range": "bytes=0-9", "X-Secret": "mine", "Cookie": "a=b"}

    answer = app.ask("GET", f"/gradio_api/file={path}", headers=headers)

    assert answer.status == 206
    assert answer.body == CAT.read_bytes()[:10]
    assert not {"x-secret", "cookie", "range", "x-forwarded-for", "host"} & set(answer.headers)


def test_only_the_hub_may_show_the_page_in_a_frame(app: App) -> None:
    policy = app.ask("GET", "/").headers["content-security-policy"]

    assert re.search(r"frame-ancestors ([^;]*)", policy)[1] == "'self' https://huggingface.co"  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "said"),
    [("flip", "pet.onnx is damaged"), ("remove", "pet-fine.onnx cannot be read")],
)
def test_a_damaged_model_is_reported_at_the_start(tmp_path: Path, change: str, said: str) -> None:
    for path in (ROOT / "models" / "weights").iterdir():
        (tmp_path / path.name).symlink_to(path)
    if change == "flip":
        content = bytearray((tmp_path / "pet.onnx").read_bytes())
        content[1000] ^= 1
        (tmp_path / "pet.onnx").unlink()
        (tmp_path / "pet.onnx").write_bytes(content)
    else:
        (tmp_path / "pet-fine.onnx").unlink()

    done = subprocess.run(
        [sys.executable, "app.py", "--models", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_files_of_a_killed_server_are_deleted_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from serving import temp_folder; temp_folder.create();"
        "open(os.environ['GRADIO_TEMP_DIR'] + '/photo', 'w').write('x');"
        "os.kill(os.getpid(), signal.SIGKILL) if sys.argv[1] == 'kill' else print(flush=True);"
        "sys.stdin.read()"
    )
    given = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        [*command, "live"], cwd=ROOT, env=given, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        live = set(tmp_path.iterdir())
        killed = subprocess.run([*command, "kill"], cwd=ROOT, env=given)
        assert killed.returncode == -signal.SIGKILL
        assert len(set(tmp_path.iterdir()) - live) == 1

        subprocess.run([*command, "live"], cwd=ROOT, env=given, input=b"", check=True)

        assert set(tmp_path.iterdir()) == live  # a running server loses nothing
        other.communicate(b"")
    assert not set(tmp_path.iterdir())


def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=ROOT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert done.stderr == f"The port {port} of 127.0.0.1 cannot be used: Address already in use.\n"
