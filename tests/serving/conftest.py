import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.raw_http import CAT, Served
from tests.serving.real_app import App, started


class _Kept(logging.Handler):
    """Collects log records."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(record.getMessage()))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page behind a proxy, as on a Space, so that each test can pose as different clients."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from starlette.middleware import Middleware

    from serving import log, server, sockets
    from serving.settings import Settings
    from ui import examples, page, texts, theme

    listening = sockets.take_port("127.0.0.1", 0)
    settings = Settings(max_megabytes=2, max_waiting=60, behind_proxy=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        running = server.launch(
            page.build(),
            settings,
            server.Look(
                theme=theme.THEME,
                css_paths=theme.STYLES,
                head=theme.HEAD,
                allowed_paths=[str(examples.FOLDER)],
                middleware=[Middleware(texts.Translation, paths=page.PATHS)],
            ),
            workers=2,
            translate=texts.say_to,
            listening=listening,
            ssr=False,
        )
    found = Served(listening.getsockname()[1], running)
    log.logger.addHandler(_Kept(found.lines))
    yield found
    running.stop(grace=5)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app by its own command, behind a proxy: each test may be clients of its own."""
    log, folder = (tmp_path_factory.mktemp(name) for name in ("log", "files"))
    given = {
        "PETSCOPE_BEHIND_PROXY": "1",
        "SECRET": "known-to-the-app-alone",
    }
    with started(log / "log", folder, **given) as app:
        yield app


@pytest.fixture(autouse=True)
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Gradio find this server's folder, not that of a server started by another test."""
    if "served" in request.fixturenames:
        served = request.getfixturevalue("served")
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(served.running.store.folder))


@pytest.fixture
def uploaded(served: Served) -> str:
    """The path of an uploaded photo."""
    (path,) = json.loads(served.upload(CAT.read_bytes()).body)
    return path
