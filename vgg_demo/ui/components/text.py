"""What several pages say in the same words."""

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
    Resize.CROP: "the centre is cut out; the edges are lost",
    Resize.SQUASH: "everything is pressed into the square; shapes are distorted",
    Resize.PAD: "the whole photo with grey bars; things get smaller",
}

PREPROCESSING_DESCRIPTIONS = {
    "caffe": "blue, green, red, each minus ImageNet's mean",
    "tf": "scaled to −1 … 1",
    "torch": "scaled by ImageNet's mean and deviation",
    "none": "as they are; the network scales them itself",
}


SURE_GROUP = (
    f"Some kind of thing adds up to {GROUP_THRESHOLD:.0%} or more and covers at most "
    f"{MAX_GROUP_SHARE:.0%} of what the model knows; the headline names the most specific one."
)
SURE_MARGIN = f"The first answer leads the second by {100 * MIN_MARGIN:.0f} points or more."
SURE_SPREAD = (
    f"The probability is spread as if over {MAX_EFFECTIVE_CLASSES:.0f} equally likely things "
    "or fewer."
)


def describe_verified(spec: ModelSpec) -> str:
    return "the published file" if spec.custom is None else "the file that its bundle names"


def describe_unverified(spec: ModelSpec) -> str:
    if spec.custom is not None:
        return "not the file that its bundle names; its hash differs"
    if not spec.weights.hash:
        return "Keras publishes no hash of this file, so it cannot be checked"
    return "not the published file; its hash differs"
