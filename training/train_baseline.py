"""Tell cats from dogs without a neural network: support vector machines on classical features.

    python -m training.train_baseline hog                         # the stronger one
    python -m training.train_baseline pixels --split random       # as many notebooks do

`pixels` gives the grey values to an SVM with a Gaussian kernel. `hog` gives histograms of oriented
gradients (Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005) of
each training photo and of its mirror image to a linear SVM. Both see the photo squashed to a small
square.

A held-out part of the training pictures determines the SVM's cost. With that cost the SVM is then
trained on all of them and measured once on the test part, which influences nothing. The run's
folder gets `run.json` with the figures of both, `learning_curve.png` and, of held-out pictures,
`predictions.png`.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.images import Photo
from models.preprocessing import InputSpec
from models.thresholding import gray_channel
from training import command_line, data_sets, pets, runs
from training.metrics import Figures, class_scores, confusion_matrix
from training.pictures import decode, few
from training.runs import Run

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

# Functions import scikit-image, scikit-learn and Matplotlib themselves: so --help need not wait.

SPECIES = ("cat", "dog")  # labels are indices into it
SIDE = 150  # of the squashed photo, in pixels
ORIENTATIONS = 9
CELL = 25  # side of the square that one histogram describes, in pixels
BLOCK = 3  # side of the square that histograms are normalized in, in cells
HELD_OUT_SHARE = 0.1  # of the random split's training pictures; the official split has its own
CURVE_SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)  # of the training part
DRY_PICTURES = 24  # of each part, at most, in a dry run
SEED = 42

SPEC = InputSpec(SIDE, SIDE, "squash", "bilinear", (0, 0, 0), (1, 1, 1), layout="NHWC")

Vectors = NDArray[np.float32]
"""`(n, length)`: one row a picture."""

Labels = NDArray[np.intp]


def pixel_features(photo: Photo) -> NDArray[np.float32]:
    """The grey values of a `(height, width, 3)` photo: `(height * width,)` float32 in [0, 1]."""
    return gray_channel(photo).ravel().astype(np.float32) / np.float32(255)


def hog_features(photo: Photo) -> NDArray[np.float32]:
    """The strength of the edges in each direction in each part of a photo.

    Dalal and Triggs, CVPR 2005, with their square root of the values, which evens out light and
    shade, and the strongest of each pixel's three gradients, one a colour.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8, at least a block high and wide.

    Returns
    -------
    `(blocks * BLOCK**2 * ORIENTATIONS,)` float32 in [0, 1].
    """
    from skimage.feature import hog

    features = hog(
        photo,
        orientations=ORIENTATIONS,
        pixels_per_cell=(CELL, CELL),
        cells_per_block=(BLOCK, BLOCK),
        block_norm="L2-Hys",
        transform_sqrt=True,
        channel_axis=-1,
    )
    return features.astype(np.float32)


def gaussian_kernel(first: Vectors, second: Vectors, gamma: float) -> NDArray[np.float32]:
    """`exp(-gamma * squared distance)` of each of `n` vectors to each of `m`: `(n, m)` float32."""
    squares = [np.einsum("ij,ij->i", vectors, vectors) for vectors in (first, second)]
    distances = squares[0][:, np.newaxis] + squares[1] - 2 * (first @ second.T)
    return np.exp(-gamma * np.maximum(distances, 0))


def gaussian_svm(features: Vectors, labels: Labels, cost: float) -> "ClassifierMixin":
    """Train as `SVC(C=cost)` does, with the same result in a fraction of the time.

    The kernel has the width of `gamma="scale"`. One matrix product in single precision gives all
    its values, which libsvm would compute pair by pair in double precision.
    """
    from sklearn.svm import SVC

    gamma = 1 / (features.shape[1] * float(features.var()))
    return SVC(C=cost, kernel=partial(gaussian_kernel, gamma=gamma)).fit(features, labels)


def linear_svm(features: Vectors, labels: Labels, cost: float) -> "ClassifierMixin":
    """Train a linear SVM on features scaled to mean 0 and standard deviation 1."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    svm = LinearSVC(C=cost, random_state=SEED)
    return make_pipeline(StandardScaler(), svm).fit(features, labels)


@dataclass(frozen=True)
class Method:
    """A baseline.

    Attributes
    ----------
    architecture
        What it is, in words.
    extract
        Makes a photo's features.
    fit
        Trains an SVM on features and labels at a cost.
    costs
        Candidates, rising: the higher the cost, the more a training error counts against a wide
        margin.
    mirror
        Whether the SVM is trained on mirror images too.
    """

    architecture: str
    extract: Callable[[Photo], NDArray[np.float32]]
    fit: "Callable[[Vectors, Labels, float], ClassifierMixin]"
    costs: tuple[float, ...]
    mirror: bool


METHODS = {
    "pixels": Method(
        "SVM with a Gaussian kernel on grey pixels",
        pixel_features,
        gaussian_svm,
        costs=(0.3, 1.0, 3.0, 10.0),
        mirror=False,
    ),
    "hog": Method(
        "linear SVM on histograms of oriented gradients",
        hog_features,
        linear_svm,
        costs=(1e-4, 3e-4, 1e-3, 3e-3),
        mirror=True,
    ),
}


@dataclass(frozen=True)
class Part:
    """Pictures of one part of a split.

    Attributes
    ----------
    photos
        `(n, SIDE, SIDE, 3)` uint8.
    features
        `(copies, n, length)` float32: of the photos, then of their mirror images where wanted.
    labels
        `(n,)` indices into `SPECIES`.
    """

    photos: NDArray[np.uint8]
    features: NDArray[np.float32]
    labels: Labels

    def take(self, indices: Sequence[int]) -> "Part":
        """Some of the pictures."""
        return Part(self.photos[indices], self.features[:, indices], self.labels[indices])

    def join(self, other: "Part") -> "Part":
        """All pictures of both parts."""
        return Part(
            np.concatenate([self.photos, other.photos]),
            np.concatenate([self.features, other.features], axis=1),
            np.concatenate([self.labels, other.labels]),
        )


def divide(root: Path, name: str) -> tuple[list[pets.Example], ...]:
    """Training, held-out and test examples of the "official" or the "random" split."""
    if name == "official":
        return tuple(pets.split(root, part) for part in ("train", "validation", "test"))
    examples, test = pets.random_split(root)
    held_out = pets.stratified([example.label for example in examples], HELD_OUT_SHARE, SEED)
    return (
        [example for index, example in enumerate(examples) if index not in held_out],
        [example for index, example in enumerate(examples) if index in held_out],
        test,
    )


def load(
    root: Path, examples: Sequence[pets.Example], method: Method, mirror: bool, what: str
) -> Part:
    """Read the examples' photos and make their features."""
    breeds = pets.breeds(root)
    photos = decode(examples, SPEC, f"{what} photos")
    copies = [photos, photos[:, :, ::-1]] if mirror else [photos]
    features = [
        np.stack([method.extract(photo) for photo in tqdm(copy, desc=f"features of {what} photos")])
        for copy in copies
    ]
    labels = [SPECIES.index(breeds[example.label].species) for example in examples]
    return Part(photos, np.stack(features), np.array(labels))


def fit(method: Method, part: Part, cost: float) -> "ClassifierMixin":
    """Train on the part's photos and, where it has them, their mirror images."""
    copies, _, length = part.features.shape
    return method.fit(part.features.reshape(-1, length), np.tile(part.labels, copies), cost)


def predicted_labels(classifier: "ClassifierMixin", part: Part) -> Labels:
    """The labels that a classifier gives the part's photos."""
    return classifier.predict(part.features[0])


def accuracy(classifier: "ClassifierMixin", part: Part) -> float:
    """The share of the part's photos that a classifier is right about."""
    return float(np.mean(predicted_labels(classifier, part) == part.labels))


def learning_curve(
    method: Method, cost: float, train_part: Part, held_out: Part
) -> list[dict[str, float]]:
    """Accuracy on training and held-out pictures after training on more and more pictures.

    Each training set holds the one before it and the same share of both species. Rows have the
    keys `pictures`, `accuracy` and `val_accuracy`.
    """
    rows = []
    for share in tqdm(CURVE_SHARES, desc="learning curve"):
        some = train_part.take(sorted(pets.stratified(train_part.labels.tolist(), share, SEED)))
        classifier = fit(method, some, cost)
        rows.append(
            {
                "pictures": len(some.labels),
                "accuracy": accuracy(classifier, some),
                "val_accuracy": accuracy(classifier, held_out),
            }
        )
    return rows


def species_figures(truth: Labels, prediction: Labels) -> Figures:
    """How well the species are classified: accuracy, and precision, recall and F1 of each.

    `commoner_share` is the accuracy of always predicting the commoner species. Rows of `confusion`
    are the true species, columns the predicted ones, in the order of `SPECIES`.
    """
    confusion = confusion_matrix(truth, prediction, len(SPECIES))
    precision, recall, f1 = class_scores(confusion)
    return {
        "pictures": len(truth),
        "accuracy": float(np.mean(truth == prediction)),
        "commoner_share": float(confusion.sum(axis=1).max() / len(truth)),
        "precision": dict(zip(SPECIES, precision.tolist(), strict=True)),
        "recall": dict(zip(SPECIES, recall.tolist(), strict=True)),
        "f1": dict(zip(SPECIES, f1.tolist(), strict=True)),
        "confusion": confusion.tolist(),
    }


def train(
    method: str,
    out: str | Path | None = None,
    *,
    root: Path | None = None,
    source: str | None = None,
    split: str = "official",
    skip_damaged: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Path:
    """Train a baseline; return the run's folder. The arguments are the command line's options.

    Raises
    ------
    training.errors.UserError
        When something is wrong with them, before anything is written.
    """
    from training import reports

    run = Run(
        out or Path("runs") / f"baseline-{method}",
        "train_baseline",
        {"method": method, "split": split},
        overwrite=overwrite,
        dry_run=dry_run,
    )
    data = data_sets.open_pets(root, source)
    parts = [
        data.check(
            few(part, DRY_PICTURES) if dry_run else part, masks=False, skip_damaged=skip_damaged
        )
        for part in divide(data.home, split)
    ]
    run.begin()
    baseline = METHODS[method]
    train_part = load(data.home, parts[0], baseline, baseline.mirror, "training")
    held_out = load(data.home, parts[1], baseline, baseline.mirror, "held-out")
    test = load(data.home, parts[2], baseline, False, "test")

    accuracies = {
        cost: accuracy(fit(baseline, train_part, cost), held_out)
        for cost in tqdm(baseline.costs, desc="choosing the cost")
    }
    cost = max(accuracies, key=accuracies.__getitem__)
    curve = learning_curve(baseline, cost, train_part, held_out)
    chosen = fit(baseline, train_part, cost)
    final = fit(baseline, train_part.join(held_out), cost)
    held_out_figures = species_figures(held_out.labels, predicted_labels(chosen, held_out))
    test_figures = species_figures(test.labels, predicted_labels(final, test))
    folder = run.folder
    reports.plot_learning_curve(
        curve, held_out_figures["commoner_share"], folder / "learning_curve.png"
    )
    plot_predictions(chosen, held_out, folder / "predictions.png")
    run.finish(
        task="classification",
        framework="scikit-learn",
        architecture=baseline.architecture,
        labels=SPECIES,
        input_spec=SPEC,
        data=pets.NAME,
        split=split,
        training_pictures={
            "held_out": len(train_part.labels),
            "test": len(train_part.labels) + len(held_out.labels),
        },
        cost=cost,
        held_out_accuracy_by_cost=accuracies,
        learning_curve=curve,
        held_out=held_out_figures,
        test=test_figures,
    )
    for name, figures in (("held-out", held_out_figures), ("test", test_figures)):
        print(
            f"{folder}: accuracy {figures['accuracy']:.4f} on {figures['pictures']} {name} "
            f"pictures, where always saying the commoner species has "
            f"{figures['commoner_share']:.4f}"
        )
    return folder


def plot_predictions(classifier: "ClassifierMixin", part: Part, path: Path) -> None:
    """Write a sheet of the part's photos with their predicted and true species.

    An SVM gives no probabilities, so a sigmoid of its decision values is fitted to the part: Platt,
    "Probabilistic outputs for support vector machines", 1999.
    """
    from sklearn.linear_model import LogisticRegression

    from training import reports

    values = classifier.decision_function(part.features[0])[:, np.newaxis]
    # Without an intercept it is 50 % at the SVM's decision boundary.
    sigmoid = LogisticRegression(fit_intercept=False).fit(values, part.labels)
    probabilities = sigmoid.predict_proba(values).max(axis=1)
    prediction = predicted_labels(classifier, part)
    shown = range(len(part.labels))[:: max(len(part.labels) // 16, 1)][:16]
    reports.plot_classifications(
        list(part.photos[shown]),
        [SPECIES[part.labels[index]] for index in shown],
        [SPECIES[prediction[index]] for index in shown],
        probabilities[shown].tolist(),
        path,
    )


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("method", choices=METHODS, help="what the SVM is given")
    data_sets.add_arguments(parser)
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/baseline-METHOD)")
    parser.add_argument(
        "--split",
        choices=("official", "random"),
        default="official",
        help="official: trainval, a tenth held out, and test; random: a fifth of all pictures is "
        "the test part, and a tenth of the others is held out",
    )
    runs.add_folder_arguments(parser)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    train(**vars(parse_arguments(words)))


if __name__ == "__main__":
    command_line.run(main)
