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
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving import uploads
from tests.raw_http import CAT, EXAMPLES, Answer, everything, file_data, within
from tests.serving.real_app import FORM, NAMED, App, OpenPage, changed, head, picture, started

ROOT = EXAMPLES.parent
JOIN = "/gradio_api/queue/join"
UPLOAD = "/gradio_api/upload"
# Requests whose own words cannot be understood.
WRONG = (
    *((f"/gradio_api/{name}", b'{"data": 1e999}') for name in ("queue/join", "cancel")),
    *((f"/gradio_api/{name}", b'"\\ud800"') for name in ("queue/join", "call/breed", "cancel")),
    ("/gradio_api/call/nothing", b'{"data": []}'),
    ("/gradio_api/call/v2/nothing", b"{}"),
    ("/gradio_api/call/v2/breed", b"{}"),
    ("/gradio_api/call/v2/breed", b'{"smell": 1}'),
)
REPORTS = ("/healthz", "/gradio_api/healthz", "/metrics", "/gradio_api/metrics")
KEPT = 10.0  # seconds for which the forgetful app keeps a file after its last use
# An album takes a second for each photo, however fast the machine is.
SLOW_ALBUM = """
import time
from models import album

examine = album.examine

def slowly(*given, **named):
    time.sleep(1)
    return examine(*given, **named)

album.examine = slowly
"""
NAMELESS = b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\n'


@pytest.fixture(scope="module", autouse=True)
def slow(app: App) -> Iterator[dict[str, socket.socket]]:
    """Connections that do not move on, opened before all tests: each is let go after a while."""
    unread = socket.socket()
    unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    unread.connect(("127.0.0.1", app.port))
    for _ in range(30):
        unread.sendall(head("GET", "/config"))
    yield {
        "nothing": app.raw(b""),
        "half a head": app.raw(b"GET / HTTP/1.1\r\nHo"),
        "half a body": app.raw(head("POST", JOIN, "Content-Length: 100") + b"{"),
        "unread": unread,
    }
    unread.close()


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app with slow albums, which keeps files for seconds only."""
    log, folder = (tmp_path_factory.mktemp(name) for name in ("log", "files"))
    given = {
        "PETSCOPE_BEHIND_PROXY": "1",
        "PETSCOPE_KEEP_MINUTES": str(KEPT / 60),
        "GRADIO_TEMP_DIR": str(folder),
    }
    with changed(SLOW_ALBUM, log / "log", **given) as app:
        app.folder = folder
        yield app


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
    assert within(60, lambda: app.files() <= before)


def test_unfinished_uploads_hold_few_files_open(app: App) -> None:
    client, before = app.new_client(), app.metric("petscope_open_files")
    part = (NAMED + b"x\r\n") * 200
    request = head(
        "POST", UPLOAD, f"Content-Length: {len(part) + 9}", f"X-Forwarded-For: {client}",
        "Content-Type: multipart/form-data; boundary=x",
    )  # fmt: skip
    held = [app.raw(request + part) for _ in range(2)]
    assert within(60, lambda: app.metric("petscope_open_files") - before > 390)

    third = everything(app.raw(request + part))

    assert b" 503 " in third.split(b"\r\n")[0]
    assert app.metric("petscope_open_files") - before <= uploads.OPEN_EACH + 20
    assert app.upload(CAT.read_bytes()).status == 200  # another client's
    for connection in held:
        connection.close()
    assert within(60, lambda: app.metric("petscope_open_files") - before < 10)


def test_a_chunked_upload_is_charged_its_own_size(app: App) -> None:
    client = app.new_client()
    body = NAMED + CAT.read_bytes() + b"\r\n--x--\r\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    headers = {**FORM, "Transfer-Encoding": "chunked"}

    # Charged with the largest size, 1 GB each, the second would be too much.
    statuses = [app.ask("POST", UPLOAD, chunked, headers, client).status for _ in range(4)]

    assert statuses == [200] * 4


def test_what_is_larger_than_allowed_is_refused(app: App) -> None:
    photo = app.upload(bytes(25_100_000))
    event = app.ask("POST", JOIN, b" " * 1_100_000, {"Content-Type": "application/json"})
    headers = everything(app.raw(head("GET", "/config", f"X: {'a' * 17_000}")))

    assert (photo.status, event.status) == (413, 413)
    assert photo.sentence == "A file is larger than the 25 MB allowed: please send a smaller copy."
    assert event.sentence == "The request is larger than the 1 MB allowed."
    assert b" 431 " in headers.split(b"\r\n")[0]
    for path in ("/gradio_api/call/analyze", "/gradio_api/mcp/", UPLOAD):
        said = head("POST", path, "Content-Length: 2000000000")
        with app.raw(said) as connection:
            assert b" 413 " in connection.recv(100).split(b"\r\n")[0]


def test_a_client_that_asks_without_end_is_told_to_wait_and_no_other_is(app: App) -> None:
    client, body = app.new_client(), {"data": [], "fn_index": 10_000, "session_hash": "x"}

    def ask(number: int) -> Answer:
        """Every other time, another address is written before its own."""
        return app.post(JOIN, body, f"{app.new_client()}, {client}" if number % 2 else client)

    answers: list[Answer] = []
    start = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            answers += threads.map(ask, range(100))
            plain, forged = ([a for a in answers[n::2] if a.status == 429] for n in (0, 1))
            if plain and forged:
                break
    seconds = time.monotonic() - start

    assert plain
    assert forged
    let_in = len(answers) - len(plain) - len(forged)
    assert 200 <= let_in <= 200 + 10 * seconds + 1
    assert "600 a minute" in plain[0].sentence
    assert 1 <= int(plain[0].headers["retry-after"]) <= 61
    assert app.post(JOIN, body).status == 404  # another's
    assert app.ask("GET", "/", client=client).status == 200  # it sees the page still


def test_one_client_waits_for_forty_answers_at_most(app: App) -> None:
    greedy = app.new_client()
    (path,) = json.loads(app.upload(picture(1000, 750), client=greedy).body)
    data = {"data": [file_data(path)]}

    with ThreadPoolExecutor(8) as threads:
        asked = threads.map(lambda _: app.post("/gradio_api/call/cut_out", data, greedy), range(80))
    refused = [answer for answer in asked if answer.status == 429]

    assert refused
    # Of eight that arrive together, each is counted before the others wait.
    found = re.fullmatch(r"You are already waiting for (\d+) answers.*", refused[0].sentence)
    assert found is not None
    assert 40 <= int(found[1]) < 48
    assert app.post("/gradio_api/call/breed", data).status == 200
    assert within(600, lambda: app.metric("petscope_queue_length") == 0)


def test_made_up_sessions_cost_only_those_who_make_them_up(app: App) -> None:
    (path,) = json.loads(app.upload(CAT.read_bytes()).body)
    joined = app.post("/gradio_api/call/breed", {"data": [file_data(path)]}, "9.9.9.9")
    event = json.loads(joined.body)["event_id"]
    assert within(60, lambda: any(line.get("id") == event for line in app.logged()))
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

    def answers() -> list[dict[str, object]]:
        return [line for line in app.logged() if line.get("function") == "breed"]

    assert within(60, lambda: bool(answers()))
    before, lines = len(answers()), len(app.logged())
    body = {"data": [file_data(path)]}
    for _ in range(6):
        assert app.post("/gradio_api/call/cut_out", body, greedy).status == 200

    kind, _ = app.call("breed", file_data(small))

    assert kind == "complete"
    waiting = app.metric("petscope_queue_length")
    assert waiting >= 3, "the greedy client's answers came before the other's"
    assert within(60, lambda: len(answers()) > before)  # a line follows its answer
    answer = answers()[-1]
    assert within(600, lambda: app.metric("petscope_queue_length") == 0)

    def large_ones() -> list[float]:
        done = [line for line in app.logged()[lines:] if line.get("function") == "cut_out"]
        return [float(str(line["run_ms"])) for line in done]

    assert within(60, lambda: len(large_ones()) == 6)
    assert float(str(answer["wait_ms"])) < min(large_ones())


def test_files_go_after_their_last_use_and_not_while_a_page_shows_them(forgetful: App) -> None:
    app, client = forgetful, forgetful.new_client()
    (shown,) = json.loads(app.upload(CAT.read_bytes() + b"1", client=client).body)
    (looked_at,) = json.loads(app.upload(CAT.read_bytes() + b"2", client=client).body)
    (unused,) = json.loads(app.upload(CAT.read_bytes() + b"3", client=client).body)
    heartbeat = app.raw(head("GET", "/gradio_api/heartbeat/page1", f"X-Forwarded-For: {client}"))
    config = json.loads(app.ask("GET", "/config").body)
    breed = next(each["id"] for each in config["dependencies"] if each["api_name"] == "breed")
    event = {"data": [file_data(shown)], "fn_index": breed, "session_hash": "page1"}
    assert app.post(JOIN, event, client).status == 200

    def only_the_unused_is_gone() -> bool:
        assert app.ask("GET", f"/gradio_api/file={looked_at}").status == 200
        time.sleep(0.5)
        return not Path(unused).exists()

    assert within(60, only_the_unused_is_gone)
    assert Path(shown).exists()
    heartbeat.close()
    assert within(60, lambda: not Path(shown).exists())
    assert within(60, lambda: not Path(looked_at).exists())


def test_an_album_that_takes_longer_than_files_are_kept_loses_none(forgetful: App) -> None:
    app, page, photos = forgetful, OpenPage(forgetful), 12
    content = io.BytesIO()
    Image.open(CAT).convert("RGB").save(content, "JPEG")
    named = [" -0.jpg", *(f"{n}.jpg" for n in range(1, photos))]  # a spreadsheet computes the first
    paths = [page.upload(content.getvalue() + bytes([n]), name) for n, name in enumerate(named)]
    shown = page.elements("finish")
    start = time.monotonic()

    page.send("analyze_photos", [[file_data(path) for path in paths], None])
    took = time.monotonic() - start
    told = dict(zip(shown, page.send("finish", [None]), strict=True))

    assert took > KEPT + 1
    assert f"{photos} photos analysed." in told["album-message"]
    assert "could not" not in told["album-message"]
    with zipfile.ZipFile(told["album-download"]["value"]["path"]) as archive:
        names = archive.namelist()
    assert sum(name.startswith("masks/") for name in names) == photos
    assert sum(name.startswith("cut-outs/") for name in names) == photos

    # What is lacking is said on the page and inside.
    (masks,) = {path.parent for path in app.files() if path.parent.name == "masks"}
    lost = next(masks.glob("3[.-]*"))
    lost.unlink()
    told = dict(zip(shown, page.send("finish", [None]), strict=True))
    page.close()
    assert f"{photos - 1} photos analysed. 1 file could not be used" in told["album-message"]
    with zipfile.ZipFile(told["album-download"]["value"]["path"]) as archive:
        (table,) = [name for name in archive.namelist() if name.endswith(".csv")]
        lines = archive.read(table).decode().splitlines()
        assert f"masks/{lost.name}" in names
        assert f"masks/{lost.name}" not in archive.namelist()
    (row,) = [line for line in lines if re.match(r"3\.jpg\b", line)]
    assert "is no longer there" in row
    assert any(re.match(r"_ ?-0\.jpg", line) for line in lines)


def test_an_upload_named_as_an_example_is_nobody_else_s(app: App) -> None:
    first, second = (b"%s of somebody" % name for name in (b"cat", b"dog"))
    (own,) = json.loads(app.upload(first, "cat_chelsea.png").body)
    (other,) = json.loads(app.upload(second, "cat_chelsea.png").body)
    own_cell, cat = EXAMPLES / "cell.png", EXAMPLES / "cat_chelsea.png"
    (cell,) = json.loads(app.upload(own_cell.read_bytes(), "cat_chelsea.png").body)

    assert app.ask("GET", f"/gradio_api/file={own}").body == first
    assert app.ask("GET", f"/gradio_api/file={other}").body == second
    for path in (own, cell):
        headers = app.ask("GET", f"/gradio_api/file={path}").headers
        assert headers["cache-control"].startswith("private")
    assert app.ask("GET", f"/gradio_api/file={cat}").body == cat.read_bytes()
    kind, facts = app.call("analyze", file_data(cell), 3)
    assert kind == "complete"
    assert facts[0]["pets"] == []  # a cell, whatever its name says


def test_each_picture_has_a_new_process_and_empty_memory(app: App) -> None:
    before = app.decoders()
    (path,) = json.loads(app.upload(picture(640, 480)).body)

    for _ in range(2):
        assert app.call("breed", file_data(path))[0] == "complete"

    assert within(60, lambda: (app.decoders().keys() == before.keys()) and app.decoders() != before)
    after = app.decoders()
    for waits in after.values():
        status = Path(f"/proc/{waits}/status")
        assert within(60, partial(_has, status, "Seccomp:\t2\n"))
        assert b"known-to-the-app-alone" not in Path(f"/proc/{waits}/environ").read_bytes()
    assert b"known-to-the-app-alone" in Path(f"/proc/{app.process.pid}/environ").read_bytes()
    for number in before:
        for link in Path(f"/proc/{number}/fd").iterdir():
            if "memfd:photo" in str(link.readlink()):
                with link.open("rb") as memory:
                    assert not np.frombuffer(memory.read(3 * 640 * 480 + 64), np.uint8).any()
                break
        else:
            pytest.fail("The shared memory is not found.")


def _has_ended(number: int) -> bool:
    """Whether a process is gone, or a zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _has(file: Path, text: str) -> bool:
    return text in file.read_text()


def test_a_decoder_that_dies_costs_nobody_else_anything(app: App) -> None:
    (path,) = json.loads(app.upload(CAT.read_bytes()).body)
    killed = app.decoders()
    for number in killed:
        os.kill(number, signal.SIGKILL)
    assert within(60, lambda: all(map(_has_ended, killed)))

    assert app.call("breed", file_data(path))[0] == "complete"
    assert app.ask("GET", "/healthz").status == 200
    assert app.process.poll() is None


def test_a_picture_that_is_huge_or_none_is_one_sentence(app: App) -> None:
    huge = bytearray(picture(16, 16, "PNG"))
    huge[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height, as its header says
    wide = bytearray(picture(16, 16, "PNG"))
    wide[16:20] = (70_000).to_bytes(4, "big")

    for content in (bytes(huge), bytes(wide), b"no picture", b"", CAT.read_bytes()[:3000]):
        (path,) = json.loads(app.upload(content).body)
        kind, said = app.call("breed", file_data(path))
        assert kind == "error"
        assert said["error"].endswith(".")
        assert "\n" not in said["error"]


def test_no_result_says_where_a_photo_was_taken(app: App) -> None:
    secret = b"Kirchgasse 7"
    tags = Image.Exif()
    tags[0x010E] = secret.decode()
    tags.get_ifd(0x8825)[29] = secret.decode()
    content = io.BytesIO()
    Image.open(CAT).convert("RGB").save(content, "JPEG", exif=tags, comment=secret)
    assert content.getvalue().count(secret) >= 3
    (path,) = json.loads(app.upload(content.getvalue()).body)

    for name, more in (("threshold", [3, "luminance"]), ("mask", ["pet-fine"]), ("cut_out", [])):
        kind, data = app.call(name, file_data(path), *more)
        assert kind == "complete"
        assert secret.decode() not in json.dumps(data)
        result = app.ask("GET", f"/gradio_api/file={data[0]['path']}").body
        assert secret not in result
        with Image.open(io.BytesIO(result)) as image:
            assert not image.getexif()
            assert set(image.info) <= {"transparency"}


def test_a_client_that_keeps_sending_after_its_answer_is_disconnected(app: App) -> None:
    connection = app.raw(head("POST", "/nothing", "Content-Length: 100000000"))
    connection.settimeout(1)
    ended, start = False, time.monotonic()
    while not ended and time.monotonic() - start < 120:
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
    client = app.new_client()
    (path,) = json.loads(app.upload(CAT.read_bytes(), "Minka-nebenan.png", client).body)
    app.call("breed", file_data(path), client=client)
    unknown = app.post(JOIN, {"data": [], "fn_index": 10_000, "session_hash": "x"})
    said = {"jsonrpc": "2.0", "method": "notifications/x", "params": {"a": "secret" * 100_000}}
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    app.ask("POST", "/gradio_api/mcp/", json.dumps(said).encode(), headers)
    everything(app.raw(b"no HTTP\r\n\r\n"))
    app.ask("GET", "/healthz")

    json_headers = {"Content-Type": "application/json"}
    for where, sent in WRONG:
        assert 400 <= app.ask("POST", where, sent, json_headers).status < 500, (where, sent)
    for where in ("/static/" + "a" * 300, "/gradio_api/file=/" + "a" * 300):
        assert app.ask("GET", where).status == 404
    for name in ("Referer", "Origin", "Host", "X-Forwarded-Host"):
        assert app.ask("GET", "/gradio_api/mcp/", headers={name: "http://[::1"}).status == 400
    config = json.loads(app.ask("GET", "/config").body)
    for function in config["dependencies"]:
        if function["backend_fn"] and function["inputs"]:
            body = {
                "data": [{"a": ["odd"]}] * len(function["inputs"]),
                "fn_index": function["id"],
                "session_hash": "odd",
                "event_data": {"index": [], "value": None},
            }
            app.post(JOIN, body)
    told = app.ask("GET", "/gradio_api/queue/data?session_hash=odd").body.decode()

    assert told.count("process_completed") > 40
    assert unknown.status == 404
    assert within(60, lambda: any(each.get("route") == "healthz" for each in app.logged()[before:]))
    text = app.log.read_text()
    assert not [line for line in app.logged()[before:] if line["event"] == "fault"]
    for secret in ("secret", "Minka", path, Path(path).parent.name, client):
        assert secret not in text
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
    assert within(60, lambda: any(each.get("route") == "mcp" for each in app.logged()[before:]))
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


def test_connections_that_do_not_move_on_are_let_go(
    app: App, slow: dict[str, socket.socket]
) -> None:
    for name in ("nothing", "half a head", "half a body"):
        answer = everything(slow[name])
        assert b"HTTP/1.1 408 " in answer, name
        assert b"too slowly" in answer
    text = 'petscope_refused_total{reason="unread_answer"} 1.0'
    metrics = head("GET", "/metrics", "Connection: close")
    assert within(120, lambda: text in everything(app.raw(metrics)).decode())


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
        cwd=ROOT, capture_output=True, text=True, timeout=400,
    )  # fmt: skip

    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_gradio_that_checks_no_paths_is_not_served(tmp_path: Path) -> None:
    code = (
        "import runpy; from gradio import processing_utils as p;"
        "p._check_allowed = lambda path, check_in_upload_folder: None;"
        "runpy.run_path('app.py', run_name='__main__')"
    )
    given = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path), "PETSCOPE_PORT": "0"}

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=given, capture_output=True, text=True, timeout=400,
    )  # fmt: skip

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "do not fit this version of Petscope: gradio.processing_utils:_check_allowed" in (
        done.stderr
    )


def test_what_a_killed_server_left_is_deleted_and_one_that_runs_loses_nothing(
    app: App, tmp_path: Path
) -> None:
    alive = app.uploads
    with started(tmp_path / "log", app.folder, GRADIO_SSR_MODE="True") as killed:
        (left,) = json.loads(killed.upload(CAT.read_bytes()).body)
        children = killed.children()
        assert len(children) > len(killed.decoders())  # Node, too
        killed.process.kill()
        killed.process.wait()
    assert Path(left).exists()

    # The next one, with Node behind the guard, two proxies before it and a short queue.
    given = {
        "GRADIO_SSR_MODE": "True",
        "PETSCOPE_BEHIND_PROXY": "2",
        "PETSCOPE_MAX_WAITING": "3",
    }
    with started(tmp_path / "log2", app.folder, **given) as following:
        assert not Path(left).exists()
        assert alive.exists()
        assert within(60, lambda: not any(Path(f"/proc/{each}").exists() for each in children))
        assert_reports_are_for_the_own_network(following)
        assert_clients_behind_two_proxies_are_told_apart(following)
        assert_a_full_queue_says_the_place_and_the_time(following)
    assert app.uploads == alive


def assert_reports_are_for_the_own_network(app: App) -> None:
    def rendered() -> bool:
        """Whether Node has rendered the page: if it takes long, the browser has to."""
        page = app.ask("GET", "/").body.decode()
        return "For programs" in page.partition("<body")[2]

    assert within(120, rendered), "Node does not render the page"
    inside = {path: everything(app.raw(head("GET", path, "Connection: close"))) for path in REPORTS}
    for path, answer in inside.items():
        assert b" 200 " in answer.split(b"\r\n")[0], path
        status = app.ask("GET", path).status  # a visitor, by way of the proxies
        assert status == (200 if "healthz" in path else 404), path
    assert b"petscope_open_files" in inside["/metrics"]
    assert b'"ready": true' in inside["/healthz"]


def assert_clients_behind_two_proxies_are_told_apart(app: App) -> None:
    for number in (5, 6, 5):
        app.ask("GET", "/robots.txt", client=f"7.7.7.{number}, 192.168.1.{number}, 10.0.0.2")

    def asked() -> list[object]:
        return [line["client"] for line in app.logged() if line.get("route") == "asset"]

    assert within(60, lambda: len(asked()) >= 3)  # a line follows its answer
    first, second, again = asked()[-3:]
    assert first == again != second


def assert_a_full_queue_says_the_place_and_the_time(app: App) -> None:
    (path,) = json.loads(app.upload(picture(1600, 1200)).body)
    clients = [f"{app.new_client()}, 10.0.0.2" for _ in range(10)]
    answers = [
        app.post("/gradio_api/call/cut_out", {"data": [file_data(path)]}, client)
        for client in clients
    ]
    refused = [answer for answer in answers if answer.status == 503]
    assert refused
    assert "busy: you would be number 4 in the queue" in refused[0].sentence
    assert int(refused[0].headers["retry-after"]) >= 1
    assert app.ask("GET", "/healthz").status == 200


def test_without_a_decoder_the_app_lives_and_says_that_it_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'serving.decoder' in sys.orig_argv: os._exit(1)\n"
    )
    with changed("", tmp_path / "log", PYTHONPATH=str(tmp_path)) as app:
        answer = app.ask("GET", "/healthz")
        assert answer.status == 503
        assert json.loads(answer.body)["ready"] is False
        assert json.loads(answer.body)["alive"] is True
        (path,) = json.loads(app.upload(CAT.read_bytes()).body)
        kind, said = app.call("breed", file_data(path))
        assert kind == "error"
        assert said["error"].startswith("Pictures cannot be read at the moment")
        assert app.ask("GET", "/").status == 200
        assert app.process.poll() is None


def test_an_error_behind_the_page_is_one_sentence_and_one_fault(tmp_path: Path) -> None:
    code = (
        "import models.thresholding; models.thresholding.compare_all = None;"  # for the warm-up
        "from ui.uploads import Upload; Upload.ranking = None;"
    )
    with changed(code, tmp_path / "log", PETSCOPE_BEHIND_PROXY="1") as app:
        (path,) = json.loads(app.upload(CAT.read_bytes()).body)
        for _ in range(3):
            kind, said = app.call("breed", file_data(path))
            assert kind == "error"
            assert said["error"].startswith("Something went wrong here, not with your photo")
        assert app.call("cut_out", file_data(path))[0] == "complete"
        assert app.ask("GET", "/healthz").status == 200

        def faults() -> list[str]:
            return [str(line["at"]) for line in app.logged() if line["event"] == "fault"]

        assert within(60, lambda: any("warm_up" in places for places in faults()))
        assert sum("programs.py" in places for places in faults()) == 1
        assert len(faults()) == 2
        assert app.process.poll() is None


def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=ROOT, capture_output=True, text=True, timeout=400,
        )  # fmt: skip
    assert done.stderr == f"The port {port} of 127.0.0.1 cannot be used: Address already in use.\n"
