"""The cut of each classic method as a small mark with its name, above the histogram."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.thresholding import MethodResult
from ui.histogram import Scale
from ui.texts import say

NARROWEST = 320  # pixels: width of the chart on a phone; wider charts only have more room
LETTER = 6.6  # pixels of a letter, roughly
ROW = 17  # pixels of a row of names
GAP = 4  # pixels around a name


@dataclass(frozen=True)
class Mark:
    """A name beside a line that leads down to the histogram.

    Attributes
    ----------
    name
        The displayed name.
    place
        Position of the line, from 0, left, to 1, right.
    row
        Row of the name, from 0, the lowest.
    before
        Whether the name is on the left of its line.
    """

    name: str
    place: float
    row: int = 0
    before: bool = False

    @property
    def span(self) -> tuple[float, float]:
        """Start and end of the name, in pixels of the narrowest chart."""
        x, length = NARROWEST * self.place, LETTER * len(self.name) + GAP
        return (x - length, x) if self.before else (x, x + length)

    @property
    def fits(self) -> bool:
        """Whether the name stays inside the chart."""
        left, right = self.span
        return left >= 0 and right <= NARROWEST

    def overlaps(self, other: "Mark") -> bool:
        """Whether two names overlap."""
        (left, right), (start, end) = self.span, other.span
        return self.row == other.row and left - GAP < end and start - GAP < right

    def crosses(self, other: "Mark") -> bool:
        """Whether the line of the upper one crosses the name of the lower one."""
        upper, lower = (self, other) if self.row > other.row else (other, self)
        left, right = lower.span
        return upper.row > lower.row and left - GAP < NARROWEST * upper.place < right + GAP


def arranged(places: Iterable[tuple[str, float]]) -> list[Mark]:
    """Arrange names without overlaps, with few crossed by a line, and as low as possible.

    Parameters
    ----------
    places
        The names, and the positions of their lines, from 0 to 1.
    """
    rising = sorted(places, key=lambda each: each[1])
    half = len(rising) // 2
    # Names extend outwards from the middle, so the outermost on each side come first.
    placed: list[Mark] = []
    for before, side in ((True, rising[:half]), (False, reversed(rising[half:]))):
        for name, place in side:
            placed.append(_best(name, place, before, placed))
    return placed


def _best(name: str, place: float, before: bool, placed: Sequence[Mark]) -> Mark:
    """The mark with its name on the preferred side if it fits there, otherwise on the other."""
    if not Mark(name, place, 0, before).fits:
        before = not before
    rows = range(max((mark.row for mark in placed), default=-1) + 2)
    free = [
        mark
        for mark in (Mark(name, place, row, before) for row in rows)
        if not any(mark.overlaps(other) for other in placed)
    ]
    return min(free, key=lambda mark: (sum(map(mark.crosses, placed)), mark.row))


def draw(results: Iterable[MethodResult], scale: Scale) -> str:
    """The methods' cuts as HTML, without the methods that found none."""
    marks = arranged(
        (say(f"method.{result.method}"), scale.place(result.cut) / scale.bars)
        for result in results
        if result.cut is not None and result.reason is None
    )
    if not marks:
        return ""
    rows = max(mark.row for mark in marks) + 1
    drawn = "".join(
        f'<span class="{"mark before" if mark.before else "mark"}" style="left: {mark.place:.2%}; '
        f'height: {(mark.row + 1) * ROW}px"><b>{html.escape(mark.name)}</b></span>'
        for mark in marks
    )
    # The list of all methods further down gives the same information to people who cannot see this.
    return f'<div class="marks" aria-hidden="true" style="height: {rows * ROW}px">{drawn}</div>'
