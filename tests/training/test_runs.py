"""Which folders a run may write into, and what it writes there."""

import json
import time
from pathlib import Path

import pytest

from models.preprocessing import InputSpec
from training import runs
from training.errors import Interrupted
from training.runs import Run, RunError

SPEC = InputSpec(8, 8, "squash", "bilinear", (0.5,) * 3, (0.5,) * 3, "NHWC")
SETTINGS = {"epochs": 20, "arch": "resnet34"}


def begun(folder: Path, **options: bool) -> Run:
    run = Run(folder, "train_x", SETTINGS, **options)
    run.begin()
    return run


def finished(folder: Path) -> Run:
    run = begun(folder)
    (folder / "model.safetensors").write_bytes(b"weights")
    run.finish(input_spec=SPEC, data="pets")
    return run


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": True}])
def test_a_folder_with_other_people_s_files_is_left_as_it_is(
    tmp_path: Path, flags: dict[str, bool]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(RunError, match="files that no training run wrote"):
        Run(tmp_path, "train_x", SETTINGS, **flags)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        Run(tmp_path / "file", "train_x", SETTINGS)


def test_inspecting_a_folder_does_not_create_it(tmp_path: Path) -> None:
    Run(tmp_path / "new", "train_x", SETTINGS)
    assert not (tmp_path / "new").exists()


def test_everybody_who_may_read_a_run_may_read_its_weights(tmp_path: Path) -> None:
    run = begun(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.touch(0o600)
    run.finish(input_spec=SPEC)
    assert weights.stat().st_mode == (tmp_path / "run.json").stat().st_mode


def test_a_finished_run_keeps_no_checkpoints(tmp_path: Path) -> None:
    run = begun(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    run.finish(input_spec=SPEC)
    assert not (tmp_path / "checkpoints").exists()


def test_another_script_s_run_is_not_replaced(tmp_path: Path) -> None:
    finished(tmp_path)
    with pytest.raises(RunError, match=r"is a run of training\.train_x"):
        Run(tmp_path, "train_y", SETTINGS, overwrite=True)


def test_a_finished_run_is_replaced_only_on_request(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="a finished run: --overwrite replaces it"):
        Run(tmp_path, "train_x", SETTINGS)
    assert (tmp_path / "model.safetensors").exists()

    begun(tmp_path, overwrite=True)

    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "run.json").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_without_stored_settings_is_recognised_by_its_command(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"command": "python -m training.train_x --epochs 3"}')
    with pytest.raises(RunError, match="a finished run"):
        Run(tmp_path, "train_x", SETTINGS)
    assert Run(tmp_path, "train_x", SETTINGS, resume=True).finished
    with pytest.raises(RunError, match=r"training\.train_x"):
        Run(tmp_path, "train_y", SETTINGS, overwrite=True)


def test_an_interrupted_run_is_resumed_or_replaced_but_not_lost(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "history.csv").write_text("epoch\n0\n")
    with pytest.raises(RunError, match="an interrupted run: --resume continues it"):
        Run(tmp_path, "train_x", SETTINGS)

    begun(tmp_path, resume=True)

    assert (tmp_path / "history.csv").exists()
    begun(tmp_path, overwrite=True)
    assert not (tmp_path / "history.csv").exists()


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run to resume"):
        Run(tmp_path / "new", "train_x", SETTINGS, resume=True)


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    finished(tmp_path)
    assert Run(tmp_path, "train_x", SETTINGS, resume=True).finished
    assert not Run(tmp_path, "train_x", SETTINGS, overwrite=True).finished


def test_changed_settings_are_refused_by_name(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(RunError) as refused:
        Run(tmp_path, "train_x", {"epochs": 5, "arch": "resnet34"}, resume=True)
    assert "begun with --epochs 20 and not 5:" in str(refused.value)
    assert "--arch" not in str(refused.value)


def test_removed_and_added_settings_are_reported_in_words(tmp_path: Path) -> None:
    Run(tmp_path, "train_x", {"folder": "mypets", "teachers": None}).begin()
    with pytest.raises(RunError) as refused:
        Run(tmp_path, "train_x", {"folder": None, "teachers": ["a"]}, resume=True)
    told = '--folder mypets and not without it, no --teachers and not with --teachers ["a"]:'
    assert f"was begun with {told}" in str(refused.value)


def test_the_command_makes_the_result_again_in_a_new_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["x.py", "--out", "run", "--resume", "--size", "96"])
    assert runs.command().endswith(" --out run --size 96")


def test_a_folder_without_a_run_is_reported_in_words(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError) as refused:
            runs.read_facts(folder)
        said = f"{folder} is not a finished training run: it has no run.json."
        assert str(refused.value) == said


@pytest.mark.parametrize("kind", ["dry_run", "find_rate"])
def test_dry_runs_have_their_own_folder_and_replace_one_another(tmp_path: Path, kind: str) -> None:
    finished(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    for _ in range(2):
        run = begun(tmp_path / "run", **{kind: True})
        assert run.folder == tmp_path / f"run-{kind.replace('_', '-')}"
        (run.folder / "rate.png").touch()
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    (run.folder / "settings.json").unlink()
    with pytest.raises(RunError, match="no training run wrote"):
        Run(tmp_path / "run", "train_x", SETTINGS, **{kind: True})
    with pytest.raises(RunError, match="cannot be combined with --resume"):
        Run(tmp_path / "run", "train_x", SETTINGS, resume=True, **{kind: True})


def test_one_of_several_processes_writes(tmp_path: Path) -> None:
    other = Run(tmp_path / "run", "train_x", SETTINGS, first=False)
    other.begin()
    assert not (tmp_path / "run").exists()


def test_a_run_interrupted_after_its_beginning_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as early, Run(tmp_path, "train_x", SETTINGS):
        raise KeyboardInterrupt
    assert not isinstance(early.value, Interrupted)
    with pytest.raises(Interrupted, match="was interrupted"), begun(tmp_path):
        raise KeyboardInterrupt


def test_a_resumed_run_counts_the_seconds_of_the_processes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    run = begun(tmp_path)
    for after in (30, 50):
        clock[0] = 1000.0 + after
        assert run.seconds() == after

    clock[0] = 5000.0  # another process, later
    resumed = begun(tmp_path, resume=True)
    clock[0] += 20
    resumed.finish(input_spec=SPEC)

    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["seconds"] == 70
    assert not (tmp_path / "seconds.txt").exists()


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(3, "epoch 3 of 12, about 90 s left"), (12, "epoch 12 of 12")],
)
def test_the_time_left_is_that_of_the_whole_run(
    monkeypatch: pytest.MonkeyPatch, epoch: int, expected: str
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    left = runs.TimeLeft(12, done=1)
    clock[0] = 20.0  # two epochs of this process
    assert left.after(epoch) == expected
