"""The data set module, on a tiny data set in the official layout and a server on this machine."""

import hashlib
import io
import re
import shutil
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import training.archives
from training import pets
from training.archives import DataError

# name, class id, species, pictures in trainval, pictures in test; two Egyptian Maus are faulty
BREEDS = [
    ("Abyssinian", 1, 1, 20, 5),
    ("american_bulldog", 2, 2, 40, 4),
    ("Egyptian_Mau", 3, 1, 30, 6),
]
TRIMAP = np.array([[1, 1, 3, 2], [1, 3, 2, 2], [3, 2, 2, 2]], np.uint8)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def tar_gz(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """An archive of files with this content, and of further TarInfo entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, member in members.items():
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(member)
                tar.addfile(info, io.BytesIO(member))
    return buffer.getvalue()


def encoded(values: np.ndarray, file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, file_format)
    return buffer.getvalue()


def tiny_archives() -> dict[str, bytes]:
    photo = encoded(np.full((3, 4, 3), 90, np.uint8), "JPEG")
    trimap = encoded(TRIMAP, "PNG")
    images: dict[str, bytes | tarfile.TarInfo] = {}
    annotations: dict[str, bytes | tarfile.TarInfo] = {}
    lines: dict[str, list[str]] = {"list": ["#Image CLASS-ID SPECIES BREED ID"]}
    lines |= {"trainval": [], "test": []}
    for breed, class_id, species, in_trainval, in_test in BREEDS:
        for number in range(1, in_trainval + in_test + 1):
            name = f"{breed}_{number}"
            line = f"{name} {class_id} {species} 1"
            lines["list"].append(line)
            lines["trainval" if number <= in_trainval else "test"].append(line)
            images[f"images/{name}.jpg"] = photo
            annotations[f"annotations/trimaps/{name}.png"] = trimap
    for name, content in lines.items():
        annotations[f"annotations/{name}.txt"] = ("\n".join(content) + "\n").encode()
    return {"images.tar.gz": tar_gz(images), "annotations.tar.gz": tar_gz(annotations)}


@pytest.fixture(scope="module")
def archives() -> dict[str, bytes]:
    return tiny_archives()


@pytest.fixture
def official(archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The tiny archives, which the module takes as the official ones."""
    checksums = {name: md5(content) for name, content in archives.items()}
    monkeypatch.setattr(pets, "ARCHIVES", checksums)
    return archives


@pytest.fixture
def folder(official: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder that holds the archives."""
    folder = tmp_path / "archives here"
    folder.mkdir()
    for name, content in official.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def root(archives: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set, extracted; tests only read it."""
    folder = tmp_path_factory.mktemp("data")
    for name, content in archives.items():
        (folder / name).write_bytes(content)
        training.archives.extract(folder / name, folder / "pets")
    return folder / "pets"


class Server(ThreadingHTTPServer):
    """Serves `files`; the first requests fail in the ways that `troubles` lists."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.knows_ranges = True
        self.troubles: list[Callable[[Handler, bytes], None]] = []
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        self.close_connection = True
        content = self.server.files.get(self.path.removeprefix("/"))
        if content is None:
            self.send_error(404)
        elif self.server.troubles:
            self.server.troubles.pop(0)(self, content)
        else:
            self.send(content)

    def send(self, content: bytes, cut: int | None = None) -> None:
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if wanted and self.server.knows_ranges:
            start = int(wanted[1])
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        rest = content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[:cut])

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def cut_after(sent: int) -> Callable[[Handler, bytes], None]:
    return lambda handler, content: handler.send(content, cut=sent)


def cut_in_a_chunk(handler: Handler, content: bytes) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n" % len(content) + content[:100])


def answer_nonsense(handler: Handler, _: bytes) -> None:
    handler.wfile.write(b"this is not HTTP\r\n\r\n")


def hang_up(handler: Handler, _: bytes) -> None:
    """Close without an answer."""


def be_busy(handler: Handler, _: bytes) -> None:
    handler.send_error(503)


@pytest.fixture
def server(official: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("training.archives.time.sleep", lambda _: None)
    with Server(dict(official)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


NAME = "images.tar.gz"


def download(server: Server, target: Path, name: str = NAME) -> bytes:
    training.archives.download(f"{server.url}/{name}", target, pets.ARCHIVES[name])
    return target.read_bytes()


def test_an_archive_is_downloaded_whole(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / NAME

    assert download(server, target) == server.files[NAME]
    assert server.requests == [(f"/{NAME}", None)]
    assert [path.name for path in target.parent.iterdir()] == [NAME]


def test_an_interrupted_download_is_resumed(server: Server, tmp_path: Path) -> None:
    server.troubles = [cut_after(1000)]

    assert md5(download(server, tmp_path / NAME)) == pets.ARCHIVES[NAME]
    assert server.requests == [(f"/{NAME}", None), (f"/{NAME}", "bytes=1000-")]


def test_a_download_interrupted_twice_is_resumed_twice(server: Server, tmp_path: Path) -> None:
    server.troubles = [cut_after(700), cut_after(300)]

    assert download(server, tmp_path / NAME) == server.files[NAME]
    assert [wanted for _, wanted in server.requests] == [None, "bytes=700-", "bytes=1000-"]


def test_a_partial_download_of_an_earlier_run_is_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(server.files[NAME][:123])

    assert download(server, tmp_path / NAME) == server.files[NAME]
    assert server.requests == [(f"/{NAME}", "bytes=123-")]


def test_a_complete_part_of_an_earlier_run_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(server.files[NAME])

    assert download(server, tmp_path / NAME) == server.files[NAME]


def test_a_server_without_ranges_sends_it_anew(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    server.troubles = [cut_after(1000)]

    assert download(server, tmp_path / NAME) == server.files[NAME]
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000-"]


@pytest.mark.parametrize("trouble", [cut_in_a_chunk, answer_nonsense, hang_up, be_busy])
def test_a_temporary_failure_is_retried(
    trouble: Callable[[Handler, bytes], None], server: Server, tmp_path: Path
) -> None:
    server.troubles = [trouble]

    assert download(server, tmp_path / NAME) == server.files[NAME]
    assert len(server.requests) == 2


def test_a_lasting_failure_is_an_error_and_keeps_the_partial_download(
    server: Server, tmp_path: Path
) -> None:
    server.troubles = [cut_after(100)] * 5

    with pytest.raises(DataError, match="cannot be downloaded"):
        download(server, tmp_path / NAME)

    assert len(server.requests) == 5
    assert (tmp_path / f"{NAME}.part").read_bytes() == server.files[NAME][:500]
    assert not (tmp_path / NAME).exists()


def test_a_damaged_archive_is_thrown_away_and_the_next_try_starts_anew(
    server: Server, tmp_path: Path
) -> None:
    right = server.files[NAME]
    server.files[NAME] = right[:-1] + b"?"

    with pytest.raises(DataError, match="MD5"):
        download(server, tmp_path / NAME)
    assert list(tmp_path.iterdir()) == []

    server.files[NAME] = right
    assert download(server, tmp_path / NAME) == right
    assert [wanted for _, wanted in server.requests] == [None, None]


def test_a_part_longer_than_the_archive_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(server.files[NAME] + b"more")

    with pytest.raises(DataError, match="MD5"):
        download(server, tmp_path / NAME)

    assert download(server, tmp_path / NAME) == server.files[NAME]


def test_a_wrong_file_in_the_archives_place_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"something else")

    assert download(server, tmp_path / NAME) == server.files[NAME]


def test_a_missing_archive_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    del server.files[NAME]

    with pytest.raises(DataError, match="404"):
        download(server, tmp_path / NAME)

    assert len(server.requests) == 1


def test_an_unreachable_server_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("training.archives.time.sleep", pauses.append)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as gone:
        url = f"http://127.0.0.1:{gone.server_address[1]}/{NAME}"

    with pytest.raises(DataError, match="cannot be downloaded"):
        training.archives.download(url, tmp_path / NAME, md5(b"never seen"), attempts=3)

    assert len(pauses) == 2
    assert pauses == sorted(pauses)


def test_the_data_set_is_prepared_from_a_server_once(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "pets"

    assert pets.prepare(root, server.url) == root
    assert [path for path, _ in server.requests] == ["/images.tar.gz", "/annotations.tar.gz"]
    assert (root / "images" / "Abyssinian_1.jpg").is_file()
    assert len(pets.split(root, "trainval")) == 90

    pets.prepare(root, server.url)
    assert len(server.requests) == 2


def test_an_unfinished_preparation_keeps_the_archives(server: Server, tmp_path: Path) -> None:
    root = pets.prepare(tmp_path / "pets", server.url)
    (root / ".complete").unlink()
    shutil.rmtree(root / "images")

    pets.prepare(root, server.url)

    assert (root / "images" / "Abyssinian_1.jpg").is_file()
    assert len(server.requests) == 2


def test_the_data_set_is_prepared_from_a_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "pets"

    assert pets.prepare(root, folder) == root

    for name in pets.SPLITS:
        for example in pets.split(root, name):
            assert example.photo.is_file()
            assert example.trimap.is_file()
    assert not (root / "archives").exists()
    assert "not the official file" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["images.tar.gz", "annotations.tar.gz"])
def test_a_folder_without_an_archive_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / name).unlink()

    with pytest.raises(DataError, match=name):
        pets.prepare(tmp_path / "pets", folder)

    assert not (tmp_path / "pets" / ".complete").exists()


def test_a_repacked_archive_is_used_with_a_note(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tar_gz({"images/Abyssinian_1.jpg": b"another picture"})
    (folder / NAME).write_bytes(again)

    root = pets.prepare(tmp_path / "pets", folder)

    assert (root / "images" / "Abyssinian_1.jpg").read_bytes() == b"another picture"
    notes = capsys.readouterr().out.splitlines()
    assert len(notes) == 1
    assert NAME in notes[0]
    assert "not the official file" in notes[0]


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def paths_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "members",
    [
        {"../evil": b"!"},
        {"images/../../evil": b"!"},
        {"../root-and-more/evil": b"!"},
        {"ABSOLUTE/evil": b"!"},
        {"images/link": special("images/link", tarfile.SYMTYPE, "../../evil")},
        {"images/link": special("images/link", tarfile.SYMTYPE, "inside.jpg")},
        {"out": special("out", tarfile.SYMTYPE, ".."), "out/evil": b"!"},
        {"images/link": special("images/link", tarfile.LNKTYPE, "../secret")},
        {"images/device": special("images/device", tarfile.CHRTYPE)},
        {"images/device": special("images/device", tarfile.BLKTYPE)},
        {"images/pipe": special("images/pipe", tarfile.FIFOTYPE)},
        {"../evil-folder": special("../evil-folder", tarfile.DIRTYPE)},
    ],
    ids=[
        "parent",
        "parent inside",
        "sibling with the same beginning",
        "absolute",
        "symlink out",
        "symlink inside",
        "file through a symlink",
        "hard link",
        "character device",
        "block device",
        "pipe",
        "folder outside",
    ],
)
def test_an_archive_that_leaves_its_folder_is_refused(
    members: dict[str, bytes | tarfile.TarInfo], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("kept")
    root = tmp_path / "root"
    archive = tmp_path / "archive.tar.gz"
    members = {name.replace("ABSOLUTE", str(tmp_path)): of for name, of in members.items()}
    archive.write_bytes(tar_gz({"images/right.jpg": b"photo", **members}))

    with pytest.raises(DataError, match="refused"):
        training.archives.extract(archive, root)

    allowed = {"secret", "archive.tar.gz", "root", "root/images", "root/images/right.jpg"}
    assert paths_below(tmp_path) == allowed
    assert (tmp_path / "secret").read_text() == "kept"


def test_a_link_that_lies_in_the_folder_already_is_not_followed_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "images").symlink_to(outside)
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(tar_gz({"images/cat.jpg": b"photo"}))

    with pytest.raises(DataError, match="refused"):
        training.archives.extract(archive, root)

    assert list(outside.iterdir()) == []


@pytest.fixture(scope="module")
def large_archive() -> bytes:
    """Half of it compresses well and half does not, so that damage has different effects."""
    noise = np.random.default_rng(0)
    return tar_gz({f"{i}.bin": noise.bytes(3000) + f"{i}, ".encode() * 3000 for i in range(20)})


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused(share: float, large_archive: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(large_archive[: int(share * len(large_archive))])

    with pytest.raises(DataError, match=re.escape(str(archive))):
        training.archives.extract(archive, tmp_path / "root")


@pytest.mark.parametrize("length", [1, 30, 2000])
@pytest.mark.parametrize("seed", range(10))
def test_an_archive_with_changed_bytes_is_refused(
    seed: int, length: int, large_archive: bytes, tmp_path: Path
) -> None:
    """Only the checksum reveals that the noise in it has changed."""
    generator = np.random.default_rng(seed)
    start = int(generator.integers(10, len(large_archive) - length))
    changed = bytes(255 - byte for byte in large_archive[start : start + length])
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(large_archive[:start] + changed + large_archive[start + length :])

    with pytest.raises(DataError, match="cannot be extracted"):
        training.archives.extract(archive, tmp_path / "root")


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("name")
    member.pax_headers = {"path": "images/null\0.jpg"}
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(tar_gz({"name": member}))

    with pytest.raises(DataError, match="cannot be extracted"):
        training.archives.extract(archive, tmp_path / "root")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_text("<html>Please log in.</html>")

    with pytest.raises(DataError, match="cannot be extracted"):
        training.archives.extract(archive, tmp_path / "root")


def test_after_a_damaged_archive_the_preparation_starts_again(
    folder: Path, official: dict[str, bytes], tmp_path: Path
) -> None:
    (folder / NAME).write_bytes(official[NAME][:500])
    with pytest.raises(DataError, match="cannot be extracted"):
        pets.prepare(tmp_path / "pets", folder)

    (folder / NAME).write_bytes(official[NAME])
    root = pets.prepare(tmp_path / "pets", folder)

    assert len(list((root / "images").iterdir())) == 105


def test_breeds_come_in_the_order_of_their_ids(root: Path) -> None:
    assert pets.breeds(root) == [
        pets.Breed("Abyssinian", "cat"),
        pets.Breed("American Bulldog", "dog"),
        pets.Breed("Egyptian Mau", "cat"),
    ]


def test_the_official_splits_are_kept(root: Path) -> None:
    trainval = Counter(example.label for example in pets.split(root, "trainval"))
    test = Counter(example.label for example in pets.split(root, "test"))

    assert trainval == {0: 20, 1: 40, 2: 30}
    assert test == {0: 5, 1: 4, 2: 6}


def test_an_example_knows_its_files_and_its_breed(root: Path) -> None:
    example = pets.split(root, "test")[5]

    assert example == pets.Example(
        name="american_bulldog_41",
        photo=root / "images" / "american_bulldog_41.jpg",
        trimap=root / "annotations" / "trimaps" / "american_bulldog_41.png",
        label=1,
    )


def names(examples: list[pets.Example]) -> list[str]:
    return [example.name for example in examples]


def test_train_and_validation_are_trainval_without_overlap(root: Path) -> None:
    train = set(names(pets.split(root, "train")))
    validation = set(names(pets.split(root, "validation")))
    test = set(names(pets.split(root, "test")))

    assert train.isdisjoint(validation)
    assert train | validation == set(names(pets.split(root, "trainval")))
    assert test.isdisjoint(train | validation)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_validation_holds_the_same_share_of_every_breed(root: Path, share: float) -> None:
    validation = pets.split(root, "validation", validation_share=share)

    counts = Counter(example.label for example in validation)
    assert counts == {0: 20 * share, 1: 40 * share, 2: 30 * share}


def test_the_split_depends_on_the_seed_alone(root: Path) -> None:
    first = names(pets.split(root, "validation", seed=1))

    assert names(pets.split(root, "validation", seed=1)) == first
    assert names(pets.split(root, "validation", seed=2)) != first
    train = names(pets.split(root, "train", seed=1))
    assert set(train).isdisjoint(first)
    assert names(pets.split(root, "test", seed=1)) == names(pets.split(root, "test", seed=2))


@pytest.mark.parametrize("first", [0, 10])
def test_ten_folds_hold_everything_out_once(root: Path, first: int) -> None:
    numbers = range(first, first + 10)
    folds = [names(pets.split(root, "validation", fold=fold)) for fold in numbers]

    if first == 0:
        assert folds[0] == names(pets.split(root, "validation"))
    assert Counter(chain.from_iterable(folds)) == Counter(names(pets.split(root, "trainval")))
    for fold, held_out in zip(numbers, folds, strict=True):
        assert set(names(pets.split(root, "train", fold=fold))).isdisjoint(held_out)


def test_the_later_folds_hold_ranges_of_each_breed_s_numbers_out(root: Path) -> None:
    def numbers(split: str, fold: int) -> list[int]:
        found = pets.split(root, split, fold=fold)
        return sorted(int(each.name.rpartition("_")[2]) for each in found if each.label == 1)

    everything = numbers("trainval", 0)
    for fold in range(10):
        held_out = numbers("validation", 10 + fold)
        assert held_out == everything[4 * fold : 4 * fold + 4]
        assert numbers("train", 10 + fold) == sorted(set(everything) - set(held_out))


@pytest.mark.parametrize("name", ["val", "Train", "", "list"])
def test_an_unknown_split_is_refused_by_name(root: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"train, validation, trainval, test, not '{name}'"):
        pets.split(root, name)


def test_with_masks_leaves_out_exactly_the_faulty_trimaps(root: Path) -> None:
    trainval = pets.split(root, "trainval")

    kept = pets.with_masks(trainval)

    left_out = set(names(trainval)) - set(names(kept))
    assert left_out == {"Egyptian_Mau_20"}
    assert kept == [example for example in trainval if example.name not in left_out]
    assert len(pets.FAULTY_TRIMAPS) == 14


def test_a_trimap_is_read_as_it_is(root: Path) -> None:
    trimap = pets.read_trimap(pets.split(root, "test")[0].trimap)

    assert trimap.dtype == np.uint8
    np.testing.assert_array_equal(trimap, TRIMAP)


def test_a_resized_trimap_has_no_values_in_between(root: Path) -> None:
    path = pets.split(root, "test")[0].trimap

    trimap = pets.read_trimap(path, 96, 96)

    assert trimap.shape == (96, 96)
    np.testing.assert_array_equal(trimap, TRIMAP.repeat(32, axis=0).repeat(24, axis=1))
    assert set(np.unique(pets.read_trimap(path, 2, 2))) <= {1, 2, 3}


def test_the_command_says_what_it_prepared(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "pets"
    monkeypatch.setattr(sys, "argv", ["pets", "--root", str(root), "--source", str(folder)])

    pets.main()

    expected = f"{root}: 3 breeds; pictures: train 81, validation 9, trainval 90, test 15\n"
    assert capsys.readouterr().out == expected


@pytest.mark.realdata
def test_the_real_data_set_is_what_its_paper_says(real_root: Path) -> None:
    splits = {name: pets.split(real_root, name) for name in pets.SPLITS}
    assert {name: len(examples) for name, examples in splits.items()} == {
        "train": 3311,
        "validation": 369,
        "trainval": 3680,
        "test": 3669,
    }

    breeds = pets.breeds(real_root)
    assert len(breeds) == 37
    assert sum(breed.species == "cat" for breed in breeds) == 12
    assert (breeds[0].name, breeds[-1].name) == ("Abyssinian", "Yorkshire Terrier")

    examples = splits["trainval"] + splits["test"]
    faulty = [example for example in examples if example.name in pets.FAULTY_TRIMAPS]
    assert len(faulty) == len(pets.FAULTY_TRIMAPS)
    for example in [*faulty, *examples[::20]]:
        trimap = pets.read_trimap(example.trimap)
        assert set(np.unique(trimap)) <= {1, 2, 3}, example.name
        assert (trimap == pets.PET).any() == (example not in faulty), example.name
        with Image.open(example.photo) as photo:
            assert photo.size == trimap.shape[::-1], example.name
