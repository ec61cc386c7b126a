"""The network of a taught model, put together and saved.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

from pathlib import Path

import keras

from vgg_demo.engine import TAUGHT_LAYER
from vgg_demo.store import LoadedModel
from vgg_demo.teach.training import Head


def save_network(body: LoadedModel, head: Head, path: Path) -> None:
    """Puts a head on a body and saves both as one network, for `keras.models.load_model` too.

    Args:
        body: A loaded body (`registry.body_of`).
        head: What was learned from its features.
        path: Of the file, ending in ``.keras``.
    """
    model = body.engine.model
    dense = keras.layers.Dense(head.kernel.shape[1], dtype="float32", name=TAUGHT_LAYER)
    network = keras.Model(model.input, dense(model.output), name="taught")
    dense.set_weights([head.kernel, head.bias])
    network.save(path)
