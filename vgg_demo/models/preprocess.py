"""Preprocessing: from an RGB image to the input of a model.

`resize_image` fits the image to the model's input size with one of three resize methods;
`prepare` also normalizes the pixels as the model requires.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vgg_demo.models.registry import ModelSpec, Preprocessing


class Resize(StrEnum):
    """Resize method: how a photo of any aspect ratio becomes a square."""

    CROP = "crop"
    """Scales the short side slightly beyond the input size and crops the center: no distortion,
    but the edges are cut off. The published accuracies were measured this way."""

    SQUASH = "squash"
    """Scales both sides to the input size: nothing is cut off, but shapes are distorted. Equals
    `keras.utils.load_img(target_size=…, interpolation="bilinear")`."""

    PAD = "pad"
    """Scales the long side to the input size and adds gray bars: nothing is cut off or distorted,
    but objects get smaller."""


PAD_COLOR = (124, 116, 104)
"""RGB mean of ImageNet: becomes about zero after normalization."""

IMAGENET_MEAN_BGR = np.array([103.939, 116.779, 123.68], dtype=np.float32)
IMAGENET_MEAN_RGB = np.array([0.485, 0.456, 0.406], dtype=np.float32)
IMAGENET_STD_RGB = np.array([0.229, 0.224, 0.225], dtype=np.float32)
"""The constants of `keras.applications.imagenet_utils.preprocess_input`."""


def resize_image(image: Image.Image, spec: ModelSpec, resize: Resize = Resize.CROP) -> Image.Image:
    """Fits an image to a model's input size.

    Args:
        image: RGB image of any size.
        spec: The model.
        resize: Resize method.

    Returns:
        RGB image of `spec.input_size` × `spec.input_size` pixels.
    """
    size = (spec.input_size, spec.input_size)
    match resize:
        case Resize.CROP:
            return image.resize(size, Image.Resampling.BICUBIC, box=_center_box(image, spec))
        case Resize.SQUASH:
            return image.resize(size, Image.Resampling.BILINEAR)
        case Resize.PAD:
            return _pad(image, spec.input_size)


def prepare(
    image: Image.Image, spec: ModelSpec, resize: Resize = Resize.CROP
) -> NDArray[np.float32]:
    """Preprocesses an image into a batch of one.

    The normalization equals `preprocess_input` of the model's Keras module bit for bit.

    Args:
        image: RGB image of any size.
        spec: The model.
        resize: Resize method.

    Returns:
        float32 array of shape (1, size, size, 3).
    """
    pixels = np.asarray(resize_image(image, spec, resize), dtype=np.float32)
    return normalize_pixels(pixels, spec.preprocessing)[np.newaxis]


def _center_box(image: Image.Image, spec: ModelSpec) -> tuple[float, float, float, float]:
    """Returns the center square (left, top, right, bottom) in coordinates of the source image.

    Cropping the source resamples once and never creates the whole scaled image, which would be
    huge for a long, thin image.
    """
    side = min(image.width, image.height) * spec.crop_fraction
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side


def _pad(image: Image.Image, side: int) -> Image.Image:
    # `ImageOps.pad` fails if a side would be rounded to 0.
    factor = side / max(image.size)
    width, height = (max(1, round(length * factor)) for length in image.size)
    square = Image.new("RGB", (side, side), PAD_COLOR)
    scaled = image.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(scaled, ((side - width) // 2, (side - height) // 2))
    return square


def normalize_pixels(pixels: NDArray[np.float32], mode: Preprocessing) -> NDArray[np.float32]:
    """Normalizes pixels in one of Keras's modes.

    Args:
        pixels: float32 (…, 3), RGB in [0, 255]. Not modified.
        mode: The mode; see `registry.Preprocessing`.

    Returns:
        float32 of the same shape.
    """
    match mode:
        case "caffe":
            return np.ascontiguousarray(pixels[..., ::-1]) - IMAGENET_MEAN_BGR
        case "tf":
            return pixels / np.float32(127.5) - np.float32(1.0)
        case "torch":
            scaled = pixels / np.float32(255.0)
            return (scaled - IMAGENET_MEAN_RGB) / IMAGENET_STD_RGB
        case "none":
            return pixels
