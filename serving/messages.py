"""The server's own messages to visitors: a key for each reason; `ui/texts` has the sentences."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from starlette.types import Scope

KEYS = frozenset(
    {
        "headers",
        "not_http",
        "odd",
        "odd_event",
        "connections",
        "not_found",
        "closing",
        "bytes",
        "disk",
        "open",
        "rate",
        "queue",
        "waiting",
        "slow_body",
        "size",
        "form",
        "files",
        "file_size",
        "fault",
        "failed",
        "no_room",
    }
)


@dataclass
class Refused(Exception):  # noqa: N818 -- it is the visitor who is refused
    """A refused request: one of `KEYS`, and values for the placeholders of its sentence."""

    status: int
    reason: str
    retry_after: float = 0
    values: Mapping[str, str | int] = field(default_factory=dict)


# Gives the sentence for a key, with values for its placeholders, in the language that a request
# asks for by its ASGI scope; English for an empty scope.
Translate: TypeAlias = Callable[[Scope, str, Mapping[str, str | int]], str]
