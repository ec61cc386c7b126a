"""The TensorFlow engine: builds a model, loads its weights and compiles it.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.utils.naming import to_snake_case
from numpy.typing import NDArray

from vgg_demo.errors import WeightsMissingError
from vgg_demo.inference import compiled
from vgg_demo.inference.compiled import layer_variables
from vgg_demo.models.custom import CustomModel, FeatureLayer
from vgg_demo.models.mini_vgg import build_mini_vgg
from vgg_demo.models.registry import ModelSpec, backbone_spec, get_spec
from vgg_demo.weights import keras_file, legacy_h5
from vgg_demo.weights.hdf5 import CHUNK_BYTES, ExpectedArray, report_read_errors
from vgg_demo.weights.local import FileState

HEAD_LAYER = "custom_scores"
"""Name of a custom model's dense output layer."""

EFFICIENTNET_STD_RGB = np.array([0.229, 0.224, 0.225], dtype=np.float32)
"""`IMAGENET_STDDEV_RGB` of `keras.applications.efficientnet`."""


class Engine:
    """A model with its weights, compiled for inference.

    Attributes:
        spec: The model.
        precision: Number format of the computation.
        photo_bytes: Memory for activations per photo of a batch: 1.5 times the input and output
            of the largest layer (measured with VGG16: 36 MB for 25.7 MB).
    """

    def __init__(
        self,
        spec: ModelSpec,
        forward: Callable[[tf.Tensor], tf.Tensor],
        photo_bytes: int,
        load_model: Callable[[], keras.Model],
    ) -> None:
        self.spec = spec
        self.precision = "float32"
        self.photo_bytes = photo_bytes
        self._forward = forward
        self._load_model = load_model
        self._model: keras.Model | None = None
        self._loading = Lock()
        # Trace the function now, in one thread; afterward it is thread-safe.
        self.logits(np.zeros((1, spec.input_size, spec.input_size, 3), dtype=np.float32))

    @property
    def model(self) -> keras.Model:
        """The Keras model; its outputs are logits. Do not modify it.

        A compiled custom model does not need it for inference; it is loaded on first access.

        Raises:
            WeightsError: If the weights cannot be read, or the file has changed.
            MemoryError: If there is not enough memory.
        """
        with self._loading:
            if self._model is None:
                self._model = self._load_model()
            return self._model

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the logits of a batch.

        Args:
            batch: float32 (N, size, size, 3), from `preprocess.prepare`.

        Returns:
            float32 (N, classes): the logits, divided by the temperature for a custom model; for a
            feature extractor, the features (N, features).
        """
        output: NDArray[np.float32] = self._forward(tf.constant(batch)).numpy()
        if self.spec.custom is not None:
            output /= np.float32(self.spec.custom.temperature)
        return output


def build_uninitialized(spec: ModelSpec) -> keras.Model:
    """Builds a model whose variables have shapes but no values.

    In a stateless scope, Keras creates variables without initializing them, which saves time and
    memory for random values. Keras numbers unnamed layers per thread; in a new thread they get
    the names that `ModelSpec.cam_layer` refers to, however many models were built before.
    """

    def build() -> keras.Model:
        with keras.StatelessScope(initialize_variables=False):
            if spec.custom is not None:
                return build_custom_model(spec.custom)
            return build_network(spec)

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(build).result()


def build_network(spec: ModelSpec) -> keras.Model:
    """Builds a pretrained architecture up to its feature layer, with random weights."""
    if not spec.module:
        model = build_mini_vgg()
        return (
            model if spec.feature_layer is FeatureLayer.OUTPUT else _truncate(model, "global_pool")
        )
    application: Callable[..., keras.Model] = getattr(keras.applications, spec.keras_name)
    shape = (spec.input_size, spec.input_size, 3)
    if spec.feature_layer is FeatureLayer.GLOBAL_POOLING:
        return application(weights=None, include_top=False, pooling="avg", input_shape=shape)
    model = application(weights=None, input_shape=shape, classifier_activation=None)
    if spec.feature_layer is FeatureLayer.OUTPUT:
        return model
    return _truncate(model, model.layers[-2].name)


def _truncate(model: keras.Model, layer: str) -> keras.Model:
    """Returns a model that ends at a layer."""
    return keras.Model(model.input, model.get_layer(layer).output, name=model.name)


def build_custom_model(custom: CustomModel) -> keras.Model:
    """Builds a custom model: its backbone and a dense output layer, with random weights.

    The model contains the layers of the backbone directly rather than a nested model, so that it
    can be inspected and explained like any other model.
    """
    feature_extractor = build_network(
        backbone_spec(get_spec(custom.backbone), custom.feature_layer)
    )
    head = keras.layers.Dense(len(custom.classes), dtype="float32", name=HEAD_LAYER)
    return keras.Model(feature_extractor.input, head(feature_extractor.output), name="custom")


def load_engine(spec: ModelSpec, path: Path) -> Engine:
    """Builds a model and loads its weights from a file.

    Args:
        spec: The model.
        path: HDF5 file in Keras's legacy layout, like all official weight files; for a custom
            model, a ``.keras`` file.

    Raises:
        WeightsCorruptError: If the file is damaged or belongs to another model.
        WeightsMissingError: If the file cannot be read.
        ValueError: If the installed version of Keras builds a different architecture.
        MemoryError: If there is not enough memory.
    """
    with _memory_errors():
        model = _build_checked(spec)
        shape, photo_bytes = _input_shape(spec), _photo_bytes(model)
        if spec.custom is not None and not _has_large_arrays(model):
            load_model = partial(_load_later, spec, path, FileState.of(path))
            with closing(_read_folded(model, spec, path)) as layer_weights:
                forward = compiled.compile_model(model, layer_weights, shape)
            return Engine(spec, forward, photo_bytes, load_model)
        _load_weights(model, spec, path)
        forward = tf.function(
            lambda batch: model(batch, training=False),
            input_signature=[tf.TensorSpec(shape, tf.float32)],
        )
        return Engine(spec, forward, photo_bytes, lambda: model)


def _load_later(spec: ModelSpec, path: Path, state: FileState) -> keras.Model:
    """Loads the Keras model of a compiled engine, if the file has not changed since."""
    with _memory_errors():
        model = _build_checked(spec)
        _load_weights(model, spec, path)
    if FileState.of(path) != state:
        raise WeightsMissingError(
            f"The weights in {path} have changed since {spec.keras_name} was loaded from them. "
            "Open the bundle again."
        )
    return model


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Converts TensorFlow's out-of-memory error into `MemoryError`."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(error.message) from error


def _input_shape(spec: ModelSpec) -> tuple[int | None, ...]:
    return (None, spec.input_size, spec.input_size, 3)


def _build_checked(spec: ModelSpec) -> keras.Model:
    """Builds an uninitialized model and checks its number of parameters."""
    model = build_uninitialized(spec)
    if model.count_params() != spec.parameters:
        raise ValueError(
            f"{spec.name} was built with {model.count_params()} parameters instead of "
            f"{spec.parameters}: this version of Keras builds a different architecture"
        )
    return model


def _has_large_arrays(model: keras.Model) -> bool:
    """Whether some weights are read in chunks; only variables can be assigned in chunks."""
    return any(
        math.prod(variable.shape) * np.dtype(variable.dtype).itemsize > CHUNK_BYTES
        for variable in model.variables
    )


def _load_weights(model: keras.Model, spec: ModelSpec, path: Path) -> None:
    """Copies the weights of a file into a model, in chunks."""
    with closing(_read(model, spec, path)) as chunks:
        for layer in model.layers:
            for variable in layer_variables(layer):
                _assign(variable, chunks)
            if hasattr(layer, "finalize_state"):  # Normalization derives constants from its weights
                layer.finalize_state()
    # The file of a custom model contains the rescaled weights already.
    if spec.module == "efficientnet" and spec.custom is None:
        _rescale_efficientnet(model)


def _read(model: keras.Model, spec: ModelSpec, path: Path) -> Generator[NDArray[Any]]:
    """Yields the arrays of a file, in the order of the model's variables."""
    if spec.custom is not None:
        return keras_file.read_arrays(
            path, spec, [_expected_layer(layer) for layer in model.layers]
        )
    expected = [
        [_expected_array(variable) for variable in layer_variables(layer)]
        for layer in model.layers
        if layer.weights
    ]
    return legacy_h5.read_arrays(path, spec, expected)


def _read_folded(
    model: keras.Model, spec: ModelSpec, path: Path
) -> Generator[tuple[keras.layers.Layer, list[NDArray[Any]]]]:
    """Yields the folded weights of a file; non-finite ones are reported as a damaged file."""
    with report_read_errors(path, spec), closing(_read(model, spec, path)) as arrays:
        yield from compiled.fold_batch_norm(model, arrays)


def _expected_layer(layer: keras.layers.Layer) -> keras_file.ExpectedLayer:
    """Returns the arrays of a layer as expected in a ``.keras`` file."""
    class_name = to_snake_case(type(layer).__name__)
    if isinstance(layer, keras.Model):  # ConvNeXt has nested models
        return keras_file.ExpectedLayer(
            class_name, layers=tuple(map(_expected_layer, layer.layers))
        )
    return keras_file.ExpectedLayer(class_name, tuple(map(_expected_array, layer_variables(layer))))


def _expected_array(variable: keras.Variable) -> ExpectedArray:
    return ExpectedArray(tuple(variable.shape), variable.dtype)


def _assign(variable: keras.Variable, chunks: Iterator[NDArray[Any]]) -> None:
    """Assigns a value, in one or more chunks along the first axis, to an uninitialized variable."""
    # Keras itself calls `_initialize` for the first value of an uninitialized variable; the
    # public `assign` requires an existing value.
    chunk = next(chunks)
    if chunk.shape == variable.shape:
        variable._initialize(tf.constant(chunk))
        return
    variable._initialize(tf.zeros(variable.shape, variable.dtype))
    # Assigned in place: `variable[a:b].assign` reads the variable first, after which TensorFlow
    # copies all of it for each assignment.
    start = 0
    while True:
        tf.raw_ops.ResourceStridedSliceAssign(
            ref=variable.value.handle,
            begin=[start],
            end=[start + len(chunk)],
            strides=[1],
            value=chunk,
        )
        start += len(chunk)
        if start == variable.shape[0]:
            break
        chunk = next(chunks)
    # Slice assignment has enabled copy-on-read for this variable.
    tf.raw_ops.DisableCopyOnRead(resource=variable.value.handle)


def _photo_bytes(model: keras.Model) -> int:
    """Returns the estimated memory for activations per photo; see `Engine.photo_bytes`."""
    values: int = max(
        sum(math.prod(tensor.shape[1:]) for tensor in (*node.input_tensors, *node.outputs))
        for layer in model.layers
        for node in layer._inbound_nodes
    )
    return values * np.dtype(np.float32).itemsize * 3 // 2


def _rescale_efficientnet(model: keras.Model) -> None:
    """Replaces a layer that Keras adds only if it loads the weights itself.

    `keras.applications.efficientnet` divides the normalized input again by the square root of
    ImageNet's standard deviation s, but only for ``weights="imagenet"``; the official weights
    require it. Multiplying the variance of the normalization layer by s is equivalent:
    (x − μ) / √σ² / √s = (x − μ) / √(σ²·s).
    """
    (normalization,) = (
        layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)
    )
    normalization.adapt_variance.assign(normalization.adapt_variance * EFFICIENTNET_STD_RGB)
    normalization.finalize_state()
