"""U-Net with a MobileNetV2 encoder and a pix2pix decoder, in Keras.

The network of TensorFlow's image segmentation tutorial
(https://www.tensorflow.org/tutorials/images/segmentation), after

- Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015: the skip connections;
- Sandler et al., "MobileNetV2", CVPR 2018: the encoder;
- Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017:
  the upsampling block.

Unlike the tutorial, the encoder gets the input range it was trained on, [-1, 1], and takes part
in the training.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes seconds to import, and the command line reads only `BOTTOMS`
    import keras

# Encoder activations that the decoder sees again, from 1/2 to 1/16 of the input size, and the
# bottom at 1/32.
SKIPS = (
    "block_1_expand_relu",
    "block_3_expand_relu",
    "block_6_expand_relu",
    "block_13_expand_relu",
)
# The bottom: the tutorial's narrow one, and the wide one of other published versions.
BOTTOMS = ("block_16_project", "block_16_expand_relu")
DECODER_FILTERS = (512, 256, 128, 64)
MULTIPLE = 32  # of which height and width must be

# MobileNetV2's batch norms come with momentum 0.999. Fine-tuned for a few thousand steps, their
# moving statistics would lag far behind the weights, and inference would use the wrong ones.
BATCH_NORM_MOMENTUM = 0.9


def build(
    size: int | None = None,
    classes: int = 3,
    encoder_weights: str | Path | None = None,
    bottom: str = BOTTOMS[0],
) -> "keras.Model":
    """Build the network.

    Parameters
    ----------
    size
        Side of the square input in pixels, divisible by 32; None accepts any such height and
        width.
    classes
        Number of output classes.
    encoder_weights
        "imagenet" downloads Keras' ImageNet weights, a path loads a `.weights.h5` file of
        `MobileNetV2(include_top=False)`, None leaves random weights.
    bottom
        The encoder's layer that the decoder starts from, one of `BOTTOMS`. The layers behind it
        are left out.

    Returns
    -------
    A model from `(batch, height, width, 3)` float32 photos in [-1, 1] to
    `(batch, height, width, classes)` float32 logits.
    """
    if size is not None and size % MULTIPLE:
        raise ValueError(f"The input size must be divisible by {MULTIPLE}, not {size}.")
    import keras

    encoder = keras.applications.MobileNetV2(
        input_shape=(size, size, 3),
        include_top=False,
        weights="imagenet" if encoder_weights == "imagenet" else None,
    )
    if encoder_weights not in (None, "imagenet"):
        encoder.load_weights(str(encoder_weights))
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM

    x = encoder.get_layer(bottom).output
    for filters, skip in zip(DECODER_FILTERS, reversed(SKIPS), strict=True):
        x = _upsample(x, filters)
        x = keras.layers.Concatenate()([x, encoder.get_layer(skip).output])
    logits = keras.layers.Conv2DTranspose(
        classes, 3, strides=2, padding="same", dtype="float32", name="logits"
    )(x)
    return keras.Model(encoder.input, logits, name="mobilenetv2_pix2pix_unet")


def _upsample(x: "keras.KerasTensor", filters: int) -> "keras.KerasTensor":
    """Double height and width: transposed convolution, batch norm, ReLU (pix2pix)."""
    import keras

    x = keras.layers.Conv2DTranspose(
        filters,
        3,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(0.0, 0.02),
    )(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    return keras.layers.ReLU()(x)
