"""Train a Keras U-Net on pets or cell nuclei.

    python -m training.train_unet                                   # MobileNetV2 encoder, pets
    python -m training.train_unet --network scratch --size 96x128 --filters 32 --epochs 3
    python -m training.train_unet nuclei --out runs/nuclei          # from scratch, cell nuclei
    python -m training.train_unet --resume                          # go on with an interrupted run

Reads the training part of the data, holds a tenth of it out, trains with augmentation on
cross-entropy plus Dice, keeps the weights with the best held-out mean IoU and writes to the run's
folder: `model.keras`, `history.csv`, `tensorboard/`, `curves.png`, `predictions.png`, `run.json`.

All GPUs of the machine take a part of every batch each. So do several processes, on one machine or
many, each started with TensorFlow's own `TF_CONFIG`; the first writes the run's folder:

    TF_CONFIG='{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]},
                "task": {"type": "worker", "index": 0}}'            # 1 for the second process
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.images import open_photo
from models.preprocessing import InputSpec, normalize
from training import keras_runs, nuclei, pets, runs
from training.networks import mobilenet_unet, unet
from training.pictures import decode, read_all
from training.reports import plot_curves, plot_segmentations
from training.runs import describe_run

EPOCHS = 30
PATIENCE = 10  # epochs without a better held-out mean IoU before stopping
BATCH = 32
RATE = 1e-3  # peak of the learning rate: linear warm-up, then half a cosine to zero
WEIGHT_DECAY = 1e-4
SEED = 42
PET_SIZE = (128, 128)  # height and width of the input in pixels
FILTERS, DEPTH = 32, 4  # of the network from scratch
NUCLEI_FILTERS = 16
WINDOW = 192  # side of the parts of nuclei pictures that are trained on
LARGEST_SIDE = 1024  # of a nuclei picture as it is served; larger ones are shrunk

# Augmentation; each is the largest deviation, drawn uniformly.
CACHE_SCALE = 1.25  # pets are kept a little larger than the input, for sharp zoom-ins
ROTATION = {"pets": 15.0, "nuclei": 180.0}  # degrees
ZOOM = {"pets": 1.3, "nuclei": 1.4}  # factor in and out, log-uniform
STRETCH = 1.15  # ratio of the two axes' zooms, log-uniform
SHIFT = 0.1  # of the picture's side
BRIGHTNESS = 0.15  # of the range
CONTRAST = 0.25
SATURATION = 0.3

Photos = NDArray[np.uint8]
Masks = NDArray[np.integer]


@dataclass(frozen=True)
class Data:
    """A data set made ready: seeded training batches, and the held-out part as arrays."""

    name: str
    classes: tuple[str, ...]
    spec: InputSpec
    batches: keras_runs.Batches
    photos: Photos
    masks: Masks


def input_spec(height: int, width: int) -> InputSpec:
    """A pet photo as these networks want it: squashed, values in [-1, 1]."""
    half = (0.5, 0.5, 0.5)
    return InputSpec(height, width, "squash", "bilinear", mean=half, std=half, layout="NHWC")


def nuclei_spec(multiple: int) -> InputSpec:
    """A nuclei picture as it is served: at its own scale, values in [-1, 1]."""
    half = (0.5, 0.5, 0.5)
    side = LARGEST_SIDE
    return InputSpec(side, side, "fit", "bilinear", half, half, layout="NHWC", multiple=multiple)


def load_pets(arguments: argparse.Namespace) -> Data:
    """Photos and trimaps, squashed; the trimap's values 1, 2, 3 become the classes 0, 1, 2."""
    root = pets.prepare(arguments.root or pets.ROOT, arguments.source or pets.URL)
    train_part, held_out = (
        pets.random_split(root)
        if arguments.split == "random"
        else (
            pets.split(root, "train"),
            pets.split(root, "validation"),
        )
    )
    train_part, held_out = pets.with_masks(train_part), pets.with_masks(held_out)
    if arguments.dry_run:
        train_part, held_out = train_part[:: len(train_part) // 16], held_out[:8]
    height, width = arguments.size
    spec = input_spec(height, width)
    larger = input_spec(round(height * CACHE_SCALE), round(width * CACHE_SCALE))
    photos = decode(train_part, larger, "training photos")
    masks = _trimaps(train_part, larger)

    def make(indices: NDArray[np.intp], random: np.random.Generator) -> keras_runs.Batch:
        some, their_masks = augment(photos[indices], masks[indices], height, width, "pets", random)
        return normalize(some, spec), their_masks

    return Data(
        pets.NAME,
        pets.MASK_CLASSES,
        spec,
        keras_runs.Batches(len(photos), arguments.batch, arguments.seed, make),
        decode(held_out, spec, "held-out photos"),
        _trimaps(held_out, spec),
    )


def _trimaps(examples: Sequence[pets.Example], spec: InputSpec) -> Masks:
    return np.stack(
        read_all(
            lambda example: pets.read_trimap(example.trimap, spec.height, spec.width) - 1,
            examples,
            "trimaps",
        )
    )


def load_nuclei(arguments: argparse.Namespace) -> Data:
    """Windows of nuclei pictures at their own scale; large pictures and rare kinds give more."""
    root = nuclei.prepare(arguments.root or nuclei.ROOT, arguments.source or nuclei.URL)
    train_part, held_out = nuclei.split(root, "train"), nuclei.split(root, "validation")
    if arguments.dry_run:
        train_part, held_out = train_part[:: len(train_part) // 16], held_out[:8]
    spec = nuclei_spec(2**arguments.depth)
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
        cuts = [nuclei.random_window(*pictures[windows[i]], WINDOW, random) for i in indices]
        photos, labels = (np.stack(arrays) for arrays in zip(*cuts, strict=True))
        photos, labels = augment(photos, labels, WINDOW, WINDOW, "nuclei", random)
        return normalize(photos, spec), nuclei.classes_of(labels)

    random = np.random.default_rng(arguments.seed)
    cuts = [
        nuclei.random_window(
            open_photo(example.photo), nuclei.read_instances(example), WINDOW, random
        )
        for example in held_out
    ]
    photos, labels = (np.stack(arrays) for arrays in zip(*cuts, strict=True))
    return Data(
        nuclei.NAME,
        nuclei.MASK_CLASSES,
        spec,
        keras_runs.Batches(len(windows), arguments.batch, arguments.seed, make),
        photos,
        nuclei.classes_of(labels),
    )


LOADERS = {"pets": load_pets, "nuclei": load_nuclei}


def augment(
    photos: Photos,
    masks: Masks,
    height: int,
    width: int,
    kind: str,
    random: np.random.Generator,
) -> tuple[Photos, Masks]:
    """Flip, rotate, zoom, stretch and shift photos and masks together; change the photos' colours.

    Takes `(batch, ..., ..., 3)` uint8 photos and `(batch, ..., ...)` integer masks of one size,
    gives `(batch, height, width, 3)` float32 photos in [0, 255] and `(batch, height, width)` masks.
    """
    batch, rows, columns = masks.shape

    def uniform(largest: float) -> NDArray[np.float64]:
        return random.uniform(-largest, largest, batch)

    angle = uniform(np.deg2rad(ROTATION[kind]))
    zoom = np.exp(uniform(np.log(ZOOM[kind])))
    stretch = np.exp(uniform(np.log(STRETCH) / 2))
    flip = random.choice([-1.0, 1.0], batch)
    # The matrix maps an output pixel to the input pixel it is read from, both counted from the
    # centre of their picture.
    a = zoom * stretch * np.cos(angle) * flip * columns / width
    b = -zoom * stretch * np.sin(angle) * columns / width
    c = zoom / stretch * np.sin(angle) * flip * rows / height
    d = zoom / stretch * np.cos(angle) * rows / height
    x = (columns - 1) / 2 + uniform(SHIFT) * columns - a * (width - 1) / 2 - b * (height - 1) / 2
    y = (rows - 1) / 2 + uniform(SHIFT) * rows - c * (width - 1) / 2 - d * (height - 1) / 2
    zero = np.zeros(batch)
    transforms = np.stack([a, b, x, c, d, y, zero, zero], axis=1).astype(np.float32)

    def warp(images: NDArray[np.generic], interpolation: str) -> NDArray[np.generic]:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=[height, width],
            interpolation=interpolation,
            fill_mode="REFLECT",
            fill_value=0.0,
        ).numpy()

    with tf.device("CPU"):
        photos = warp(photos.astype(np.float32), "BILINEAR")
        masks = warp(masks[..., np.newaxis], "NEAREST")[..., 0]

    def per_photo(largest: float) -> NDArray[np.float32]:
        return uniform(largest).astype(np.float32).reshape(-1, 1, 1, 1)

    grey = photos @ np.array([[0.299], [0.587], [0.114]], np.float32)
    photos = grey + (photos - grey) * (1 + per_photo(SATURATION))
    mean = photos.mean(axis=(1, 2, 3), keepdims=True)
    photos = mean + (photos - mean) * (1 + per_photo(CONTRAST)) + 255 * per_photo(BRIGHTNESS)
    return np.clip(photos, 0, 255), masks


def build(arguments: argparse.Namespace, classes: int) -> keras.Model:
    """The network that the command line names."""
    if arguments.network == "scratch":
        return unet.build(classes, arguments.filters, arguments.depth)
    weights = None if arguments.encoder_weights == "none" else arguments.encoder_weights
    return mobilenet_unet.build(None, classes, weights, arguments.bottom)


def describe(arguments: argparse.Namespace) -> str:
    """The network in words, for the card."""
    if arguments.network == "scratch":
        return f"U-Net from scratch, {arguments.filters} filters, {arguments.depth} halvings"
    return f"U-Net, MobileNetV2 encoder (1.0, up to {arguments.bottom}), pix2pix decoder"


def train(arguments: argparse.Namespace) -> Path:
    """Run the training that the command line describes; return the run's folder."""
    strategy = keras_runs.set_up(arguments.seed)
    data = LOADERS[arguments.data](arguments)
    epochs = 1 if arguments.dry_run else arguments.epochs
    run: Path = arguments.out
    first = keras_runs.is_first(strategy)
    if first:
        if not arguments.resume:
            shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True, exist_ok=True)
    with strategy.scope():
        model = build(arguments, len(data.classes))
        rates = keras_runs.learning_rate(arguments.rate, data.batches.steps, epochs)
        keras_runs.prepare(
            model,
            keras.optimizers.AdamW(rates, weight_decay=WEIGHT_DECAY, clipnorm=keras_runs.CLIP),
        )
    if arguments.find_rate:
        keras_runs.find_rate(model, data.batches, run)
        return run
    held_out = normalize(data.photos, data.spec), data.masks
    rows = keras_runs.fit(
        model,
        data.batches,
        held_out,
        run,
        epochs=epochs,
        patience=PATIENCE,
        verbose=arguments.verbose,
    )
    if not first:
        return run
    best = keras_runs.finish(run, lambda: build(arguments, len(data.classes)))
    figures = best.evaluate(*held_out, data.batches.batch, verbose=0, return_dict=True)
    describe_run(
        run,
        task="segmentation",
        framework="keras",
        architecture=describe(arguments),
        labels=[{"name": name} for name in data.classes],
        input_spec=data.spec,
        data=data.name,
        split=arguments.split,
        devices=strategy.num_replicas_in_sync,
        instances=data.name == nuclei.NAME,  # single nuclei are worth counting
        held_out={
            "pictures": len(data.photos),
            "size": "x".join(map(str, data.masks.shape[1:])),
            **figures,
        },
        epochs=len(rows),
    )
    plot_curves(rows, run / "curves.png", {"loss": "loss", "miou": "mean IoU"})
    shown = slice(None, None, max(len(data.photos) // 8, 1))
    photos, masks = data.photos[shown][:8], data.masks[shown][:8]
    predicted = best.predict_on_batch(normalize(photos, data.spec)).argmax(axis=-1)
    plot_segmentations(photos, masks, predicted, data.classes, run / "predictions.png")
    print(f"{run}: held-out accuracy {figures['accuracy']:.4f}, mean IoU {figures['miou']:.4f}")
    return run


def size(text: str) -> tuple[int, int]:
    """Read "128" or "96x128" (height x width)."""
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", choices=LOADERS, default="pets", help="what to outline")
    parser.add_argument("--root", type=Path, help="where the data lies; by default data/pets, ...")
    parser.add_argument("--source", help="base URL of the official archives, or a folder with them")
    parser.add_argument("--out", type=Path, default=Path("runs/unet"), help="the run's folder")
    parser.add_argument(
        "--network",
        choices=("mobilenet", "scratch"),
        help="encoder; by default mobilenet for pets and scratch for nuclei",
    )
    parser.add_argument(
        "--size", type=size, default=PET_SIZE, help="pets: input HEIGHTxWIDTH, or one side"
    )
    parser.add_argument("--filters", type=int, help="scratch: channels at full resolution")
    parser.add_argument("--depth", type=int, default=DEPTH, help="scratch: halvings")
    parser.add_argument(
        "--encoder-weights",
        default="imagenet",
        help="mobilenet: 'imagenet' (downloaded), 'none', or a .weights.h5 file without top",
    )
    parser.add_argument(
        "--bottom", choices=mobilenet_unet.BOTTOMS, default=mobilenet_unet.BOTTOMS[0]
    )
    parser.add_argument(
        "--split",
        choices=("official", "random"),
        default="official",
        help="pets: trainval, a tenth held out; or a random fifth of all pictures held out",
    )
    runs.add_arguments(parser, epochs=EPOCHS, batch=BATCH, rate=RATE, seed=SEED)
    parser.add_argument("--verbose", type=int, default=1, choices=(0, 1, 2), help="as in Keras")
    arguments = parser.parse_args(words)
    on_nuclei = arguments.data == "nuclei"
    arguments.network = arguments.network or ("scratch" if on_nuclei else "mobilenet")
    arguments.filters = arguments.filters or (NUCLEI_FILTERS if on_nuclei else FILTERS)
    multiple = 2**arguments.depth if arguments.network == "scratch" else mobilenet_unet.MULTIPLE
    height, width = (WINDOW, WINDOW) if on_nuclei else arguments.size
    if height % multiple or width % multiple:
        parser.error(f"height and width must be divisible by {multiple}, not {height}x{width}")
    return arguments


if __name__ == "__main__":
    train(parse_arguments())
