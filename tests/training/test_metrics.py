"""The figures against scikit-learn, hand-made references, and slow loops that follow the papers."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from training import metrics

CLASSES = ("pet", "background", "border")


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def disk(height: int, width: int, row: float, column: float, radius: float) -> NDArray[np.bool_]:
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - row, x - column) < radius


def some_probabilities(
    random: np.random.Generator, pictures: int, classes: int
) -> NDArray[np.float32]:
    logits = random.normal(scale=2, size=(pictures, classes))
    chances = np.exp(logits)
    return (chances / chances.sum(axis=1, keepdims=True)).astype(np.float32)


def test_confusion_matrix_against_scikit_learn(random: np.random.Generator) -> None:
    truth = random.integers(0, 3, (40, 50), dtype=np.uint8)
    prediction = random.integers(0, 3, (40, 50))

    np.testing.assert_array_equal(
        metrics.confusion_matrix(truth, prediction, 4),
        reference.confusion_matrix(truth.ravel(), prediction.ravel(), labels=range(4)),
    )


def test_mask_figures_against_counting_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 2, 2]])
    prediction = np.array([[0, 1, 1], [1, 2, 0]])

    figures = metrics.mask_figures(metrics.confusion_matrix(truth, prediction, 3), CLASSES)

    assert figures["pixel_accuracy"] == pytest.approx(4 / 6)
    assert figures["iou"] == pytest.approx({"pet": 1 / 3, "background": 2 / 3, "border": 1 / 2})
    assert figures["mean_iou"] == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)
    assert figures["dice"] == pytest.approx({"pet": 1 / 2, "background": 4 / 5, "border": 2 / 3})
    assert figures["mean_dice"] == pytest.approx((1 / 2 + 4 / 5 + 2 / 3) / 3)
    assert figures["binary_iou"] == pytest.approx(3 / 4)
    assert figures["binary_dice"] == pytest.approx(6 / 7)


def test_mask_figures_against_scikit_learn(random: np.random.Generator) -> None:
    truth = random.integers(0, 3, 5000)
    prediction = np.where(random.random(5000) < 0.7, truth, random.integers(0, 3, 5000))

    figures = metrics.mask_figures(metrics.confusion_matrix(truth, prediction, 3), CLASSES)

    iou = reference.jaccard_score(truth, prediction, average=None)
    dice = reference.f1_score(truth, prediction, average=None)
    binary = (truth != 1, prediction != 1)
    assert list(figures["iou"].values()) == pytest.approx(iou)
    assert list(figures["dice"].values()) == pytest.approx(dice)
    assert figures["mean_iou"] == pytest.approx(iou.mean())
    assert figures["mean_dice"] == pytest.approx(dice.mean())
    assert figures["pixel_accuracy"] == pytest.approx(reference.accuracy_score(truth, prediction))
    assert figures["binary_iou"] == pytest.approx(reference.jaccard_score(*binary))
    assert figures["binary_dice"] == pytest.approx(reference.f1_score(*binary))


def test_binary_figures_need_a_background_and_are_whole_where_all_is_background() -> None:
    confusion = np.array([[5, 1], [0, 2]])
    assert "binary_iou" not in metrics.mask_figures(confusion, ("cat", "dog"))
    assert metrics.binary_overlap(np.array([[9, 0], [0, 0]]), 0) == (1.0, 1.0)
    assert metrics.binary_overlap(np.array([[8, 1], [0, 0]]), 0) == (0.0, 0.0)


def slow_boundary_scores(
    truth: NDArray[np.bool_], prediction: NDArray[np.bool_]
) -> tuple[float, float]:
    """Precision and recall by comparing every boundary pixel with every other."""
    height, width = truth.shape

    def boundary(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
        return [
            (y, x)
            for y in range(height)
            for x in range(width)
            if mask[y, x]
            and any(
                0 <= row < height and 0 <= column < width and not mask[row, column]
                for row, column in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
            )
        ]

    def near(points: list[tuple[int, int]], others: list[tuple[int, int]]) -> float:
        tolerance = max(1, 0.0075 * (height**2 + width**2) ** 0.5)
        hits = [
            any((y - row) ** 2 + (x - column) ** 2 <= tolerance**2 for row, column in others)
            for y, x in points
        ]
        return sum(hits) / len(hits)

    lines = boundary(truth), boundary(prediction)
    return near(lines[1], lines[0]), near(lines[0], lines[1])


@pytest.mark.parametrize("size", [(40, 50), (180, 240)], ids=["one pixel", "2.25 pixels"])
def test_boundary_scores_against_comparing_all_pixels(
    size: tuple[int, int], random: np.random.Generator
) -> None:
    truth = disk(*size, 5, 20, 14)  # extends beyond the picture
    prediction = disk(*size, 6, 22, 15) & (random.random(size) < 0.995)

    precision, recall, score = metrics.boundary_scores(truth, prediction)

    assert (precision, recall) == pytest.approx(slow_boundary_scores(truth, prediction))
    assert 0.1 < precision < recall < 1
    assert score == pytest.approx(2 * precision * recall / (precision + recall))


def test_boundary_scores_of_a_shifted_edge() -> None:
    truth = np.zeros((30, 40), bool)
    truth[:, :20] = True
    for shift, expected in ((0, 1.0), (1, 1.0), (2, 0.0)):
        assert metrics.boundary_scores(truth, np.roll(truth, shift, 1) | truth)[2] == expected


def test_boundary_scores_with_another_tolerance() -> None:
    truth = np.zeros((30, 40), bool)  # its diagonal is 50
    truth[:, :20] = True
    for shift, share, expected in ((3, 0.061, 1.0), (4, 0.061, 0.0), (1, 0.0, 1.0), (2, 0.0, 0.0)):
        shifted = np.roll(truth, shift, 1) | truth
        assert metrics.boundary_scores(truth, shifted, share)[2] == expected


def test_boundary_scores_without_boundaries() -> None:
    nothing, everything = np.zeros((9, 9), bool), np.ones((9, 9), bool)
    something = disk(9, 9, 4, 4, 3)
    assert metrics.boundary_scores(nothing, nothing) == (1.0, 1.0, 1.0)
    assert metrics.boundary_scores(nothing, everything) == (1.0, 1.0, 1.0)  # no edge inside
    assert metrics.boundary_scores(nothing, something) == (0.0, 1.0, 0.0)
    assert metrics.boundary_scores(something, nothing) == (1.0, 0.0, 0.0)


def slow_instance_precision(truth: NDArray[np.int32], prediction: NDArray[np.int32]) -> list[float]:
    """Count hits of every pair of objects at every threshold."""
    true = [truth == label for label in np.unique(truth) if label]
    found = [prediction == label for label in np.unique(prediction) if label]
    precisions = []
    for threshold in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        hits = sum((a & b).sum() / (a | b).sum() > threshold for a in true for b in found)
        misses, extra = len(true) - hits, len(found) - hits
        precisions.append(float(hits / (hits + misses + extra)))
    return precisions


def test_instance_precision_against_all_pairs(random: np.random.Generator) -> None:
    truth, prediction = np.zeros((2, 120, 120), np.int32)
    for label in range(1, 26):
        row, column = 10 + 24 * ((label - 1) // 5), 10 + 24 * ((label - 1) % 5)
        truth[disk(120, 120, row, column, random.uniform(5, 9))] = label
        if label % 6:  # some are missed, and the labels differ
            shift = random.uniform(-2, 2, 2)
            prediction[disk(120, 120, row + shift[0], column + shift[1], 7)] = 40 - label
    prediction[disk(120, 120, 116, 60, 3)] = 50  # one is made up

    measured = metrics.instance_precision(truth, prediction)

    assert measured.tolist() == pytest.approx(slow_instance_precision(truth, prediction))
    assert 0.2 < measured[0] < 1
    assert measured[-1] < measured[0]


def test_instance_precision_of_one_object_made_by_hand() -> None:
    truth, prediction = np.zeros((2, 10, 10), np.int32)
    truth[0, :10] = 1
    prediction[0, :7] = 3  # an IoU of 0.7 is above 0.5, 0.55, 0.6 and 0.65, but not above itself

    assert metrics.instance_precision(truth, prediction).tolist() == [1.0] * 4 + [0.0] * 6


def test_instance_precision_of_a_split_object() -> None:
    truth, prediction = np.zeros((2, 10, 10), np.int32)
    truth[0, :10] = 1
    prediction[0, :6], prediction[0, 6:] = 1, 2

    assert metrics.instance_precision(truth, prediction)[0] == 1 / 2


def test_instance_precision_without_objects() -> None:
    nothing, something = np.zeros((5, 5), np.int32), np.eye(5, dtype=np.int32)
    assert (metrics.instance_precision(nothing, nothing) == 1).all()
    assert (metrics.instance_precision(nothing, something) == 0).all()
    assert (metrics.instance_precision(something, nothing) == 0).all()


def test_breed_figures_against_counting_by_hand() -> None:
    probabilities = np.array([[0.5, 0.3, 0.1, 0.05, 0.03, 0.02]] * 4)
    figures = metrics.breed_figures(probabilities, np.array([0, 0, 4, 5]))
    assert figures == {"top1": 0.5, "top5": 0.75}


def test_breed_figures_against_scikit_learn(random: np.random.Generator) -> None:
    probabilities, truth = some_probabilities(random, 500, 12), random.integers(0, 12, 500)
    figures = metrics.breed_figures(probabilities, truth)
    for count, name in ((1, "top1"), (5, "top5")):
        expected = reference.top_k_accuracy_score(truth, probabilities, k=count, labels=range(12))
        assert figures[name] == pytest.approx(expected)


def test_class_scores_against_scikit_learn(random: np.random.Generator) -> None:
    truth, prediction = random.integers(0, 5, 300), random.integers(1, 7, 300)

    scores = metrics.class_scores(metrics.confusion_matrix(truth, prediction, 7))

    expected = reference.precision_recall_fscore_support(
        truth, prediction, labels=range(7), zero_division=0
    )
    np.testing.assert_allclose(scores, expected[:3])


def test_confusion_pairs_come_most_frequent_first() -> None:
    confusion = np.array([[9, 0, 2], [5, 8, 0], [0, 1, 7]])
    assert metrics.confusion_pairs(confusion, ("a", "b", "c")) == [
        ("b", "a", 5),
        ("a", "c", 2),
        ("c", "b", 1),
    ]
    assert metrics.confusion_pairs(np.diag([3, 4]), ("a", "b")) == []


def test_reliability_against_a_loop_over_the_bins(random: np.random.Generator) -> None:
    probabilities, truth = some_probabilities(random, 700, 4), random.integers(0, 4, 700)
    probabilities[:3] = np.eye(4)[:3]  # quite sure: the upper edge of the last bin
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    error = 0.0

    measured = metrics.reliability(probabilities, truth)

    for number in range(15):
        here = (top > number / 15) & (top <= (number + 1) / 15)
        assert measured.counts[number] == here.sum()
        if here.any():
            assert measured.confidence[number] == pytest.approx(top[here].mean())
            assert measured.accuracy[number] == pytest.approx(right[here].mean())
            error += here.mean() * abs(right[here].mean() - top[here].mean())
    assert measured.counts.sum() == 700
    assert measured.error == pytest.approx(error)


def test_the_calibration_error_of_answers_made_by_hand() -> None:
    # Ten times 80 % sure and right seven times; ten times 60 % sure and right six times.
    probabilities = np.repeat([[0.8, 0.2], [0.6, 0.4]], 10, axis=0)
    truth = np.array([0] * 7 + [1] * 3 + [0] * 6 + [1] * 4)
    assert metrics.reliability(probabilities, truth).error == pytest.approx(0.05)


def test_a_probability_a_little_above_one_is_one() -> None:
    measured = metrics.reliability(np.array([[1.0000001, 0]], np.float32), np.array([0]))
    assert measured.counts.tolist() == [0] * 14 + [1]


def test_likelihood_against_scikit_learn(random: np.random.Generator) -> None:
    probabilities, truth = some_probabilities(random, 200, 6), random.integers(0, 6, 200)
    expected = reference.log_loss(truth, probabilities, labels=range(6))
    measured = metrics.negative_log_likelihood(probabilities, truth)
    assert measured == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(metrics.negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1])))


def test_look_alikes_are_the_pairs_that_come_first_together_and_are_mistaken() -> None:
    # Per picture: first and second answer, and the truth.
    pictures = [
        *[(0, 1, 0)] * 5,
        *[(1, 0, 0)] * 2,  # mistaken
        (0, 1, 1),  # mistaken
        (0, 1, 2),  # neither of them: says nothing of the pair
        *[(2, 1, 1)] * 2,  # too seldom mistaken
    ]
    probabilities = np.full((len(pictures), 3), 0.1)
    for row, (first, second, _) in zip(probabilities, pictures, strict=True):
        row[first], row[second] = 0.6, 0.3
    truth = np.array([true for _, _, true in pictures])

    pairs = metrics.look_alikes(probabilities, truth, ("Pug", "Boxer", "Beagle"), 3)

    assert pairs == {"Pug or Boxer": {"pictures": 8, "right": 5}}
