"""Results of an upload: each is computed once, from a file decoded once; errors are not cached."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import breeds, detection, matting, pipeline, segmentation, store, thresholding
from models.images import Photo, PhotoError, open_photo
from serving import decoding
from ui import breed, cutout, examples, mask, mask_lesson, pets, threshold
from ui.memory import Memory
from ui.uploads import Upload

CAT = examples.FOLDER / "cat_chelsea.png"


@pytest.fixture
def upload(tmp_path: Path) -> Upload:
    """A photo about which nothing is known yet."""
    path = tmp_path / "cat.png"
    path.write_bytes(CAT.read_bytes())
    return Upload(str(path), Memory(10_000_000))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each expensive function was called."""
    counted: Counter[str] = Counter()

    def count(module: object, name: str) -> None:
        original = getattr(module, name)

        def call(*arguments: object, **options: object) -> object:
            counted[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    for module, name in (
        (decoding, "open_picture"),
        (decoding, "open_photo"),
        (thresholding, "prepare"),
        (thresholding, "histogram"),
        (pipeline, "recognize"),
        (matting, "extract"),
        (segmentation, "load"),
        (detection.Detector, "detect"),
    ):
        count(module, name)
    return counted


def test_all_tabs_together_compute_each_result_once(upload: Upload, calls: Counter[str]) -> None:
    model = store.default("segmentation")
    tabs = (
        lambda: pets.show_pets(upload),
        lambda: cutout.show_cut_out(upload, "transparent", "#ffffff", None),
        lambda: threshold.show_classes(upload, 3, "luminance", None),
        lambda: threshold.show_methods(upload, "luminance"),
        lambda: list(mask.show_overlay(upload, model, 0.5, True)),
        lambda: mask_lesson.show_probabilities(upload, model),
        lambda: mask_lesson.show_objects(upload, model),
        lambda: breed.show_breeds(upload),
    )
    with ThreadPoolExecutor(len(tabs)) as threads:
        for answer in [threads.submit(tab) for tab in tabs]:
            answer.result()

    assert calls.pop("load") == 3  # by mask, pets, and cut-out, which needs its card
    assert calls == Counter(
        {
            "open_picture": 1,
            "prepare": 1,
            "histogram": 1,
            "detect": 1,
            "recognize": 1,
            "extract": 1,
        }
    )


def test_a_slider_counts_no_pixels_again(upload: Upload, calls: Counter[str]) -> None:
    for classes in range(2, 9):
        threshold.show_classes(upload, classes, "green", None)
    key = threshold.chart_key(upload, 3, "green")
    threshold.show_classes(upload, 3, "green", {"key": key, "cuts": [80, 140]})
    threshold.show_methods(upload, "green")

    assert calls["histogram"] == calls["prepare"] == 1
    threshold.show_methods(upload, "red")
    assert calls["histogram"] == calls["prepare"] == 2


def test_the_same_file_is_the_same_upload_for_all(upload: Upload, calls: Counter[str]) -> None:
    again = Upload(upload.path, upload.memory)

    assert again == upload
    assert hash(again) == hash(upload)
    assert again.preview is upload.preview
    assert again != Upload(str(CAT), upload.memory)
    assert calls["open_picture"] == 1


def test_results_are_those_of_the_models(upload: Upload) -> None:
    photo = open_photo(CAT)

    np.testing.assert_array_equal(upload.whole, photo)
    assert upload.size == photo.shape[:2]
    for channel in thresholding.CHANNELS:
        gray = thresholding.gray_channel(photo, channel)
        np.testing.assert_array_equal(upload.gray(channel), gray)
        found, expected = upload.histogram(channel), thresholding.histogram(gray)
        np.testing.assert_array_equal(found.counts, expected.counts)
        np.testing.assert_array_equal(found.centers, expected.centers)


def test_the_mask_is_that_of_the_endpoints() -> None:
    path = examples.FOLDER / "cat_and_dog.jpg"
    segmenter = segmentation.load(store.default("segmentation"))
    classifier = breeds.load(store.default("classification"))
    found = Upload(str(path), Memory(10_000_000)).mask(segmenter.card.name).segmentation
    expected, pets_found = pipeline.outline(open_photo(path), segmenter, classifier)
    assert len(pets_found) == 2
    np.testing.assert_allclose(found.answer, expected.answer, atol=1e-5)
    whole = segmenter.predict(open_photo(path))
    assert np.abs(found.answer - whole.answer).max() > 0.1  # it looked closer


def test_no_tab_can_write_into_what_others_get(upload: Upload) -> None:
    for array in (upload.preview, upload.whole, upload.gray("red"), upload.cut_out().cut_out):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0


def test_an_error_is_reported_and_not_cached(upload: Upload) -> None:
    content = Path(upload.path).read_bytes()
    Path(upload.path).unlink()
    for ask in (lambda: upload.preview, lambda: upload.pets, lambda: upload.histogram("red")):
        with pytest.raises(PhotoError) as error:
            ask()
        assert error.value.key == "photo_unreadable"

    Path(upload.path).write_bytes(content)

    assert upload.pets.pets


def test_results_outlive_the_file(upload: Upload) -> None:
    found = upload.pets
    Path(upload.path).unlink()

    assert upload.pets is found
    assert not pets.show_pets(upload)[0].count("wrong")
    assert "cannot be read" in threshold.show_methods(Upload(upload.path, Memory(0)), "red")[0]


def test_a_large_photo_is_kept_at_full_size_only_if_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.jpg"
    Image.open(CAT).convert("RGB").resize((4000, 2660)).save(path)
    memory = Memory(100_000_000)
    upload = Upload(str(path), memory)
    whole = 4000 * 2660 * 3

    assert upload.preview.shape == (665, 1000, 3)
    assert upload.size == (2660, 4000)
    assert memory.size < whole / 10
    assert upload.whole.nbytes == whole
    assert whole < memory.size < 1.1 * whole

    def refuse(*_: object) -> Photo:
        raise AssertionError("decoded again")

    monkeypatch.setattr(decoding, "open_picture", refuse)
    assert upload.whole is upload.whole
