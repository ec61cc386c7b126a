"""What makes a model of one's own: what it was taught, and on whose shoulders it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vgg_demo.models.labels import CUSTOM_PREFIX, ClassLabel

MAX_LABEL_LENGTH = 80
"""Characters of a label; it must fit on a chart and into a folder's name."""


MAX_CLASSES = 200
"""Classes of a custom model."""


class FeatureLayer(StrEnum):
    """How much of a network there is."""

    OUTPUT = "output"
    """All of it, to the scores of its classes."""

    GLOBAL_POOLING = "global_pooling"
    """All but its top; the last feature map is averaged over its places."""

    PENULTIMATE = "penultimate"
    """All but the last layer. Of VGG16, what the second of its large dense layers says."""


MIN_PROBABILITY = 0.5
"""An answer of a taught model that is less probable is as likely wrong as right, and counts as
none, however low the model's own threshold is."""


@dataclass(frozen=True, slots=True)
class CustomModel:
    """What a model was taught.

    Attributes:
        bundle: The folder in which it is kept.
        backbone: Name of the model whose body looks at photos for it.
        feature_layer: How much of the backbone that is.
        classes: What it answers, in the order of its outputs.
        temperature: Its scores are divided by it, so that its probabilities can be taken at
            their word (Guo et al. 2017).
        unknown_below: Probability of the first answer below which it had better say nothing, as
            found on photos kept back, or as set by who taught it.
    """

    bundle: Path
    backbone: str
    feature_layer: FeatureLayer
    classes: tuple[ClassLabel, ...]
    temperature: float
    unknown_below: float

    @property
    def sure_from(self) -> float:
        """Probability from which an answer counts; see `MIN_PROBABILITY`."""
        return max(MIN_PROBABILITY, self.unknown_below)


def clean_label(name: str) -> str:
    """Makes a label of a name: one line, of printable characters, not too long.

    >>> clean_label("t_shirt"), clean_label(" my  cat")
    ('t shirt', 'my cat')
    """
    text = "".join(sign if sign.isprintable() else " " for sign in name)
    return " ".join(text.replace("_", " ").split())[:MAX_LABEL_LENGTH]


def custom_classes(names: tuple[str, ...]) -> tuple[ClassLabel, ...]:
    """Returns classes of these names, in their order.

    Names are no WordNet classes: a "mouse" may be an animal or go with a keyboard. So each has
    an ID of its own, unlike any of WordNet's.
    """
    return tuple(
        ClassLabel(index, CUSTOM_PREFIX + name, name, "") for index, name in enumerate(names)
    )
