"""Decoding in separate processes: the results, and what happens when a process fails."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from models import images
from models.images import PhotoError
from serving import decoder_packages, decoding
from serving.decoder import HEADER
from serving.decoding import Decoder, Pool
from tests.profiles import DISPLAY_P3
from tests.raw_http import within

ROOT = Path(__file__).parents[2]
CAT = ROOT / "examples" / "cat_chelsea.png"

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can limit a process so")


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(2)
    yield pool
    pool.close()


@pytest.fixture
def one() -> Iterator[Pool]:
    """A pool with a single process, so that a test knows which."""
    pool = Pool(1)
    assert pool.open_photo(CAT).size
    yield pool
    pool.close()


def decoder_of(pool: Pool) -> Decoder:
    [decoder] = pool._idle.queue
    assert decoder is not None
    return decoder


def refusal(pool: Pool, path: Path) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        pool.open_photo(path)
    return caught.value


def assert_works(pool: Pool) -> None:
    np.testing.assert_array_equal(pool.open_photo(CAT), images.open_photo(CAT))


def gone(pid: int, seconds: float = 60) -> bool:
    """Whether a process ends in time, and is not a zombie."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "MPO"]
)
def test_a_photo_is_the_same_as_in_this_process(
    one: Pool, tmp_path: Path, file_format: str
) -> None:
    path = tmp_path / "photo"
    Image.open(CAT).convert("RGB").save(path, file_format)

    photo = one.open_photo(path)

    np.testing.assert_array_equal(photo, images.open_photo(path))
    assert photo.flags.writeable


def test_a_preview_is_the_same_as_in_this_process(one: Pool, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.open(CAT).convert("RGB").save(path)

    preview = one.open_picture(path, 100)

    expected = images.open_picture(path, 100)
    assert preview.size == expected.size == (300, 451)
    assert preview.photo.shape == (75, 113, 3)
    np.testing.assert_array_equal(preview.photo, expected.photo)
    np.testing.assert_array_equal(one.open_photo(path), images.open_photo(path))


@pytest.mark.parametrize("content", [b"", b"no picture", bytes(images.MAX_BYTES + 1)])
def test_a_refusal_is_the_same_as_in_this_process(
    one: Pool, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoError) as own:
        images.open_photo(path)

    error = refusal(one, path)

    assert (error.key, error.values) == (own.value.key, own.value.values)
    assert refusal(one, tmp_path).key == "photo_unreadable"
    assert_works(one)


def test_many_requests_at_once_are_all_answered(pool: Pool, tmp_path: Path) -> None:
    paths = []
    for number in range(10):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (200 + number, 100), (number, 0, 0)).save(paths[-1])
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")

    def read(path: Path) -> object:
        try:
            return pool.open_photo(path)[0, 0, 0], pool.open_photo(path).shape[1]
        except PhotoError as error:
            return error.key

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(read, [*paths, bad] * 8))

    assert (
        answers == [*((number, 200 + number) for number in range(10)), "photo_unknown_format"] * 8
    )


def test_a_process_that_is_killed_costs_one_request(one: Pool) -> None:
    decoder = decoder_of(one)
    locked_down(worker(decoder))
    os.killpg(decoder.process.pid, signal.SIGSTOP)  # as if while decoding a picture
    killer = threading.Timer(0.3, decoder.process.kill)
    killer.start()

    error = refusal(one, CAT)

    assert error.key == "photo_decoder_ended"
    assert_works(one)
    assert gone(decoder.process.pid)


def test_a_process_that_died_while_idle_costs_nothing(one: Pool) -> None:
    decoder = decoder_of(one)
    decoder.process.kill()
    decoder.process.wait()

    assert_works(one)
    assert decoder_of(one) is not decoder


def test_a_hanging_process_is_given_up(one: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_works(one)
    decoder = decoder_of(one)
    worker(decoder)
    usual = decoding.SECONDS
    monkeypatch.setattr(decoding, "SECONDS", 0.5)
    os.killpg(decoder.process.pid, signal.SIGSTOP)
    start = time.monotonic()

    error = refusal(one, CAT)

    assert error.key == "photo_takes_too_long"
    assert time.monotonic() - start < usual
    assert gone(decoder.process.pid)
    monkeypatch.undo()
    assert_works(one)


def test_busy_processes_are_reported(one: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = decoder_of(one)
    os.killpg(decoder.process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(one.open_photo, CAT)
        while not one._idle.empty():
            time.sleep(0.01)
        monkeypatch.setattr(decoding, "WAIT", 0.1)

        assert refusal(one, CAT).key == "photo_has_to_wait"

        os.killpg(decoder.process.pid, signal.SIGCONT)
        assert first.result().size


def test_a_process_that_cannot_start_is_reported(
    one: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError("There is no process left.")

    monkeypatch.setattr(subprocess, "Popen", fail)
    decoder_of(one).end()

    assert refusal(one, CAT).key == "photo_no_decoder"
    assert refusal(one, CAT).key == "photo_no_decoder"

    monkeypatch.undo()
    assert_works(one)


PHOTO: dict[str, Any] = {"offset": 0, "shape": [1, 1, 3], "dtype": "|u1"}


def said(changes: dict[str, Any]) -> bytes:
    """A decoder's answer, with changes."""
    whole: dict[str, Any] = {
        "photo": PHOTO,
        "values": None,
        "size": [1, 1],
        "shown": None,
        "stretch": None,
    }
    whole |= {"channels": ["red", "green", "blue"], "axes": [], "pixel_size": None}
    text = json.dumps(whole | changes).encode()
    return HEADER.pack(len(text)) + text


def test_an_answer_that_makes_no_sense_is_not_believed(one: Pool) -> None:
    """As from a process compromised by a picture."""
    for answer in (
        said({"photo": {**PHOTO, "shape": [2**31, 2**31, 3]}}),
        said({"photo": {**PHOTO, "offset": 2**40}}),
        said({"photo": {**PHOTO, "offset": -3}}),
        said({"photo": {**PHOTO, "dtype": "O"}}),
        said({"photo": {**PHOTO, "shape": [1, 1, 4]}}),
        said({"size": [2**31, 2**31]}),
        said({"values": {**PHOTO, "shape": [2, 2]}, "channels": []}),
        said({"values": {**PHOTO, "shape": [1, 1, 2]}, "channels": ["one"]}),
        said({"shown": [0, float("nan")]}),
        said({"stretch": "wide"}),
        said({"axes": [{"name": "no axis", "count": 2, "index": 0}]}),
        HEADER.pack(2**31),
        HEADER.pack(2) + b"[]",
        said({"error": "x", "named": {}}),
        said({"error": "photo_too_large", "named": [1]}),
        b"to",
    ):
        decoder = decoder_of(one)
        assert decoder.waits()
        decoder.process.kill()
        own, theirs = socket.socketpair()
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        decoder._connection.close()
        decoder._connection = own
        decoder.process = subprocess.Popen(["sleep", "60"])

        assert refusal(one, CAT).key == "photo_decoder_ended"

        theirs.close()
        assert_works(one)


def worker(decoder: Decoder) -> int:
    """The process that is waiting for a picture."""
    assert select.select([decoder._ready], [], [], 60)[0]  # the previous one is gone
    children = Path(f"/proc/{decoder.process.pid}/task/{decoder.process.pid}/children")
    assert within(60, lambda: bool(children.read_text()))
    return int(children.read_text().split()[0])


def locked_down(pid: int) -> None:
    """Wait until a process is locked down, and so waits for a picture or soon will."""
    status = Path(f"/proc/{pid}/status")
    assert within(60, lambda: "Seccomp:\t2\n" in status.read_text())


def peak_memory(pid: int) -> int:
    """The most memory that a process had, in bytes."""
    [line] = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) * 1024


@contextmanager
def watched(decoder: Decoder) -> Iterator[list[int]]:
    """Peak memory of the process for the next picture, sampled many times."""
    pid = worker(decoder)
    seen, over = [peak_memory(pid)], threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            with suppress(OSError, ValueError):  # it has ended
                seen.append(peak_memory(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@linux
def test_a_picture_that_needs_too_much_memory_is_refused(one: Pool, tmp_path: Path) -> None:
    path = tmp_path / "bomb.webp"
    Image.new("RGBA", (8000, 6000)).save(path, method=0)
    decoder = decoder_of(one)

    with watched(decoder) as seen:
        error = refusal(one, path)

    assert error.key == "photo_needs_memory"
    assert 0 < max(seen) < 650_000_000
    assert_works(one)


@linux
@pytest.mark.alone
@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_phone_s_largest_photo_is_read(one: Pool, tmp_path: Path, file_format: str) -> None:
    """48 megapixels in Display P3."""
    path = tmp_path / "photo"
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 90},
        "PNG": {"compress_level": 1},
    }
    photo = Image.open(CAT).convert("RGB").resize((8064, 6048))
    photo.save(path, file_format, icc_profile=DISPLAY_P3, **options[file_format])
    decoder = decoder_of(one)
    before = peak_memory(worker(decoder))

    with watched(decoder) as seen:
        assert one.open_photo(path).shape == (6048, 8064, 3)

    assert 0 < max(seen) - before < 500_000_000


TRY = """
import os, socket, subprocess, sys, threading
from serving.lockdown import lock_down
from PIL import Image

os.environ["X"] = "1"
lock_down(200_000_000)

def tries(what):
    try:
        what()
    except (OSError, MemoryError, ValueError) as error:
        return type(error).__name__
    return "allowed"

print(
    tries(lambda: open("/etc/hostname")),
    tries(lambda: os.listdir("/")),
    tries(lambda: open("/tmp/new", "w")),
    tries(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
    tries(lambda: socket.socketpair()),
    tries(lambda: subprocess.Popen(["/bin/true"])),
    tries(os.fork),
    tries(lambda: os.kill(os.getppid(), 0)),
    tries(lambda: bytearray(300_000_000)),
    tries(lambda: bytearray(50_000_000)),
    tries(lambda: threading.Thread(target=print).start()),
)
"""


@linux
def test_a_process_that_is_locked_down_can_only_compute() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRY], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == [*["PermissionError"] * 8, "MemoryError", "allowed", "allowed"]


def open_files(pid: int) -> set[str]:
    """A process's open files, without their descriptor numbers."""
    found = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(file.readlink()).split(":")[0])
    return found


@linux
def test_a_decoder_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pool = Pool(1)
    decoder = decoder_of(pool)
    assert_works(pool)

    pid = worker(decoder)
    assert b"hf_secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert within(60, lambda: open_files(pid) == {"socket", "/dev/null", "/memfd"}), open_files(pid)
    pool.close()


def test_a_decoder_imports_little() -> None:
    code = "import sys, serving.decoder; print({'gradio', 'onnxruntime'} & set(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"


APP = """
import sys, time
from serving import decoding
pool = decoding.start()
pool.open_photo("examples/cat_chelsea.png")
print(*[decoder.process.pid for decoder in pool._idle.queue], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("way", ["end", "terminate", "kill"])
def test_the_processes_end_with_the_app(way: str) -> None:
    app = subprocess.Popen(
        [sys.executable, "-c", APP],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert app.stdout
    pids = [int(word) for word in app.stdout.readline().split()]
    assert pids

    if way == "end":
        _, said = app.communicate("")
        assert said == ""
    else:
        getattr(app, way)()
        app.communicate()

    assert all(gone(pid) for pid in pids)


def test_closing_leaves_no_process() -> None:
    pool = Pool(2)
    pids = [decoder.process.pid for decoder in pool._idle.queue if decoder]

    pool.close()

    assert all(gone(pid) for pid in pids)


@pytest.mark.alone
def test_a_process_of_its_own_costs_little(one: Pool, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.open(CAT).convert("RGB").resize((1280, 960)).save(path, quality=90)

    def fastest(read: object) -> float:
        times = []
        for _ in range(15):
            start = time.perf_counter()
            read(path)  # type: ignore[operator]
            times.append(time.perf_counter() - start)
        return min(times)

    own, apart = fastest(images.open_photo), fastest(one.open_photo)

    assert apart < own + 0.015


@linux
def test_nothing_of_one_picture_is_left_for_the_next(one: Pool, tmp_path: Path) -> None:
    """Each has its own process, and the memory that both can write is cleared."""
    decoder = decoder_of(one)
    before = worker(decoder)

    assert_works(one)

    assert within(60, lambda: gone(before))
    assert worker(decoder) != before
    assert not np.frombuffer(decoder._shared, np.uint8, 3 * 300 * 451).any()


@linux
def test_shared_memory_is_given_back_while_no_picture_is_in_it(one: Pool) -> None:
    assert_works(one)
    links = Path(f"/proc/{decoder_of(one).process.pid}/fd").iterdir()
    memory = next(link for link in links if "memfd:photo" in str(link.readlink()))
    assert memory.stat().st_blocks

    one.give_back()

    assert not memory.stat().st_blocks
    assert_works(one)


@linux
def test_a_picture_is_not_held_twice_while_it_is_copied(
    one: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)
    Image.fromarray(noise).resize((1000, 600), Image.Resampling.NEAREST).save(path)
    whole = images.open_photo(path)
    decoder = decoder_of(one)
    shared, left = decoder._shared, []
    monkeypatch.setattr(decoding, "KEPT", 1_000_000)
    monkeypatch.setattr(decoding, "PIECE", 300_001)
    real = decoder._remove

    def remove(start: int, stop: int) -> None:
        real(start, stop)
        left.append(np.count_nonzero(np.frombuffer(shared, np.uint8, whole.nbytes)))

    monkeypatch.setattr(decoder, "_remove", remove)

    np.testing.assert_array_equal(one.open_photo(path), whole)

    assert len(left) == 6
    assert left == sorted(left, reverse=True)
    assert left[-1] < 6 * 2 * 4096  # less than a page at each end of a piece


@linux
def test_a_process_that_does_not_end_gets_no_other_picture(
    one: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one compromised by a picture would."""
    assert_works(one)
    decoder = decoder_of(one)
    old = worker(decoder)
    os.read(decoder._ready, 1)  # as if the previous one were still there
    real = select.select

    def hasty(read: list[int], write: list[int], other: list[int], seconds: float) -> object:
        return real(read, write, other, 0.2 if decoder._ready in read else seconds)

    monkeypatch.setattr("serving.decoding.select.select", hasty)

    assert_works(one)

    assert decoder_of(one) is not decoder
    assert gone(old)


def test_a_process_that_cannot_work_is_not_called_usable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os._exit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pool = Pool(1)

    assert not pool.usable()
    assert refusal(pool, CAT).key == "photo_no_decoder"

    monkeypatch.undo()
    assert pool.usable()
    assert_works(pool)
    pool.close()


@linux
def test_decoders_have_a_pillow_of_their_own(one: Pool) -> None:
    own = decoder_packages.find()
    if own is None:
        pytest.skip("python -m serving.decoder_packages was not run, or PyPI cannot be reached")

    assert_works(one)

    mapped = Path(f"/proc/{worker(decoder_of(one))}/maps").read_text()
    used = {line.split()[-1] for line in mapped.splitlines() if "/PIL/_imaging." in line}
    assert used
    assert all(Path(path).is_relative_to(own.resolve()) for path in used)
