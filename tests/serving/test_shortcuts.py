"""What Gradio is spared at every request."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.testclient import TestClient
from gradio import utils
from gradio.data_classes import FileData, _StaticFiles

from serving import internals


def test_uploads_are_not_compared_with_static_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(utils, "is_static_file", utils.is_static_file)  # to be restored
    uploads, icon = tmp_path / "uploads", tmp_path / "icon.svg"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    photo = uploads / "folder" / "photo.jpg"
    photo.parent.mkdir(parents=True)
    photo.touch()
    icon.touch()
    monkeypatch.setattr(_StaticFiles, "all_paths", [icon, photo])

    internals.uploads_are_not_static()

    found = [utils.is_static_file(FileData(path=str(path))) for path in (icon, photo)]
    assert found == [True, False]
    assert utils.is_static_file(icon)
    assert not utils.is_static_file("a text")


@pytest.mark.parametrize(("auth", "status"), [(None, 200), (("name", "word"), 401)])
def test_the_login_is_checked_without_a_thread(
    monkeypatch: pytest.MonkeyPatch, auth: tuple[str, str] | None, status: int
) -> None:
    threads = []

    async def run(function: Any, *values: Any, **named: Any) -> Any:  # noqa: ANN401
        threads.append(function.__name__)
        return await run_in_threadpool(function, *values, **named)

    monkeypatch.setattr("fastapi.dependencies.utils.run_in_threadpool", run)
    with gr.Blocks() as page:
        gr.Textbox()
    with internals.login_needs_no_thread():
        app = gr.mount_gradio_app(FastAPI(), page, "/", auth=auth)

    answer = TestClient(app).get("/config")

    assert answer.status_code == status
    assert threads == []
