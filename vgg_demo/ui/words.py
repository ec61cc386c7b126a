"""What several pages say in the same words."""

from __future__ import annotations

from vgg_demo.preprocess import Resize
from vgg_demo.registry import ModelSpec

RESIZE_WORDS = {
    Resize.CROP: "the centre is cut out; the edges are lost",
    Resize.SQUASH: "everything is pressed into the square; shapes are distorted",
    Resize.PAD: "the whole photo with grey bars; things get smaller",
}

PREPROCESSING_WORDS = {
    "caffe": "blue, green, red, each minus ImageNet's mean",
    "tf": "scaled to −1 … 1",
    "torch": "scaled by ImageNet's mean and deviation",
    "none": "as they are; the network scales them itself",
}


def verified_words(spec: ModelSpec) -> str:
    return "the published file" if spec.taught is None else "the file that its bundle names"


def unverified_words(spec: ModelSpec) -> str:
    if spec.taught is not None:
        return "not the file that its bundle names; its hash differs"
    if not spec.weights.hash:
        return "Keras publishes no hash of this file, so it cannot be checked"
    return "not the published file; its hash differs"
