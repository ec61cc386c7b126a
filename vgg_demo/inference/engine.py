"""One model, ready to answer: built, filled with its weights, compiled.

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
from vgg_demo.inference.compiled import variables_of
from vgg_demo.models.custom import CustomModel, FeatureLayer
from vgg_demo.models.mini_vgg import build_mini_vgg
from vgg_demo.models.registry import ModelSpec, backbone_spec, get_spec
from vgg_demo.weights import keras_file, legacy_h5
from vgg_demo.weights.hdf5 import PIECE_BYTES, Wanted, reading
from vgg_demo.weights.local import FileState

HEAD_LAYER = "custom_scores"
"""Name of the layer that a taught model has in the place of its backbone's top."""

EFFICIENTNET_DEVIATION_RGB = np.array([0.229, 0.224, 0.225], dtype=np.float32)
"""`IMAGENET_STDDEV_RGB` of `keras.applications.efficientnet`."""


class Engine:
    """A loaded model.

    Attributes:
        spec: What it is.
        precision: Number format of the computation.
        photo_bytes: Memory that looking at a photo takes, for each in a batch: about the
            largest layer's input and output, and half as much again (measured with VGG16:
            36 MB for 25.7).
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
        # Traced once in advance, by one thread; afterwards any thread may call it.
        self.logits(np.zeros((1, spec.input_size, spec.input_size, 3), dtype=np.float32))

    @property
    def model(self) -> keras.Model:
        """The Keras model; its output are logits. Not to be changed.

        A taught model answers without one, and gets it when it is first asked for.

        Raises:
            WeightsError: If it cannot be, or its file is another one by now.
            MemoryError: If there is not enough of it.
        """
        with self._loading:
            if self._model is None:
                self._model = self._load_model()
            return self._model

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Runs the network.

        Args:
            batch: float32 (N, size, size, 3), from `preprocess.prepare`.

        Returns:
            float32 (N, classes): the scores before the softmax; of a body, (N, features).
        """
        output: NDArray[np.float32] = self._forward(tf.constant(batch)).numpy()
        if self.spec.custom is not None:
            output /= np.float32(self.spec.custom.temperature)
        return output


def build_uninitialized(spec: ModelSpec) -> keras.Model:
    """Builds a network whose weights have shapes but no values yet.

    In a stateless scope Keras creates variables without initialising them, which saves
    drawing (and holding) as many random numbers as the model has parameters. It also
    numbers layers without a name per thread; in a fresh one they get the names that
    `ModelSpec.cam_layer` knows, however many models were built before.
    """

    def build() -> keras.Model:
        with keras.StatelessScope(initialize_variables=False):
            if spec.custom is not None:
                return build_custom_model(spec.custom)
            return build_network(spec)

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(build).result()


def build_network(spec: ModelSpec) -> keras.Model:
    """Builds a network, or as much of it as its spec says; its weights are random."""
    if not spec.module:
        model = build_mini_vgg()
        return model if spec.feature_layer is FeatureLayer.OUTPUT else _up_to(model, "global_pool")
    application: Callable[..., keras.Model] = getattr(keras.applications, spec.keras_name)
    shape = (spec.input_size, spec.input_size, 3)
    if spec.feature_layer is FeatureLayer.GLOBAL_POOLING:
        return application(weights=None, include_top=False, pooling="avg", input_shape=shape)
    model = application(weights=None, input_shape=shape, classifier_activation=None)
    return (
        model if spec.feature_layer is FeatureLayer.OUTPUT else _up_to(model, model.layers[-2].name)
    )


def _up_to(model: keras.Model, layer: str) -> keras.Model:
    return keras.Model(model.input, model.get_layer(layer).output, name=model.name)


def build_custom_model(custom: CustomModel) -> keras.Model:
    """Builds a taught model: its backbone and a dense layer on top; its weights are random.

    Its layers are the backbone's own, and not a model in a model, so that it is like any other
    to whoever looks into it.
    """
    feature_extractor = build_network(
        backbone_spec(get_spec(custom.backbone), custom.feature_layer)
    )
    scores = keras.layers.Dense(len(custom.classes), dtype="float32", name=HEAD_LAYER)
    return keras.Model(feature_extractor.input, scores(feature_extractor.output), name="custom")


def load_engine(spec: ModelSpec, path: Path) -> Engine:
    """Builds a model and fills it with the weights of a file.

    Args:
        spec: The model.
        path: HDF5 file in Keras's legacy layout, the one of all official files; of a taught
            model, Keras's own file.

    Raises:
        WeightsCorruptError: If the file is damaged or is not this model's.
        MemoryError: If there is not enough of it.
    """
    with _memory_errors():
        model = _build_checked(spec)
        shape, photo_bytes = _input_shape(spec), _photo_bytes(model)
        if spec.custom is not None and not _has_large_arrays(model):
            later = partial(_load_later, spec, path, FileState.of(path))
            with closing(_read_folded(model, spec, path)) as filled:
                forward = compiled.compile_network(model, filled, shape)
            return Engine(spec, forward, photo_bytes, later)
        _fill(model, spec, path)
        forward = tf.function(
            lambda batch: model(batch, training=False),
            input_signature=[tf.TensorSpec(shape, tf.float32)],
        )
        return Engine(spec, forward, photo_bytes, lambda: model)


def _load_later(spec: ModelSpec, path: Path, state: FileState) -> keras.Model:
    with _memory_errors():
        model = _build_checked(spec)
        _fill(model, spec, path)
    if FileState.of(path) != state:
        raise WeightsMissingError(
            f"The weights in {path} were changed since {spec.keras_name} was loaded from them. "
            "Open the bundle again."
        )
    return model


@contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(error.message) from error


def _input_shape(spec: ModelSpec) -> tuple[int | None, ...]:
    return (None, spec.input_size, spec.input_size, 3)


def _build_checked(spec: ModelSpec) -> keras.Model:
    model = build_uninitialized(spec)
    if model.count_params() != spec.parameters:
        raise ValueError(
            f"{spec.name} was built with {model.count_params()} parameters instead of "
            f"{spec.parameters}: this version of Keras builds another network"
        )
    return model


def _has_large_arrays(model: keras.Model) -> bool:
    """Whether arrays come in pieces. A variable takes them piece by piece, a constant does not."""
    return any(
        math.prod(own.shape) * np.dtype(own.dtype).itemsize > PIECE_BYTES for own in model.variables
    )


def _fill(model: keras.Model, spec: ModelSpec, path: Path) -> None:
    """Copies the values of a file into a model, piece by piece."""
    with closing(_read(model, spec, path)) as pieces:
        for layer in model.layers:
            for variable in variables_of(layer):
                _fill_variable(variable, pieces)
            if hasattr(layer, "finalize_state"):  # Normalization derives values from its weights
                layer.finalize_state()
    # A taught model's file holds what was made of it then.
    if spec.module == "efficientnet" and spec.custom is None:
        _rescale_efficientnet(model)


def _read(model: keras.Model, spec: ModelSpec, path: Path) -> Generator[NDArray[Any]]:
    """Yields the values of a file for a model's variables, in their order."""
    if spec.custom is not None:
        return keras_file.read_arrays(path, spec, [_wanted(layer) for layer in model.layers])
    owns = [variables_of(layer) for layer in model.layers if layer.weights]
    return legacy_h5.read_arrays(path, spec, [[_wanted_array(x) for x in own] for own in owns])


def _read_folded(
    model: keras.Model, spec: ModelSpec, path: Path
) -> Generator[tuple[keras.layers.Layer, list[NDArray[Any]]]]:
    """As `compiled.fold`; values that do not go into one another are the file's fault."""
    with reading(path, spec), closing(_read(model, spec, path)) as arrays:
        yield from compiled.fold(model, arrays)


def _wanted(layer: keras.layers.Layer) -> keras_file.WantedLayer:
    """Returns what a layer expects in one of Keras's own files."""
    kind = to_snake_case(type(layer).__name__)
    if isinstance(layer, keras.Model):  # ConvNeXt has such
        return keras_file.WantedLayer(kind, layers=tuple(map(_wanted, layer.layers)))
    return keras_file.WantedLayer(kind, tuple(map(_wanted_array, variables_of(layer))))


def _wanted_array(variable: keras.Variable) -> Wanted:
    return Wanted(tuple(variable.shape), variable.dtype)


def _fill_variable(variable: keras.Variable, pieces: Iterator[NDArray[Any]]) -> None:
    # `_initialize` is what Keras itself calls to give an uninitialised variable its first
    # value; the public `assign` needs a value to be there already.
    piece = next(pieces)
    if piece.shape == variable.shape:
        variable._initialize(tf.constant(piece))
        return
    variable._initialize(tf.zeros(variable.shape, variable.dtype))
    # Written in place. `variable[a:b].assign` reads the variable first, after which
    # TensorFlow copies the whole of it for each assignment.
    filled = 0
    while True:
        tf.raw_ops.ResourceStridedSliceAssign(
            ref=variable.value.handle,
            begin=[filled],
            end=[filled + len(piece)],
            strides=[1],
            value=piece,
        )
        filled += len(piece)
        if filled == variable.shape[0]:
            break
        piece = next(pieces)
    # Assigning slices has switched on that each reading gets a copy of its own.
    tf.raw_ops.DisableCopyOnRead(resource=variable.value.handle)


def _photo_bytes(model: keras.Model) -> int:
    values: int = max(
        sum(math.prod(tensor.shape[1:]) for tensor in (*node.input_tensors, *node.outputs))
        for layer in model.layers
        for node in layer._inbound_nodes
    )
    return values * np.dtype(np.float32).itemsize * 3 // 2


def _rescale_efficientnet(model: keras.Model) -> None:
    """Makes up for a layer that Keras adds only when it loads the weights itself.

    `keras.applications.efficientnet` divides the normalised input once more by the root of
    ImageNet's deviation, but only for ``weights="imagenet"``; the official weights expect
    it. Scaling the variance of the normalisation by the deviation is the same thing:
    (x − μ) / √σ² / √s = (x − μ) / √(σ²·s).
    """
    (normalization,) = (x for x in model.layers if isinstance(x, keras.layers.Normalization))
    normalization.adapt_variance.assign(normalization.adapt_variance * EFFICIENTNET_DEVIATION_RGB)
    normalization.finalize_state()
