"""The detector of cats and dogs as a network to train: assignment, losses, training, weights."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from models.cards import Boxes, Card, Label
from models.detection import Detector
from models.runtime import Network
from training.convert_detector import BINS, LEAST, MULTIPLE, OVERLAP, PETS, STRIDES, input_spec
from training.detector_pictures import Drawn, Pictures
from training.networks.onnx_network import OnnxNetwork
from training.runs import CHECKPOINTS, HISTORY, Run, TimeLeft, read_history

WEIGHT_DECAY = 0.01
WARM_UP = 0.1  # of all steps
LARGEST_GRADIENT = 10.0  # norm to which gradients are clipped
POSITIVES = 10  # places assigned to each pet
QUALITY = 4.0  # exponent of the IoU when places are assigned; the probability has 1
BOX_WEIGHT, DISTANCE_WEIGHT = 2.0, 0.25


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


def save(network: OnnxNetwork, start: dict[str, torch.Tensor], share: float, path: Path) -> None:
    """Write the weights at a share of the way from the start, by their names in the graph."""
    weights = {
        name: torch.lerp(start[own], network.weights[own].detach(), share).contiguous()
        for name, own in network.names.items()
    }
    save_file(weights, path)
