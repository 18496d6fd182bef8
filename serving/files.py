"""Uploads and results on the disk: their folder, the space they may take, and their deletion."""

import errno
import os
import secrets
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from serving import internals, log

FULL = 1.0  # seconds between two searches for space if there was none
SWEEP = 60.0  # most seconds between two sweeps
LARGEST = 4_000_000_000  # bytes of all uploads and results together
RESERVE = 100_000_000  # bytes of the disk that stay free; of a small disk, a tenth


@dataclass
class Reservation:
    """Disk space reserved for an upload while it arrives."""

    store: "Store"
    taken: int = 0

    def grow(self, size: int, make_room: bool = True) -> bool:
        """Reserve so many bytes altogether; return whether there is space.

        To make room for them, all files are looked at, which may take long.
        """
        more = size - self.taken
        if more <= 0:
            return True
        if not self.store.take(more, make_room):
            return False
        self.taken = size
        return True


class Store:
    """The folder of a page's uploads and results.

    They are deleted `keep_seconds` after their last use, or earlier if space is needed: the least
    recently used first. Files in use always stay: those of answers that wait or are being computed,
    and those that an open page shows.

    Attributes
    ----------
    folder
        Their folder.
    size
        Bytes of all of them, as far as is known.
    is_open
        Returns whether a session's page is open.
    """

    def __init__(self, blocks: gr.Blocks, keep_seconds: float) -> None:
        self.folder = internals.upload_folder()
        self.keep_seconds = keep_seconds
        self.size = 0
        self._blocks = blocks
        self._coming = 0  # bytes of unfinished uploads
        self._lock = threading.Lock()
        self._sweeping = threading.Lock()
        self._full_until = 0.0
        self._used: dict[str, set[str]] = defaultdict(set)  # files and folders of an answer
        self._shown: dict[tuple[str, str], set[str]] = {}  # by session and function
        self._counted: dict[str, int] = {}  # bytes of the folders that answers write into
        self.is_open: Callable[[str], bool] = lambda session: False
        global _active
        _active = self

    # What is in use.

    def use(self, answer: str, paths: Iterable[str], written: bool = False) -> None:
        """Mark files or folders that an answer reads, or writes into, until it is ready."""
        found = {path for path in paths if Path(path).is_relative_to(self.folder)}
        with self._lock:
            self._used[answer] |= found
            if written:
                self._counted |= dict.fromkeys(found, 0)
        touch(found)

    def answered(self, answer: str, session: str, function: str, paths: Iterable[str]) -> None:
        """An answer is ready: the page shows its files until the function's next answer."""
        found = {path for path in paths if Path(path).is_relative_to(self.folder)}
        with self._lock:
            found |= self._used.pop(answer, set())
            self._shown[session, function] = found
        touch(found)
        for folder in found & set(self._counted):
            self.count(folder)
            self._counted.pop(folder, None)

    def forget(self, answers: set[str]) -> None:
        """From now on, only what belongs to these answers and to open pages is in use."""
        with self._lock:
            for answer in set(self._used) - answers:
                del self._used[answer]
            writing: set[str] = set().union(*self._used.values())
            self._counted = {path: size for path, size in self._counted.items() if path in writing}
            for session, function in list(self._shown):
                if not self.is_open(session):
                    touch(self._shown.pop((session, function)))

    def _in_use(self) -> set[str]:
        always = internals.page_files(self._blocks)
        with self._lock:
            shown = [files for (session, _), files in self._shown.items() if self.is_open(session)]
            return always.union(*self._used.values(), *shown)

    # Space.

    def has_room(self, more: int = 0) -> bool:
        """Whether so many more bytes may be written; makes space by deleting unused files."""
        if self.fits(more):
            return True
        with self._lock:
            if time.monotonic() < self._full_until:  # looking at all files takes time
                return False
        self.sweep()
        if self.fits(more) or self._make_room(more):
            return True
        with self._lock:
            self._full_until = time.monotonic() + FULL
        return False

    def fits(self, more: int = 0) -> bool:
        """Whether so many more bytes may be written without deleting anything."""
        self.folder.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(self.folder)
        free = disk.free - min(RESERVE, disk.total // 10)
        nodes = os.statvfs(self.folder)  # one for each file and folder; 0 if they are unlimited
        if nodes.f_files and nodes.f_favail < nodes.f_files // 10:
            return False
        return more + self._coming <= min(free, LARGEST - self.size)

    def count(self, folder: str) -> None:
        """Count what an answer has written into its folder so far."""
        size = sum(map(_size_on_disk, _files(Path(folder))))
        with self._lock:
            self.size += size - self._counted.get(folder, 0)
            self._counted[folder] = size

    def take(self, size: int, make_room: bool = True) -> bool:
        """Reserve so many bytes; return whether there is space, or room can be made."""
        if self._reserve(size):
            return True
        return make_room and self.has_room(size) and self._reserve(size)

    def _reserve(self, size: int) -> bool:
        with self._lock:  # otherwise two uploads could reserve the same space
            if not self.fits(size):
                return False
            self._coming += size
            return True

    @contextmanager
    def reserved(self) -> Iterator[Reservation]:
        """Disk space for an upload while it arrives."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            with self._lock:
                self._coming -= reservation.taken
                self.size += reservation.taken

    def _make_room(self, more: int) -> bool:
        """Delete the least recently used files until there is space."""
        used = self._in_use()
        files = []
        for file in _files(self.folder):
            with suppress(OSError):
                if not _belongs(file, used):
                    files.append((_last_use(file), file))
        for _, file in sorted(files):
            if time.time() - _last_use(file) < 1:  # this one may be about to be used
                break
            with suppress(OSError):
                size = _size_on_disk(file)
                file.unlink()
                with self._lock:
                    self.size -= size
            if self.fits(more):
                return True
        return False

    # Deletion.

    def sweep(self, everything: bool = False) -> None:
        """Delete what was not used for long (or everything), and empty folders; count the rest."""
        with self._sweeping:
            older_than = -1 if everything else self.keep_seconds
            used = set() if everything else self._in_use()
            now, size = time.time(), 0
            for folder, _, names in os.walk(self.folder, topdown=False):
                for name in names:
                    file = Path(folder, name)
                    with suppress(OSError):
                        if now - _last_use(file) > older_than and not _belongs(file, used):
                            file.unlink()
                        else:
                            size += _size_on_disk(file)
                if Path(folder) != self.folder:
                    with suppress(OSError):  # not empty
                        if now - Path(folder).stat().st_mtime > min(SWEEP, older_than):
                            Path(folder).rmdir()
            with self._lock:
                self.size = size
            for path in list(self._counted):
                self._counted[path] = sum(map(_size_on_disk, _files(Path(path))))
            internals.forget_deleted_files(self._blocks)

    def keep_tidy(self) -> None:
        """Sweep regularly from now on, in a thread that ends with the process."""

        def run() -> None:
            while True:
                time.sleep(min(SWEEP, self.keep_seconds / 2))
                try:
                    self.sweep()
                    if not self.fits(0):
                        self._make_room(0)
                except Exception:
                    log.fault()

        threading.Thread(target=run, name="sweep", daemon=True).start()


_active: Store | None = None  # the store of the page that is served


def new_folder() -> Path:
    """A folder for results, with a name that cannot be guessed.

    Its files stay at least until the answer that is being computed is ready.

    Raises
    ------
    OSError
        If there is no space for results.
    """
    if not has_room():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    folder = internals.upload_folder() / secrets.token_hex(16)
    folder.mkdir(parents=True)
    if _active and (answer := internals.current_answer()):
        _active.use(answer, [str(folder)], written=True)
    return folder


def has_room(written: Path | None = None) -> bool:
    """Whether there is space for results, once those in a folder of `new_folder` are counted."""
    if _active is None:
        return True
    if written:
        _active.count(str(written))
    return _active.has_room(1)


def touch(paths: Iterable[str]) -> None:
    """Record that files are used now."""
    for path in paths:
        with suppress(OSError):
            os.utime(path)


def _last_use(file: Path) -> float:
    found = file.lstat()
    return max(found.st_mtime, found.st_ctime)  # a copy has the original's modification time


def _size_on_disk(file: Path) -> int:
    """Bytes that a file takes on the disk, if it exists: a small file takes a whole block."""
    with suppress(FileNotFoundError):
        return file.lstat().st_blocks * 512
    return 0


def _files(folder: Path) -> Iterator[Path]:
    """All files in a folder and below."""
    for path, _, names in os.walk(folder):
        for name in names:
            yield Path(path, name)


def _belongs(file: Path, used: set[str]) -> bool:
    """Whether a file, or a folder that contains it, is in use."""
    return any(str(path) in used for path in (file, *file.parents))
