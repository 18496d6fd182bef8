"""Results in memory, limited in bytes; each is computed once, however many threads need it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from models import breeds
from models.cards import Label

Result = TypeVar("Result")

PLAIN = frozenset({bool, float, int, str, type(None)})
# Parts of models, which their answers refer to: a thousand classes, which no answer frees.
OF_MODELS = (breeds.Others, Label)


class Memory:
    """Results by key. The least recently used ones are dropped when there are more than fit.

    A result is computed in the first thread that needs it; other threads that need the same one
    wait for it, and nobody waits for anything else.
    """

    def __init__(self, room: int) -> None:
        """Keep at most `room` bytes of arrays, but always the most recently used result."""
        self._room = room
        self._lock = Lock()  # held only for bookkeeping, never while something is computed
        self._results: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}  # bytes of the results in memory

    @property
    def size(self) -> int:
        """Bytes of the results."""
        with self._lock:
            return sum(self._sizes.values())

    def get(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """The result with this key, computed if necessary; raises what `compute` raises.

        An error reaches all threads that wait for the result, and is then forgotten.
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
        """Record that a result was used, and drop others if there is no room for all."""
        # Measured each time, because parts of a result may be computed only when needed.
        size = bytes_of(future.result())
        with self._lock:
            if self._results.get(key) is not future:
                return  # dropped meanwhile
            self._results.move_to_end(key)
            self._sizes[key] = size
            total = sum(self._sizes.values())
            for old in [each for each in self._results if each in self._sizes and each != key]:
                if total <= self._room:
                    break
                total -= self._sizes.pop(old)
                del self._results[old]


def bytes_of(result: object) -> int:
    """Bytes of the NumPy arrays in a result; shared arrays count once, those of models not."""
    found: dict[int, int] = {}

    def look(value: object) -> None:
        if type(value) in PLAIN or isinstance(value, OF_MODELS):
            return
        if isinstance(value, np.ndarray):
            owner = value if value.base is None else value.base
            found[id(owner)] = getattr(owner, "nbytes", value.nbytes)
        elif isinstance(value, dict):
            for each in value.values():
                look(each)
        elif isinstance(value, list | tuple):
            for each in value:
                look(each)
        elif hasattr(value, "__dict__"):
            look(vars(value))

    look(result)
    return sum(found.values())
