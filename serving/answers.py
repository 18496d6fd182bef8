"""Answers that wait or are computed, and what the queue asks about them."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True, eq=False)
class Answer:
    """A pending answer: an event of Gradio's queue, as the rest of the server sees it.

    Attributes
    ----------
    id
        The event's.
    client
        Who asked.
    session
        The page or the call that it is for.
    function
        Name of the function that computes it.
    group
        The group of functions with which it shares workers.
    scope
        The request's ASGI scope.
    entered
        When it was requested, by `time.monotonic`.
    files
        Paths of the files that it is about.
    """

    id: str
    client: str
    session: str
    function: str
    group: str
    scope: Any
    entered: float
    files: frozenset[str] = frozenset()


Outcome = Literal["answered", "left", "refused", "odd", "failed"]


class Rules(Protocol):
    """Who is admitted, whose turn it is, and what is recorded about each answer."""

    def place(self, client: str, session: str | None) -> AbstractContextManager[None]:
        """A place for an answer that enters in this context; an error if there is none."""

    def entered(self, answer: Answer) -> None:
        """An answer has entered the queue."""

    def choose(self, waiting: list[Answer], running: list[Answer]) -> Answer | None:
        """Whose turn it is, or nobody's."""

    def estimate(self, waiting: list[Answer], running: list[Answer]) -> list[tuple[Answer, float]]:
        """The waiting answers in the order of their turns, with the seconds until each."""

    def started(self, answer: Answer) -> None:
        """The computation of an answer begins."""

    def progressed(self, answer: Answer, files: set[str]) -> None:
        """A part of an answer is ready, with paths of files."""

    def ended(self, answer: Answer, outcome: Outcome, files: set[str]) -> str | None:
        """An answer has ended, with paths of files; return a sentence to show instead, or None."""
