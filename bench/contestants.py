"""The compared implementations: the app's, and what people would use instead.

Each contestant turns a picture, given as an array, into the complete answer: cuts of a grey
picture, a mask of the photo's size, or the photo's five best breeds, written as its users would do
it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.networks import Chain
from models.images import Photo
from models.preprocessing import InputSpec, prepare

if TYPE_CHECKING:
    import tensorflow as tf
    import torch

# Imports here would count as memory of every contestant, so each imports its framework itself.

Picture = NDArray[np.uint8]  # a photo, or `(height, width)` grey values for the thresholds

ROOT = Path(__file__).parent.parent
OURS = "Petscope"
MASK, BREED = "pet", "breeds"  # the models
TOP = 5


@dataclass(frozen=True)
class Means:
    """What all contestants share: the number of threads, and each model's weights."""

    threads: int
    weights: Mapping[str, Sequence[Chain]]


class Answers(NamedTuple):
    """The functions of a contestant.

    Attributes
    ----------
    answer
        Computes the answer; this is timed.
    numbers
        Gives the numbers behind the answer as an array, for comparison: cuts, or the network's
        probabilities.
    work
        Gives the network's operations for one photo, and bytes of its input and output, if the
        framework can tell.
    """

    answer: Callable[[Picture], object]
    numbers: Callable[[Picture], NDArray[np.generic]]
    work: Callable[[], tuple[int, int]] | None = None


@dataclass(frozen=True)
class Contestant:
    """One way to do a task.

    Attributes
    ----------
    task
        Contestants with the same task are compared.
    name
        Name in the table.
    process
        Contestants of the same framework share a process; TensorFlow and PyTorch in one process
        would disturb each other's threads.
    build
        Loads everything that it needs.
    """

    task: str
    name: str
    process: str
    build: Callable[[Means], Answers]


def otsu_ours(_: Means) -> Answers:
    """Otsu's cut of a grey picture."""
    from models import thresholding

    def answer(gray: Picture) -> NDArray[np.generic]:
        return np.array([thresholding.otsu(gray)])

    return Answers(answer, answer)


def otsu_skimage(_: Means) -> Answers:
    """The same with scikit-image."""
    from skimage.filters import threshold_otsu

    def answer(gray: Picture) -> NDArray[np.generic]:
        return np.array([threshold_otsu(gray)])

    return Answers(answer, answer)


def otsu_opencv(means: Means) -> Answers:
    """The same with OpenCV, which also writes the thresholded picture in that call."""
    import cv2

    cv2.setNumThreads(means.threads)

    def answer(gray: Picture) -> NDArray[np.generic]:
        return np.array([cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0]])

    return Answers(answer, answer)


def multi_otsu_ours(classes: int, _: Means) -> Answers:
    """The cuts of a grey picture between several classes."""
    from models import thresholding

    def answer(gray: Picture) -> NDArray[np.generic]:
        return thresholding.multi_otsu(gray, classes)

    return Answers(answer, answer)


def multi_otsu_skimage(classes: int, _: Means) -> Answers:
    """The same with scikit-image."""
    from skimage.filters import threshold_multiotsu

    def answer(gray: Picture) -> NDArray[np.generic]:
        return threshold_multiotsu(gray, classes)

    return Answers(answer, answer)


def mask_ours(_: Means) -> Answers:
    """The mask at the photo's size."""
    from models import segmentation

    segmenter = segmentation.load(MASK)

    def numbers(photo: Photo) -> NDArray[np.generic]:
        return segmenter.run(prepare(photo, segmenter.card.input))[0]

    return Answers(lambda photo: segmenter.predict(photo).mask, numbers)


def mask_keras(how: str, means: Means) -> Answers:
    """The same with Keras on TensorFlow: "predict", "call", or "function" for `tf.function`."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(means.threads)
    from bench import networks

    (chain,) = means.weights[MASK]
    facts, spec = card(MASK)
    unet = networks.keras_unet(chain, spec.height, len(facts["labels"]))
    compiled = tf.function(
        lambda batch: unet(batch, training=False),
        input_signature=[tf.TensorSpec((1, spec.height, spec.width, 3), tf.float32)],
    )

    def probabilities(photo: Photo) -> "tf.Tensor | NDArray[np.float32]":
        batch = normalized(photo, spec)[np.newaxis] * chain.scale + chain.shift
        if how == "predict":
            return unet.predict(batch, verbose=0)
        return unet(batch, training=False) if how == "call" else compiled(batch)

    def answer(photo: Photo) -> NDArray[np.generic]:
        large = tf.image.resize(probabilities(photo), photo.shape[:2])
        return np.argmax(large.numpy()[0], axis=-1).astype(np.uint8) + 1

    return Answers(
        answer,
        lambda photo: np.asarray(probabilities(photo))[0],
        lambda: networks.keras_work(unet),
    )


def breed_ours(_: Means) -> Answers:
    """The five best breeds."""
    from models import breeds

    classifier = breeds.load(BREED)

    def numbers(photo: Photo) -> NDArray[np.generic]:
        return classifier.classify(photo).probabilities

    return Answers(lambda photo: classifier.predict(photo, TOP), numbers)


def breed_timm(how: str, means: Means) -> Answers:
    """The same with timm's networks in PyTorch: "eager", or "compile" for `torch.compile`."""
    import torch

    torch.set_num_threads(means.threads)

    network = classifier(means).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = torch.compile(network) if how == "compile" else network
    facts, spec = card(BREED)
    names = [label["name"] for label in facts["labels"]]

    @torch.inference_mode()
    def probabilities(photo: Photo) -> "torch.Tensor":
        batch = torch.from_numpy(normalized(photo, spec)).permute(2, 0, 1)[None]
        batch = batch.contiguous(memory_format=torch.channels_last)
        return torch.softmax(run(batch)[0], dim=0)

    return torch_answers(probabilities, names, network, spec)


def breed_fastai(means: Means) -> Answers:
    """The same with fastai's `learn.predict`, given the photo as an array."""
    import torch

    torch.set_num_threads(means.threads)

    network = classifier(means)  # first, because it imports a module before timm and fastai
    from fastai.vision.all import (
        CategoryBlock,
        CrossEntropyLossFlat,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        Learner,
        Normalize,
        Resize,
        ResizeMethod,
    )

    facts, spec = card(BREED)
    names = [label["name"] for label in facts["labels"]]
    files = [ROOT / "examples" / "cat_chelsea.png"] * 2  # fastai requires training items
    resampling = Image.Resampling[spec.interpolation.upper()]
    loaders = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=names, sort=False)),
        get_y=lambda _: names[0],
        splitter=IndexSplitter([1]),
        item_tfms=Resize(
            (spec.height, spec.width),
            ResizeMethod.Squish,
            resamples=(resampling, Image.Resampling.NEAREST),
        ),
        batch_tfms=Normalize.from_stats(spec.mean, spec.std, cuda=False),
    ).dataloaders(files, bs=1, num_workers=0)
    learn = Learner(loaders, network, loss_func=CrossEntropyLossFlat())

    def predict(photo: Photo) -> "torch.Tensor":
        with learn.no_bar(), learn.no_logging():
            return learn.predict(photo)[2]

    return torch_answers(predict, names, network, spec)


def torch_answers(
    probabilities: "Callable[[Photo], torch.Tensor]",
    names: list[str],
    network: "torch.nn.Module",
    spec: InputSpec,
) -> Answers:
    """The best breeds, from the probabilities of a network in PyTorch."""
    from bench import networks

    def answer(photo: Photo) -> list[tuple[str, float]]:
        values, places = probabilities(photo).topk(TOP)
        return [
            (names[place], value)
            for value, place in zip(values.tolist(), places.tolist(), strict=True)
        ]

    shape = (1, 3, spec.height, spec.width)
    return Answers(
        answer,
        lambda photo: probabilities(photo).numpy(),
        lambda: networks.torch_work(network, shape),
    )


def card(model: str) -> tuple[dict[str, Any], InputSpec]:
    """A model's card, and how it wants its photo."""
    facts = json.loads((ROOT / "models" / "weights" / f"{model}.json").read_text())
    return facts, InputSpec(**facts["input"])


def classifier(means: Means) -> "torch.nn.Module":
    """The breed model in PyTorch."""
    from bench import networks

    facts, _ = card(BREED)
    temperature = facts["output"]["temperature"]
    breeds = len(facts["labels"])
    architectures, opinion = facts["architecture"].split(" + "), None
    if second := facts.get("second_opinion"):
        architectures += second["architecture"].split(" + ")
        opinion = networks.Opinion(second["below"], second["temperatures"])
    return networks.timm_classifier(
        means.weights[BREED], architectures, breeds, temperature, opinion
    )


def normalized(photo: Photo, spec: InputSpec) -> NDArray[np.float32]:
    """The photo squashed to the network's size, `(height, width, 3)` float32, normalized."""
    resampling = Image.Resampling[spec.interpolation.upper()]
    small = Image.fromarray(photo).resize((spec.width, spec.height), resampling, reducing_gap=3.0)
    values = np.asarray(small, np.float32) / np.float32(255)
    mean, std = (np.array(part, np.float32) for part in (spec.mean, spec.std))
    return (values - mean) / std


CONTESTANTS = (
    Contestant("otsu", OURS, "onnxruntime", otsu_ours),
    Contestant("otsu", "scikit-image", "scikit-image", otsu_skimage),
    Contestant("otsu", "OpenCV", "scikit-image", otsu_opencv),
    *(
        contestant
        for classes in range(2, 7)
        for contestant in (
            Contestant(
                f"multi-otsu {classes}", OURS, "onnxruntime", partial(multi_otsu_ours, classes)
            ),
            Contestant(
                f"multi-otsu {classes}",
                "scikit-image",
                "scikit-image",
                partial(multi_otsu_skimage, classes),
            ),
        )
    ),
    Contestant("mask", OURS, "onnxruntime", mask_ours),
    Contestant("mask", "Keras `predict`", "tensorflow", partial(mask_keras, "predict")),
    Contestant("mask", "Keras `model(x)`", "tensorflow", partial(mask_keras, "call")),
    Contestant("mask", "`tf.function`", "tensorflow", partial(mask_keras, "function")),
    Contestant("breed", OURS, "onnxruntime", breed_ours),
    Contestant("breed", "fastai `learn.predict`", "torch", breed_fastai),
    Contestant("breed", "timm, eager", "torch", partial(breed_timm, "eager")),
    Contestant("breed", "timm, `torch.compile`", "torch", partial(breed_timm, "compile")),
)
