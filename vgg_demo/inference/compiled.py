"""Compiles a Keras model into one TensorFlow function with the weights as constants.

Keras creates and assigns variables one by one and runs much Python code for each layer that
TensorFlow traces; this is most of the time until the first prediction of a small model. This
module implements the common layers directly with the TensorFlow operations that Keras uses, folds
batch normalizations into the preceding convolutions, and embeds the weights as constants. Other
layers, and unsupported configurations of these layers, are left to Keras.

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

LayerCall = Callable[[Any, Sequence[tf.Tensor]], tf.Tensor]
"""Computes a layer's output from its input (or list of inputs) and its weights."""

LayerWeights = Iterable[tuple[layers.Layer, Sequence[NDArray[Any]]]]
"""Pairs of a layer and its weights."""

raw = tf.raw_ops

ACTIVATIONS: Mapping[Callable[..., Any], Callable[[tf.Tensor], tf.Tensor]] = {
    activations.linear: lambda x: x,
    activations.relu: lambda x: raw.Relu(features=x),
    activations.relu6: lambda x: raw.Relu6(features=x),
}


def layer_variables(layer: layers.Layer) -> list[keras.Variable]:
    """Returns the variables of a layer, in the order of Keras's weight files."""
    return list(layer.trainable_weights + layer.non_trainable_weights)


def fold_batch_norm(
    model: keras.Model, arrays: Iterator[NDArray[Any]]
) -> Generator[tuple[layers.Layer, list[NDArray[Any]]]]:
    """Folds batch normalizations into the preceding convolutions.

    At inference, a batch normalization computes y = s·x + t for each channel, with
    s = γ / √(σ² + ε) and t = β − μ·s (Ioffe and Szegedy 2015, algorithm 2). A preceding linear
    convolution computes the same if its kernel is multiplied by s and its bias becomes
    s·bias + t. The values are computed in float64 and rounded once. For a normalization without
    such a convolution, s and t become its weights.

    Args:
        model: The model; its variables may be uninitialized.
        arrays: The values of the variables of all layers, in the order of `layer_variables`.

    Yields:
        Each layer that has variables, with its weights. Only the weights of convolutions whose
        normalization follows are held in memory.

    Raises:
        ValueError: If a folded weight is infinite or NaN.
    """
    convolutions = _convolutions_before(model)
    folded = set(convolutions.values())
    pending: dict[layers.Layer, list[NDArray[Any]]] = {}
    for layer in model.layers:
        weights = [next(arrays) for _ in layer_variables(layer)]
        if layer in folded:
            pending[layer] = weights
        elif layer in convolutions:
            convolution = convolutions[layer]
            scale, shift = _scale_and_shift(layer, weights)
            scaled = _scale_weights(convolution, pending.pop(convolution), scale, shift)
            yield convolution, _to_float32(convolution, scaled)
            yield layer, []
        elif type(layer) is layers.BatchNormalization and _layer_call(layer):
            yield layer, _to_float32(layer, _scale_and_shift(layer, weights))
        elif weights:
            yield layer, weights


def compile_model(
    model: keras.Model, layer_weights: LayerWeights, shape: tuple[int | None, ...]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compiles a model into a TensorFlow function.

    Args:
        model: The model, with one input and one output. Its variables may be uninitialized; it
            is not needed afterward.
        layer_weights: The weights, from `fold_batch_norm`.
        shape: Input shape with batch dimension; None for a dimension of any size.

    Returns:
        A traced, thread-safe function from a float32 tensor of this shape to the output of
        ``model(batch, training=False)``.
    """
    constants: dict[layers.Layer, list[tf.Tensor]] = {}
    keras_values: list[tuple[keras.Variable, tf.Tensor]] = []
    calls = {layer: call for layer in model.layers if (call := _layer_call(layer))}
    for layer, arrays in layer_weights:
        # `tf.constant` would keep the NumPy array alive until an operation runs.
        tensors = [raw.Identity(input=array) for array in arrays]
        if layer in calls:
            constants[layer] = tensors
        else:
            keras_values += zip(layer_variables(layer), tensors, strict=True)
    with keras.StatelessScope(keras_values):
        for layer in model.layers:
            if hasattr(layer, "finalize_state"):  # as in `engine`, but with these values
                layer.finalize_state()

    def operation(layer: keras.Operation) -> Callable[..., tf.Tensor]:
        if layer in calls:
            # The only other argument from Keras is a mask; images have none.
            return lambda x, **_: calls[layer](x, constants.get(layer, ()))
        if isinstance(layer, layers.Layer):
            return lambda *args, **kwargs: layer(*args, **(kwargs | {"training": False}))
        return layer  # type: ignore[no-any-return]

    def forward(batch: tf.Tensor) -> tf.Tensor:
        # `call` of a functional model uses `_run_through_graph`; there is no public way to run a
        # model with other operations in place of its layers.
        with keras.StatelessScope(keras_values):
            output = model._run_through_graph([batch], operation_fn=operation)
        return output[0] if isinstance(output, list) else output

    signature = [tf.TensorSpec(shape, tf.float32)]
    return tf.function(  # type: ignore[no-any-return]
        forward, input_signature=signature, autograph=False
    ).get_concrete_function()


def _layer_call(layer: layers.Layer) -> LayerCall | None:
    """Returns the implementation of a layer; None if its configuration is not supported."""
    factory = LAYER_CALLS.get(type(layer))
    is_supported = (
        layer.dtype_policy.name == "float32"
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and len(layer._inbound_nodes) == 1  # `layer.input` is only defined for a layer used once
    )
    return factory(layer) if factory and is_supported else None


def _conv2d(layer: layers.Conv2D) -> LayerCall | None:
    is_supported = (
        layer.padding in ("same", "valid")
        and layer.groups == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.activation in ACTIVATIONS
    )
    strides, padding = [1, *layer.strides, 1], layer.padding.upper()

    def call(x: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
        kernel, *bias = weights
        y = raw.Conv2D(input=x, filter=kernel, strides=strides, padding=padding)
        return _bias_and_activation(layer, y, bias)

    return call if is_supported else None


def _depthwise_conv2d(layer: layers.DepthwiseConv2D) -> LayerCall | None:
    is_supported = (
        layer.padding in ("same", "valid")
        and layer.strides[0] == layer.strides[1]
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.activation in ACTIVATIONS
    )
    strides, padding = [1, *layer.strides, 1], layer.padding.upper()

    def call(x: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
        kernel, *bias = weights
        y = raw.DepthwiseConv2dNative(input=x, filter=kernel, strides=strides, padding=padding)
        return _bias_and_activation(layer, y, bias)

    return call if is_supported else None


def _dense(layer: layers.Dense) -> LayerCall | None:
    def call(x: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
        kernel, *bias = weights
        return _bias_and_activation(layer, raw.MatMul(a=x, b=kernel), bias)

    return call if len(layer.input.shape) == 2 and layer.activation in ACTIVATIONS else None


def _bias_and_activation(layer: layers.Layer, y: tf.Tensor, bias: Sequence[tf.Tensor]) -> tf.Tensor:
    return ACTIVATIONS[layer.activation](raw.BiasAdd(value=y, bias=bias[0]) if bias else y)


def _batch_normalization(layer: layers.BatchNormalization) -> LayerCall | None:
    def call(x: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
        if not weights:  # folded into the convolution
            return x
        scale, shift = weights
        return raw.AddV2(x=raw.Mul(x=x, y=scale), y=shift)

    return call if layer.axis in (-1, len(layer.input.shape) - 1) else None


def _relu(layer: layers.ReLU) -> LayerCall | None:
    if layer.negative_slope or layer.threshold or layer.max_value not in (None, 6):
        return None
    activation = ACTIVATIONS[activations.relu if layer.max_value is None else activations.relu6]
    return lambda x, _: activation(x)


def _activation(layer: layers.Activation) -> LayerCall | None:
    activation = ACTIVATIONS.get(layer.activation)
    return (lambda x, _: activation(x)) if activation else None


def _add(layer: layers.Add) -> LayerCall | None:
    if len({tensor.shape for tensor in layer.input}) > 1:
        return None
    return lambda inputs, _: reduce(lambda x, y: raw.AddV2(x=x, y=y), inputs)


def _concatenate(layer: layers.Concatenate) -> LayerCall:
    return lambda inputs, _: raw.ConcatV2(values=inputs, axis=layer.axis)


def _zero_padding2d(layer: layers.ZeroPadding2D) -> LayerCall:
    paddings = [(0, 0), *layer.padding, (0, 0)]
    return lambda x, _: raw.Pad(input=x, paddings=paddings)


def _max_pooling2d(layer: layers.MaxPooling2D) -> LayerCall:
    size, strides = [1, *layer.pool_size, 1], [1, *layer.strides, 1]
    padding = layer.padding.upper()
    return lambda x, _: raw.MaxPool(input=x, ksize=size, strides=strides, padding=padding)


def _global_average_pooling2d(layer: layers.GlobalAveragePooling2D) -> LayerCall:
    return lambda x, _: raw.Mean(input=x, axis=[1, 2], keep_dims=layer.keepdims)


def _dropout(_: layers.Dropout) -> LayerCall:
    return lambda x, _: x


LAYER_CALLS: Mapping[type, Callable[[Any], LayerCall | None]] = {
    layers.Activation: _activation,
    layers.Add: _add,
    layers.BatchNormalization: _batch_normalization,
    layers.Concatenate: _concatenate,
    layers.Conv2D: _conv2d,
    layers.Dense: _dense,
    layers.DepthwiseConv2D: _depthwise_conv2d,
    layers.Dropout: _dropout,
    layers.GlobalAveragePooling2D: _global_average_pooling2d,
    layers.MaxPooling2D: _max_pooling2d,
    layers.ReLU: _relu,
    layers.ZeroPadding2D: _zero_padding2d,
}
"""Implementations by exact class: a subclass may compute something else."""


def _convolutions_before(
    model: keras.Model,
) -> dict[layers.BatchNormalization, layers.Layer]:
    """Returns the linear convolution before each normalization that is its only consumer."""
    by_output = {
        id(layer.output): layer
        for layer in model.layers
        if type(layer) in (layers.Conv2D, layers.DepthwiseConv2D)
        and _layer_call(layer)
        and layer.activation is activations.linear
        and len(layer._outbound_nodes) == 1
    }
    return {
        layer: by_output[id(layer.input)]
        for layer in model.layers
        if type(layer) is layers.BatchNormalization
        and _layer_call(layer)
        and id(layer.input) in by_output
    }


def _scale_and_shift(
    layer: layers.BatchNormalization, weights: Sequence[NDArray[Any]]
) -> list[NDArray[np.float64]]:
    """Returns s and t of `fold_batch_norm`, each float64 (channels,)."""
    *trainable, mean, variance = [array.astype(np.float64) for array in weights]
    with np.errstate(all="ignore"):
        scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * trainable.pop(0)
    shift = -mean * scale
    return [scale, shift + trainable.pop() if layer.center else shift]


def _scale_weights(
    layer: layers.Layer,
    weights: Sequence[NDArray[Any]],
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    """Returns the kernel and bias of a convolution with a folded normalization."""
    kernel, *bias = weights
    # The last axes of a depthwise kernel are input channels and channel multiplier.
    is_depthwise = type(layer) is layers.DepthwiseConv2D
    kernel_scale = scale.reshape(kernel.shape[2:]) if is_depthwise else scale
    return [kernel * kernel_scale, shift + bias[0] * scale if bias else shift]


def _to_float32(
    layer: layers.Layer, arrays: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float32]]:
    with np.errstate(all="ignore"):
        rounded = [array.astype(np.float32) for array in arrays]
    if not all(np.isfinite(array).all() for array in rounded):
        raise ValueError(f"the folded weights of {layer.name!r} are infinite or NaN")
    return rounded
