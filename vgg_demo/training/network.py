"""The network of a taught model, put together and saved.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

import keras

from vgg_demo.inference.engine import HEAD_LAYER
from vgg_demo.training.head import Head


def assemble(feature_extractor: keras.Model, head: Head) -> keras.Model:
    """Puts a head on a body; the network shares the body's layers."""
    dense = keras.layers.Dense(head.kernel.shape[1], dtype="float32", name=HEAD_LAYER)
    network = keras.Model(feature_extractor.input, dense(feature_extractor.output), name="custom")
    dense.set_weights([head.kernel, head.bias])
    return network
