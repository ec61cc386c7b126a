"""A Keras network as one TensorFlow function, which has its numbers in it.

Keras makes variables, fills them one by one, and goes through many functions of Python for each
layer that TensorFlow traces: of the time until a small network's first answer, that is most. Here
the layers that nearly all networks are made of are written down as the TensorFlow operations
that Keras comes to as well, batch normalisations go into the convolutions before them, and the
numbers are constants. Whatever is not one of these layers, in just the form that is known here,
is left to Keras.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import activations, layers
from numpy.typing import NDArray

Step = Callable[[Any, Sequence[tf.Tensor]], tf.Tensor]
"""What a layer does: from its input, or a list of them, and its numbers to its output."""

Filled = Iterable[tuple[layers.Layer, Sequence[NDArray[Any]]]]
"""Layers and the numbers that they compute with."""

raw = tf.raw_ops

ACTIVATIONS: Mapping[Callable[..., Any], Callable[[tf.Tensor], tf.Tensor]] = {
    activations.linear: lambda x: x,
    activations.relu: lambda x: raw.Relu(features=x),
    activations.relu6: lambda x: raw.Relu6(features=x),
}


def variables_of(layer: layers.Layer) -> list[keras.Variable]:
    """Returns what a layer has learned, in the order of Keras's files."""
    return list(layer.trainable_weights + layer.non_trainable_weights)


def fold(
    model: keras.Model, arrays: Iterator[NDArray[Any]]
) -> Generator[tuple[layers.Layer, list[NDArray[Any]]]]:
    """Puts batch normalisations into the convolutions before them.

    When a network answers, a normalisation is y = s·x + t with s = γ / √(σ² + ε) and t = β − μ·s
    for each channel (Ioffe and Szegedy 2015, algorithm 2), and a convolution is linear: it can do
    both itself, with its kernel times s. Computed in float64 and rounded once. Where there is no
    such convolution, s and t are the normalisation's numbers.

    Args:
        model: The network; its own variables need no values.
        arrays: One for each of its layers' variables, in the order of `variables_of`.

    Yields:
        Each layer that has variables, with its numbers. Only those are held that wait for a
        normalisation.

    Raises:
        ValueError: If numbers come out that are infinite or none.
    """
    convolutions = _convolutions_before(model)
    folded = set(convolutions.values())
    waiting: dict[layers.Layer, list[NDArray[Any]]] = {}
    for layer in model.layers:
        own = [next(arrays) for _ in variables_of(layer)]
        if layer in folded:
            waiting[layer] = own
        elif layer in convolutions:
            before = convolutions[layer]
            scale, shift = _scale_and_shift(layer, own)
            yield before, _rounded(before, _scaled(before, waiting.pop(before), scale, shift))
            yield layer, []
        elif type(layer) is layers.BatchNormalization and _step(layer):
            yield layer, _rounded(layer, _scale_and_shift(layer, own))
        elif own:
            yield layer, own


def compile_network(
    model: keras.Model, filled: Filled, shape: tuple[int | None, ...]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes a function of a network.

    Args:
        model: The network, of one input and one output; its own variables need no values, and
            it is not needed afterwards.
        filled: What `fold` yields.
        shape: Of the input.

    Returns:
        A function from a float32 tensor of that shape to what
        ``model(batch, training=False)`` returns. It is traced already, and any thread may
        call it.
    """
    constants: dict[layers.Layer, list[tf.Tensor]] = {}
    of_keras: list[tuple[keras.Variable, tf.Tensor]] = []
    steps = {layer: step for layer in model.layers if (step := _step(layer))}
    for layer, arrays in filled:
        # Unlike `tf.constant`, which keeps the array itself until some operation runs.
        tensors = [raw.Identity(input=array) for array in arrays]
        if layer in steps:
            constants[layer] = tensors
        else:
            of_keras += zip(variables_of(layer), tensors, strict=True)
    with keras.StatelessScope(of_keras):
        for layer in model.layers:
            if hasattr(layer, "finalize_state"):  # as `Engine` does, but of these values
                layer.finalize_state()

    def operation(layer: keras.Operation) -> Callable[..., tf.Tensor]:
        if layer in steps:
            # What else Keras hands over is a mask, which no image has.
            return lambda x, **_: steps[layer](x, constants.get(layer, ()))
        if isinstance(layer, layers.Layer):
            return lambda *args, **named: layer(*args, **(named | {"training": False}))
        return layer  # type: ignore[no-any-return]

    def forward(batch: tf.Tensor) -> tf.Tensor:
        # `_run_through_graph` is what a functional model's `call` itself calls; nothing public
        # goes through a network with other operations in the place of its layers.
        with keras.StatelessScope(of_keras):
            output = model._run_through_graph([batch], operation_fn=operation)
        return output[0] if isinstance(output, list) else output

    signature = [tf.TensorSpec(shape, tf.float32)]
    return tf.function(  # type: ignore[no-any-return]
        forward, input_signature=signature, autograph=False
    ).get_concrete_function()


def _step(layer: layers.Layer) -> Step | None:
    """Returns what a layer does, if it is known in just its form."""
    known = STEPS.get(type(layer))
    is_usual = (
        layer.dtype_policy.name == "float32"
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and len(layer._inbound_nodes) == 1  # its `input` is that of its first use only
    )
    return known(layer) if known and is_usual else None


def _convolution(layer: layers.Conv2D) -> Step | None:
    is_known = (
        layer.padding in ("same", "valid")
        and layer.groups == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.activation in ACTIVATIONS
    )
    strides, padding = [1, *layer.strides, 1], layer.padding.upper()

    def step(x: tf.Tensor, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
        kernel, *bias = numbers
        y = raw.Conv2D(input=x, filter=kernel, strides=strides, padding=padding)
        return _with_bias(layer, y, bias)

    return step if is_known else None


def _depthwise(layer: layers.DepthwiseConv2D) -> Step | None:
    is_known = (
        layer.padding in ("same", "valid")
        and layer.strides[0] == layer.strides[1]
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.activation in ACTIVATIONS
    )
    strides, padding = [1, *layer.strides, 1], layer.padding.upper()

    def step(x: tf.Tensor, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
        kernel, *bias = numbers
        y = raw.DepthwiseConv2dNative(input=x, filter=kernel, strides=strides, padding=padding)
        return _with_bias(layer, y, bias)

    return step if is_known else None


def _dense(layer: layers.Dense) -> Step | None:
    def step(x: tf.Tensor, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
        kernel, *bias = numbers
        return _with_bias(layer, raw.MatMul(a=x, b=kernel), bias)

    return step if len(layer.input.shape) == 2 and layer.activation in ACTIVATIONS else None


def _with_bias(layer: layers.Layer, y: tf.Tensor, bias: Sequence[tf.Tensor]) -> tf.Tensor:
    return ACTIVATIONS[layer.activation](raw.BiasAdd(value=y, bias=bias[0]) if bias else y)


def _normalization(layer: layers.BatchNormalization) -> Step | None:
    def step(x: tf.Tensor, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
        if not numbers:  # the convolution has done it
            return x
        scale, shift = numbers
        return raw.AddV2(x=raw.Mul(x=x, y=scale), y=shift)

    return step if layer.axis in (-1, len(layer.input.shape) - 1) else None


def _relu(layer: layers.ReLU) -> Step | None:
    if layer.negative_slope or layer.threshold or layer.max_value not in (None, 6):
        return None
    activation = ACTIVATIONS[activations.relu if layer.max_value is None else activations.relu6]
    return lambda x, _: activation(x)


def _activation(layer: layers.Activation) -> Step | None:
    activation = ACTIVATIONS.get(layer.activation)
    return (lambda x, _: activation(x)) if activation else None


def _add(layer: layers.Add) -> Step | None:
    if len({tensor.shape for tensor in layer.input}) > 1:
        return None
    return lambda inputs, _: reduce(lambda x, y: raw.AddV2(x=x, y=y), inputs)


def _concatenate(layer: layers.Concatenate) -> Step:
    return lambda inputs, _: raw.ConcatV2(values=inputs, axis=layer.axis)


def _padding(layer: layers.ZeroPadding2D) -> Step:
    paddings = [(0, 0), *layer.padding, (0, 0)]
    return lambda x, _: raw.Pad(input=x, paddings=paddings)


def _maximum(layer: layers.MaxPooling2D) -> Step:
    size, strides = [1, *layer.pool_size, 1], [1, *layer.strides, 1]
    padding = layer.padding.upper()
    return lambda x, _: raw.MaxPool(input=x, ksize=size, strides=strides, padding=padding)


def _mean(layer: layers.GlobalAveragePooling2D) -> Step:
    return lambda x, _: raw.Mean(input=x, axis=[1, 2], keep_dims=layer.keepdims)


def _nothing(_: layers.Dropout) -> Step:
    return lambda x, _: x


STEPS: Mapping[type, Callable[[Any], Step | None]] = {
    layers.Activation: _activation,
    layers.Add: _add,
    layers.BatchNormalization: _normalization,
    layers.Concatenate: _concatenate,
    layers.Conv2D: _convolution,
    layers.Dense: _dense,
    layers.DepthwiseConv2D: _depthwise,
    layers.Dropout: _nothing,
    layers.GlobalAveragePooling2D: _mean,
    layers.MaxPooling2D: _maximum,
    layers.ReLU: _relu,
    layers.ZeroPadding2D: _padding,
}
"""By the class itself: what is derived from one may do something else."""


def _convolutions_before(
    model: keras.Model,
) -> dict[layers.BatchNormalization, layers.Layer]:
    """Finds the normalisations that alone read what a convolution says, unchanged."""
    said = {
        id(layer.output): layer
        for layer in model.layers
        if type(layer) in (layers.Conv2D, layers.DepthwiseConv2D)
        and _step(layer)
        and layer.activation is activations.linear
        and len(layer._outbound_nodes) == 1
    }
    return {
        layer: said[id(layer.input)]
        for layer in model.layers
        if type(layer) is layers.BatchNormalization and _step(layer) and id(layer.input) in said
    }


def _scale_and_shift(
    layer: layers.BatchNormalization, own: Sequence[NDArray[Any]]
) -> list[NDArray[np.float64]]:
    *trained, mean, variance = [array.astype(np.float64) for array in own]
    with np.errstate(all="ignore"):
        scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * trained.pop(0)
    shift = -mean * scale
    return [scale, shift + trained.pop() if layer.center else shift]


def _scaled(
    layer: layers.Layer,
    own: Sequence[NDArray[Any]],
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    kernel, *bias = own
    # A depthwise kernel has the channels that come in and, for each, those that go out.
    is_depthwise = type(layer) is layers.DepthwiseConv2D
    by_channel = scale.reshape(kernel.shape[2:]) if is_depthwise else scale
    return [kernel * by_channel, shift + bias[0] * scale if bias else shift]


def _rounded(
    layer: layers.Layer, arrays: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float32]]:
    with np.errstate(all="ignore"):
        rounded = [array.astype(np.float32) for array in arrays]
    if not all(np.isfinite(array).all() for array in rounded):
        raise ValueError(f"{layer.name!r} comes to values that are infinite or not a number")
    return rounded
