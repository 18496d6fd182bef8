"""Whole runs on a cluster of two simulated machines: no crash loses anything."""

import json
import multiprocessing
import os
import socket
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow.dataset as ds
import pytest
from huggingface_hub import HfFileSystem
from ray._private.node import Node
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray.cluster_utils import Cluster

from batch import __main__, rounds, rows, runner
from batch.rounds import Report, Settings
from batch.runner import Progress, RunError
from batch.sources import Part
from models import store
from tests.hub import FakeHub

PHOTO = Path(__file__).parent.parent.parent / "examples" / "cell.png"
COUNT = 40
BAD = {"10.jpg": b"CRASH", "20.jpg": b"no picture"}


@pytest.fixture(scope="module")
def cluster(customize: str, tiny_models: Path) -> Iterator[Cluster]:
    """Two machines with a core each; the first is the head."""
    with pytest.MonkeyPatch.context() as patch:
        rounds.calm(patch.setenv)
        patch.setenv("PYTHONPATH", customize)
        machine: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
        cluster = Cluster(True, head_node_args={**machine, "include_dashboard": False})
        cluster.add_node(**machine)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def photos(tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of slow photos, two of them bad, and fast models."""
    monkeypatch.setenv(store.SOURCE_VARIABLE, str(tiny_models))
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(COUNT):
        name = f"{index:02}.jpg"
        (folder / name).write_bytes(BAD.get(name, b"SLOW" + PHOTO.read_bytes()))
    return folder


def names(results: Path) -> list[str]:
    """Names of all rows, after checking that each has its photo or its error."""
    table = ds.dataset(results).to_table()
    assert table.schema.equals(rows.SCHEMA)
    for row in table.to_pylist():
        if row["name"] in BAD:
            wanted = "ended the program" if row["name"] == "10.jpg" else "not a picture"
            assert wanted in row["error"]
            assert row["pets"] is None
        else:
            assert row["error"] is None
            assert (row["width"], row["height"]) == (550, 660)
    return sorted(table.column("name").to_pylist())


def workers(node: Node) -> list[psutil.Process]:
    """The workers on a machine."""
    raylet = psutil.Process(node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid)
    found = []
    for process in raylet.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if "ray::Worker" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_a_killed_worker_and_a_killed_machine_lose_nothing(
    cluster: Cluster, photos: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    (machine,) = cluster.worker_nodes
    killed: list[str] = []

    def kill(progress: Progress) -> None:
        done = sum(progress.done.values())
        assert cluster.head_node is not None
        if not killed and done > 4 and (found := workers(cluster.head_node)):
            found[0].kill()
            killed.append("worker")
        elif killed == ["worker"] and done > 12 and workers(machine):
            cluster.remove_node(machine, allow_graceful=False)
            killed.append("machine")

    settings = Settings(results=results, address=cluster.address)
    progress = runner.run([str(photos)], settings, size=8, patience=300, show=kill)

    assert killed == ["worker", "machine"]
    assert progress.parts_done == progress.parts == 5
    assert names(results) == [f"{index:02}.jpg" for index in range(COUNT)]

    # A crashed run leaves a part missing, and perhaps a draft: only that part is done again.
    before = {path.name: path.stat().st_mtime_ns for path in results.glob("part-*")}
    rows.part_file(results, 3).unlink()
    (results / ".part-000003.parquet.7-abc").write_bytes(b"half a file")

    words = [str(photos), str(results), "--address", cluster.address]
    assert __main__.main(words) == 0

    after = {path.name: path.stat().st_mtime_ns for path in results.glob("part-*")}
    assert [name for name in before if after[name] != before[name]] == ["part-000003.parquet"]
    assert names(results) == [f"{index:02}.jpg" for index in range(COUNT)]
    assert not list(results.glob(".part-*"))
    assert __main__.main(words) == 0  # nothing is left to do, so no cluster is needed


def test_a_stalled_round_is_ended_and_reported(
    cluster: Cluster, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "FRUITLESS_ROUNDS", 1)
    (photos / "01.jpg").write_bytes(b"HANG")
    settings = Settings(results=tmp_path / "results", address=cluster.address, seconds=1000)

    with pytest.raises(RunError, match="1 of 1 parts could not be finished"):
        runner.run([str(photos / "0*.jpg")], settings, size=20, patience=3)

    assert not list((tmp_path / "results").glob("part-*"))


def test_a_part_that_ends_its_worker_is_tried_again_and_costs_no_other(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fragile:
        def __init__(self, settings: Settings) -> None:
            self.results = settings.results

        def process(self, number: int, part: Part) -> Iterator[Report]:
            path = self.results / str(number)
            tries = 1 + len(path.read_text()) if path.exists() else 1
            path.write_text("x" * tries)
            if number == 1 or (number == 2 and tries == 1):
                os._exit(1)
            if number == 3:
                raise ValueError
            yield Report(number, tries, finished=True)

    monkeypatch.setattr(rounds, "Worker", Fragile)
    monkeypatch.setattr(rounds, "calm", lambda: None)  # the cluster's fixture has done so
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    came, sent = multiprocessing.Pipe(duplex=False)
    parts = [(number, Part("photos", 0, 8)) for number in range(5)]

    rounds.run(sent, parts, Settings(results=tmp_path, address=cluster.address))

    reports = []
    while came.poll():
        reports.append(came.recv())
    assert {report.number: report.done for report in reports} == {0: 1, 2: 2, 4: 1}
    tries = [(tmp_path / str(number)).stat().st_size for number in range(5)]
    assert tries == [1, rounds.TRIES, 2, 1, 1]


def test_a_round_ends_when_no_worker_can_begin(
    cluster: Cluster, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have too little memory to load the models."""
    monkeypatch.setattr(runner, "FRUITLESS_ROUNDS", 1)
    settings = Settings(results=tmp_path / "results", address=cluster.address, memory=1_000_000)

    with pytest.raises(RunError, match="5 of 5 parts could not be finished"):
        runner.run([str(photos)], settings, size=8)

    assert "A worker is lost" in (tmp_path / "results" / runner.LOG).read_text()


def test_odd_names_and_failing_sources_affect_no_other_row(
    cluster: Cluster,
    tmp_path: Path,
    tiny_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(store.SOURCE_VARIABLE, str(tiny_models))
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in (b"plain.jpg", b"K\xe4tzchen.jpg", b"notes.txt"):
        Path(os.fsdecode(os.fsencode(photos) + b"/" + name)).write_bytes(PHOTO.read_bytes())
    for kind in ("w", "w:gz"):
        with tarfile.open(tmp_path / f"{kind[2:]}.tar.gz", kind) as archive:
            archive.add(PHOTO, "1.png")
            archive.add(PHOTO, "1.json")
    (tmp_path / "damaged.zip").write_bytes(b"PK\3\4")
    sources = [photos, *(tmp_path / name for name in ("gz.tar.gz", "damaged.zip", "none"))]
    words = [*map(str, sources), str(tmp_path / "results"), "--address", cluster.address]

    assert __main__.main(words) == 1  # for the source that is not there

    out, _ = capfd.readouterr()
    assert "5 of" not in out
    assert "5 photos (2 failed), 4 of 4 parts" in out
    assert out.endswith(f"{tmp_path / 'results'} (left out: 1 .json, 1 .txt)\n")
    table = ds.dataset(tmp_path / "results").to_table().to_pylist()
    assert [(Path(row["source"]).name, row["name"], row["error"]) for row in table] == [
        ("photos", "K\\xe4tzchen.jpg", None),
        ("photos", "plain.jpg", None),
        ("gz.tar.gz", "1.png", None),
        ("damaged.zip", None, "The file is damaged or cut off, and no more of it can be read."),
        ("none", None, f"There are no photos in '{tmp_path / 'none'}', or it does not exist."),
    ]
    left_out = json.loads((tmp_path / "results" / "_left_out.json").read_text())
    assert left_out == {".json": 1, ".txt": 1}
    assert __main__.main(words) == 1


def test_a_truncated_source_on_the_hub_affects_no_other_part(
    cluster: Cluster,
    hub: FakeHub,
    tmp_path: Path,
    tiny_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(store.SOURCE_VARIABLE, str(tiny_models))
    monkeypatch.setattr(runner, "FRUITLESS_ROUNDS", 1)
    HfFileSystem.clear_instance_cache()
    hub.add("datasets/owner/photos", {"1.jpg": PHOTO.read_bytes()})
    (tmp_path / "2.png").write_bytes(PHOTO.read_bytes())
    hub.faults["resolve"] = 403
    words = ["hf://datasets/owner/photos", str(tmp_path / "2.png")]
    words += [str(tmp_path / "results"), "--address", cluster.address]

    assert __main__.main(words) == 1

    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith("1 of 2 parts could not be finished (the Hub refuses access to it): ")
    (row,) = ds.dataset(tmp_path / "results").to_table().to_pylist()
    assert (row["name"], row["error"]) == ("2.png", None)
    hub.faults.clear()
    assert __main__.main(words) == 0
    assert ds.dataset(tmp_path / "results").to_table().num_rows == 2


def test_results_of_different_runs_are_not_mixed(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    runner._plan([str(photos)], Settings(results=results), 8)

    assert __main__.main([str(photos), str(results), "--classes", "4"]) == 1
    assert "results of other classes" in capsys.readouterr().err
    with pytest.raises(RunError, match="results of other sources"):
        runner.run([str(tmp_path)], Settings(results=results))
    with pytest.raises(SystemExit):
        __main__.main([str(photos), str(results), "--seconds", "200"])
    assert "--patience must be more" in capsys.readouterr().err
    assert __main__.main([str(tmp_path / "nothing"), str(tmp_path / "more")]) == 1
    assert "no photos" in capsys.readouterr().err


def test_progress_shows_the_remaining_time() -> None:
    progress = Progress(parts=10, photos=1000, parts_done=3, before=200)
    progress.began -= 50
    progress.done = {3: 100, 4: 50}

    assert str(progress) == "350 of 1,000 photos, 3 of 10 parts, 3.0 photos/s, 4 min left"
    assert [runner.duration(s) for s in (7, 12_000, 190_000)] == ["7 s", "3 h 20 min", "2 d 5 h"]


def test_starting_ray_contacts_no_other_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its dashboard's process always sends requests at the start, which must go nowhere."""
    from ray._common.usage import usage_lib

    rounds.calm(monkeypatch.setenv)
    asked: list[tuple[str, int]] = []
    connect = socket.socket.connect

    def watch(self: socket.socket, address: tuple[str, int]) -> None:
        asked.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watch)

    usage_lib.get_cluster_config_to_report(str(tmp_path / "none"))

    assert len(asked) == 3  # of each cloud provider
    assert {address[0] for address in asked} == {"127.0.0.1"}
