"""A folder of this process alone for uploads and results."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def create() -> None:
    """Let uploads and results lie in a folder of this process alone, deleted at its end.

    To be called before Gradio is imported. It lies in $GRADIO_TEMP_DIR where that is set, which
    several servers may share: each deletes what it does not know.
    """
    parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="petscope-", dir=parent)
    os.environ["GRADIO_TEMP_DIR"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
