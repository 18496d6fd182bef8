"""Lines of the log: each is valid JSON, and none is long."""

import json
import logging
import threading
from collections.abc import Iterator

import pytest

from serving import log


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines written to the log."""
    written: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: written.append(record.getMessage())  # type: ignore[method-assign]
    log.logger.addHandler(handler)
    log.logger.setLevel(logging.INFO)
    yield written
    log.logger.removeHandler(handler)


def test_a_line_that_would_be_long_is_cut_and_still_json(lines: list[str]) -> None:
    log.write("fault", kind="E" * 5_000, at=[f"module.py:{line}" for line in range(1_000)], ms=3)

    (line,) = lines
    assert len(line) <= log.LONGEST
    told = json.loads(line)
    assert told["event"] == "fault"
    assert told["ms"] == 3
    assert told["at"][-1] == "module.py:999"  # the place of the error comes last
    assert set(told["kind"]) == {"E"}


def test_an_error_in_a_thread_is_a_line_without_its_message(
    lines: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", log.thread_fault)

    def fail() -> None:
        raise ValueError("/photos/minka.jpg")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()

    (line,) = lines
    assert json.loads(line)["kind"] == "ValueError"
    assert "minka" not in line
    assert "minka" not in capfd.readouterr().err


def test_of_many_faults_at_one_place_one_a_minute_is_written(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_faults", {})
    now = [1000.0]
    monkeypatch.setattr("serving.log.time.monotonic", lambda: now[0])

    def fail(kind: type[Exception]) -> None:
        try:
            raise kind
        except Exception:
            log.fault()

    for kind in (ValueError, ValueError, TypeError, ValueError):
        fail(kind)
    assert [json.loads(line)["kind"] for line in lines] == ["ValueError", "TypeError"]
    now[0] += log.SAME_FAULT
    fail(ValueError)

    assert json.loads(lines[-1])["unsaid"] == 2
