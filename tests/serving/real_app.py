"""The app as it is started by its own command, and an open page of it."""

import io
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import visitors
from tests.raw_http import Served, within

FORM = {"Content-Type": "multipart/form-data; boundary=x"}
NAMED = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


class App(Served):
    """The app by its own command."""

    process: subprocess.Popen[bytes]
    log: Path
    folder: Path

    def metric(self, name: str) -> float:
        return visitors.metric(self.port, name)

    def resident(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def children(self) -> set[int]:
        """Numbers of the processes that it has started."""
        listed = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return {int(number) for path in listed for number in path.read_text().split()}

    @property
    def uploads(self) -> Path:
        """The folder that this start of the app has for itself."""
        (folder,) = self.folder.glob("petscope-files-*")
        return folder

    def decoders(self) -> dict[int, int]:
        """The processes that decode pictures, and the one of each that waits for the next."""
        found: dict[int, int] = {}

        def all_wait() -> bool:
            found.clear()
            try:
                for number in self.children():
                    if b"serving.decoder" in Path(f"/proc/{number}/cmdline").read_bytes():
                        children = Path(f"/proc/{number}/task/{number}/children").read_text()
                        (found[number],) = map(int, children.split())
            except (OSError, ValueError):  # one has ended, or the next one has not begun
                return False
            return True

        assert within(60, all_wait)
        return found

    def files(self) -> set[Path]:
        return {path for path in self.folder.rglob("*") if path.is_file()}

    def logged(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]


@contextmanager
def started(log: Path, folder: Path, **environment: str) -> Iterator[App]:
    """The app, with its uploads and results below a folder."""
    given: dict[str, Any] = {"GRADIO_TEMP_DIR": str(folder), **environment}
    with visitors.served(log, visitors.ROOT, **given) as (port, process):
        app = App(port, None)
        app.process, app.log, app.folder = process, log, folder
        yield app


@contextmanager
def changed(code: str, log: Path, **environment: str) -> Iterator[App]:
    """The app after this code has changed a part of it, once it listens."""
    given = {"GRADIO_SSR_MODE": "False", **environment, "PETSCOPE_PORT": "0"}
    run = f"{code}\nimport runpy; runpy.run_path('app.py', run_name='__main__')"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", run],
            cwd=visitors.ROOT,
            env=os.environ | given,
            stdout=file,
            stderr=file,
        )
    try:
        assert within(400, lambda: "Running" in log.read_text() or process.poll() is not None)
        (port,) = re.findall(r"Running on local URL:  http://\S+:(\d+)\n", log.read_text())
        app = App(int(port), None)
        app.process, app.log = process, log
        yield app
    finally:
        process.terminate()
        assert process.wait(300) == 0


class OpenPage:
    """A page that a visitor looks at: sends its events as a browser does."""

    def __init__(self, app: App) -> None:
        self.app, self.client = app, app.new_client()
        self.session = secrets.token_hex(5)
        self._config = json.loads(app.ask("GET", "/config").body)
        alive = head(
            "GET", f"/gradio_api/heartbeat/{self.session}", f"X-Forwarded-For: {self.client}"
        )
        self._alive = app.raw(alive)

    def close(self) -> None:
        self._alive.close()

    def upload(self, content: bytes, name: str) -> str:
        (path,) = json.loads(self.app.upload(content, name, self.client).body)
        return path

    def defaults(self, function: str) -> list[object]:
        """The values of what a function takes as the page shows them at first."""
        values = {each["id"]: each["props"].get("value") for each in self._config["components"]}
        return [values.get(place) for place in self._event(function)["inputs"]]

    def send(self, function: str, data: Sequence[object]) -> Any:  # noqa: ANN401 -- JSON
        """Send an event, and wait for what is shown in the end."""
        body = {
            "data": data,
            "fn_index": self._event(function)["id"],
            "session_hash": self.session,
        }
        joined = self.app.post("/gradio_api/queue/join", body, self.client)
        assert joined.status == 200, joined.body
        path = f"/gradio_api/queue/data?session_hash={self.session}"
        told = self.app.ask("GET", path, client=self.client).body.decode()
        messages = [json.loads(line[6:]) for line in told.splitlines() if line[:6] == "data: "]
        (last,) = [each for each in messages if each["msg"] == "process_completed"]
        assert last["success"], last
        return last["output"]["data"]

    def elements(self, function: str) -> list[str | None]:
        """The `elem_id` of each component that a function fills."""
        names = {each["id"]: each["props"].get("elem_id") for each in self._config["components"]}
        return [names.get(place) for place in self._event(function)["outputs"]]

    def _event(self, function: str) -> dict[str, Any]:
        (event,) = [each for each in self._config["dependencies"] if each["api_name"] == function]
        return event


def picture(width: int, height: int, kind: str = "JPEG") -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    Image.fromarray(noise).resize((width, height)).save(content, kind)
    return content.getvalue()


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *lines, "", "")).encode()
