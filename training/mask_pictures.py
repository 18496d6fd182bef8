"""Pictures that the mask network learns from: whole, as scenes, as close-ups, in other light."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from models.images import Photo, open_photo
from models.looks import close_up, point_out
from models.preprocessing import InputSpec, normalize, prepare
from training import composites, pets
from training.composites import BACKGROUND, PET, Classes, Scenes, read_classes

# The probability of each kind of training picture; the rest are empty backgrounds.
PLAIN, SCENE = 0.75, 0.22
CLOSE = 0.35  # share of each of them that is a close-up of one pet
QUARTER_TURNS = 0.1  # share of all pictures
WEATHERED = 0.6  # share of all pictures in other light, or from a worse camera
IGNORED = 255  # class index of pixels that teach nothing


class Pictures(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Training pictures, made anew each time: the network's input and its `(size, size)` classes.

    Parameters
    ----------
    scenes
        Where they are drawn from.
    spec
        The network's input.
    doubtful
        For each example of `scenes`, where its trimap is not believed, as of `deeplab.unbelieved`.
    """

    def __init__(self, scenes: Scenes, spec: InputSpec, doubtful: NDArray[np.bool_]) -> None:
        self.scenes, self.spec, self.doubtful = scenes, spec, doubtful

    def __len__(self) -> int:
        return len(self.scenes.examples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        # NumPy's global generator is seeded anew each epoch, so that a resumed run repeats it.
        random = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002
        photo, classes = self.draw(index, random)
        seen = weather(photo, random) if random.random() < WEATHERED else photo
        batch = normalize(seen[np.newaxis], self.spec)
        inputs = torch.from_numpy(np.ascontiguousarray(batch[0], np.float32))
        return inputs, torch.from_numpy(classes.astype(np.int64))

    def draw(self, index: int, random: np.random.Generator) -> tuple[Photo, Classes]:
        """A picture and its class indices at the network's size; not yet blurred or recoloured."""
        kind = random.random()
        side = self.spec.height
        if kind < PLAIN:
            example = self.scenes.examples[index]
            photo, classes = open_photo(example.photo), read_classes(example)
            subjects: Sequence[Classes] = (classes,)
            doubt = Image.fromarray(self.doubtful[index])
            doubted = np.asarray(doubt.resize(classes.shape[::-1], Image.Resampling.NEAREST))
            classes = np.where(doubted, IGNORED, classes).astype(np.uint8)
        elif kind < PLAIN + SCENE:
            scene = self.scenes.draw(int(random.integers(1, 6)), random)
            photo, classes, subjects = scene.photo, scene.classes, scene.pets
        else:
            photo = self.scenes.background(random)
            classes, subjects = np.full(photo.shape[:2], BACKGROUND, np.uint8), ()
        turns = int(random.integers(1, 4)) if random.random() < QUARTER_TURNS else 0
        mirrored = random.random() < 0.5
        turned = [turn(array, turns, mirrored) for array in (photo, classes, *subjects)]
        photo, classes, *rest = tilt(turned, random)
        subjects = rest
        if subjects and random.random() < CLOSE:
            chosen = subjects[random.integers(len(subjects))]
            if (box := composites.box_of(np.where(chosen == PET, PET, BACKGROUND))) is not None:
                return look_closer(photo, chosen, classes == IGNORED, box, side, random)
        return crop(photo, classes, side, random)


def turn(array: NDArray[np.uint8], turns: int, mirrored: bool) -> NDArray[np.uint8]:
    """A picture or class map turned by quarters, and mirrored if wanted."""
    turned = np.rot90(array, turns)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def tilt(
    arrays: Sequence[NDArray[np.uint8]], random: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """Turn a photo and class maps by a small angle, half of the time; corners teach nothing."""
    if random.random() < 0.5:
        return list(arrays)
    angle = random.uniform(-20, 20)
    photo, *maps = arrays
    grey = tuple(int(value) for value in photo.reshape(-1, 3).mean(axis=0))
    turned = Image.fromarray(photo).rotate(angle, Image.Resampling.BILINEAR, fillcolor=grey)
    return [
        np.asarray(turned),
        *(np.asarray(Image.fromarray(each).rotate(angle, fillcolor=IGNORED)) for each in maps),
    ]


def _resized(
    photo: Photo, classes: Classes, window: tuple[float, float, float, float], side: int
) -> tuple[Photo, Classes]:
    small = Image.fromarray(photo).resize((side, side), Image.Resampling.BILINEAR, box=window)
    numbers = Image.fromarray(classes).resize((side, side), Image.Resampling.NEAREST, box=window)
    return np.array(small), np.array(numbers)


def crop(
    photo: Photo, classes: Classes, side: int, random: np.random.Generator
) -> tuple[Photo, Classes]:
    """A random part of a picture, squashed to a square: mostly the whole or nearly so."""
    height, width = photo.shape[:2]
    share = random.uniform(0.5, 1) if random.random() < 0.7 else 1.0
    stretch = np.exp(random.uniform(-0.35, 0.35))
    wide, high = min(np.sqrt(share) * stretch, 1) * width, min(np.sqrt(share) / stretch, 1) * height
    left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
    return _resized(photo, classes, (left, top, left + wide, top + high), side)


def look_closer(
    photo: Photo,
    classes: Classes,
    doubted: NDArray[np.bool_],
    box: tuple[int, int, int, int],
    side: int,
    random: np.random.Generator,
) -> tuple[Photo, Classes]:
    """A close-up of one pet, as by a detector's box, which is never quite right."""
    height, width = photo.shape[:2]
    left, top, right, bottom = box
    error = random.normal(0, 0.05, 4).clip(-0.15, 0.15)
    wide, high = right - left, bottom - top
    left, right = round(left + error[0] * wide), round(right + error[1] * wide)
    top, bottom = round(top + error[2] * high), round(bottom + error[3] * high)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    right, bottom = max(right, left + 2), max(bottom, top + 2)
    window = close_up((left, top, right, bottom), height, width)
    truth = np.where(doubted, IGNORED, classes).astype(np.uint8)
    seen, truth = _resized(photo, truth, window, side)
    across, down = side / (window[2] - window[0]), side / (window[3] - window[1])
    inside = (
        (left - window[0]) * across,
        (top - window[1]) * down,
        (right - window[0]) * across,
        (bottom - window[1]) * down,
    )
    return point_out(seen, inside), truth


def weather(photo: Photo, random: np.random.Generator) -> Photo:
    """The picture as in other light or from another camera: colours, blur, noise, JPEG."""
    values = photo.astype(np.float32)
    values = 255 * (values / 255) ** np.exp(random.uniform(-0.35, 0.35))
    values = (values - 128) * np.exp(random.uniform(-0.35, 0.35)) + 128 + random.uniform(-30, 30)
    grey = values.mean(axis=2, keepdims=True)
    colourful = 0.0 if random.random() < 0.06 else random.uniform(0.5, 1.4)
    values = (grey + (values - grey) * colourful) * random.uniform(0.88, 1.12, 3)
    if random.random() < 0.2:
        values += random.normal(0, random.uniform(2, 16), photo.shape)
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    if random.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 2)))
    if random.random() < 0.2:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(random.integers(25, 90)))
        image = Image.open(file)
    return np.asarray(image)


class HeldOut(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Held-out pictures as at serving, whole, with their trimaps."""

    def __init__(self, examples: Sequence[pets.Example], spec: InputSpec) -> None:
        self.examples, self.spec = examples, spec

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        example = self.examples[index]
        photo = torch.from_numpy(prepare(open_photo(example.photo), self.spec)[0])
        classes = example.read_classes(self.spec.height, self.spec.width)
        return photo, torch.from_numpy(classes.astype(np.int64))
