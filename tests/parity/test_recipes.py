"""Parity of the preprocessing with stock Keras.

For every model, `prepare` must equal `load_img` and `preprocess_input` of the model's Keras module
bit for bit.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest

from vgg_demo.images.decode import decode
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import MODELS, ModelSpec, Preprocessing, get_spec

EXAMPLES = Path(__file__).parents[2] / "vgg_demo" / "data" / "examples"
KERAS_MODELS = [spec for spec in MODELS.values() if not spec.is_embedded]


def keras_input(path: Path, spec: ModelSpec, module: str | None = None) -> np.ndarray:
    """Preprocesses a photo with Keras only."""
    image = keras.utils.load_img(
        path, target_size=(spec.input_size, spec.input_size), interpolation="bilinear"
    )
    pixels = keras.utils.img_to_array(image)[np.newaxis]
    # The module of MobileNetV3 has no public name.
    application = importlib.import_module(f"keras.src.applications.{module or spec.module}")
    return np.asarray(application.preprocess_input(pixels))


@pytest.mark.parametrize("spec", KERAS_MODELS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("photo", ["cat", "rocket"])
def test_preprocessing_equals_keras(spec: ModelSpec, photo: str) -> None:
    path = EXAMPLES / f"{photo}.jpg"
    ours = prepare(decode(path.read_bytes()), spec, Resize.SQUASH)
    theirs = keras_input(path, spec)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.float32
    assert np.array_equal(ours, theirs)


def test_xception_does_not_use_the_generic_preprocessing() -> None:
    """`imagenet_utils.preprocess_input` defaults to the preprocessing of VGG16.

    A well-known tutorial uses it for Xception, which was trained on pixels in [-1, 1].
    """
    spec = get_spec("xception")
    path = EXAMPLES / "cat.jpg"
    ours = prepare(decode(path.read_bytes()), spec, Resize.SQUASH)
    generic = keras_input(path, spec, module="imagenet_utils")
    assert not np.allclose(ours, generic, atol=1)
    assert np.array_equal(ours, keras_input(path, spec))


def test_preprocessing_modes_give_different_inputs() -> None:
    """Therefore, the previous tests fail if a model uses the wrong mode."""
    image = decode((EXAMPLES / "cat.jpg").read_bytes())
    modes = get_args(Preprocessing)
    spec = get_spec("vgg16")
    inputs = [prepare(image, dataclasses.replace(spec, preprocessing=mode)) for mode in modes]
    assert len(inputs) == 4
    for first, second in itertools.combinations(inputs, 2):
        assert np.abs(first - second).max() > 0.5
