"""Results are computed once, wait only for themselves, and are limited in bytes."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models import breeds
from models.cards import Label, OtherClass, SecondHead
from ui.memory import Memory, bytes_of


def test_a_result_is_computed_once_for_all_who_ask_at_once() -> None:
    memory = Memory(1000)
    asked = []
    all_ask = threading.Barrier(8)

    def slow() -> object:
        asked.append(1)
        threading.Event().wait(0.05)
        return object()

    def ask(_: int) -> object:
        all_ask.wait()
        return memory.get("key", slow)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))

    assert len(asked) == 1
    assert all(answer is answers[0] for answer in answers)


def test_nobody_waits_for_another_key() -> None:
    memory = Memory(1000)
    done = threading.Event()

    def never_alone() -> bool:
        return done.wait(60)

    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(memory.get, "slow", never_alone)
        assert memory.get("quick", lambda: 7) == 7
        assert not slow.done()
        done.set()
        assert slow.result()


def test_an_error_reaches_all_who_wait_and_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(1000)
    waits = threading.Semaphore(0)
    tries = []

    class Awaited(Future[Any]):
        def result(self, timeout: float | None = None) -> object:
            waits.release()
            return super().result(timeout)

    monkeypatch.setattr("ui.memory.Future", Awaited)

    def fail() -> None:
        tries.append(1)
        for _ in range(3):  # until all others ask for the result
            assert waits.acquire(timeout=60)
        raise ValueError("damaged")

    def ask(_: int) -> BaseException | None:
        try:
            memory.get("key", fail)
        except ValueError as error:
            return error
        return None

    with ThreadPoolExecutor(4) as threads:
        errors = list(threads.map(ask, range(4)))

    assert [str(error) for error in errors] == ["damaged"] * 4
    assert len(tries) == 1
    assert memory.get("key", lambda: 7) == 7


def pixels(count: int) -> NDArray[np.uint8]:
    return np.zeros(count, np.uint8)


def test_the_least_recently_used_result_goes_first() -> None:
    memory = Memory(100)
    computed = []

    def get(key: int) -> None:
        def compute() -> NDArray[np.uint8]:
            computed.append(key)
            return pixels(key)

        memory.get(key, compute)
        assert memory.size <= max(100, key)

    for key in (30, 40, 30, 50, 30, 40, 500, 500, 30):
        get(key)

    # 50 replaced 40, 40 replaced 50, and 500 replaced everything as long as it was the last.
    assert computed == [30, 40, 50, 40, 500, 30]


def test_parts_that_are_computed_later_count_too() -> None:
    class Growing:
        def __init__(self) -> None:
            self.first = pixels(10)
            self.later: NDArray[np.uint8] | None = None

    memory = Memory(100)
    result = memory.get("growing", Growing)
    assert memory.size == 10

    result.later = pixels(70)
    memory.get("growing", Growing)
    assert memory.size == 80

    memory.get("other", lambda: pixels(30))
    assert memory.size == 30  # there was no room for both


@dataclass(frozen=True)
class Parts:
    whole: NDArray[np.uint8]
    rows: list[NDArray[np.uint8]]
    names: dict[str, object]


def test_an_array_that_several_parts_share_counts_once() -> None:
    whole = pixels(60).reshape(6, 10)

    assert bytes_of(whole) == 60
    assert bytes_of(Parts(whole, [whole[1:], whole[:2, 3:]], {"again": whole, "text": "a"})) == 60
    assert bytes_of(Parts(whole, [pixels(5)], {"numbers": (pixels(2), 1.5)})) == 67
    assert bytes_of(None) == bytes_of("text") == bytes_of(3) == 0


def test_what_an_answer_shares_with_its_model_does_not_count() -> None:
    classes = (OtherClass("cup", "thing"), OtherClass("tiger", "other animal"))
    others = breeds.Others(SecondHead(classes, 1.0, {}))
    probabilities, logits = np.ones(1, np.float32), np.zeros(2, np.float32)
    labels = (Label("Beagle", "dog"),)
    answer = breeds.Classification(probabilities, labels, None, logits, others)

    assert others.things.nbytes
    assert bytes_of([answer, answer]) == probabilities.nbytes + logits.nbytes


def test_with_no_room_only_the_last_result_is_kept() -> None:
    memory = Memory(0)

    assert memory.get("a", lambda: pixels(9)).size == memory.get("b", lambda: pixels(5)).size + 4
    assert memory.size == 5


@pytest.mark.parametrize("visitors", [2, 50])
def test_many_threads_get_their_own_results(visitors: int) -> None:
    memory = Memory(100)
    generator = np.random.default_rng(0)

    def visit(keys: list[int]) -> bool:
        return all(memory.get(key, partial(pixels, key)).size == key for key in keys)

    with ThreadPoolExecutor(8) as threads:
        orders = [generator.integers(1, 60, 200).tolist() for _ in range(visitors)]
        assert all(threads.map(visit, orders))
    assert memory.size <= 100
