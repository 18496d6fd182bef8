"""Masks, with networks so small that their answers are known."""

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates
from skimage import transform

from models import segmentation, store
from models.cards import ModelError
from models.images import Photo, open_photo
from models.preprocessing import prepare
from models.segmentation import Segmentation

AddModel = Callable[..., Path]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
needs_weights = pytest.mark.skipif(
    not (store.EMBEDDED / "pet.json").exists(), reason="no mask model is embedded yet"
)

CLASSES = ("pet", "background", "border")
LAYOUTS = [("NHWC", "NHWC"), ("NCHW", "NCHW"), ("NHWC", "NCHW"), ("NCHW", "NHWC")]


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def random_photo(height: int, width: int) -> Photo:
    generator = np.random.default_rng([height, width])
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def pixels(*probabilities: tuple[float, float, float]) -> Segmentation:
    """A picture of one row."""
    return Segmentation(np.array([probabilities], np.float32), CLASSES)


def assert_is_segmentation(result: Segmentation, height: int, width: int) -> None:
    probabilities = result.probabilities
    assert probabilities.shape == (height, width, len(result.classes))
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1 + 1e-6
    np.testing.assert_allclose(probabilities.sum(axis=2), 1, atol=1e-5)
    assert result.mask.shape == (height, width)
    assert result.mask.dtype == np.uint8
    np.testing.assert_array_equal(result.mask, probabilities.argmax(axis=2) + 1)
    assert sum(result.shares.values()) == pytest.approx(1)
    foreground = result.foreground()
    assert foreground.shape == (height, width)
    assert foreground.dtype == np.float32
    assert foreground.min() >= 0
    assert foreground.max() <= 1


@pytest.mark.parametrize(("layout", "output_layout"), LAYOUTS)
def test_a_photo_of_the_input_size_gets_the_networks_own_answer(
    layout: str, output_layout: str, add_segmenter: AddModel
) -> None:
    weights = np.array([[1.0, -2, 0.5], [0.3, 0.7, -1], [-0.2, 0.1, 2]])
    add_segmenter(weights=weights, layout=layout, output_layout=output_layout)
    photo = random_photo(24, 32)

    result = segmentation.load("pet").predict(photo)

    assert_is_segmentation(result, 24, 32)
    expected = softmax((photo / 255 - 0.5) / 0.5 @ weights.T)
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-5)
    assert result.classes == CLASSES


@pytest.mark.parametrize(("layout", "output_layout"), LAYOUTS)
def test_answers_are_enlarged_smoothly_to_the_photo(
    layout: str, output_layout: str, add_segmenter: AddModel
) -> None:
    """Each pixel of the answer stands for the centre of its part of the photo."""
    add_segmenter(layout=layout, output_layout=output_layout)
    photo = random_photo(120, 130)
    segmenter = segmentation.load("pet")
    (answer,) = segmenter.run(prepare(photo, segmenter.card.input))

    result = segmenter.predict(photo)

    assert answer.shape == (24, 32, 3)
    expected = transform.resize(answer, (120, 130), order=1, mode="edge")
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-5)
    assert_is_segmentation(result, 120, 130)


@pytest.mark.parametrize(("layout", "output_layout"), LAYOUTS)
def test_the_mask_says_where_each_class_is(
    layout: str, output_layout: str, add_segmenter: AddModel
) -> None:
    add_segmenter(layout=layout, output_layout=output_layout)
    photo = np.zeros((100, 320, 3), np.uint8)
    photo[:, :160, 0] = 255
    photo[:60, 160:, 1] = 255
    photo[60:, 160:, 2] = 255

    result = segmentation.load("pet").predict(photo)

    assert (result.mask[:, :150] == 1).all()
    assert (result.mask[:50, 170:] == 2).all()
    assert (result.mask[70:, 170:] == 3).all()
    assert list(result.shares) == list(CLASSES)
    assert list(result.shares.values()) == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    foreground = result.foreground()
    assert foreground[:, :150].min() > 0.99
    assert foreground[:50, 170:].max() < 0.01
    np.testing.assert_allclose(foreground[70:, 170:], 0.5, atol=0.01)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (1, 700), (700, 1), (5, 3), (451, 300), (24, 600)], ids=str
)
@pytest.mark.parametrize("output_layout", ["NHWC", "NCHW"])
def test_photos_of_every_shape_are_segmented_at_their_size(
    output_layout: str, size: tuple[int, int], add_segmenter: AddModel
) -> None:
    add_segmenter(output_layout=output_layout)

    assert_is_segmentation(segmentation.load("pet").predict(random_photo(*size)), *size)


def test_a_network_may_be_square_wide_or_high(add_segmenter: AddModel) -> None:
    photo = random_photo(50, 40)

    for number, (height, width) in enumerate([(16, 16), (8, 64), (96, 16), (1, 1)]):
        add_segmenter(f"model {number}", height=height, width=width)
        assert_is_segmentation(segmentation.load(f"model {number}").predict(photo), 50, 40)


def test_a_plain_photo_is_of_one_class_from_edge_to_edge(add_segmenter: AddModel) -> None:
    add_segmenter()
    photo = np.zeros((301, 77, 3), np.uint8)
    photo[:, :, 1] = 255

    result = segmentation.load("pet").predict(photo)

    np.testing.assert_allclose(result.probabilities[:, :, 1], 1, atol=1e-5)
    assert result.shares == {"pet": 0, "background": 1, "border": 0}


def test_a_model_may_have_other_classes(add_segmenter: AddModel) -> None:
    add_segmenter(
        "nuclei", weights=np.ones((2, 3)), labels=[{"name": "nucleus"}, {"name": "background"}]
    )

    result = segmentation.load("nuclei").predict(random_photo(30, 20))

    assert result.classes == ("nucleus", "background")
    assert result.probabilities.shape == (30, 20, 2)
    np.testing.assert_allclose(result.probabilities, 0.5, atol=1e-6)


def test_a_batch_is_answered_one_by_one(add_segmenter: AddModel) -> None:
    for name, output_layout in (("last", "NHWC"), ("first", "NCHW")):
        add_segmenter(name, layout="NCHW", output_layout=output_layout)
        segmenter = segmentation.load(name)
        batch = np.random.default_rng(0).normal(size=(3, 3, 24, 32)).astype(np.float32)

        together = segmenter.run(batch)

        assert together.shape == (3, 24, 32, 3)
        alone = np.concatenate([segmenter.run(one[np.newaxis]) for one in batch])
        np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("pet", "background", "border", "expected"),
    [
        (1.0, 0.0, 0.0, 1.0),
        (0.0, 1.0, 0.0, 0.0),
        (0.0, 0.0, 1.0, 0.5),
        (0.5, 0.5, 0.0, 0.5),
        (0.5, 0.0, 0.5, 1.0),
        (0.0, 0.5, 0.5, 0.0),
        (0.75, 0.25, 0.0, 1.0),
        (0.25, 0.75, 0.0, 0.0),
        (0.6, 0.4, 0.0, 0.7),
        (0.3, 0.7, 0.0, 0.1),
        (0.3, 0.3, 0.4, 0.5),
        (0.4, 0.2, 0.4, 0.7),
    ],
)
def test_the_foreground_is_a_ramp_through_the_middle_of_the_border(
    pet: float, background: float, border: float, expected: float
) -> None:
    foreground = pixels((pet, background, border)).foreground()

    assert foreground.dtype == np.float32
    np.testing.assert_allclose(foreground, [[expected]], atol=1e-6)


def test_the_foreground_finds_its_classes_by_name() -> None:
    values = np.array([[[0.1, 0.2, 0.7]]], np.float32)

    result = Segmentation(values, ("border", "background", "pet"))

    np.testing.assert_allclose(result.foreground(), [[1.0]])


def test_shares_count_every_class_even_one_that_is_nowhere() -> None:
    result = pixels((0.9, 0.1, 0.0), (0.2, 0.7, 0.1), (0.8, 0.1, 0.1), (0.5, 0.2, 0.3))

    assert result.mask.tolist() == [[1, 2, 1, 1]]
    assert result.shares == {"pet": 0.75, "background": 0.25, "border": 0.0}


def test_a_model_is_loaded_once(add_segmenter: AddModel) -> None:
    path = add_segmenter("pet")
    first = segmentation.load("pet")
    path.unlink()

    assert segmentation.load("pet") is first
    assert first.device in ("CPU", "GPU")
    assert first.card.name == "pet"


def test_the_pet_model_is_the_default(add_segmenter: AddModel) -> None:
    add_segmenter("pet")

    assert segmentation.load().card.name == "pet"
    assert segmentation.load() is segmentation.load()


def test_the_photo_is_left_as_it_is(add_segmenter: AddModel) -> None:
    add_segmenter()
    photo = random_photo(24, 32)
    photo.flags.writeable = False

    segmentation.load("pet").predict(photo)


@pytest.mark.usefixtures("folder")
def test_a_missing_model_is_asked_for_again_when_it_may_have_come(add_segmenter: AddModel) -> None:
    with pytest.raises(ModelError, match="no model 'pet'"):
        segmentation.load("pet")
    add_segmenter("pet")

    assert segmentation.load("pet").classes == CLASSES


def test_a_breed_model_makes_no_masks(add_classifier: AddModel) -> None:
    add_classifier("breeds")

    with pytest.raises(ModelError, match="is for classification"):
        segmentation.load("breeds")


def fit_input(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """The part of a card that keeps a photo's scale if it fits into 64 x 96 pixels."""
    halves = [0.5, 0.5, 0.5]
    size = {"height": 64, "width": 96, "resize": "fit", "multiple": 16}
    rest = {"interpolation": "bilinear", "mean": halves, "std": halves, "color": "RGB"}
    return {**size, **rest, "layout": "NHWC", **changes}


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("size", [(64, 96), (64, 90), (17, 33), (1, 1), (50, 1)], ids=str)
def test_a_photo_that_fits_is_answered_pixel_by_pixel(
    size: tuple[int, int], layout: str, add_segmenter: AddModel
) -> None:
    weights = np.array([[1.0, -2, 0.5], [0.3, 0.7, -1], [-0.2, 0.1, 2]])
    add_segmenter(weights=weights, input=fit_input(layout=layout), output_layout=layout)
    photo = random_photo(*size)

    result = segmentation.load("pet").predict(photo)

    assert_is_segmentation(result, *size)
    expected = softmax((photo / 255 - 0.5) / 0.5 @ weights.T)
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "scaled", "padded"),
    [
        ((128, 192), (64, 96), (64, 96)),
        ((200, 90), (64, 29), (64, 32)),
        ((70, 300), (22, 96), (32, 96)),
    ],
)
def test_a_photo_too_large_to_fit_gets_its_size_back_without_the_padding(
    size: tuple[int, int],
    scaled: tuple[int, int],
    padded: tuple[int, int],
    add_segmenter: AddModel,
) -> None:
    add_segmenter(input=fit_input())
    photo = random_photo(*size)
    segmenter = segmentation.load("pet")
    (answer,) = segmenter.run(prepare(photo, segmenter.card.input))

    result = segmenter.predict(photo)

    assert answer.shape == (*padded, 3)
    inner = answer[: scaled[0], : scaled[1]]
    expected = transform.resize(inner, size, order=1, mode="edge")
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-5)
    assert_is_segmentation(result, *size)


def place(
    answer: NDArray[np.floating], shown: tuple[float, float], height: int, width: int
) -> NDArray[np.float64]:
    """An answer at a photo's size, when so many of its rows and columns show the photo."""
    answer = answer[: ceil(shown[0]), : ceil(shown[1])]
    rows, columns = (
        (np.arange(side) + 0.5) * part / side - 0.5
        for side, part in zip((height, width), shown, strict=True)
    )
    places = np.meshgrid(rows, columns, indexing="ij")
    planes = [
        map_coordinates(answer[:, :, index].astype(np.float64), places, order=1, mode="nearest")
        for index in range(answer.shape[2])
    ]
    return np.stack(planes, axis=2)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    ("resize", "size", "shown", "error"),
    [
        ("squash", (201, 133), (32, 48), 1e-5),
        ("squash", (32, 48), (32, 48), 1e-5),
        ("letterbox", (128, 192), (32, 48), 1e-5),
        ("letterbox", (300, 600), (24, 48), 1e-5),
        ("letterbox", (128, 198), (31, 48), 1e-5),
        ("fit", (70, 300), (11, 48), 1e-5),
        # An odd number of the input's rows or columns: the photo ends within a place.
        ("letterbox", (200, 90), (32, 14.5), 1e-2),
        ("fit", (41, 77), (20.5, 38.5), 1e-2),
    ],
)
def test_an_answer_of_half_the_input_s_size_lies_where_the_photo_is(
    resize: str,
    size: tuple[int, int],
    shown: tuple[float, float],
    error: float,
    layout: str,
    add_segmenter: AddModel,
) -> None:
    weights = np.array([[1.0, -2, 0.5], [0.3, 0.7, -1], [-0.2, 0.1, 2]])
    spec = fit_input(resize=resize, layout=layout)
    add_segmenter(weights=weights, input=spec, output_layout=layout, halved=True)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = np.sin(x / size[1] * 5), np.cos(y / size[0] * 6), np.sin(x / size[1] * 3 + 2)
    photo = np.round(127.5 + 120 * np.stack(waves, axis=2)).astype(np.uint8)
    segmenter = segmentation.load("pet")
    batch = prepare(photo, segmenter.card.input)
    (answer,) = segmenter.run(batch)
    rows = batch.shape[2:] if layout == "NCHW" else batch.shape[1:3]
    assert answer.shape == (rows[0] // 2, rows[1] // 2, 3)

    result = segmenter.predict(photo)

    assert_is_segmentation(result, *size)
    expected = place(answer, shown, *size)
    # A place that the photo shares with the padding says nothing certain.
    sure = tuple(
        slice(side * 7 // 8 if part % 1 else side) for side, part in zip(size, shown, strict=True)
    )
    np.testing.assert_allclose(result.probabilities[sure], expected[sure], atol=error)
    shifted = place(answer, (shown[0] + 0.5, shown[1] + 0.5), *size)
    assert np.abs(shifted - expected)[sure].max() > 2 * error  # half a place would be noticed


@pytest.mark.parametrize(
    ("classes", "subject"),
    [
        (CLASSES, "pet"),
        (("background", "border", "nucleus"), "nucleus"),
        (("background", "cell"), "cell"),
    ],
)
def test_the_subject_is_neither_background_nor_border(
    classes: tuple[str, ...], subject: str
) -> None:
    assert Segmentation(np.zeros((1, 1, len(classes)), np.float32), classes).subject == subject


def test_a_model_without_a_border_has_a_foreground_too() -> None:
    values = np.array([[[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]]], np.float32)

    foreground = Segmentation(values, ("nucleus", "background")).foreground()

    np.testing.assert_allclose(foreground, [[1.0, 0.5, 0.0]], atol=1e-6)


def test_the_default_model_is_the_one_whose_card_says_so(add_segmenter: AddModel) -> None:
    for name in ("pets", "cells"):
        add_segmenter(name)
    assert store.default("segmentation") == "cells"

    add_segmenter("puppies", default=True, title="Puppies, fine")

    assert store.default("segmentation") == "puppies"
    found = [(card.title, card.default, card.instances) for card in store.cards("segmentation")]
    assert found == [
        ("cells", False, False),
        ("pets", False, False),
        ("Puppies, fine", True, False),
    ]


@needs_weights
@pytest.mark.usefixtures("fresh_models")
@pytest.mark.parametrize("name", ["cat_chelsea.png", "german_shepherd.jpg"])
def test_the_embedded_model_sees_the_pet(name: str) -> None:
    photo = open_photo(EXAMPLES / name)

    result = segmentation.load().predict(photo)

    assert_is_segmentation(result, *photo.shape[:2])
    assert result.classes == CLASSES
    assert result.shares["pet"] > 0.2


@needs_weights
@pytest.mark.usefixtures("fresh_models")
@pytest.mark.parametrize("name", ["coffee_cup.jpg", "coins.png", "cow.jpg", "red_panda.jpg"])
def test_the_embedded_model_answers_for_other_pictures_too(name: str) -> None:
    photo = open_photo(EXAMPLES / name)

    assert_is_segmentation(segmentation.load().predict(photo), *photo.shape[:2])


@pytest.mark.parametrize("size", [(1, 1), (40, 30), (301, 200), (3, 900)], ids=str)
def test_probability_maps_are_small_and_true_to_the_probabilities(size: tuple[int, int]) -> None:
    logits = np.random.default_rng(0).normal(size=(*size, 3)) * 3
    probabilities = softmax(logits).astype(np.float32)

    maps = Segmentation(probabilities, CLASSES).probability_maps(100)

    scale = min(100 / max(size), 1)
    rows, columns = (max(round(length * scale), 1) for length in size)
    assert maps.dtype == np.uint8
    assert maps.shape == (3, rows, columns)
    np.testing.assert_allclose(maps.sum(axis=0, dtype=int), 255, atol=2)
    planes = [Image.fromarray(plane) for plane in np.moveaxis(probabilities, 2, 0)]
    small = [
        np.asarray(plane.resize((columns, rows), Image.Resampling.BILINEAR)) for plane in planes
    ]
    np.testing.assert_allclose(maps / 255, np.stack(small), atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("size", [(1300, 900), (31, 2000), (20, 17), (1, 1)], ids=str)
def test_results_from_small_answers_equal_those_from_full_probabilities(
    size: tuple[int, int],
) -> None:
    logits = np.random.default_rng(0).normal(size=(32, 24, 3)) * 3
    answer = Segmentation(softmax(logits).astype(np.float32), CLASSES)

    result = answer.resized(*size)

    whole = Segmentation(np.ascontiguousarray(result.probabilities), CLASSES)
    assert result.shape == whole.shape == size
    # If two classes are equally probable to the last digit, either may come first.
    assert (result.mask != whole.mask).mean() < 1e-3
    assert result.shares == pytest.approx(whole.shares, abs=1e-3)
    np.testing.assert_array_equal(whole.mask, whole.probabilities.argmax(axis=2) + 1)
    np.testing.assert_allclose(result.foreground(), whole.foreground(), atol=1e-5)


def test_a_segmentation_of_another_size_is_interpolated() -> None:
    probabilities = softmax(np.random.default_rng(0).normal(size=(12, 9, 3))).astype(np.float32)

    result = Segmentation(probabilities, CLASSES).resized(60, 45)

    assert_is_segmentation(result, 60, 45)
    expected = transform.resize(probabilities, (60, 45), order=1, mode="edge")
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-5)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_network_says_whether_it_takes_other_sizes(layout: str, add_segmenter: AddModel) -> None:
    add_segmenter("free", layout=layout)
    add_segmenter("fixed", layout=layout, fixed=True)

    assert segmentation.load("free").any_size
    assert not segmentation.load("fixed").any_size
