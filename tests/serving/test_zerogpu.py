"""A Space on ZeroGPU hardware, with a stand-in for the Hub's package `spaces`."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from serving import zerogpu


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For how many seconds each marked function requests a GPU."""
    durations: list[int] = []

    def mark(duration: int) -> Callable[[Callable[[], None]], Callable[[], None]]:
        durations.append(duration)
        return lambda function: function

    spaces = ModuleType("spaces")
    monkeypatch.setattr(spaces, "GPU", mark, raising=False)
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    return durations


def test_a_zerogpu_space_has_a_function_for_the_hub_to_find(
    marked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    zerogpu.declare()
    assert len(marked) == 1
    assert marked[0] <= 5


@pytest.mark.parametrize("value", [None, "", "false", "0"])
def test_elsewhere_nothing_is_marked(
    value: str | None, marked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    if value is not None:
        monkeypatch.setenv("SPACES_ZERO_GPU", value)
    zerogpu.declare()
    assert marked == []
