import json
import logging
import os
import socket
from collections.abc import Iterator

import pytest

from tests.raw_http import CAT, Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page as a Space serves it, behind a proxy: each test may be clients of its own."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from serving import files, log, server
    from ui import examples, page, texts, theme

    files.hide_names()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    limits = server.Limits(photo_bytes=2_000_000, max_waiting=60, behind_proxy=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        running = server.launch(
            page.build(),
            limits,
            workers=2,
            translate=texts.say_to,
            server_name="127.0.0.1",
            server_port=port,
            allowed_paths=[str(examples.FOLDER)],
            theme=theme.THEME,
            css_paths=theme.STYLES,
            mcp_server=True,
            ssr_mode=False,
        )
    found = Served(port, running)
    handler = logging.Handler()
    handler.emit = lambda record: found.lines.append(json.loads(record.getMessage()))
    log.logger.addHandler(handler)
    yield found
    running.stop(grace=5)


@pytest.fixture(autouse=True)
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Gradio find the server's folder, and none of the servers that other tests start."""
    if "served" in request.fixturenames:
        served = request.getfixturevalue("served")
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(served.running.store._folder))


@pytest.fixture
def uploaded(served: Served) -> str:
    """The path of an uploaded photo."""
    (path,) = json.loads(served.upload(CAT.read_bytes()).body)
    return path
