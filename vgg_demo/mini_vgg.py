"""The architecture of Mini-VGG, the model that the package carries.

VGG in small: blocks of stacked 3×3 convolutions, each block closed by a 2×2
max-pooling (Simonyan & Zisserman 2014, arXiv 1409.1556, section 2.1), on
32×32 images. In place of VGG's three dense layers, which would hold most of the
parameters, the last feature map is averaged and read by a single dense layer.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

BLOCKS = ((32, 64), (128, 128), (256, 256, 256))
"""Output channels of every 3×3 convolution: the first three of VGG16's five blocks."""

INPUT_SIZE = 32


def build_mini_vgg(
    *,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    normalization: Callable[[str], keras.layers.Layer] | None = None,
) -> keras.Model:
    """Builds Mini-VGG with freshly initialised weights.

    Args:
        classes: Number of outputs.
        classifier_activation: Activation of the last layer; None gives logits.
        normalization: Makes a layer of a given name that is put between each
            convolution and its ReLU, in place of the convolution's bias. Training needs
            it; the shipped weights have it folded into the convolutions.

    Returns:
        A model from float32 (N, 32, 32, 3) in [-1, 1] to (N, classes).
    """
    image = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), name="image")
    x = image
    for block, widths in enumerate(BLOCKS, start=1):
        for conv, width in enumerate(widths, start=1):
            name = f"block{block}_conv{conv}"
            if normalization is None:
                x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(x)
            else:
                x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False, name=name)(x)
                x = normalization(f"{name}_bn")(x)
                x = keras.layers.ReLU(name=f"{name}_relu")(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    # float32 even under a mixed-precision policy: the softmax needs the range.
    x = keras.layers.Dense(
        classes, activation=classifier_activation, dtype="float32", name="predictions"
    )(x)
    return keras.Model(image, x, name="mini_vgg")
