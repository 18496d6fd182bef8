"""Train a U-Net with any timm encoder on pets: segmentation-models-pytorch under a fastai Learner.

    python -m training.train_encoder_unet                          # tu-mobilenetv2_100 from the Hub
    python -m training.train_encoder_unet --encoder timm-efficientnet-b0 --size 224
    python -m training.train_encoder_unet --size 256 --epochs 4 --start-from runs/encoder-unet
    python -m training.train_encoder_unet --folder cups            # your own photos and masks
    python -m training.train_encoder_unet --resume                 # continue an interrupted run
    accelerate launch -m training.train_encoder_unet               # on all GPUs of the machine

Reads the official trainval split, holds a tenth of it out, trains decoder and encoder (behind its
first layers) on cross-entropy plus Dice with augmentation and one cycle, and writes to the run's
folder `model.safetensors` and `config.json` (for `segmentation_models_pytorch.from_pretrained`),
`history.csv`, `tensorboard/`, `curves.png`, `predictions.png` and `run.json`.

`--start-from` takes the weights of a finished run: a few epochs at a larger size after many at a
small one reach what many at the large size reach, in a fraction of the time (Howard et al.,
"fastai: A layered API for deep learning", 2020, on progressive resizing). At the same size, the
batch norms keep that run's statistics.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training import command_line, data_sets, runs, starting_weights
from training.data_sets import MASK_FOLDER
from training.errors import UserError
from training.pretrained import encoder_statistics, smp_unet
from training.runs import Run

OUT = Path("runs/encoder-unet")
ENCODER = "tu-mobilenetv2_100"
SIZE = 128  # side of the network's input in pixels
MULTIPLE = 32  # of which it must be
EPOCHS = 12
BATCH = 16
RATE = 2e-3  # peak rate of the decoder; the first trained layers get it divided by RATE_SPREAD
RATE_SPREAD = 10
FROZEN = 0.25  # share of a pretrained encoder's layers that are kept as they are
SEED = 42


def train(
    out: str | Path = OUT,
    *,
    root: Path | None = None,
    source: str | None = None,
    folder: str | Path | None = None,
    more: Path | None = None,
    sample: int | None = None,
    fold: int = 0,
    encoder: str = ENCODER,
    encoder_weights: str = "imagenet",
    encoder_args: Mapping[str, Any] | None = None,
    half_size: bool = False,
    start_from: Path | None = None,
    size: int = SIZE,
    epochs: int = EPOCHS,
    batch: int = BATCH,
    rate: float = RATE,
    seed: int = SEED,
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
    encoder_args = encoder_args or {}
    settings = runs.settings(locals())
    if size % MULTIPLE:
        raise UserError(f"--size must be divisible by {MULTIPLE}, not {size}.")
    # Imported here, so that --help and a wrong option need not wait for it.
    from training import encoder_unet, fastai_runs  # before timm and fastai

    from fastai.vision.all import rank_distrib, set_seed  # isort: skip

    run = Run(
        out,
        "train_encoder_unet",
        settings,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        find_rate=find_rate,
        first=not rank_distrib(),
    )
    if run.finished:
        return run.folder
    with run:
        set_seed(seed, reproducible=True)
        data = data_sets.open_folder_or_pets(folder, root, source, more, masks=True)
        train_part, held_out = data.training_parts(
            fold=fold,
            masks=True,
            skip_damaged=skip_damaged,
            dry_run=dry_run,
            sample=sample,
            seed=seed,
        )
        epochs, batch = run.length(epochs, batch)
        classes = data.mask_classes
        model = smp_unet(encoder, len(classes), encoder_weights, encoder_args, half_size)
        if start_from:
            encoder_unet.take_weights(model, start_from)
        spec = encoder_unet.input_spec(*encoder_statistics(model), size)
        pretrained = encoder_weights != "none" or start_from is not None
        run.begin()
        loaders = encoder_unet.data_loaders(train_part, held_out, spec, batch)
        learn = encoder_unet.make_learner(model, loaders, FROZEN if pretrained else 0.0)
        if find_rate:
            fastai_runs.find_rate(learn, run)
            return run.folder
        known = [encoder_unet.known_part(model, start_from, size)] if pretrained else []
        callbacks = [fastai_runs.FixedStatistics(each) for each in known]
        rows = fastai_runs.fit(learn, run, epochs, rate, RATE_SPREAD, seed, callbacks)
        if rank_distrib():  # one process writes the results
            return run.folder
        figures = encoder_unet.write_results(run, model, held_out, classes, spec, rows)
        run.finish(
            task="segmentation",
            framework="smp",
            architecture=f"U-Net{', half size,' if half_size else ','} {encoder} encoder "
            "(segmentation-models-pytorch)",
            labels=[{"name": name} for name in classes],
            input_spec=spec,
            data=data.name,
            folder=str(Path(folder).resolve()) if folder else None,
            more=data.more_facts(train_part),
            **(
                starting_weights.of_run(start_from)
                if start_from
                else {"start": starting_weights.of_encoder(encoder, encoder_weights)}
            ),
            held_out={
                "pictures": len(held_out),
                "size": size,
                "loss": rows[-1]["val_loss"],
                **figures,
            },
            fold=fold,
            epochs=len(rows),
        )
    print(f"{run.folder}: held-out mean IoU {figures['mean_iou']:.4f}")
    return run.folder


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    data_sets.add_arguments(parser, folder=MASK_FOLDER, more=True)
    parser.add_argument(
        "--sample",
        type=command_line.positive,
        metavar="NUMBER",
        help="train on so many of the pictures only, drawn by --seed, and on all of --more: for a "
        "short training that does not forget the other pictures",
    )
    data_sets.add_fold(parser)
    parser.add_argument("--out", type=Path, default=OUT, help="the run's folder")
    parser.add_argument(
        "--encoder",
        default=ENCODER,
        help="an encoder of segmentation-models-pytorch; tu-NAME takes any of timm's networks",
    )
    parser.add_argument(
        "--encoder-weights",
        default="imagenet",
        help="'imagenet' (downloaded), 'none', or a .safetensors file of the timm network",
    )
    parser.add_argument(
        "--encoder-args",
        type=command_line.json_object,
        metavar="JSON",
        help='further arguments of a tu- encoder, as \'{"pad_type": "same"}\'',
    )
    parser.add_argument(
        "--half-size",
        action="store_true",
        help="leave out the decoder's last level, which takes a quarter of the time: the answer "
        "then has half the input's size; a run to start from may have that level",
    )
    parser.add_argument(
        "--start-from", type=Path, metavar="RUN", help="take a finished run's weights"
    )
    parser.add_argument(
        "--size", type=command_line.positive, default=SIZE, help="input side, divisible by 32"
    )
    runs.add_arguments(parser, epochs=EPOCHS, batch=BATCH, rate=RATE, seed=SEED)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    train(**vars(parse_arguments(words)))


if __name__ == "__main__":
    command_line.run(main)
