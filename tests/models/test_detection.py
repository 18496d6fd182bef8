"""Boxes of cats and dogs, against the detector's formula and a plain suppression."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from models import detection, store
from models.cards import Boxes, ModelError
from models.images import open_photo
from models.preprocessing import InputSpec, prepare, resize_photo, scaled_size

if TYPE_CHECKING:
    from models.runtime import Network

RULE = Boxes(strides=(8, 16, 32, 64), bins=8, least=0.35, overlap=0.5)
EXAMPLES = Path(__file__).parents[2] / "examples"


def written_out(output: NDArray[np.float32], height: int, width: int) -> list[tuple[float, ...]]:
    """Cell by cell: left, top, right, bottom and the two probabilities."""
    found, place = [], 0
    for stride in RULE.strides:
        for row in range(height // stride):
            for column in range(width // stride):
                cat, dog, *sides = output[place].tolist()
                place += 1
                scores = [1 / (1 + np.exp(-logit)) for logit in (cat, dog)]
                if max(scores) < RULE.least:
                    continue
                distances = []
                for side in range(4):
                    weights = np.exp(np.array(sides[8 * side : 8 * side + 8]))
                    distances.append(float((weights * np.arange(8)).sum() / weights.sum()) * stride)
                x, y = column * stride, row * stride
                left, top, right, bottom = distances
                found.append((x - left, y - top, x + right, y + bottom, *scores))
    assert place == len(output)
    return found


def test_places_are_decoded_as_the_formula_says() -> None:
    random = np.random.default_rng(0)
    height, width = 128, 192
    places = sum((height // stride) * (width // stride) for stride in RULE.strides)
    output = random.normal(0, 2, (places, 34)).astype(np.float32)
    boxes, probabilities = detection.decode(output, height, width, RULE)
    expected = np.array(written_out(output, height, width))
    assert 10 < len(expected) < places
    np.testing.assert_allclose(boxes, expected[:, :4], atol=1e-3)
    np.testing.assert_allclose(probabilities, expected[:, 4:], atol=1e-6)


def test_low_probabilities_give_no_boxes() -> None:
    boxes, probabilities = detection.decode(np.full((340, 34), -5, np.float32), 128, 128, RULE)
    assert boxes.shape == (0, 4)
    assert probabilities.shape == (0, 2)


def pixels(box: NDArray[np.float32]) -> NDArray[np.bool_]:
    left, top, right, bottom = box.astype(int)
    mask = np.zeros((160, 160), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_suppression_keeps_what_overlaps_nothing_better() -> None:
    random = np.random.default_rng(1)
    corners = random.integers(0, 100, (120, 2))
    boxes = np.concatenate([corners, corners + random.integers(5, 60, (120, 2))], axis=1)
    boxes = boxes.astype(np.float32)
    scores = random.permutation(120).astype(np.float32)
    expected: list[int] = []
    for index in np.argsort(-scores):  # IoU by counting pixels
        mask = pixels(boxes[index])
        if all(
            (mask & other).sum() / (mask | other).sum() <= 0.5
            for other in (pixels(boxes[kept]) for kept in expected)
        ):
            expected.append(int(index))
    kept = detection.suppress(boxes, scores, 0.5)
    assert 20 < len(kept) < 110
    assert kept.tolist() == expected


@pytest.mark.parametrize(
    ("size", "scaled", "padded"),
    [((300, 451), (277, 416), (320, 448)), ((100, 20), (416, 83), (448, 128))],
)
def test_a_letterbox_keeps_the_aspect_ratio_and_is_padded_with_the_mean(
    size: tuple[int, int], scaled: tuple[int, int], padded: tuple[int, int]
) -> None:
    spec = InputSpec(
        416, 416, "letterbox", "bilinear", (0.4, 0.5, 0.6), (0.2,) * 3, layout="NCHW", multiple=64
    )
    photo = np.full((*size, 3), 200, np.uint8)
    assert scaled_size(*size, spec) == scaled
    seen = resize_photo(photo, spec)
    assert seen.shape == (*padded, 3)
    assert (seen[: scaled[0], : scaled[1]] == 200).all()
    assert (seen[scaled[0] :] == (102, 128, 153)).all()
    assert (seen[:, scaled[1] :] == (102, 128, 153)).all()
    assert np.abs(prepare(photo, spec)[0, :, -1, -1]).max() < 0.01


def test_the_embedded_detector_sees_the_cat() -> None:
    photo = open_photo(EXAMPLES / "cat_chelsea.png")
    (cat,) = detection.load(store.default("detection")).detect(photo)
    assert (cat.label.name, cat.label.species) == ("cat", "cat")
    assert cat.probability > 0.5
    left, top, right, bottom = cat.box
    assert 0 <= left < right <= photo.shape[1]
    assert 0 <= top < bottom <= photo.shape[0]
    assert (right - left) * (bottom - top) > 0.4 * photo.shape[0] * photo.shape[1]


def test_other_animals_are_not_detected_but_noted() -> None:
    card = store.read_card("finder", store.EMBEDDED)
    classes, names = len(card.labels), [label.name for label in card.labels]
    output = np.full((1, 340, classes + 32), -8, np.float32)
    # The second and third of four rows of the coarsest grid but one, in which a cell has 32 pixels.
    for place, name, logit in ((325, "dog", 2), (325, "cow", 1), (334, "cow", 3), (334, "cat", -4)):
        output[0, place, names.index(name)] = logit

    class Sees:
        def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
            return output

    detector = detection.Detector(card, cast("Network", Sees()))
    (dog,) = detector.detect(np.zeros((128, 128, 3), np.uint8))
    assert dog.label.name == "dog"
    assert dog.probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert dog.other == pytest.approx(1 / (1 + np.exp(-1)))


def test_places_that_agree_on_a_box_support_it() -> None:
    card = store.read_card("finder", store.EMBEDDED)
    output = np.full((1, 340, len(card.labels) + 32), -8, np.float32)
    sides = output[0, :, len(card.labels) :].reshape(340, 4, 8)
    # Neighbours in the finest grid, 56 columns of 8 px: the first box is 32 px wide and high, the
    # second begins 8 px further right and the third as far below, with the same ends; the last is
    # elsewhere.
    for place, logit, distances in (
        (282, 2.0, (2, 2, 2, 2)),
        (283, 0.0, (2, 2, 1, 2)),
        (338, -2.0, (2, 2, 2, 1)),
        (262, -1.0, (2, 2, 2, 2)),
    ):
        output[0, place, 0] = logit
        for side, distance in enumerate(distances):
            sides[place, side, distance] = 40

    class Sees:
        def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
            return output

    detector = detection.Detector(card, cast("Network", Sees()))
    first, *_ = detector.detect(np.zeros((128, 128, 3), np.uint8))
    own, second, third, _ = 1 / (1 + np.exp(-np.array([2.0, 0, -2, -1])))
    # Both have 24 of 32 rows or columns.
    assert first.support == pytest.approx((own + second + third, own + second + third, own))


def test_a_card_that_does_not_say_how_to_read_boxes_is_refused(
    tmp_path: Path, fresh_models: pytest.MonkeyPatch
) -> None:
    facts = json.loads((store.EMBEDDED / "finder.json").read_text())
    del facts["boxes"]
    (tmp_path / "finder.json").write_text(json.dumps(facts))
    (tmp_path / "finder.onnx").symlink_to(store.EMBEDDED / "finder.onnx")
    fresh_models.setenv(store.SOURCE_VARIABLE, str(tmp_path))
    detection.load.cache_clear()
    with pytest.raises(ModelError, match="boxes"):
        detection.load("finder")


def test_without_a_detector_there_is_none(folder: Path) -> None:
    assert detection.default() is None
