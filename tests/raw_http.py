"""Clients of a served page that speak raw HTTP."""

import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples"
CAT = EXAMPLES / "cat_chelsea.png"


@dataclass
class Answer:
    """An answer over a raw connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def sentence(self) -> str:
        """The sentence that explains a refusal."""
        told = json.loads(self.body)["detail"]
        assert told.endswith(".")
        assert "Traceback" not in told
        assert "\n" not in told
        return told


@dataclass
class Served:
    """The page, served in this process."""

    port: int
    running: Any
    lines: list[dict[str, Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def new_client(self) -> str:
        """The address of a new client."""
        number = next(self._numbers)
        return f"9.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        client: str | None = None,
    ) -> Answer:
        """Send one request unchanged: no client library normalises the path."""
        own = {"X-Forwarded-For": client or self.new_client(), **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.putrequest(method, path, "Host" in own, skip_accept_encoding=True)
            for name, value in own.items():
                connection.putheader(name, value)
            if body is not None and "Transfer-Encoding" not in own:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()

    def post(self, path: str, content: object, client: str | None = None) -> Answer:
        headers = {"Content-Type": "application/json"}
        return self.ask("POST", path, json.dumps(content).encode(), headers, client)

    def upload(self, content: bytes, name: str = "cat.png", client: str | None = None) -> Answer:
        """Send a file as a form does."""
        part = f'Content-Disposition: form-data; name="files"; filename="{name}"'
        body = f"--x\r\n{part}\r\n\r\n".encode() + content + b"\r\n--x--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        return self.ask("POST", "/gradio_api/upload", body, headers, client)

    def call(self, name: str, *data: object, client: str | None = None) -> tuple[str, Any]:
        """An endpoint's answer: "complete" or "error", and the data."""
        client = client or self.new_client()
        joined = self.post(f"/gradio_api/call/{name}", {"data": data}, client=client)
        assert joined.status == 200, joined.body
        event = json.loads(joined.body)["event_id"]
        told = self.ask("GET", f"/gradio_api/call/{name}/{event}", client=client).body.decode()
        *_, last = [part for part in told.split("\n\n") if part.startswith("event: ")]
        kind, data_line = last.split("\n", 1)
        return kind.removeprefix("event: "), json.loads(data_line.removeprefix("data: "))

    def raw(self, content: bytes) -> socket.socket:
        """An open connection over which this has been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=90)
        connection.sendall(content)
        return connection


def file_data(path: str, **more: object) -> dict[str, object]:
    """A file as Gradio's API expects it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def everything(connection: socket.socket) -> bytes:
    """Everything that arrives until the other end closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
