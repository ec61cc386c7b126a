"""Networks as one function: what they answer is what Keras answers."""

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
from vgg_demo.inference.compiled import compile_network, fold, variables_of
from vgg_demo.inference.engine import build_custom_model, load_engine
from vgg_demo.models.bundle import MODEL, custom_spec
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
"""Of values that Keras begins with zeros or ones, which would hide mistakes."""


def shake(network: keras.Model) -> None:
    rng = np.random.default_rng(0)
    for variable in network.variables:
        if variable.name in RANGES:
            variable.assign(rng.uniform(*RANGES[variable.name], variable.shape))
    for layer in network.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def photos(count: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (count, *shape)).astype(np.float32)


def check_same(answer: Callable[[np.ndarray], Any], network: keras.Model) -> None:
    """The order of additions is another one, so that digits of float32 at the end are."""
    for count in (1, 3):
        batch = photos(count, network.input_shape[1:])
        expected = np.asarray(network(batch, training=False))
        assert np.ptp(expected) > 0
        difference = np.abs(np.asarray(answer(batch)) - expected).max()
        assert difference <= 1e-5 * np.abs(expected).max()


def make(
    name: str, folder: Path, feature_layer: FeatureLayer = FeatureLayer.GLOBAL_POOLING
) -> tuple[ModelSpec, Path, keras.Model]:
    custom = CustomModel(folder, name, feature_layer, CLASSES, 1.0, 0.0)
    network = build_custom_model(custom)
    shake(network)
    path = folder / MODEL
    network.save(path)
    size_bytes = path.stat().st_size
    return custom_spec("x", custom, model_sha256="0" * 64, model_bytes=size_bytes), path, network


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, Path, keras.Model]:
    return make("mobilenet_v3_small", tmp_path_factory.mktemp("small"))


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
def test_each_family_answers_as_in_keras(name: str, tmp_path: Path) -> None:
    spec, path, network = make(name, tmp_path)
    check_same(load_engine(spec, path).logits, network)


def arrays_of(network: keras.Model) -> Iterator[np.ndarray]:
    return (
        np.asarray(variable.value) for layer in network.layers for variable in variables_of(layer)
    )


def compile_anew(build: Callable[[], keras.Model], filled: keras.Model) -> Any:
    """Compiles a network that has no values, with those of its like."""
    with keras.StatelessScope(initialize_variables=False):
        unfilled = build()
    shape = (None, *filled.input_shape[1:])
    return compile_network(unfilled, fold(unfilled, arrays_of(filled)), shape)


def operations(function: Any) -> Counter[str]:
    return Counter(operation.type for operation in function.graph.get_operations())


def test_what_is_left_of_mobilenet_v2(tmp_path: Path) -> None:
    """Nothing of its 52 normalisations, and no variable."""
    custom = CustomModel(tmp_path, "mobilenet_v2", FeatureLayer.GLOBAL_POOLING, CLASSES, 1.0, 0.0)
    build = partial(build_custom_model, custom)
    found = operations(compile_anew(build, build()))
    del found["Const"], found["Placeholder"], found["NoOp"], found["Identity"]
    assert found == {
        "Conv2D": 35, "DepthwiseConv2dNative": 17, "BiasAdd": 53, "Relu6": 35, "AddV2": 10,
        "Pad": 4, "Mean": 1, "MatMul": 1,
    }  # fmt: skip


def test_taught_models_are_loaded_so(
    small: tuple[ModelSpec, Path, keras.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, path, network = small
    made: list[Any] = []

    def spy(*arguments: Any) -> Any:
        made.append(compile_network(*arguments))
        return made[-1]

    monkeypatch.setattr(compiled, "compile_network", spy)
    loaded = load_engine(spec, path)
    batch = photos(1, network.input_shape[1:])
    (function,) = made
    assert np.array_equal(function(tf.constant(batch)), loaded.logits(batch))
    assert "FusedBatchNormV3" not in operations(function)


Tensor = keras.KerasTensor


def shared(x: Tensor) -> Tensor:
    conv, norm = layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()
    return layers.Add()([norm(conv(x)), norm(conv(layers.Conv2D(3, 1)(x)))])


def read_by_two(x: Tensor) -> Tensor:
    y = layers.Conv2D(4, 3)(x)
    return layers.Concatenate()([layers.BatchNormalization()(y), y])


def conv_shared_norm_not(x: Tensor) -> Tensor:
    conv = layers.Conv2D(3, 3, padding="same")
    return conv(layers.BatchNormalization()(conv(x)))


def nested(x: Tensor) -> Tensor:
    inner = keras.Sequential([layers.Conv2D(4, 2, strides=2), layers.LayerNormalization()])
    return layers.BatchNormalization()(inner(x))


def with_parts(x: Tensor) -> Tensor:
    left, right = keras.ops.split(layers.Conv2D(8, 3)(x), 2, axis=-1)
    return keras.ops.add(layers.BatchNormalization()(left) * 2.0, right)


def no_image(x: Tensor) -> Tensor:
    y = layers.GlobalAveragePooling2D()(x)
    return layers.BatchNormalization()(layers.Dense(5, activation="relu")(y))


class Trains(layers.Layer):  # type: ignore[misc]
    """Does by default what it does while it learns."""

    def call(self, x: Tensor, training: bool = True) -> Tensor:
        return 2 * x if training else x


def chain(*steps: keras.layers.Layer) -> Callable[[Tensor], Tensor]:
    def build(x: Tensor) -> Tensor:
        for step in steps:
            # Anew, so that a network and its like share nothing.
            x = type(step).from_config(step.get_config())(x)
        return x

    return build


@pytest.mark.parametrize(
    "build",
    [
        shared,
        read_by_two,
        conv_shared_norm_not,
        nested,
        with_parts,
        no_image,
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
        chain(Trains(), layers.Conv2D(4, 3)),
        chain(layers.GlobalAveragePooling2D(keepdims=True), layers.Dense(3)),
        chain(layers.Normalization(), layers.Conv2D(4, 3), layers.Dense(2)),
    ],
)
def test_whatever_a_network_is_made_of(build: Callable[[Tensor], Tensor]) -> None:
    def build_network() -> keras.Model:
        image = keras.Input((9, 9, 3))
        return keras.Model(image, build(image))

    network = build_network()
    shake(network)
    check_same(compile_anew(build_network, network), network)


@pytest.mark.parametrize(
    ("name", "value"),
    [("moving_variance", -1.0), ("moving_variance", -1e-3), ("gamma", 3e38)],
)
def test_numbers_that_do_not_go_into_one_another(name: str, value: float) -> None:
    """Each of them is finite; -ε makes a division by nothing."""
    for steps in ([layers.Conv2D(4, 3)], [layers.MaxPooling2D(2)]):
        image = keras.Input((9, 9, 3))
        network = keras.Model(image, chain(*steps, layers.BatchNormalization())(image))
        for variable in network.variables:
            if variable.name == name:
                variable.assign(np.full(variable.shape, value))
            if variable.name == "moving_variance" and name == "gamma":
                variable.assign(np.full(variable.shape, 1e-5))
        with pytest.raises(ValueError, match="infinite or not a number"):
            list(fold(network, arrays_of(network)))


def test_such_numbers_are_the_files_fault(
    small: tuple[ModelSpec, Path, keras.Model], tmp_path: Path
) -> None:
    spec, _, network = small
    again = keras.models.clone_model(network)
    again.set_weights(network.get_weights())
    norm = next(x for x in again.layers if isinstance(x, layers.BatchNormalization))
    norm.moving_variance.assign(-norm.moving_variance)
    again.save(tmp_path / MODEL)
    with pytest.raises(WeightsCorruptError, match="not a number") as caught:
        load_engine(spec, tmp_path / MODEL)
    assert str(caught.value).count("cannot be used for") == 1
    assert "train it again" in str(caught.value)


def test_too_little_memory_is_not_the_files_fault(
    small: tuple[ModelSpec, Path, keras.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    spec, path, _ = small
    monkeypatch.setattr(tf.raw_ops, "Identity", fail)
    with pytest.raises(MemoryError, match="OOM"):
        load_engine(spec, path)


def test_whoever_asks_gets_a_filled_model(small: tuple[ModelSpec, Path, keras.Model]) -> None:
    spec, path, network = small
    loaded = load_engine(spec, path)
    with ThreadPoolExecutor(2) as executor:
        first, second = executor.map(lambda _: loaded.model, range(2))
    assert first is second
    for ours, theirs in zip(first.get_weights(), network.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_model_of_another_file_is_not_given(
    small: tuple[ModelSpec, Path, keras.Model], tmp_path: Path
) -> None:
    spec, path, _ = small
    (tmp_path / MODEL).write_bytes(path.read_bytes())
    loaded = load_engine(spec, tmp_path / MODEL)
    (tmp_path / MODEL).unlink()
    (tmp_path / MODEL).write_bytes(path.read_bytes())
    with pytest.raises(WeightsMissingError, match="changed since x was loaded"):
        _ = loaded.model


def test_large_arrays_go_into_variables_piece_by_piece(
    small: tuple[ModelSpec, Path, keras.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, path, network = small
    for module in (engine, hdf5):
        monkeypatch.setattr(module, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(compiled, "compile_network", None)
    check_same(load_engine(spec, path).logits, network)
