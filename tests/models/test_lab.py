"""Masks with any settings, and snippets that make the same masks."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage import data, filters, io

from models.images import open_picture
from models.picture import Place
from models.thresholding import GLOBAL_METHODS, LOCAL_METHODS, ThresholdError
from models.thresholding.channels import CHANNELS, Channel
from models.thresholding.lab import Settings, prepare, segment, snippet

METHODS = [*GLOBAL_METHODS, *LOCAL_METHODS]
RED_CAT = data.chelsea()[60:160, 100:220]
GREY = data.coins()[100:190, 60:180]
GREY = GREY.copy()
GREY[:20, :20], GREY[70:, 100:] = 0, 255  # flat, and pure black and white
NOISE = np.random.default_rng(0).integers(0, 16, GREY.shape)
PICTURES: dict[str, NDArray[Any]] = {
    "photo": RED_CAT,
    "grey": GREY,
    "12 bits": (GREY * 16.0 + NOISE).astype(np.uint16),
    "16 bits": (GREY * 256.0 + NOISE).astype(np.uint16),
    "signed": (GREY * 16.0 + NOISE - 2000).astype(np.int16),
    "32 bits": (GREY * 1e6 + NOISE).astype(np.uint32),
    "float": (GREY / 255 + NOISE / 1000).astype(np.float32),
    "deep colour": RED_CAT.astype(np.uint16) * 200 + 99,
}


def run(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.bool_]:
    assert "scipy" not in code.replace("scikit", "")
    assert "models" not in code
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(code, "snippet.py", "exec"), names)  # noqa: S102
    mask: NDArray[np.bool_] = names["mask"]
    assert mask.dtype == bool
    return mask


def check(
    name: str, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> NDArray[np.bool_] | None:
    """Compare the mask of some settings with their snippet's; both may be None."""
    picture = PICTURES[name]
    gray = prepare(picture, settings)
    try:
        mask = segment(gray, settings).mask
    except ThresholdError:
        return None
    file = "picture.png" if picture.dtype == np.uint8 else "picture.tif"
    io.imsave(folder / file, picture, check_contrast=False)
    code = snippet(gray, settings, file, picture.dtype, picture.ndim == 3)

    again = run(code, folder, monkeypatch)

    assert mask.dtype == bool
    np.testing.assert_array_equal(again, mask, err_msg=f"{name}: {settings}\n{code}")
    return mask


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("method", METHODS)
def test_a_snippet_makes_the_mask_that_is_seen(
    method: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = check(name, Settings(method, window=15), tmp_path, monkeypatch)

    if mask is None:
        assert method in ("min_error", "minimum", "intermodes")
    else:
        assert 0 < mask.mean() < 1


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_snippet_takes_every_channel(
    channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("photo", "deep colour", "grey", "float"):
        for method in ("otsu", "sauvola"):
            check(name, Settings(method, channel, window=9), tmp_path, monkeypatch)


SETTINGS = [
    {"blur": 1.5},
    {"blur": 4.5},
    {"hysteresis": 0.1},
    {"inner": True},
    {"dark": True},
    {"dark": True, "hysteresis": 0.2, "blur": 0.8, "inner": True},
    {"k": -0.15, "window": 3},
    {"k": 0.3, "window": 101, "dark": True, "hysteresis": 0.05},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", ["photo", "12 bits", "float"])
def test_a_snippet_takes_every_setting(
    name: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = "window" in settings
    for method in LOCAL_METHODS if local else ("huang", "otsu", "niblack"):
        check(name, Settings(method, **settings), tmp_path, monkeypatch)


def test_hysteresis_is_scikit_images() -> None:
    gray = PICTURES["12 bits"]
    cut = segment(gray, Settings("otsu")).cut
    assert cut is not None
    reach = 0.15 * float(np.ptp(gray))

    light = segment(gray, Settings("otsu", hysteresis=0.15)).mask
    dark = segment(gray, Settings("otsu", hysteresis=0.15, dark=True)).mask

    theirs = filters.apply_hysteresis_threshold(gray, cut - reach, cut)
    np.testing.assert_array_equal(light, theirs)
    upside = -gray.astype(np.float64)
    theirs = filters.apply_hysteresis_threshold(upside, -cut - reach - 0.5, -cut - 0.5)
    np.testing.assert_array_equal(dark, theirs)


def test_pure_black_and_white_can_be_left_out() -> None:
    inner = GREY[(GREY > 0) & (GREY < 255)]
    for method in ("otsu", "huang", "mean"):
        found = segment(GREY, Settings(method, inner=True))
        assert found.cut == segment(inner, Settings(method)).cut
        assert found.cut != segment(GREY, Settings(method)).cut
        np.testing.assert_array_equal(found.mask, found.cut < GREY)
    with pytest.raises(ThresholdError, match="pure black or white"):
        segment(np.array([[0, 255]], np.uint8), Settings(inner=True))


def test_dark_objects_are_the_others() -> None:
    for method, name in itertools.product(METHODS, ("grey", "float")):
        if method not in ("minimum", "intermodes", "min_error"):
            gray = prepare(PICTURES[name], Settings(method))
            light, dark = (
                segment(gray, Settings(method, dark=dark)).mask for dark in (False, True)
            )
            np.testing.assert_array_equal(light, ~dark)


def test_a_snippet_takes_one_of_a_stacks_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = np.stack([PICTURES["12 bits"] // part for part in range(1, 7)]).reshape(3, 2, 90, 120)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZCYX"})
    picture = open_picture(path, place=Place(z=2, channel=1))
    values = np.asarray(picture.counted)
    np.testing.assert_array_equal(values, stack[2, 1])
    gray = prepare(values, Settings("huang"))

    place = [axis.index for axis in picture.axes]
    code = snippet(gray, Settings("huang"), path.name, values.dtype, False, place)

    mask = segment(gray, Settings("huang")).mask
    np.testing.assert_array_equal(run(code, tmp_path, monkeypatch), mask)
