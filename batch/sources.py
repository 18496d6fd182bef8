"""Where the photos are: found once, cut into parts, and read part by part.

A source is a folder, a picture, a ZIP or TAR archive (as of WebDataset, compressed or not), a
Parquet file with pictures in a column (as Hugging Face's data sets have them), or a glob of those;
on this machine or behind any address that fsspec knows, such as `hf://datasets/OWNER/NAME`.
"""

import json
import lzma
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO, NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import has_magic, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from models.images import MAX_BYTES, PhotoError

PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".mpo"),
)
ZIPS = (".zip",)
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PARQUETS = (".parquet",)

ROWS_READ = 16  # of a Parquet file at once: each may hold MAX_BYTES


class SourceError(Exception):
    """A source that has no photos or cannot be had; the message is one sentence for people."""


class ShardError(Exception):
    """An archive or Parquet file that is damaged; the message is one sentence for people."""


class Found(NamedTuple):
    """A photo of a source, or why it is none.

    Attributes
    ----------
    name
        Its path within the source, or None where the sentence is about the source as a whole.
    content
        The bytes of its file, cut off where they are more than `MAX_BYTES`.
    error
        A sentence in place of the content.
    """

    name: str | None
    content: bytes = b""
    error: str | None = None


@dataclass(frozen=True)
class Part:
    """A piece of work that is done, written and repeated as a whole.

    Attributes
    ----------
    source
        A folder or a shard.
    start, stop
        Which of the source's photos: the first, and the one behind the last. Without `stop` it goes
        to the source's end.
    names
        Of a folder's photos, `stop - start` paths within it.
    """

    source: str
    start: int
    stop: int | None
    names: tuple[str, ...] = ()

    @property
    def photos(self) -> int | None:
        """How many photos it has, None where only reading will tell."""
        return None if self.stop is None else self.stop - self.start

    def to_json(self) -> str:
        """The part as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Part":
        """The part that `to_json` wrote."""
        facts = json.loads(text)
        return cls(**{**facts, "names": tuple(facts["names"])})


def plan(words: Sequence[str], size: int, column: str | None = None) -> list[Part]:
    """Find all photos of the sources and cut them into parts of at most `size` photos.

    What is in no order by itself is sorted, so the same sources give the same parts. TAR archives
    that are compressed or elsewhere are not searched ahead: each is one part.

    Parameters
    ----------
    words
        Paths, addresses and globs.
    size
        Most photos of a part.
    column
        As of `read`.

    Raises
    ------
    SourceError
        When a source cannot be had, or there is no photo in all of them.
    """
    folders: dict[str, set[str]] = {}
    shards: dict[str, None] = {}
    for word in words:
        for root, name in _search(word):
            if name.lower().endswith(PICTURES):
                folders.setdefault(root, set()).add(name)
            else:
                shards[posixpath.join(root, name)] = None
    parts = []
    for root, found in folders.items():
        names = sorted(found)
        for start in range(0, len(names), size):
            chosen = tuple(names[start : start + size])
            parts.append(Part(root, start, start + len(chosen), chosen))
    for shard in shards:
        parts += _cut(shard, size, column)
    if not parts:
        raise SourceError("There are no photos in " + " or ".join(map(repr, words)) + ".")
    return parts


def read(part: Part, column: str | None = None) -> Iterator[Found]:
    """Read the photos of a part, in order.

    A damaged archive gives what is before the damage, and then one sentence about the archive.

    Parameters
    ----------
    part
        Which.
    column
        Of a Parquet file, what holds the pictures; otherwise the first that can.

    Raises
    ------
    OSError
        When the source cannot be reached now.
    """
    if part.names:
        return _read_folder(part)
    return _read_shard(part, column)


def _search(word: str) -> Iterator[tuple[str, str]]:
    """All pictures and shards that a word means: the folder they are found in, the path in it."""
    try:
        files, path = url_to_fs(word)
        if files.isfile(path):
            paths, root = [path], posixpath.dirname(path)
        elif files.isdir(path):
            paths, root = _files(files, path), path
        else:
            paths, root = [], path
            if has_magic(path):
                plain = path.split("/")
                first = next(index for index, piece in enumerate(plain) if has_magic(piece))
                root = "/".join(plain[:first])
                paths = [
                    inner
                    for found in sorted(files.glob(path))
                    for inner in (_files(files, found) if files.isdir(found) else [found])
                ]
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"{word!r} cannot be read: {one_line(error)}.") from error
    wanted = PICTURES + ZIPS + TARS + PARQUETS
    paths = [path for path in paths if path.lower().endswith(wanted)]
    if not paths:
        raise SourceError(f"There are no photos in {word!r}, or it does not exist.")
    address = root if isinstance(files, LocalFileSystem) else files.unstrip_protocol(root)
    for path in paths:
        name = posixpath.relpath(path, root)
        if not _hidden(name):
            yield address, name


def _files(files: fsspec.AbstractFileSystem, folder: str) -> list[str]:
    found = files.find(folder, detail=True)
    # Pipes and devices may never end.
    return sorted(path for path, facts in found.items() if facts["type"] != "other")


def _hidden(name: str) -> bool:
    return any(piece.startswith(".") for piece in name.split("/")) or name.startswith("__MACOSX/")


def _picture(name: str) -> bool:
    return name.lower().endswith(PICTURES) and not _hidden(name)


def _cut(shard: str, size: int, column: str | None) -> list[Part]:
    """The parts of a shard; an unusable one is a part too, and says so when it is read."""
    files, path = url_to_fs(shard)
    try:
        if shard.lower().endswith(ZIPS):
            with files.open(path) as file, zipfile.ZipFile(file) as archive:
                count = len(_members(archive))
        elif shard.lower().endswith(PARQUETS):
            with files.open(path) as file:
                table = pq.ParquetFile(file)
                _find_column(table.schema_arrow, column)
                count = table.metadata.num_rows
        elif shard.lower().endswith(".tar") and isinstance(files, LocalFileSystem):
            with tarfile.open(path, "r:") as archive:
                count = sum(1 for _ in _entries(archive))
        else:
            return [Part(shard, 0, None)]
    except (*_DAMAGE, ShardError, OSError):
        return [Part(shard, 0, None)]
    return [Part(shard, start, min(start + size, count)) for start in range(0, count, size)]


def _read_folder(part: Part) -> Iterator[Found]:
    files, root = url_to_fs(part.source)
    for name in part.names:
        try:
            with files.open(posixpath.join(root, name), "rb") as file:
                yield Found(name, file.read(MAX_BYTES + 1))
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            yield Found(name, error=str(PhotoError("photo_unreadable")))


def _read_shard(part: Part, column: str | None) -> Iterator[Found]:
    files, path = url_to_fs(part.source)
    try:
        with files.open(path, "rb") as file:
            if path.lower().endswith(PARQUETS):
                yield from _read_parquet(file, part, column)
            elif path.lower().endswith(ZIPS):
                yield from _read_zip(file, part)
            else:
                yield from _read_tar(file, part)
    except ShardError as error:
        yield Found(None, error=str(error))
    except _DAMAGE:
        yield Found(None, error="The file is damaged or cut off, and no more of it can be read.")
    except OSError as error:
        # Arrow says so of a damaged file, bzip2 of a damaged stream; a network's errors have a
        # number or are of another class.
        if type(error) is not OSError or error.errno is not None:
            raise
        yield Found(None, error="The file is damaged or cut off, and no more of it can be read.")


_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    pa.ArrowInvalid,
    zlib.error,
    lzma.LZMAError,
    EOFError,
)


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [member for member in archive.infolist() if _picture(member.filename)]


def _read_zip(file: BinaryIO, part: Part) -> Iterator[Found]:
    with zipfile.ZipFile(file) as archive:
        for member in _members(archive)[part.start : part.stop]:
            try:
                with archive.open(member) as content:
                    yield Found(member.filename, content.read(MAX_BYTES + 1))
            except _DAMAGE:
                yield Found(member.filename, error=str(PhotoError("photo_damaged")))
            except (NotImplementedError, RuntimeError):
                sentence = "The archive has encrypted it, or packed it in an unknown way."
                yield Found(member.filename, error=sentence)


def _entries(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        if member.isfile() and _picture(member.name):
            yield member
        archive.members.clear()  # it would keep them all


def _read_tar(file: BinaryIO, part: Part) -> Iterator[Found]:
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for index, member in enumerate(_entries(archive)):
            if part.stop is not None and index >= part.stop:
                break
            if index >= part.start and (content := archive.extractfile(member)):
                yield Found(member.name, content.read(MAX_BYTES + 1))


def _read_parquet(file: BinaryIO, part: Part, column: str | None) -> Iterator[Found]:
    table = pq.ParquetFile(file)
    column = _find_column(table.schema_arrow, column)
    stop = table.metadata.num_rows if part.stop is None else part.stop
    row = 0
    for group in range(table.num_row_groups):
        following = row + table.metadata.row_group(group).num_rows
        if following > part.start and row < stop:
            for batch in table.iter_batches(ROWS_READ, row_groups=[group], columns=[column]):
                for value in batch.column(0):
                    if part.start <= row < stop:
                        yield _cell(value.as_py(), row)
                    row += 1
        row = following


def _find_column(schema: pa.Schema, wanted: str | None) -> str:
    """The wanted column, or the first with pictures: `struct<bytes, path>`, else bytes."""
    if wanted is not None:
        if wanted in schema.names:
            return wanted
        raise ShardError(f"The Parquet file has no column {wanted!r}.")
    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return field.name
    for field in schema:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return field.name
    raise ShardError("The Parquet file has no column with pictures.")


def _cell(value: object, row: int) -> Found:
    """A picture of a Parquet column; without a path, it is called by the number of its row."""
    facts = value if isinstance(value, dict) else {"bytes": value}
    name = facts.get("path") or str(row)
    if not isinstance(content := facts.get("bytes"), bytes):
        return Found(name, error="The row holds no bytes of a picture.")
    return Found(name, content[: MAX_BYTES + 1])


def one_line(error: BaseException) -> str:
    """What an error says, as a part of a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
