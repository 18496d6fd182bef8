"""U-Net from scratch, in Keras: any depth, any width, any input size.

Ronneberger, Fischer, Brox, "U-Net: Convolutional networks for biomedical image segmentation",
MICCAI 2015 (https://arxiv.org/abs/1505.04597). Unlike there, convolutions pad their input, so that
the output has the input's size, and are followed by batch norm (Ioffe, Szegedy, ICML 2015), without
which a network from random weights learns slower.
"""

import keras

DROPOUT = 0.3  # before the bottom's convolutions, where most of the weights are


def build(classes: int, filters: int = 32, depth: int = 4) -> keras.Model:
    """Build the network.

    Parameters
    ----------
    classes
        Number of output classes.
    filters
        Channels at the input's resolution; each halving of the resolution doubles them.
    depth
        How often the resolution is halved. Height and width must be divisible by `2**depth`.

    Returns
    -------
    A model from `(batch, height, width, 3)` float32 photos to `(batch, height, width, classes)`
    float32 logits.
    """
    photo = keras.Input((None, None, 3), name="photo")
    x = photo
    skips = []
    for level in range(depth):
        x = _convolve_twice(x, filters * 2**level)
        skips.append(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(DROPOUT)(x)
    x = _convolve_twice(x, filters * 2**depth)
    for level in reversed(range(depth)):
        x = keras.layers.Conv2DTranspose(
            filters * 2**level, 3, strides=2, padding="same", kernel_initializer="he_normal"
        )(x)
        x = keras.layers.Concatenate()([x, skips[level]])
        x = _convolve_twice(x, filters * 2**level)
    logits = keras.layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(photo, logits, name="unet")


def _convolve_twice(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    for _ in range(2):
        x = keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    return x
