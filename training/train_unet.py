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
from collections.abc import Sequence
from pathlib import Path

from training import command_line, data_sets, runs, starting_weights
from training.data_sets import MASK_FOLDER
from training.errors import UserError
from training.networks.mobilenet_unet import BOTTOMS
from training.pretrained import keras_encoder_weights
from training.runs import Run

OUT = Path("runs/unet")
EPOCHS = 30
PATIENCE = 10  # epochs without a better held-out mean IoU before stopping
BATCH = 32
RATE = 1e-3  # peak of the learning rate: linear warm-up, then half a cosine to zero
SEED = 42
PET_SIZE = (128, 128)  # height and width of the input in pixels
FILTERS, DEPTH = 32, 4  # of the network from scratch
NUCLEI_FILTERS = 16

DATA = ("pets", "nuclei")
NETWORKS = ("mobilenet", "scratch")


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
    bottom: str = BOTTOMS[0],
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
    # Imported here, so that --help and a wrong option need not wait for it.
    from training import keras_runs, keras_unet

    built = keras_unet.Network(
        network or ("scratch" if on_nuclei else "mobilenet"),
        encoder_weights,
        bottom,
        filters or (NUCLEI_FILTERS if on_nuclei else FILTERS),
        depth,
    )
    window = keras_unet.WINDOW
    height, width = (window, window) if on_nuclei else size
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
            pictures = keras_unet.load_nuclei(train_part, held_out, depth, batch, seed)
        else:
            pictures = keras_unet.load_whole(train_part, held_out, size, batch, seed)
        with strategy.scope():
            optimizer = keras_unet.optimizer(rate, pictures.batches.steps, epochs)
            keras_runs.prepare(model, optimizer)
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
        figures = keras_unet.write_results(run, built, pictures, classes, rows)
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
        choices=BOTTOMS,
        default=BOTTOMS[0],
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
