"""The photos without a pet, from a hand-made package."""

import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from training import others
from training.archives import DataError


def resource_file(files: Mapping[str, bytes]) -> bytes:
    """A Qt resource file of one folder: header, tree, data, names."""
    names, data = b"", b""

    def add_name(text: str) -> int:
        nonlocal names
        place = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return place

    nodes = [struct.pack(">IHIIQ", 0, 2, 1, 1, 0)]
    nodes.append(struct.pack(">IHIIQ", add_name("photos"), 2, len(files), 2, 0))
    for name, content in files.items():
        nodes.append(struct.pack(">IHIIQ", add_name(name), 0, 0, len(data), 0))
        data += struct.pack(">I", len(content)) + content
    nodes.append(struct.pack(">IHIIQ", 0, 1, 0, 0, 0))  # a compressed one, which no folder names
    tree = b"".join(nodes)
    start = struct.calcsize(">4s4I")
    header = struct.pack(
        ">4s4I", b"qres", 2, start, start + len(tree), start + len(tree) + len(data)
    )
    return header + tree + data + names


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package like Debian's."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as archive:
        for resource in (*others.RESOURCES, "sudoku"):
            pictures = {f"{resource}-{i}.webp": f"{resource} {i}".encode() for i in range(6)}
            file = resource_file({**pictures, "kitten.webp": b"a cat", "notes.txt": b"no photo"})
            member = tarfile.TarInfo(f"./usr/share/{resource}.rcc")
            member.size = len(file)
            archive.addfile(member, io.BytesIO(file))
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": b"odd",
        "data.tar.xz": content.getvalue(),
    }
    package = b"!<arch>\n" + b"".join(
        f"{name:16}{0:<12}{0:<6}{0:<6}{0:<8}{len(file):<10}`\n".encode()
        + file
        + b"\n" * (len(file) % 2)
        for name, file in members.items()
    )
    (tmp_path / others.PACKAGE).write_bytes(package)
    monkeypatch.setattr(others, "PACKAGE_MD5", hashlib.md5(package).hexdigest())  # noqa: S324
    return tmp_path


def test_all_photos_but_those_of_pets_are_extracted(source: Path, tmp_path: Path) -> None:
    root = others.prepare(tmp_path / "others", source)

    files = sorted(root.glob("*/*"))
    assert len(files) == 6 * len(others.RESOURCES)
    assert (root / "erase" / "erase-3.webp").read_bytes() == b"erase 3"
    assert not list(root.rglob("kitten*")) + list(root.rglob("sudoku*")) + list(root.rglob("*.txt"))


def test_each_half_has_half_of_each_kind(source: Path, tmp_path: Path) -> None:
    root = others.prepare(tmp_path / "others", source)
    train, test = (others.split(root, name) for name in others.SPLITS)

    assert len(train) == len(test) == 3 * len(others.RESOURCES)
    assert not {example.name for example in train} & {example.name for example in test}
    assert sum(example.kind == "animals" for example in test) == 9
    assert others.split(root, "test") == test
    with pytest.raises(ValueError, match="train, test"):
        others.split(root, "validation")


def test_a_damaged_package_is_refused(source: Path, tmp_path: Path) -> None:
    (source / others.PACKAGE).write_bytes(b"!<arch>\n")

    with pytest.raises(DataError, match="undamaged"):
        others.prepare(tmp_path / "others", source)
    with pytest.raises(DataError, match="--source must contain"):
        others.prepare(tmp_path / "others", tmp_path / "nowhere")


def test_a_labelled_folder_is_divided_in_each_kind(tmp_path: Path) -> None:
    rows = ["file,kind,imagenet_class"]
    for number, kind in enumerate(["dog", "dog", "thing", "dog", "thing", "cat"]):
        (tmp_path / f"{number}.jpg").touch()
        rows.append(f"{number}.jpg,{kind},{number if kind == 'dog' else ''}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))

    train, test = (others.labelled(tmp_path, name) for name in others.SPLITS)

    assert [each.name for each in train] == ["0.jpg", "2.jpg", "3.jpg", "5.jpg"]
    assert [each.name for each in test] == ["1.jpg", "4.jpg"]
    assert [each.number for each in (*train, *test)] == [0, None, 3, None, 1, None]
    assert [each.kind for each in test] == ["dog", "thing"]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (None, "cannot be read as a table"),
        ("name\nx", "with the columns file and kind"),
        ("file,kind\nx.jpg,dog", "names x.jpg, which is not there"),
        ("file,kind,imagenet_class\nlabels.csv,dog,poodle", "cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_in_a_sentence(
    table: str | None, sentence: str, tmp_path: Path
) -> None:
    if table is not None:
        (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=sentence):
        others.labelled(tmp_path, "train")
