"""Validation of a custom model: accuracy, calibration and the unknown threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgg_demo.analysis.calibration import fit_temperature, laplace_smoothing
from vgg_demo.analysis.evaluation import Evaluation, Evaluator, Proportion
from vgg_demo.inference.classify import softmax
from vgg_demo.models.registry import ModelSpec

MAX_UNKNOWN_THRESHOLD = 0.9
"""Highest unknown threshold that is suggested."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Selective classification with one threshold: coverage and accuracy.

    Predictions with a lower top-1 probability are "not sure".

    Attributes:
        probability: The threshold, in [0, 1].
        coverage: Fraction of the photos at or above the threshold, in [0, 1].
        accuracy: Accuracy on these photos, in [0, 1]; 1 if there are none.
    """

    probability: float
    coverage: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class LearningCurvePoint:
    """A point of the learning curve.

    Attributes:
        photos: Number of training photos.
        accuracy: Validation accuracy.
    """

    photos: int
    accuracy: Proportion


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Metrics of a custom model on the validation set.

    Attributes:
        evaluation: Accuracy, confusions and calibration, after temperature scaling.
        baseline: Accuracy of always predicting the most frequent class.
        temperature: Temperature for temperature scaling, fitted on the same photos.
        unknown_threshold: Suggested top-1 probability below which a prediction is "not sure".
        thresholds: Coverage and accuracy for thresholds from 0 to 0.99, ascending.
        learning_curve: Validation accuracy by number of training photos; may be empty.
    """

    evaluation: Evaluation
    baseline: Proportion
    temperature: float
    unknown_threshold: float
    thresholds: tuple[Threshold, ...]
    learning_curve: tuple[LearningCurvePoint, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the metrics that a bundle records, as JSON values."""
        top1 = self.evaluation.top1
        low, high = top1.interval
        return {
            "accuracy": top1.value,
            "correct": top1.correct,
            "count": top1.count,
            "low": low,
            "high": high,
            "baseline": self.baseline.value,
            "calibration_error": self.evaluation.calibration_error,
            "learning_curve": [
                {"photos": point.photos, "accuracy": point.accuracy.value}
                for point in self.learning_curve
            ],
        }


def validate(
    spec: ModelSpec,
    logits: NDArray[np.floating],
    truth: NDArray[np.integer],
    files: Sequence[str],
    learning_curve: Sequence[LearningCurvePoint] = (),
) -> ValidationReport:
    """Computes the metrics of a model from its logits of the validation photos.

    Args:
        spec: The model.
        logits: float (N, classes), before temperature scaling.
        truth: int (N,): the true class index of each photo.
        files: Names of the photos.
        learning_curve: The learning curve, if it was measured.
    """
    temperature = fit_temperature(logits, truth, laplace_smoothing(len(truth)))
    probabilities = softmax(logits / temperature)
    evaluator = Evaluator(spec)
    for file, row, label in zip(files, probabilities, truth, strict=True):
        evaluator.add_prediction(file, row, spec.classes[label].wnid)
    top_probability = probabilities.max(axis=1)
    is_correct = probabilities.argmax(axis=1) == truth
    counts = np.bincount(truth, minlength=len(spec.classes))
    return ValidationReport(
        evaluation=evaluator.evaluate(),
        baseline=Proportion(int(counts.max(initial=0)), len(truth)),
        temperature=temperature,
        unknown_threshold=choose_threshold(top_probability, is_correct),
        thresholds=evaluate_thresholds(top_probability, is_correct),
        learning_curve=tuple(learning_curve),
    )


def choose_threshold(probability: NDArray[np.floating], is_correct: NDArray[np.bool_]) -> float:
    """Returns the best probability threshold for selective classification.

    It maximizes the number of rejected wrong predictions minus the number of rejected correct ones.

    Args:
        probability: Top-1 probabilities, float (N,).
        is_correct: Whether each top-1 prediction is correct, bool (N,).

    Returns:
        The threshold, in [0, `MAX_UNKNOWN_THRESHOLD`]; 0 if no threshold rejects more wrong than
        correct predictions.

    >>> choose_threshold(np.array([0.3, 0.4, 0.6, 0.9]), np.array([False, False, True, True]))
    0.6
    """
    order = np.argsort(probability, kind="stable")
    gain = np.cumsum(np.where(is_correct[order], -1, 1))
    if not len(order) or gain.max() <= 0:
        return 0.0
    first_accepted = int(gain.argmax()) + 1
    threshold = probability[order][first_accepted] if first_accepted < len(order) else 1.0
    return min(MAX_UNKNOWN_THRESHOLD, float(threshold))


def evaluate_thresholds(
    probability: NDArray[np.floating], is_correct: NDArray[np.bool_]
) -> tuple[Threshold, ...]:
    """Returns coverage and accuracy for the thresholds 0, 0.01, …, 0.99.

    Args:
        probability: Top-1 probabilities, float (N,).
        is_correct: Whether each top-1 prediction is correct, bool (N,).
    """
    thresholds = []
    for hundredth in range(100):
        threshold = hundredth / 100
        is_accepted = probability >= threshold
        coverage = float(is_accepted.mean()) if len(is_accepted) else 0.0
        accuracy = float(is_correct[is_accepted].mean()) if is_accepted.any() else 1.0
        thresholds.append(Threshold(threshold, coverage, accuracy))
    return tuple(thresholds)
