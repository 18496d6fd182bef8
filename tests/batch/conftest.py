"""Photos that end or hold up what decodes them, in every process that is started from here."""

import os
from collections.abc import Iterator

import pytest

from models import store

# Python runs this module at its start, wherever it finds it.
CUSTOMIZE = """
import os, time
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
    if content.startswith(b"BUG"):
        raise SystemError("a bug")
    if content.startswith(b"MEMORY"):
        raise MemoryError
    return honest(file, *arguments, **options)

PIL.Image.open = open
"""


@pytest.fixture
def hostile_photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files that begin with CRASH, HANG, ONCE or MEMORY do that to a decoder."""
    folder = tmp_path_factory.mktemp("customize")
    (folder / "sitecustomize.py").write_text(CUSTOMIZE)
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.delenv(store.SOURCE_VARIABLE, raising=False)
        yield
