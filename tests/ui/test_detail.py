"""A large photo is looked at reduced; what is counted, measured or saved is so in all detail."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import pipeline, store, thresholding
from models.images import Photo, PhotoError, open_photo
from serving import decoding
from ui import cutout, mask, naming, pets, photos, threshold

DOG = photos.EXAMPLES / "german_shepherd.jpg"
HEIGHT, WIDTH = 2430, 3242  # more than twice the size to look at


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("uploads") / "dog.jpg"
    Image.open(DOG).resize((WIDTH, HEIGHT)).save(path)
    return str(path)


def test_the_thresholds_are_those_of_all_pixels(large: str) -> None:
    gray = thresholding.gray_channel(open_photo(large))

    _, picture, chart, _, _, table, _ = threshold.show_classes(large, 3, "luminance", None)

    counted = [int(text.replace(",", "")) for text in re.findall(r"<td>([\d,]+)</td><td>", table)]
    cuts = thresholding.multi_otsu(gray, 3)
    assert counted == np.bincount(thresholding.classify(gray, cuts).ravel()).tolist()
    assert f"[{', '.join(map(str, np.bincount(gray.ravel(), minlength=256)))}]" in chart
    assert max(Image.open(picture).size) == photos.SHOWN_SIDE


@pytest.mark.parametrize("kind", ["classes", "mask", "cut-out"])
def test_a_file_to_keep_has_the_photo_s_own_size(large: str, kind: str) -> None:
    model = store.default("segmentation")
    file = {
        "classes": lambda: threshold.write_classes(large, 2, "red", None),
        "mask": lambda: mask.write_mask(large, model),
        "cut-out": lambda: cutout.export(large, "transparent", "#ffffff", None),
    }[kind]()

    assert Image.open(file).size == (WIDTH, HEIGHT)


def test_the_classes_to_keep_are_those_of_the_visitor_s_cuts(large: str) -> None:
    cuts = {"key": threshold.chart_key(large, 2, "green"), "cuts": [77]}

    saved = np.asarray(Image.open(threshold.write_classes(large, 2, "green", cuts)))

    np.testing.assert_array_equal(saved, open_photo(large)[:, :, 1] > 77)


def test_a_pet_is_found_and_named_without_all_detail(
    large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "_photos", photos.Photos())
    sides = []

    def open_preview(path: str, side: int) -> tuple[Photo, tuple[int, int]]:
        sides.append(side)
        return decoding.start().open_preview(path, side)

    monkeypatch.setattr(photos.decoding, "open_preview", open_preview)
    copy = Path(large).with_name("copy.jpg")
    copy.write_bytes(Path(large).read_bytes())

    _, picture, _, _ = pets.show_pets(str(copy))

    assert max(picture.shape) == photos.SHOWN_SIDE
    assert sides == [photos.SHOWN_SIDE]
    assert photos.size(str(copy)) == (HEIGHT, WIDTH)
    named = naming.name(str(copy)).pets
    for pet, whole in zip(named, pipeline.analyze(open_photo(copy)), strict=True):
        assert pet.share == pytest.approx(whole.share, abs=0.002)
        assert pet.breeds[0].name == whole.breeds[0].name
        assert pet.breeds[0].probability == pytest.approx(whole.breeds[0].probability, abs=0.03)


def test_a_photo_is_decoded_once_for_all_who_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    begun = threading.Event()

    def slow(path: str, side: int) -> tuple[Photo, tuple[int, int]]:
        asked.append(path)
        begun.wait(0.2)
        if path == "bad":
            raise PhotoError("photo_damaged")
        return np.zeros((10, 20, 3), np.uint8), (10, 20)

    monkeypatch.setattr(photos.decoding, "open_preview", slow)
    kept = photos.Photos()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: kept.open("good", 7), range(8)))
        wrong = [threads.submit(kept.open, "bad", 7) for _ in range(8)]

    assert asked.count("good") == 1
    assert all(photo is answers[0][0] and size == (10, 20) for photo, size in answers)
    assert not answers[0][0].flags.writeable
    assert all(isinstance(each.exception(), PhotoError) for each in wrong)
    with pytest.raises(PhotoError):  # what went wrong is not kept
        kept.open("bad", 7)


def test_so_many_photos_are_kept_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read(path: str, side: int) -> tuple[Photo, tuple[int, int]]:
        asked.append(path)
        return np.zeros((10, int(path), 3), np.uint8), (10, int(path))

    monkeypatch.setattr(photos.decoding, "open_preview", read)
    monkeypatch.setattr(photos, "KEPT_BYTES", 3 * 10 * 100)
    kept = photos.Photos()

    for path in ("30", "40", "30", "50", "30", "40", "500", "500"):
        kept.open(path, 0)

    assert asked == ["30", "40", "50", "40", "500"]
