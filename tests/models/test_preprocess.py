"""Resize methods: a photo of any aspect ratio becomes a square model input."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vgg_demo.images.decode import decode
from vgg_demo.models.preprocess import PAD_COLOR, Resize, prepare, resize_image
from vgg_demo.models.registry import get_spec

VGG16 = get_spec("vgg16")


@pytest.fixture(scope="module")
def dog(photos: dict[str, bytes]) -> Image.Image:
    return decode(photos["dog"]).crop((0, 0, 500, 400))


@pytest.mark.parametrize("resize", Resize)
@pytest.mark.parametrize("name", ["vgg16", "inception_v3", "mini_vgg", "efficientnet_b1"])
def test_result_has_the_input_size_of_the_model(
    dog: Image.Image, resize: Resize, name: str
) -> None:
    spec = get_spec(name)
    assert resize_image(dog, spec, resize).size == (spec.input_size, spec.input_size)
    batch = prepare(dog, spec, resize)
    assert batch.shape == (1, spec.input_size, spec.input_size, 3)
    assert batch.dtype == np.float32


def test_crop_equals_the_published_evaluation(dog: Image.Image) -> None:
    """ImageNet evaluations scale the short side to 256 and crop the central 224 × 224 pixels."""
    scaled = dog.resize((320, 256), Image.Resampling.BICUBIC)
    reference = scaled.crop((48, 16, 272, 240))
    difference = np.abs(np.asarray(resize_image(dog, VGG16), float) - np.asarray(reference, float))
    assert difference.mean() < 0.5
    assert difference.max() <= 3


def test_squash_equals_pillows_bilinear_resize(dog: Image.Image) -> None:
    expected = dog.resize((224, 224), Image.Resampling.BILINEAR)
    assert np.array_equal(resize_image(dog, VGG16, Resize.SQUASH), expected)


def test_pad_keeps_the_whole_photo_and_adds_gray_bars(dog: Image.Image) -> None:
    padded = resize_image(dog, VGG16, Resize.PAD)
    assert padded.getpixel((112, 2)) == PAD_COLOR
    assert padded.getpixel((112, 221)) == PAD_COLOR
    assert padded.getpixel((2, 112)) != PAD_COLOR


@pytest.mark.parametrize("size", [(16, 3_000_000), (3_000_000, 16), (16, 16), (17, 4000)])
@pytest.mark.parametrize("resize", Resize)
def test_extreme_aspect_ratios_require_little_memory(size: tuple[int, int], resize: Resize) -> None:
    assert prepare(Image.new("RGB", size, "navy"), VGG16, resize).shape == (1, 224, 224, 3)


def test_image_is_not_modified(dog: Image.Image) -> None:
    before = dog.tobytes()
    for resize in Resize:
        prepare(dog, VGG16, resize)
    assert dog.tobytes() == before


def test_images_of_the_input_size_are_not_changed() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for resize in Resize:
        resized = resize_image(Image.fromarray(pixels), get_spec("mini_vgg"), resize)
        assert np.array_equal(resized, pixels)
