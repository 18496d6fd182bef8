"""A small crowd and a short soak, as the large ones in SECURITY.md are measured."""

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bench import crowd, odd_requests, soak, visitors
from bench.page_visitor import PageVisitor, PhotoEvent, RefusedError
from ui import page

VISITORS = 10
REQUESTS = 150


@pytest.fixture(scope="module")
def build() -> Iterator[crowd.Build]:
    """The app, served."""
    with crowd.served(visitors.ROOT) as served:
        yield served


@pytest.mark.parametrize("event", crowd.VISITORS)
def test_each_of_a_crowd_is_answered(build: crowd.Build, event: crowd.Event) -> None:
    own = replace(build, times=[], outcomes=type(build.outcomes)())
    with crowd.VISITORS[event](own.port, VISITORS) as everyone:
        everyone = [crowd.mixed(ask, own.port, number) for number, ask in enumerate(everyone)]
        turns = itertools.count()
        while len(own.times) < VISITORS:  # once is enough, unless the machine is very slow
            own.ask(everyone, turns, seconds=2)
            assert set(own.outcomes) <= {"answered"}

    assert set(own.outcomes) == {"answered"}
    assert len(own.times) == own.outcomes["answered"] >= VISITORS
    figures = own.figures()
    assert figures["faults"] == 0
    assert figures["answers_a_second"] == pytest.approx(len(own.times) / own.seconds, abs=0.01)
    assert 100 < figures["peak_megabytes"] < 2000
    assert figures["visitors_processor_ms_an_answer"] > 0
    assert figures["server_processor_ms_an_answer"] > 0


def test_a_visitor_of_the_page_gets_the_picture_with_the_pets(build: crowd.Build) -> None:
    visitor = PageVisitor(build.port, crowd.address(1), PhotoEvent.of(build.port))
    with Image.open(io.BytesIO(visitor.show(crowd.unseen(1)))) as picture:
        assert picture.size == (1000, 750)
    with pytest.raises(RefusedError, match="refused 4"):
        visitor.show(b"x" * 30_000_000)
    visitor.close()


def test_the_event_is_that_of_the_page() -> None:
    blocks = page.build()

    found = PhotoEvent.find(blocks.get_config_file())

    assert blocks.fns[found.function].name == "show_pets"
    assert (found.trigger, "change") in blocks.fns[found.function].targets
    picture = blocks.fns[found.function].outputs[found.picture]
    assert picture.elem_id == "pets-picture"


def test_no_two_visits_send_the_same_file() -> None:
    sent = [crowd.unseen(turn) for turn in range(30)]

    assert len(set(sent)) == 30
    for content in sent[:9]:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            assert picture.size == crowd.SIZE


def test_another_checkout_is_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(crowd, "ROUNDS", 2)
    monkeypatch.setattr(crowd, "WARM_UP", 1)
    original = crowd.Build.ask

    def ask(
        build: crowd.Build, everyone: Sequence[crowd.Ask], turns: Iterator[int], seconds: float
    ) -> None:
        asked.append(build.port)
        original(build, everyone, turns, seconds)

    monkeypatch.setattr(crowd.Build, "ask", ask)

    figures = crowd.measure("page", minutes=2 / 60, clients=2, against=visitors.ROOT)

    one, other, *_ = asked
    assert one != other
    assert asked == [one, other, other, one]
    for each in (figures, figures["against"]):
        assert set(each["outcomes"]) == {"answered"}
        assert each["answers_a_second"] > 0


def test_many_requests_leak_neither_memory_nor_open_files(
    build: crowd.Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, log = build.port, build.log
    monkeypatch.setattr(soak, "EVERY", 5)

    looks, outcomes = soak.soak(port, REQUESTS, minutes=5)

    odd = outcomes["odd, answered as it should be"]
    assert odd == REQUESTS // odd_requests.EVERY
    assert outcomes["complete"] + outcomes["error"] + odd == sum(outcomes.values()) == REQUESTS
    assert outcomes["complete"] > 0.8 * 0.9 * REQUESTS
    assert outcomes["error"] > 0  # the damaged pictures
    found = soak.growth(looks)
    assert found["resident_growth"] < 0.1
    assert found["open_files_at_the_end"] < found["open_files_then"] + 5
    assert '"event": "fault"' not in log.read_text()


def test_an_app_that_does_not_start_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("raise SystemExit('Port 1 is taken.')")

    with (
        pytest.raises(SystemExit, match=r"does not start: Port 1 is taken\.$"),
        visitors.served(tmp_path / "log", tmp_path),
    ):
        pass


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
