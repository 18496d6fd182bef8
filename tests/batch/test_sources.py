"""Every photo of a source is found, and read in exactly one part."""

import io
import os
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfFileSystem

from batch import sources
from batch.places import SourceError
from batch.sources import SourcePhoto
from models import images
from tests.hub import FakeHub

# The files are only read here, not decoded.
PHOTOS = {f"{index:02}.jpg": b"photo %d" % index for index in range(10)}


def read_all(*words: str | Path, size: int = 4, column: str | None = None) -> list[SourcePhoto]:
    plan = sources.plan([str(word) for word in words], size, column)
    found = []
    for part in plan.parts:
        again = sources.Part.from_json(part.to_json())
        assert again == part
        content = list(sources.read(again, column))
        assert part.photos in (None, len(content))
        assert part.photos is None or part.photos <= size
        found += content
    return found


@pytest.mark.parametrize(("photos", "parts"), [(10, [8, 2]), (640, [20] * 32)])
def test_few_photos_are_still_parts_for_many_workers(
    tmp_path: Path, photos: int, parts: list[int]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    names = [f"{number}.jpg" for number in range(photos)]
    for name in names:
        (folder / name).touch()
    shard = write_zip(tmp_path / "more.zip", dict.fromkeys(names, b""))

    plan = sources.plan([str(folder), str(shard)])

    assert [part.photos for part in plan.parts] == parts * 2


def contents(found: list[SourcePhoto]) -> dict[str | None, bytes]:
    assert all(photo.error is None for photo in found)
    assert len({photo.name for photo in found}) == len(found)
    return {photo.name: photo.content for photo in found}


def write_zip(path: Path, files: dict[str, bytes] = PHOTOS) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(
    path: Path, mode: Literal["w", "w:gz"] = "w", files: dict[str, bytes] = PHOTOS
) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            facts = tarfile.TarInfo(name)
            facts.size = len(content)
            archive.addfile(facts, io.BytesIO(content))
    return path


def write_parquet(path: Path, group: int = 3) -> Path:
    cells = [{"bytes": content, "path": name} for name, content in PHOTOS.items()]
    table = pa.table({"label": list(range(10)), "image": cells})
    pq.write_table(table, path, row_group_size=group)
    return path


def test_a_folder_is_searched_recursively(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/deep/3.webp", "1.png", "notes.txt", ".hidden/4.jpg", "b/._2.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)

    found = contents(read_all(tmp_path))

    assert found == {name: name.encode() for name in ("1.png", "b/2.JPG", "b/deep/3.webp")}


def test_a_photo_that_disappears_gets_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"one")
    (tmp_path / "2.jpg").write_bytes(b"two")
    (part,) = sources.plan([str(tmp_path)], 10).parts
    (tmp_path / "1.jpg").unlink()

    gone, there = sources.read(part)

    assert (gone.name, gone.error) == ("1.jpg", "The file cannot be read: please choose it again.")
    assert there == SourcePhoto("2.jpg", b"two")


def test_all_photos_of_archives_and_tables_are_read(tmp_path: Path) -> None:
    shards = [
        write_zip(tmp_path / "a.zip"),
        write_tar(tmp_path / "b.tar"),
        write_tar(tmp_path / "c.tar.gz", "w:gz"),
        write_parquet(tmp_path / "d.parquet"),
        write_parquet(tmp_path / "e.parquet", group=100),
    ]
    for shard in shards:
        assert contents(read_all(shard)) == PHOTOS, shard.name


def test_a_glob_reads_all_matching_shards(tmp_path: Path) -> None:
    for index in range(3):
        write_tar(tmp_path / f"shard-{index}.tar")

    found = read_all(tmp_path / "shard-*.tar", size=100)

    assert Counter(photo.name for photo in found) == dict.fromkeys(PHOTOS, 3)


def test_other_files_in_an_archive_are_skipped(tmp_path: Path) -> None:
    files = {
        "1.jpg": b"one",
        "1.json": b"{}",
        "1.cls": b"7",
        "__MACOSX/._1.jpg": b"",
        "2.png": b"2",
    }
    expected = {"1.jpg": b"one", "2.png": b"2"}

    assert contents(read_all(write_tar(tmp_path / "a.tar", files=files))) == expected
    assert contents(read_all(write_zip(tmp_path / "a.zip", files=files))) == expected


def test_pictures_in_a_column_of_bytes_are_named_by_row(tmp_path: Path) -> None:
    table = pa.table({"label": ["a", "b", "c"], "jpg": [b"one", None, b"three"]})
    pq.write_table(table, tmp_path / "a.parquet")

    one, none, three = read_all(tmp_path / "a.parquet", size=2)

    assert (one, three) == (SourcePhoto("0", b"one"), SourcePhoto("2", b"three"))
    assert none.name == "1"
    assert none.error == "The row holds no bytes of a picture."
    (wrong,) = read_all(tmp_path / "a.parquet", column="photo")
    assert wrong == SourcePhoto(None, error="The Parquet file has no column 'photo'.")


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.gz", "a.parquet"])
def test_a_damaged_shard_gets_an_error_and_loses_nothing_before_the_damage(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / kind
    if kind == "a.zip":
        write_zip(path)
    elif kind == "a.parquet":
        write_parquet(path)
    else:
        write_tar(path, "w:gz" if kind.endswith("gz") else "w")
    # An uncompressed archive ends in a long padding.
    path.write_bytes(path.read_bytes()[: path.stat().st_size // (3 if kind == "a.tar" else 2)])

    *before, last = read_all(path)

    assert last.name is None
    assert "damaged or cut off" in (last.error or "")
    assert contents(before).items() <= PHOTOS.items()
    if kind == "a.tar":
        assert before


def test_a_damaged_entry_affects_no_other(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"1.jpg": b"one" * 99, "2.jpg": b"two" * 99})
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("1.jpg").header_offset + 30 + len("1.jpg")
    content = bytearray(path.read_bytes())
    content[offset : offset + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)

    damaged, sound = read_all(path)

    assert damaged.error == "The picture is damaged or cut off: please save or send it again."
    assert sound == SourcePhoto("2.jpg", b"two" * 99)


def test_a_file_above_the_limit_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    write_zip(tmp_path / "a.zip", {"1.jpg": bytes(1_000_000)})
    (tmp_path / "1.jpg").write_bytes(bytes(1_000_000))

    for source in ("a.zip", "1.jpg"):
        (found,) = read_all(tmp_path / source)
        assert len(found.content) == 101


@pytest.mark.parametrize("word", ["nothing", "no*thing.tar", "nosuch://place"])
def test_a_source_without_photos_is_reported_in_one_sentence(tmp_path: Path, word: str) -> None:
    with pytest.raises(SourceError) as said:
        sources.plan([word if "://" in word else str(tmp_path / word)], 10)

    assert word in str(said.value)
    assert str(said.value).endswith(".")


def test_a_data_set_of_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    HfFileSystem.clear_instance_cache()
    shard = write_parquet(tmp_path / "data.parquet").read_bytes()
    archive = write_zip(tmp_path / "more.zip", {"a.jpg": b"a"}).read_bytes()
    files = {"data/train.parquet": shard, "more.zip": archive, "README.md": b"", "b.jpg": b"b"}
    hub.add("datasets/owner/pets", files)

    found = contents(read_all("hf://datasets/owner/pets"))

    assert found == {**PHOTOS, "a.jpg": b"a", "b.jpg": b"b"}
    assert contents(read_all("hf://datasets/owner/pets/data/*.parquet")) == PHOTOS
    with pytest.raises(SourceError, match="owner/none"):
        sources.plan(["hf://datasets/owner/none"], 10)
