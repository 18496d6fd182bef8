"""Finds, sorts and opens files on this machine and at any address that fsspec knows.

Files that are unavailable now are distinguished from those that always will be: the former may be
there when the command is run again; the latter get a row with an error.
"""

import errno
import glob
import io
import os
import posixpath
import re
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, TYPE_CHECKING

import fsspec
from fsspec.core import has_magic, url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from models import hub
from models.errors import one_line

if TYPE_CHECKING:
    import httpx2

PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs", ".mpo"),
    ".jxl",
)
ZIPS = (".zip",)
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PARQUETS = (".parquet",)
SHARDS = ZIPS + TARS + PARQUETS

PLAN = "_plan.parquet"  # beside the results of a run; readers of Parquet folders skip it

# What is skipped, besides files with other extensions.
HIDDEN = "hidden"
NO_ENDING = "without an ending"
NO_FILE = "not a regular file"
AGAIN = "linked twice"
RESULTS = "of a run’s results"

UNREADABLE = "{!r} cannot be read: {}."

WAIT = 20.0  # seconds for a chunk of the Hub's answer

# Errors of a machine or a network drive that may disappear by themselves.
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EAGAIN", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH"),
        *("EMFILE", "ENETDOWN", "ENETUNREACH", "ENFILE", "ENOMEM", "ESTALE", "ETIMEDOUT"),
    )
    if hasattr(errno, name)
)


class SourceError(Exception):
    """A source has no photos or is not available; the message is one sentence for people."""


class UnreachableError(Exception):
    """A source cannot be read now, but perhaps later; the message is a part of a sentence."""


def find(word: str, left_out: Counter[str]) -> tuple[str, list[str]]:
    """The pictures and shards that an argument names.

    Links are followed, but each folder is visited once. A file that the argument itself names is
    taken as a picture, whatever its extension.

    Parameters
    ----------
    word
        A path, an address or a glob.
    left_out
        Counts the other files, by extension or another reason.

    Returns
    -------
    The folder or address that contains them, and their paths in it.

    Raises
    ------
    SourceError
        If it is an address of an unknown kind, or cannot be searched.
    UnreachableError
        If it cannot be searched now.
    """
    files, path = None, os.path.abspath(word)
    # A path that exists is neither an address nor a glob, whatever it looks like.
    if not os.path.lexists(word):
        try:
            files, path = _reach(word)
        except (OSError, ValueError, ImportError) as error:
            raise SourceError(UNREADABLE.format(word, one_line(error))) from error
    try:
        if files is not None and not isinstance(files, LocalFileSystem):
            return _find_there(files, path, left_out)
        if os.path.lexists(path):
            return _find_here(path, left_out)
        return _glob_here(path, left_out)
    except OSError as error:
        reason = hub.reason(error) if hub.http_status(error) else one_line(error)
        raise SourceError(UNREADABLE.format(word, reason)) from error


def open_file(source: str, name: str = "") -> "File":
    """Open a file of a source for reading, from its beginning.

    Parameters
    ----------
    source
        From `find`.
    name
        A path in it; empty for the source itself.

    Raises
    ------
    OSError
        If it does not exist, is not a file, or cannot be read.
    UnreachableError
        If it is not available now; the returned file raises it too.
    """
    if is_here(source):
        path = os.path.join(source, name) if name else source
        with _reaching_here():
            if not stat.S_ISREG(os.stat(path).st_mode):  # reading from a pipe may never end
                raise FileNotFoundError(path)
            return File(open(path, "rb"), _reaching_here)
    with _reaching_there():
        files, path = _reach(source)
        path = posixpath.join(path, name) if name else path
        return File(files.open(path, "rb"), _reaching_there)


class File(io.BufferedIOBase):
    """An open file that distinguishes errors of its place from those of its content."""

    def __init__(
        self, file: IO[bytes], reaching: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._file = file
        self._reaching = reaching

    def read(self, size: int | None = -1) -> bytes:
        """Read so many bytes, or to the end."""
        with self._reaching():
            return self._file.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        with self._reaching():
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._file.tell()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """Whether one can go back in it."""
        return self._file.seekable()

    def close(self) -> None:
        """Close it."""
        self._file.close()
        super().close()


@contextmanager
def _reaching_here() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _PASSING:
            raise UnreachableError(one_line(error)) from error
        raise


@contextmanager
def _reaching_there() -> Iterator[None]:
    """Network errors have many types: those of huggingface_hub and others are not `OSError`."""
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, SourceError):
        raise
    except Exception as error:
        raise UnreachableError(hub.reason(error)) from error


def is_here(source: str) -> bool:
    """Whether a source is a file or folder on this machine."""
    return os.path.isabs(source)


def hidden(name: str) -> bool:
    """Whether a path in a source is hidden from people, such as macOS's `__MACOSX/._x.jpg`."""
    pieces = [piece for piece in name.split("/") if piece not in (".", "..")]
    return any(piece.startswith(".") or piece == "__MACOSX" for piece in pieces)


def ending(name: str) -> str:
    """The kind under which a skipped file is counted."""
    return posixpath.splitext(name)[1].lower() or NO_ENDING


def _find_here(path: str, left_out: Counter[str]) -> tuple[str, list[str]]:
    if os.path.isdir(path):
        return path, _below_here(path, left_out)
    root, name = os.path.split(path)
    if name.lower().endswith(SHARDS):
        return root, _sorted_out([name], left_out, _holds_plan(root))
    return root, [name]


def _below_here(root: str, left_out: Counter[str]) -> list[str]:
    """Everything below a folder, including the folders that cannot be searched."""
    closed: list[str] = []
    names = _walk(root, left_out, closed)
    return _sorted_out(names, left_out, _holds_plan(root)) + closed


def _sorted_out(
    names: Iterable[str], left_out: Counter[str], holds_plan: Callable[[str], bool]
) -> list[str]:
    """The files that may contain photos; the others are counted."""
    chosen = []
    for name in names:
        picture = name.lower().endswith(PICTURES)
        if hidden(name):
            left_out[HIDDEN] += 1
        elif not picture and holds_plan(posixpath.dirname(name)):
            left_out[RESULTS] += 1
        elif picture or name.lower().endswith(SHARDS):
            chosen.append(name)
        else:
            left_out[ending(name)] += 1
    return chosen


def _holds_plan(root: str) -> Callable[[str], bool]:
    """Tells whether folders on this machine hold the results of a run."""
    return lambda folder: os.path.lexists(os.path.join(root, folder, PLAN))


def _walk(root: str, left_out: Counter[str], closed: list[str]) -> Iterator[str]:
    """All files below a folder on this machine, by their paths in it.

    Links are followed last, so that a photo is found under its own name first.
    """
    seen: set[tuple[int, int]] = set()
    folders, links = deque([""]), deque[str]()
    while folders or links:
        inner = folders.popleft() if folders else links.popleft()
        folder = os.path.join(root, inner)
        try:
            facts = os.stat(folder)
            if (facts.st_dev, facts.st_ino) in seen:
                left_out[AGAIN] += 1
                continue
            seen.add((facts.st_dev, facts.st_ino))
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            if not inner:
                raise
            closed.append(inner)
            continue
        for entry in found:
            name = os.path.join(inner, entry.name)
            if hidden(entry.name):
                left_out[HIDDEN] += 1
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif os.path.isdir(entry):
                links.append(name)
            elif os.path.isfile(entry) or entry.is_symlink():
                yield name
            else:
                left_out[NO_FILE] += 1


def _plain(path: str) -> str:
    """The folder in which a glob begins."""
    pieces = path.split("/")
    first = next((index for index, piece in enumerate(pieces) if has_magic(piece)), -1)
    return "/".join(pieces[:first])


def _glob_here(pattern: str, left_out: Counter[str]) -> tuple[str, list[str]]:
    root, names, closed = _plain(pattern) or "/", list[str](), list[str]()
    if "**" in pattern:  # Python's own glob would follow links for ever
        matches = re.compile(glob_translate(pattern)).match
        names += (
            name for name in _walk(root, Counter(), closed) if matches(os.path.join(root, name))
        )
    else:
        for path in sorted(glob.glob(pattern)):
            name = os.path.relpath(path, root)
            if os.path.isdir(path):
                names += (os.path.join(name, inner) for inner in _walk(path, left_out, closed))
            else:
                names.append(name)
    return root, _sorted_out(names, left_out, _holds_plan(root))


def _reach(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of an address, and the path in it."""
    files, path = url_to_fs(address)
    if "hf" in files.protocol:
        # It reads its settings on import, and a worker gets them only later.
        from huggingface_hub import get_session

        session = get_session()
        hooks = session.event_hooks
        if _bound_waiting not in hooks["request"]:
            session.event_hooks = {**hooks, "request": [*hooks["request"], _bound_waiting]}
    return files, path


def _bound_waiting(request: "httpx2.Request") -> None:
    """Limit the waiting for the Hub's answers, which is endless by default for lists of files.

    The timeouts are those of the httpx2 library's extensions to a request.
    """
    given = request.extensions.get("timeout", {})
    kinds = ("connect", "read", "write", "pool")
    bounded = {kind: WAIT if given.get(kind) is None else given[kind] for kind in kinds}
    request.extensions = {**request.extensions, "timeout": bounded}


def _find_there(
    files: fsspec.AbstractFileSystem, path: str, left_out: Counter[str]
) -> tuple[str, list[str]]:
    with _reaching_there():
        try:
            kind = files.info(path)["type"]
        except FileNotFoundError:
            if not has_magic(path):
                raise
            kind = "glob"
        if kind == "file":
            root, paths = posixpath.dirname(path), [path]
        elif kind == "glob":
            root = _plain(path)
            paths = [
                inner
                for found in sorted(files.glob(path))
                for inner in (files.find(found) if files.isdir(found) else [found])
            ]
        else:
            root, paths = path, sorted(files.find(path))
    names = [posixpath.relpath(inner, root) for inner in paths]
    plans = {posixpath.dirname(name) for name in names if posixpath.basename(name) == PLAN}
    address = files.unstrip_protocol(root)
    if kind == "file" and not path.lower().endswith(SHARDS):
        return address, names
    return address, _sorted_out(names, left_out, plans.__contains__)
