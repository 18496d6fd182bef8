"""The pixels of a photo that belong to one object, stored as runs down its columns.

The mask of a camera's photo has twelve million pixels, but runs in only some thousand columns. A
region's area, its box, or a small picture of it are computed from the runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.lazy import lazy
from models.turning import Turn, turn_array

Box = tuple[int, int, int, int]

HALF = 127  # of 255: pixels above it belong to a region


@dataclass(frozen=True)
class Region:
    """The pixels of one object in a photo, at least one.

    Pixels are numbered column by column: pixel `(row, column)` is number `column * height + row`.

    Attributes
    ----------
    starts, stops
        `(n,)` int64, rising: the first pixel of each run and the one after its last. A run is in
        one column, and runs do not overlap.
    shape
        Height and width of the photo.

    Examples
    --------
    >>> region = Region.of_mask(np.array([[False, True], [True, True]]))
    >>> region.area, region.box, region.starts.tolist(), region.stops.tolist()
    (3, (0, 0, 2, 2), [1, 2], [2, 4])
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def of_mask(cls, mask: NDArray[np.bool_]) -> "Region":
        """The region of a `(height, width)` bool mask."""
        height, width = mask.shape
        columns, places = _changes(mask.T)
        flat = columns * height + places
        return cls(flat[::2], flat[1::2], (height, width))

    @lazy
    def area(self) -> int:
        """The number of its pixels."""
        return int((self.stops - self.starts).sum())

    @property
    def share(self) -> float:
        """Share of the photo that it covers, in [0, 1]."""
        return self.area / (self.shape[0] * self.shape[1])

    @lazy
    def box(self) -> Box:
        """The smallest `(left, top, right, bottom)` around it, right and bottom exclusive."""
        columns, tops, bottoms = self._runs
        return int(columns[0]), int(tops.min()), int(columns[-1]) + 1, int(bottoms.max())

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`(height, width)` bool at the photo's size."""
        return self._pixels.reshape(self.shape, order="F")

    @property
    def _pixels(self) -> NDArray[np.bool_]:
        """The mask, column by column."""
        edges = np.stack([self.starts, self.stops], axis=1).ravel()
        lengths = np.diff(edges, prepend=0, append=self.shape[0] * self.shape[1])
        return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)

    @property
    def _runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Column, first row, and the row after the last of each run."""
        columns, tops = np.divmod(self.starts, self.shape[0])
        return columns, tops, self.stops - columns * self.shape[0]

    def sampled(self, box: Box, height: int, width: int) -> "Region":
        """A part at another size; each pixel takes the nearest one of the photo.

        Parameters
        ----------
        box
            `(left, top, right, bottom)` of the part in pixels of the photo.
        height, width
            Size of the answer, which may be empty.
        """
        left, top, right, bottom = box
        across = _nearest(left, right, width)
        down = _nearest(top, bottom, height)
        columns, tops, bottoms = self._runs
        firsts, ends = (np.searchsorted(columns, across, side) for side in ("left", "right"))
        counts = ends - firsts
        # One entry for each run of each sampled column.
        start = np.repeat(np.arange(width) * height, counts)
        run = np.arange(counts.sum()) + np.repeat(firsts - np.cumsum(counts) + counts, counts)
        starts, stops = (start + np.searchsorted(down, edges[run]) for edges in (tops, bottoms))
        some = stops > starts  # otherwise it falls between two of the rows
        return Region(starts[some], stops[some], (height, width))

    def turned(self, turn: Turn) -> "Region":
        """The same pixels after the photo was turned."""
        return Region.of_mask(turn_array(self.mask, turn)) if turn else self

    def joined(self, other: "Region") -> "Region":
        """This region joined with another, disjoint one."""
        order = np.argsort(np.concatenate([self.starts, other.starts]), kind="stable")
        starts, stops = (
            np.concatenate(ends)[order]
            for ends in ((self.starts, other.starts), (self.stops, other.stops))
        )
        return Region(starts, stops, self.shape)


def numbered(regions: Sequence[Region], height: int, width: int) -> NDArray[np.uint8]:
    """A picture of regions that do not overlap: `(height, width)` uint8, 0 and 1 to n in order."""
    numbers = np.zeros(height * width, np.uint8)
    for number, region in enumerate(regions, start=1):
        rows, columns = region.shape
        sampled = region.sampled((0, 0, columns, rows), height, width)
        numbers += sampled._pixels.view(np.uint8) * np.uint8(number)
    # OpenCV takes a tenth of NumPy's time.
    return np.asarray(cv2.transpose(numbers.reshape(width, height)), np.uint8)


def of_numbers(numbers: NDArray[np.integer]) -> list[Region]:
    """The regions of a label image, `(height, width)` of 0 and 1 to n."""
    return [Region.of_mask(numbers == number) for number in range(1, int(numbers.max()) + 1)]


def claimed(
    claims: Sequence[tuple[Box, NDArray[np.uint8]]], height: int, width: int
) -> list[Region | None]:
    """Divide a photo's pixels among several claims, each given as a small picture.

    Each claim is enlarged bilinearly to its window. A pixel goes to the strongest claim above
    `HALF`; of equal ones, to the first. The enlarged claims are not drawn: along a column, a claim
    is piecewise linear, and crosses `HALF` where a run begins or ends.

    Parameters
    ----------
    claims
        The window `(left, top, right, bottom)` of each in pixels of the photo, and
        `(rows, columns)` uint8 of any size.
    height, width
        The photo's size.

    Returns
    -------
    The region of each claim; None if it got nothing.
    """
    planes = [_Plane(*claim, height) for claim in claims]
    runs = [plane.runs() for plane in planes]
    columns = _contested(runs, height)
    if columns.size:
        # Some pixels are claimed twice: in their columns the claims are drawn and compared.
        best = np.full((columns.size, height), HALF, np.uint8)
        winner = np.zeros((columns.size, height), np.int32)
        for number, plane in enumerate(planes, start=1):
            drawn = plane.drawn(columns)
            wins = drawn > best
            best[wins], winner[wins] = drawn[wins], number
        for number, (starts, stops) in enumerate(runs, start=1):
            kept = ~np.isin(starts // height, columns)
            column, place = _changes(winner == number)
            flat = columns[column] * height + place
            own = np.sort(np.concatenate([starts[kept], flat[::2]]))
            runs[number - 1] = own, np.sort(np.concatenate([stops[kept], flat[1::2]]))
    return [
        Region(starts, stops, (height, width)) if len(starts) else None for starts, stops in runs
    ]


def enlarged(regions: Sequence[Region], height: int, width: int) -> list[Region]:
    """Regions of a reduced photo, none of which overlap, at its full size, with smooth outlines."""
    found = []
    whole = (0, 0, width, height)
    claims = [(whole, region.mask.view(np.uint8) * np.uint8(255)) for region in regions]
    for region, large in zip(regions, claimed(claims, height, width), strict=True):
        rows, columns = region.shape
        found.append(large or region.sampled((0, 0, columns, rows), height, width))
    return found


class _Plane:
    """A claim that is enlarged horizontally, and vertically only where needed."""

    def __init__(self, window: Box, belonging: NDArray[np.uint8], height: int) -> None:
        left, top, right, bottom = window
        self._left, self._top, self._length, self._height = left, top, bottom - top, height
        image = Image.fromarray(belonging)
        # If it is reduced, each pixel is a mean of several.
        rows = min(image.height, self._length)
        self._image = image.resize((right - left, rows), Image.Resampling.BILINEAR)

    def runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Starts and stops of the pixels above `HALF`, as in `Region`."""
        values = np.ascontiguousarray(np.asarray(self._image).T)
        rows = values.shape[1]
        column, place = _changes(values > HALF)
        above, below = (np.clip(place + step, 0, rows - 1) for step in (-1, 0))
        before, after = (values[column, row].astype(np.float64) for row in (above, below))
        rise = after - before
        edge = (place == 0) | (place == rows)  # of the window, where nothing is interpolated
        way = np.divide(HALF + 0.5 - before, rise, out=np.zeros_like(rise), where=~edge)
        # Rows of the enlarged picture, placed so that both pictures have the same edges.
        row = (above + way + 0.5) * self._length / rows - 0.5
        start, stop = np.ceil(row), np.floor(row) + 1
        pixel = np.where(np.arange(len(row)) % 2 == 0, start, stop).astype(np.int64)
        pixel = np.where(edge, np.where(place == 0, 0, self._length), pixel)
        flat = (self._left + column) * self._height + self._top + pixel
        starts, stops = flat[::2], flat[1::2]
        some = stops > starts  # otherwise the run falls between two pixels
        return starts[some], stops[some]

    def drawn(self, columns: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Some columns of the photo: `(columns, height)` uint8, 0 outside the window."""
        within = (columns >= self._left) & (columns < self._left + self._image.width)
        drawn = np.zeros((len(columns), self._height), np.uint8)
        if within.any():
            part = Image.fromarray(np.asarray(self._image)[:, columns[within] - self._left])
            enlarged = part.resize((part.width, self._length), Image.Resampling.BILINEAR)
            drawn[within, self._top : self._top + self._length] = np.asarray(enlarged).T
        return drawn


def _contested(
    runs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], height: int
) -> NDArray[np.int64]:
    """The columns in which runs of several overlap, rising."""
    if len(runs) < 2:
        return np.zeros(0, np.int64)
    starts = np.concatenate([each[0] for each in runs])
    stops = np.concatenate([each[1] for each in runs])
    order = np.argsort(starts, kind="stable")
    starts, furthest = starts[order], np.maximum.accumulate(stops[order])
    return np.unique(starts[1:][starts[1:] < furthest[:-1]] // height)


def _changes(lines: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where runs of true values begin and end: the line, and the place in it, of each in turn."""
    ends = np.zeros((len(lines), 1), bool)
    padded = np.concatenate([ends, lines, ends], axis=1)
    line, place = np.nonzero(padded[:, 1:] != padded[:, :-1])
    return line, place


def _nearest(start: int, stop: int, count: int) -> NDArray[np.int64]:
    """The positions in `[start, stop)` on which `count` even steps fall."""
    places = start + (np.arange(count) + 0.5) * (stop - start) / count
    return places.astype(np.int64)
