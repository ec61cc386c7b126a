"""The network of a taught model, put together and saved.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

import keras

from vgg_demo.inference.engine import TAUGHT_LAYER
from vgg_demo.training.head import Head


def assemble(body: keras.Model, head: Head) -> keras.Model:
    """Puts a head on a body; the network shares the body's layers."""
    dense = keras.layers.Dense(head.kernel.shape[1], dtype="float32", name=TAUGHT_LAYER)
    network = keras.Model(body.input, dense(body.output), name="taught")
    dense.set_weights([head.kernel, head.bias])
    return network
