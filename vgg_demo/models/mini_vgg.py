"""The architecture of Mini-VGG, the model that the package carries.

VGG in small: blocks of stacked 3×3 convolutions with a 2×2 max-pooling between two
blocks (Simonyan & Zisserman 2014, arXiv 1409.1556, section 2.1), on 32×32 images. In
place of VGG's three dense layers, which would hold most of the parameters, the last
feature map is averaged and read by a single dense layer.

As in the paper's tests (section 3.2), the photo and its mirror image are both looked at and
the two averaged. It is done here before the dense layer, with the mirror image's map
turned back, so that there is one map of where things are.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers, ops

BLOCKS = ((64,), (64, 256), (256, 256), (256,))
"""Output channels of every 3×3 convolution; a pooling lies between two blocks."""

INPUT_SIZE = 32
CLASSES = 10
MIRROR_MEAN = "mirror_mean"
"""Name of the layer that gives the last feature map, (N, 4, 4, 256)."""


def build_mini_vgg(normalization: Callable[[str], layers.Layer] | None = None) -> keras.Model:
    """Builds Mini-VGG with freshly initialised weights.

    Args:
        normalization: Makes a layer of a given name that is put between each
            convolution and its ReLU, in place of the convolution's bias. Training needs
            it, and looks at no mirror images; the shipped weights have it folded into the
            convolutions.

    Returns:
        A model from float32 (N, 32, 32, 3) in [-1, 1] to logits (N, 10).
    """
    image = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), name="image")
    if normalization is not None:
        features = _convolve(image, normalization)
    else:
        both = ops.concatenate([image, ops.flip(image, axis=2)], axis=0)
        straight, mirrored = ops.split(_convolve(both), 2, axis=0)
        features = layers.Average(name=MIRROR_MEAN)([straight, ops.flip(mirrored, axis=2)])
    x = layers.GlobalAveragePooling2D(name="global_pool")(features)
    # float32 even under a mixed-precision policy: logits need the range.
    x = layers.Dense(CLASSES, dtype="float32", name="predictions")(x)
    return keras.Model(image, x, name="mini_vgg")


def _convolve(
    x: keras.KerasTensor, normalization: Callable[[str], layers.Layer] | None = None
) -> keras.KerasTensor:
    for block, widths in enumerate(BLOCKS, start=1):
        for conv, width in enumerate(widths, start=1):
            name = f"block{block}_conv{conv}"
            pools = conv == len(widths) and block < len(BLOCKS)
            pool = layers.MaxPooling2D(2, name=f"block{block}_pool")
            if normalization is None:
                x = layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(x)
                x = pool(x) if pools else x
            else:
                x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=name)(x)
                # Pooling first is four times cheaper, and the same: neither a shift nor a
                # positive scale nor a ReLU changes which value is the largest.
                x = pool(x) if pools else x
                x = normalization(f"{name}_bn")(x)
                x = layers.ReLU(name=f"{name}_relu")(x)
    return x
