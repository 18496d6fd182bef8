"""A folder for uploads and results that belongs to this process alone."""

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "petscope-files-"


def create() -> None:
    """Put uploads and results into a folder of this process alone, which is deleted at its end.

    Call it before Gradio is imported. The folder is in $GRADIO_TEMP_DIR if that is set, which
    several servers may share; each of them deletes files that it does not know. Folders left by
    killed servers are deleted now.
    """
    parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if left.lstat().st_uid == os.geteuid() and not left.is_symlink() and _lock(left):
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    _lock(folder)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _lock(folder: Path) -> bool:
    """Lock a folder until this process ends, in whatever way; return whether it was free."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return False
    return True
