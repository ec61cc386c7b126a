"""Compiled models: their outputs equal those of Keras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from vgg_demo.errors import WeightsCorruptError, WeightsMissingError
from vgg_demo.inference import compiled, engine
from vgg_demo.inference.compiled import compile_model, fold_batch_norm, layer_variables
from vgg_demo.inference.engine import build_custom_model, load_engine
from vgg_demo.models.bundle import MODEL_FILE, custom_spec
from vgg_demo.models.custom import CustomModel, FeatureLayer, custom_classes
from vgg_demo.models.registry import ModelSpec
from vgg_demo.weights import hdf5

CLASSES = custom_classes(("a", "b", "c"))
RANGES = {
    "gamma": (0.8, 1.2),
    "moving_variance": (0.8, 1.2),
    "variance": (0.8, 1.2),
    "beta": (-0.2, 0.2),
    "moving_mean": (-0.2, 0.2),
    "mean": (-0.2, 0.2),
    "bias": (-0.2, 0.2),
}
"""Ranges of random values for variables that Keras initializes with 0 or 1.

Values of 0 and 1 would hide errors.
"""


def randomize(network: keras.Model) -> None:
    """Assigns random values to the variables in `RANGES`."""
    rng = np.random.default_rng(0)
    for variable in network.variables:
        if variable.name in RANGES:
            variable.assign(rng.uniform(*RANGES[variable.name], variable.shape))
    for layer in network.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def random_batch(count: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (count, *shape)).astype(np.float32)


def check_equal(predict: Callable[[np.ndarray], Any], network: keras.Model) -> None:
    """Checks outputs against Keras; additions in another order change the last float32 digits."""
    for count in (1, 3):
        batch = random_batch(count, network.input_shape[1:])
        expected = np.asarray(network(batch, training=False))
        assert np.ptp(expected) > 0
        difference = np.abs(np.asarray(predict(batch)) - expected).max()
        assert difference <= 1e-5 * np.abs(expected).max()


def save_custom_model(
    name: str, folder: Path, feature_layer: FeatureLayer = FeatureLayer.GLOBAL_POOLING
) -> tuple[ModelSpec, Path, keras.Model]:
    custom = CustomModel(folder, name, feature_layer, CLASSES, 1.0, 0.0)
    network = build_custom_model(custom)
    randomize(network)
    path = folder / MODEL_FILE
    network.save(path)
    size_bytes = path.stat().st_size
    return custom_spec("x", custom, model_sha256="0" * 64, model_bytes=size_bytes), path, network


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, Path, keras.Model]:
    return save_custom_model("mobilenet_v3_small", tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize(
    "name",
    [
        "mini_vgg",
        "mobilenet_v2",
        "mobilenet_v3_small",
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in (
                "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_b0",
                "inception_resnet_v2", "inception_v3", "mobilenet", "nasnet_mobile", "resnet50",
                "resnet50_v2", "vgg16", "xception",
            )
        ),
    ],
)  # fmt: skip
def test_compiled_model_of_each_family_equals_keras(name: str, tmp_path: Path) -> None:
    spec, path, network = save_custom_model(name, tmp_path)
    check_equal(load_engine(spec, path).logits, network)


def arrays_of(network: keras.Model) -> Iterator[np.ndarray]:
    return (
        np.asarray(variable.value)
        for layer in network.layers
        for variable in layer_variables(layer)
    )


def compile_copy(build: Callable[[], keras.Model], network: keras.Model) -> Any:
    """Compiles an uninitialized copy of a network with the weights of the network."""
    with keras.StatelessScope(initialize_variables=False):
        uninitialized = build()
    shape = (None, *network.input_shape[1:])
    weights = fold_batch_norm(uninitialized, arrays_of(network))
    return compile_model(uninitialized, weights, shape)


def operations(function: Any) -> Counter[str]:
    return Counter(operation.type for operation in function.graph.get_operations())


def test_compiled_mobilenet_v2_has_no_normalizations_and_no_variables(tmp_path: Path) -> None:
    """Its 52 batch normalizations are folded."""
    custom = CustomModel(tmp_path, "mobilenet_v2", FeatureLayer.GLOBAL_POOLING, CLASSES, 1.0, 0.0)
    build = partial(build_custom_model, custom)
    counts = operations(compile_copy(build, build()))
    del counts["Const"], counts["Placeholder"], counts["NoOp"], counts["Identity"]
    assert counts == {
        "Conv2D": 35, "DepthwiseConv2dNative": 17, "BiasAdd": 53, "Relu6": 35, "AddV2": 10,
        "Pad": 4, "Mean": 1, "MatMul": 1,
    }  # fmt: skip


def test_custom_models_are_compiled_when_loaded(
    small: tuple[ModelSpec, Path, keras.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, path, network = small
    functions: list[Any] = []

    def spy(*arguments: Any) -> Any:
        functions.append(compile_model(*arguments))
        return functions[-1]

    monkeypatch.setattr(compiled, "compile_model", spy)
    loaded = load_engine(spec, path)
    batch = random_batch(1, network.input_shape[1:])
    (function,) = functions
    assert np.array_equal(function(tf.constant(batch)), loaded.logits(batch))
    assert "FusedBatchNormV3" not in operations(function)


Tensor = keras.KerasTensor


def with_shared_layers(x: Tensor) -> Tensor:
    conv, norm = layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()
    return layers.Add()([norm(conv(x)), norm(conv(layers.Conv2D(3, 1)(x)))])


def with_two_consumers(x: Tensor) -> Tensor:
    y = layers.Conv2D(4, 3)(x)
    return layers.Concatenate()([layers.BatchNormalization()(y), y])


def with_only_the_convolution_shared(x: Tensor) -> Tensor:
    conv = layers.Conv2D(3, 3, padding="same")
    return conv(layers.BatchNormalization()(conv(x)))


def nested(x: Tensor) -> Tensor:
    inner = keras.Sequential([layers.Conv2D(4, 2, strides=2), layers.LayerNormalization()])
    return layers.BatchNormalization()(inner(x))


def with_split_output(x: Tensor) -> Tensor:
    left, right = keras.ops.split(layers.Conv2D(8, 3)(x), 2, axis=-1)
    return keras.ops.add(layers.BatchNormalization()(left) * 2.0, right)


def without_spatial_dimensions(x: Tensor) -> Tensor:
    y = layers.GlobalAveragePooling2D()(x)
    return layers.BatchNormalization()(layers.Dense(5, activation="relu")(y))


class TrainsByDefault(layers.Layer):  # type: ignore[misc]
    """A layer that runs in training mode by default."""

    def call(self, x: Tensor, training: bool = True) -> Tensor:
        return 2 * x if training else x


def chain(*chained: keras.layers.Layer) -> Callable[[Tensor], Tensor]:
    def build(x: Tensor) -> Tensor:
        for layer in chained:
            # A new layer, so that a network and its copy share nothing.
            x = type(layer).from_config(layer.get_config())(x)
        return x

    return build


@pytest.mark.parametrize(
    "build",
    [
        with_shared_layers,
        with_two_consumers,
        with_only_the_convolution_shared,
        nested,
        with_split_output,
        without_spatial_dimensions,
        chain(layers.Conv2D(4, 3, strides=(2, 1)), layers.BatchNormalization(scale=False)),
        chain(layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization(center=False)),
        chain(layers.Conv2D(4, 3, dilation_rate=2), layers.BatchNormalization(epsilon=0.1)),
        chain(layers.Conv2D(6, 3, groups=3), layers.BatchNormalization()),
        chain(layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()),
        chain(layers.Conv2D(4, 3, activation="gelu"), layers.BatchNormalization(axis=1)),
        chain(layers.DepthwiseConv2D(3, depth_multiplier=2), layers.BatchNormalization()),
        chain(layers.DepthwiseConv2D(3, dilation_rate=2), layers.BatchNormalization()),
        chain(layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu6")),
        chain(layers.SeparableConv2D(4, 3), layers.BatchNormalization()),
        chain(layers.BatchNormalization(), layers.BatchNormalization()),
        chain(layers.ZeroPadding2D(((0, 1), (2, 0))), layers.MaxPooling2D(3, 2, padding="same")),
        chain(layers.ReLU(), layers.ReLU(6.0), layers.ReLU(0.5, negative_slope=0.1)),
        chain(layers.ReLU(threshold=0.2), layers.Activation("relu6"), layers.Activation("tanh")),
        chain(layers.Dropout(0.5), layers.GaussianNoise(1.0), layers.SpatialDropout2D(0.5)),
        chain(TrainsByDefault(), layers.Conv2D(4, 3)),
        chain(layers.GlobalAveragePooling2D(keepdims=True), layers.Dense(3)),
        chain(layers.Normalization(), layers.Conv2D(4, 3), layers.Dense(2)),
    ],
)
def test_compiled_model_of_any_layers_equals_keras(build: Callable[[Tensor], Tensor]) -> None:
    def build_network() -> keras.Model:
        image = keras.Input((9, 9, 3))
        return keras.Model(image, build(image))

    network = build_network()
    randomize(network)
    check_equal(compile_copy(build_network, network), network)


@pytest.mark.parametrize(
    ("name", "value"),
    [("moving_variance", -1.0), ("moving_variance", -1e-3), ("gamma", 3e38)],
)
def test_finite_weights_that_cannot_be_folded_are_rejected(name: str, value: float) -> None:
    """A variance of -ε, for example, leads to a division by zero."""
    for preceding in ([layers.Conv2D(4, 3)], [layers.MaxPooling2D(2)]):
        image = keras.Input((9, 9, 3))
        network = keras.Model(image, chain(*preceding, layers.BatchNormalization())(image))
        for variable in network.variables:
            if variable.name == name:
                variable.assign(np.full(variable.shape, value))
            if variable.name == "moving_variance" and name == "gamma":
                variable.assign(np.full(variable.shape, 1e-5))
        with pytest.raises(ValueError, match="infinite or NaN"):
            list(fold_batch_norm(network, arrays_of(network)))


def test_weights_that_cannot_be_folded_are_reported_as_a_corrupt_file(
    small: tuple[ModelSpec, Path, keras.Model], tmp_path: Path
) -> None:
    spec, _, network = small
    damaged = keras.models.clone_model(network)
    damaged.set_weights(network.get_weights())
    norm = next(x for x in damaged.layers if isinstance(x, layers.BatchNormalization))
    norm.moving_variance.assign(-norm.moving_variance)
    damaged.save(tmp_path / MODEL_FILE)
    with pytest.raises(WeightsCorruptError, match="infinite or NaN") as caught:
        load_engine(spec, tmp_path / MODEL_FILE)
    assert str(caught.value).count("cannot be used for") == 1
    assert "train the model again" in str(caught.value)


def test_out_of_memory_is_not_reported_as_a_corrupt_file(
    small: tuple[ModelSpec, Path, keras.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    spec, path, _ = small
    monkeypatch.setattr(tf.raw_ops, "Identity", fail)
    with pytest.raises(MemoryError, match="OOM"):
        load_engine(spec, path)


def test_keras_model_is_loaded_once_on_first_access(
    small: tuple[ModelSpec, Path, keras.Model],
) -> None:
    spec, path, network = small
    loaded = load_engine(spec, path)
    with ThreadPoolExecutor(2) as executor:
        first, second = executor.map(lambda _: loaded.model, range(2))
    assert first is second
    for ours, theirs in zip(first.get_weights(), network.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_keras_model_of_a_changed_file_is_rejected(
    small: tuple[ModelSpec, Path, keras.Model], tmp_path: Path
) -> None:
    spec, path, _ = small
    (tmp_path / MODEL_FILE).write_bytes(path.read_bytes())
    loaded = load_engine(spec, tmp_path / MODEL_FILE)
    (tmp_path / MODEL_FILE).unlink()
    (tmp_path / MODEL_FILE).write_bytes(path.read_bytes())
    with pytest.raises(WeightsMissingError, match="changed since x was loaded"):
        _ = loaded.model


def test_model_with_large_arrays_is_loaded_in_chunks_and_not_compiled(
    small: tuple[ModelSpec, Path, keras.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, path, network = small
    for module in (engine, hdf5):
        monkeypatch.setattr(module, "CHUNK_BYTES", 10_000)
    monkeypatch.setattr(compiled, "compile_model", None)
    check_equal(load_engine(spec, path).logits, network)
