"""People who cannot see red, green or blue can distinguish the page's colours too."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from models.drawing import Color
from ui import theme

# How linear RGB is perceived: Machado, Oliveira, Fernandes, "A physiologically-based model for
# simulation of color vision deficiency", 2009, at full severity.
SEEN = {
    "everything": np.eye(3),
    "no red (protanopia)": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green (deuteranopia)": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue (tritanopia)": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def smallest_difference(colors: Sequence[Color], sight: str) -> float:
    """CIEDE2000 of the two most similar colours; a difference of 1 is just visible side by side."""
    srgb = np.array(colors) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(SEEN[sight]).T, 0, 1)
    srgb = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return min(float(deltaE_ciede2000(a, b)) for a, b in combinations(rgb2lab(srgb), 2))


@pytest.mark.parametrize("sight", SEEN)
def test_the_colours_of_masks_and_pets_are_distinguishable(sight: str) -> None:
    colors = [theme.BACKGROUND, theme.BORDER, *theme.SUBJECTS, theme.OUTLINE]

    assert smallest_difference(colors, sight) > 10


@pytest.mark.parametrize("sight", SEEN)
@pytest.mark.parametrize("classes", range(2, 9))
def test_the_colours_of_brightness_classes_are_distinguishable(classes: int, sight: str) -> None:
    colors = theme.class_colors(classes)

    assert len(set(colors)) == classes
    assert smallest_difference(colors, sight) > 8
    lightness = rgb2lab(np.array(colors) / 255)[:, 0]
    assert (np.diff(lightness) > 5).all()
