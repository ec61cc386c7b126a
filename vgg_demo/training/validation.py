"""What a taught model can do: by the photos that it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgg_demo.analysis.calibration import fit_temperature, spread_for
from vgg_demo.analysis.evaluation import Evaluation, Evaluator, Proportion
from vgg_demo.inference.classify import softmax
from vgg_demo.models.registry import ModelSpec

MAX_UNKNOWN_BELOW = 0.9


@dataclass(frozen=True, slots=True)
class Threshold:
    """What comes of taking answers below a probability for "I do not know".

    Attributes:
        probability: The threshold, in [0, 1].
        answered: Share of the photos that still get an answer, in [0, 1].
        accuracy: Share of the answers that are right, in [0, 1]; 1 where there are none.
    """

    probability: float
    answered: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class LearningCurvePoint:
    """A point of the learning curve.

    Attributes:
        photos: How many were learned from.
        accuracy: Of the validation photos.
    """

    photos: int
    accuracy: Proportion


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """How good a taught model is.

    Attributes:
        evaluation: On the validation photos, with the temperature.
        baseline: How often one is right who always says the most frequent class.
        temperature: Fitted on the same photos.
        unknown_below: Probability below which it is best to give no answer.
        thresholds: What other choices would give, ascending.
        learning_curve: The learning curve: how good it is when it learns from fewer photos.
    """

    evaluation: Evaluation
    baseline: Proportion
    temperature: float
    unknown_below: float
    thresholds: tuple[Threshold, ...]
    learning_curve: tuple[LearningCurvePoint, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures that a bundle keeps, as plain JSON values."""
        top1 = self.evaluation.top1
        low, high = top1.interval
        return {
            "accuracy": top1.value,
            "right": top1.right,
            "count": top1.count,
            "low": low,
            "high": high,
            "baseline": self.baseline.value,
            "calibration_error": self.evaluation.calibration_error,
            "learning_curve": [
                {"photos": one.photos, "accuracy": one.accuracy.value}
                for one in self.learning_curve
            ],
        }


def validate(
    spec: ModelSpec,
    logits: NDArray[np.floating],
    truth: NDArray[np.integer],
    files: Sequence[str],
    learning_curve: Sequence[LearningCurvePoint] = (),
) -> ValidationReport:
    """Judges a model by photos that it has not learned from.

    Args:
        spec: The model; it has the classes.
        logits: float (N, classes), as the network gives them.
        truth: int (N,): the class of each.
        files: Names of the photos.
        learning_curve: The learning curve, if it was measured.
    """
    temperature = fit_temperature(logits, truth, spread_for(len(truth)))
    probabilities = softmax(logits / temperature)
    evaluator = Evaluator(spec)
    for file, row, label in zip(files, probabilities, truth, strict=True):
        evaluator.add_prediction(file, row, spec.classes[label].wnid)
    highest, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    counts = np.bincount(truth, minlength=len(spec.classes))
    return ValidationReport(
        evaluation=evaluator.evaluate(),
        baseline=Proportion(int(counts.max(initial=0)), len(truth)),
        temperature=temperature,
        unknown_below=choose_threshold(highest, is_right),
        thresholds=curve(highest, is_right),
        learning_curve=tuple(learning_curve),
    )


def choose_threshold(probability: NDArray[np.floating], is_right: NDArray[np.bool_]) -> float:
    """Returns the probability below which it is best to give no answer.

    There, the wrong answers that are not given outnumber the right ones by most.

    Args:
        probability: float (N,), of each first answer.
        is_right: bool (N,), whether it is right.

    >>> choose_threshold(np.array([0.3, 0.4, 0.6, 0.9]), np.array([False, False, True, True]))
    0.6
    """
    order = np.argsort(probability, kind="stable")
    saved = np.cumsum(np.where(is_right[order], -1, 1))
    if not len(order) or saved.max() <= 0:
        return 0.0
    next_one = int(saved.argmax()) + 1
    highest = probability[order][next_one] if next_one < len(order) else 1.0
    return min(MAX_UNKNOWN_BELOW, float(highest))


def curve(probability: NDArray[np.floating], is_right: NDArray[np.bool_]) -> tuple[Threshold, ...]:
    """Returns what each of a hundred thresholds would give."""
    found = []
    for hundredth in range(100):
        threshold = hundredth / 100
        answered = probability >= threshold
        right = float(is_right[answered].mean()) if answered.any() else 1.0
        found.append(Threshold(threshold, float(answered.mean()) if len(answered) else 0.0, right))
    return tuple(found)
