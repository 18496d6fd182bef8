"""A property that is computed on first use."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")


class lazy(Generic[Value]):  # noqa: N801 -- used as a decorator, like `property`
    """`functools.cached_property`, but without a lock.

    Before Python 3.12, `cached_property` has one lock for all objects of a class, so one photo's
    mask would wait for another's. Here, threads that use one object at the same moment may compute
    the value twice.

    Examples
    --------
    >>> class Square:
    ...     side = 3
    ...
    ...     @lazy
    ...     def area(self) -> int:
    ...         return self.side**2
    >>> Square().area
    9
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "lazy[Value]": ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...

    def __get__(self, instance: object | None, owner: type) -> "lazy[Value] | Value":
        if instance is None:
            return self
        # From now on the attribute is found in the object, and this method is not called again.
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
