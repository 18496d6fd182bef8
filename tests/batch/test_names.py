"""A photo's name may be any bytes: it gets one row, and its name can be restored."""

import io
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch import names, rows, sources

# Bytes of any kind, and some that look like escapes.
PIECES = st.sampled_from(
    [b"\\", b"x", b"\\x41", b"\\x5c", b"e4", b"\xe4", "ä😀".encode(), b"%", b" "]
)
NAMES = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=15).map(b"".join))
FILE_NAMES = NAMES.map(lambda name: re.sub(rb"[/\0]|^\.|^$", b"-", name) + b".jpg")


def row_names(source: Path, folder: Path) -> list[bytes]:
    """The names in a source's rows, written to a file and read again."""
    paths = []
    for number, part in enumerate(sources.plan([os.fspath(source)], 7).parts):
        again = sources.Part.from_json(part.to_json())
        with rows.PartFile(rows.part_file(folder, number), {}) as file:
            for found in sources.read(again):
                assert found.error is None
                file.add(rows.place(again.source, again.start + file.count, found.name))
        paths.append(rows.part_file(folder, number))
    column = [name for path in paths for name in pq.read_table(path)["name"].to_pylist()]
    return sorted(map(names.restore, column))


def write_folder(path: Path, files: Iterable[bytes]) -> None:
    path.mkdir()
    for name in files:
        Path(os.fsdecode(os.fsencode(path) + b"/" + name)).write_bytes(b"photo")


def write_tar(path: Path, files: Iterable[bytes], form: int = tarfile.GNU_FORMAT) -> None:
    with tarfile.open(path, "w", format=form, encoding="utf-8") as archive:
        for name in files:
            entry = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b"photo"))


def write_zip(path: Path, files: Iterable[bytes], flag: int = 1 << 11) -> None:
    """An archive that flags all names as UTF-8, in its directory and before each file."""
    stand_ins = {
        name: (b"%03d" % number).ljust(len(name), b"_") for number, name in enumerate(files)
    }
    with zipfile.ZipFile(path, "w") as archive:
        for stand_in in stand_ins.values():
            archive.writestr(stand_in.decode(), b"photo")
    content = path.read_bytes()
    for name, stand_in in stand_ins.items():
        content = content.replace(stand_in, name)
    for start, place in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        found = [match.start() + place for match in re.finditer(re.escape(start), content)]
        for each in found:
            content = content[:each] + flag.to_bytes(2, "little") + content[each + 2 :]
    path.write_bytes(content)


@given(name=NAMES)
@settings(max_examples=500, deadline=None)
def test_every_escaped_name_can_be_restored(name: bytes) -> None:
    text = names.escape(name.decode("utf-8", "surrogateescape"))

    text.encode()  # Arrow accepts no other text
    assert names.restore(text) == name
    if not re.search(rb"\\x[0-9a-f]{2}", name):
        assert text == name.decode("utf-8", "backslashreplace")


@given(files=st.lists(FILE_NAMES, min_size=1, max_size=20, unique=True))
@settings(max_examples=40, deadline=None)
def test_every_file_in_folders_and_archives_has_one_row(files: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photos, archive = Path(folder, "photos"), Path(folder, "photos.tar")
        write_folder(photos, files)
        write_tar(archive, files)

        assert row_names(photos, Path(folder)) == sorted(files)
        assert row_names(archive, Path(folder)) == sorted(files)


def test_a_thousand_odd_names_are_kept(tmp_path: Path) -> None:
    letters = [bytes([one, other]) for one in range(1, 256) for other in (0x20, 0x80, 0xC3, 0xFF)]
    files = [b"K%sx.jpg" % each for each in letters if b"/" not in each][:1000]
    write_folder(tmp_path / "photos", files)
    write_zip(tmp_path / "photos.zip", files)

    assert row_names(tmp_path / "photos", tmp_path) == sorted(files)
    assert row_names(tmp_path / "photos.zip", tmp_path) == sorted(files)


@pytest.mark.parametrize(
    ("flag", "name", "expected"),
    [
        (1 << 11, "Kätzchen.png".encode(), "Kätzchen.png"),
        (1 << 11, b"K\xe4tzchen.png", "K\\xe4tzchen.png"),
        (0, "Kätzchen.png".encode(), "Kätzchen.png"),  # as macOS writes it
        (0, "Kätzchen.png".encode("cp437"), "Kätzchen.png"),  # as Windows used to
    ],
)
def test_names_in_a_zip_archive_are_utf_8_or_code_page_437(
    tmp_path: Path, flag: int, name: bytes, expected: str
) -> None:
    write_zip(tmp_path / "a.zip", [name], flag)

    (part,) = sources.plan([str(tmp_path / "a.zip")], 10).parts
    (found,) = sources.read(part)

    assert found.error is None
    assert names.escape(found.name or "") == expected


def test_a_zip_archive_may_flag_a_name_only_in_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_zip(path, ["Kätzchen.png".encode()])
    content = path.read_bytes()
    path.write_bytes(content[:6] + bytes(2) + content[8:])

    (found,) = sources.read(sources.Part(str(path), 0, None))

    assert found == sources.SourcePhoto("Kätzchen.png", b"photo")


def test_a_tar_archive_of_the_current_folder_is_read(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [b"./1.jpg", b"./a/2.jpg", b"./.hidden/3.jpg"])

    assert row_names(tmp_path / "a.tar", tmp_path) == [b"./1.jpg", b"./a/2.jpg"]


def test_a_link_in_a_tar_archive_gets_an_error_that_names_its_target(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        photo = tarfile.TarInfo("1.jpg")
        photo.size = 5
        archive.addfile(photo, io.BytesIO(b"photo"))
        for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE):
            link = tarfile.TarInfo("2.jpg")
            link.type, link.linkname = kind, "1.jpg"
            archive.addfile(link)

    (part,) = sources.plan([str(tmp_path / "a.tar")], 10).parts
    _, *links = sources.read(part)

    assert [link.error for link in links] == [
        "It is a link in the archive, to '1.jpg', and is not followed."
    ] * 2
