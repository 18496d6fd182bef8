"""ImageJ's methods against scikit-image, SimpleITK and ImageJ itself."""

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from skimage import data, filters

from models.thresholding import GLOBAL_METHODS, ThresholdError, find_cut, histogram
from models.thresholding.global_methods import minimum, minimum_by_passes

Gray = NDArray[Any]

IMAGEJ = ["default", "huang", "intermodes", "isodata", "li", "max_entropy", "mean", "min_error"]
IMAGEJ += ["minimum", "moments", "otsu", "percentile", "renyi_entropy", "shanbhag", "triangle"]
IMAGEJ += ["yen"]
IN_SCIKIT_IMAGE = ["isodata", "li", "mean", "minimum", "otsu", "triangle", "yen"]
IN_SIMPLE_ITK: dict[str, Any] = {
    "huang": SimpleITK.HuangThresholdImageFilter,
    "intermodes": SimpleITK.IntermodesThresholdImageFilter,
    "max_entropy": SimpleITK.MaximumEntropyThresholdImageFilter,
    "min_error": SimpleITK.KittlerIllingworthThresholdImageFilter,
    "moments": SimpleITK.MomentsThresholdImageFilter,
    "renyi_entropy": SimpleITK.RenyiEntropyThresholdImageFilter,
    "shanbhag": SimpleITK.ShanbhagThresholdImageFilter,
}
BYTES = ["camera", "coins", "page", "moon", "clock", "cell", "text", "brick", "gravel"]
BYTES += ["microaneurysms", "chelsea 0", "chelsea 1", "chelsea 2"]
DEEP = ["camera 12 bits", "coins 12 bits", "cell 11 bits", "page 11 bits", "clock 12 bits"]
DEEP += ["text 10 bits", "two normal distributions", "one level in 257"]


@functools.cache
def picture(name: str) -> Gray:
    noise = np.random.default_rng(0)
    if name == "two normal distributions":
        light = noise.random((300, 400)) < 0.3
        return noise.normal(np.where(light, 3000, 1200), 300).clip(0).astype(np.uint16)
    if name == "one level in 257":
        return data.coins()[:200, :200].astype(np.uint16) * 257
    source, _, detail = name.partition(" ")
    if source == "chelsea":
        return np.ascontiguousarray(data.chelsea()[:, :, int(detail)])
    gray: Gray = getattr(data, source)()
    if not detail:
        return gray
    smooth = filters.gaussian(gray.astype(np.float64), 1) * 2 ** (int(detail[:2]) - 8)
    return (smooth + noise.normal(0, 12, gray.shape)).clip(0).astype(np.uint16)


def found(gray: Gray, method: str) -> float | None:
    try:
        return find_cut(gray, method)
    except ThresholdError:
        return None


def itks(gray: Gray, method: str) -> float | None:
    """SimpleITK's threshold with one bin per level; None if it finds none."""
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    chosen = IN_SIMPLE_ITK[method]()
    # With 8 bits it always counts all 256 levels, otherwise those between the extremes.
    chosen.SetNumberOfHistogramBins(256 if gray.dtype == np.uint8 else int(np.ptp(gray)) + 1)
    chosen.MaskOutputOff()
    try:
        chosen.Execute(SimpleITK.GetImageFromArray(gray))
    except RuntimeError:
        return None
    return float(chosen.GetThreshold())


def test_all_methods_of_imagej_are_there() -> None:
    assert [name for name in GLOBAL_METHODS if name in IMAGEJ] == IMAGEJ
    assert [name for name, each in GLOBAL_METHODS.items() if each.library] == IN_SCIKIT_IMAGE
    assert all(
        each.paper[-1].isdigit() or "ImageJ" in each.paper for each in GLOBAL_METHODS.values()
    )


@pytest.mark.parametrize("method", IN_SIMPLE_ITK)
@pytest.mark.parametrize("name", BYTES + DEEP[:-1])
def test_cuts_are_simple_itks_within_one_level(name: str, method: str) -> None:
    gray = picture(name)
    theirs = itks(gray, method)

    cut = found(gray, method)

    if theirs is None:
        # It gives up after a tenth of the passes, and finds nothing for single levels.
        assert method in ("intermodes", "min_error")
    else:
        assert cut is not None
        assert abs(cut - theirs) <= 1


@pytest.mark.parametrize("method", IN_SCIKIT_IMAGE)
@pytest.mark.parametrize("name", BYTES + DEEP)
def test_cuts_are_scikit_images(name: str, method: str) -> None:
    gray = picture(name)
    if method == "minimum" and name in DEEP and name not in ("cell 11 bits", "text 10 bits"):
        pytest.skip("scikit-image takes from five seconds to hours")
    try:
        theirs = getattr(filters, f"threshold_{method}")(gray)
    except RuntimeError:
        theirs = None

    assert found(gray, method) == theirs


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("method", IN_SCIKIT_IMAGE)
@pytest.mark.parametrize("name", ["camera 12 bits", "cell", "two normal distributions"])
def test_cuts_of_floats_are_scikit_images(name: str, method: str, kind: type[Any]) -> None:
    gray = (picture(name) / 4096 - 0.1).astype(kind)
    try:
        theirs = getattr(filters, f"threshold_{method}")(gray)
    except RuntimeError:
        theirs = None

    cut = found(gray, method)

    assert cut == (theirs if method != "li" else pytest.approx(theirs, rel=1e-4, abs=1e-4))


# From ImageJ 1.53t, `AutoThresholder.getThreshold`, for the histogram of the whole picture.
BY_IMAGEJ_METHODS = ("default", "max_entropy", "moments", "percentile", "shanbhag")
BY_IMAGEJ = {
    "camera": (103, 140, 136, 152, 144),
    "coins": (107, 123, 109, 86, 115),
    "page": (157, 121, 149, 182, 130),
    "moon": (88, 135, 108, 113, 190),
    "clock": (151, 168, 160, 140, 148),
    "cell": (53, 80, 75, 67, 197),
    "text": (107, 94, 112, 135, 80),
    "brick": (131, 114, 135, 100, 170),
}


@pytest.mark.parametrize("name", BY_IMAGEJ)
def test_cuts_are_imagejs(name: str) -> None:
    cuts = tuple(find_cut(picture(name), method) for method in BY_IMAGEJ_METHODS)

    assert cuts == BY_IMAGEJ[name]


@pytest.mark.parametrize("name", ["cell", "page", "text", "camera", "chelsea 0", "chelsea 2"])
def test_smoothing_at_once_is_smoothing_pass_by_pass(name: str) -> None:
    counted = histogram(picture(name))

    assert minimum(*counted) == minimum_by_passes(*counted)


@pytest.mark.parametrize("method", GLOBAL_METHODS)
def test_a_cut_has_pixels_on_both_sides(method: str) -> None:
    for name in BYTES + DEEP:
        gray = picture(name)
        cut = found(gray, method)
        assert cut is None or gray.min() <= cut < gray.max(), name


@pytest.mark.parametrize("method", GLOBAL_METHODS)
@pytest.mark.parametrize("step", [1, 3])
def test_shifted_and_stretched_numbers_shift_and_stretch_the_cut(method: str, step: int) -> None:
    gray = picture("clock").astype(np.int32)
    if method in ("li", "mean") or (step > 1 and method not in ("otsu", "yen", "max_entropy")):
        pytest.skip("lies between levels, or smooths and measures them")
    moved = find_cut(gray * step - 3000, method)

    if method in ("intermodes", "default", "huang"):  # these depend on what is beyond the levels
        assert abs(moved - (find_cut(gray, method) * step - 3000)) <= 30
    else:
        assert moved == find_cut(gray, method) * step - 3000


@pytest.mark.alone
def test_all_methods_of_a_large_deep_picture_take_less_than_300_ms(
    median_seconds: Callable[[Callable[[], object], float], float],
) -> None:
    noise = np.random.default_rng(0)
    light = noise.random((3000, 4000), np.float32) < 0.3
    gray = noise.standard_normal(light.shape, np.float32) * 6000 + np.where(light, 45_000, 18_000)
    deep = gray.clip(0, 65_535).astype(np.uint16)
    assert np.ptp(deep) > 55_000

    def all_methods() -> None:
        counted = histogram(deep)
        for method in GLOBAL_METHODS:
            with suppress(ThresholdError):  # two of them search for peaks until they give up
                find_cut(counted, method)

    all_methods()  # imports
    assert median_seconds(all_methods, 0.3) < 0.3
