"""Train the U-Net that outlines pets: MobileNetV2 encoder, pix2pix decoder, Keras on TensorFlow.

    python -m training.train_unet
    python -m training.train_unet --source FOLDER --encoder-weights FILE.weights.h5 --resume

Reads the official trainval split, holds a tenth of it out, fine-tunes the whole network, keeps the
weights with the best held-out mean IoU and writes to the run's folder: `model.keras`,
`history.csv`, `curves.png`, `predictions.png` and `run.json`.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from models.images import open_photo
from models.preprocessing import InputSpec, normalize, resize_photo
from training import pets
from training.networks import mobilenet_unet
from training.reports import plot_curves, plot_segmentations
from training.runs import describe_run, read_history

SIZE = 128  # side of the network's input in pixels, divisible by 32
EPOCHS = 30
PATIENCE = 10  # epochs without a better held-out mean IoU before stopping
BATCH = 32
RATE = 1e-3  # peak of the learning rate: linear warm-up, then half a cosine to zero
WARM_UP_EPOCHS = 1
WEIGHT_DECAY = 1e-4
DICE_WEIGHT = 1.0  # of the soft Dice loss beside the cross-entropy
SEED = 42

# Augmentation; each is the largest deviation, drawn uniformly.
CACHE_SCALE = 1.25  # pictures are kept a little larger than the input, for sharp zoom-ins
ROTATION = 15.0  # degrees
ZOOM = 1.3  # factor in and out, log-uniform
STRETCH = 1.15  # ratio of the two axes' zooms, log-uniform
SHIFT = 0.1  # of the picture's side
BRIGHTNESS = 0.15  # of the range
CONTRAST = 0.25
SATURATION = 0.3


def input_spec(size: int) -> InputSpec:
    """The photo as this network wants it: squashed to a square, values in [-1, 1]."""
    half = (0.5, 0.5, 0.5)
    return InputSpec(size, size, "squash", "bilinear", mean=half, std=half, layout="NHWC")


def read_example(example: pets.Example, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Photo `(size, size, 3)` and class indices `(size, size)`, uint8, both squashed.

    The trimap's values 1, 2, 3 become the class indices 0, 1, 2.
    """
    photo = resize_photo(open_photo(example.photo), input_spec(size))
    return photo, pets.read_trimap(example.trimap, size) - 1


def load(examples: Sequence[pets.Example], size: int) -> tf.data.Dataset:
    """Photos and masks as uint8 tensors, decoded once and then kept in memory."""

    def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        photo, mask = tf.numpy_function(
            lambda i: read_example(examples[i], size), [index], (tf.uint8, tf.uint8)
        )
        return tf.ensure_shape(photo, (size, size, 3)), tf.ensure_shape(mask, (size, size))

    indices = tf.data.Dataset.range(len(examples))
    return indices.map(read, num_parallel_calls=tf.data.AUTOTUNE).cache()


def augment(
    photos: tf.Tensor, masks: tf.Tensor, size: int, random: tf.random.Generator
) -> tuple[tf.Tensor, tf.Tensor]:
    """Flip, rotate, zoom, stretch and shift photos and masks together; change the photos' colours.

    Takes `(batch, height, width, 3)` uint8 photos and `(batch, height, width)` uint8 masks, gives
    `(batch, size, size, 3)` float32 photos in [0, 255] and `(batch, size, size)` uint8 masks.
    """
    batch = tf.shape(photos)[0]
    side = tf.cast(tf.shape(photos)[1], tf.float32)

    def uniform(largest: float) -> tf.Tensor:
        return random.uniform([batch], -largest, largest)

    angle = uniform(ROTATION * np.pi / 180)
    zoom = tf.exp(uniform(np.log(ZOOM))) * side / size
    stretch = tf.exp(uniform(np.log(STRETCH) / 2))
    flip = tf.where(random.uniform([batch]) < 0.5, -1.0, 1.0)
    # The matrix maps an output pixel to the input pixel it is read from, both counted from the
    # centre of their picture.
    a = zoom * stretch * tf.cos(angle) * flip
    b = -zoom * stretch * tf.sin(angle)
    c = zoom / stretch * tf.sin(angle) * flip
    d = zoom / stretch * tf.cos(angle)
    centre_in = (side - 1) / 2
    centre_out = (size - 1) / 2
    x = centre_in + uniform(SHIFT) * side - (a + b) * centre_out
    y = centre_in + uniform(SHIFT) * side - (c + d) * centre_out
    zero = tf.zeros_like(a)
    transforms = tf.stack([a, b, x, c, d, y, zero, zero], axis=1)

    def warp(images: tf.Tensor, interpolation: str) -> tf.Tensor:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=[size, size],
            interpolation=interpolation,
            fill_mode="REFLECT",
            fill_value=0.0,
        )

    photos = warp(tf.cast(photos, tf.float32), "BILINEAR")
    masks = warp(masks[..., tf.newaxis], "NEAREST")[..., 0]

    def per_photo(largest: float) -> tf.Tensor:
        return tf.reshape(uniform(largest), (-1, 1, 1, 1))

    grey = tf.image.rgb_to_grayscale(photos)
    photos = grey + (photos - grey) * (1 + per_photo(SATURATION))
    mean = tf.reduce_mean(photos, axis=(1, 2, 3), keepdims=True)
    photos = mean + (photos - mean) * (1 + per_photo(CONTRAST)) + 255 * per_photo(BRIGHTNESS)
    return tf.clip_by_value(photos, 0, 255), masks


def training_batches(
    examples: Sequence[pets.Example], size: int, batch: int, seed: int
) -> tf.data.Dataset:
    """Shuffled, augmented batches for one epoch of `Model.fit`."""
    cached = load(examples, 32 * round(size * CACHE_SCALE / 32))
    random = tf.random.Generator.from_seed(seed)
    spec = input_spec(size)

    def prepare(photos: tf.Tensor, masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        photos, masks = augment(photos, masks, size, random)
        return (photos / 255 - spec.mean) / spec.std, masks

    return (
        cached.shuffle(len(examples), seed=seed)
        .batch(batch, drop_remainder=len(examples) > batch)
        .map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_batches(examples: Sequence[pets.Example], size: int, batch: int) -> tf.data.Dataset:
    """Batches prepared exactly as `models.preprocessing.prepare` does at serving."""
    spec = input_spec(size)

    def prepare(photos: tf.Tensor, masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        (normal,) = tf.numpy_function(lambda p: [normalize(p, spec)], [photos], [tf.float32])
        return tf.ensure_shape(normal, photos.shape), masks

    return load(examples, size).batch(batch).map(prepare).prefetch(tf.data.AUTOTUNE)


@keras.saving.register_keras_serializable(package="petscope")
def dice_cross_entropy(truth: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy plus soft Dice loss, for `(batch, height, width)` class indices.

    The soft Dice loss (Milletari et al., "V-Net", 3DV 2016) is taken per class over the whole
    batch and averaged over the classes, so the thin border counts as much as the background.
    """
    probabilities = tf.nn.softmax(logits)
    target = tf.one_hot(tf.cast(truth, tf.int32), logits.shape[-1])
    entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
    overlap = tf.reduce_sum(target * probabilities, axis=(0, 1, 2))
    total = tf.reduce_sum(target + probabilities, axis=(0, 1, 2))
    dice = 1 - tf.reduce_mean((2 * overlap + 1) / (total + 1))
    return entropy + DICE_WEIGHT * dice


def learning_rate(steps: int, epochs: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up, then a cosine to zero, over `epochs` epochs of `steps` steps."""
    warm_up = WARM_UP_EPOCHS * steps
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=RATE / 100,
        decay_steps=max(epochs * steps - warm_up, 1),
        warmup_target=RATE,
        warmup_steps=warm_up,
    )


def train(arguments: argparse.Namespace) -> Path:
    """Run the training that the command line describes; return the run's folder."""
    keras.utils.set_random_seed(SEED)
    root = pets.prepare(arguments.root, arguments.source)
    train_part = pets.with_masks(pets.split(root, "train"))
    held_out = pets.with_masks(pets.split(root, "validation"))
    epochs = arguments.epochs
    if arguments.dry_run:
        train_part, held_out, epochs = train_part[:: len(train_part) // 16], held_out[:8], 1
    run: Path = arguments.out
    backup = run / "backup"
    if not arguments.resume:
        shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True, exist_ok=True)

    weights = None if arguments.encoder_weights == "none" else arguments.encoder_weights
    model = mobilenet_unet.build(None, len(pets.MASK_CLASSES), weights)
    batches = training_batches(train_part, arguments.size, arguments.batch, SEED)
    held_out_batches = evaluation_batches(held_out, arguments.size, arguments.batch)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            learning_rate(len(batches), epochs), weight_decay=WEIGHT_DECAY, clipnorm=5.0
        ),
        loss=dice_cross_entropy,
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.MeanIoU(len(pets.MASK_CLASSES), sparse_y_pred=False, name="miou"),
        ],
    )
    history = run / "history.csv"
    model.fit(
        batches,
        validation_data=held_out_batches,
        epochs=epochs,
        shuffle=False,  # the data set shuffles itself
        verbose=arguments.verbose,
        callbacks=[
            keras.callbacks.BackupAndRestore(backup, delete_checkpoint=False),
            keras.callbacks.ModelCheckpoint(
                run / "model.keras",
                monitor="val_miou",
                mode="max",
                save_best_only=True,
                initial_value_threshold=_best_so_far(history),
            ),
            keras.callbacks.EarlyStopping(monitor="val_miou", mode="max", patience=PATIENCE),
            keras.callbacks.CSVLogger(history, append=arguments.resume),
        ],
    )
    best = keras.models.load_model(run / "model.keras")
    figures = best.evaluate(held_out_batches, verbose=0, return_dict=True)
    rows = read_history(history)
    spec = input_spec(arguments.size)
    describe_run(
        run,
        task="segmentation",
        framework="keras",
        architecture="U-Net, MobileNetV2 encoder (1.0), pix2pix decoder",
        labels=[{"name": name} for name in pets.MASK_CLASSES],
        input_spec=spec,
        data="Oxford-IIIT Pet",
        held_out={"pictures": len(held_out), "size": arguments.size, **figures},
        epochs=len(rows),
    )
    plot_curves(rows, run / "curves.png", {"loss": "loss", "miou": "mean IoU"})
    shown = held_out[:: max(len(held_out) // 8, 1)][:8]
    photos, masks = zip(*(read_example(example, arguments.size) for example in shown), strict=True)
    predicted = best.predict_on_batch(normalize(np.stack(photos), spec)).argmax(axis=-1)
    plot_segmentations(photos, masks, predicted, pets.MASK_CLASSES, run / "predictions.png")
    print(f"{run}: held-out accuracy {figures['accuracy']:.4f}, mean IoU {figures['miou']:.4f}")
    return run


def _best_so_far(history: Path) -> float | None:
    """Best held-out mean IoU of a run that is resumed, so that a worse one is not kept."""
    if not history.exists():
        return None
    return max((row["val_miou"] for row in read_history(history)), default=None)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pets.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path("runs/unet"), help="the run's folder")
    parser.add_argument("--size", type=int, default=SIZE, help="input side, divisible by 32")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--batch", type=int, default=BATCH, help="pictures a step")
    parser.add_argument(
        "--encoder-weights",
        default="imagenet",
        help="'imagenet' (downloaded), 'none', or a .weights.h5 file of MobileNetV2 without top",
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--dry-run", action="store_true", help="one epoch on a few pictures")
    parser.add_argument("--verbose", type=int, default=1, choices=(0, 1, 2), help="as in Keras")
    return parser.parse_args(words)


if __name__ == "__main__":
    train(parse_arguments())
