"""Photos that crash or block their decoder, in every process that is started from here."""

import os

import pytest

from models import store

# Python runs this module at its start, wherever it finds it.
CUSTOMIZE = """
import io, os, time
from pathlib import Path

import PIL.Image

honest = PIL.Image.open

def open(file, *arguments, **options):
    content = file.getvalue()
    if content.startswith(b"CRASH"):
        os.abort()
    if content.startswith(b"HANG"):
        time.sleep(1000)
    if content.startswith(b"ONCE") and not Path(content[4:].decode()).exists():
        Path(content[4:].decode()).touch()
        os.abort()
    if content.startswith(b"SLOW"):
        time.sleep(0.25)
        file = io.BytesIO(content[4:])
    if content.startswith(b"BUG"):
        raise SystemError("a bug")
    if content.startswith(b"MEMORY"):
        raise MemoryError
    return honest(file, *arguments, **options)

PIL.Image.open = open
"""


@pytest.fixture(scope="session")
def customize(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with which files that begin with CRASH, HANG and so on have that effect."""
    folder = tmp_path_factory.mktemp("customize")
    (folder / "sitecustomize.py").write_text(CUSTOMIZE)
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture
def hostile_photos(customize: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes started from here decode as in `customize`, with the embedded models."""
    monkeypatch.setenv("PYTHONPATH", customize)
    monkeypatch.delenv(store.SOURCE_VARIABLE, raising=False)
