"""The sources of photos: searched once, divided into parts, and read part by part.

A source is a folder, a picture, a ZIP or TAR archive (as of WebDataset, compressed or not), a
Parquet file with pictures in a column (as Hugging Face's data sets have them), or a glob of those;
on this machine or behind any address that fsspec knows, such as `hf://datasets/OWNER/NAME`.
"""

import json
import logging
import math
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batch import archives, places
from batch.places import PARQUETS, SHARDS, ZIPS, SourceError, UnreachableError
from models import images
from models.images import PhotoError

MANY_PARTS, SMALLEST_PART, LARGEST_PART = 64, 8, 500  # parts of a run; photos of a part
ROWS_READ = 16  # rows of a Parquet file at a time: each may have `images.MAX_BYTES`

NO_PHOTOS = "There are no photos in {!r}, or it does not exist."
DAMAGED = "The file is damaged or cut off, and no more of it can be read."
PACKED = "The archive has encrypted it, or packed it in an unknown way."
LINK = "It is a link in the archive, to {!r}, and is not followed."
NO_BYTES = "The row holds no bytes of a picture."

logger = logging.getLogger(__name__)


class ShardError(Exception):
    """An archive or Parquet file is unusable; the message is one sentence for people."""


class SourcePhoto(NamedTuple):
    """A photo of a source, or the reason why it cannot be used.

    Attributes
    ----------
    name
        Its path in the source, or None if the error concerns the whole source. Bytes that are not
        UTF-8 are lone surrogates, as everywhere in Python.
    content
        The bytes of its file, at most one more than `images.MAX_BYTES`.
    error
        A sentence instead of the content.
    """

    name: str | None
    content: bytes = b""
    error: str | None = None


@dataclass(frozen=True)
class Part:
    """A piece of work that is processed, written and repeated as a whole.

    Attributes
    ----------
    source
        A folder or a shard.
    start, stop
        The source's photos from index `start` up to but excluding `stop`; without `stop`, to the
        end.
    names
        Paths of a folder's photos in it, `stop - start` of them.
    error
        Why the source cannot be read at all: one sentence, for its only row.
    """

    source: str
    start: int
    stop: int | None
    names: tuple[str, ...] = ()
    error: str | None = None

    @property
    def photos(self) -> int | None:
        """The number of its photos; None if that is known only after reading."""
        return None if self.stop is None else self.stop - self.start

    def to_json(self) -> str:
        """The part as text, in ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Part":
        """The part that `to_json` wrote."""
        facts = json.loads(text)
        return cls(**{**facts, "names": tuple(facts["names"])})


@dataclass
class Plan:
    """The parts of a run.

    Attributes
    ----------
    parts
        All photos found, and a part for each source that cannot be read.
    left_out
        How many files are skipped, by extension or another reason.
    unreachable
        Why some sources could not be searched now, by their arguments.
    """

    parts: list[Part] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unreachable: dict[str, str] = field(default_factory=dict)


def plan(words: Sequence[str], size: int | None = None, column: str | None = None) -> Plan:
    """Find all photos of the sources and divide them into parts of at most `size` photos.

    Files without an order of their own are sorted, so the same sources give the same parts. TAR
    archives that are compressed or remote are not searched in advance: each is one part.

    Parameters
    ----------
    words
        Paths, addresses and globs.
    size
        Most photos of a part; by default that of `part_size`.
    column
        As of `read`.

    Raises
    ------
    SourceError
        If none of the sources has readable photos.
    """
    made = Plan()
    folders: dict[str, set[str]] = {}
    shards: dict[str, int | None] = {}
    failed: dict[str, str] = {}
    for word in words:
        try:
            root, names = places.find(word, made.left_out)
            for name in names:
                shard = posixpath.join(root, name)
                if not name.lower().endswith(SHARDS):
                    folders.setdefault(root, set()).add(name)
                elif shard not in shards:
                    shards[shard] = _count(shard, column, made.left_out)
            if not names:
                failed[word] = NO_PHOTOS.format(word)
        except SourceError as error:
            failed[word] = str(error)
        except UnreachableError as error:
            made.unreachable[word] = str(error)
    photos = sum(map(len, folders.values())) + sum(filter(None, shards.values()))
    size = size or part_size(photos)
    for root, found in folders.items():
        ordered = sorted(found)
        for start in range(0, len(ordered), size):
            chosen = tuple(ordered[start : start + size])
            made.parts.append(Part(root, start, start + len(chosen), chosen))
    for shard, count in shards.items():
        made.parts += _cut(shard, count, size)
    if not made.parts:
        raise SourceError(_nothing(words, made, failed))
    made.parts += [Part(word, 0, 1, error=sentence) for word, sentence in failed.items()]
    return made


def part_size(photos: int) -> int:
    """Photos of a part, so that few photos are still enough parts for many workers.

    Examples
    --------
    >>> part_size(60), part_size(6_400), part_size(1_000_000)
    (8, 100, 500)
    """
    return min(max(math.ceil(photos / MANY_PARTS), SMALLEST_PART), LARGEST_PART)


def _nothing(words: Sequence[str], made: Plan, failed: dict[str, str]) -> str:
    """Why there are no photos."""
    reasons = [places.UNREADABLE.format(*each) for each in made.unreachable.items()]
    sentences = [*failed.values(), *reasons] or [NO_PHOTOS.format(" or ".join(words))]
    if made.left_out:
        sentences.append(f"{tell(made.left_out).capitalize()}.")
    return " ".join(sentences)


def tell(left_out: Counter[str], most: int = 6) -> str:
    """The skipped files in words: "left out: 12 .txt, 3 hidden".

    Parameters
    ----------
    left_out
        As of `Plan`.
    most
        So many kinds are listed; the others are counted together.
    """
    kinds = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{count:,} {kind}" for kind, count in kinds[:most]]
    if rest := sum(count for _, count in kinds[most:]):
        named.append(f"{rest:,} others")
    return "left out: " + ", ".join(named)


def read(
    part: Part, column: str | None = None, left_out: Counter[str] | None = None
) -> Iterator[SourcePhoto]:
    """Read the photos of a part, in order.

    A damaged archive gives the photos before the damage, and then one error for the archive.

    Parameters
    ----------
    part
        Which.
    column
        Column of a Parquet file with the pictures; by default the first one that can have them.
    left_out
        Counts the skipped files of an archive, as in `Plan`.

    Raises
    ------
    UnreachableError
        If the source cannot be read now.
    """
    if part.error:
        return iter([SourcePhoto(None, error=part.error)])
    if part.names:
        return _read_folder(part)
    return _read_shard(part, column, Counter() if left_out is None else left_out)


def _count(shard: str, column: str | None, left_out: Counter[str]) -> int | None:
    """Number of a shard's photos; None if only reading it tells, or if it cannot be used.

    An unusable shard is one part, which gives an error when it is read.
    """
    kind = shard.lower()
    counted = Counter[str]()
    try:
        if kind.endswith(ZIPS):
            with places.open_file(shard) as file, archives.open_zip(file) as archive:
                count = len(archives.members(archive, counted))
        elif kind.endswith(PARQUETS):
            with places.open_file(shard) as file:
                table = pq.ParquetFile(file)
                _find_column(table.schema_arrow, column)
                count = table.metadata.num_rows
        elif kind.endswith(".tar") and places.is_here(shard):
            with places.open_file(shard) as file, archives.open_tar(file, "r:") as archive:
                count = sum(1 for _ in archives.entries(archive, counted))
        else:
            return None
    except UnreachableError:
        raise
    except Exception:  # decoders raise almost anything on a damaged file
        return None
    left_out += counted
    if not count:
        left_out[archives.EMPTY] += 1
    return count


def _cut(shard: str, count: int | None, size: int) -> list[Part]:
    if count is None:
        return [Part(shard, 0, None)]
    return [Part(shard, start, min(start + size, count)) for start in range(0, count, size)]


def _read_folder(part: Part) -> Iterator[SourcePhoto]:
    for name in part.names:
        try:
            with places.open_file(part.source, name) as file:
                found = SourcePhoto(name, file.read(images.MAX_BYTES + 1))
        except OSError:
            found = SourcePhoto(name, error=str(PhotoError("photo_unreadable")))
        yield found


def _read_shard(part: Part, column: str | None, left_out: Counter[str]) -> Iterator[SourcePhoto]:
    kind = part.source.lower()
    try:
        file = places.open_file(part.source)
    except OSError:
        yield SourcePhoto(None, error=str(PhotoError("photo_unreadable")))
        return
    with file:
        try:
            if kind.endswith(PARQUETS):
                yield from _read_parquet(file, part, column)
            elif kind.endswith(ZIPS):
                yield from _read_zip(file, part, left_out)
            else:
                yield from _read_tar(file, part, left_out)
        except UnreachableError:
            raise
        except ShardError as error:
            yield SourcePhoto(None, error=str(error))
        except Exception:  # decoders raise almost anything on a damaged file
            logger.debug("A shard cannot be read.", exc_info=True)
            yield SourcePhoto(None, error=DAMAGED)


def _read_zip(file: places.File, part: Part, left_out: Counter[str]) -> Iterator[SourcePhoto]:
    with archives.open_zip(file) as archive:
        for name, member in archives.members(archive, left_out)[part.start : part.stop]:
            try:
                with archive.open(member) as content:
                    found = SourcePhoto(name, content.read(images.MAX_BYTES + 1))
            except UnreachableError:
                raise
            except RuntimeError:  # raised for encryption; so is NotImplementedError
                found = SourcePhoto(name, error=PACKED)
            except Exception:  # as above
                found = SourcePhoto(name, error=str(PhotoError("photo_damaged")))
            yield found


def _read_tar(file: places.File, part: Part, left_out: Counter[str]) -> Iterator[SourcePhoto]:
    with archives.open_tar(file, "r:*") as archive:
        for index, member in enumerate(archives.entries(archive, left_out)):
            if part.stop is not None and index >= part.stop:
                break
            if index < part.start:
                continue
            if content := None if archives.is_link(member) else archive.extractfile(member):
                yield SourcePhoto(member.name, content.read(images.MAX_BYTES + 1))
            else:
                yield SourcePhoto(member.name, error=LINK.format(member.linkname))


def _read_parquet(file: places.File, part: Part, column: str | None) -> Iterator[SourcePhoto]:
    table = pq.ParquetFile(file)
    column = _find_column(table.schema_arrow, column)
    stop = table.metadata.num_rows if part.stop is None else part.stop
    row = 0
    for group in range(table.num_row_groups):
        following = row + table.metadata.row_group(group).num_rows
        if following > part.start and row < stop:
            for batch in table.iter_batches(ROWS_READ, row_groups=[group], columns=[column]):
                for path, content in _cells(batch.column(0)):
                    if part.start <= row < stop:
                        yield _cell(path, content, row)
                    row += 1
        row = following


def _find_column(schema: pa.Schema, wanted: str | None) -> str:
    """The given column, or the first with pictures: `struct<bytes, path>`, otherwise bytes."""
    if wanted is not None:
        if wanted in schema.names:
            return wanted
        raise ShardError(f"The Parquet file has no column {wanted!r}.")
    for each in schema:
        if pa.types.is_struct(each.type) and each.type.get_field_index("bytes") >= 0:
            return each.name
    for each in schema:
        if pa.types.is_binary(each.type) or pa.types.is_large_binary(each.type):
            return each.name
    raise ShardError("The Parquet file has no column with pictures.")


def _cells(column: pa.Array) -> Iterator[tuple[object, object]]:
    """The path and the bytes of each picture of a Parquet column."""
    if not pa.types.is_struct(column.type):
        return ((None, value.as_py()) for value in column)
    contents, paths = (
        pc.struct_field(column, name)
        if column.type.get_field_index(name) >= 0
        else pa.nulls(len(column))
        for name in ("bytes", "path")
    )
    if pa.types.is_string(paths.type) or pa.types.is_large_string(paths.type):
        paths = paths.cast(pa.large_binary())  # it may not be UTF-8, whatever its type says
    return ((path.as_py(), value.as_py()) for path, value in zip(paths, contents, strict=True))


def _cell(path: object, content: object, row: int) -> SourcePhoto:
    """A picture in a Parquet column; without a path, its name is the number of its row."""
    if isinstance(path, bytes):
        path = path.decode("utf-8", "surrogateescape")
    name = str(path or row)
    if not isinstance(content, bytes):
        return SourcePhoto(name, error=NO_BYTES)
    return SourcePhoto(name, content[: images.MAX_BYTES + 1])
