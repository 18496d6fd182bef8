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
from skimage.filters import gaussian

from models import segmentation, store
from models.cards import ModelError
from models.images import Photo, open_photo
from models.preprocessing import prepare
from models.regions import numbered
from models.segmentation import Segmentation

AddModel = Callable[..., Path]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
needs_weights = pytest.mark.skipif(
    not (store.EMBEDDED / "pet.json").exists(), reason="no mask model is embedded yet"
)

CLASSES = ("pet", "background", "border")
CELLS = ("nucleus", "background", "border")
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


def cells(interior: NDArray[np.bool_], border: NDArray[np.bool_]) -> Segmentation:
    """A certain answer: nuclei, their border, and background elsewhere."""
    classes = np.select([interior, border], [0, 2], 1)
    return Segmentation(np.eye(3, dtype=np.float32)[classes] * 0.96 + np.float32(0.02 / 1.5), CELLS)


def disc(row: float, column: float, radius: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(rows - row, columns - column) < radius


def test_two_discs_that_touch_are_told_apart_by_the_border_between_them() -> None:
    shape = (40, 70)
    left, right = disc(20, 20, 15, shape), disc(20, 49, 15, shape)
    inner = disc(20, 20, 13, shape) | disc(20, 49, 13, shape)

    instances = cells(inner, left | right).instances()

    assert instances.dtype == np.int32
    assert instances.shape == shape
    assert sorted(np.unique(instances)) == [0, 1, 2]
    np.testing.assert_array_equal(instances > 0, left | right)
    both = left & right
    assert (instances[left & ~both] == instances[20, 20]).all()
    assert (instances[right & ~both] == instances[20, 49]).all()
    assert instances[20, 20] != instances[20, 49]


def test_two_discs_without_a_border_between_them_are_told_apart_by_their_waist() -> None:
    shape = (40, 70)
    left, right = disc(20, 20, 15, shape), disc(20, 45, 15, shape)
    both = left | right

    instances = cells(both, both).instances()

    assert sorted(np.unique(instances)) == [0, 1, 2]
    np.testing.assert_array_equal(instances > 0, both)
    # The waist is in the middle between the two centres.
    columns = np.arange(70)
    assert (instances[both & (columns < 32)] == instances[20, 20]).all()
    assert (instances[both & (columns > 33)] == instances[20, 45]).all()


def test_a_weak_border_parts_two_halves_of_a_disc() -> None:
    shape = (40, 40)
    whole = disc(20, 20, 12, shape)
    probabilities = cells(whole, whole).probabilities.copy()
    probabilities[:, 19:22] = np.where(
        whole[:, 19:22, np.newaxis],
        np.array([0.6, 0.05, 0.35], np.float32),
        probabilities[:, 19:22],
    )

    assert Segmentation(probabilities, CELLS).instances().max() == 2
    assert cells(whole, whole).instances().max() == 1


def test_a_long_nucleus_is_one() -> None:
    rows, columns = np.mgrid[:40, :90]
    ellipse = ((rows - 20) / 9) ** 2 + ((columns - 45) / 35) ** 2 < 1

    instances = cells(ellipse, ellipse).instances()

    np.testing.assert_array_equal(instances, ellipse.astype(np.int32))


def test_specks_are_no_instances_and_leave_no_gap_in_the_numbers() -> None:
    shape = (30, 60)
    specks = np.zeros(shape, np.bool_)
    specks[2:4, 2:4] = True  # before the others in every order
    specks[20, 20:25] = True
    nuclei = np.zeros(shape, np.bool_)
    nuclei[10:14, 10:14] = True
    nuclei[20:25, 40:50] = True

    instances = cells(specks | nuclei, np.zeros(shape, np.bool_)).instances()

    np.testing.assert_array_equal(instances > 0, nuclei)
    assert sorted(np.unique(instances)) == [0, 1, 2]
    # Whatever else is in the picture.
    assert (cells(specks, np.zeros(shape, np.bool_)).instances() == 0).all()


def test_nuclei_everywhere_are_one_instance() -> None:
    everywhere = np.ones((20, 30), np.bool_)

    assert (cells(everywhere, everywhere).instances() == 1).all()


def test_a_mask_of_background_has_no_instances() -> None:
    nothing = np.zeros((20, 30), np.bool_)

    assert (cells(nothing, nothing).instances() == 0).all()
    # A border around nothing is ignored.
    assert (cells(nothing, disc(10, 15, 6, (20, 30))).instances() == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_random_discs_are_found_one_by_one(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shape, truth = (160, 200), np.zeros((160, 200), np.int32)
    placed: list[tuple[float, float, float]] = []
    for radius in generator.uniform(4, 14, 60):
        row, column = generator.uniform(0, shape[0]), generator.uniform(0, shape[1])
        # They may touch and be cut off by the picture's edge, but not overlap.
        if all(np.hypot(row - r, column - c) > radius + other for r, c, other in placed):
            placed.append((row, column, radius))
            truth[disc(row, column, radius, shape)] = len(placed)
    blurred = gaussian((truth > 0).astype(np.float32), 1)
    probabilities = np.stack([blurred, 1 - blurred, np.zeros_like(blurred)], axis=2)
    assert len(placed) > 15

    instances = Segmentation(probabilities, CELLS).instances()

    seen = [number for number in range(1, len(placed) + 1) if (truth == number).sum() >= 30]
    found = 0
    for number in seen:
        whole = truth == number
        likely = np.bincount(instances[whole]).argmax()
        overlap, union = whole & (instances == likely), whole | (instances == likely)
        found += int(likely > 0 and overlap.sum() > 0.5 * union.sum())
    assert found >= 0.95 * len(seen)
    assert len(seen) <= instances.max() <= len(placed)


def pets(*shapes: NDArray[np.bool_]) -> Segmentation:
    return Segmentation(
        cells(np.logical_or.reduce(shapes), shapes[0] & False).probabilities, CLASSES
    )


def test_pets_that_do_not_touch_are_numbered_by_falling_area() -> None:
    shape = (200, 300)
    small, large = disc(60, 50, 30, shape), disc(100, 200, 70, shape)

    regions = pets(small, large).regions()

    assert regions.dtype == np.uint8
    np.testing.assert_array_equal(regions, np.select([large, small], [1, 2]))


def test_two_pets_whose_bodies_meet_are_told_apart_at_the_thin_place() -> None:
    shape = (200, 400)
    left, right = disc(100, 110, 80, shape), disc(100, 290, 80, shape)
    bridge = np.zeros(shape, np.bool_)
    bridge[94:106, 180:220] = True

    regions = pets(left, right, bridge).regions()

    assert sorted(np.unique(regions)) == [0, 1, 2]
    np.testing.assert_array_equal(regions > 0, left | right | bridge)
    assert (regions[left] == regions[100, 110]).all()
    assert (regions[right] == regions[100, 290]).all()


def test_head_legs_and_tail_are_one_pet() -> None:
    shape = (300, 400)
    rows, columns = np.mgrid[:300, :400]
    body = ((rows - 140) / 60) ** 2 + ((columns - 200) / 130) ** 2 < 1
    head = disc(70, 330, 45, shape)
    legs = (rows > 140) & (rows < 270) & np.isin(columns // 18, (6, 8, 14, 16))
    tail = (abs(rows - 110 + (columns - 80) // 2) < 5) & (columns > 20) & (columns < 110)

    regions = pets(body, head, legs, tail).regions()

    np.testing.assert_array_equal(regions, (body | head | legs | tail).astype(np.int32))


def test_specks_are_no_pets() -> None:
    shape = (200, 300)
    pet, speck, patch = (
        disc(100, 100, 80, shape),
        disc(20, 280, 6, shape),  # less than a hundredth of the picture
        disc(100, 260, 20, shape),  # less than a tenth of the pet
    )

    np.testing.assert_array_equal(pets(pet, speck, patch).regions(), pet.astype(np.int32))
    np.testing.assert_array_equal(pets(patch).regions(), patch.astype(np.int32))
    assert (pets(speck).regions() == 0).all()


def test_a_photo_without_a_pet_and_one_full_of_pet() -> None:
    nothing = np.zeros((50, 1000), np.bool_)

    assert (pets(nothing).regions() == 0).all()
    assert (pets(~nothing).regions() == 1).all()


def test_pets_are_told_apart_at_any_size_of_the_photo() -> None:
    shape = (1000, 1500)
    left, right = disc(500, 400, 300, shape), disc(500, 1100, 250, shape)

    regions = pets(left, right).regions()

    np.testing.assert_array_equal(regions, np.select([left, right], [1, 2]))


def test_a_large_photo_is_taken_apart_at_a_smaller_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (400, 700)
    left, right = disc(200, 200, 150, shape), disc(200, 490, 150, shape)
    inner = disc(200, 200, 130, shape) | disc(200, 490, 130, shape)
    result = cells(inner, left | right)
    exact = result.instances()
    monkeypatch.setattr(segmentation, "LARGEST_FLOOD", 10_000)

    instances = result.instances()

    assert instances.dtype == np.int32
    assert instances.shape == shape
    assert instances.max() == exact.max() == 2
    assert (instances == exact).mean() > 0.98


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


def look(window: tuple[int, int, int, int], *true: tuple[slice, slice]) -> segmentation.Look:
    left, top, right, bottom = window
    belonging = np.zeros((bottom - top, right - left), np.uint8)
    for part in true:
        belonging[part] = 255
    return segmentation.Look(window, window, belonging)


def settled(looks: list[segmentation.Look], height: int, width: int) -> NDArray[np.uint8]:
    return numbered(segmentation.settle(looks, height, width), height, width)


def test_a_pixel_goes_to_the_surer_of_two_claims() -> None:
    first = look((0, 0, 60, 40), (slice(5, 35), slice(5, 55)))
    second = segmentation.Look((30, 0, 100, 40), (30, 0, 100, 40), np.full((40, 70), 200, np.uint8))
    regions = settled([first, second], 40, 100)
    assert (regions[5:35, 5:55] == 2).all()  # the smaller area
    assert (regions[:, 60:] == 1).all()
    assert (regions[:4, 30:] == 1).all()
    assert (regions[:, :4] == 0).all()


def test_a_head_beside_its_body_is_one_pet() -> None:
    head = look((0, 0, 40, 40), (slice(2, 38), slice(2, 38)))
    whole = look((0, 0, 100, 60), (slice(2, 38), slice(2, 38)), (slice(20, 58), slice(30, 98)))
    for looks in ([head, whole], [whole, head]):
        regions = settled(looks, 80, 120)
        assert regions.max() == 1
        assert regions[50, 80] == regions[5, 5] == 1


def test_a_pet_whose_mask_runs_on_over_another_is_still_one_of_two() -> None:
    # The look at the right one sees both; the boxes say that they are two.
    window = (0, 0, 100, 60)
    left = segmentation.Look((0, 0, 50, 60), window, np.full((60, 100), 0, np.uint8))
    left.belonging[:, :50] = 255
    right = segmentation.Look((40, 0, 100, 60), window, np.full((60, 100), 200, np.uint8))
    for looks in ([left, right], [right, left]):
        regions = settled(looks, 60, 100)
        assert regions.max() == 2
        assert regions[30, 10] != regions[30, 90]


def test_close_looks_that_see_nothing_give_no_pets() -> None:
    empty = segmentation.Look((10, 10, 30, 30), (10, 10, 30, 30), np.zeros((8, 8), np.uint8))
    assert segmentation.settle([empty], 50, 50) == []
    assert segmentation.settle([], 50, 50) == []


def test_a_close_look_is_the_box_with_a_margin_inside_the_photo() -> None:
    assert segmentation.close_up((100, 100, 200, 140), 400, 400) == (84, 84, 216, 156)
    assert segmentation.close_up((0, 0, 100, 50), 60, 90) == (0, 0, 90, 60)


def test_what_is_outside_the_box_is_halfway_to_grey() -> None:
    seen = np.full((10, 10, 3), 250, np.uint8)
    pointed = segmentation.point_out(seen, (2.4, 3.0, 8.0, 20.0))
    assert (pointed[3:, 2:8] == 250).all()
    assert (pointed[:3] == 189).all()
    assert (pointed[:, 8:] == 189).all()
    assert (seen == 250).all()


@pytest.mark.parametrize(
    ("changes", "side"), [({}, 64), ({"halved": True}, 32), ({"close_side": 48}, 48)], ids=str
)
def test_looking_closer_sees_a_small_pet_large(
    changes: dict[str, Any], side: int, add_segmenter: AddModel
) -> None:
    # Red is pet, green is background.
    add_segmenter(weights=np.eye(3) * 20, height=64, width=64, **changes)
    photo = np.zeros((400, 600, 3), np.uint8)
    photo[..., 1] = 255
    photo[200:230, 300:340] = (255, 0, 0)
    photo[200:230, 400:440] = (255, 0, 0)
    found = segmentation.load("pet").look_closer(photo, (300, 200, 340, 230))
    assert found.answer is not None
    assert found.answer.shape == (side, side, 3)
    regions = settled([found], 400, 600)
    assert regions[201:229, 301:339].all()
    regions[195:235, 295:345] = 0
    assert not regions.any()


def answer_of(pet: NDArray[np.floating]) -> NDArray[np.float32]:
    """A network's answer, from the probability of a pet at each place."""
    return np.stack([pet, 1 - pet, np.zeros_like(pet)], axis=2).astype(np.float32)


def closer(window: tuple[int, int, int, int], pet: NDArray[np.floating]) -> segmentation.Look:
    return segmentation.Look(window, window, np.zeros((2, 2), np.uint8), answer_of(pet))


def test_a_closer_look_counts_the_more_the_larger_it_sees() -> None:
    whole = Segmentation(answer_of(np.full((64, 64), 0.2)), CLASSES, (400, 800))
    half = closer((200, 100, 600, 300), np.full((64, 64), 0.8))
    all_of_it = closer((0, 0, 800, 400), np.full((64, 64), 0.8))

    found = segmentation.averaged(whole, [half])

    assert found.shape == (400, 800)
    np.testing.assert_allclose(found.answer.sum(axis=2), 1, atol=1e-5)
    pet = found.answer[:, :, 0]
    np.testing.assert_allclose(pet[22:42, 22:42], (0.2 + 2 * 0.8) / 3, atol=1e-5)
    outside = np.ones((64, 64), bool)
    outside[16:48, 16:48] = False
    np.testing.assert_allclose(pet[outside], 0.2, atol=1e-5)
    # It fades to the edge of its window, but not to that of the photo.
    assert (np.diff(pet[32, 15:19]) > 0.05).all()
    equal = segmentation.averaged(whole, [all_of_it]).answer[:, :, 0]
    np.testing.assert_allclose(equal, 0.5, atol=1e-5)
    smaller = closer((0, 0, 800, 400), np.full((60, 60), 0.8))
    np.testing.assert_allclose(segmentation.averaged(whole, [smaller]).answer, whole.answer)


@pytest.mark.parametrize(
    "window",
    [(0, 0, 400, 300), (37, 51, 311, 288), (0, 120, 90, 300), (333, 7, 400, 60)],
    ids=str,
)
def test_closer_looks_lie_where_they_were_taken(window: tuple[int, int, int, int]) -> None:
    def ramp(rows: int, columns: int, box: tuple[int, int, int, int]) -> NDArray[np.float64]:
        """What a network would answer whose probability rises with column and row."""
        x = box[0] + (np.arange(columns) + 0.5) * (box[2] - box[0]) / columns
        y = box[1] + (np.arange(rows) + 0.5) * (box[3] - box[1]) / rows
        return (x / 400 + y[:, np.newaxis] / 300) / 2

    whole = Segmentation(answer_of(ramp(96, 128, (0, 0, 400, 300))), CLASSES, (300, 400))

    found = segmentation.averaged(whole, [closer(window, ramp(256, 256, window))])

    # Interpolation has nothing to go on beyond the edge of the crop.
    np.testing.assert_allclose(found.answer, whole.answer, atol=2e-3)
    assert segmentation.averaged(whole, []).answer == pytest.approx(whole.answer)


def test_what_lies_between_the_places_of_an_answer_is_not_seen() -> None:
    whole = Segmentation(answer_of(np.full((8, 8), 0.2)), CLASSES, (800, 800))
    tiny = closer((110, 110, 190, 190), np.full((8, 8), 0.9))
    np.testing.assert_allclose(segmentation.averaged(whole, [tiny]).answer, whole.answer)


def test_a_look_that_was_told_which_pet_is_meant_hides_no_other() -> None:
    whole = Segmentation(answer_of(np.full((8, 8), 0.9)), CLASSES, (80, 80))
    told = segmentation.Look((0, 0, 40, 80), (0, 0, 80, 80), np.zeros((8, 8), np.uint8))
    np.testing.assert_allclose(segmentation.averaged(whole, [told]).answer, whole.answer)
