"""Results in memory: each computed once, however many ask for it, and bounded together by bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")


class Memory:
    """Results by key. Those that were used longest ago go when there are more than fit.

    A result is computed in the thread that asks for it first; others who ask for the same
    meanwhile wait for it, and nobody waits for anything else.
    """

    def __init__(self, room: int) -> None:
        """Keep `room` bytes of arrays at most, but always the result that was used last."""
        self._room = room
        self._lock = Lock()  # held for bookkeeping alone, never while something is computed
        self._results: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}  # bytes of the results that are there

    @property
    def size(self) -> int:
        """Bytes that the results take."""
        with self._lock:
            return sum(self._sizes.values())

    def get(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """The result with this key, computed if it is not there; what `compute` raises is raised.

        An error reaches all who wait for the result, and is then forgotten.
        """
        with self._lock:
            first = key not in self._results
            future: Future[Result] = self._results.setdefault(key, Future())
        if first:
            try:
                future.set_result(compute())
            except BaseException as error:
                with self._lock:
                    del self._results[key]
                future.set_exception(error)
                raise
        result = future.result()
        self._used(key, future)
        return result

    def _used(self, key: Hashable, future: Future[Any]) -> None:
        """Note that a result was used, and forget others where there is no room for all."""
        # Measured each time: parts of a result may be computed only when they are asked for.
        size = bytes_of(future.result())
        with self._lock:
            if self._results.get(key) is not future:
                return  # forgotten meanwhile
            self._results.move_to_end(key)
            self._sizes[key] = size
            total = sum(self._sizes.values())
            for old in [each for each in self._results if each in self._sizes and each != key]:
                if total <= self._room:
                    break
                total -= self._sizes.pop(old)
                del self._results[old]


def bytes_of(result: object) -> int:
    """Bytes of the NumPy arrays in a result; what several parts of it share counts once."""
    found: dict[int, int] = {}

    def look(value: object) -> None:
        if isinstance(value, np.ndarray):
            owner = value if value.base is None else value.base
            found[id(owner)] = getattr(owner, "nbytes", value.nbytes)
        elif isinstance(value, Mapping):
            for each in value.values():
                look(each)
        elif isinstance(value, list | tuple):
            for each in value:
                look(each)
        elif hasattr(value, "__dict__"):
            look(vars(value))

    look(result)
    return sum(found.values())
