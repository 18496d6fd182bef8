"""Scenes of several pets with known masks, made from pictures of one pet each.

Pets are cut out along their trimaps and pasted onto other backgrounds, one over the other: Ghiasi
et al., "Simple Copy-Paste is a strong data augmentation method for instance segmentation", CVPR
2021. Their edges are soft, and their colours are shifted towards the background's.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from models.images import Photo, open_photo
from training import pets

PET, BACKGROUND, BORDER = (value - 1 for value in (pets.PET, pets.BACKGROUND, pets.BORDER))

SIDES = (256, 384)  # pixels: least and largest side of a scene
SHARES = (0.03, 0.6)  # share of the scene that one pet covers, at least and at most
MOST_COVERED = 0.5  # largest share of a pet that others may hide
ALL_TOGETHER = 0.9  # largest share of the scene
ATTEMPTS = 12  # places and sizes tried for a pet before it is left out
LIGHT = 0.5  # how far, at most, a pet's mean colour moves towards the background's
SOFTNESS = (0.4, 1.5)  # pixels: standard deviation of the blur of a pasted pet's edge

Classes = NDArray[np.uint8]


@dataclass(frozen=True)
class CutOut:
    """A pet cut out of its picture.

    Attributes
    ----------
    photo
        `(height, width, 3)` uint8 RGB.
    classes
        `(height, width)` uint8 class indices.
    ends
        Whether its picture's left, top, right and bottom edge cut it off.
    breed
        Its breed as an index into `pets.breeds`.
    """

    photo: Photo
    classes: Classes
    ends: tuple[bool, bool, bool, bool] = (False, False, False, False)
    breed: int = 0


@dataclass(frozen=True)
class Scene:
    """A picture with pets.

    Attributes
    ----------
    photo
        `(height, width, 3)` uint8 RGB.
    classes
        `(height, width)` uint8 class indices of all pets together: 0 pet, 1 background, 2 border.
    pets
        The same for each pet alone, as far as it is visible: whatever hides it counts as
        background.
    breeds
        The breed of each pet.
    numbers
        `(height, width)` uint8: the number of the pet, from 1, of which most of a pixel is; 0 for
        background. The outer half of a pasted trimap's border shows what is behind the pet, so it
        belongs to that.
    sources
        Names of the examples whose pet or background it may show.
    """

    photo: Photo
    classes: Classes
    pets: tuple[Classes, ...]
    breeds: tuple[int, ...]
    numbers: NDArray[np.uint8]
    sources: Set[str] = frozenset()


def read_classes(example: pets.Example) -> Classes:
    """The trimap's values 1, 2, 3 as class indices 0, 1, 2."""
    return pets.read_trimap(example.trimap) - np.uint8(1)


def box_of(classes: Classes) -> tuple[int, int, int, int] | None:
    """`(left, top, right, bottom)` around everything but background; None if there is nothing."""
    there = classes != BACKGROUND
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def cut_out(photo: Photo, classes: Classes, breed: int = 0) -> CutOut | None:
    """The pet of a picture; None if the trimap has none."""
    box = box_of(classes)
    if box is None:
        return None
    left, top, right, bottom = box
    height, width = classes.shape
    ends = (left == 0, top == 0, right == width, bottom == height)
    return CutOut(photo[top:bottom, left:right], classes[top:bottom, left:right], ends, breed)


def without_pet(photo: Photo, classes: Classes, random: np.random.Generator) -> Photo:
    """The picture with its pet painted over, as a background.

    Pixels come from the mirror image where that shows background, and otherwise from the smoothed
    surroundings.
    """
    hole = np.asarray(
        Image.fromarray(((classes != BACKGROUND) * 255).astype(np.uint8)).filter(
            ImageFilter.MaxFilter(9)
        )
    )
    known = (hole == 0).astype(np.float32)
    filled = _smooth_fill(photo.astype(np.float32), known)
    if random.random() < 0.7:
        mirrored, mirrored_known = photo[:, ::-1], known[:, ::-1]
        filled = np.where(
            (known == 0)[..., None] & (mirrored_known > 0)[..., None], mirrored, filled
        )
    return _blend(photo, np.clip(filled, 0, 255).astype(np.uint8), _soft(hole > 0, 2.0))


def _smooth_fill(colours: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Known colours, and elsewhere means of the nearest known ones, computed with a pyramid."""
    height, width = known.shape
    if known.all() or not known.any():
        return colours
    if min(height, width) < 2:
        mean = colours[known > 0].mean(axis=0)
        return np.where(known[..., None] > 0, colours, mean).astype(np.float32)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    padded = ((0, 2 * rows - height), (0, 2 * columns - width))
    weights = np.pad(known, padded).reshape(rows, 2, columns, 2).sum(axis=(1, 3))
    sums = np.pad(colours * known[..., None], (*padded, (0, 0)))
    sums = sums.reshape(rows, 2, columns, 2, 3).sum(axis=(1, 3))
    half = sums / np.maximum(weights, 1)[..., None]
    coarse = _smooth_fill(half, (weights > 0).astype(np.float32))
    large = np.stack(
        [
            np.asarray(
                Image.fromarray(coarse[..., channel]).resize(
                    (width, height), Image.Resampling.BILINEAR
                )
            )
            for channel in range(3)
        ],
        axis=-1,
    )
    return np.where(known[..., None] > 0, colours, large).astype(np.float32)


def _soft(mask: NDArray[np.bool_], deviation: float) -> NDArray[np.float32]:
    image = Image.fromarray((mask * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(deviation)), np.float32) / np.float32(
        255
    )


def _blend(below: Photo, above: Photo, opacity: NDArray[np.float32]) -> Photo:
    mixed = below + (above.astype(np.float32) - below) * opacity[..., None]
    return np.round(mixed).astype(np.uint8)


def opacity_of(classes: Classes, deviation: float) -> NDArray[np.float32]:
    """Opacity of a pasted pet; its soft outline runs along the middle of the trimap's border."""
    inside = np.where(classes == PET, 255, np.where(classes == BORDER, 128, 0)).astype(np.uint8)
    image = Image.fromarray(inside).filter(ImageFilter.GaussianBlur(deviation))
    # The outer half of the border shows the old background, so it is left out.
    opacity = np.clip((np.asarray(image, np.float32) / 255 - 0.4) / 0.4, 0, 1)
    return opacity.astype(np.float32)


def compose(background: Photo, cut_outs: Sequence[CutOut], random: np.random.Generator) -> Scene:
    """Paste pets onto a background, each over those before it.

    A pet is left out if no place is found for it at which enough of every pet stays visible.

    Parameters
    ----------
    background
        `(height, width, 3)` uint8 RGB without a pet.
    cut_outs
        The pets, in the order they are pasted in.
    random
        Draws sizes, places, light and softness.
    """
    height, width = background.shape[:2]
    photo = background
    classes = np.full((height, width), BACKGROUND, np.uint8)
    numbers = np.zeros((height, width), np.uint8)
    placed: list[Classes] = []
    breeds: list[int] = []
    whole: list[int] = []  # how many pixels of each would be visible if nothing hid it
    for cut in cut_outs:
        for _ in range(ATTEMPTS):
            pasted = _place(cut, height, width, len(cut_outs), random)
            hidden = [_covered(one, pasted[1]) for one in placed]
            seen = [np.count_nonzero(one == PET) for one in hidden]
            new = int(np.count_nonzero(pasted[1] == PET))
            together = sum(seen) + new
            if (
                new >= SHARES[0] / 2 * height * width
                and together <= ALL_TOGETHER * height * width
                and all(
                    now >= (1 - MOST_COVERED) * before
                    for now, before in zip(seen, whole, strict=True)
                )
            ):
                picture, its_classes = pasted
                opacity = opacity_of(its_classes, random.uniform(*SOFTNESS))
                photo = _blend(photo, _in_the_light_of(photo, picture, opacity, random), opacity)
                classes = np.where(its_classes != BACKGROUND, its_classes, classes)
                placed = [*hidden, its_classes]
                numbers[opacity > 0.5] = len(placed)
                breeds.append(cut.breed)
                whole.append(new)
                break
    return Scene(photo, classes, tuple(placed), tuple(breeds), numbers)


def _covered(below: Classes, above: Classes) -> Classes:
    """The visible part of a pet behind another."""
    border = (above == BORDER) & (below != BACKGROUND)
    seen = np.where(above == PET, BACKGROUND, below)
    return np.where(border, BORDER, seen).astype(np.uint8)


def _place(
    cut: CutOut, height: int, width: int, count: int, random: np.random.Generator
) -> tuple[Photo, Classes]:
    """The cut-out at a random size and place in an empty picture, perhaps partly outside."""
    photo, classes, (at_left, at_top, at_right, at_bottom) = cut.photo, cut.classes, cut.ends
    if random.random() < 0.5:
        photo, classes = photo[:, ::-1], classes[:, ::-1]
        at_left, at_right = at_right, at_left
    area = np.count_nonzero(classes != BACKGROUND)
    largest = min(SHARES[1], 1.3 / count)
    share = np.exp(random.uniform(np.log(SHARES[0]), np.log(largest)))
    scale = float(np.sqrt(share * height * width / area))
    scale = min(scale, 1.1 * height / classes.shape[0], 1.1 * width / classes.shape[1])
    rows, columns = (max(round(side * scale), 2) for side in classes.shape)
    picture = Image.fromarray(np.ascontiguousarray(photo)).resize((columns, rows))
    numbers = Image.fromarray(np.ascontiguousarray(classes)).resize(
        (columns, rows), Image.Resampling.NEAREST
    )
    # Up to a tenth of the pet may lie outside. A side that its picture cut off lies at the scene's
    # edge.
    left = round(random.uniform(-0.1 * columns, width - 0.9 * columns))
    top = round(random.uniform(-0.1 * rows, height - 0.9 * rows))
    left = 0 if at_left else width - columns if at_right else left
    top = height - rows if at_bottom else 0 if at_top else top
    canvas = Image.new("RGB", (width, height))
    canvas.paste(picture, (left, top))
    places = Image.new("L", (width, height), BACKGROUND)
    places.paste(numbers, (left, top))
    return np.asarray(canvas), np.array(places)


def _in_the_light_of(
    background: Photo,
    picture: Photo,
    opacity: NDArray[np.float32],
    random: np.random.Generator,
) -> Photo:
    """The picture with its mean colour moved towards the background's."""
    there = opacity > 0.5
    own, around = picture[there].mean(axis=0), background.reshape(-1, 3).mean(axis=0)
    factor = ((around + 32) / (own + 32)) ** random.uniform(0, LIGHT)
    return np.clip(picture * factor, 0, 255).astype(np.uint8)


class Scenes:
    """Draws scenes from the pets and backgrounds of one split.

    Parameters
    ----------
    examples
        Pictures with a pet and a true trimap; their backgrounds are used too.
    backgrounds
        Files of pictures without a pet.
    """

    def __init__(self, examples: Sequence[pets.Example], backgrounds: Sequence[Path]) -> None:
        self.examples, self.backgrounds = examples, backgrounds

    def background(self, random: np.random.Generator) -> Photo:
        """A picture without a pet, of random size and shape."""
        return self._background(random)[0]

    def _background(self, random: np.random.Generator) -> tuple[Photo, set[str]]:
        """The same, and the name of the example that it is made of, if any."""
        names: set[str] = set()
        if self.backgrounds and random.random() < 0.5:
            photo = open_photo(self.backgrounds[int(random.integers(len(self.backgrounds)))])
        else:
            example = self.examples[int(random.integers(len(self.examples)))]
            names = {example.name}
            photo = without_pet(open_photo(example.photo), read_classes(example), random)
        height, width = (int(side) for side in random.integers(SIDES[0], SIDES[1] + 1, 2))
        rows, columns = photo.shape[:2]
        # The largest crop of the wanted shape, or a smaller one.
        scale = min(columns / width, rows / height) * random.uniform(0.6, 1)
        left = random.uniform(0, columns - width * scale)
        top = random.uniform(0, rows - height * scale)
        box = (left, top, left + width * scale, top + height * scale)
        image = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR, box=box)
        return np.asarray(image), names

    def draw(self, count: int, random: np.random.Generator, *, alike: bool = False) -> Scene:
        """A scene with `count` pets, or fewer if there is no room for one; `alike` of one breed."""
        pool = np.arange(len(self.examples))
        if alike:
            label = self.examples[int(random.integers(len(pool)))].label
            pool = np.flatnonzero([each.label == label for each in self.examples])
        chosen = pool[random.choice(len(pool), count, replace=False)].tolist()
        found = (self._cut(self.examples[index]) for index in chosen)
        background, names = self._background(random)
        scene = compose(background, [cut for cut in found if cut], random)
        return replace(scene, sources=names | {self.examples[index].name for index in chosen})

    @staticmethod
    def _cut(example: pets.Example) -> CutOut | None:
        return cut_out(open_photo(example.photo), read_classes(example), example.label)
