"""Find the temperature that calibrates a breed model for photos unlike those of its training.

    python -m training.calibrate runs/breeds --start data/tf_efficientnet_lite2.safetensors
    python -m training.calibrate breeds --models runs/exported

Neighbouring files of the data set are often of one series: the same animal, photographed by the
same person. The official splits hardly divide series, because each takes ranges of numbers. But the
held-out part of trainval is drawn at random, so most of its photos have a close relative among
those of the training. They are easier than photos of strangers, and a temperature that is fitted to
them makes the network too sure.

So this script also fits a logistic regression to the features of the network from which the
training started, which has seen none of the photos: once to the photos that the model was trained
on, to be measured on the same held-out photos, and once for each of five parts of trainval that are
ranges of numbers. The model's temperature is enlarged by as much as the one of the ranges is larger
than the other.

`training.export` takes the result as `--temperature`. A fine-tuned network may be too sure even so.
Runs that held ranges out (`training.train_breeds --fold 10` to `19`) show by how much, and
`training.export --calibrate` takes the temperature from them.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from models import store
from models.preprocessing import InputSpec
from training import command_line, data_sets, pets
from training.calibration import fit_temperature
from training.data_sets import EITHER_FOLDER, Examples
from training.errors import UserError
from training.evaluation.models import Model, open_model, predictions
from training.metrics import Figures, breed_figures, reliability

PARTS = 5  # of trainval, each a range of numbers
LEAST = 1e-12  # probability, where its logarithm is taken
IMAGENET_CLASSES = 1000


def probed(
    features: NDArray[np.float32],
    labels: NDArray[np.integer],
    seen: NDArray[np.float32],
    classes: int,
) -> NDArray[np.float64]:
    """Logits `(n, classes)` of what is seen, of a linear classifier of features with labels."""
    from training.breed_classifier import linear_probe

    weights, biases = linear_probe(features, labels, classes)
    return seen @ weights.T + biases


def calibrate(
    model: Model,
    start: str = "imagenet",
    *,
    root: Path | None = None,
    source: str | None = None,
    folder: Path | None = None,
    skip_damaged: bool = False,
) -> Figures:
    """Find the temperature of a model's logits before calibration.

    Parameters
    ----------
    model
        From `open_model`.
    start
        The weights from which it started: a file, or "imagenet" for those that timm downloads.
    root, source, folder, skip_damaged
        As the options of the same names.

    Returns
    -------
    `temperature`; what it is the product of, `held_out` and `harder`; and how the logistic
    regression does on the same held-out photos and on the ranges.

    Raises
    ------
    training.errors.UserError
        If the data or the weights are not available.
    """
    if model.task != "classification":
        raise UserError(f"{model.name} is for {model.task}: only classifiers are calibrated.")
    if "second_opinion" in _facts(model):
        raise UserError(
            f"{model.name} has a second opinion: calibrate both before they are joined."
        )
    data = data_sets.open_for(model.training, root=root, source=source, folder=folder)
    train, held_out = (
        data.check(
            data_sets.held_out_by(data, model.training, split),
            masks=False,
            skip_damaged=skip_damaged,
        )
        for split in ("train", "validation")
    )
    everything = [*train, *held_out]
    labels = np.array([each.label for each in everything])
    features = _features(_start(model, start), model.input, everything)
    unseen = np.arange(len(labels)) >= len(train)
    answers = np.stack([answer for _, answer in predictions(model, [e.photo for e in held_out])])
    held = fit_temperature(np.log(np.maximum(answers, LEAST)), labels[unseen])
    classes = len(model.labels)
    parts = pets.ranges([each.name for each in everything], labels.tolist(), PARTS)
    strange = np.zeros((len(labels), classes))
    for part in range(PARTS):
        inside = parts == part
        strange[inside] = probed(features[~inside], labels[~inside], features[inside], classes)
    same = probed(features[~unseen], labels[~unseen], features[unseen], classes)
    figures = {
        "same_photos": _figures(same, labels[unseen]),
        "ranges": _figures(strange, labels),
    }
    harder = figures["ranges"]["temperature"] / figures["same_photos"]["temperature"]
    held *= _applied(model)
    return {"temperature": held * harder, "held_out": held, "harder": harder, **figures}


def _figures(logits: NDArray[np.float64], labels: NDArray[np.integer]) -> Figures:
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits / temperature, axis=1).astype(np.float32)
    return {
        "pictures": len(labels),
        "temperature": temperature,
        **breed_figures(probabilities, labels),
        "expected_calibration_error": reliability(probabilities, labels).error,
    }


def _facts(model: Model) -> Mapping[str, Any]:
    """What an exported model's card, or a run, tells of itself."""
    if model.card is None:
        return model.training
    return store.read_card(model.card.stem, model.card.parent).facts


def _applied(model: Model) -> float:
    """The temperature that an exported model's logits were divided by."""
    return float(_facts(model).get("output", {}).get("temperature") or 1.0)


def _start(model: Model, weights: str) -> Any:  # noqa: ANN401 -- timm's modules are untyped
    """The network from which a model's training started."""
    from training.pretrained import timm_network

    config = None if weights == "imagenet" else {"file": weights}
    return timm_network(
        _facts(model)["architecture"], IMAGENET_CLASSES, pretrained=True, pretrained_cfg=config
    )


def _features(
    network: Any,  # noqa: ANN401
    spec: InputSpec,
    examples: Examples,
) -> NDArray[np.float32]:
    """What a network of timm sees in photos, before its classifier: `(n, channels)`."""
    import torch

    network = network.eval()

    def features(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            maps = network.forward_features(torch.from_numpy(batch))
            return network.forward_head(maps, pre_logits=True).numpy()

    seeing = Model("features", "classification", (), spec, {}, None, features)
    return np.stack([each for _, each in predictions(seeing, [e.photo for e in examples])])


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument(
        "model", help="name in the models' folder, path to a .onnx file, or a run's folder"
    )
    parser.add_argument("--models", type=Path, default=store.EMBEDDED, help="folder of the model")
    parser.add_argument(
        "--start",
        default="imagenet",
        help="the weights that its training started from: a file, or imagenet for those that timm "
        "downloads",
    )
    data_sets.add_arguments(parser, folder=EITHER_FOLDER)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Print the temperature of the model that the command line names."""
    arguments: dict[str, Any] = vars(parse_arguments(words))
    model = open_model(arguments.pop("model"), arguments.pop("models"))
    print(json.dumps(calibrate(model, **arguments), indent=2))


if __name__ == "__main__":
    command_line.run(main)
