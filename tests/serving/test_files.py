import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from serving import files
from tests.raw_http import CAT, Served, file_data, within

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def store(served: Served) -> files.Store:
    return served.running.store


def age(path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the file's last status change that old: its time cannot be set directly."""
    now = time.time()
    monkeypatch.setattr("serving.files.time.time", lambda: now + seconds)


def test_unused_uploads_and_results_are_deleted_after_minutes(
    served: Served, store: files.Store, uploaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (picture, _) = served.call("mask", file_data(uploaded), "pet-fine")
    result = Path(picture["path"])
    example = next(path for path in kept(served) if Path(path).exists())
    remembered = served.running.blocks.upload_file_set
    assert uploaded in remembered

    store.sweep()
    assert result.exists()
    assert Path(uploaded).exists()
    age(result, store.keep_seconds + 600, monkeypatch)

    def swept() -> bool:
        store.sweep()
        return not result.parent.exists() and not Path(uploaded).parent.exists()

    assert within(60, swept)  # the connection of the answer is about to be closed
    assert uploaded not in remembered
    assert Path(example).exists()  # the page's own pictures are kept
    assert served.ask("GET", f"/gradio_api/file={result}").status == 403
    kind, said = served.call("breed", file_data(uploaded))
    assert kind == "error"
    assert "cannot be read" in said["error"]
    assert store.keep_seconds + files.SWEEP <= 20 * 60


def test_files_in_use_stay(
    store: files.Store, uploaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(Path(uploaded), store.keep_seconds / 2, monkeypatch)

    store.sweep()

    assert Path(uploaded).exists()


def test_files_of_a_running_answer_stay_and_count(
    store: files.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.folder / "an-album"
    mask = folder / "masks" / "cat.png"
    mask.parent.mkdir(parents=True)
    store.sweep()
    before = store.size
    store.use("answer", [str(folder)], written=True)
    mask.write_bytes(bytes(1_000_000))

    store.count(str(folder))
    store.count(str(folder))

    assert 1_000_000 <= store.size - before < 1_100_000
    age(mask, store.keep_seconds + 1, monkeypatch)
    store.sweep()
    assert mask.exists()
    store.forget(set())
    store.sweep()
    assert not mask.exists()


def test_an_upload_is_refused_before_the_disk_is_full(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Usage(total=20_000_000, used=17_900_000, free=2_100_000)
    monkeypatch.setattr("serving.files.shutil.disk_usage", lambda _: disk)

    refused = served.upload(bytes(1_000_000))

    assert refused.status == 507
    assert refused.sentence == "There is no room for more photos right now: please try again later."
    assert int(refused.headers["retry-after"]) > 0
    assert served.upload(bytes(50_000)).status == 200  # a tenth of the disk stays free
    monkeypatch.undo()
    assert served.upload(bytes(1_000_000)).status == 200


def test_uploads_that_come_at_the_same_time_count_together(
    store: files.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST", store.size + 100)

    with store.reserved() as first, store.reserved() as second, store.reserved() as third:
        assert (first.grow(60), second.grow(60), third.grow(40)) == (True, False, True)
    assert not store.has_room(1)  # both are there now
    store.sweep()


def test_room_is_made_only_if_that_is_wanted(
    store: files.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take long, and the server's own thread must not wait for it."""
    sweeps: list[bool] = []
    monkeypatch.setattr(files, "LARGEST", store.size + 100)
    monkeypatch.setattr(store, "sweep", lambda: sweeps.append(True))
    monkeypatch.setattr(store, "_full_until", 0.0)  # no search before this one counts

    with store.reserved() as upload:
        assert upload.grow(60, make_room=False)
        assert not upload.grow(200, make_room=False)
        assert not sweeps
        assert not upload.grow(200)
        assert sweeps
    monkeypatch.undo()
    store.sweep()


def test_two_threads_do_not_reserve_the_same_space(
    store: files.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, both = shutil.disk_usage, threading.Barrier(2)

    def look(folder: Path) -> object:
        """Let the two look at the same time, if nothing keeps them from it."""
        with suppress(threading.BrokenBarrierError):
            both.wait(0.3)
        return usage(folder)

    monkeypatch.setattr(files, "LARGEST", store.size + 100)
    monkeypatch.setattr("serving.files.shutil.disk_usage", look)
    monkeypatch.setattr(store, "sweep", lambda: None)

    with store.reserved() as first, store.reserved() as second, ThreadPoolExecutor(2) as threads:
        taken = list(threads.map(lambda upload: upload.grow(60), (first, second)))

    assert sorted(taken) == [False, True]
    monkeypatch.undo()
    store.sweep()


def test_the_whole_folder_has_a_limit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST", served.running.store.size + 1000)

    assert served.upload(CAT.read_bytes()).status == 507


@pytest.mark.parametrize("variable", ["TMPDIR", "GRADIO_TEMP_DIR"])
def test_a_server_s_folder_is_readable_by_its_user_only(tmp_path: Path, variable: str) -> None:
    code = (
        "import os; from serving import temp_folder; temp_folder.create();"
        "made = os.environ['GRADIO_TEMP_DIR']; print(oct(os.stat(made).st_mode & 0o777), made)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "GRADIO_TEMP_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {variable: str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    mode, path = done.stdout.split()
    assert mode == "0o700"
    assert Path(path).parent == tmp_path
    assert not Path(path).exists()  # it was deleted with its process


def test_the_log_tells_what_happened_but_nothing_about_the_photo(
    served: Served, uploaded: str
) -> None:
    name = "Minka-vom-Nachbarn.png"
    client = served.new_client()
    (path,) = json.loads(served.upload(CAT.read_bytes(), name, client).body)
    served.lines.clear()

    served.call("breed", file_data(path), client=client)
    served.call("breed", file_data(path + "x"), client=client)
    served.ask("GET", f"/gradio_api/file={path}", client=client)
    served.ask("GET", "/healthz")

    # A request is logged a moment after its answer was sent.
    assert within(60, lambda: {"file", "healthz"} <= {each.get("route") for each in served.lines})
    lines = json.dumps(served.lines)
    for secret in (name, "Minka", path, Path(path).parent.name, client):
        assert secret not in lines
    shown = next(line for line in served.lines if line.get("route") == "file")
    own = [line for line in served.lines if line.get("client") == shown["client"]]
    done, failed = [line for line in own if line["event"] == "answer"]
    assert done["function"] == failed["function"] == "breed"
    assert (done["outcome"], failed["outcome"]) == ("answered", "refused")
    assert done["run_ms"] > 0 <= done["wait_ms"]
    assert shown["status"] == 200
    assert shown["sent"] == CAT.stat().st_size


def kept(served: Served) -> set[str]:
    return {
        str(path)
        for block in served.running.blocks.blocks.values()
        for path in getattr(block, "keep_in_cache", ())
    }
