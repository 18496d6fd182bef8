"""Train a Keras U-Net on pets or cell nuclei.

    python -m training.train_unet                                   # MobileNetV2 encoder, pets
    python -m training.train_unet --network scratch --size 96x128 --filters 32 --epochs 3
    python -m training.train_unet nuclei --out runs/nuclei          # from scratch, cell nuclei
    python -m training.train_unet --folder cups --out runs/cups     # your own photos and masks
    python -m training.train_unet --resume                          # continue an interrupted run

Reads the training part of the data, holds a tenth of it out, trains with augmentation on
cross-entropy plus Dice, keeps the weights with the best held-out mean IoU and writes to the run's
folder: `model.keras`, `history.csv`, `tensorboard/`, `curves.png`, `predictions.png`, `run.json`.

All GPUs of the machine take a part of every batch each. So do several processes, on one machine or
many, each started with TensorFlow's own `TF_CONFIG`; the first writes the run's folder:

    TF_CONFIG='{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]},
                "task": {"type": "worker", "index": 0}}'            # 1 for the second process
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import training.tensorflow_quietly  # noqa: F401  (before Keras)

import keras  # isort: skip

from models.images import open_photo
from models.preprocessing import InputSpec, normalize
from training import command_line, data_sets, keras_runs, nuclei, runs, starting_weights
from training.augmentation import Masks, Photos, augment
from training.data_sets import MASK_FOLDER, Examples
from training.errors import UserError
from training.networks import mobilenet_unet, unet
from training.pictures import decode, few, read_all
from training.pretrained import keras_encoder_weights, keras_network
from training.reports import plot_curves, plot_segmentations
from training.runs import Run

OUT = Path("runs/unet")
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
CACHE_SCALE = 1.25  # pets are kept a little larger than the input, for sharp zoom-ins

DATA = ("pets", "nuclei")
NETWORKS = ("mobilenet", "scratch")


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
    """Which network to build: `kind` is one of `NETWORKS`, the rest as the options of those names.

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


def train(
    data: str = DATA[0],
    out: str | Path = OUT,
    *,
    root: Path | None = None,
    source: str | None = None,
    folder: str | Path | None = None,
    more: Path | None = None,
    split: str = "official",
    network: str | None = None,
    size: tuple[int, int] = PET_SIZE,
    filters: int | None = None,
    depth: int = DEPTH,
    encoder_weights: str = "imagenet",
    bottom: str = mobilenet_unet.BOTTOMS[0],
    epochs: int = EPOCHS,
    batch: int = BATCH,
    rate: float = RATE,
    seed: int = SEED,
    verbose: int = 1,
    skip_damaged: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    find_rate: bool = False,
) -> Path:
    """Train a mask network; return the run's folder. The arguments are the command line's options.

    Raises
    ------
    training.errors.UserError
        When something is wrong with them, before anything is written.
    """
    settings = runs.settings(locals())
    on_nuclei = data == "nuclei"
    if on_nuclei and folder:
        raise UserError("--folder replaces the pets: leave nuclei out.")
    if on_nuclei and more:
        raise UserError("--more adds photos to the pets: leave nuclei out.")
    built = Network(
        network or ("scratch" if on_nuclei else "mobilenet"),
        encoder_weights,
        bottom,
        filters or (NUCLEI_FILTERS if on_nuclei else FILTERS),
        depth,
    )
    height, width = (WINDOW, WINDOW) if on_nuclei else size
    built.check(height, width)
    strategy = keras_runs.set_up(seed)
    first = keras_runs.is_first(strategy)
    settings.update(network=built.kind, filters=built.filters, size=f"{height}x{width}")
    run = Run(
        out,
        "train_unet",
        settings,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        find_rate=find_rate,
        first=first,
    )
    if run.finished:
        return run.folder
    with run:
        data_set = _open(data, root, source, folder, more)
        train_part, held_out = data_set.training_parts(
            split, masks=True, skip_damaged=skip_damaged, dry_run=dry_run
        )
        epochs, _ = run.length(epochs, batch)
        if built.kind == "mobilenet":  # a download that fails ends the run before it begins
            keras_encoder_weights(encoder_weights)
        classes = data_set.mask_classes
        with strategy.scope():
            model = built.build(len(classes))
        run.begin()
        if on_nuclei:
            pictures = load_nuclei(train_part, held_out, depth, batch, seed)
        else:
            pictures = load_whole(train_part, held_out, size, batch, seed)
        with strategy.scope():
            keras_runs.prepare(model, _optimizer(rate, pictures.batches.steps, epochs))
        if find_rate:
            keras_runs.find_rate(model, pictures.batches, run)
            return run.folder
        rows = keras_runs.fit(
            model,
            pictures.batches,
            pictures.held_out,
            run,
            epochs=epochs,
            patience=PATIENCE,
            verbose=verbose,
        )
        if not first:
            return run.folder
        figures = write_results(run, built, pictures, classes, rows)
        run.finish(
            task="segmentation",
            framework="keras",
            architecture=built.architecture,
            labels=[{"name": name} for name in classes],
            input_spec=pictures.spec,
            data=data_set.name,
            folder=str(Path(folder).resolve()) if folder else None,
            more=data_set.more_facts(train_part),
            start=starting_weights.of_keras(encoder_weights) if built.kind == "mobilenet" else None,
            split=split,
            devices=strategy.num_replicas_in_sync,
            instances=on_nuclei,  # single nuclei are worth counting
            held_out={
                "pictures": len(pictures.photos),
                "size": "x".join(map(str, pictures.masks.shape[1:])),
                **figures,
            },
            epochs=len(rows),
        )
    accuracy, miou = figures["accuracy"], figures["miou"]
    print(f"{run.folder}: held-out accuracy {accuracy:.4f}, mean IoU {miou:.4f}")
    return run.folder


def _open(
    data: str,
    root: Path | None,
    source: str | None,
    folder: str | Path | None,
    more: Path | None,
) -> data_sets.DataSet:
    if data == "nuclei":
        return data_sets.open_nuclei(root, source)
    return data_sets.open_folder_or_pets(folder, root, source, more, masks=True)


def _optimizer(rate: float, steps: int, epochs: int) -> keras.optimizers.Optimizer:
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


def input_size(text: str) -> tuple[int, int]:
    """Read "128" or "96x128" (height x width)."""
    height, _, width = text.partition("x")
    return command_line.positive(height), command_line.positive(width or height)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("data", nargs="?", choices=DATA, default=DATA[0], help="what to outline")
    data_sets.add_arguments(parser, folder=MASK_FOLDER, more=True)
    parser.add_argument("--out", type=Path, default=OUT, help="the run's folder")
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        help="encoder; by default mobilenet for pets and scratch for nuclei",
    )
    parser.add_argument(
        "--size",
        type=input_size,
        default=PET_SIZE,
        help="pets: input HEIGHTxWIDTH, or one side (default: {}x{})".format(*PET_SIZE),
    )
    parser.add_argument(
        "--filters",
        type=command_line.positive,
        help="scratch: channels at full resolution; by default "
        f"{FILTERS} for pets and {NUCLEI_FILTERS} for nuclei",
    )
    parser.add_argument(
        "--depth", type=command_line.positive, default=DEPTH, help="scratch: halvings"
    )
    parser.add_argument(
        "--encoder-weights",
        default="imagenet",
        help="mobilenet: 'imagenet' (downloaded), 'none', or a .weights.h5 file without top",
    )
    parser.add_argument(
        "--bottom",
        choices=mobilenet_unet.BOTTOMS,
        default=mobilenet_unet.BOTTOMS[0],
        help="mobilenet: the encoder's layer that the decoder starts from",
    )
    parser.add_argument(
        "--split",
        choices=("official", "random"),
        default="official",
        help="pets: trainval, a tenth held out; or a random fifth of all pictures held out",
    )
    runs.add_arguments(parser, epochs=EPOCHS, batch=BATCH, rate=RATE, seed=SEED)
    parser.add_argument(
        "--verbose", type=int, default=1, choices=(0, 1, 2), help="how much to print, as in Keras"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    train(**vars(parse_arguments(words)))


if __name__ == "__main__":
    command_line.run(main)
