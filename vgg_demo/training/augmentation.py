"""Data augmentation: deterministic views of a photo (mirrored, cropped, color-jittered)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from vgg_demo.models.preprocess import Resize, normalize_pixels, resize_image
from vgg_demo.models.registry import ModelSpec

MIN_CROP = 0.65
"""Side of the smallest random crop, as a fraction of the photo's short side."""

MAX_JITTER = 0.2
"""Largest relative change of brightness and contrast."""


def augment(
    image: Image.Image, spec: ModelSpec, resize: Resize, view: int, sha256: str
) -> Image.Image:
    """Returns one augmented view of a photo, at the model's input size.

    View 0 is the photo as it is prepared for inference, view 1 its mirror image. All others are
    random square crops, mirrored with probability 0.5, with random brightness and contrast.

    Args:
        image: RGB image of any size.
        spec: The model.
        resize: Resize method of views 0 and 1.
        view: Number of the view, from 0.
        sha256: SHA-256 of the photo's bytes, 64 hex digits. Together with `view`, it seeds the
            random number generator, so that a view is the same in every call.

    Returns:
        RGB image of `spec.input_size` × `spec.input_size` pixels.
    """
    if view == 0:
        return resize_image(image, spec, resize)
    if view == 1:
        return ImageOps.mirror(resize_image(image, spec, resize))
    rng = np.random.default_rng([view, *bytes.fromhex(sha256)])
    side = min(image.size) * rng.uniform(MIN_CROP, 1)
    left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
    crop = image.resize(
        (spec.input_size, spec.input_size),
        Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
    )
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast):
        crop = enhancer(crop).enhance(1 + rng.uniform(-MAX_JITTER, MAX_JITTER))
    return ImageOps.mirror(crop) if rng.random() < 0.5 else crop


def prepare_view(
    image: Image.Image, spec: ModelSpec, resize: Resize, view: int, sha256: str
) -> NDArray[np.float32]:
    """Returns a preprocessed view of a photo, float32 (size, size, 3); see `augment`."""
    pixels = np.asarray(augment(image, spec, resize, view, sha256), dtype=np.float32)
    return normalize_pixels(pixels, spec.preprocessing)
