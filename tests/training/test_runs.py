"""What a training run tells of itself."""

import time
from pathlib import Path

import pytest

from training import runs


def test_a_resumed_run_counts_the_seconds_of_the_processes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_START", time.perf_counter() - 30)
    assert runs.seconds(tmp_path) == pytest.approx(30, abs=5)
    monkeypatch.setattr(runs, "_START", time.perf_counter() - 50)
    assert runs.seconds(tmp_path) == pytest.approx(50, abs=5)  # the same process, later

    monkeypatch.setattr(runs, "_earlier", {})  # another process
    monkeypatch.setattr(runs, "_START", time.perf_counter() - 20)
    assert runs.seconds(tmp_path) == pytest.approx(70, abs=5)
