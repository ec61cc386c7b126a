"""Custom models: a pretrained backbone with a new classification head."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vgg_demo.models.labels import CUSTOM_PREFIX, ClassLabel

MAX_LABEL_LENGTH = 80
"""Maximum characters of a label; labels must fit into charts and folder names."""

MAX_CLASSES = 200
"""Maximum number of classes of a custom model."""


class FeatureLayer(StrEnum):
    """The layer at which a network ends."""

    OUTPUT = "output"
    """The output layer: logits of the classes."""

    GLOBAL_POOLING = "global_pooling"
    """The last feature map, averaged over height and width (``include_top=False``)."""

    PENULTIMATE = "penultimate"
    """The layer before the output layer: in VGG16, the second dense layer (``fc2``)."""


MIN_PROBABILITY = 0.5
"""Lower bound of the unknown threshold: a less probable prediction is more likely wrong than right,
however low the model's own threshold is."""


@dataclass(frozen=True, slots=True)
class CustomModel:
    """Backbone, classes and calibration of a custom model.

    Attributes:
        bundle: Folder of the bundle.
        backbone: Name of the pretrained model that extracts the features.
        feature_layer: Layer of the backbone that provides the features.
        classes: The classes, in the order of the outputs.
        temperature: Divisor of the logits that calibrates the probabilities (temperature scaling,
            Guo et al. 2017, arXiv 1706.04599).
        unknown_threshold: Top-1 probability below which a prediction is "not sure", in [0, 1];
            chosen on the held-out photos, or set by the user.
    """

    bundle: Path
    backbone: str
    feature_layer: FeatureLayer
    classes: tuple[ClassLabel, ...]
    temperature: float
    unknown_threshold: float

    @property
    def effective_threshold(self) -> float:
        """The unknown threshold, at least `MIN_PROBABILITY`."""
        return max(MIN_PROBABILITY, self.unknown_threshold)


def clean_label(name: str) -> str:
    """Returns a name as a label: one line of at most `MAX_LABEL_LENGTH` printable characters.

    >>> clean_label("t_shirt"), clean_label(" my  cat")
    ('t shirt', 'my cat')
    """
    text = "".join(char if char.isprintable() else " " for char in name)
    return " ".join(text.replace("_", " ").split())[:MAX_LABEL_LENGTH]


def custom_classes(names: tuple[str, ...]) -> tuple[ClassLabel, ...]:
    """Returns the classes of a custom model.

    Names do not identify WordNet classes: a "mouse" may be an animal or a device. So each class
    has an ID that WordNet does not use.

    Args:
        names: Names of the classes, in the order of the outputs.
    """
    return tuple(
        ClassLabel(index, CUSTOM_PREFIX + name, name, "") for index, name in enumerate(names)
    )
