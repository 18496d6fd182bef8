"""DeepLab's second opinion: where a trimap says background, and DeepLab is sure of a pet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from tqdm import tqdm

from training import fastai_runs  # before timm and fastai

import timm  # isort: skip
from PIL import Image
from safetensors.torch import load_file

from models.images import open_photo
from models.preprocessing import InputSpec, prepare
from training import pets
from training.pretrained import TorchNetwork

MEAN = STD = (0.5, 0.5, 0.5)

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
