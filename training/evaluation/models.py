"""Models to measure, from whatever file they come: exported, or a training run of a framework."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from tqdm import tqdm

from models import store
from models.breeds import BreedClassifier
from models.cards import ModelError, Task
from models.images import Photo, open_photo
from models.preprocessing import InputSpec, prepare
from models.segmentation import Segmentation, Segmenter, at_photo_size
from training.runs import FILE, RunError, facts_of, read_facts, trained_on

if TYPE_CHECKING:
    import torch

BATCH = 32

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Model:
    """A model to measure, from whatever file it comes.

    Attributes
    ----------
    name
        For people and file names.
    task
        "segmentation" or "classification".
    labels
        Names of the classes in the order of the output.
    input
        How the network expects its photo.
    training
        The `data` set it was trained on, the `split` of it, and the `fold` if one was chosen.
    card
        The file to store figures in; a training run has none.
    predict
        Prepared batch to float32 probabilities, `(batch, rows, columns, classes)` as of
        `models.segmentation.Segmenter.run`, or `(batch, classes)`.
    """

    name: str
    task: Task
    labels: tuple[str, ...]
    input: InputSpec
    training: dict[str, Any]
    card: Path | None
    predict: Predict


def open_model(name: str, folder: Path = store.EMBEDDED) -> Model:
    """Open an exported model or a training run.

    Parameters
    ----------
    name
        A name in the models' folder, a path to a `.onnx` file with its card beside it, or a
        training run's folder.
    folder
        The models' folder.

    Raises
    ------
    models.cards.ModelError
        When there is no such model, or it is damaged.
    training.runs.RunError
        When the folder's run has no network, or is damaged.
    """
    path = Path(name)
    if (path / FILE).is_file():
        return _open_run(path.resolve())
    if path.suffix == ".onnx":
        return _open_exported(path.stem, path.parent)
    return _open_exported(name, folder)


def _open_exported(name: str, folder: Path) -> Model:
    card = store.read_card(name, folder)
    if card.task == "detection":
        raise ModelError(
            f"{name} is a detector: training.evaluate_pets measures it with what it is used for."
        )
    kind = Segmenter if card.task == "segmentation" else BreedClassifier
    return Model(
        name=name,
        task=card.task,
        labels=tuple(label.name for label in card.labels),
        input=card.input,
        training=facts_of(card),
        card=folder / f"{name}.json",
        predict=kind(*store.load(name, card.task, folder)).run,
    )


def _open_run(run: Path) -> Model:
    facts = read_facts(run)
    frameworks = {"keras": _keras_logits, "timm": _timm_logits, "smp": _smp_logits}
    if facts["framework"] not in frameworks:
        raise RunError(f"{run} has no network, and was measured when it ended: see its {FILE}.")
    logits = frameworks[facts["framework"]](run)
    return Model(
        name=run.name,
        task=facts["task"],
        labels=tuple(label["name"] for label in facts["labels"]),
        input=facts["input"],
        training={**facts, "split": trained_on(facts)},
        card=None,
        predict=lambda batch: softmax(logits(batch), axis=-1),
    )


def _keras_logits(run: Path) -> Predict:
    import keras

    import training.keras_runs  # noqa: F401  (registers the loss that the saved model names)

    return keras.models.load_model(run / "model.keras").predict_on_batch


def _timm_logits(run: Path) -> Predict:
    import training.torchvision_ops  # noqa: F401  (before timm)
    import timm  # isort: skip

    return _torch_logits(timm.create_model(f"local-dir:{run}", pretrained=True))


def _smp_logits(run: Path) -> Predict:
    from training.half_size_unet import read_unet

    logits = _torch_logits(read_unet(run))
    return lambda batch: np.moveaxis(logits(batch), 1, 3)


def _torch_logits(network: "torch.nn.Module") -> Predict:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.eval().to(device)

    def logits(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(batch).to(device)).cpu().numpy()

    return logits


def predictions(model: Model, paths: Sequence[Path]) -> Iterator[tuple[Photo, NDArray[np.float32]]]:
    """Each photo with its probabilities; neighbours of one input size are predicted together."""
    for start in tqdm(range(0, len(paths), BATCH), desc=model.name, unit="batch"):
        photos = [open_photo(path) for path in paths[start : start + BATCH]]
        inputs = [prepare(photo, model.input) for photo in photos]
        answers = (
            model.predict(np.concatenate(list(alike)))
            for _, alike in groupby(inputs, key=lambda one: one.shape)
        )
        yield from zip(photos, chain.from_iterable(answers), strict=True)


def segmentations(model: Model, paths: Sequence[Path]) -> Iterator[Segmentation]:
    """Each photo's segmentation as it is served for the photo as a whole."""
    for photo, small in predictions(model, paths):
        yield at_photo_size(small, model.labels, model.input, *photo.shape[:2])
