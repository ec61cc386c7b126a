"""From an image to a model's input, by the model's own recipe.

First `resize_image` fits the image to the model's input size by one of three named policies,
then `prepare` turns the pixels into the numbers that the model was trained on.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vgg_demo.models.registry import ModelSpec, Preprocessing


class Resize(StrEnum):
    """How a photo of any shape becomes a square."""

    CROP = "crop"
    """The short side is scaled a little beyond the input size and the centre cut out:
    nothing is distorted, the edges are lost. The published accuracies are for this."""

    SQUASH = "squash"
    """Everything is pressed into the square: nothing is lost, shapes are distorted. What
    `keras.utils.load_img(target_size=…, interpolation="bilinear")` gives."""

    PAD = "pad"
    """The whole photo, undistorted, with grey bars: nothing is lost, things get smaller."""


PAD_COLOR = (124, 116, 104)
"""ImageNet's mean pixel: bars that look like nothing to the network."""

IMAGENET_MEAN_BGR = np.array([103.939, 116.779, 123.68], dtype=np.float32)
IMAGENET_MEAN_RGB = np.array([0.485, 0.456, 0.406], dtype=np.float32)
IMAGENET_DEVIATION_RGB = np.array([0.229, 0.224, 0.225], dtype=np.float32)
"""The constants of `keras.applications.imagenet_utils.preprocess_input`."""


def resize_image(image: Image.Image, spec: ModelSpec, resize: Resize = Resize.CROP) -> Image.Image:
    """Fits an image to a model's input size.

    Args:
        image: RGB image of any size.
        spec: The model.
        resize: How the shape is made square.

    Returns:
        RGB image of `spec.input_size` pixels each way: exactly what the network sees.
    """
    size = (spec.input_size, spec.input_size)
    match resize:
        case Resize.CROP:
            return image.resize(size, Image.Resampling.BICUBIC, box=_centre_box(image, spec))
        case Resize.SQUASH:
            return image.resize(size, Image.Resampling.BILINEAR)
        case Resize.PAD:
            return _pad(image, spec.input_size)


def prepare(
    image: Image.Image, spec: ModelSpec, resize: Resize = Resize.CROP
) -> NDArray[np.float32]:
    """Turns an image into the batch of one that a model expects.

    Agrees bit for bit with the `preprocess_input` of the model's own Keras module.

    Args:
        image: RGB image of any size.
        spec: The model; its recipe decides everything but the policy.
        resize: How the shape is made square.

    Returns:
        float32 array of shape (1, size, size, 3).
    """
    pixels = np.asarray(resize_image(image, spec, resize), dtype=np.float32)
    return scale(pixels, spec.preprocessing)[np.newaxis]


def _centre_box(image: Image.Image, spec: ModelSpec) -> tuple[float, float, float, float]:
    """Returns the square (left, top, right, bottom) of the source that survives the crop.

    Cutting in source coordinates resamples once and never builds the scaled whole, which
    for a long, thin picture would be enormous.
    """
    side = min(image.width, image.height) * spec.crop_fraction
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side


def _pad(image: Image.Image, side: int) -> Image.Image:
    # `ImageOps.pad` fails where a side would be rounded to nothing.
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    square = Image.new("RGB", (side, side), PAD_COLOR)
    inner = image.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(inner, ((side - width) // 2, (side - height) // 2))
    return square


def scale(pixels: NDArray[np.float32], mode: Preprocessing) -> NDArray[np.float32]:
    """Turns pixels into the numbers that a model was trained on.

    Args:
        pixels: float32 (…, 3), RGB in [0, 255].
        mode: How.

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
            return (scaled - IMAGENET_MEAN_RGB) / IMAGENET_DEVIATION_RGB
        case "none":
            return pixels
