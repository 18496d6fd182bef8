"""Train the breed classifier: a plain timm network under a fastai Learner.

    python -m training.train_breeds                               # mobilenetv2_100 from the Hub
    python -m training.train_breeds --arch resnet34 --split random --epochs 3
    python -m training.train_breeds --arch convnext_tiny.fb_in22k --batch 64
    python -m training.train_breeds --folder flowers --out runs/flowers    # your own classes
    python -m training.train_breeds --resume                      # continue an interrupted run
    accelerate launch -m training.train_breeds                    # on all GPUs of the machine

Reads the official trainval split, holds a tenth of it out, fine-tunes all but the first layers with
presizing, augmentation, discriminative learning rates and one cycle, and moves the weights half the
way back to where fine-tuning started. The run's folder gets a standard timm checkpoint
(`model.safetensors` and `config.json` with the label names), `history.csv`, `tensorboard/`,
`curves.png`, `predictions.png` and `run.json`.

The folder must be new, empty, or a run of this script: `--resume` continues an interrupted one and
`--overwrite` replaces it.

With `--teachers` the labels are not used: the network learns to predict what finished runs answer
on average for each augmented and mixed picture (Beyer et al., "Knowledge distillation: A good
teacher is patient and consistent", CVPR 2022).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training import command_line, data_sets, runs, starting_weights
from training.data_sets import CLASS_FOLDER
from training.errors import UserError
from training.pretrained import timm_network
from training.runs import Run

OUT = Path("runs/breeds")
ARCH = "mobilenetv2_100"
SIZE = 224  # side of the network's input in pixels
EPOCHS = 12
BATCH = 32
RATE = 2e-4  # peak rate of the classifier; the first trained layers get it divided by RATE_SPREAD
RATE_SPREAD = 10
FROZEN = 1 / 3  # share of a pretrained body's layers that are not trained
DROPOUT = 0.2
TUNED = 0.5  # share of the way from the start to the fine-tuned weights at which the result lies
MIX = ("none", "mixup", "cutmix")
SEED = 42


def train(
    out: str | Path = OUT,
    *,
    root: Path | None = None,
    source: str | None = None,
    folder: str | Path | None = None,
    more: Path | None = None,
    split: str = "official",
    fold: int = 0,
    arch: str = ARCH,
    pretrained: bool = True,
    pretrained_cfg: Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    size: int = SIZE,
    frozen: float = FROZEN,
    tuned: float = TUNED,
    mix: str = "none",
    teachers: Sequence[Path] = (),
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
    """Train a classifier; return the run's folder. The arguments are the command line's options.

    Raises
    ------
    training.errors.UserError
        When something is wrong with them, before anything is written.
    """
    model_args = model_args or {}
    settings = runs.settings(locals())
    if teachers and mix != "none":
        raise UserError("--teachers are always used with mixed pictures: leave --mix out.")
    # Imported here, so that --help and a wrong option need not wait for it.
    from training import breed_classifier, fastai_runs  # before timm and fastai

    from fastai.distributed import num_distrib, rank_distrib  # isort: skip
    from fastai.vision.all import set_seed  # isort: skip

    run = Run(
        out,
        "train_breeds",
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
        data = data_sets.open_folder_or_pets(folder, root, source, more, masks=False)
        train_part, held_out = data.training_parts(
            split, fold, masks=False, skip_damaged=skip_damaged, dry_run=dry_run
        )
        epochs, batch = run.length(epochs, batch)
        network_args = {**model_args, "drop_rate": DROPOUT}
        model = timm_network(
            arch,
            len(data.labels),
            pretrained=pretrained,
            pretrained_cfg=pretrained_cfg,
            model_args=network_args,
        )
        spec = breed_classifier.input_spec(model.pretrained_cfg, size)
        callbacks = breed_classifier.blending(mix) + breed_classifier.teaching(teachers, spec, data)
        run.begin()
        learn = breed_classifier.make_learner(
            model, train_part, held_out, data, spec, batch, pretrained, frozen, bool(teachers)
        )
        start = {name: one.detach().clone() for name, one in model.named_parameters()}
        if find_rate:
            fastai_runs.find_rate(learn, run)
            return run.folder
        if pretrained and held_out and not num_distrib():
            _, top_1, top_5 = learn.validate()
            print(f"before fine-tuning: held-out top-1 {top_1:.4f}, top-5 {top_5:.4f}")
        if pretrained:
            callbacks.append(fastai_runs.FixedStatistics(model))
        rows: list[dict[str, float]] = []
        if tuned or not pretrained:  # else all of it would be undone
            rows = fastai_runs.fit(learn, run, epochs, rate, RATE_SPREAD, seed, callbacks)
        if rank_distrib():  # one process writes the results
            return run.folder
        if pretrained:
            breed_classifier.go_back(model, start, tuned)
        figures = {}
        if held_out:
            top_1, top_5 = breed_classifier.accuracies(model, learn.dls.valid)
            figures = {"top1": top_1, "top5": top_5}
        breed_classifier.write_results(run, model, network_args, data, held_out, spec, rows)
        run.finish(
            task="classification",
            framework="timm",
            architecture=arch,
            labels=data.labels,
            input_spec=spec,
            data=data.name,
            folder=str(Path(folder).resolve()) if folder else None,
            more=data.more_facts(train_part),
            split=split,
            fold=fold,
            processes=max(num_distrib(), 1),
            **_start(arch, pretrained, pretrained_cfg),
            held_out={"pictures": len(held_out), "size": spec.height, **figures},
            epochs=len(rows),
        )
    shown = "top-1 {top1:.4f}, top-5 {top5:.4f}".format(**figures) if figures else "nothing"
    print(f"{run.folder}: held-out {shown}")
    return run.folder


def _start(arch: str, pretrained: bool, pretrained_cfg: Mapping[str, Any] | None) -> dict[str, Any]:
    """Where the network's weights come from; nothing is known of those of a folder."""
    if not pretrained:
        return {"start": None}
    return {"start": starting_weights.of_timm(arch, pretrained_cfg)} if ":" not in arch else {}


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    data_sets.add_arguments(parser, folder=CLASS_FOLDER, more=True)
    parser.add_argument("--out", type=Path, default=OUT, help="the run's folder")
    parser.add_argument("--arch", default=ARCH, help="any name that timm.create_model takes")
    parser.add_argument(
        "--pretrained",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="start from timm's pretrained weights (downloaded, or --pretrained-cfg's file)",
    )
    parser.add_argument(
        "--pretrained-cfg",
        type=command_line.json_object,
        metavar="JSON",
        help='changes to its pretrained_cfg, as \'{"file": "x.safetensors"}\' for local weights',
    )
    parser.add_argument(
        "--model-args",
        type=command_line.json_object,
        metavar="JSON",
        help='further arguments of timm.create_model, as \'{"pad_type": "same"}\'',
    )
    parser.add_argument("--size", type=command_line.positive, default=SIZE, help="input side")
    parser.add_argument(
        "--frozen",
        type=command_line.share,
        default=FROZEN,
        help="share of a pretrained body's layers, from the input on, that are not trained",
    )
    parser.add_argument(
        "--tuned",
        type=command_line.share,
        default=TUNED,
        help="share of the way from the start to the fine-tuned weights at which the result lies; "
        "with 0 nothing is fine-tuned, and the classifier is fitted to the pretrained features",
    )
    parser.add_argument("--mix", choices=MIX, default="none", help="blend training pictures")
    parser.add_argument(
        "--teachers", type=Path, nargs="+", default=[], metavar="RUN", help="learn from these runs"
    )
    parser.add_argument(
        "--split",
        choices=("official", "trainval", "random"),
        default="official",
        help="official: trainval, a tenth held out; trainval: all of it, so that only the test "
        "split can measure; random: a fifth of all pictures held out",
    )
    data_sets.add_fold(parser)
    runs.add_arguments(parser, epochs=EPOCHS, batch=BATCH, rate=RATE, seed=SEED)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    train(**vars(parse_arguments(words)))


if __name__ == "__main__":
    command_line.run(main)
