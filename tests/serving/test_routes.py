"""The open routes, requested over raw HTTP."""

import asyncio
import base64
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import TextContent

from serving import internals, routes
from tests.raw_http import CAT, EXAMPLES, Served, everything, file_data
from tests.serving.real_app import App

FIRST_USER = "root:"


@pytest.fixture
def uploaded(app: App) -> str:
    """The path of an uploaded photo."""
    (path,) = json.loads(app.upload(CAT.read_bytes()).body)
    return path


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=//etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file={uploads}/../../../../../../etc/passwd",
        "/gradio_api/file={uploads}/..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/gradio_api/file={uploads}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/gradio_api/file=%2fetc%2fpasswd",
        "/gradio_api/file=%252fetc%252fpasswd",
        "/gradio_api/file=/proc/self/environ",
        "/gradio_api/file={uploads}/..\\..\\etc\\passwd",
        "/gradio_api/file=/etc/passwd%00.png",
        "/gradio_api/file={examples}/../app.py",
        "/gradio_api/file={root}/app.py",
        "/gradio_api/file={root}/models/weights/breeds.onnx",
        "/gradio_api/file={uploads}",
        "/gradio_api/file={uploads}/",
        "/gradio_api/file/etc/passwd",
        "/static/../../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2f..%2froutes.py",
        "/svelte/../../../routes.py",
        "/gradio_api/custom_component/1/client/component/..%2f..%2fapp.py",
    ],
)
def test_no_path_leads_out_of_the_uploads(app: App, path: str) -> None:
    places = {"uploads": app.uploads, "examples": EXAMPLES, "root": EXAMPLES.parent}

    answer = app.ask("GET", path.format(**places))

    assert answer.status in (400, 403, 404)
    assert FIRST_USER not in answer.body.decode(errors="replace")
    assert b"import " not in answer.body


def test_a_link_in_an_upload_s_name_stays_inside(app: App) -> None:
    for name in ("../../../evil.png", "..\\evil.png", "/etc/evil.png", "a/../../evil.png"):
        answer = app.upload(b"x", name)
        if answer.status == 200:
            (path,) = json.loads(answer.body)
            assert Path(path).resolve().is_relative_to(app.uploads)
        else:
            assert answer.status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/run/analyze"),
        ("POST", "/gradio_api/api/analyze"),
        ("POST", "/gradio_api/reset"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/stream/1"),
        ("GET", "/gradio_api/stream/1/1/1/playlist.m3u8"),
        ("GET", "/gradio_api/proxy=https://a.hf.space/"),
        ("GET", "/gradio_api/dev/reload"),
        ("GET", "/gradio_api/vibe-code/"),
        ("POST", "/gradio_api/vibe-edit/"),
        ("GET", "/gradio_api/deep_link?session_hash=1"),
        ("GET", "/gradio_api/runs"),
        ("POST", "/gradio_api/run-history/connect"),
        ("GET", "/gradio_api/token"),
        ("GET", "/gradio_api/user"),
        ("POST", "/login"),
        ("GET", "/monitoring"),
        ("GET", "/monitoring/summary"),
        ("GET", "/gradio_api/profiling/traces"),
        ("GET", "/docs"),
        ("PUT", "/gradio_api/upload"),
        ("TRACE", "/"),
        ("GET", "/.env"),
        ("GET", "/.git/config"),
    ],
)
def test_routes_that_nobody_needs_are_closed(app: App, method: str, path: str) -> None:
    answer = app.ask(method, path, b"{}" if method == "POST" else None)

    assert answer.status == 404
    assert answer.sentence == "There is nothing here."


@pytest.mark.parametrize("path", ["/", "/config", "/programs", "/gradio_api/info", "/robots.txt"])
def test_what_the_page_needs_is_open(app: App, path: str) -> None:
    assert app.ask("GET", path).status == 200
    assert app.ask("HEAD", path).status in (200, 405)


def test_an_upload_lies_where_only_its_owner_knows(app: App, served: Served, uploaded: str) -> None:
    (again,) = json.loads(app.upload(CAT.read_bytes()).body)
    (other,) = json.loads(app.upload(CAT.read_bytes() + b" ").body)
    folder = Path(uploaded).parent.name

    assert app.ask("GET", f"/gradio_api/file={quote(uploaded)}").body == CAT.read_bytes()
    assert re.fullmatch("[0-9a-f]{64}", folder)
    # Only someone with the same photo gets the same folder, and only from the same process.
    assert Path(again).parent.name == folder != Path(other).parent.name
    (elsewhere,) = json.loads(served.upload(CAT.read_bytes()).body)
    assert Path(elsewhere).parent.name != folder


def test_a_result_lies_in_a_folder_that_cannot_be_guessed(app: App, uploaded: str) -> None:
    folders = set()
    for _ in range(2):
        kind, (picture, _) = app.call("mask", file_data(uploaded), "pet-fine")
        assert kind == "complete"
        folders.add(Path(picture["path"]).parent.name)

    assert len(folders) == 2  # though photo and result are the same
    assert all(re.fullmatch("[0-9a-f]{32}", folder) for folder in folders)


def test_no_answer_lists_other_visitors_uploads(app: App, uploaded: str) -> None:
    name = Path(uploaded).parent.name
    for path in ("/config", "/", "/gradio_api/info", "/metrics", "/healthz"):
        assert name not in app.ask("GET", path).body.decode()


def test_another_session_s_answer_is_not_available(app: App) -> None:
    body = app.ask("GET", "/gradio_api/queue/data?session_hash=guessed").body.decode()

    assert "process_completed" not in body
    assert "session_not_found" in body or "404" in body


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", str(EXAMPLES / "cell.png")])
def test_an_event_reads_no_file_that_was_not_uploaded(app: App, path: str) -> None:
    kind, said = app.call("analyze", file_data(path), 3)

    assert kind == "error"
    assert FIRST_USER not in json.dumps(said)


@pytest.fixture
def inside() -> Iterator[tuple[str, list[str]]]:
    """A server that only this machine can reach, and the requests it received."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CAT.read_bytes())

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "address",
    [
        "http://{inside}/x",
        "http://localhost:{port}/x",
        "http://[::ffff:127.0.0.1]:{port}/x",
        "http://2130706433:{port}/x",
        "HTTP://{inside}/x",
        "https://{inside}/x",
        "http://user@{inside}/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://rebinding.invalid/x",
        "https://huggingface.co/x",
        "http://{inside}/gradio_api/file=/etc/passwd",
        "file:///etc/passwd",
        "ftp://{inside}/x",
    ],
)
def test_no_address_is_fetched(
    served: Served,
    inside: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    host, asked = inside
    looked_up: list[object] = []
    real = socket.getaddrinfo

    def watched(name: Any, *more: Any, **named: Any) -> object:  # noqa: ANN401
        if name not in ("127.0.0.1", None):
            looked_up.append(name)
        return real(name, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    url = address.format(inside=host, port=host.split(":")[1])
    for data in (file_data(url), file_data("x", url=url), file_data(url, url=url)):
        kind, said = served.call("analyze", data, 3)
        assert kind == "error"
        if url.startswith("http") and data["path"] == url:
            assert said["error"] == internals.NO_ADDRESSES
    assert served.ask("GET", f"/gradio_api/file={url}").status == 404
    assert asked == []
    assert looked_up == []


def test_no_address_is_fetched_for_a_program_or_an_assistant(
    app: App, inside: tuple[str, list[str]]
) -> None:
    async def ask(photo: str) -> str:
        async with (
            streamablehttp_client(f"{app.url}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            name = next(name for name in tools if name.endswith("breed"))
            (content,) = (await session.call_tool(name, {"photo": photo})).content
            assert isinstance(content, TextContent)
            return content.text

    url = f"http://{inside[0]}/x.png"
    for data in (file_data(url), file_data("x", url=url)):
        assert app.call("analyze", data, 3)[0] == "error"
    refused = asyncio.run(ask(url))
    sent = base64.b64encode(CAT.read_bytes()).decode()
    as_text = asyncio.run(ask(f"data:image/png;base64,{sent}"))
    (path,) = json.loads(app.upload(CAT.read_bytes()).body)
    held = asyncio.run(ask(f"http://anything.invalid/gradio_api/file={path}"))

    assert internals.NO_ADDRESSES in refused
    assert inside[1] == []
    assert "species" in as_text
    assert held == as_text


def test_every_answer_has_its_security_headers(app: App, uploaded: str) -> None:
    for path in ("/", "/config", "/nothing", "/theme.css", f"/gradio_api/file={uploaded}"):
        headers = app.ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "content-security-policy" in headers
        assert "server" not in headers
    page = app.ask("GET", "/").headers["content-security-policy"]
    # A Space shows the page in a frame; no other site may.
    assert "frame-ancestors 'self' https://huggingface.co" in page
    assert "object-src 'none'" in page
    assert "default-src 'self'" in page


def test_a_file_is_shown_and_never_run(app: App) -> None:
    for name in ("evil.html", "evil.svg", "evil.js"):
        (path,) = json.loads(app.upload(b"<script>alert(1)</script>", name).body)
        headers = app.ask("GET", f"/gradio_api/file={path}").headers
        assert headers["content-disposition"].startswith("attachment")
        assert headers["content-type"].startswith("application/octet-stream")
        assert "sandbox" in headers["content-security-policy"]
        assert headers["cache-control"].startswith("private")


def test_no_header_can_be_put_into_an_answer(app: App) -> None:
    (path,) = json.loads(app.upload(CAT.read_bytes(), "a\\r\\nX-Evil: 1.png").body)
    for asked in (
        f"/gradio_api/file={quote(path)}",
        "/gradio_api/file=/x%0d%0aX-Evil:%201",
        "/?__theme=%0d%0aX-Evil:%201",
        "/programs%0d%0aX-Evil:%201",
    ):
        assert "x-evil" not in app.ask("GET", asked).headers
    broken = everything(app.raw(b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\rX-Evil: 1\r\n\r\n"))
    assert b" 400 " in broken.split(b"\r\n")[0]
    assert json.loads(broken.split(b"\r\n\r\n", 1)[1])["detail"] == "This is not an HTTP request."


def test_two_lengths_are_no_request(app: App) -> None:
    sent = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"

    for second in (b"Content-Length: 44", b"Transfer-Encoding: chunked\r\nContent-Length: x"):
        got = everything(app.raw(sent + second + b"\r\n\r\n{}{}"))
        assert b" 400 " in got.split(b"\r\n")[0]


def test_another_site_s_page_gets_no_cookies_with_its_request(app: App) -> None:
    headers = {"Origin": "https://evil.invalid", "Host": "petscope.invalid"}
    asked = {"Access-Control-Request-Method": "POST"}

    for answer in (
        app.ask("GET", "/config", headers=headers),
        app.ask("OPTIONS", "/gradio_api/queue/join", headers=headers | asked),
    ):
        assert answer.status == 200
        assert "access-control-allow-credentials" not in answer.headers
        assert "set-cookie" not in answer.headers


def test_a_page_on_the_web_cannot_ask_an_app_on_the_visitor_s_own_machine(app: App) -> None:
    headers = {"Origin": "https://evil.invalid", "Host": f"127.0.0.1:{app.port}"}

    assert "access-control-allow-origin" not in app.ask("GET", "/config", headers=headers).headers


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"null", b'{"data": "a"}', b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe"],
)
def test_broken_json_is_refused_and_breaks_nothing(app: App, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    for path in ("/gradio_api/queue/join", "/gradio_api/call/analyze", "/gradio_api/cancel"):
        answer = app.ask("POST", path, content, headers)
        assert 400 <= answer.status < 500, path
        assert b"Traceback" not in answer.body
    assert app.ask("GET", "/healthz").status == 200


def test_an_internal_error_is_one_sentence(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("/photos/minka.jpg")

    monkeypatch.setattr(served.running.queue, "place", fail)

    event = {"data": [], "fn_index": 0, "session_hash": "x"}
    answer = served.post("/gradio_api/queue/join", event)

    assert answer.status == 500
    assert answer.sentence == "Something went wrong here: please try again."
    fault = next(line for line in reversed(served.lines) if line["event"] == "fault")
    assert fault["kind"] == "ValueError"
    assert "minka" not in json.dumps(served.lines)


def test_a_route_has_one_name_however_it_is_asked() -> None:
    assert routes.find("HEAD", "/") == routes.find("GET", "/")
    for method, path, name in (
        ("OPTIONS", "/gradio_api/upload", "preflight"),
        ("GET", "/gradio_api/file=/a/..b.png", "file"),
    ):
        found = routes.find(method, path)
        assert found
        assert found.name == name
    for path in ("/gradio_api/file=/a/../b", "/gradio_api/file=..", "/static/a\n", "/static/\\"):
        assert routes.find("GET", path) is None
