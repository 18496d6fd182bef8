"""Results as files, which the app serves, and deletes after a while."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.preprocessing import as_image
from serving.files import has_room, new_folder

__all__ = ["content", "has_room", "new_folder", "picture_to_keep", "picture_to_show", "text"]

Kind = Literal["png", "webp", "jpeg"]


def picture_to_keep(picture: Image.Image, name: str, kind: Kind = "png") -> str:
    """Write a result into a new folder; return its path.

    As PNG with the lowest compression, which takes a quarter of the usual time and makes the file a
    third larger. JPEG has no transparency, so there the background becomes white.
    """
    file = new_folder() / f"{name}.{'jpg' if kind == 'jpeg' else kind}"
    if kind == "jpeg" and picture.mode == "RGBA":
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture)
        picture = ground
    options = {"png": {"compress_level": 1}, "webp": {"quality": 90}, "jpeg": {"quality": 92}}
    picture.save(file, kind, **options[kind])
    return str(file)


def picture_to_show(picture: NDArray[np.uint8] | Image.Image, name: str = "shown") -> str:
    """Write a picture for viewing into a new folder; return its path.

    Gradio would write an array into a folder named after its content: two visitors with the same
    picture at the same moment would write the same file, and one might read half of it.

    JPEG, or WebP if it is transparent: WebP takes 1.5 times as long as PNG with its lowest
    compression, for a quarter of the size, and a third of the time of Gradio's own WebP.
    """
    image = as_image(picture)
    if image.mode == "RGBA":
        file = new_folder() / f"{name}.webp"
        image.save(file, quality=80, method=0)
    else:
        file = new_folder() / f"{name}.jpg"
        image.save(file, quality=85)
    return str(file)


def text(content: str, name: str) -> str:
    """Write a text into a new folder; return its path."""
    file = new_folder() / name
    file.write_text(content, newline="")
    return str(file)


def content(content: bytes, name: str) -> str:
    """Write bytes into a new folder; return its path."""
    file = new_folder() / name
    file.write_bytes(content)
    return str(file)
