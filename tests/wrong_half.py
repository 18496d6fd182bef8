"""A pet that fills the middle of a photo, and a mask model that sees its left half only."""

from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from models.segmentation import Segmentation, Segmenter
from training import pets


class _WrongHalf:
    def predict(self, photo: np.ndarray | Image.Image) -> Segmentation:
        answer = np.zeros((64, 64, 3), np.float32)
        answer[..., 1] = 1
        answer[16:48, 16:32] = (1, 0, 0)
        return Segmentation(answer, ("pet", "background", "border"), np.asarray(photo).shape[:2])


WRONG_HALF = cast(Segmenter, _WrongHalf())


def example(folder: Path, right: int = 48) -> pets.Example:
    """The photo in a folder; its trimap's pet ends at a column, so at 32 the model is right."""
    photo, trimap = np.full((64, 64, 3), 40, np.uint8), np.full((64, 64), 2, np.uint8)
    photo[16:48, 16:48], trimap[16:48, 16:right] = 220, 1
    Image.fromarray(photo).save(folder / "cat.png")
    Image.fromarray(trimap).save(folder / "trimap.png")
    return pets.Example("cat", folder / "cat.png", folder / "trimap.png", 0)
