"""A large photo is shown reduced; counts, measurements and saved files use it at full size."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import pipeline, previews, store, thresholding
from models.images import open_photo
from models.picture import FIRST, Picture, Place
from serving import decoding
from ui import cutout, examples, mask, pets, threshold
from ui.uploads import Upload

DOG = examples.FOLDER / "german_shepherd.jpg"
HEIGHT, WIDTH = 2430, 3242  # more than twice the preview's size


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Upload:
    path = tmp_path_factory.mktemp("uploads") / "dog.jpg"
    Image.open(DOG).resize((WIDTH, HEIGHT)).save(path)
    return Upload(str(path))


def test_the_thresholds_are_those_of_all_pixels(large: Upload) -> None:
    gray = thresholding.gray_channel(open_photo(large.path))

    _, picture, chart, _, _, table, _ = threshold.show_classes(large, 3, "luminance", None)

    counted = [int(text.replace(",", "")) for text in re.findall(r"<td>([\d,]+)</td><td>", table)]
    cuts = thresholding.multi_otsu(gray, 3)
    assert counted == np.bincount(thresholding.classify(gray, cuts).ravel()).tolist()
    assert f"[{', '.join(map(str, np.bincount(gray.ravel(), minlength=256)))}]" in str(chart)
    assert max(Image.open(str(picture)).size) == previews.SIDE


@pytest.mark.parametrize("kind", ["classes", "mask", "cut-out", "pets", "outline"])
def test_a_saved_file_has_the_photo_s_own_size(large: Upload, kind: str) -> None:
    model = store.default("segmentation")
    file = {
        "classes": lambda: threshold.write_classes(large, 2, "red", None),
        "mask": lambda: mask.write_mask(large, model),
        "cut-out": lambda: cutout.write_cut_out(large, "transparent", "#ffffff", None, "png"),
        "pets": lambda: pets.write_picture(large),
        "outline": lambda: mask.write_picture(large, model, 0.5, True),
    }[kind]()

    assert Image.open(file).size == (WIDTH, HEIGHT)
    assert Path(file).name.startswith("dog-")


def test_saved_classes_are_those_of_the_visitor_s_cuts(large: Upload) -> None:
    cuts = {"key": threshold.chart_key(large, 2, "green"), "cuts": [77]}

    saved = np.asarray(Image.open(threshold.write_classes(large, 2, "green", cuts)))

    np.testing.assert_array_equal(saved, open_photo(large.path)[:, :, 1] > 77)


def test_a_pet_is_found_and_named_in_the_preview(
    large: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = []

    def open_picture(path: str, side: int = 0, place: Place = FIRST) -> Picture:
        sides.append(side)
        return decoding.start().open_picture(path, side, place)

    monkeypatch.setattr(decoding, "open_picture", open_picture)
    copy = Path(large.path).with_name("copy.jpg")
    copy.write_bytes(Path(large.path).read_bytes())
    upload = Upload(str(copy))

    _, picture, *_ = pets.show_pets(upload)

    assert picture
    assert max(Image.open(picture).size) == previews.SIDE
    assert sides == [previews.SIDE]
    assert upload.size == (HEIGHT, WIDTH)
    for pet, whole in zip(upload.pets.pets, pipeline.analyze(open_photo(copy)), strict=True):
        assert pet.share == pytest.approx(whole.share, abs=0.002)
        assert pet.breeds[0].name == whole.breeds[0].name
        # Where the networks disagree, a probability depends more on the photo's size.
        assert pet.breeds[0].probability == pytest.approx(whole.breeds[0].probability, abs=0.05)
