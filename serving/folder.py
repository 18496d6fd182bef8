"""A folder of this process alone for uploads and results."""

import atexit
import os
import shutil
import tempfile


def make_own() -> None:
    """Let uploads and results lie in a folder of this process alone, deleted at its end.

    To be called before Gradio is imported. $GRADIO_TEMP_DIR names another folder, which stays.
    """
    if "GRADIO_TEMP_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="petscope-")
        os.environ["GRADIO_TEMP_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
