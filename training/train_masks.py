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
  `models.segmentation.point_out`), in which other pets are background.

Where a trimap says background, far from its pet, but DeepLab is sure of a cat or a dog, the pixels
are ignored: so a second pet that the trimap leaves out teaches nothing wrong.

The run's folder gets what `training.train_encoder_unet` writes.
"""

import argparse
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from tqdm import tqdm

from training import fastai_runs  # before timm and fastai

import segmentation_models_pytorch as smp  # isort: skip
import timm  # isort: skip
from fastai.vision.all import DataLoader, DataLoaders, Learner, rank_distrib, set_seed  # isort: skip
from PIL import Image, ImageFilter
from safetensors.torch import load_file

from models.images import Photo, open_photo
from models.preprocessing import InputSpec, normalize, prepare
from models.segmentation import close_up, point_out
from training import command_line, composites, data_sets, others, pets, runs, starting_weights
from training.composites import BACKGROUND, PET, Classes, Scenes, read_classes
from training.errors import UserError
from training.pretrained import TorchNetwork, weights_file
from training.runs import Run, RunError, read_facts
from training.train_encoder_unet import (
    MULTIPLE,
    pixel_accuracy,
    read_mask,
    write_results,
)

OUT = Path("runs/masks")
ENCODER = "tu-mobilenetv2_100"
DECODER = (128, 64, 48, 32, 16)  # channels
MEAN = STD = (0.5, 0.5, 0.5)
SIZE = 256
EPOCHS = 12
BATCH = 16
RATE = 2e-3  # peak rate of the decoder; the first trained layers get it divided by RATE_SPREAD
RATE_SPREAD = 10
FROZEN = 0.25  # share of the encoder's layers that are kept as they are
WEIGHT_DECAY = 0.01
SEED = 42

# The probability of each kind of training picture; the rest are empty backgrounds.
PLAIN, SCENE = 0.75, 0.22
CLOSE = 0.35  # share of each of them that is a close-up of one pet
QUARTER_TURNS = 0.1  # share of all pictures
WEATHERED = 0.6  # share of all pictures in other light, or from a worse camera
IGNORED = 255  # class index of pixels that teach nothing

DEEPLAB = {
    "project": "TensorFlow models",
    "network": "DeepLabv3 with MobileNetV2, of COCO and PASCAL VOC 2012",
    "license": "apache-2.0",
}
# DeepLab's own size, the classes of cat and dog, how sure it must be, and how far from the trimap's
# pet, as a share of the picture.
DEEPLAB_SIDE, CATS_AND_DOGS = 513, (8, 12)
SURE, FAR = 0.9, 0.12
GRID = 64  # side of the map of ignored places


class DeepLab(torch.nn.Module):
    """DeepLabv3 with MobileNetV2 at stride 32: see `read_deeplab`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder: TorchNetwork = timm.create_model(
            "mobilenetv2_100", num_classes=0, pad_type="same"
        )
        self.heads = torch.nn.ModuleDict(
            {
                "aspp": torch.nn.Conv2d(320, 256, 1),
                "image_pooling": torch.nn.Conv2d(320, 256, 1),
                "projection": torch.nn.Conv2d(512, 256, 1),
                "classifier": torch.nn.Conv2d(256, 21, 1),
            }
        )

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 21, h / 32, w / 32)` for `(n, 3, h, w)` photos in [-1, 1]."""
        maps = self.encoder.blocks(self.encoder.bn1(self.encoder.conv_stem(photos)))
        places = self.heads["aspp"](maps).clamp(0, 6)
        pooled = self.heads["image_pooling"](maps.mean((2, 3), keepdim=True)).clamp(0, 6)
        joined = torch.cat([pooled.expand_as(places), places], dim=1)
        return self.heads["classifier"](self.heads["projection"](joined).clamp(0, 6))


def read_deeplab(path: Path) -> DeepLab:
    """DeepLabv3 with MobileNetV2 as TensorFlow's models have it, in timm's names.

    Its 21 classes are PASCAL VOC's. It was trained dilated; with timm's strides its features are
    the same at every fourth place.
    """
    model, weights = DeepLab(), load_file(path)
    own = model.state_dict()
    for name in own:
        stored = name.removeprefix("heads.")
        if stored in weights:
            own[name] = weights[stored].reshape(own[name].shape)
    model.load_state_dict(own)
    return model.eval()


def unbelieved(examples: Sequence[pets.Example], deeplab: DeepLab) -> NDArray[np.bool_]:
    """Where trimaps say background and DeepLab is sure of a pet: `(n, GRID, GRID)` bool."""
    maps = np.zeros((len(examples), GRID, GRID), np.bool_)
    spec = InputSpec(DEEPLAB_SIDE, DEEPLAB_SIDE, "squash", "bilinear", MEAN, STD, layout="NCHW")
    for index, example in enumerate(tqdm(examples, desc="asking DeepLab")):
        photo = torch.from_numpy(prepare(open_photo(example.photo), spec))
        with torch.inference_mode(), fastai_runs.mixed():
            logits = deeplab(photo).float()
        sure = logits.softmax(1)[0, CATS_AND_DOGS].sum(0).numpy()
        large = np.asarray(Image.fromarray(sure).resize((GRID, GRID), Image.Resampling.BILINEAR))
        trimap = pets.read_trimap(example.trimap, GRID, GRID)
        far = distance_transform_edt(trimap == pets.BACKGROUND) > FAR * GRID
        maps[index] = (large > SURE) & far
    return maps


class Pictures(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Training pictures, made anew each time: the network's input and its `(size, size)` classes.

    Parameters
    ----------
    scenes
        Where they are drawn from.
    spec
        The network's input.
    doubtful
        For each example of `scenes`, where its trimap is not believed, as of `unbelieved`.
    """

    def __init__(self, scenes: Scenes, spec: InputSpec, doubtful: NDArray[np.bool_]) -> None:
        self.scenes, self.spec, self.doubtful = scenes, spec, doubtful

    def __len__(self) -> int:
        return len(self.scenes.examples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        # NumPy's global generator is seeded anew each epoch, so that a resumed run repeats it.
        random = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002
        photo, classes = self.draw(index, random)
        seen = weather(photo, random) if random.random() < WEATHERED else photo
        batch = normalize(seen[np.newaxis], self.spec)
        inputs = torch.from_numpy(np.ascontiguousarray(batch[0], np.float32))
        return inputs, torch.from_numpy(classes.astype(np.int64))

    def draw(self, index: int, random: np.random.Generator) -> tuple[Photo, Classes]:
        """A picture and its class indices at the network's size; not yet blurred or recoloured."""
        kind = random.random()
        side = self.spec.height
        if kind < PLAIN:
            example = self.scenes.examples[index]
            photo, classes = open_photo(example.photo), read_classes(example)
            subjects: Sequence[Classes] = (classes,)
            doubt = Image.fromarray(self.doubtful[index])
            doubted = np.asarray(doubt.resize(classes.shape[::-1], Image.Resampling.NEAREST))
            classes = np.where(doubted, IGNORED, classes).astype(np.uint8)
        elif kind < PLAIN + SCENE:
            scene = self.scenes.draw(int(random.integers(1, 6)), random)
            photo, classes, subjects = scene.photo, scene.classes, scene.pets
        else:
            photo = self.scenes.background(random)
            classes, subjects = np.full(photo.shape[:2], BACKGROUND, np.uint8), ()
        turns = int(random.integers(1, 4)) if random.random() < QUARTER_TURNS else 0
        mirrored = random.random() < 0.5
        turned = [turn(array, turns, mirrored) for array in (photo, classes, *subjects)]
        photo, classes, *rest = tilt(turned, random)
        subjects = rest
        if subjects and random.random() < CLOSE:
            chosen = subjects[random.integers(len(subjects))]
            if (box := composites.box_of(np.where(chosen == PET, PET, BACKGROUND))) is not None:
                return look_closer(photo, chosen, classes == IGNORED, box, side, random)
        return crop(photo, classes, side, random)


def turn(array: NDArray[np.uint8], turns: int, mirrored: bool) -> NDArray[np.uint8]:
    """A picture or class map turned by quarters, and mirrored if wanted."""
    turned = np.rot90(array, turns)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def tilt(
    arrays: Sequence[NDArray[np.uint8]], random: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """Turn a photo and class maps by a small angle, half of the time; corners teach nothing."""
    if random.random() < 0.5:
        return list(arrays)
    angle = random.uniform(-20, 20)
    photo, *maps = arrays
    grey = tuple(int(value) for value in photo.reshape(-1, 3).mean(axis=0))
    turned = Image.fromarray(photo).rotate(angle, Image.Resampling.BILINEAR, fillcolor=grey)
    return [
        np.asarray(turned),
        *(np.asarray(Image.fromarray(each).rotate(angle, fillcolor=IGNORED)) for each in maps),
    ]


def _resized(
    photo: Photo, classes: Classes, window: tuple[float, float, float, float], side: int
) -> tuple[Photo, Classes]:
    small = Image.fromarray(photo).resize((side, side), Image.Resampling.BILINEAR, box=window)
    numbers = Image.fromarray(classes).resize((side, side), Image.Resampling.NEAREST, box=window)
    return np.array(small), np.array(numbers)


def crop(
    photo: Photo, classes: Classes, side: int, random: np.random.Generator
) -> tuple[Photo, Classes]:
    """A random part of a picture, squashed to a square: mostly the whole or nearly so."""
    height, width = photo.shape[:2]
    share = random.uniform(0.5, 1) if random.random() < 0.7 else 1.0
    stretch = np.exp(random.uniform(-0.35, 0.35))
    wide, high = min(np.sqrt(share) * stretch, 1) * width, min(np.sqrt(share) / stretch, 1) * height
    left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
    return _resized(photo, classes, (left, top, left + wide, top + high), side)


def look_closer(
    photo: Photo,
    classes: Classes,
    doubted: NDArray[np.bool_],
    box: tuple[int, int, int, int],
    side: int,
    random: np.random.Generator,
) -> tuple[Photo, Classes]:
    """A close-up of one pet, as by a detector's box, which is never quite right."""
    height, width = photo.shape[:2]
    left, top, right, bottom = box
    error = random.normal(0, 0.05, 4).clip(-0.15, 0.15)
    wide, high = right - left, bottom - top
    left, right = round(left + error[0] * wide), round(right + error[1] * wide)
    top, bottom = round(top + error[2] * high), round(bottom + error[3] * high)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    right, bottom = max(right, left + 2), max(bottom, top + 2)
    window = close_up((left, top, right, bottom), height, width)
    truth = np.where(doubted, IGNORED, classes).astype(np.uint8)
    seen, truth = _resized(photo, truth, window, side)
    across, down = side / (window[2] - window[0]), side / (window[3] - window[1])
    inside = (
        (left - window[0]) * across,
        (top - window[1]) * down,
        (right - window[0]) * across,
        (bottom - window[1]) * down,
    )
    return point_out(seen, inside), truth


def weather(photo: Photo, random: np.random.Generator) -> Photo:
    """The picture as in other light or from another camera: colours, blur, noise, JPEG."""
    values = photo.astype(np.float32)
    values = 255 * (values / 255) ** np.exp(random.uniform(-0.35, 0.35))
    values = (values - 128) * np.exp(random.uniform(-0.35, 0.35)) + 128 + random.uniform(-30, 30)
    grey = values.mean(axis=2, keepdims=True)
    colourful = 0.0 if random.random() < 0.06 else random.uniform(0.5, 1.4)
    values = (grey + (values - grey) * colourful) * random.uniform(0.88, 1.12, 3)
    if random.random() < 0.2:
        values += random.normal(0, random.uniform(2, 16), photo.shape)
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    if random.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 2)))
    if random.random() < 0.2:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(random.integers(25, 90)))
        image = Image.open(file)
    return np.asarray(image)


class HeldOut(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Held-out pictures as at serving, whole, with their trimaps."""

    def __init__(self, examples: Sequence[pets.Example], spec: InputSpec) -> None:
        self.examples, self.spec = examples, spec

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        example = self.examples[index]
        photo = torch.from_numpy(prepare(open_photo(example.photo), self.spec)[0])
        return photo, torch.from_numpy(read_mask(example, self.spec).astype(np.int64))


class BelievedLoss(torch.nn.Module):
    """Cross-entropy plus soft Dice loss, without the pixels that teach nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.entropy = torch.nn.CrossEntropyLoss(ignore_index=IGNORED)
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORED)

    def forward(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Loss of `(batch, classes, h, w)` logits against `(batch, h, w)` class indices."""
        return self.entropy(logits, truth) + self.dice(logits, truth)


def build(deeplab: Path | None) -> tuple[TorchNetwork, InputSpec, str]:
    """The U-Net, on DeepLab's encoder or on a random one, its input and its architecture's name."""
    model = smp.Unet(
        ENCODER,
        encoder_weights=None,
        classes=len(pets.MASK_CLASSES),
        decoder_channels=DECODER,
        pad_type="same",
    )
    if deeplab:
        stored, own = load_file(deeplab), model.encoder.model.state_dict()
        for name in own:
            if not name.endswith("num_batches_tracked"):
                own[name] = stored[f"encoder.{name}"]
        model.encoder.model.load_state_dict(own)
    spec = InputSpec(SIZE, SIZE, "squash", "bilinear", MEAN, STD, layout="NCHW")
    return model, spec, f"U-Net, {ENCODER} encoder (segmentation-models-pytorch)"


def read_run(folder: Path) -> tuple[TorchNetwork, InputSpec, str]:
    """The network of a finished run, its input, and the name of its architecture.

    Raises
    ------
    training.runs.RunError
        When the folder is not a finished run of a mask network of segmentation-models-pytorch.
    """
    facts = read_facts(folder)
    try:
        return smp.from_pretrained(folder), facts["input"], facts["architecture"]
    except Exception as error:  # of smp, safetensors or the file system
        raise RunError(f"{folder} has no network that can be trained on.") from error


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
        model, spec, architecture = read_run(start_from) if start_from else build(deeplab)
        spec = replace(spec, height=size, width=size)
        run.begin()
        frozen = FROZEN if start_from or deeplab else 0.0
        learn = make_learner(model, train_part, held_out, backgrounds, spec, batch, deeplab, frozen)
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
        figures = write_results(run, model, held_out, data.mask_classes, spec, rows)
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


def make_learner(
    model: TorchNetwork,
    train_part: Sequence[pets.Example],
    held_out: Sequence[pets.Example],
    backgrounds: Sequence[Path],
    spec: InputSpec,
    batch: int,
    deeplab: Path | None,
    frozen: float,
) -> Learner:
    """A learner of the U-Net on pictures that are drawn anew each time."""
    doubtful = np.zeros((len(train_part), GRID, GRID), np.bool_)
    if deeplab:
        doubtful = unbelieved(train_part, read_deeplab(deeplab))
        print(f"DeepLab sees another pet in {doubtful.any(axis=(1, 2)).sum()} pictures", flush=True)
    pictures = Pictures(Scenes(train_part, backgrounds), spec, doubtful)
    device = fastai_runs.DEVICE
    loaders = DataLoaders(
        DataLoader(pictures, bs=batch, shuffle=True, drop_last=True, device=device),
        DataLoader(HeldOut(held_out, spec), bs=batch, device=device),
        device=device,
    )
    body = list(model.encoder.parameters())
    head = [*model.decoder.parameters(), *model.segmentation_head.parameters()]
    return fastai_runs.fast(
        Learner(
            loaders,
            model,
            loss_func=BelievedLoss(),
            splitter=lambda _: fastai_runs.body_groups(body, head, frozen),
            metrics=[pixel_accuracy],
            wd=WEIGHT_DECAY,
        )
    )


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
