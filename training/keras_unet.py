"""A Keras U-Net to train: pictures, network, optimizer, results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training import keras_runs  # before Keras: it makes TensorFlow quiet

import keras  # isort: skip

from models.images import open_photo
from models.preprocessing import InputSpec, normalize
from training import nuclei
from training.augmentation import Masks, Photos, augment
from training.data_sets import Examples
from training.errors import UserError
from training.networks import mobilenet_unet, unet
from training.pictures import decode, few, read_all
from training.pretrained import keras_network
from training.reports import plot_curves, plot_segmentations
from training.runs import Run

WEIGHT_DECAY = 1e-4
WINDOW = 192  # side of the parts of nuclei pictures that are trained on
LARGEST_SIDE = 1024  # of a nuclei picture as it is served; larger ones are shrunk
CACHE_SCALE = 1.25  # pets are kept a little larger than the input, for sharp zoom-ins


@dataclass(frozen=True)
class Pictures:
    """Pictures made ready: seeded training batches, and the held-out part as arrays."""

    spec: InputSpec
    batches: keras_runs.Batches
    photos: Photos
    masks: Masks

    @property
    def held_out(self) -> tuple[NDArray[np.float32], Masks]:
        """The held-out part as the network gets it, with its masks."""
        return normalize(self.photos, self.spec), self.masks


def input_spec(height: int, width: int) -> InputSpec:
    """A pet photo as these networks want it: squashed, values in [-1, 1]."""
    half = (0.5, 0.5, 0.5)
    return InputSpec(height, width, "squash", "bilinear", mean=half, std=half, layout="NHWC")


def nuclei_spec(multiple: int) -> InputSpec:
    """A nuclei picture as it is served: at its own scale, values in [-1, 1]."""
    half = (0.5, 0.5, 0.5)
    side = LARGEST_SIDE
    return InputSpec(side, side, "fit", "bilinear", half, half, layout="NHWC", multiple=multiple)


def load_whole(
    train_part: Examples, held_out: Examples, size: tuple[int, int], batch: int, seed: int
) -> Pictures:
    """Whole photos and their masks, squashed to the input's height and width."""
    height, width = size
    spec = input_spec(height, width)
    larger = input_spec(round(height * CACHE_SCALE), round(width * CACHE_SCALE))
    photos = decode(train_part, larger, "training photos")
    masks = _masks(train_part, larger)

    def make(indices: NDArray[np.intp], random: np.random.Generator) -> keras_runs.Batch:
        some, their_masks = augment(photos[indices], masks[indices], height, width, "pets", random)
        return normalize(some, spec), their_masks

    return Pictures(
        spec,
        keras_runs.Batches(len(photos), batch, seed, make),
        decode(held_out, spec, "held-out photos"),
        _masks(held_out, spec),
    )


def _masks(examples: Examples, spec: InputSpec) -> Masks:
    return np.stack(
        read_all(lambda one: one.read_classes(spec.height, spec.width), examples, "masks")
    )


def load_nuclei(
    train_part: Examples, held_out: Examples, depth: int, batch: int, seed: int
) -> Pictures:
    """Windows of nuclei pictures at their own scale; large pictures and rare kinds give more."""
    spec = nuclei_spec(2**depth)
    pictures = read_all(
        lambda example: (open_photo(example.photo), nuclei.read_instances(example)),
        train_part,
        "training pictures",
    )
    windows = [
        index
        for index, (example, (photo, _)) in enumerate(zip(train_part, pictures, strict=True))
        for _ in range(nuclei.window_count(example, photo.shape[0] * photo.shape[1] / WINDOW**2))
    ]

    def make(indices: NDArray[np.intp], random: np.random.Generator) -> keras_runs.Batch:
        chosen = [pictures[windows[index]] for index in indices]
        cuts = [nuclei.random_window(photo, numbers, WINDOW, random) for photo, numbers in chosen]
        photos, labels = (np.stack(arrays) for arrays in zip(*cuts, strict=True))
        photos, labels = augment(photos, labels, WINDOW, WINDOW, "nuclei", random)
        return normalize(photos, spec), nuclei.classes_of(labels)

    random = np.random.default_rng(seed)
    cuts = [
        nuclei.random_window(
            open_photo(example.photo), nuclei.read_instances(example), WINDOW, random
        )
        for example in held_out
    ]
    photos, labels = (np.stack(arrays) for arrays in zip(*cuts, strict=True))
    return Pictures(
        spec,
        keras_runs.Batches(len(windows), batch, seed, make),
        photos,
        nuclei.classes_of(labels),
    )


@dataclass(frozen=True)
class Network:
    """Which network to build: `kind` is "mobilenet" or "scratch", the rest as those options.

    `encoder_weights` and `bottom` are the mobilenet's, `filters` and `depth` those of the network
    from scratch.
    """

    kind: str
    encoder_weights: str
    bottom: str
    filters: int
    depth: int

    @property
    def multiple(self) -> int:
        """What height and width of the input must be divisible by."""
        return 2**self.depth if self.kind == "scratch" else mobilenet_unet.MULTIPLE

    def check(self, height: int, width: int) -> None:
        """Raise UserError if an input of this size does not fit the network."""
        if height % self.multiple or width % self.multiple:
            raise UserError(
                f"Height and width must be divisible by {self.multiple}, not {height}x{width}."
            )

    def build(self, classes: int, weights: bool = True) -> keras.Model:
        """The network, with the encoder's weights if it has some and they are wanted."""
        if self.kind == "scratch":
            return unet.build(classes, self.filters, self.depth)
        named = None if self.encoder_weights == "none" or not weights else self.encoder_weights
        return keras_network(mobilenet_unet.build, None, classes, named, self.bottom)

    @property
    def architecture(self) -> str:
        """The network in words, for the card."""
        if self.kind == "scratch":
            return f"U-Net from scratch, {self.filters} filters, {self.depth} halvings"
        return f"U-Net, MobileNetV2 encoder (1.0, up to {self.bottom}), pix2pix decoder"


def optimizer(rate: float, steps: int, epochs: int) -> keras.optimizers.Optimizer:
    """AdamW with warm-up, half a cosine and clipped gradients."""
    rates = keras_runs.learning_rate(rate, steps, epochs)
    return keras.optimizers.AdamW(rates, weight_decay=WEIGHT_DECAY, clipnorm=keras_runs.CLIP)


def write_results(
    run: Run,
    network: Network,
    pictures: Pictures,
    classes: Sequence[str],
    rows: Sequence[Mapping[str, float]],
) -> dict[str, float]:
    """Write the best network, the curves and a sheet of held-out photos with both masks.

    Returns
    -------
    The network's figures over the held-out pictures.
    """
    best = keras_runs.finish(run.folder, lambda: network.build(len(classes), weights=False))
    inputs, truth = pictures.held_out
    figures = best.evaluate(inputs, truth, pictures.batches.batch, verbose=0, return_dict=True)
    plot_curves(rows, run.folder / "curves.png", {"loss": "loss", "miou": "mean IoU"})
    shown = few(range(len(truth)), 8)
    predicted = best.predict_on_batch(inputs[shown]).argmax(axis=-1)
    plot_segmentations(
        list(pictures.photos[shown]),
        list(truth[shown]),
        list(predicted),
        classes,
        run.folder / "predictions.png",
    )
    return figures
