"""Our numbers are Keras's numbers: the recipes.

For every model, `prepare` must give, bit for bit, what stock Keras gives for the same
photo: its own `load_img` and the `preprocess_input` of the model's own module.
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
    """Prepares a photo with nothing but Keras."""
    image = keras.utils.load_img(
        path, target_size=(spec.input_size, spec.input_size), interpolation="bilinear"
    )
    pixels = keras.utils.img_to_array(image)[np.newaxis]
    # MobileNetV3 has a public name for its functions but not for its module.
    home = importlib.import_module(f"keras.src.applications.{module or spec.module}")
    return np.asarray(home.preprocess_input(pixels))


@pytest.mark.parametrize("spec", KERAS_MODELS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("photo", ["cat", "rocket"])
def test_prepare_equals_keras(spec: ModelSpec, photo: str) -> None:
    path = EXAMPLES / f"{photo}.jpg"
    ours = prepare(decode(path.read_bytes()), spec, Resize.SQUASH)
    theirs = keras_input(path, spec)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.float32
    assert np.array_equal(ours, theirs)


def test_the_generic_recipe_on_xception_would_be_caught() -> None:
    """`imagenet_utils.preprocess_input` means VGG16's recipe unless told otherwise.

    A well-known tutorial uses it for Xception too, which was trained on [-1, 1].
    """
    spec = get_spec("xception")
    path = EXAMPLES / "cat.jpg"
    ours = prepare(decode(path.read_bytes()), spec, Resize.SQUASH)
    generic = keras_input(path, spec, module="imagenet_utils")
    assert not np.allclose(ours, generic, atol=1)
    assert np.array_equal(ours, keras_input(path, spec))


def test_every_wrong_pairing_would_be_caught() -> None:
    """Each kind of preprocessing gives another input, so a mix-up fails the tests above."""
    image = decode((EXAMPLES / "cat.jpg").read_bytes())
    kinds = get_args(Preprocessing)
    spec = get_spec("vgg16")
    inputs = [prepare(image, dataclasses.replace(spec, preprocessing=kind)) for kind in kinds]
    assert len(inputs) == 4
    for one, other in itertools.combinations(inputs, 2):
        assert np.abs(one - other).max() > 0.5
