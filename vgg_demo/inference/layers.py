"""The layers of a model, read from the model itself.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras

from vgg_demo.inference.engine import build_uninitialized
from vgg_demo.models.registry import ModelSpec


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A layer.

    Attributes:
        name: Its name in Keras.
        type: Its class in Keras: "Conv2D", "MaxPooling2D" …
        shape: Output shape without the batch dimension: (height, width, channels) or (units,).
        parameters: Number of parameters.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    parameters: int


def describe_layers(spec: ModelSpec) -> tuple[LayerInfo, ...]:
    """Returns the layers of a model from input to output; requires no weights."""
    return tuple(
        LayerInfo(
            name=layer.name,
            type=type(layer).__name__,
            shape=tuple(layer.output.shape[1:]),
            parameters=layer.count_params(),
        )
        for layer in build_uninitialized(spec).layers
        if not isinstance(layer, keras.layers.InputLayer)
    )
