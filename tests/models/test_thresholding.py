"""Thresholds against scikit-image, against trying all combinations, and against counting."""

import functools
import itertools
import time
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from skimage import color, data, exposure, filters

from models import thresholding
from models.images import Photo, open_photo
from models.thresholding import (
    CHANNELS,
    GLOBAL_METHODS,
    MAX_CLASSES,
    MAX_LEVELS,
    METHODS,
    ThresholdError,
    classify,
    compare_all,
    describe_classes,
    gray_channel,
    histogram,
    multi_otsu,
    multilevel,
    otsu,
)

Gray = NDArray[Any]

EXAMPLES = sorted(
    path
    for path in (Path(__file__).parent.parent.parent / "examples").iterdir()
    if path.suffix in {".jpg", ".png"}
)
# Pictures in scikit-image's wheel; it would download others.
GRAY_PICTURES = ["brick", "camera", "cell", "clock", "coins", "grass", "gravel"]
GRAY_PICTURES += ["microaneurysms", "moon", "page", "text"]
NO_VALLEY = data.grass  # a single peak: `minimum` finds no cut


@functools.cache
def photos() -> dict[str, Gray]:
    """uint8 pictures of very different histograms."""
    pictures: dict[str, Gray] = {name: getattr(data, name)() for name in GRAY_PICTURES}
    chelsea = data.chelsea()
    pictures |= {f"chelsea {name}": chelsea[:, :, i] for i, name in enumerate("rgb")}
    return pictures | {path.name: gray_channel(open_photo(path)) for path in EXAMPLES}


PHOTOS = (*GRAY_PICTURES, *(f"chelsea {name}" for name in "rgb"), *(path.name for path in EXAMPLES))

RANDOM: dict[str, Callable[[np.random.Generator], Gray]] = {
    "uint8 noise": lambda g: g.integers(0, 256, (40, 50), dtype=np.uint8),
    "few levels": lambda g: g.choice(g.choice(256, 9, replace=False), (20, 30)).astype(np.uint8),
    "int8": lambda g: g.integers(-128, 128, (40, 50), dtype=np.int8),
    "negative int16": lambda g: g.normal(-700, 90, (40, 50)).astype(np.int16),
    "uint16": lambda g: g.integers(30_000, 30_400, (40, 50), dtype=np.uint16),
    "int32": lambda g: g.integers(-400, 400, (40, 50), dtype=np.int32),
    "int64": lambda g: (g.gamma(3, 40, (40, 50)) - 90).astype(np.int64),
    "float64": lambda g: g.normal(size=(40, 50)),
    "float32": lambda g: g.laplace(size=(40, 50)).astype(np.float32),
    "float in [0, 1]": lambda g: g.beta(0.6, 0.9, (40, 50)),
    "float with offset": lambda g: g.random((40, 50)) + 1e6,
}


def scikit_image_levels(gray: Gray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Occupied levels and their pixels, with scikit-image's bins."""
    counts, centers = exposure.histogram(gray.ravel(), 256, source_range="image")
    occupied = counts > 0
    return counts[occupied].astype(np.float64), centers[occupied].astype(np.float64)


def between_class_variance(gray: Gray, cuts: ArrayLike) -> float:
    """By its definition: the classes' shares times the squared distance of their means."""
    counts, centers = scikit_image_levels(gray)
    index = np.searchsorted(np.asarray(cuts, np.float64), centers, side="left")
    mean = np.average(centers, weights=counts)
    total = 0.0
    for i in np.unique(index):
        inside = index == i
        distance = np.average(centers[inside], weights=counts[inside]) - mean
        total += counts[inside].sum() / counts.sum() * distance**2
    return float(total)


def assert_is_one_sentence(text: str) -> None:
    assert text[0].isupper()
    assert text.endswith(".")
    assert ". " not in text
    assert "\n" not in text
    assert len(text) < 200


def assert_are_cuts(cuts: NDArray[np.float64], gray: Gray, classes: int) -> None:
    assert cuts.shape == (classes - 1,)
    assert cuts.dtype == np.float64
    assert (np.diff(cuts) > 0).all()
    assert (cuts >= gray.min()).all()
    assert (cuts < gray.max()).all()


@pytest.mark.parametrize("name", PHOTOS)
def test_otsu_is_scikit_images_on_photos(name: str) -> None:
    gray = photos()[name]

    assert otsu(gray) == filters.threshold_otsu(gray)
    assert otsu(gray / 255) == filters.threshold_otsu(gray / 255)
    deep = gray.astype(np.uint16) * 257
    assert otsu(deep) == filters.threshold_otsu(deep)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", RANDOM)
def test_otsu_is_scikit_images_on_random_pictures(name: str, seed: int) -> None:
    gray = RANDOM[name](np.random.default_rng(seed))

    assert otsu(gray) == filters.threshold_otsu(gray)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
def test_otsu_takes_the_whole_range_of_an_integer_type(dtype: type[np.integer]) -> None:
    limits = np.iinfo(np.int16 if dtype is np.int32 else dtype)
    gray = np.random.default_rng(7).integers(limits.min, limits.max, (60, 60), endpoint=True)
    gray = gray.astype(dtype)

    assert otsu(gray) == filters.threshold_otsu(gray)


@pytest.mark.parametrize("bins", [2, 10, 255, 1000])
def test_bins_count_for_float_pictures_only(bins: int) -> None:
    gray = data.coins()

    assert otsu(gray, bins) == otsu(gray)
    assert otsu(gray / 255, bins) == filters.threshold_otsu(gray / 255, nbins=bins)


@pytest.mark.parametrize(
    "value",
    [np.uint8(0), np.uint8(37), np.uint8(255), np.int16(-5), np.float32(0.25), np.float64(-1e6)],
    ids=repr,
)
def test_otsu_of_a_constant_picture_is_its_value(value: np.generic) -> None:
    gray = np.full((7, 9), value)

    assert otsu(gray) == value == filters.threshold_otsu(gray)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [((3, 200), np.uint8), ((0, 255), np.uint8), ((-9, 4), np.int16), ((-0.5, 2.0), np.float32)],
)
def test_otsu_of_two_values_is_scikit_images(
    values: tuple[float, float], dtype: type[np.generic]
) -> None:
    gray = np.array([values[0]] * 5 + [values[1]] * 30, dtype).reshape(5, 7)

    cut = otsu(gray)

    assert cut == filters.threshold_otsu(gray)
    assert values[0] <= cut < values[1]


def test_otsu_gives_an_ordinary_number() -> None:
    for gray in (data.camera(), data.camera() / 255, np.zeros((2, 2), np.uint8)):
        assert type(otsu(gray)) is float


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("name", PHOTOS)
def test_multi_otsu_is_scikit_images_on_photos(name: str, classes: int) -> None:
    gray = photos()[name]

    for picture in (gray, gray / 255):
        cuts = multi_otsu(picture, classes)

        assert_are_cuts(cuts, picture, classes)
        np.testing.assert_array_equal(cuts, filters.threshold_multiotsu(picture, classes))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("name", RANDOM)
def test_multi_otsu_reaches_scikit_images_optimum(name: str, classes: int, seed: int) -> None:
    gray = RANDOM[name](np.random.default_rng(seed))
    if np.issubdtype(gray.dtype, np.integer) and np.ptp(gray.astype(int)) >= 256:
        gray //= 2  # scikit-image's time grows exponentially with the classes

    cuts = multi_otsu(gray, classes)

    assert_are_cuts(cuts, gray, classes)
    theirs = filters.threshold_multiotsu(gray, classes)
    ours, reference = (between_class_variance(gray, found) for found in (cuts, theirs))
    assert ours >= reference * (1 - 1e-12)
    # scikit-image computes in float32, so it may choose the second best.
    assert ours == pytest.approx(reference, rel=1e-5)
    if ours == pytest.approx(reference, rel=1e-12):
        np.testing.assert_array_equal(cuts, theirs)


@pytest.mark.parametrize("name", ["coins", "chelsea r", "page"])
def test_the_variance_between_classes_is_that_of_the_definition(name: str) -> None:
    gray = photos()[name]

    cuts, variance = thresholding.between_class_variance(gray)

    assert cuts.shape == variance.shape
    assert cuts[variance.argmax()] == otsu(gray)
    for cut, value in list(zip(cuts, variance, strict=True))[::17]:
        assert value == pytest.approx(between_class_variance(gray, [cut]))


def test_a_constant_picture_has_nothing_between_classes() -> None:
    cuts, variance = thresholding.between_class_variance(np.full((3, 4), 7, np.uint8))

    assert cuts.shape == variance.shape == (0,)


def variance_from_pixels(gray: Gray, cuts: ArrayLike) -> float:
    """Pixel by pixel: the variance of a picture whose pixels are their classes' means."""
    values = gray.ravel().astype(np.float64)
    index = sum((values > cut for cut in np.asarray(cuts)), np.zeros(values.shape, int))
    means = np.zeros_like(values)
    for i in np.unique(index):
        means[index == i] = values[index == i].mean()
    return float(means.var())


@pytest.mark.parametrize(
    "cuts",
    [[100], [60, 170], [10, 20, 30, 200], [0, 1, 2, 3, 4, 5, 254], [-5, 128.5, 300]],
    ids=str,
)
@pytest.mark.parametrize("name", ["coins", "chelsea r", "page"])
def test_the_variance_of_given_cuts_is_that_of_the_pixels(name: str, cuts: list[float]) -> None:
    gray = photos()[name]

    variance = thresholding.variance_of_cuts(gray, np.array(cuts, np.float64))

    assert variance == pytest.approx(variance_from_pixels(gray, cuts))


@pytest.mark.parametrize("classes", range(2, MAX_CLASSES + 1))
def test_no_moved_cut_reaches_what_multi_otsus_reach(classes: int) -> None:
    gray = photos()["coins"]
    best = multi_otsu(gray, classes)
    most = thresholding.variance_of_cuts(gray, best)
    assert most == pytest.approx(variance_from_pixels(gray, best))
    if classes == 2:
        assert most == pytest.approx(thresholding.between_class_variance(gray)[1].max())

    for i, step in itertools.product(range(classes - 1), (-9, -1, 1, 9)):
        moved = best.copy()
        moved[i] += step
        assert thresholding.variance_of_cuts(gray, moved) < most


def test_cuts_that_part_the_pixels_alike_have_the_same_variance() -> None:
    gray = np.array([[10, 10, 50, 90, 91]], np.uint8)

    variances = {
        thresholding.variance_of_cuts(gray, np.array(cuts, np.float64))
        for cuts in ([10, 50], [49, 89], [10.5, 60])
    }

    assert len(variances) == 1


def test_a_constant_picture_has_no_variance_between_any_cuts() -> None:
    gray = np.full((3, 4), 7, np.uint8)

    assert thresholding.variance_of_cuts(gray, np.array([3.0, 7.0, 9.0])) == 0


def test_two_classes_are_otsus() -> None:
    for name in PHOTOS:
        gray = photos()[name]
        assert multi_otsu(gray, 2).tolist() == [otsu(gray)], name


def exact_gain(counts: NDArray[np.int64], ends: tuple[int, ...]) -> Fraction:
    """The between-class variance without the constants, for classes that end before `ends`."""
    total = Fraction(0)
    for start, end in itertools.pairwise((0, *ends, len(counts))):
        pixels = int(counts[start:end].sum())
        values = sum(level * int(counts[level]) for level in range(start, end))
        total += Fraction(values**2, pixels) if pixels else 0
    return total


@pytest.mark.parametrize("gaps", [False, True], ids=["all levels occupied", "empty levels"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 3, 5, 6, 7, 8])
def test_no_other_cuts_are_better(classes: int, seed: int, gaps: bool) -> None:
    """Tries every combination of cuts, in exact arithmetic."""
    generator = np.random.default_rng([classes, seed])
    counts = generator.integers(1, 60, 12)
    if gaps:
        counts[generator.choice(np.arange(1, 11), 3, replace=False)] = 0
    gray = generator.permutation(np.repeat(np.arange(12, dtype=np.uint8), counts))
    best = max(
        exact_gain(counts, ends) for ends in itertools.combinations(range(1, 12), classes - 1)
    )

    cuts = multi_otsu(gray, classes)

    assert_are_cuts(cuts, gray, classes)
    assert exact_gain(counts, tuple(int(cut) + 1 for cut in cuts)) == best


@pytest.mark.parametrize("classes", range(2, 9))
def test_with_as_many_values_as_classes_each_value_is_a_class(classes: int) -> None:
    values = np.array([0, 1, 5, 90, 91, 180, 254, 255], np.uint8)[:classes]
    gray = np.repeat(values, 1 + np.arange(classes))

    assert multi_otsu(gray, classes).tolist() == values[:-1].tolist()


def test_a_cut_is_the_brightest_value_of_its_class() -> None:
    """Any value between two occupied levels would divide the pixels in the same way."""
    gray = np.array([[10, 12, 100, 104, 250, 251]], np.uint8)

    assert otsu(gray[:, :4]) == 12
    assert multi_otsu(gray, 3).tolist() == [12, 104]


def test_equal_optima_give_one_of_them() -> None:
    gray = np.arange(5, dtype=np.uint8)  # {0,1},{2,3,4} and {0,1,2},{3,4} are alike

    assert otsu(gray) in (1, 2)
    assert multi_otsu(gray, 2)[0] in (1, 2)
    assert_are_cuts(multi_otsu(np.arange(256, dtype=np.uint8), 7), np.array([0, 255]), 7)


@pytest.mark.parametrize("classes", range(2, MAX_CLASSES + 1))
def test_more_classes_part_the_picture_better(classes: int) -> None:
    gray = data.coins()

    fewer = between_class_variance(gray, multi_otsu(gray, classes))
    more = between_class_variance(gray, multi_otsu(gray, classes + 1))

    assert more > fewer


@pytest.mark.parametrize("classes", [2, 3, 5, 8])
def test_shifted_and_scaled_grey_values_shift_and_scale_the_cuts(classes: int) -> None:
    gray = data.coins().astype(np.int16)
    cuts = multi_otsu(gray, classes)
    noise = np.random.default_rng(1).normal(size=4000)
    noise_cuts = multi_otsu(noise, classes)

    np.testing.assert_array_equal(multi_otsu(gray - 300, classes), cuts - 300)
    np.testing.assert_array_equal(multi_otsu(gray * 3 + 50, classes), cuts * 3 + 50)
    assert otsu(gray * 3 - 70) == otsu(gray) * 3 - 70
    np.testing.assert_allclose(multi_otsu(noise * 8 - 4, classes), noise_cuts * 8 - 4, rtol=1e-9)
    assert otsu(noise * 8 - 4) == pytest.approx(otsu(noise) * 8 - 4, rel=1e-9)


def test_type_shape_and_order_of_the_pixels_do_not_matter() -> None:
    gray = data.coins()
    cuts = multi_otsu(gray, 4)

    for same in (gray.astype(np.int64), gray.T, gray[::-1, ::-1], gray.ravel(), gray[np.newaxis]):
        np.testing.assert_array_equal(multi_otsu(same, 4), cuts)
        assert otsu(same) == otsu(gray)


def test_the_picture_is_left_as_it_is() -> None:
    gray = data.coins()
    gray.flags.writeable = False

    for use in (otsu, multi_otsu, histogram, compare_all):
        use(gray)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_deep_pictures_have_cuts_in_their_own_numbers(classes: int) -> None:
    gray = data.coins().astype(np.uint16) * 16 + 700
    cuts = multi_otsu(gray, classes)

    np.testing.assert_array_equal(cuts, multi_otsu(data.coins(), classes) * 16 + 700)


@pytest.mark.parametrize("classes", [3, 4, 8])
@pytest.mark.parametrize("name", ["coins", "camera", "page"])
def test_many_levels_reach_the_optimum_of_all_pairs(
    name: str, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).normal(0, 40, photos()[name].shape)
    gray = (photos()[name] * 8.0 + noise).clip(0).astype(np.uint16)
    levels = np.count_nonzero(histogram(gray).counts)
    assert levels > multilevel.ALL_PAIRS
    cuts = multi_otsu(gray, classes)

    monkeypatch.setattr(multilevel, "ALL_PAIRS", levels)

    np.testing.assert_array_equal(cuts, multi_otsu(gray, classes))


def test_a_span_of_many_levels_takes_no_table_of_them_all() -> None:
    gray = np.array([[-(2**31), 5, 7, 2**31 - 1]], np.int32)

    counts, centers = histogram(gray)

    assert len(counts) == MAX_LEVELS
    assert counts.sum() == 4
    assert centers[0] <= otsu(gray) < centers[-1]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int64, np.uint64])
def test_the_outer_levels_of_a_type_are_counted(dtype: type[np.integer[Any]]) -> None:
    limits = np.iinfo(dtype)
    gray = np.array([[limits.max, limits.max - 1, limits.max - 3]], dtype)

    counts, centers = histogram(gray)

    assert counts.tolist() == [1, 0, 1, 1]
    assert centers[-1] == float(limits.max)


@pytest.mark.parametrize("values", [[4], [4, 4, 4], [0, 255], [1, 1, 2, 3]], ids=repr)
def test_too_few_values_are_reported_in_one_sentence(values: list[int]) -> None:
    levels = len(set(values))
    for classes in range(levels + 1, MAX_CLASSES + 1):
        for dtype in (np.uint8, np.int16, np.float32):
            with pytest.raises(ThresholdError, match=f"only {levels} different") as caught:
                multi_otsu(np.array(values, dtype), classes)
            assert_is_one_sentence(str(caught.value))


def test_an_empty_picture_is_refused_in_one_sentence() -> None:
    for use in (otsu, multi_otsu):
        with pytest.raises(ThresholdError, match="empty") as caught:
            use(np.empty((0, 5), np.uint8))
        assert_is_one_sentence(str(caught.value))


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_fewer_than_two_classes_are_a_mistake(classes: int) -> None:
    with pytest.raises(ValueError, match="at least 2 classes") as caught:
        multi_otsu(data.coins(), classes)
    assert not isinstance(caught.value, ThresholdError)


@pytest.mark.alone
def test_multi_otsu_is_500_times_faster_than_scikit_images(
    median_seconds: Callable[[Callable[[], object], float], float],
) -> None:
    gray = data.camera()
    start = time.perf_counter()
    theirs = filters.threshold_multiotsu(gray, 5)
    seconds = time.perf_counter() - start

    ours = median_seconds(lambda: multi_otsu(gray, 5), seconds / 500)

    np.testing.assert_array_equal(multi_otsu(gray, 5), theirs)
    assert seconds / ours >= 500


@pytest.mark.alone
def test_eight_classes_take_less_than_5_ms(
    median_seconds: Callable[[Callable[[], object], float], float],
) -> None:
    gray = data.camera()

    assert median_seconds(lambda: multi_otsu(gray, 8), 0.005) < 0.005


@pytest.mark.parametrize("name", ["camera", "cell", "chelsea g"])
def test_the_histogram_is_scikit_images(name: str) -> None:
    gray = photos()[name]

    for picture in (gray, gray.astype(np.int16) - 100, gray / 255, gray / np.float32(255)):
        counts, centers = histogram(picture)
        their_counts, their_centers = exposure.histogram(picture, 256, source_range="image")
        np.testing.assert_array_equal(counts, their_counts)
        np.testing.assert_array_equal(centers, their_centers)
        assert counts.dtype == np.int64
        assert centers.dtype == np.float64


@functools.cache
def colour_photos() -> dict[str, Photo]:
    noise = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    corners = np.array([*itertools.product((0, 1, 127, 128, 254, 255), repeat=3)], np.uint8)
    return {
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "noise": noise,
        "corners": corners.reshape(6, 36, 3),
        "pixel": np.array([[[9, 200, 30]]], np.uint8),
    }


@pytest.mark.parametrize("name", ["chelsea", "coffee", "noise", "corners", "pixel"])
def test_channels_are_those_of_the_colour_standards(name: str) -> None:
    photo = colour_photos()[name]
    expected = {
        "luminance": photo @ np.array([0.299, 0.587, 0.114]),
        "red": photo[:, :, 0],
        "green": photo[:, :, 1],
        "blue": photo[:, :, 2],
        "saturation": color.rgb2hsv(photo)[:, :, 1] * 255,
        "hue": color.rgb2hsv(photo)[:, :, 0] * 360,
        "lightness": color.rgb2lab(photo)[:, :, 0],
        "lab_a": color.rgb2lab(photo)[:, :, 1],
        "lab_b": color.rgb2lab(photo)[:, :, 2],
    }
    assert set(expected) == set(CHANNELS)

    for channel in CHANNELS:
        gray = gray_channel(photo, channel)
        own = channel in ("hue", "lightness", "lab_a", "lab_b")
        assert gray.dtype == (np.float64 if own else np.uint8)
        assert gray.shape == photo.shape[:2]
        assert gray.flags.c_contiguous
        exact = own or channel in ("red", "green", "blue")
        np.testing.assert_allclose(gray, expected[channel], atol=0 if exact else 1)
    np.testing.assert_array_equal(gray_channel(photo), gray_channel(photo, "luminance"))


@pytest.mark.parametrize("channel", ["L", "", "Red", "value"])
def test_an_unknown_channel_is_a_mistake(channel: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="channel must be one of luminance, red"):
        gray_channel(data.chelsea(), channel)


@pytest.mark.parametrize("cuts", [[100], [99.5, 100, 180.25], [0, 254], [-1, 255, 300], []])
def test_a_pixel_above_a_cut_belongs_to_the_upper_class(cuts: list[float]) -> None:
    gray = np.random.default_rng(0).permutation(np.arange(256).repeat(3)).astype(np.uint8)
    gray = gray.reshape(24, 32)

    classes = classify(gray, np.array(cuts, np.float64))

    assert classes.dtype == np.uint8
    assert classes.shape == gray.shape
    expected = sum((gray > cut for cut in cuts), np.zeros(gray.shape, int))
    np.testing.assert_array_equal(classes, expected)


@pytest.mark.parametrize("classes", range(2, MAX_CLASSES + 1))
@pytest.mark.parametrize("name", ["coins", "chelsea r", "text"])
def test_classes_are_described_by_counting_pixels(name: str, classes: int) -> None:
    gray = photos()[name]
    cuts = multi_otsu(gray, classes)

    described = describe_classes(gray, cuts)

    assert len(described) == classes
    assert described[0].lower == gray.min()
    assert described[-1].upper == gray.max()
    assert [entry.upper for entry in described[:-1]] == cuts.tolist()
    assert [entry.lower for entry in described[1:]] == cuts.tolist()
    index = classify(gray, cuts)
    for i, entry in enumerate(described):
        above = gray >= entry.lower if i == 0 else gray > entry.lower
        assert entry.pixels == np.count_nonzero(above & (gray <= entry.upper))
        assert entry.pixels == np.count_nonzero(index == i)
        assert entry.share == pytest.approx(entry.pixels / gray.size)
    assert sum(entry.pixels for entry in described) == gray.size
    assert sum(entry.share for entry in described) == pytest.approx(1)


def test_a_class_without_pixels_has_no_area() -> None:
    empty = describe_classes(np.array([[10, 20]], np.uint8), np.array([12.0, 15.0]))[1]

    assert (empty.lower, empty.upper, empty.pixels, empty.share) == (12, 15, 0, 0)


@pytest.mark.parametrize("name", ["camera", "coins", "page", "chelsea g"])
def test_all_methods_give_scikit_images_cuts(name: str) -> None:
    gray = photos()[name]

    results = compare_all(gray)

    assert tuple(result.method for result in results) == METHODS
    for result in results:
        if GLOBAL_METHODS[result.method].library:
            assert result.cut == getattr(filters, f"threshold_{result.method}")(gray), result.method
        assert type(result.cut) is float
        assert result.reason is None


def test_a_method_that_fails_leaves_the_others_their_cuts() -> None:
    gray = NO_VALLEY()
    with pytest.raises(RuntimeError):
        filters.threshold_minimum(gray)

    for result in compare_all(gray):
        if result.method == "minimum":
            assert result.cut is None
            assert_is_one_sentence(str(result.reason))
        else:
            assert result.cut == thresholding.find_cut(gray, result.method)
            assert result.reason is None


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), ValueError("x"), IndexError("x"), ZeroDivisionError("x")], ids=repr
)
def test_no_error_of_a_method_reaches_the_visitor(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> float:
        raise error

    monkeypatch.setattr(filters, "threshold_yen", fail)

    failed = [result for result in compare_all(data.coins()) if result.cut is None]

    assert [result.method for result in failed] == ["yen"]
    assert_is_one_sentence(str(failed[0].reason))


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (30, 40)])
def test_a_constant_picture_gives_reasons(value: int, shape: tuple[int, int]) -> None:
    results = compare_all(np.full(shape, value, np.uint8))

    assert tuple(result.method for result in results) == METHODS
    for result in results:
        assert result.cut is None
        assert_is_one_sentence(str(result.reason))


@pytest.mark.parametrize("seed", range(20))
def test_odd_pictures_give_cuts_or_reasons(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.choice(256, generator.integers(2, 6), replace=False).astype(np.uint8)
    lonely = np.full((20, 20), values[0])
    lonely[3, 3] = values[1]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for gray in (values[np.newaxis], np.tile(values, (20, 4)), lonely):
            for result in compare_all(gray):
                if result.cut is None:
                    assert_is_one_sentence(str(result.reason))
                else:
                    assert gray.min() <= result.cut <= gray.max(), result.method


@pytest.mark.parametrize("seed", range(30))
def test_methods_by_histogram_find_scikit_images_cuts_in_any_picture(seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.uniform(0.3, 5, 2).tolist()
    shape = generator.beta(a, b, (50, 60))
    low, high = sorted(generator.choice(256, 2, replace=False))
    gray = (low + shape * (high - low)).astype(np.uint8)
    gray[0, :2] = low, high  # otherwise some would have only one value

    cuts = {result.method: result.cut for result in compare_all(gray)}

    for method in ("li", "mean", "triangle"):
        theirs = getattr(filters, f"threshold_{method}")(gray)
        assert cuts[method] == pytest.approx(theirs, rel=1e-9), method


@pytest.mark.parametrize("name", PHOTOS)
def test_a_histogram_serves_in_the_place_of_its_picture(name: str) -> None:
    gray = photos()[name]
    counted = histogram(gray)
    cuts = multi_otsu(gray, 4)

    np.testing.assert_array_equal(multi_otsu(counted, 4), cuts)
    assert describe_classes(counted, cuts) == describe_classes(gray, cuts)
    assert thresholding.variance_of_cuts(counted, cuts) == thresholding.variance_of_cuts(gray, cuts)
    found, expected = compare_all(counted), compare_all(gray)
    assert [each.cut for each in found] == [each.cut for each in expected]
    curves = [thresholding.between_class_variance(each) for each in (counted, gray)]
    for one, other in zip(*curves, strict=True):
        np.testing.assert_array_equal(one, other)
