"""Mask models that see a photo at other sizes, with networks whose answers are known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models import segmentation
from models.images import Photo
from models.preprocessing import InputSpec, resize_photo
from models.resolutions import at_side, see, sides, usual_side
from models.segmentation import Segmenter

AddModel = Callable[..., Path]


def random_photo(height: int, width: int) -> Photo:
    generator = np.random.default_rng([height, width])
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def answer(seen: Photo) -> NDArray[np.float64]:
    """The answer of the fixture's network for each pixel."""
    powers = np.exp((seen / 255 - 0.5) / 0.5 * 10)
    return powers / powers.sum(axis=2, keepdims=True)


def squash(photo: Photo, *size: int) -> Photo:
    """The photo scaled to one size after another."""
    image = Image.fromarray(photo)
    for width, height in zip(size[::2], size[1::2], strict=True):
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image)


def assert_answers(found: NDArray[np.float32], seen: Photo, levels: int = 1) -> None:
    """Check probabilities for a photo that may differ by some grey levels of 255 from `seen`."""
    logits, expected = (
        logarithms - logarithms.mean(axis=2, keepdims=True)
        for logarithms in (np.log(found), np.log(answer(seen)))
    )
    # Ten times a value in [-1, 1]; the most where two channels err one way and the third the other.
    np.testing.assert_allclose(logits, expected, atol=levels * 10 * 2 / 255 * 4 / 3 + 1e-4)


def batches(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the network's inputs."""
    shapes: list[tuple[int, ...]] = []
    run = segmenter.run

    def listen(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        shapes.append(batch.shape)
        return run(batch)

    monkeypatch.setattr(segmenter, "run", listen)
    return shapes


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_network_of_any_size_sees_the_photo_at_each_size(
    layout: str, add_segmenter: AddModel
) -> None:
    add_segmenter(layout=layout, height=128, width=128)
    segmenter, photo = segmentation.load("pet"), random_photo(150, 210)

    assert sides(segmenter, photo) == [64, 128, 192, 256, 384]
    for side in (64, 192):
        seen = see(segmenter, photo, side)
        assert (seen.height, seen.width) == (side, side)
        assert seen.seconds > 0
        assert_answers(seen.segmentation.probabilities, squash(photo, side, side))


def test_a_network_of_a_fixed_size_sees_the_photo_reduced_and_enlarged(
    add_segmenter: AddModel,
) -> None:
    add_segmenter(height=160, width=160, fixed=True)
    segmenter, photo = segmentation.load("pet"), random_photo(250, 310)

    assert sides(segmenter, photo) == [64, 128, 160]
    seen = see(segmenter, photo, 64)
    assert (seen.height, seen.width) == (64, 64)
    seen_by_network = squash(photo, 64, 64, 160, 160)
    assert_answers(seen.segmentation.probabilities, seen_by_network, levels=2)  # scaled twice


def test_a_network_that_keeps_the_scale_gets_its_multiple_and_no_padding_comes_back(
    add_segmenter: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_segmenter(height=512, width=512, resize="fit", multiple=48)
    segmenter, photo = segmentation.load("pet"), random_photo(200, 100)
    shapes = batches(segmenter, monkeypatch)

    assert sides(segmenter, photo) == [64, 128, 192, 200]
    seen = see(segmenter, photo, 64)
    whole = see(segmenter, photo, 200)

    assert (seen.height, seen.width) == seen.segmentation.probabilities.shape[:2] == (64, 32)
    assert_answers(seen.segmentation.probabilities, squash(photo, 32, 64))
    assert (whole.height, whole.width) == (200, 100)
    np.testing.assert_allclose(whole.segmentation.probabilities, answer(photo), atol=1e-5)
    assert shapes == [(1, 96, 48, 3), (1, 240, 144, 3)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((40, 50), [50]),
        ((1, 1), [1]),
        ((128, 64), [64, 128]),
        ((2000, 3000), [64, 128, 192, 256, 384, 512]),
    ],
    ids=str,
)
def test_a_photo_is_not_seen_larger_than_it_is_where_its_scale_is_kept(
    size: tuple[int, int], expected: list[int], add_segmenter: AddModel
) -> None:
    add_segmenter(height=512, width=512, resize="fit", multiple=16)
    photo = np.zeros((*size, 3), np.uint8)

    assert sides(segmentation.load("pet"), photo) == expected


@pytest.mark.parametrize(("resize", "fixed"), [("squash", False), ("squash", True), ("fit", False)])
def test_the_usual_size_gives_the_usual_answer(
    resize: str, fixed: bool, add_segmenter: AddModel
) -> None:
    add_segmenter(height=96, width=128, resize=resize, multiple=32, fixed=fixed)
    segmenter, photo = segmentation.load("pet"), random_photo(220, 301)

    seen = see(segmenter, photo, usual_side(segmenter, photo))

    usual = segmenter.predict(photo).probabilities
    np.testing.assert_array_equal(seen.segmentation.resized(220, 301).probabilities, usual)


def test_sides_stay_divisible_as_often_as_the_network_halves_them() -> None:
    card = InputSpec(96, 128, "squash", "bilinear", (0.5,) * 3, (0.5,) * 3, "NHWC")

    for side in (64, 192, 256, 384):
        spec = at_side(card, side)
        assert spec == replace(card, height=spec.height, width=side)
        assert spec.height % 32 == 0
        assert spec.height == pytest.approx(side * 3 / 4, abs=16)
        assert resize_photo(random_photo(30, 40), spec).shape == (spec.height, spec.width, 3)
