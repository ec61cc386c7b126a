"""Texts shared by several pages."""

from __future__ import annotations

from vgg_demo.analysis.verdict import (
    GROUP_THRESHOLD,
    MAX_EFFECTIVE_CLASSES,
    MAX_GROUP_SHARE,
    MIN_MARGIN,
)
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec

RESIZE_DESCRIPTIONS = {
    Resize.CROP: "keeps the center; the edges are cut off",
    Resize.SQUASH: "fits the whole photo; shapes are distorted",
    Resize.PAD: "fits the whole photo between gray bars; objects get smaller",
}
"""What each resize method does to the photo."""

PREPROCESSING_DESCRIPTIONS = {
    "caffe": "BGR, minus the ImageNet mean",
    "tf": "RGB, scaled to values from −1 to 1",
    "torch": "RGB, normalized with the ImageNet mean and standard deviation",
    "none": "RGB, values from 0 to 255; the model rescales them itself",
}
"""Pixel values of the model's input, by preprocessing mode (the modes of Keras)."""

GROUP_RULE = (
    f"One class or one group of related classes reaches {GROUP_THRESHOLD:.0%}. A group counts "
    f"only if it contains at most {MAX_GROUP_SHARE:.0%} of the model's classes."
)
MARGIN_RULE = (
    f"The top prediction leads the second by {100 * MIN_MARGIN:.0f} percentage points or more."
)
SPREAD_RULE = (
    f"The probability is spread over the equivalent of at most {MAX_EFFECTIVE_CLASSES:.0f} classes."
)


def describe_verified(spec: ModelSpec) -> str:
    """Returns why a verified weight file counts as verified."""
    return "matches the published hash" if spec.custom is None else "matches the hash in its bundle"


def describe_unverified(spec: ModelSpec) -> str:
    """Returns why an unverified weight file does not count as verified."""
    if spec.custom is not None:
        return "does not match the hash in its bundle"
    if not spec.weights.hash:
        return "cannot be verified, because Keras publishes no hash for it"
    return "does not match the published hash"


def count_photos(count: int) -> str:
    """Returns "1 photo" or, for example, "2,000 photos"."""
    return "1 photo" if count == 1 else f"{count:,} photos"
