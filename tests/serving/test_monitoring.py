import json

import pytest

from serving import metrics
from tests.raw_http import Served, everything, file_data
from ui.texts import TEXTS
from ui.uploads import Upload


@pytest.fixture
def samples() -> None:
    for each in (metrics.REQUESTS, metrics.RUN_SECONDS, metrics.DECODE_FAILURES):
        each.clear()


@pytest.mark.usefixtures("samples")
def test_metrics_are_in_prometheus_format() -> None:
    metrics.REQUESTS.labels("page", "200").inc()
    metrics.REQUESTS.labels("page", "200").inc()
    for seconds in (0.003, 0.3, 100):
        metrics.RUN_SECONDS.labels("breed").observe(seconds)

    lines = metrics.expose({"petscope_queue_length": 3}).decode().splitlines()

    assert 'petscope_requests_total{route="page",status="200"} 2.0' in lines
    buckets = [line for line in lines if line.startswith("petscope_run_seconds_bucket")]
    assert buckets[0] == 'petscope_run_seconds_bucket{function="breed",le="0.01"} 1.0'
    assert buckets[-2:] == [
        'petscope_run_seconds_bucket{function="breed",le="60.0"} 2.0',
        'petscope_run_seconds_bucket{function="breed",le="+Inf"} 3.0',
    ]
    assert 'petscope_run_seconds_count{function="breed"} 3.0' in lines
    assert 'petscope_run_seconds_sum{function="breed"} 100.303' in lines
    assert "petscope_queue_length 3.0" in lines
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named))


def test_metrics_are_for_the_machine_s_own_network(served: Served) -> None:
    assert served.ask("GET", "/metrics").status == 404  # a visitor who comes through the proxy
    inside = served.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = everything(inside).decode()
    assert " 200 " in text.split("\r\n")[0]
    for name in ("resident_bytes", "open_files", "queue_length", "stored_bytes"):
        assert f"\npetscope_{name} " in text


@pytest.mark.usefixtures("samples")
def test_pictures_that_cannot_be_used_are_counted_by_their_reason(served: Served) -> None:
    (path,) = json.loads(served.upload(b"no picture").body)

    assert served.call("breed", file_data(path))[0] == "error"

    lines = metrics.expose({}).decode().splitlines()
    assert 'petscope_decode_failures_total{reason="photo_unknown_format"} 1.0' in lines


def test_health_tells_which_models_answer(served: Served) -> None:
    for path in ("/healthz", "/gradio_api/healthz"):  # Node passes on only the second
        facts = json.loads(served.ask("GET", path).body)
        assert (facts["alive"], facts["ready"], facts["device"]) == (True, True, "CPU")
        assert {each["name"] for each in facts["models"]} == {"pet-fine", "breeds", "finder"}
        assert all(len(each["sha256"]) == 64 for each in facts["models"])


def test_an_error_in_the_network_is_one_sentence_and_the_next_visitor_is_served(
    served: Served, uploaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"CUDA failed on {uploaded}")

    with monkeypatch.context() as patch:
        patch.setattr(Upload, "ranking", property(broken))
        kind, said = served.call("breed", file_data(uploaded))

    assert (kind, said["error"]) == ("error", TEXTS["en"]["server.failed"])
    assert served.call("breed", file_data(uploaded))[0] == "complete"
    fault = next(line for line in reversed(served.lines) if line["event"] == "fault")
    assert fault["kind"] == "RuntimeError"
    assert any("programs.py" in frame for frame in fault["at"])
    assert uploaded not in json.dumps(served.lines)


def test_a_full_disk_is_reported_in_one_sentence(
    served: Served, uploaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("PIL.Image.Image.save", full)
        patch.setattr(served.running.store, "fits", lambda more=0: False)
        kind, said = served.call("cut_out", file_data(uploaded))

    assert (kind, said["error"]) == ("error", TEXTS["en"]["server.no_room"])
    assert served.call("cut_out", file_data(uploaded))[0] == "complete"
