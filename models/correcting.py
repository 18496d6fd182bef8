"""Masks corrected by hand: strokes mark what belongs to the subject, and the mask follows.

A click or a short stroke is enough, as in "Deep Interactive Object Selection" (Xu, Price, Cohen,
Yang, Huang, CVPR 2016), but without a second network. A stroke points at a place where the mask is
wrong. For each other such place, a logistic model says how likely the stroke means it, too, from
geodesic distances (Bai, Sapiro, "Geodesic matting", IJCV 2009), colours, and the mask network's own
probabilities. `training.fit_clicks` fits the model.

Everything is computed at the size of the network's answer, so it takes a few milliseconds for a
photo of any size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.images import Photo
from models.scaling import reduced_size, scale_numbers
from models.segmentation import Segmentation
from models.watershed import REGION_SIDE, SMALLEST_OF_PHOTO

MOST_STROKES = 100  # of a photo
MOST_POINTS = 500  # of a stroke
UNPAINTED = -1

# Log odds that a stroke also means another place: a constant, and a weight for each unit of the
# evidence. Fitted on photos of the train part, as `training.fit_clicks` does.
LOG_ODDS = 4.28
WEIGHTS = {
    "network": 0.24,
    "likeness": 0.18,
    "way": 1.13,
    "costly way": -1.97,
    "elsewhere": -0.61,
    "depth": -0.91,
    "rival": 0.36,
    "outline": -0.81,
}

# Lengths are in units, of which the longer side of the network's answer has 256. Depths are those
# of the error that is pointed at: how far the stroke is from what was right already, because an
# error is seldom thicker than that.
SHALLOWEST = 1.5  # of depths; a smaller one counts as this
SURE = 0.6  # depths from a stroke within which everything counts as meant
LEAST_SURE = 2.5
FAR = 10.0  # depths from a stroke; nothing changes beyond
LEAST_FAR, MOST_FAR = 48.0, 128.0
AWAY = 3.0  # depths from a stroke, beyond which its surroundings end
STEEPEST = 3.0  # multiple of the photo's mean contrast, beyond which a step costs no more
DOUBTS = 0.3  # extra cost of a step for each unit of log odds between a place and the stroke
COLOR_UNIT = 20.0  # distance in CIELAB from the stroke's colour that adds 1 to a step's cost
FARTHEST_COLOR = 3.0  # of these units; a larger distance costs no more
LIMIT = 7.0  # of the network's log odds
COLOR_CELLS = (10, 14, 14)  # of CIELAB, in which colours are counted
COLOR_SPAN = 56.0  # of a and b, on either side of grey; a value beyond counts as this
SCARCE = 1e-5  # share of a colour that never occurs
FARTHEST_RIVAL = 3.0  # logarithm of how much nearer one of two opposite strokes is, at most
FARTHEST_OUTLINE = 6.0  # depths
LOWERED = 0.01  # by which a correction lowers the foreground where it reaches

NARROWEST, WIDEST = 3.0, 20.0  # units of a border, where the network draws one


@dataclass(frozen=True)
class Stroke:
    """What a visitor drew with one touch.

    Attributes
    ----------
    keep
        Whether it belongs to the subject, and not to the background.
    points
        `(x, y)` along it, in shares of the photo's width and height, so that they hold at any size;
        one of a click.
    radius
        Of the brush, as a share of the photo's longer side.

    Raises
    ------
    ValueError
        Where there are no points or too many, or one of them is outside the photo.
    """

    keep: bool
    points: tuple[tuple[float, float], ...]
    radius: float

    def __post_init__(self) -> None:
        if not 0 < len(self.points) <= MOST_POINTS:
            raise ValueError(f"A stroke has 1 to {MOST_POINTS} points.")
        if not all(0 <= share <= 1 for point in self.points for share in point):
            raise ValueError("A point of a stroke lies in the photo.")
        if not 0 <= self.radius <= 1:
            raise ValueError("A brush's radius is a share of the photo's longer side.")

    def painted(self, height: int, width: int, photo: tuple[int, int]) -> NDArray[np.bool_]:
        """The places that the brush covered, in a picture of a `photo` of another shape.

        Parameters
        ----------
        height, width
            Size of the picture, which may show the photo squashed.
        photo
            Height and width of the photo.

        Returns
        -------
        `(height, width)` bool; at least one place is true.
        """
        radius = self.radius * max(photo)
        down, across = radius * height / photo[0], radius * width / photo[1]
        places = self.path(height, width)
        painted = np.zeros((height, width), bool)
        painted[places[:, 0], places[:, 1]] = True
        if min(down, across) < 1:
            return painted
        rows, columns = np.ogrid[-int(down) : int(down) + 1, -int(across) : int(across) + 1]
        disc = (rows / down) ** 2 + (columns / across) ** 2 <= 1
        offsets = np.argwhere(disc) - (int(down), int(across))
        covered = (places[:, np.newaxis] + offsets).reshape(-1, 2)
        inside = ((covered >= 0) & (covered < (height, width))).all(axis=1)
        painted[covered[inside, 0], covered[inside, 1]] = True
        return painted

    def path(self, height: int, width: int) -> NDArray[np.intp]:
        """The places along the stroke, without gaps: `(places, 2)` rows and columns."""
        size = np.array([width, height], float)
        corners = np.array(self.points, float) * size
        walked = [corners[:1]]
        for start, end in pairwise(corners):
            steps = max(int(np.ceil(np.abs(end - start).max())), 1)
            walked.append(start + (end - start) * np.arange(1, steps + 1)[:, np.newaxis] / steps)
        places = np.minimum(np.concatenate(walked), size - 1).astype(np.intp)[:, ::-1]
        return np.unique(places, axis=0)


@dataclass(frozen=True)
class Evidence:
    """The evidence that a stroke also means other places.

    Attributes
    ----------
    window
        Of the network's answer: all places that the stroke may mean.
    wrong
        `(height, width)` bool, of the window: where the mask says the opposite of the stroke.
    sure
        Likewise: what is so near to the stroke that it means it.
    values
        `(height, width, len(WEIGHTS))` float32, in their order: the network's log odds for what the
        stroke says; the same, less those at the stroke; logarithms of the geodesic distance from
        the stroke in depths, by the photo's contrast alone and by colours and the network's opinion
        as well; how much more common the colour is among places far away where the mask says the
        opposite, than in the photo (logarithm); logarithm of the depth; how much nearer this stroke
        is than an opposite one (logarithm); distance to what was right already, in depths.
    """

    window: tuple[slice, slice]
    wrong: NDArray[np.bool_]
    sure: NDArray[np.bool_]
    values: NDArray[np.float32]

    @property
    def meant(self) -> NDArray[np.bool_]:
        """The places that the stroke changes: `(height, width)` bool."""
        log_odds = self.values @ np.array(list(WEIGHTS.values()), np.float32) + LOG_ODDS
        return self.wrong & (self.sure | (log_odds > 0))


@dataclass(frozen=True)
class _State:
    """The mask after a stroke.

    Attributes
    ----------
    inside
        `(rows, columns)` bool: the subject and its border.
    painted
        `(rows, columns)` int8: what the brush covered, 1 to keep and 0 to remove; else `UNPAINTED`.
    """

    stroke: Stroke
    inside: NDArray[np.bool_]
    painted: NDArray[np.int8]


def correctable(classes: Sequence[str]) -> bool:
    """Whether strokes can correct a mask of these classes: one subject, and its background."""
    return len(set(classes) - {"background", "border"}) == 1 and "background" in classes


class Corrector:
    """Corrects the mask of one photo, and caches the effect of all strokes before the last one.

    Parameters
    ----------
    found
        The mask model's answer, with `correctable` classes.
    photo
        `(height, width, 3)` uint8 RGB, at any size.
    """

    def __init__(self, found: Segmentation, photo: Photo) -> None:
        from skimage.color import rgb2lab

        rows, columns = found.answer.shape[:2]
        self.found = found
        self._unit = max(rows, columns) / REGION_SIDE
        self._photo_size = photo.shape[:2]
        small = Image.fromarray(photo).resize(
            (columns, rows), Image.Resampling.BILINEAR, reducing_gap=2.0
        )
        self._colors = rgb2lab(np.asarray(small)).astype(np.float32)
        self._cells = _color_cells(self._colors)
        self._cost = 1 + np.minimum(_contrast(self._colors), STEEPEST)
        background = np.clip(found.answer[:, :, found.classes.index("background")], 1e-3, 1 - 1e-3)
        self._odds = np.clip(np.log((1 - background) / background), -LIMIT, LIMIT)
        self._start = found.answer.argmax(axis=2) != found.classes.index("background")
        self._border = self._border_width()
        self._known: list[_State] = []
        self._lock = Lock()

    def correct(self, strokes: Sequence[Stroke]) -> Segmentation:
        """The mask corrected by these strokes, one after another.

        Every place that the brush covered gets the class of its stroke; of several strokes, that of
        the last one. Far from all strokes nothing changes.
        """
        if not strokes:
            return self.found
        with self._lock:
            known = []
            for state, stroke in zip(self._known, strokes, strict=False):
                if state.stroke != stroke:
                    break
                known.append(state)
            for number, stroke in enumerate(strokes[len(known) :], start=len(known)):
                known.append(self._follow(known[-1] if known else None, strokes[:number], stroke))
            self._known = known
        return Segmentation(self._answer(known[-1]), self.found.classes, self.found.size)

    def evidence(
        self, inside: NDArray[np.bool_], earlier: Sequence[Stroke], stroke: Stroke
    ) -> Evidence | None:
        """The evidence that a stroke means more than it covers; None if it covers no error.

        Parameters
        ----------
        inside
            `(rows, columns)` bool, of the size of the network's answer: the subject and its border,
            as the mask is before the stroke.
        earlier
            The strokes that led to it.
        """
        from skimage.graph import MCP_Geometric

        rows, columns = inside.shape
        unit = self._unit
        wrong = inside != stroke.keep
        places = stroke.path(rows, columns)
        # What is beyond the picture counts as right.
        depths = _depth(np.pad(wrong, 1))[1:-1, 1:-1][places[:, 0], places[:, 1]]
        if not depths.any():
            return None
        depth = max(float(depths.max()), SHALLOWEST * unit)
        far = int(np.clip(FAR * depth, LEAST_FAR * unit, MOST_FAR * unit))
        top, left = np.maximum(places.min(axis=0) - far, 0)
        bottom, right = places.max(axis=0) + far + 1
        window = slice(top, bottom), slice(left, right)

        sure = np.zeros_like(wrong[window])
        y, x = np.ogrid[: sure.shape[0], : sure.shape[1]]
        for (row, column), near in zip(places - (top, left), depths, strict=True):
            radius = max(SURE * near, LEAST_SURE * unit)
            sure |= (y - row) ** 2 + (x - column) ** 2 <= radius**2

        colors, odds = self._colors[window], self._odds[window]
        own = np.median(odds[sure])
        difference = np.sqrt(((colors - np.median(colors[sure], axis=0)) ** 2).sum(axis=2))
        cost = self._cost[window]
        costlier = cost + np.minimum(difference / COLOR_UNIT, FARTHEST_COLOR)
        costlier += DOUBTS * np.abs(odds - own)
        seeds = np.argwhere(sure)
        way, costly_way = (MCP_Geometric(each).find_costs(seeds)[0] for each in (cost, costlier))

        rival = np.full(sure.shape, FARTHEST_RIVAL)
        opposite = np.zeros_like(wrong)
        for each in earlier:
            if each.keep != stroke.keep:
                opposite[tuple(each.path(rows, columns).T)] = True
        if opposite[window].any():
            other, _ = MCP_Geometric(cost).find_costs(np.argwhere(opposite[window]))
            rival = np.log((other + unit) / (way + unit))

        away = wrong.copy()
        around = np.zeros_like(wrong)
        around[tuple(places.T)] = True
        away[window] &= _depth(~around[window]) > AWAY * depth
        elsewhere = np.log(self._commonness(away) / self._commonness(np.ones_like(wrong)))
        outline = _depth(wrong[window])
        sign = 1 if stroke.keep else -1
        values = {
            "network": sign * odds,
            "likeness": sign * (odds - own),
            "way": np.log1p(way / depth),
            "costly way": np.log1p(costly_way / depth),
            "elsewhere": elsewhere[self._cells[window]],
            "depth": np.full(sure.shape, np.log(depth / unit)),
            "rival": np.clip(rival, -FARTHEST_RIVAL, FARTHEST_RIVAL),
            "outline": np.minimum(outline / depth, FARTHEST_OUTLINE),
        }
        stacked = np.stack([values[name] for name in WEIGHTS], axis=-1).astype(np.float32)
        return Evidence(window, wrong[window], sure, stacked)

    def _follow(
        self, before: "_State | None", earlier: Sequence[Stroke], stroke: Stroke
    ) -> "_State":
        """What one more stroke makes of the mask."""
        inside = (before.inside if before else self._start).copy()
        painted = before.painted.copy() if before else np.full(inside.shape, UNPAINTED, np.int8)
        evidence = self.evidence(inside, earlier, stroke)
        if evidence is not None:
            inside[evidence.window][evidence.meant] = stroke.keep
        painted[stroke.painted(inside.shape[0], inside.shape[1], self._photo_size)] = stroke.keep
        inside[painted != UNPAINTED] = painted[painted != UNPAINTED] == 1
        return _State(stroke, inside, painted)

    def _commonness(self, where: NDArray[np.bool_]) -> NDArray[np.float32]:
        """How common each colour cell is there: `(cells,)` float32, blurred by a cell."""
        from scipy.ndimage import gaussian_filter

        counts = np.bincount(self._cells[where], minlength=int(np.prod(COLOR_CELLS)))
        shares = counts.reshape(COLOR_CELLS).astype(np.float32) / max(int(counts.sum()), 1)
        blurred = np.asarray(gaussian_filter(shares, 1.0), np.float32).ravel()
        return blurred + np.float32(SCARCE)

    def _answer(self, state: "_State") -> NDArray[np.float32]:
        """The network's answer for this mask, the same where it changes nothing."""
        inside = state.inside
        answer = self.found.answer.copy()
        changed = inside != self._start
        if changed.any():
            # A new outline has no border drawn by the network, so it gets one of the usual width,
            # within the mask.
            distance = np.where(inside, _depth(inside) - 0.5, 0.5 - _depth(~inside))
            if "border" in self.found.classes:
                distance -= self._border / 2
            near = _depth(~changed) <= self._border
            answer[near] = self._classes(distance[near])
        for keep, signed in ((1, np.inf), (0, -np.inf)):
            answer[state.painted == keep] = self._classes(np.array([signed]))
        return answer

    def _classes(self, signed: NDArray[np.floating]) -> NDArray[np.float32]:
        """Probabilities of the classes at signed distances from the outline: `(n, classes)`."""
        names = self.found.classes
        if "border" in names:
            # All border on the outline, and as much border as subject at its half width: so the
            # foreground rises evenly across it.
            subject, background = (
                np.clip(signed / self._border, 0, 1),
                np.clip(-signed / self._border, 0, 1),
            )
        else:
            subject = np.clip(signed + 0.5, 0, 1)
            background = 1 - subject
        values = {self.found.subject: subject, "background": background}
        values["border"] = 1 - subject - background
        return np.stack([values[name] for name in names], axis=-1).astype(np.float32)

    def _border_width(self) -> float:
        """How wide the network draws the border, in places of its answer."""
        if "border" not in self.found.classes:
            return NARROWEST * self._unit
        border = self.found.answer.argmax(axis=2) == self.found.classes.index("border")
        inside = self._start
        steps = np.count_nonzero(inside[1:] != inside[:-1])
        steps += np.count_nonzero(inside[:, 1:] != inside[:, :-1])
        # A slanted outline has more steps than its length: 4 / pi times as many on average.
        width = np.count_nonzero(border) / max(steps * np.pi / 4, 1)
        return float(np.clip(width, NARROWEST * self._unit, WIDEST * self._unit))


def correct_regions(
    regions: NDArray[np.integer], before: Segmentation, after: Segmentation
) -> NDArray[np.uint8]:
    """Apply a correction to pets that were found one by one.

    What the correction added goes to the nearest pet that it touches, or becomes a new one if it is
    large enough. A pet of which little is left is dropped.

    Parameters
    ----------
    regions
        `(height, width)`: 0 background, 1 to n the pets.
    before, after
        The photo's mask without and with the correction.

    Returns
    -------
    `(height, width)` uint8: 0 background, else 1 to n by falling area.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.measure import label

    height, width = regions.shape
    had, has = (each.resized(height, width).foreground() for each in (before, after))
    now = has > 0.5
    added = now & (had <= 0.5)
    # A closer look may have seen pet where the mask shows none: a correction removes that, too.
    removed = ~now & (had - has > LOWERED)
    areas_before = np.bincount(regions.ravel(), minlength=1)
    corrected = np.where(removed, 0, regions).astype(np.int32)

    rows, columns = reduced_size(height, width, REGION_SIDE)
    small = scale_numbers(corrected, rows, columns)
    small_added = scale_numbers(added.astype(np.uint8), rows, columns) > 0
    if small_added.any():
        number = len(areas_before)
        pieces = label((small > 0) | small_added, connectivity=2)
        for piece in np.unique(pieces[small_added]):
            here = pieces == piece
            if not (small[here] > 0).any():
                if np.count_nonzero(here) >= SMALLEST_OF_PHOTO * here.size:
                    small[here] = number
                    number += 1
                else:
                    small_added &= ~here
        if (small > 0).any():
            nearest = distance_transform_edt(
                small == 0, return_distances=False, return_indices=True
            )
            spread = scale_numbers(small[tuple(nearest)], height, width)
            lasting = scale_numbers(small_added.astype(np.uint8), height, width) > 0
            fresh = added & lasting & (corrected == 0)
            corrected[fresh] = spread[fresh]

    areas = np.bincount(corrected.ravel())
    areas[0] = 0
    for number, area in enumerate(areas[: len(areas_before)]):
        if area < min(areas_before[number] / 2, SMALLEST_OF_PHOTO * corrected.size):
            areas[number] = 0
    order = [index for index in np.argsort(-areas, kind="stable") if areas[index]]
    ranks = np.zeros(len(areas), np.uint8)
    ranks[order] = np.arange(1, len(order) + 1)
    return np.take(ranks, corrected, mode="clip")


def overlap(one: Segmentation, other: Segmentation) -> float:
    """IoU of two masks of a photo, whose border counts as the subject; 1 if both are empty."""
    background = one.classes.index("background") + 1
    inside, also = one.mask != background, other.mask != background
    union = np.count_nonzero(inside | also)
    return np.count_nonzero(inside & also) / union if union else 1.0


def _color_cells(colors: NDArray[np.float32]) -> NDArray[np.intp]:
    """The cell of CIELAB in which each colour is: `(height, width)`."""
    shares = colors / (100, 2 * COLOR_SPAN, 2 * COLOR_SPAN) + (0, 0.5, 0.5)
    cells = np.floor(shares * COLOR_CELLS).astype(np.intp)
    cells = np.clip(cells, 0, np.array(COLOR_CELLS) - 1)
    return np.ravel_multi_index(tuple(np.moveaxis(cells, -1, 0)), COLOR_CELLS)


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far each place in a mask is from the nearest one outside it, in the picture."""
    from scipy.ndimage import distance_transform_edt

    if mask.all():
        return np.full(mask.shape, np.inf)
    return np.asarray(distance_transform_edt(mask), np.float64)


def _contrast(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest difference to the four neighbours in colour, as a multiple of the mean one."""
    across = np.sqrt((np.diff(colors, axis=1) ** 2).sum(axis=2))
    down = np.sqrt((np.diff(colors, axis=0) ** 2).sum(axis=2))
    largest = np.zeros(colors.shape[:2], np.float32)
    largest[:, 1:] = across
    largest[:, :-1] = np.maximum(largest[:, :-1], across)
    largest[1:] = np.maximum(largest[1:], down)
    largest[:-1] = np.maximum(largest[:-1], down)
    steps = across.size + down.size
    mean = (across.sum() + down.sum()) / steps if steps else 0.0
    return largest / np.float32(mean + 1e-3)
