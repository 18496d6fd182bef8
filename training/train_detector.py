"""Fine-tune the detector of cats and dogs on scenes of several pets and on rotated pictures.

    python -m training.train_detector data/nanodet_plus_m_416.onnx --others-root data/others
    python -m training.train_detector data/nanodet_plus_m_416.onnx --resume
    python -m training.convert_detector data/nanodet_plus_m_416.onnx --run runs/finder

A COCO detector may find a pet's head and its body as two animals, and misses pets that lie on their
side. Here it learns from the official trainval pictures, a tenth held out, with the boxes of their
trimaps, and from scenes of one to five of their pets (see `training.composites`). Pictures in which
the detector sees a pet besides the trimap's are used only for such scenes. Grid cells are assigned
to pets by how well they already predict them: Feng et al., "TOOD", ICCV 2021; the losses are
quality focal loss, distribution focal loss (Li et al., "Generalized focal loss", NeurIPS 2020) and
GIoU (Rezatofighi et al., CVPR 2019).

The weights are then moved half the way back to the COCO detector's, as in `training.train_breeds`.
The run's folder gets `model.safetensors`, `history.csv` and `run.json`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training import command_line, data_sets, others, runs
from training.composites import Scenes
from training.convert_detector import MULTIPLE, PETS, convert, input_spec, read
from training.errors import UserError
from training.runs import Run

OUT = Path("runs/finder")
SIDE = 320  # of the square into which a training picture is placed
EPOCHS = 5
BATCH = 16
RATE = 2e-4
TUNED = 0.5  # how far the result lies from the COCO detector towards the fine-tuned one
SEED = 42


def train(
    detector: str | Path,
    out: str | Path = OUT,
    *,
    root: Path | None = None,
    source: str | None = None,
    others_root: Path | None = None,
    others_source: str = others.URL,
    size: int = SIDE,
    tuned: float = TUNED,
    epochs: int = EPOCHS,
    batch: int = BATCH,
    rate: float = RATE,
    seed: int = SEED,
    skip_damaged: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Path:
    """Fine-tune a detector; return the run's folder. The arguments are the command line's options.

    Raises
    ------
    training.errors.UserError
        When something is wrong with them, before anything is written.
    """
    settings = runs.settings(locals())
    if size % MULTIPLE:
        raise UserError(f"--size must be divisible by {MULTIPLE}, not {size}.")
    # Imported here, so that --help and a wrong option need not wait for it.
    import torch

    from training import detector_network
    from training.detector_pictures import Pictures, only_its_pet
    from training.networks.onnx_network import OnnxNetwork

    run = Run(out, "train_detector", settings, resume=resume, overwrite=overwrite, dry_run=dry_run)
    if run.finished:
        return run.folder
    with run:
        torch.manual_seed(seed)
        data = data_sets.open_pets(root, source)
        backgrounds = others.backgrounds(others_root, others_source)
        train_part, held_out = data.training_parts(
            masks=True, skip_damaged=skip_damaged, dry_run=dry_run
        )
        epochs, batch = run.length(epochs, batch)
        original = convert(read(Path(detector)))
        network = OnnxNetwork(original)
        start = {name: value.detach().clone() for name, value in network.weights.items()}
        species = [list(PETS).index(label["species"]) for label in data.labels]
        run.begin()
        alone = only_its_pet(train_part, detector_network.detector_of(original))
        print(f"{len(alone) - alone.sum()} pictures show another pet", flush=True)
        all_of_them = np.ones(len(held_out), np.bool_)
        row = detector_network.fit(
            network,
            Pictures(Scenes(train_part, backgrounds), species, alone, size),
            Pictures(Scenes(held_out, backgrounds), species, all_of_them, size),
            run,
            epochs,
            batch,
            rate,
            seed,
        )
        detector_network.save(network, start, tuned, run.folder / "model.safetensors")
        run.finish(
            task="detection",
            framework="onnx",
            architecture="NanoDet-Plus-m",
            labels=[{"name": name, "species": name} for name in PETS],
            input_spec=input_spec(),
            data=data.name,
            more_data=others.NAME if backgrounds else None,
            tuned=tuned,
            held_out={"pictures": len(held_out), "size": size, "loss": row["val_loss"]},
            epochs=epochs,
        )
    print(json.dumps(row))
    return run.folder


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("detector", type=Path, help="nanodet_plus_m_416.onnx")
    data_sets.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=OUT, help="the run's folder")
    parser.add_argument(
        "--others-root", type=Path, help="folder of photos without a pet; by default, none are used"
    )
    parser.add_argument("--others-source", default=others.URL, help="source of these photos")
    parser.add_argument("--size", type=int, default=SIDE, help="input side, divisible by 64")
    parser.add_argument(
        "--tuned",
        type=command_line.share,
        default=TUNED,
        help="share of the way to the fine-tuned weights",
    )
    runs.add_arguments(parser, epochs=EPOCHS, batch=BATCH, rate=RATE, seed=SEED, find_rate=False)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    train(**vars(parse_arguments(words)))


if __name__ == "__main__":
    command_line.run(main)
