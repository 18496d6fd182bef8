"""A small crowd and a short soak, as the large ones in SECURITY.md are measured."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import crowd, soak, visitors

VISITORS = 10
REQUESTS = 150


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of the app, and its log."""
    log = tmp_path_factory.mktemp("app") / "log"
    with visitors.served(log, PETSCOPE_BEHIND_PROXY="1") as (port, _):
        yield port, log


def test_each_of_a_crowd_is_answered(app: tuple[int, Path]) -> None:
    port, log = app
    everyone = [crowd.come(port, number) for number in range(VISITORS)]

    times, outcomes, _ = crowd.crowd(everyone, seconds=4)

    assert set(outcomes) == {"answered"}
    assert len(times) == outcomes["answered"] >= VISITORS
    assert '"event": "fault"' not in log.read_text()


def test_many_requests_take_no_memory_and_leave_no_file_open(
    app: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, log = app
    monkeypatch.setattr(soak, "EVERY", 5)

    looks, outcomes = soak.soak(port, REQUESTS, minutes=5)

    assert outcomes["complete"] + outcomes["error"] == sum(outcomes.values()) == REQUESTS
    assert outcomes["complete"] > 0.8 * REQUESTS
    assert outcomes["error"] > 0  # the damaged pictures
    found = soak.growth(looks)
    assert found["resident_growth"] < 0.1
    assert found["open_files_at_the_end"] < found["open_files_then"] + 5
    assert '"event": "fault"' not in log.read_text()


def test_growth_is_measured_between_means_after_the_first_requests() -> None:
    def looks(requests: int, megabytes: float) -> dict[str, float]:
        return {"requests": requests, "resident_megabytes": megabytes, "open_files": 20}

    first = [looks(turn, 100) for turn in range(0, 1000, 100)]  # not counted
    then = [looks(turn, 400 + noise) for turn, noise in ((1000, -9), (1500, 0), (2000, 9))]
    between = [looks(turn, 900) for turn in range(2100, 4000, 100)]
    end = [looks(turn, 420 + noise) for turn, noise in ((5000, 30), (4500, 0), (4100, -30))]

    found = soak.growth([*end, *first, *then, *between])

    assert (found["resident_megabytes_then"], found["resident_megabytes_at_the_end"]) == (400, 420)
    assert found["resident_growth"] == pytest.approx(0.05)
