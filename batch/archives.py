"""ZIP and TAR archives with file names in any encoding."""

import io
import struct
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import IO, Literal, cast

from batch.places import HIDDEN, PICTURES, ending, hidden

EMPTY = "without photos"

# The headers in a ZIP archive's directory and before each file, and the offsets in them. Source:
# PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.4.4.
_LISTED, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_LISTED_SIZE, _LOCAL_SIZE = 46, 30
_LISTED_FLAGS, _LOCAL_FLAGS, _LISTED_LENGTHS = 8, 6, 28
_UTF_8, _UNUSED = 1 << 11, 1 << 15


class _AnyNames(io.BufferedIOBase):
    """A ZIP archive whose names `zipfile` takes as Latin-1, and so as plain bytes.

    `zipfile` gives up on an archive in which a name is not the UTF-8 that its flag promises, and
    cannot read a file whose two headers differ in that flag. So the flag is moved to an unused bit.
    """

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        content = self._file.read(size)
        if content.startswith(_LISTED):
            changed = bytearray(content)
            place = 0
            while changed[place : place + 4] == _LISTED and place + _LISTED_SIZE <= len(changed):
                _move_flag(changed, place + _LISTED_FLAGS)
                lengths = struct.unpack_from("<3H", changed, place + _LISTED_LENGTHS)
                place += _LISTED_SIZE + sum(lengths)
            return bytes(changed)
        if len(content) == _LOCAL_SIZE and content.startswith(_LOCAL):
            changed = bytearray(content)
            _move_flag(changed, _LOCAL_FLAGS)
            return bytes(changed)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _move_flag(entry: bytearray, place: int) -> None:
    (flags,) = struct.unpack_from("<H", entry, place)
    if flags & _UTF_8:
        struct.pack_into("<H", entry, place, flags & ~_UTF_8 | _UNUSED)


def open_zip(file: io.BufferedIOBase) -> zipfile.ZipFile:
    """Open a ZIP archive for `members`."""
    return zipfile.ZipFile(cast(IO[bytes], _AnyNames(file)), metadata_encoding="latin-1")


def members(archive: zipfile.ZipFile, left_out: Counter[str]) -> list[tuple[str, zipfile.ZipInfo]]:
    """The pictures in a ZIP archive with their names; other files are counted.

    Names are UTF-8, or in code page 437 as the format requires; names wrongly flagged as UTF-8 keep
    their bytes as lone surrogates.
    """
    found = []
    for member in archive.infolist():
        content = member.orig_filename.encode("latin-1")
        name = content.decode("utf-8", "surrogateescape")
        if not member.flag_bits & _UNUSED and not _is_text(name):
            name = content.decode("cp437")
        if not member.is_dir() and _keep(name, left_out):
            found.append((name, member))
    return found


def open_tar(file: io.BufferedIOBase, mode: Literal["r:", "r:*"]) -> tarfile.TarFile:
    """Open a TAR archive for `entries`."""
    return tarfile.open(
        fileobj=cast(IO[bytes], file), mode=mode, encoding="utf-8", errors="surrogateescape"
    )


def entries(archive: tarfile.TarFile, left_out: Counter[str]) -> Iterator[tarfile.TarInfo]:
    """The pictures in a TAR archive, and links named like pictures; other files are counted."""
    for member in archive:
        if (member.isfile() or is_link(member)) and _keep(member.name, left_out):
            yield member
        archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all


def is_link(member: tarfile.TarInfo) -> bool:
    """Whether an entry is a link to another file in the archive."""
    return member.issym() or member.islnk()


def _keep(name: str, left_out: Counter[str]) -> bool:
    if hidden(name):
        left_out[HIDDEN] += 1
    elif name.lower().endswith(PICTURES):
        return True
    else:
        left_out[ending(name)] += 1
    return False


def _is_text(name: str) -> bool:
    """Whether a name has no lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)
