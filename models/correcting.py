"""Masks corrected by hand: strokes mark what belongs to the subject, and the mask follows.

A click or a short stroke is enough, as in "Deep Interactive Object Selection" (Xu, Price, Cohen,
Yang, Huang, CVPR 2016), but without a second network: each stroke moves the log odds of the mask
network's own probabilities, less and less with the geodesic distance from it, which is long across
the photo's edges and through other colours (Bai, Sapiro, "Geodesic matting", IJCV 2009). Between
two opposite strokes, the nearer one counts.

Everything is computed at the size of the network's answer, so it takes some milliseconds for a
photo of any size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.images import Photo
from models.segmentation import (
    REGION_SIDE,
    SMALLEST_OF_PHOTO,
    Segmentation,
    scale_numbers,
)

MOST_STROKES = 100  # of a photo
MOST_POINTS = 500  # of a stroke

# Lengths are in units, of which the longer side of the network's answer has 256. The constants were
# tuned on held-out pictures; see docs/correcting.md.
REACH = 30.0  # of the first stroke at least
LESS_REACH = 0.95  # times that for each further one, because errors get smaller
REACH_BY_DEPTH = 3.5  # times the depth of the error that is pointed at, at most
LONGEST_REACH = 60.0
SURE = 0.5  # of that depth: so far around a stroke all counts as meant, too
FALL = 2.0  # power of the distance in the exponential by which the influence falls
RIVALRY = 2.0  # power of how much nearer the opposite stroke is
MARGIN = 2.0  # log odds beyond the middle, at the stroke itself
LIMIT = 5.0  # of the log odds
EDGES = 1.0  # what a step costs more for the photo's mean contrast across it
STEEPEST = 3.0  # times the mean contrast; more costs no more
DOUBTS = 0.3  # what it costs more for each unit of log odds that differs from those at the stroke
COLORS = 1.0  # what it costs more for `COLOR_UNIT` of CIELAB's distance to the stroke's colour
COLOR_UNIT = 20.0
FARTHEST_COLOR = 3.0  # units; more costs no more

TRIES = 5  # of raising a stroke's amount until it is heeded
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
class _Influence:
    """How a stroke changes the mask: by `amount` log odds, falling with the distance from it.

    `distance` is infinite outside the `window`, which also contains `painted`.
    """

    stroke: Stroke
    window: tuple[slice, slice]
    distance: NDArray[np.float32]
    painted: NDArray[np.bool_]
    reach: float
    amount: float


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
        self._odds = _log_odds(found)
        self._cost = 1 + EDGES * np.minimum(_contrast(self._colors), STEEPEST)
        self._border = self._border_width()
        self._influences: list[_Influence] = []
        self._lock = Lock()

    def correct(self, strokes: Sequence[Stroke]) -> Segmentation:
        """The mask corrected by these strokes, one after another.

        Every place that the brush covered gets the class of its stroke; of several strokes, that of
        the last one. Far from all strokes nothing changes.
        """
        if not strokes:
            return self.found
        with self._lock:
            known = self._influences
            same = 0
            for influence, stroke in zip(known, strokes, strict=False):
                if influence.stroke != stroke:
                    break
                same += 1
            influences = known[:same]
            answer = self._answer(influences)
            for stroke in strokes[same:]:
                influences, answer = self._add(influences, stroke, answer)
            self._influences = influences
        return Segmentation(answer, self.found.classes, self.found.size)

    def _add(
        self, influences: list[_Influence], stroke: Stroke, answer: NDArray[np.float32]
    ) -> tuple[list[_Influence], NDArray[np.float32]]:
        """Add a stroke to others that led to an answer."""
        from scipy.ndimage import distance_transform_edt
        from skimage.graph import MCP_Geometric

        rows, columns = self._odds.shape
        inside = self._inside(answer)
        places = stroke.path(rows, columns)
        # How far the stroke is from the part that is already right: the error may be that thick.
        error = np.pad(inside != stroke.keep, 1)
        depths = distance_transform_edt(error)[1:-1, 1:-1][places[:, 0], places[:, 1]]
        depth = float(depths.max())
        reach = min(
            max(REACH_BY_DEPTH * depth, REACH * self._unit * LESS_REACH ** len(influences)),
            LONGEST_REACH * self._unit,
        )
        far = int(np.ceil(2 * reach)) + 2
        top, left = np.maximum(places.min(axis=0) - far, 0)
        bottom, right = places.max(axis=0) + far + 1
        window = slice(top, bottom), slice(left, right)
        painted = stroke.painted(rows, columns, self._photo_size)[window]
        meant = painted.copy()
        y, x = np.ogrid[: painted.shape[0], : painted.shape[1]]
        for (row, column), radius in zip(places - (top, left), SURE * depths, strict=True):
            if radius > 1:
                meant |= (y - row) ** 2 + (x - column) ** 2 <= radius**2

        colors = self._colors[window]
        usual = np.median(colors[meant], axis=0)
        difference = np.sqrt(((colors - usual) ** 2).sum(axis=2)) / COLOR_UNIT
        odds = self._odds[window]
        own = np.median(odds[painted])
        cost = self._cost[window] + COLORS * np.minimum(difference, FARTHEST_COLOR)
        cost += DOUBTS * np.abs(odds - own)
        distance, _ = MCP_Geometric(cost).find_costs(np.argwhere(meant))
        amount = min(max(self._resistance(stroke, influences, answer), 0.0) + MARGIN, 2 * LIMIT)
        new = _Influence(stroke, window, distance.astype(np.float32), painted, float(reach), amount)
        for _ in range(TRIES):
            if self._heeded(stroke, [*influences, new]):
                break
            new = replace(new, amount=1.5 * new.amount + 1)
        return [*influences, new], self._answer([*influences, new])

    def _resistance(
        self, stroke: Stroke, influences: Sequence[_Influence], answer: NDArray[np.float32]
    ) -> float:
        """Log odds of the opposite along a stroke, where they are largest.

        What is kept comes inside of the outline, and what is removed outside of its border.
        """
        places = tuple(stroke.path(*self._odds.shape).T)
        if stroke.keep:
            return float(-self._total(influences)[places].min())
        background = answer[places][:, self.found.classes.index("background")]
        background = np.clip(background, 1e-4, 1 - 1e-4)
        return float(np.log((1 - background) / background).max())

    def _heeded(self, stroke: Stroke, influences: Sequence[_Influence]) -> bool:
        """Whether the mask agrees with the stroke at all of its places."""
        places = tuple(stroke.path(*self._odds.shape).T)
        if stroke.keep:
            return bool((self._total(influences)[places] > 0).all())
        return not self._inside(self._follow(influences))[places].any()

    def _total(self, influences: Sequence[_Influence]) -> NDArray[np.float32]:
        """Log odds with everything that strokes add: `(rows, columns)` float32."""
        total = self._odds.copy()
        nearest = {}
        for keep in (True, False):
            nearest[keep] = np.full(total.shape, np.inf, np.float32)
            for each in influences:
                if each.stroke.keep == keep:
                    part = nearest[keep][each.window]
                    np.minimum(part, each.distance, out=part)
        for each in influences:
            rival = nearest[not each.stroke.keep][each.window]
            # 1 if the opposite stroke is at least as far, 0 where it was painted.
            with np.errstate(invalid="ignore"):
                share = np.where(
                    np.isinf(rival), 1, 2 * rival / (rival + each.distance + np.float32(1e-3))
                )
            fall = np.exp(-((each.distance / each.reach) ** FALL))
            fall *= np.minimum(share, 1) ** RIVALRY
            total[each.window] += (each.amount if each.stroke.keep else -each.amount) * fall
        return np.clip(total, -LIMIT, LIMIT, out=total)

    def _answer(self, influences: Sequence[_Influence]) -> NDArray[np.float32]:
        """The network's answer with these strokes, the same where they change nothing."""
        if not influences:
            return self.found.answer
        answer = self._follow(influences)
        for each in influences:
            answer[each.window][each.painted] = self._classes(
                np.array([np.inf if each.stroke.keep else -np.inf])
            )
        return answer

    def _follow(self, influences: Sequence[_Influence]) -> NDArray[np.float32]:
        """The answer as it follows the strokes, without the painted places."""
        inside = self._total(influences) > 0
        changed = inside != (self._odds > 0)
        answer = self.found.answer.copy()
        if changed.any():
            # A new outline has no border drawn by the network, so it gets one of the usual width.
            signed = np.where(inside, _depth(inside) - 0.5, 0.5 - _depth(~inside))
            near = _depth(~changed) <= self._border
            answer[near] = self._classes(signed[near])
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

    def _inside(self, answer: NDArray[np.float32]) -> NDArray[np.bool_]:
        """The part of an answer that counts as the subject, including its border."""
        return answer.argmax(axis=2) != self.found.classes.index("background")

    def _border_width(self) -> float:
        """How wide the network draws the border, in places of its answer."""
        if "border" not in self.found.classes:
            return NARROWEST * self._unit
        border = self.found.answer.argmax(axis=2) == self.found.classes.index("border")
        inside = self._odds > 0
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
    was = before.resized(height, width).foreground() > 0.5
    now = after.resized(height, width).foreground() > 0.5
    added, removed = now & ~was, was & ~now
    areas_before = np.bincount(regions.ravel(), minlength=1)
    corrected = np.where(removed, 0, regions).astype(np.int32)

    scale = min(REGION_SIDE / max(height, width), 1.0)
    rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
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
    """Intersection over union of two masks of a photo, the border as the subject's; 1 of none."""
    background = one.classes.index("background") + 1
    inside, also = one.mask != background, other.mask != background
    union = np.count_nonzero(inside | also)
    return np.count_nonzero(inside & also) / union if union else 1.0


def _log_odds(found: Segmentation) -> NDArray[np.float32]:
    """How certainly each place in the answer belongs to the subject; the border counts half."""
    share: NDArray[np.floating] = found.answer[:, :, found.classes.index(found.subject)]
    if "border" in found.classes:
        share = share + found.answer[:, :, found.classes.index("border")] / 2
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.clip(np.log(share / (1 - share)), -LIMIT, LIMIT).astype(np.float32)


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
