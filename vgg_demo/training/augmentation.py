"""Other looks at the same photo, so that what is learned does not hang on one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from vgg_demo.models.preprocess import Resize, resize_image, scale
from vgg_demo.models.registry import ModelSpec

MIN_CROP = 0.65
"""Side of the smallest cut over the photo's short side."""

MAX_JITTER = 0.2
"""By how much brightness and contrast go up or down at most."""


def augmented(
    image: Image.Image, spec: ModelSpec, resize: Resize, view: int, sha256: str
) -> Image.Image:
    """Returns one of the views of a photo, as large as the network wants it.

    View 0 is the photo as it will be looked at later, 1 its mirror image; in others another
    square is cut out, mirrored or not, and brightness and contrast are changed.

    Args:
        image: RGB image of any size.
        spec: The network.
        resize: How views 0 and 1 are made square.
        view: Which one, from 0.
        sha256: Of the photo's bytes; with the number it decides what is changed, so that a view
            is the same each time.
    """
    if view == 0:
        return resize_image(image, spec, resize)
    if view == 1:
        return ImageOps.mirror(resize_image(image, spec, resize))
    rng = np.random.default_rng([view, *bytes.fromhex(sha256)])
    side = min(image.size) * rng.uniform(MIN_CROP, 1)
    left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
    cut = image.resize(
        (spec.input_size, spec.input_size),
        Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
    )
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast):
        cut = enhancer(cut).enhance(1 + rng.uniform(-MAX_JITTER, MAX_JITTER))
    return ImageOps.mirror(cut) if rng.random() < 0.5 else cut


def see(
    image: Image.Image, spec: ModelSpec, resize: Resize, view: int, sha256: str
) -> NDArray[np.float32]:
    """Returns a view as it goes into the network, float32 (size, size, 3); see `augmented`."""
    pixels = np.asarray(augmented(image, spec, resize, view, sha256), dtype=np.float32)
    return scale(pixels, spec.preprocessing)
