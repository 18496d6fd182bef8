"""What an argument names, which files are skipped, and which are unavailable now or for good."""

import os
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest
from huggingface_hub import HfFileSystem, close_session, constants
from PIL import Image

from batch import places, runner, sources
from batch.places import SourceError, UnreachableError
from batch.rounds import Settings
from batch.runner import RunError
from batch.sources import SourcePhoto
from models import images
from tests.hub import FakeHub, Fault


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def found(*words: str | Path) -> tuple[list[str], Counter[str]]:
    """Everything that the arguments name, and what is skipped."""
    left_out, names = Counter[str](), list[str]()
    for word in words:
        root, inner = places.find(str(word), left_out)
        names += [os.path.relpath(os.path.join(root, name), Path(word).parent) for name in inner]  # noqa: PTH118
    return sorted(names), left_out


def test_links_are_followed_but_each_folder_is_read_once(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/real.png", "elsewhere/more/far.png", "photos/plain.png")
    photos = tmp_path / "photos"
    (photos / "link.png").symlink_to("../elsewhere/real.png")
    (photos / "a_folder").symlink_to("../elsewhere")
    (photos / "b_folder").symlink_to("../elsewhere")
    (photos / "gone.png").symlink_to("../nothing")
    (tmp_path / "elsewhere" / "back").symlink_to(photos)
    (photos / "self.png").symlink_to("self.png")

    names, left_out = found(photos)

    assert names == [
        *("photos/a_folder/more/far.png", "photos/a_folder/real.png", "photos/gone.png"),
        *("photos/link.png", "photos/plain.png", "photos/self.png"),
    ]
    assert left_out == {places.AGAIN: 2}
    parts = sources.plan([str(photos)], 10).parts
    rows = {row.name: row for part in parts for row in sources.read(part)}
    assert rows["a_folder/real.png"] == SourcePhoto("a_folder/real.png", b"elsewhere/real.png")
    for name in ("gone.png", "self.png"):
        assert rows[name].error == "The file cannot be read: please choose it again."


def test_skipped_files_are_counted_by_extension(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "a/2.JPG", "notes.txt", "a/more.TXT", "a/raw.CR2", "README", ".x.jpg")
    touch(tmp_path, ".git/3.jpg", "__MACOSX/4.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")

    names, left_out = found(tmp_path)

    assert names == [f"{tmp_path.name}/1.jpg", f"{tmp_path.name}/a/2.JPG"]
    assert left_out == {
        ".txt": 2,
        ".cr2": 1,
        places.NO_ENDING: 1,
        places.HIDDEN: 3,
        places.NO_FILE: 1,
    }
    assert sources.tell(left_out, most=2) == "left out: 3 hidden, 2 .txt, 3 others"


def test_results_inside_a_source_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "out/_plan.parquet", "out/part-000000.parquet", "out/_log.txt")
    touch(tmp_path, "out/2.jpg", "data.parquet")

    names, left_out = found(tmp_path)

    assert [Path(name).name for name in names] == ["1.jpg", "data.parquet", "2.jpg"]
    assert left_out == {places.RESULTS: 3}
    for word in ("out/part-000000.parquet", "out/*.parquet", "**/part*.parquet"):
        assert found(tmp_path / word)[0] == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["1.jpg", "[x].jpg"]),
        ("?.jpg", ["1.jpg"]),
        ("**/*.jpg", ["1.jpg", "[x].jpg", "a/2.jpg", "a/b/3.jpg"]),
        ("a*", ["a/2.jpg", "a/b/3.jpg"]),
        ("[x].jpg", ["[x].jpg"]),
        ("a::b", ["a::b/4.jpg"]),
        ("notes", ["notes"]),
    ],
)
def test_an_argument_is_a_path_before_it_is_a_glob_or_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, expected: list[str]
) -> None:
    touch(tmp_path, "1.jpg", "a/2.jpg", "a/b/3.jpg", "[x].jpg", "a::b/4.jpg", "notes")
    monkeypatch.chdir(tmp_path)

    root, names = places.find(pattern, Counter())

    paths = [(Path(root) / name).relative_to(tmp_path).as_posix() for name in names]
    assert [path for path in sorted(paths) if not path.startswith("a::") or "::" in pattern] == (
        expected
    )


def test_an_unreadable_folder_gets_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "closed/1.jpg", "2.jpg")
    scan = os.scandir

    def closed(path: str) -> object:  # root may read everything
        if path.rstrip("/").endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)

    (part,) = sources.plan([str(tmp_path)], 10).parts

    assert [row.name for row in sources.read(part)] == ["2.jpg", "closed"]
    with pytest.raises(SourceError, match=r"closed' cannot be read: .*Permission denied"):
        places.find(str(tmp_path / "closed"), Counter())


def test_an_unreadable_source_gets_a_row_and_does_not_stop_the_others(tmp_path: Path) -> None:
    touch(tmp_path, "photos/1.jpg", "empty/notes.txt")

    plan = sources.plan([str(tmp_path / each) for each in ("none", "photos", "empty")], 10)

    good, none, empty = plan.parts
    assert good.names == ("1.jpg",)
    for part, name in ((none, "none"), (empty, "empty")):
        ((unnamed, content, error),) = sources.read(part)
        assert (unnamed, content) == (None, b"")
        assert error == f"There are no photos in '{tmp_path / name}', or it does not exist."
        assert part.photos == 1
    with pytest.raises(SourceError, match=r"no photos in .*empty', .* Left out: 1 \.txt\."):
        sources.plan([str(tmp_path / "empty")], 10)


WORD = "hf://datasets/owner/photos"
NONE = "the Hub has no such repository or revision, or it is private"
CUT = "the Hub cannot be reached, or the connection was cut"


@pytest.fixture
def remote(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """A data set on the Hub, and a client that retries without waiting."""
    HfFileSystem.clear_instance_cache()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr(places, "WAIT", 0.2)
    hub.add("datasets/owner/photos", {"1.jpg": b"one", "2.jpg": b"two"})
    return hub


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (401, NONE),
        (404, NONE),
        (403, "the Hub refuses access to it"),
        (429, "the Hub has too many requests at the moment"),
        (503, "the Hub answers with error 503"),
        ("cut", CUT),
        ("silent", CUT),
        ("refused", CUT),
    ],
)
@pytest.mark.parametrize("call", ["GET /api/datasets/owner/photos(/revision/main)?$", "tree"])
def test_a_failing_hub_is_reported_and_the_rest_is_planned(
    remote: FakeHub, tmp_path: Path, call: str, fault: Fault | Literal["refused"], reason: str
) -> None:
    if fault == "refused":
        remote.stop()
        close_session()
    else:
        remote.faults[call] = fault
    touch(tmp_path, "1.jpg")

    plan = sources.plan([WORD, str(tmp_path)], 10)

    told = [part.error for part in plan.parts if part.error]
    told += [places.UNREADABLE.format(*each) for each in plan.unreachable.items()]
    assert told == [f"'{WORD}' cannot be read: {reason}."]
    assert plan.parts[0].names == ("1.jpg",)
    with pytest.raises(SourceError, match=reason):
        sources.plan([WORD], 10)


@pytest.mark.parametrize("fault", [429, 503, "cut", "silent", "refused"])
@pytest.mark.parametrize("name", ["1.jpg", "a.tar.gz", "a.parquet", "a.zip"])
def test_a_connection_that_fails_during_reading_is_not_taken_for_a_damaged_file(
    remote: FakeHub, fault: Fault | Literal["refused"], name: str
) -> None:
    remote.add("datasets/owner/photos", {name: bytes(1000)})
    shard = f"{WORD}/{name}"
    part = sources.Part(shard, 0, None)
    if name == "1.jpg":
        (part,) = sources.plan([WORD], 10).parts
    places.find(shard, Counter())  # so that it is known
    if fault == "refused":
        remote.stop()
        close_session()
    else:
        remote.faults["resolve"] = fault

    with pytest.raises(UnreachableError, match="the Hub"):
        list(sources.read(part))


def test_offline_mode_is_not_reported_as_missing_photos(
    remote: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(SourceError, match=r"it is not in the cache, and offline mode is set\.$"):
        sources.plan([WORD], 10)


def test_a_source_that_comes_back_is_added_to_the_plan(
    remote: FakeHub, tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETSCOPE_MODELS", str(tiny_models))
    touch(tmp_path, "photos/1.jpg", "photos/notes.txt")
    settings = Settings(results=tmp_path / "results")
    words = [WORD, str(tmp_path / "photos")]
    remote.faults[""] = 503

    first = runner._plan(words, settings, 10)
    again = runner._plan(words, settings, 10)
    remote.faults.clear()
    complete = runner._plan(words, settings, 10)

    assert len(first.parts) == len(again.parts) == 1
    assert list(first.unreachable) == list(again.unreachable) == [WORD]
    assert complete.parts == [*first.parts, sources.Part(WORD, 0, 2, ("1.jpg", "2.jpg"))]
    assert complete.unreachable == {}
    assert complete.left_out == {".txt": 1}
    assert runner._plan(words, settings, 10) == complete
    with pytest.raises(RunError, match="other sources"):
        runner._plan(words[1:], settings, 10)


def test_every_kind_of_picture_that_can_be_read_is_found() -> None:
    Image.init()
    endings = {ending for ending, kind in Image.EXTENSION.items() if kind in images.FORMATS}

    assert endings <= set(places.PICTURES)
