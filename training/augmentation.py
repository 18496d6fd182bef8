"""Augmentation of photos together with their masks."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Each is the largest deviation, drawn uniformly.
ROTATION = {"pets": 15.0, "nuclei": 180.0}  # degrees
ZOOM = {"pets": 1.3, "nuclei": 1.4}  # factor in and out, log-uniform
STRETCH = 1.15  # ratio of the two axes' zooms, log-uniform
SHIFT = 0.1  # of the picture's side
BRIGHTNESS = 0.15  # of the range
CONTRAST = 0.25
SATURATION = 0.3

Photos = NDArray[np.uint8]
Masks = NDArray[np.integer]


def augment(
    photos: Photos,
    masks: Masks,
    height: int,
    width: int,
    kind: str,
    random: np.random.Generator,
) -> tuple[Photos, Masks]:
    """Flip, rotate, zoom, stretch and shift photos and masks together; change the photos' colours.

    Takes `(batch, ..., ..., 3)` uint8 photos and `(batch, ..., ...)` integer masks of one size,
    gives `(batch, height, width, 3)` float32 photos in [0, 255] and `(batch, height, width)` masks.
    """
    batch, rows, columns = masks.shape

    def uniform(largest: float) -> NDArray[np.float64]:
        return np.asarray(random.uniform(-largest, largest, batch))

    angle = uniform(np.deg2rad(ROTATION[kind]))
    zoom = np.exp(uniform(np.log(ZOOM[kind])))
    stretch = np.exp(uniform(np.log(STRETCH) / 2))
    flip = random.choice([-1.0, 1.0], batch)
    # The matrix maps an output pixel to the input pixel it is read from, both counted from the
    # centre of their picture.
    a = zoom * stretch * np.cos(angle) * flip * columns / width
    b = -zoom * stretch * np.sin(angle) * columns / width
    c = zoom / stretch * np.sin(angle) * flip * rows / height
    d = zoom / stretch * np.cos(angle) * rows / height
    x = (columns - 1) / 2 + uniform(SHIFT) * columns - a * (width - 1) / 2 - b * (height - 1) / 2
    y = (rows - 1) / 2 + uniform(SHIFT) * rows - c * (width - 1) / 2 - d * (height - 1) / 2
    zero = np.zeros(batch)
    transforms = np.stack([a, b, x, c, d, y, zero, zero], axis=1).astype(np.float32)

    def warp(images: NDArray[Any], interpolation: str) -> NDArray[Any]:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=[height, width],
            interpolation=interpolation,
            fill_mode="REFLECT",
            fill_value=0.0,
        ).numpy()

    with tf.device("CPU"):
        photos = warp(photos.astype(np.float32), "BILINEAR")
        masks = warp(masks[..., np.newaxis], "NEAREST")[..., 0]

    def per_photo(largest: float) -> NDArray[np.float32]:
        return uniform(largest).astype(np.float32).reshape(-1, 1, 1, 1)

    grey = photos @ np.array([[0.299], [0.587], [0.114]], np.float32)
    photos = grey + (photos - grey) * (1 + per_photo(SATURATION))
    mean = photos.mean(axis=(1, 2, 3), keepdims=True)
    photos = mean + (photos - mean) * (1 + per_photo(CONTRAST)) + 255 * per_photo(BRIGHTNESS)
    return np.clip(photos, 0, 255), masks
