"""The architecture of Mini-VGG, the model whose weights the package includes.

A small VGG: blocks of stacked 3×3 convolutions with 2×2 max pooling between the blocks (Simonyan
and Zisserman 2014, arXiv 1409.1556, section 2.1), on 32×32 images. Global average pooling and a
single dense layer replace VGG's three dense layers, which would contain most of the parameters.

As in the paper's evaluation (section 3.2), the outputs of an image and its mirror image are
averaged (test-time augmentation). Mini-VGG averages the feature maps instead, before the dense
layer and with the mirrored one flipped back, so that the class activation map stays in place.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers, ops

BLOCKS = ((64,), (64, 256), (256, 256), (256,))
"""Output channels of each 3×3 convolution, by block."""

INPUT_SIZE = 32
CLASSES = 10
MIRROR_MEAN = "mirror_mean"
"""Name of the layer with the last feature map, (N, 4, 4, 256)."""


def build_mini_vgg(normalization: Callable[[str], layers.Layer] | None = None) -> keras.Model:
    """Builds Mini-VGG with random weights.

    Args:
        normalization: For training: creates the normalization layer with the given name between
            each convolution and its ReLU; the convolutions then have no bias, and mirror images
            are not used. In the included weights, the normalizations are folded into the
            convolutions.

    Returns:
        A model from float32 (N, 32, 32, 3) in [-1, 1] to logits (N, 10).
    """
    image = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), name="image")
    if normalization is not None:
        features = _convolve(image, normalization)
    else:
        pair = ops.concatenate([image, ops.flip(image, axis=2)], axis=0)
        original, mirrored = ops.split(_convolve(pair), 2, axis=0)
        features = layers.Average(name=MIRROR_MEAN)([original, ops.flip(mirrored, axis=2)])
    x = layers.GlobalAveragePooling2D(name="global_pool")(features)
    # float32 even under a mixed-precision policy: logits exceed the range of float16.
    x = layers.Dense(CLASSES, dtype="float32", name="predictions")(x)
    return keras.Model(image, x, name="mini_vgg")


def _convolve(
    x: keras.KerasTensor, normalization: Callable[[str], layers.Layer] | None = None
) -> keras.KerasTensor:
    for block, widths in enumerate(BLOCKS, start=1):
        for conv, width in enumerate(widths, start=1):
            name = f"block{block}_conv{conv}"
            is_pooled = conv == len(widths) and block < len(BLOCKS)
            pool = layers.MaxPooling2D(2, name=f"block{block}_pool")
            if normalization is None:
                x = layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(x)
                x = pool(x) if is_pooled else x
            else:
                x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=name)(x)
                # Pooling first is four times cheaper and equivalent: a shift, a positive scale and
                # ReLU all preserve the order of values.
                x = pool(x) if is_pooled else x
                x = normalization(f"{name}_bn")(x)
                x = layers.ReLU(name=f"{name}_relu")(x)
    return x
