import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from serving import settings
from tests.hub import FakeHub

ROOT = Path(__file__).parent.parent
NOTICE = "models-notice"


def test_an_option_wins_over_its_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETSCOPE_PORT", "8000")
    assert settings.parse([]).port == 8000
    assert settings.parse(["--port", "9000"]).port == 9000


def test_the_defaults_are_those_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT", "MODELS", "MAX_MEGABYTES", "MAX_MEGAPIXELS", "MAX_WAITING"):
        monkeypatch.delenv(f"PETSCOPE_{name}", raising=False)
    found = settings.parse([])
    assert found.port == 7860
    assert found.max_megabytes == 25
    assert found.max_megapixels == 50
    assert not found.share


def run_app(*words: str) -> str:
    """What the app prints when it exits."""
    finished = subprocess.run(
        [sys.executable, "app.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert finished.returncode != 0
    return finished.stderr


def test_a_folder_without_models_is_reported_in_one_sentence(tmp_path: Path) -> None:
    assert run_app("--models", str(tmp_path)) == f"There is no model in the folder {tmp_path}.\n"


def test_the_app_starts_without_the_hub_and_says_which_models_it_uses(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.faults["GET /api"] = 503
    words = ["--models", "me/pets@v1", "--port", "0"]
    log = tmp_path / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [sys.executable, "app.py", *words],
            cwd=ROOT,
            env={**os.environ, "GRADIO_SSR_MODE": "False"},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        ) as process,
    ):
        assert process.stdout
        try:
            told = process.stdout.readline()  # nothing, should the app end
            url = re.findall(r"Running on local URL:  (http\S+)", told)[0]
            with urllib.request.urlopen(f"{url}/config") as answer:
                page = json.load(answer)
        finally:
            process.terminate()
    sentence = (
        "The models of me/pets@v1 are not available (the Hub answers with error 503), so the "
        "built-in ones are used."
    )
    (notice,) = [part for part in page["components"] if part["props"].get("elem_id") == NOTICE]
    assert notice["props"]["value"].count(sentence) == 1
    assert sentence in log.read_text().splitlines()


def test_a_port_in_use_is_reported_without_a_traceback() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = run_app("--port", str(taken.getsockname()[1]))
    assert "Traceback" not in said
    assert "port" in said


def test_the_environment_limits_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETSCOPE_MAX_MEGABYTES", "1.5")
    monkeypatch.setenv("PETSCOPE_MAX_MEGAPIXELS", "2")
    found = settings.parse([])
    assert found.photo_bytes == 1_500_000
    assert found.photo_pixels == 2_000_000
