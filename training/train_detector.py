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
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from tqdm import tqdm

from models.detection import Detector, overlaps
from models.images import Photo, open_photo
from models.preprocessing import normalize
from models.runtime import Network
from models.scaling import scaled
from models.store import Boxes, Card, Label
from training import command_line, data_sets, others, pets, runs
from training.composites import BACKGROUND, Classes, Scenes, box_of, read_classes
from training.convert_detector import (
    BINS,
    LEAST,
    MULTIPLE,
    OVERLAP,
    PETS,
    STRIDES,
    convert,
    input_spec,
    read,
)
from training.errors import UserError
from training.networks.onnx_network import OnnxNetwork
from training.runs import CHECKPOINTS, HISTORY, Run, TimeLeft, read_history
from training.train_masks import tilt, turn, weather

OUT = Path("runs/finder")
SIDE = 320  # of the square into which a training picture is placed
SMALLEST_SIDE = 0.6  # least length of the picture's longer side, as a share of it
EPOCHS = 5
BATCH = 16
RATE = 2e-4
WEIGHT_DECAY = 0.01
WARM_UP = 0.1  # of all steps
LARGEST_GRADIENT = 10.0  # norm to which gradients are clipped
TUNED = 0.5  # how far the result lies from the COCO detector towards the fine-tuned one
SEED = 42

# Probabilities of a plain picture and of a scene; the rest are empty backgrounds.
PLAIN, SCENE = 0.5, 0.42
QUARTER_TURNS = 0.25
LEAST_PIXELS = 8  # least longer side of a pet in the network's input

POSITIVES = 10  # places assigned to each pet
QUALITY = 4.0  # exponent of the IoU when places are assigned; the probability has 1
BOX_WEIGHT, DISTANCE_WEIGHT = 2.0, 0.25


@dataclass(frozen=True)
class Drawn:
    """A training picture: the network's input, `(n, 4)` boxes and `(n,)` species in it."""

    photo: NDArray[np.float32]
    boxes: NDArray[np.float32]
    species: NDArray[np.int64]


class Pictures:
    """Draws training pictures.

    Parameters
    ----------
    scenes
        Where scenes and backgrounds are drawn from.
    species
        The species of each breed, as an index into the detector's labels.
    alone
        For each example of `scenes`, whether its picture may be used as it is.
    side
        Side of the network's input.
    """

    def __init__(
        self, scenes: Scenes, species: Sequence[int], alone: NDArray[np.bool_], side: int
    ) -> None:
        self.scenes, self.species, self.alone, self.side = scenes, species, alone, side
        self.spec = input_spec(side)

    def draw(self, index: int, random: np.random.Generator) -> Drawn:
        """The picture of an example, or a scene, or a background."""
        kind = random.random()
        subjects: Sequence[Classes]
        breeds: Sequence[int]
        if kind < PLAIN and self.alone[index]:
            example = self.scenes.examples[index]
            photo, classes = open_photo(example.photo), read_classes(example)
            subjects, breeds = (classes,), (example.label,)
        elif kind < PLAIN + SCENE:
            scene = self.scenes.draw(int(random.integers(1, 6)), random)
            photo, subjects, breeds = scene.photo, scene.pets, scene.breeds
        else:
            photo, subjects, breeds = self.scenes.background(random), (), ()
        turns = int(random.integers(1, 4)) if random.random() < QUARTER_TURNS else 0
        mirrored = random.random() < 0.5
        photo, *subjects = (turn(array, turns, mirrored) for array in (photo, *subjects))
        photo, *subjects = tilt([photo, *subjects], random)
        return self._letterboxed(photo, subjects, breeds, random)

    def _letterboxed(
        self,
        photo: Photo,
        subjects: Sequence[Classes],
        breeds: Sequence[int],
        random: np.random.Generator,
    ) -> Drawn:
        height, width = photo.shape[:2]
        longer = random.uniform(SMALLEST_SIDE, 1) * self.side
        scale = longer / max(height, width)
        rows, columns = scaled(height, width, scale)
        small = Image.fromarray(weather(photo, random)).resize((columns, rows))
        canvas = np.empty((self.side, self.side, 3), np.uint8)
        canvas[:] = np.round(255 * np.array(self.spec.mean)).astype(np.uint8)
        canvas[:rows, :columns] = np.asarray(small)
        boxes, species = [], []
        for classes, breed in zip(subjects, breeds, strict=True):
            # What rotation left empty is not a pet.
            box = box_of(np.where(classes > 2, BACKGROUND, classes).astype(np.uint8))
            if box is None or scale * max(box[2] - box[0], box[3] - box[1]) < LEAST_PIXELS:
                continue
            boxes.append([edge * scale for edge in box])
            species.append(self.species[breed])
        return Drawn(
            normalize(canvas, self.spec).astype(np.float32),
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(species, np.int64),
        )


def only_its_pet(examples: Sequence[pets.Example], detector: Detector) -> NDArray[np.bool_]:
    """Whether the detector sees no other pet in a picture than the trimap's."""
    alone = np.ones(len(examples), np.bool_)
    for index, example in enumerate(tqdm(examples, desc="looking for second pets")):
        box = box_of(read_classes(example))
        if box is None:
            alone[index] = False
            continue
        for found in detector.detect(open_photo(example.photo)):
            left, top, right, bottom = found.box
            inside = np.array(
                [max(left, box[0]), max(top, box[1]), min(right, box[2]), min(bottom, box[3])]
            )
            common = np.clip(inside[2:] - inside[:2], 0, None).prod()
            iou = overlaps(np.array(box, np.float32), np.array([found.box], np.float32))[0]
            if iou < 0.4 and common < 0.6 * (right - left) * (bottom - top):
                alone[index] = False
    return alone


def places(side: int) -> torch.Tensor:
    """Column, row (in pixels) and stride of each place: `(places, 3)`."""
    rows = []
    for stride in STRIDES:
        y, x = torch.meshgrid(*[torch.arange(0, side, stride)] * 2, indexing="ij")
        rows.append(torch.stack([x.ravel(), y.ravel(), torch.full((x.numel(),), stride)], dim=1))
    return torch.cat(rows).float()


def iou_of(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU and generalized IoU of boxes that are broadcast against each other, `(..., 4)`."""
    common = (
        torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])
    ).clamp(min=0)
    hull = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1) for box in (one, other)]
    shared = common.prod(-1)
    union = (areas[0] + areas[1] - shared).clamp(min=1e-6)
    iou = shared / union
    outer = hull.prod(-1).clamp(min=1e-6)
    return iou, iou - (outer - union) / outer


def assign(
    scores: torch.Tensor, predicted: torch.Tensor, grid: torch.Tensor, boxes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Assign places to pets by how well they predict them: task-aligned assignment.

    Parameters
    ----------
    scores
        `(places, pets)` probabilities of each pet's species.
    predicted
        `(places, 4)` boxes.
    grid
        As of `places`.
    boxes
        `(pets, 4)`.

    Returns
    -------
    For each place the number of its pet, -1 for none, and the probability that it should give.
    """
    x, y, stride = grid.T[:, :, None]
    sides = torch.stack([x - boxes[:, 0], y - boxes[:, 1], boxes[:, 2] - x, boxes[:, 3] - y], dim=2)
    fits = (sides.amin(dim=2) > 0) & (sides.amax(dim=2) < (BINS - 1) * stride)
    iou, _ = iou_of(predicted[:, None], boxes[None])
    merit = scores * iou.clamp(min=1e-4) ** QUALITY * fits
    chosen = torch.zeros_like(fits)
    best = merit.topk(min(POSITIVES, len(merit)), dim=0).indices
    chosen.scatter_(0, best, torch.ones_like(best, dtype=torch.bool))
    chosen &= fits
    own = torch.where(chosen, iou + 1e-6, torch.zeros_like(iou))
    value, pet = own.max(dim=1)
    pet = torch.where(value > 0, pet, -1)
    # The best place of a pet should be as sure as its box is good, the others in proportion.
    kept = torch.where(chosen & (pet[:, None] == torch.arange(len(boxes))), merit, 0.0)
    most = kept.amax(dim=0).clamp(min=1e-9)
    target = (kept / most * torch.where(kept > 0, iou, 0.0).amax(dim=0)).amax(dim=1)
    return pet, target


def loss_of(output: torch.Tensor, drawn: Sequence[Drawn], grid: torch.Tensor) -> torch.Tensor:
    """Quality focal, box and distance losses of a batch's `(batch, places, 2 + 4 * BINS)`."""
    kinds = len(PETS)
    logits, sides = output[..., :kinds], output[..., kinds:]
    sides = sides.reshape(*sides.shape[:2], 4, BINS)
    distances = sides.softmax(dim=3) @ torch.arange(BINS, dtype=torch.float32)
    x, y, stride = grid.T
    left, top, right, bottom = (distances * stride[None, :, None]).unbind(dim=2)
    predicted = torch.stack([x - left, y - top, x + right, y + bottom], dim=2)
    wanted = torch.zeros_like(logits)
    box_loss = distance_loss = torch.zeros(())
    for index, one in enumerate(drawn):
        if not len(one.boxes):
            continue
        boxes, species = torch.from_numpy(one.boxes), torch.from_numpy(one.species)
        with torch.no_grad():
            scores = logits[index].sigmoid()[:, species]
            pet, target = assign(scores, predicted[index], grid, boxes)
        positive = torch.nonzero(pet >= 0)[:, 0]
        weight, own = target[positive], boxes[pet[positive]]
        wanted[index, positive, species[pet[positive]]] = weight
        _, giou = iou_of(predicted[index, positive], own)
        box_loss = box_loss + ((1 - giou) * weight).sum()
        px, py, ps = grid[positive].T
        true = (
            torch.stack([px - own[:, 0], py - own[:, 1], own[:, 2] - px, own[:, 3] - py], dim=1)
            / ps[:, None]
        )
        true = true.clamp(0, BINS - 1 - 1e-3)
        lower = true.long()
        share = true - lower
        rows = sides[index, positive].log_softmax(dim=2)
        near = rows.gather(2, lower[..., None])[..., 0]
        far = rows.gather(2, lower[..., None] + 1)[..., 0]
        each = -(near * (1 - share) + far * share).mean(dim=1)
        distance_loss = distance_loss + (each * weight).sum()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    focal = ((wanted - logits.sigmoid()).abs() ** 2 * entropy).sum()
    total = wanted.sum().clamp(min=1)
    return (focal + BOX_WEIGHT * box_loss + DISTANCE_WEIGHT * distance_loss) / total


def detector_of(model: onnx.ModelProto) -> Detector:
    """A converted network as the page uses it."""
    spec = input_spec()
    card = Card(
        name="finder",
        task="detection",
        labels=tuple(Label(name, name) for name in PETS),
        input=spec,
        output_layout="NLC",
        sha256="",
        facts={},
        boxes=Boxes(STRIDES, BINS, LEAST, OVERLAP),
    )
    return Detector(card, Network(model.SerializeToString(), (1, 3, MULTIPLE, MULTIPLE)))


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
        alone = only_its_pet(train_part, detector_of(original))
        print(f"{len(alone) - alone.sum()} pictures show another pet", flush=True)
        all_of_them = np.ones(len(held_out), np.bool_)
        row = fit(
            network,
            Pictures(Scenes(train_part, backgrounds), species, alone, size),
            Pictures(Scenes(held_out, backgrounds), species, all_of_them, size),
            run,
            epochs,
            batch,
            rate,
            seed,
        )
        _save(network, start, tuned, run.folder / "model.safetensors")
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


def fit(
    network: OnnxNetwork,
    pictures: Pictures,
    held_out: Pictures,
    run: Run,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
) -> dict[str, float]:
    """Train one cycle with a checkpoint an epoch, from the last checkpoint on if it is resumed.

    Returns
    -------
    The history's last row: `epoch`, and the losses `loss` and `val_loss`.
    """
    grid = places(pictures.side)
    steps = len(pictures.scenes.examples) // batch
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps * epochs, pct_start=WARM_UP
    )
    stateful: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    done, checkpoint = 0, run.folder / CHECKPOINTS / "last.pt"
    checkpoint.parent.mkdir(exist_ok=True)
    if run.resumed and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        done = state["epoch"] + 1
        for name, part in stateful.items():
            part.load_state_dict(state[name])
    if not done:
        print(f"before: held-out loss {held_out_loss(network, held_out, batch, grid):.4f}")
    left = TimeLeft(epochs, done)
    for epoch in range(done, epochs):
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(pictures.scenes.examples))
        losses = []
        for step in tqdm(range(steps), desc=f"epoch {epoch + 1}/{epochs}"):
            chosen = order[step * batch : (step + 1) * batch]
            drawn = [pictures.draw(index, random) for index in chosen]
            loss = loss_of(network(_batch(drawn)), drawn, grid)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        row = {
            "epoch": epoch,
            "loss": float(np.mean(losses)),
            "val_loss": held_out_loss(network, held_out, batch, grid),
        }
        print(f"{left.after(epoch + 1)}: {row}", flush=True)
        _append(row, run.folder / HISTORY)
        states = {name: part.state_dict() for name, part in stateful.items()}
        torch.save({"epoch": epoch, **states}, checkpoint)
        run.seconds()
    return read_history(run.folder / HISTORY)[-1]


def _append(row: Mapping[str, float], path: Path) -> None:
    """Add a row to the history."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


def _batch(drawn: Sequence[Drawn]) -> torch.Tensor:
    photos = torch.from_numpy(np.stack([one.photo for one in drawn]))
    return photos.to(memory_format=torch.channels_last)


def held_out_loss(
    network: OnnxNetwork, pictures: Pictures, batch: int, grid: torch.Tensor
) -> float:
    """Mean loss over the same pictures each time."""
    random = np.random.default_rng(0)
    losses = []
    for start in range(0, len(pictures.scenes.examples), batch):
        last = min(start + batch, len(pictures.scenes.examples))
        drawn = [pictures.draw(index, random) for index in range(start, last)]
        with torch.inference_mode():
            losses.append(loss_of(network(_batch(drawn)), drawn, grid).item())
    return float(np.mean(losses))


def _save(network: OnnxNetwork, start: dict[str, torch.Tensor], share: float, path: Path) -> None:
    """Write the weights at a share of the way from the start, by their names in the graph."""
    weights = {
        name: torch.lerp(start[own], network.weights[own].detach(), share).contiguous()
        for name, own in network.names.items()
    }
    save_file(weights, path)


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
