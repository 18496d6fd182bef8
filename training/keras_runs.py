"""What the Keras U-Nets share: loss, learning rate, seeded batches, checkpoints, curves, resuming.

A resumed run does what an uninterrupted one would have done: each batch draws its random numbers
from a seed made of the run's seed, the epoch and the batch's number.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import training.tensorflow_quietly  # noqa: F401  (before Keras)

import keras  # isort: skip
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from tqdm import tqdm

from training.reports import plot_rates
from training.runs import BACKUP, HISTORY, RATE_PLOT, Run, RunError, TimeLeft, read_history

DICE_WEIGHT = 1.0  # weight of the soft Dice loss beside the cross-entropy
WARM_UP_EPOCHS = 1
SMOOTHING = 3.0  # standard deviation, in steps, for smoothing the losses over the rates
CLIP = 5.0  # largest norm of each gradient
CPU_FACTS = Path("/proc/cpuinfo")

Batch = tuple[NDArray[np.float32], NDArray[np.integer]]


class Batches(keras.utils.PyDataset):
    """Batches of `make(indices, random)`, with a new order and new random numbers in every epoch.

    The batches of all epochs form one sequence, because Keras starts preparing those of an epoch
    before it announces the epoch. The last batch of an epoch is filled up from the start of its
    order.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        seed: int,
        make: Callable[[NDArray[np.intp], np.random.Generator], Batch],
    ) -> None:
        super().__init__()
        self.count, self.batch, self.seed, self.make = count, min(batch, count), seed, make
        self.steps = -(-count // self.batch)  # an epoch's
        self.epochs = range(1)

    def __len__(self) -> int:
        """Number of batches in all remaining epochs."""
        return len(self.epochs) * self.steps

    def __getitem__(self, index: int) -> Batch:
        """Make a batch, indexed over all remaining epochs."""
        epoch, step = self.epochs[index // self.steps], index % self.steps
        order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
        indices = np.take(order, range(step * self.batch, (step + 1) * self.batch), mode="wrap")
        return self.make(indices, np.random.default_rng((self.seed, epoch, step)))


class _SeedDropout(keras.callbacks.Callback):
    """Draws each epoch's dropout from its own seed, so that a resumed run repeats it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign([self.seed, epoch])


@keras.saving.register_keras_serializable(package="petscope")  # type: ignore[untyped-decorator]
def dice_cross_entropy(truth: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy plus soft Dice loss, for `(batch, height, width)` class indices.

    The soft Dice loss (Milletari et al., "V-Net", 3DV 2016) is taken per class over the whole
    batch and averaged over the classes, so the thin border counts as much as the background.

    Returns
    -------
    `(batch,)`: each picture's own cross-entropy plus the Dice loss of the whole batch. Keras
    averages a loss over several devices only if it has one value per picture.
    """
    probabilities = tf.nn.softmax(logits)
    target = tf.one_hot(tf.cast(truth, tf.int32), logits.shape[-1])
    entropy = tf.nn.softmax_cross_entropy_with_logits(target, logits)
    overlap = tf.reduce_sum(target * probabilities, axis=(0, 1, 2))
    total = tf.reduce_sum(target + probabilities, axis=(0, 1, 2))
    dice = 1 - tf.reduce_mean((2 * overlap + 1) / (total + 1))
    return tf.reduce_mean(entropy, axis=(1, 2)) + DICE_WEIGHT * dice


@keras.saving.register_keras_serializable(package="petscope")
class WarmUpAndCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up from a hundredth of the peak rate, then a cosine to zero.

    AdamW computes the rate again for every weight tensor. Keras's own schedule contains a branch,
    and tracing hundreds of branches takes longer than everything else.
    """

    def __init__(self, peak: float, warm_up: int, decay: int) -> None:
        """Rise for `warm_up` steps to `peak`, and fall for `decay` steps."""
        super().__init__()
        self.peak, self.warm_up, self.decay = peak, warm_up, decay

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the rate at a step."""
        step = tf.cast(step, tf.float32)
        rising = 0.01 + 0.99 * step / self.warm_up
        fallen = tf.clip_by_value((step - self.warm_up) / self.decay, 0.0, 1.0)
        return self.peak * tf.minimum(rising, 0.5 + 0.5 * tf.cos(np.pi * fallen))

    def get_config(self) -> dict[str, float]:
        """Return its parameters, which checkpoints store."""
        return {"peak": self.peak, "warm_up": self.warm_up, "decay": self.decay}


def learning_rate(rate: float, steps: int, epochs: int) -> WarmUpAndCosine:
    """Linear warm-up to `rate`, then a cosine to zero, over `epochs` epochs of `steps` steps."""
    warm_up = WARM_UP_EPOCHS * steps
    return WarmUpAndCosine(rate, warm_up, max(epochs * steps - warm_up, 1))


class SeveralProcesses(tf.distribute.MultiWorkerMirroredStrategy):
    """The processes listed in `TF_CONFIG` share the work: each gets a part of every batch.

    `keras.Model.fit` of Keras 3.15 fails with TensorFlow's own strategy, because it asks `reduce`
    for two things that the strategy refuses: the mean of metrics along a batch axis that they lack,
    and one value for a whole batch, whose shapes and types it wants to know.
    """

    def reduce(
        self, reduce_op: tf.distribute.ReduceOp | str, value: tf.Tensor, axis: int | None = None
    ) -> object:
        """Reduce a value over all processes; a batch, which is a tuple, is this process's part."""
        if isinstance(value, tuple):
            return tuple(self.experimental_local_results(one)[0] for one in value)
        return super().reduce(reduce_op, value, axis if value.shape.rank else None)


def set_up(seed: int) -> tf.distribute.Strategy:
    """Seed everything, choose fast arithmetic, and decide how devices and processes share the work.

    GPUs multiply in float16, and CPUs made for it in bfloat16; the weights stay float32. The
    devices of this process each take a part of every batch, and so do the processes of `TF_CONFIG`.
    """
    # TensorFlow must know of other processes before it lists its devices.
    strategy = SeveralProcesses() if "TF_CONFIG" in os.environ else None
    keras.utils.set_random_seed(seed)
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if devices[0].device_type == "GPU":
        keras.mixed_precision.set_global_policy("mixed_float16")
    elif CPU_FACTS.exists() and "avx512_bf16" in CPU_FACTS.read_text():  # elsewhere it is slower
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    if strategy is None and len(devices) > 1:
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    return strategy or tf.distribute.get_strategy()


def is_first(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the only one or the first of several, which alone writes files."""
    return strategy.extended.should_checkpoint


def prepare(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Give a network its loss and the metrics that the curves show.

    Several devices share their batch-norm statistics, so they learn what one would.
    """
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = several
    classes = model.output_shape[-1]
    optimizer.build(model.trainable_variables)  # else TensorFlow traces the first step twice
    model.compile(
        optimizer=optimizer,
        loss=dice_cross_entropy,
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.MeanIoU(classes, sparse_y_pred=False, name="miou"),
        ],
    )


def fit(
    model: keras.Model,
    batches: Batches,
    held_out: tuple[NDArray[np.float32], NDArray[np.integer]],
    run: Run,
    *,
    epochs: int,
    patience: int,
    verbose: int,
) -> list[dict[str, float]]:
    """Train with a checkpoint per epoch, from the last one on if there is one.

    The weights with the best held-out mean IoU are saved as `model.keras`. Of several processes,
    the first writes all files.

    Returns
    -------
    The run's history, one row per epoch; empty in all processes but the first.
    """
    folder = run.folder
    history, backup = folder / HISTORY, folder / BACKUP
    resumed = run.resumed and history.exists()
    best = (
        max((row["val_miou"] for row in read_history(history)), default=None) if resumed else None
    )
    state = backup / "training_metadata.json"
    start = json.loads(state.read_text())["epoch"] if run.resumed and state.exists() else 0
    batches.epochs = range(start, epochs)
    first = is_first(model.distribute_strategy)
    left = TimeLeft(epochs, start)

    def say(epoch: int, logs: object) -> None:
        run.seconds()
        if verbose:
            print(f" {folder}: {left.after(epoch + 1)}", flush=True)

    writers = [
        keras.callbacks.ModelCheckpoint(
            folder / "model.keras",
            monitor="val_miou",
            mode="max",
            save_best_only=True,
            initial_value_threshold=best,
        ),
        keras.callbacks.CSVLogger(history, append=resumed),
        keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
        keras.callbacks.LambdaCallback(on_epoch_end=say),
    ]
    if start >= epochs:  # the run was interrupted while it wrote its results
        return read_history(history) if first else []
    try:
        model.fit(
            batches,
            steps_per_epoch=batches.steps,
            shuffle=False,  # the batches come in their own order
            validation_data=held_out,
            validation_batch_size=batches.batch,
            epochs=epochs,
            verbose=verbose if first else 0,
            callbacks=[
                _SeedDropout(batches.seed),
                keras.callbacks.BackupAndRestore(
                    backup,
                    save_freq="epoch" if first else sys.maxsize,  # the others only restore
                    delete_checkpoint=False,
                ),
                keras.callbacks.EarlyStopping(monitor="val_miou", mode="max", patience=patience),
                *(writers if first else []),
            ],
        )
    except (OSError, ValueError) as error:
        if start:
            raise RunError(f"{folder} cannot be resumed: {BACKUP} is damaged.") from error
        raise
    return read_history(history) if first else []


def finish(folder: Path, build: Callable[[], keras.Model]) -> keras.Model:
    """Save the best weights again as a plain float32 network, and return it.

    A network trained in mixed precision would still convert its activations at inference.
    """
    best = keras.models.load_model(folder / "model.keras", compile=False)
    keras.mixed_precision.set_global_policy("float32")
    model = build()
    model.set_weights(best.get_weights())
    model.save(folder / "model.keras")
    prepare(model, keras.optimizers.AdamW())  # for figures
    return model


def find_rate(model: keras.Model, batches: Batches, run: Run, steps: int = 100) -> float:
    """Plot the loss over learning rates that rise from 1e-6 to 1; return the suggested rate.

    Smith, "Cyclical learning rates for training neural networks", WACV 2017. It suggests the rate
    at which the smoothed loss falls fastest. The model's weights are unusable afterwards.
    """
    rates = np.geomspace(1e-6, 1, steps).tolist()
    losses: list[float] = []
    with model.distribute_strategy.scope():
        prepare(model, keras.optimizers.AdamW(rates[0], clipnorm=CLIP))
    for number, rate in enumerate(tqdm(rates, desc="rising learning rate")):
        model.optimizer.learning_rate.assign(rate)
        losses.append(model.train_on_batch(*batches[number % batches.steps])[0])
        if not np.isfinite(losses[-1]) or losses[-1] > 4 * min(losses):
            break
    suggested = steepest(rates[: len(losses)], losses)
    if is_first(model.distribute_strategy):
        plot = run.folder / RATE_PLOT
        plot_rates(rates[: len(losses)], losses, plot, suggested)
        print(f"{plot}: a peak learning rate of about {suggested:.1e} is suggested")
    return suggested


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at which the loss, smoothed over its neighbours, falls fastest.

    Takes as many rates as losses, evenly spaced in their logarithms.
    """
    finite = np.asarray(losses)[np.isfinite(losses)]
    if len(finite) < 3:
        return float(rates[0])
    smooth = gaussian_filter1d(finite, SMOOTHING, mode="nearest")
    return float(rates[int(np.gradient(smooth).argmin())])
