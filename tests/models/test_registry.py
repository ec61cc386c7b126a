"""The registry of pretrained models."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from vgg_demo.errors import UnknownModelError
from vgg_demo.models.registry import DEFAULT_MODEL, EMBEDDED_MODEL, MODELS, Preprocessing, get_spec


def test_registry_has_forty_keras_models_and_the_embedded_one() -> None:
    assert len(MODELS) == 41
    assert sum(spec.is_embedded for spec in MODELS.values()) == 1
    assert DEFAULT_MODEL in MODELS
    assert EMBEDDED_MODEL in MODELS


@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_every_spec_is_complete(spec) -> None:
    assert MODELS[spec.name] is spec
    assert spec.preprocessing in typing.get_args(Preprocessing)
    assert 32 <= spec.input_size <= 600
    assert 0 < spec.crop_fraction <= 1
    assert spec.parameters > 1_000_000
    assert spec.cam_layer
    # Keras publishes no hashes for these two.
    unhashed = spec.name in ("mobilenet", "mobilenet_v2")
    assert len(spec.weights.hash) in ((0,) if unhashed else (32, 64))
    assert spec.weights.size_bytes > 1_000_000
    if not spec.is_embedded:
        assert spec.weights.url.startswith("https://")
        assert spec.weights.url.endswith(".h5")
    if spec.accuracy:
        assert 50 < spec.accuracy.top1 < 100
        assert spec.accuracy.source.startswith("https://") or spec.is_embedded


def test_vgg16_has_the_published_facts() -> None:
    spec = get_spec("vgg16")
    assert (spec.input_size, spec.preprocessing, spec.parameters) == (224, "caffe", 138_357_544)
    assert spec.weights.hash == "64373286793e3c8b2b4e3219cbf3544b"


@pytest.mark.parametrize("name", ["vgg16", "VGG16", " Vgg16 ", "EfficientNetV2B0", "mini-vgg"])
def test_names_ignore_case_and_accept_keras_names(name: str) -> None:
    assert get_spec(name).name in ("vgg16", "efficientnet_v2_b0", "mini_vgg")


@pytest.mark.parametrize(
    ("name", "near"), [("vgg61", "vgg16"), ("resnet5", "resnet50"), ("mobilnet", "mobilenet")]
)
def test_unknown_model_suggests_near_matches(name: str, near: str) -> None:
    with pytest.raises(UnknownModelError, match=rf"Did you mean .*{near}"):
        get_spec(name)


def test_unknown_model_without_near_matches_names_the_list_command() -> None:
    with pytest.raises(UnknownModelError, match="vgg-demo models"):
        get_spec("?" * 1000)


def test_specs_and_registry_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_spec("vgg16").preprocessing = "tf"
    with pytest.raises(TypeError):
        MODELS["vgg16"] = get_spec("xception")
