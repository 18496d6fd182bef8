"""What all training scripts with fastai share: fast arithmetic, checkpoints, curves, resuming."""

import csv
import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray

import training.torchvision_ops  # noqa: F401  (before timm and fastai)

from fastai.vision.all import (  # isort: skip
    Callback,
    DataBlock,
    DataLoaders,
    IndexSplitter,
    IntToFloatTensor,
    Learner,
    Normalize,
    PILImage,
    ProgressCallback,
    SaveModelCallback,
    TrainEvalCallback,
    TransformBlock,
    aug_transforms,
    noop,
    num_distrib,
    rank_distrib,
    set_seed,
    to_float,
)
from fastai.callback.channelslast import ChannelsLast  # isort: skip
from fastai.distributed import DistributedDL  # isort: skip  (gives learners their distrib_ctx)
from tensorboardX import SummaryWriter

from models.preprocessing import InputSpec
from training.runs import CHECKPOINTS, HISTORY, RATE_PLOT, Run, RunError, TimeLeft, read_history

PRESIZE = 1.25  # side of the pictures that are augmented, as a factor of the input

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
FAST_BFLOAT16 = torch.cpu._is_avx512_bf16_supported()  # elsewhere it is emulated, and slower


def _broadcast(_: DistributedDL, order: Sequence[int], rank: int) -> list[int]:
    """Send the order of the pictures from one process to all, on any device."""
    numbers = torch.as_tensor(order, device=DEVICE)
    torch.distributed.broadcast(numbers, rank)
    return numbers.tolist()


DistributedDL._broadcast = _broadcast  # fastai's version works on GPUs only


def mixed() -> torch.autocast:
    """A context with the fastest arithmetic of this machine that loses no accuracy."""
    dtype = torch.float16 if CUDA else torch.bfloat16
    return torch.autocast(DEVICE.type, dtype=dtype, enabled=CUDA or FAST_BFLOAT16)


class BFloat16OnCPU(Callback):
    """Mixed precision on a CPU with bfloat16 arithmetic (fastai's own callback knows CUDA only)."""

    order = 10

    def before_batch(self) -> None:
        """Compute forward pass and loss in bfloat16 where that is safe."""
        self.autocast = mixed()
        self.autocast.__enter__()

    def after_pred(self) -> None:
        """Give the loss float32 logits."""
        self.learn.pred = to_float(self.pred)

    def after_loss(self) -> None:
        """Run the backward pass outside, as PyTorch advises."""
        self.autocast.__exit__(None, None, None)


class SeedEpochs(Callback):
    """Draw each epoch's random numbers from its own seed, so that a resumed run repeats them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_epoch(self) -> None:
        """Seed Python, NumPy and PyTorch, and the order of the training pictures."""
        set_seed(self.seed + self.epoch)
        loader = self.dls.train
        # With several processes, their loader wraps the one that draws the order.
        getattr(loader, "dl", loader).rng.seed(self.seed + self.epoch)


class FixedStatistics(Callback):
    """Keep the statistics of a pretrained network's batch norms while it is fine-tuned.

    A small batch of augmented pictures gives noisier statistics than the long pretraining, and the
    classifier, which was fitted to the features, would have to follow every change.
    """

    run_after = TrainEvalCallback

    def __init__(self, body: torch.nn.Module) -> None:
        self.body = body

    def before_train(self) -> None:
        """Let the body's batch norms use their stored statistics."""
        for module in self.body.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()


class History(Callback):
    """Append one row per epoch to `history.csv` and TensorBoard's log, also of a resumed run.

    fastai's CSVLogger would repeat its header then, and log the skipped epochs again.
    """

    order = 62  # after the checkpoint: a row means that the run can be resumed from this epoch

    def __init__(self, run: Run, start: int, epochs: int) -> None:
        self.run, self.start = run, start
        self.left = TimeLeft(epochs, start)

    def after_epoch(self) -> None:
        """Write the epoch's losses and metrics, and print how long the rest will take."""
        if self.epoch < self.start or rank_distrib():
            return
        names, values = self.recorder.metric_names, self.recorder.log
        with (self.run.folder / HISTORY).open("a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(names)
            writer.writerow(values)
        with SummaryWriter(str(self.run.folder / "tensorboard")) as board:
            for name, value in zip(names[1:-1], values[1:-1], strict=True):
                if value is not None:  # nothing was held out
                    board.add_scalar(name, value, self.epoch)
            board.add_scalar("learning_rate", self.opt.hypers[-1]["lr"], self.epoch)
        self.run.seconds()
        figures = ""
        if self.learn.logger is noop:  # else fastai's table shows them
            shown = zip(names[1:-1], values[1:-1], strict=True)
            figures = "".join(f", {name} {value:.4f}" for name, value in shown if value is not None)
        left = self.left.after(self.epoch + 1)
        print(f"{self.run.folder}: {left}{figures}", flush=True)


def presized(spec: InputSpec) -> InputSpec:
    """The size of training pictures: a little larger than the input.

    Then augmentation and cropping need only one interpolation, on the whole batch.
    """
    return replace(spec, height=round(spec.height * PRESIZE), width=round(spec.width * PRESIZE))


def loaders(
    train_photos: NDArray[np.uint8],
    held_out_photos: NDArray[np.uint8],
    target: TransformBlock,
    get_target: Callable[[int], object],
    spec: InputSpec,
    batch: int,
    min_scale: float,
) -> DataLoaders:
    """Make fastai's loaders: training pictures are augmented, held-out ones prepared as in the app.

    Parameters
    ----------
    train_photos, held_out_photos
        `(n, height, width, 3)` uint8: the former `presized`, the latter at the input size.
    target, get_target
        What is learnt, and a function from a picture's index, counted over both parts, to its
        value.
    spec
        The network's input.
    batch
        Pictures per step; if there are fewer training pictures, all of them.
    min_scale
        Smallest share of the picture's area that a random crop keeps.
    """
    photos = [*train_photos, *held_out_photos]
    augmentation = aug_transforms(
        size=spec.height, min_scale=min_scale, max_rotate=15.0, max_warp=0.1, max_lighting=0.3
    )
    for transform in augmentation:
        transform.split_idx = 0  # fastai's crop would touch the held-out pictures too
    block = DataBlock(
        blocks=(
            TransformBlock(
                type_tfms=lambda index: PILImage.create(photos[index]),
                batch_tfms=IntToFloatTensor,
            ),
            target,
        ),
        get_y=get_target,
        splitter=IndexSplitter(range(len(train_photos), len(photos))),
        batch_tfms=[*augmentation, Normalize.from_stats(spec.mean, spec.std, cuda=CUDA)],
    )
    # fastai drops an epoch's last batch if it is not full: with fewer pictures than a batch, it
    # would learn nothing.
    share = len(train_photos) // max(num_distrib(), 1)  # the share of one of several processes
    size = max(min(batch, share), 1)
    # Everything is decoded already, so loader processes would only cost memory.
    return block.dataloaders(range(len(photos)), bs=size, num_workers=0, device=DEVICE)


def body_groups(
    body: Sequence[torch.nn.Parameter], head: Sequence[torch.nn.Parameter], frozen: float
) -> list[list[torch.nn.Parameter]]:
    """Split a network for graded learning rates: frozen, early and late body, and new head.

    `frozen` is the share of the body's parameter tensors, from its input on, that keep their
    pretrained values. The first layers of a pretrained network find edges and colours, which a few
    pictures cannot improve, and their large feature maps take most of a step's time.
    """
    kept = round(len(body) * frozen)
    middle = kept + (len(body) - kept) // 2
    return [list(body[:kept]), list(body[kept:middle]), list(body[middle:]), list(head)]


def fast(learn: Learner) -> Learner:
    """Let the learner use the fastest arithmetic of this machine that loses no accuracy.

    Without a terminal it shows no progress bars, which would leave blank lines in a log file.
    """
    if not sys.stdout.isatty():
        learn.remove_cb(ProgressCallback)
        learn.logger = noop  # `History` prints the figures
    if CUDA:
        return learn.to_fp16().add_cb(ChannelsLast())
    if FAST_BFLOAT16:
        return learn.add_cbs([BFloat16OnCPU(), ChannelsLast()])
    return learn.add_cb(ChannelsLast())


def fit(
    learn: Learner,
    run: Run,
    epochs: int,
    rate: float,
    spread: float,
    seed: int,
    callbacks: Sequence[Callback] = (),
) -> list[dict[str, float]]:
    """Train one cycle with a checkpoint per epoch, from the last checkpoint on if resumed.

    Smith, "A disciplined approach to neural network hyper-parameters", 2018. The first parameter
    group is frozen; the learning rates of the others rise geometrically from `rate / spread` to
    `rate`. Started by `accelerate launch`, every process takes its share of the pictures, in
    batches of the same size.

    Returns
    -------
    The run's history, one row per epoch, with the losses as `loss` and `val_loss`; empty in all
    processes but the first.

    Raises
    ------
    training.runs.RunError
        When the last checkpoint cannot be read.
    """
    learn.path, learn.model_dir = run.folder, CHECKPOINTS
    # A row of the history means that its epoch's checkpoint is complete.
    written = run.folder / HISTORY
    start = len(read_history(written)) if run.resumed and written.exists() else 0
    learn.freeze_to(1)
    if start:
        try:
            learn.load(f"epoch_{start - 1}", with_opt=True)
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise RunError(
                f"{run.folder / CHECKPOINTS} cannot be resumed: its checkpoint of epoch "
                f"{start} is missing or damaged."
            ) from error
    rates = np.geomspace(rate / spread, rate, len(learn.opt.param_lists) - 1)
    if start < epochs:  # else the run was interrupted while it wrote its results
        with learn.distrib_ctx(sync_bn=CUDA):
            learn.fit_one_cycle(
                epochs,
                np.array([0.0, *rates]),
                start_epoch=start,
                cbs=[
                    SeedEpochs(seed),
                    SaveModelCallback(every_epoch=True, with_opt=True, fname="epoch"),
                    History(run, start, epochs),
                    *callbacks,
                ],
            )
        leave_group()
    return [] if rank_distrib() else history(run.folder)  # the first process writes it


def leave_group() -> None:
    """End this process's part in the group that trains together, if it is in one.

    A thread of Gloo, PyTorch's way to exchange tensors between processors, may still hold the last
    one that it sent, and lets go of it only when it next gets hold of the interpreter. If that is
    at its end already, the whole process aborts (PyTorch 2.13), and `torchrun` stops the others.
    Only when nothing refers to the group any more is that thread waited for; the network's
    distributed wrapper is part of a cycle of references.
    """
    if torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()


def history(folder: Path) -> list[dict[str, float]]:
    """The run's history, one row per epoch, with fastai's column names changed to `val_NAME`."""
    losses = {"train_loss": "loss", "valid_loss": "val_loss"}
    return [
        {losses.get(name, f"val_{name}"): value for name, value in row.items() if name != "epoch"}
        for row in read_history(folder / HISTORY)
    ]


def find_rate(learn: Learner, run: Run) -> float:
    """Plot the loss over rising learning rates as `rate.png`; return the suggested rate.

    Smith, "Cyclical learning rates for training neural networks", WACV 2017. The learner's weights
    are restored afterwards.
    """
    learn.path = run.folder
    learn.freeze_to(1)
    (suggested,) = learn.lr_find()
    plot = run.folder / RATE_PLOT
    plt.savefig(plot, dpi=110)
    print(f"{plot}: a peak learning rate of about {suggested:.1e} is suggested")
    return suggested
