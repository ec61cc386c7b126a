"""Assembles the Keras model of a custom model from a feature extractor and a head.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

import keras

from vgg_demo.inference.engine import HEAD_LAYER
from vgg_demo.training.head import Head


def assemble(feature_extractor: keras.Model, head: Head) -> keras.Model:
    """Adds a head to a feature extractor; the result shares the feature extractor's layers."""
    dense = keras.layers.Dense(head.kernel.shape[1], dtype="float32", name=HEAD_LAYER)
    network = keras.Model(feature_extractor.input, dense(feature_extractor.output), name="custom")
    dense.set_weights([head.kernel, head.bias])
    return network
