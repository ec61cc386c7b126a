"""Results of a classification: frozen records for the page, the command line and the API."""

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
    """Formats a probability in whole percent; only exact 0 and 1 become 0% and 100%.

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
    """A predicted class and its probability.

    Attributes:
        rank: Rank among the predictions; 1 is the most probable class.
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
    """Returns the top-k predictions, best first; ties are in the order of the labels.

    Args:
        probabilities: float64 (classes,), in [0, 1].
        labels: The classes, in the order of the probabilities.
        top: Maximum number of predictions.
    """
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(
        Prediction(
            rank=number,
            index=int(index),
            wnid=labels[index].wnid,
            label=labels[index].label,
            probability=float(probabilities[index]),
        )
        for number, index in enumerate(best, start=1)
    )


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds per stage: decoding, preprocessing and inference."""

    decode: float
    prepare: float
    inference: float


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """The result of one model for one photo.

    Attributes:
        file: Name of the photo.
        sha256: SHA-256 of the image file, 64 hex digits.
        spec: The model.
        weights: The weight file that was used.
        precision: Number format of the computation, such as "float32".
        resize: Name of the resize method.
        probabilities: float64 (classes,), summing to 1, in the order of the model's output.
        seconds: Seconds per stage.
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
        """Returns the top-k predictions, best first; ties are in the order of the output."""
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
        file: Name of the photo.
        error: Class name of the error.
        message: What went wrong and what to do next.
    """

    file: str
    error: str
    message: str
