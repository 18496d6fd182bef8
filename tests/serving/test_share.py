"""`--share` with stand-ins for gradio.live's address server and for the tunnel program.

The real ones cannot be reached from everywhere. What is tried is all that this process does: asking
for a server, starting the program with its options, reading the public address from its output, and
serving the page through it.
"""

import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import gradio
import pytest
from gradio import networking, tunneling

from serving import server
from tests.raw_http import Served

# Like frpc: it says its public address, and sends what comes there to the app, with the visitor's
# address in a header, as gradio.live does.
PROGRAM = f"""#!{sys.executable}
import pathlib, socket, sys, threading
options = dict(zip(sys.argv[2:], sys.argv[3:]))
assert pathlib.Path(options["--tls_trusted_ca_file"]).read_text() == "a certificate"
assert options["--server_addr"] == "tunnel.example:7000"
public = socket.create_server(("127.0.0.1", 0))
print("start proxy success: http://127.0.0.1:%d" % public.getsockname()[1], flush=True)

def pass_on(source, target):
    while part := source.recv(65536):
        target.sendall(part)
    target.shutdown(socket.SHUT_WR)

while True:
    visitor, _ = public.accept()
    app = socket.create_connection((options["-i"], int(options["-l"])))
    first, rest = visitor.recv(65536).split(b"\\r\\n", 1)
    app.sendall(first + b"\\r\\nX-Forwarded-For: 203.0.113.9\\r\\n" + rest)
    for pair in ((visitor, app), (app, visitor)):
        threading.Thread(target=pass_on, args=pair, daemon=True).start()
"""


class AddressServer(BaseHTTPRequestHandler):
    """Says where the tunnel ends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        answer = [{"host": "tunnel.example", "port": 7000, "root_ca": "a certificate"}]
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def address_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), AddressServer) as answering:
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{answering.server_port}"
        monkeypatch.setattr(networking, "GRADIO_API_SERVER", url)
        program = tmp_path / "frpc"
        program.write_text(PROGRAM)
        program.chmod(0o700)
        monkeypatch.setattr(tunneling, "BINARY_PATH", str(program))
        monkeypatch.chdir(tmp_path)  # the certificate is written below the current folder
        yield answering
        answering.shutdown()
    while tunneling.CURRENT_TUNNELS:
        tunneling.CURRENT_TUNNELS.pop().kill()


def share(served: Served, monkeypatch: pytest.MonkeyPatch) -> gradio.Blocks:
    blocks = served.running.blocks
    for name in ("share", "share_url"):  # restored afterwards
        monkeypatch.setattr(blocks, name, getattr(blocks, name, None))
    server._share(blocks, "127.0.0.1", served.port)
    return blocks


def test_the_page_is_served_through_the_public_link(
    served: Served,
    address_server: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = share(served, monkeypatch)

    assert blocks.share
    told = capsys.readouterr().out
    assert told == f"* Running on public URL: {blocks.share_url}\n"
    assert blocks.share_url != served.url
    with urllib.request.urlopen(f"{blocks.share_url}/", timeout=60) as answer:
        assert b"Petscope" in answer.read()
    robots = urllib.request.urlopen(f"{blocks.share_url}/robots.txt", timeout=60).read()
    assert b"Disallow: /" in robots


def test_without_a_way_to_the_tunnel_the_app_goes_on(
    served: Served,
    address_server: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(networking, "GRADIO_API_SERVER", "http://127.0.0.1:9")  # nobody listens

    blocks = share(served, monkeypatch)

    assert not blocks.share
    assert "A public link cannot be opened" in capsys.readouterr().out
    assert served.ask("GET", "/").status == 200
