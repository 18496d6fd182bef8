r"""Train the page's mask network for photos of all kinds: pets small, turned, several, or none.

    python -m training.train_masks --start-from runs/fine --deeplab data/deeplab.safetensors
    python -m training.train_masks --start-from runs/fine --deeplab data/deeplab.safetensors \
        --resume
    python -m training.train_masks --deeplab data/deeplab.safetensors    # from the encoder alone

`--start-from` continues a finished run, best one of `training.train_encoder_unet`, whose batch-norm
statistics stay as they are. Without it, the network is a U-Net with skips on the encoder of
DeepLabv3-MobileNetV2, which was trained on COCO and PASCAL VOC (`--deeplab`). It learns from

- the official trainval pictures with their trimaps, a tenth held out, cropped and turned;
- scenes of one to five of their pets on other backgrounds (see `training.composites`), where pets
  are small, or hide one another;
- backgrounds without a pet: trainval pictures whose pet was painted over, and `training.others`;
- close-ups of one pet of these: its box with a margin, greyed outside the box (see
  `models.looks.point_out`), in which other pets are background.

Where a trimap says background, far from its pet, but DeepLab is sure of a cat or a dog, the pixels
are ignored: so a second pet that the trimap leaves out teaches nothing wrong.

The run's folder gets what `training.train_encoder_unet` writes.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training import command_line, data_sets, others, runs, starting_weights
from training.errors import UserError
from training.pretrained import weights_file
from training.runs import Run
from training.train_encoder_unet import MULTIPLE

OUT = Path("runs/masks")
SIZE = 256
EPOCHS = 12
BATCH = 16
RATE = 2e-3  # peak rate of the decoder; the first trained layers get it divided by RATE_SPREAD
RATE_SPREAD = 10
FROZEN = 0.25  # share of the encoder's layers that are kept as they are
SEED = 42


DEEPLAB = {
    "project": "TensorFlow models",
    "network": "DeepLabv3 with MobileNetV2, of COCO and PASCAL VOC 2012",
    "license": "apache-2.0",
}


def train(
    out: str | Path = OUT,
    *,
    root: Path | None = None,
    source: str | None = None,
    more: Path | None = None,
    others_root: Path | None = None,
    others_source: str = others.URL,
    deeplab: Path | None = None,
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
    settings = runs.settings(locals())
    if size % MULTIPLE:
        raise UserError(f"--size must be divisible by {MULTIPLE}, not {size}.")
    # Imported here, so that --help and a wrong option need not wait for it.
    from training import encoder_unet, fastai_runs, mask_network  # before timm and fastai

    from fastai.vision.all import rank_distrib, set_seed  # isort: skip

    run = Run(
        out,
        "train_masks",
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
        data = data_sets.open_pets(root, source, more)
        backgrounds = others.backgrounds(others_root, others_source)
        train_part, held_out = data.training_parts(
            masks=True, skip_damaged=skip_damaged, dry_run=dry_run
        )
        epochs, batch = run.length(epochs, batch)
        if deeplab:
            weights_file(deeplab, "--deeplab")
        model, spec, architecture = (
            mask_network.read_run(start_from) if start_from else mask_network.build(deeplab, size)
        )
        spec = replace(spec, height=size, width=size)
        run.begin()
        frozen = FROZEN if start_from or deeplab else 0.0
        learn = mask_network.make_learner(
            model, train_part, held_out, backgrounds, spec, batch, deeplab, frozen
        )
        if find_rate:
            fastai_runs.find_rate(learn, run)
            return run.folder
        # The batch-norm statistics of a finished run stay as they are, also the decoder's, because
        # these pictures are less like those at serving.
        known = [model] if start_from else [model.encoder] if deeplab else []
        callbacks = [fastai_runs.FixedStatistics(each) for each in known]
        rows = fastai_runs.fit(learn, run, epochs, rate, RATE_SPREAD, seed, callbacks)
        if rank_distrib():  # one process writes the results
            return run.folder
        figures = encoder_unet.write_results(run, model, held_out, data.mask_classes, spec, rows)
        run.finish(
            task="segmentation",
            framework="smp",
            architecture=architecture,
            labels=[{"name": name} for name in data.mask_classes],
            input_spec=spec,
            data=data.name,
            more=data.more_facts(train_part),
            **(
                starting_weights.of_run(start_from)
                if start_from
                else {"start": {**DEEPLAB, "file": deeplab.name} if deeplab else None}
            ),
            more_data=others.NAME if backgrounds else None,
            pointing=True,
            held_out={
                "pictures": len(held_out),
                "size": size,
                "loss": rows[-1]["val_loss"],
                **figures,
            },
            epochs=len(rows),
        )
    print(f"{run.folder}: held-out mean IoU {figures['mean_iou']:.4f}")
    return run.folder


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    data_sets.add_arguments(parser, more=True)
    parser.add_argument("--out", type=Path, default=OUT, help="the run's folder")
    parser.add_argument(
        "--deeplab",
        type=Path,
        metavar="FILE",
        help="DeepLabv3-MobileNetV2's weights (.safetensors, timm's names); without, random ones",
    )
    parser.add_argument(
        "--others-root", type=Path, help="folder of photos without a pet; by default, none are used"
    )
    parser.add_argument("--others-source", default=others.URL, help="source of these photos")
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
