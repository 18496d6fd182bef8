"""Uploads and results on the disk: where they lie, how much room there is, when they go."""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder

from serving import log

SWEEP = 60.0  # seconds between two looks at most
LARGEST = 4_000_000_000  # bytes of all uploads and results together
RESERVE = 100_000_000  # bytes of the disk that stay free for results; of a small disk its tenth

NO_ADDRESSES = "Web addresses are not fetched here: please send the file itself."


def refuse_addresses() -> None:
    """Let Gradio fetch no web address that a visitor sends, be it public, private or redirected.

    The address of a file that this app holds itself, as MCP clients send it, is taken as the file.
    """

    async def get(url: str) -> None:
        raise gr.Error(NO_ADDRESSES, print_exception=False)

    def download(url: str, cache_dir: str) -> str:
        _, _, path = unquote(urlsplit(url).path).partition("/gradio_api/file=")
        held = Path(path).resolve()
        if path and held.is_relative_to(Path(get_upload_folder()).resolve()) and held.is_file():
            return str(held)
        raise gr.Error(NO_ADDRESSES, print_exception=False)

    async def async_download(url: str, cache_dir: str) -> str:
        return download(url, cache_dir)

    processing_utils.async_ssrf_protected_get = get
    processing_utils.async_ssrf_protected_download = async_download
    for name in ("ssrf_protected_download", "save_url_to_cache", "unsafe_download"):
        setattr(processing_utils, name, download)


def hide_names() -> None:
    """Let no path be computed from a file's content: Gradio names folders by a keyed hash of it.

    Its key lies beside its code, where it lasts as long as the installation; this one lasts as long
    as the process and is written nowhere.
    """
    processing_utils.hash_seed = secrets.token_bytes(32)


class Store:
    """The folder of uploads and results of a page, which stay `kept` seconds after their use."""

    def __init__(self, blocks: gr.Blocks, keep_seconds: float) -> None:
        self.keep_seconds = keep_seconds
        self._blocks = blocks
        self._folder = Path(get_upload_folder())
        self._coming = 0  # bytes of uploads that go on
        self._lock = threading.Lock()
        self.size = 0  # bytes, at the last look

    def has_room(self, more: int = 0) -> bool:
        """Whether so many bytes more may be written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(self._folder)
        free = disk.free - min(RESERVE, disk.total // 10)
        return more + self._coming <= min(free, LARGEST - self.size)

    @contextmanager
    def reserved(self, size: int) -> Iterator[bool]:
        """Keep room for an upload while it comes; says whether there is any."""
        with self._lock:
            room = self.has_room(size)
            taken = size if room else 0
            self._coming += taken
        try:
            yield room
        finally:
            with self._lock:
                self._coming -= taken
                self.size += taken

    def sweep(self, everything: bool = False) -> None:
        """Delete what nobody used for long (or everything), and empty folders; count the rest."""
        older_than = -1 if everything else self.keep_seconds
        kept = {
            os.fspath(path)
            for block in self._blocks.blocks.values()
            for path in getattr(block, "keep_in_cache", ())
        }
        now, size = time.time(), 0
        for folder, _, names in os.walk(self._folder, topdown=False):
            for name in names:
                file = Path(folder, name)
                with suppress(OSError):
                    found = file.lstat()
                    used = max(found.st_mtime, found.st_ctime)
                    if now - used > older_than and str(file) not in kept:
                        file.unlink()
                    else:
                        size += found.st_size
            if Path(folder) != self._folder:
                with suppress(OSError):  # not empty
                    if now - Path(folder).stat().st_mtime > min(SWEEP, older_than):
                        Path(folder).rmdir()
        self.size = size
        # Gradio remembers each path in order to delete the file itself.
        for paths in self._blocks.temp_file_sets:
            for path in list(paths):
                if not Path(path).exists():
                    paths.discard(path)

    def keep_tidy(self) -> None:
        """Sweep from now on, in a thread that ends with the process."""

        def run() -> None:
            while True:
                time.sleep(min(SWEEP, self.keep_seconds / 2))
                try:
                    self.sweep()
                except Exception:
                    log.fault()

        threading.Thread(target=run, name="sweep", daemon=True).start()
