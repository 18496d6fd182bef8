"""How long a visitor waits for each answer on a photo of 451 x 300 pixels, on a CPU."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models import breeds, segmentation, store
from models.images import Photo, open_photo
from models.thresholding import gray_channel, multi_otsu, otsu

pytestmark = pytest.mark.alone

Clock = Callable[[Callable[[], object], float], float]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def photo() -> Photo:
    return open_photo(EXAMPLES / "cat_chelsea.png")


def test_otsu_takes_less_than_5_ms(photo: Photo, median_seconds: Clock) -> None:
    gray = gray_channel(photo)

    assert median_seconds(lambda: otsu(gray), 0.005) < 0.005


def test_five_classes_take_less_than_5_ms(photo: Photo, median_seconds: Clock) -> None:
    gray = gray_channel(photo)

    assert median_seconds(lambda: multi_otsu(gray, 5), 0.005) < 0.005


@pytest.mark.skipif(
    not (store.EMBEDDED / "pet.json").exists(), reason="no mask model is embedded yet"
)
@pytest.mark.usefixtures("fresh_models")
def test_a_mask_takes_less_than_40_ms(photo: Photo, median_seconds: Clock) -> None:
    # 17 ms on two idle cores; the margin is for slower machines.
    segmenter = segmentation.load()

    assert median_seconds(lambda: segmenter.predict(photo).mask, 0.040) < 0.040


@pytest.mark.skipif(
    not (store.EMBEDDED / "breeds.json").exists(), reason="no breed model is embedded yet"
)
@pytest.mark.usefixtures("fresh_models")
def test_a_breed_takes_less_than_50_ms(photo: Photo, median_seconds: Clock) -> None:
    # 22 ms on two idle cores; the margin is for slower machines.
    classifier = breeds.load()

    assert median_seconds(lambda: classifier.predict(photo), 0.050) < 0.050
