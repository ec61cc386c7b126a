"""Parity of every model's architecture with stock Keras."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from vgg_demo.images.photo import open_photo
from vgg_demo.inference.engine import build_uninitialized, load_engine
from vgg_demo.models.labels import load_labels
from vgg_demo.models.preprocess import prepare
from vgg_demo.models.registry import MODELS, ModelSpec

KERAS_MODELS = [spec for spec in MODELS.values() if not spec.is_embedded]


@pytest.mark.parametrize("spec", KERAS_MODELS, ids=lambda spec: spec.name)
def test_architecture_equals_keras(spec: ModelSpec) -> None:
    """Compares layer by layer, except for the softmax, which the package computes itself."""
    ours = build_uninitialized(spec)
    # Without weights, the input size of MobileNetV3 is variable unless it is specified.
    size = {"input_shape": (224, 224, 3)} if spec.module == "mobilenet_v3" else {}
    with keras.StatelessScope(initialize_variables=False):
        theirs = getattr(keras.applications, spec.keras_name)(weights=None, **size)
    assert ours.count_params() == theirs.count_params() == spec.parameters
    assert ours.input_shape == theirs.input_shape == (None, spec.input_size, spec.input_size, 3)
    assert ours.output_shape == theirs.output_shape == (None, len(load_labels(spec.labels)))
    assert [describe_layer(layer) for layer in ours.layers] == [
        describe_layer(layer) for layer in theirs.layers
    ]
    check_cam_layer(ours, spec)


def describe_layer(layer: keras.Layer) -> tuple[object, ...]:
    shapes = [tuple(weight.shape) for weight in layer.weights]
    settings = {key: layer.get_config().get(key) for key in ("strides", "padding", "epsilon")}
    return type(layer).__name__, str(layer.output.shape), shapes, settings


def test_cam_layer_of_the_embedded_model_is_its_last_spatial_operation() -> None:
    check_cam_layer(build_uninitialized(MODELS["mini_vgg"]), MODELS["mini_vgg"])


def check_cam_layer(model: keras.Model, spec: ModelSpec) -> None:
    """Checks that the CAM layer is the last spatial operation and determines the logits."""
    operations = {operation.name: operation for operation in model.operations}
    output = operations[spec.cam_layer].output
    assert len(output.shape) == 4
    assert output.shape[1] == output.shape[2] > 1
    names = list(operations)
    for name in names[names.index(spec.cam_layer) + 1 :]:
        later = operations[name].output.shape
        assert len(later) < 4 or later[1] == 1
    rest = keras.Model(output, model.output)
    assert rest.output_shape == (None, len(load_labels(spec.labels)))


@pytest.mark.slow
@pytest.mark.parametrize("spec", KERAS_MODELS, ids=lambda spec: spec.name)
def test_same_weights_give_the_same_logits_as_keras(
    spec: ModelSpec, photos: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uses Keras's initial weights, from a file that Keras wrote."""
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, spec.keras_name)
    size = {"input_shape": (spec.input_size, spec.input_size, 3)}
    stock = build(weights=None, classifier_activation=None, **size)
    if spec.module == "efficientnet":
        # Its official files contain ImageNet's normalization, for which Keras adds a layer.
        values = [
            np.array([0.485, 0.456, 0.406], np.float32),
            np.array([0.229, 0.224, 0.225], np.float32) ** 2,
            np.zeros((), np.int32),
        ]
        stock.set_weights(values + stock.get_weights()[3:])
    path = tmp_path / spec.weights.name
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, stock)
    if spec.module == "efficientnet":
        monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(path))
        stock = build(weights="imagenet", classifier_activation=None)
    batch = prepare(open_photo(photos["dog"]).image, spec)
    theirs = stock.predict(batch, verbose=0)
    ours = load_engine(spec, path).logits(batch)
    path.unlink()
    assert theirs.std() > 0
    assert np.abs(ours - theirs).max() < 1e-4 * theirs.std()
