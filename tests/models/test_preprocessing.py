"""A network's input, against timm's own transform, PyTorch's resize and a hand-made crop."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.images import Photo, open_photo
from models.preprocessing import InputSpec, grain, normalize, prepare, resize_photo, scaled_size

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

SQUASH = InputSpec(224, 224, "squash", "bicubic", *IMAGENET, layout="NCHW")
CROP = InputSpec(128, 128, "crop", "bilinear", *HALVES, layout="NHWC")
FIT = InputSpec(128, 192, "fit", "bilinear", *HALVES, layout="NHWC", multiple=32)

TimmTransform = Callable[[InputSpec, Photo], NDArray[np.float32]]


@pytest.fixture(scope="module")
def timm_transform() -> TimmTransform:
    """timm's evaluation transform for the same settings."""
    import training.torchvision_ops  # noqa: F401  (before timm)
    from timm.data import create_transform  # isort: skip

    def transform(spec: InputSpec, photo: Photo) -> NDArray[np.float32]:
        steps: Any = create_transform(
            input_size=(3, spec.height, spec.width),
            is_training=False,
            interpolation=spec.interpolation,
            crop_pct=1.0,
            crop_mode="squash",
            mean=spec.mean,
            std=spec.std,
        )
        return steps(Image.fromarray(photo)).unsqueeze(0).numpy()

    return transform


def photo_of(name: str, width: int, height: int) -> Photo:
    return np.asarray(Image.fromarray(open_photo(EXAMPLES / name)).resize((width, height)))


def random_photo(height: int, width: int) -> Photo:
    generator = np.random.default_rng([height, width])
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey_levels(batch: NDArray[np.float32], spec: InputSpec) -> NDArray[np.float64]:
    """An NCHW batch's values before normalization, in [0, 255]."""
    mean, std = (np.array(values)[:, np.newaxis, np.newaxis] for values in (spec.mean, spec.std))
    return (batch * std + mean) * 255


@pytest.mark.parametrize("stats", [IMAGENET, HALVES], ids=["ImageNet", "halves"])
@pytest.mark.parametrize("size", [(224, 224), (96, 96), (160, 192)], ids=str)
@pytest.mark.parametrize("times", [(0.4, 0.7), (1, 1), (1.3, 2.5), (2.9, 0.6), (2.95, 2.95)])
def test_squashing_is_timms_to_within_two_grey_levels(
    times: tuple[float, float],
    size: tuple[int, int],
    stats: tuple[tuple[float, float, float], tuple[float, float, float]],
    timm_transform: TimmTransform,
) -> None:
    spec = InputSpec(*size, "squash", "bicubic", *stats, layout="NCHW")
    height, width = (round(factor * side) for factor, side in zip(times, size, strict=True))

    for photo in (photo_of("cat_chelsea.png", width, height), random_photo(height, width)):
        prepared, expected = prepare(photo, spec), timm_transform(spec, photo)

        assert prepared.shape == expected.shape
        difference = np.abs(grey_levels(prepared, spec) - grey_levels(expected, spec))
        assert difference.max() < 2.001  # whole levels: both round after each axis
        assert difference.mean() < 0.02


@pytest.mark.parametrize("size", [(1300, 1800), (600, 4500), (3000, 4000)], ids=str)
def test_squashing_a_large_photo_is_nearly_timms(
    size: tuple[int, int], timm_transform: TimmTransform
) -> None:
    """Large photos are first reduced by a whole factor: some pixels differ by a few levels."""
    height, width = size
    photo = photo_of("german_shepherd.jpg", width, height)

    prepared, expected = prepare(photo, SQUASH), timm_transform(SQUASH, photo)

    difference = np.abs(grey_levels(prepared, SQUASH) - grey_levels(expected, SQUASH))
    assert difference.max() < 5
    assert difference.mean() < 0.5


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(100, 90), (300, 451), (600, 500)], ids=str)
def test_squashing_is_pytorchs_antialiased_resize(
    size: tuple[int, int], interpolation: str
) -> None:
    """Pillow rounds and clips after each axis, PyTorch does not: they differ slightly."""
    torch = pytest.importorskip("torch")
    photo = photo_of("ginger_kitten.jpg", *size[::-1])
    spec = InputSpec(224, 160, "squash", interpolation, *IMAGENET, layout="NCHW")  # type: ignore[arg-type]

    expected = torch.nn.functional.interpolate(
        torch.from_numpy(photo.astype(np.float32)).permute(2, 0, 1)[np.newaxis],
        (224, 160),
        mode=interpolation,
        antialias=True,
    ).clamp(0, 255)

    difference = np.abs(grey_levels(prepare(photo, spec), spec) - expected.numpy())
    assert difference.max() < 5
    assert difference.mean() < 0.6


@pytest.mark.parametrize(
    ("photo_size", "input_size", "box"),
    [  # box: the centred part of the input's shape, as (left, top, right, bottom)
        ((300, 450), (128, 128), (75, 0, 375, 300)),
        ((451, 301), (128, 128), (0, 75, 301, 376)),
        ((128, 128), (128, 128), (0, 0, 128, 128)),
        ((40, 60), (128, 128), (10, 0, 50, 40)),
        ((300, 300), (120, 80), (50, 0, 250, 300)),
        ((300, 300), (80, 120), (0, 50, 300, 250)),
        ((200, 450), (120, 80), (158.3333, 0, 291.6667, 200)),
    ],
)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_cropping_takes_the_largest_centred_part(
    photo_size: tuple[int, int],
    input_size: tuple[int, int],
    box: tuple[float, float, float, float],
    interpolation: str,
) -> None:
    photo = photo_of("cat_chelsea.png", *photo_size[::-1])
    spec = InputSpec(*input_size, "crop", interpolation, *HALVES, layout="NHWC")  # type: ignore[arg-type]
    image = Image.fromarray(photo)
    resampling = Image.Resampling[interpolation.upper()]

    prepared = prepare(photo, spec)

    if all(side == int(side) for side in box):
        cropped = image.crop(tuple(map(int, box))).resize(input_size[::-1], resampling)  # type: ignore[arg-type]
    else:
        cropped = image.resize(input_size[::-1], resampling, box=box)
    levels = (prepared[0] * 0.5 + 0.5) * 255
    difference = np.abs(levels - np.asarray(cropped))
    # Near its edges the filter sees past the box, and a picture cut out before has nothing there.
    reach = math.ceil(2 * max(1, input_size[0] / (box[3] - box[1])))
    assert difference[reach:-reach, reach:-reach].max() < 1.01
    assert difference.max() < 16


def test_cropping_keeps_circles_round_and_squashing_keeps_all() -> None:
    rows, columns = np.mgrid[:200, :400]
    circle = np.hypot(rows - 99.5, columns - 199.5) < 80
    photo = np.repeat(circle[:, :, np.newaxis], 3, axis=2).astype(np.uint8) * 255

    cropped = resize_photo(photo, CROP)[:, :, 0] > 127
    squashed = resize_photo(photo, replace(CROP, resize="squash"))[:, :, 0] > 127

    def extent(mask: NDArray[np.bool_]) -> tuple[int, int]:
        return int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum())

    assert extent(cropped) == pytest.approx((102, 102), abs=1)
    assert extent(squashed) == pytest.approx((102, 51), abs=1)


@pytest.mark.parametrize("size", [96, 224, 240, 299, 300])
def test_photos_of_any_side_can_be_cropped(size: int) -> None:
    """A regression: rounding made the crop of a 29-pixel side larger than the photo."""
    spec = replace(CROP, height=size, width=size)
    photo = np.zeros((500, 500, 3), np.uint8)

    for side in (*range(1, 120), *range(120, 500, 7)):
        assert resize_photo(photo[:side], spec).shape == (size, size, 3)
        assert resize_photo(photo[:, :side], spec).shape == (size, size, 3)


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        ((128, 192), (128, 192)),
        ((100, 150), (128, 160)),
        ((97, 161), (128, 192)),
        ((96, 160), (96, 160)),
        ((40, 7), (64, 32)),
        ((1, 1), (32, 32)),
        ((2, 190), (32, 192)),
    ],
)
def test_fitting_keeps_a_small_photo_and_mirrors_it_at_two_edges(
    size: tuple[int, int], padded: tuple[int, int]
) -> None:
    photo = random_photo(*size)

    fitted = resize_photo(photo, FIT)

    assert scaled_size(*size, FIT) == size
    assert fitted.shape == (*padded, 3)
    # Row after row back and forth, as often as necessary.
    rows, columns = (
        [min(i % (2 * side), 2 * side - 1 - i % (2 * side)) for i in range(length)]
        for side, length in zip(size, padded, strict=True)
    )
    np.testing.assert_array_equal(fitted, photo[rows][:, columns])
    assert prepare(photo, FIT).shape == (1, *padded, 3)


@pytest.mark.parametrize(
    ("size", "scaled", "padded"),
    [
        ((256, 384), (128, 192), (128, 192)),
        ((300, 300), (128, 128), (128, 128)),
        ((129, 192), (128, 191), (128, 192)),
        ((500, 200), (128, 51), (128, 64)),
        ((200, 500), (77, 192), (96, 192)),
        ((5000, 3), (128, 1), (128, 32)),
        ((3, 5000), (1, 192), (32, 192)),
    ],
)
def test_fitting_shrinks_a_large_photo_and_keeps_its_shape(
    size: tuple[int, int], scaled: tuple[int, int], padded: tuple[int, int]
) -> None:
    photo = photo_of("german_shepherd.jpg", *size[::-1])

    fitted = resize_photo(photo, FIT)

    assert scaled_size(*size, FIT) == scaled
    assert fitted.shape == (*padded, 3)
    height, width = scaled
    shrunk = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
    difference = fitted[:height, :width].astype(int) - np.asarray(shrunk)
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_other_photos_fill_the_input(resize: str) -> None:
    spec = replace(FIT, resize=resize)  # type: ignore[arg-type]

    assert scaled_size(10, 20, spec) == scaled_size(3000, 20, spec) == (128, 192)


def test_the_grain_is_what_the_network_sees_as_one_pixel() -> None:
    fit = replace(SQUASH, height=512, width=512, resize="fit")

    assert grain(896, 2240, SQUASH) == 10  # squashed to 224 x 224
    assert grain(100, 50, SQUASH) == 1
    assert grain(1024, 768, fit) == 2
    assert grain(300, 200, fit) == 1


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 2), (300, 451), (2000, 30)])
def test_every_photo_becomes_a_batch_of_one(
    size: tuple[int, int], layout: str, resize: str
) -> None:
    spec = InputSpec(96, 128, resize, "bilinear", *HALVES, layout=layout)  # type: ignore[arg-type]

    prepared = prepare(random_photo(*size), spec)

    assert prepared.shape == ((1, 3, 96, 128) if layout == "NCHW" else (1, 96, 128, 3))
    assert prepared.shape == spec.batch_shape(1)
    assert prepared.dtype == np.float32
    assert prepared.flags.c_contiguous
    assert prepared.min() >= -1
    assert prepared.max() <= 1


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_layouts_hold_the_same_values(resize: str) -> None:
    spec = replace(CROP, resize=resize)  # type: ignore[arg-type]
    photo = random_photo(100, 150)

    first = prepare(photo, replace(spec, layout="NCHW"))

    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), prepare(photo, spec))


def test_halves_bring_black_to_minus_one_and_white_to_one() -> None:
    spec = replace(SQUASH, mean=HALVES[0], std=HALVES[1])
    photo = np.zeros((50, 50, 3), np.uint8)

    np.testing.assert_allclose(prepare(photo, spec), -1, atol=1e-6)
    np.testing.assert_allclose(prepare(photo + 255, spec), 1, atol=1e-6)


@pytest.mark.parametrize("spec", [SQUASH, CROP], ids=["squash", "crop"])
@pytest.mark.parametrize("size", [(1, 1), (224, 224), (3000, 50)])
def test_a_plain_photo_keeps_its_colour_in_the_order_red_green_blue(
    size: tuple[int, int], spec: InputSpec
) -> None:
    spec = replace(spec, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0), layout="NCHW")
    photo = np.empty((*size, 3), np.uint8)
    photo[:] = 255, 102, 0

    (prepared,) = prepare(photo, spec)

    np.testing.assert_allclose(prepared[0], (1 - 0.1) / 0.5, atol=1e-6)
    np.testing.assert_allclose(prepared[1], (0.4 - 0.2) / 1.0, atol=1e-6)
    np.testing.assert_allclose(prepared[2], (0 - 0.3) / 2.0, atol=1e-6)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_normalizing_many_is_normalizing_each(layout: str) -> None:
    spec = replace(SQUASH, layout=layout)  # type: ignore[arg-type]
    photos = np.stack([random_photo(9, 7), 255 - random_photo(9, 7)])

    together = normalize(photos, spec)

    assert together.dtype == np.float32
    for one, photo in zip(together, photos, strict=True):
        np.testing.assert_array_equal(one, normalize(photo, spec))


def test_batch_shapes_follow_the_layout() -> None:
    assert replace(SQUASH, height=5, width=7).batch_shape(4) == (4, 3, 5, 7)
    assert replace(CROP, height=5, width=7).batch_shape(4) == (4, 5, 7, 3)


def test_the_photo_is_left_as_it_is() -> None:
    photo = random_photo(224, 224)
    photo.flags.writeable = False

    for spec in (SQUASH, CROP, FIT):
        prepare(photo, spec)
