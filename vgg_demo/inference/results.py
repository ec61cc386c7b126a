"""What the core returns: frozen records that the page, the command line and the API show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgg_demo.models.labels import ClassLabel
from vgg_demo.models.registry import ModelSpec
from vgg_demo.weights.local import LocalWeights

SCHEMA = 1


def percent(probability: float) -> str:
    """Writes a probability as whole percents; what is not quite none or all is not rounded so.

    >>> percent(0.621), percent(0.9984), percent(0.0002)
    ('62%', 'over 99%', 'under 1%')
    """
    if 0.995 <= probability < 1:
        return "over 99%"
    if 0 < probability < 0.005:
        return "under 1%"
    return f"{probability:.0%}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer.

    Attributes:
        rank: 1 for the most probable class.
        index: Position in the model's output, from 0.
        wnid: WordNet ID of the class.
        label: Readable name of the class.
        probability: In [0, 1].
    """

    rank: int
    index: int
    wnid: str
    label: str
    probability: float


def rank(
    probabilities: NDArray[np.float64], labels: Sequence[ClassLabel], top: int
) -> tuple[Prediction, ...]:
    """Returns the most probable classes, best first; ties in the order of the labels."""
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(
        Prediction(
            rank=place,
            index=int(index),
            wnid=labels[index].wnid,
            label=labels[index].label,
            probability=float(probabilities[index]),
        )
        for place, index in enumerate(best, start=1)
    )


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where the time went, in seconds."""

    decode: float
    prepare: float
    inference: float


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """What a model makes of a photo.

    Attributes:
        file: The photo's name, as it was given.
        sha256: Of the photo's bytes, 64 hex digits.
        spec: The model.
        weights: The weight file that was used.
        precision: Number format of the computation.
        resize: Name of the resize policy.
        probabilities: float64 (classes,), summing to 1, in the order of the model's output.
        seconds: Where the time went.
    """

    file: str
    sha256: str
    spec: ModelSpec
    weights: LocalWeights
    precision: str
    resize: str
    probabilities: NDArray[np.float64]
    seconds: Seconds

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.spec.name

    def predictions(self, top: int = 5) -> tuple[Prediction, ...]:
        """Returns the most probable classes, best first; ties in the order of output."""
        return rank(self.probabilities, self.spec.classes, top)

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """Returns the result as plain JSON values."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "model": self.model,
            "weights": asdict(self.weights),
            "precision": self.precision,
            "resize": self.resize,
            "predictions": [asdict(prediction) for prediction in self.predictions(top)],
            "seconds": asdict(self.seconds),
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """A photo that could not be classified.

    Attributes:
        file: The photo's name, as it was given.
        error: Name of the error's class.
        message: What went wrong and what to do.
    """

    file: str
    error: str
    message: str
