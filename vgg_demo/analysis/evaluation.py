"""Evaluation of a model on labeled photos: accuracy, confusions, mistakes and calibration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgg_demo.analysis.calibration import (
    Bin,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from vgg_demo.analysis.ground_truth import GroundTruth, find_ground_truth
from vgg_demo.inference.results import Classification, Prediction
from vgg_demo.models.labels import ClassLabel
from vgg_demo.models.registry import ModelSpec

WILSON_Z = 1.959964
"""Two-sided 95% quantile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Proportion:
    """A proportion of correct predictions.

    Attributes:
        correct: Number of correct predictions.
        count: Number of all predictions.
    """

    correct: int
    count: int

    @property
    def value(self) -> float:
        """The proportion, in [0, 1]; 0 if `count` is 0."""
        return self.correct / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson confidence interval, in [0, 1] (Wilson 1927, JASA 22, 209–212).

        >>> [round(end, 3) for end in Proportion(8, 10).interval]
        [0.49, 0.943]
        """
        if not self.count:
            return 0.0, 1.0
        n, p, z = self.count, self.value, WILSON_Z
        center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        margin = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        # If all or none are correct, one end is exactly 1 or 0, except for rounding.
        return min(p, max(0.0, center - margin)), max(p, min(1.0, center + margin))


@dataclass(frozen=True, slots=True)
class ClassScore:
    """The scores of a model on one class.

    Attributes:
        label: The class.
        top1: Recall: top-1 accuracy on photos of this class.
        top5: Top-5 accuracy on photos of this class.
        precision: Proportion of top-1 predictions of this class that are correct.
    """

    label: ClassLabel
    top1: Proportion
    top5: Proportion
    precision: Proportion


@dataclass(frozen=True, slots=True)
class Confusion:
    """An off-diagonal entry of the confusion matrix.

    Attributes:
        truth: The true class.
        predicted: The predicted class.
        count: Number of photos.
    """

    truth: ClassLabel
    predicted: ClassLabel
    count: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """A photo whose top-1 prediction is wrong.

    Attributes:
        index: Position of the photo among the evaluated photos, from 0.
        file: Name of the photo.
        truth: The true class.
        predicted: The top-1 prediction.
        truth_probability: Probability of the true class, in [0, 1].
    """

    index: int
    file: str
    truth: ClassLabel
    predicted: Prediction
    truth_probability: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of a model on labeled photos.

    Attributes:
        model: Name of the model.
        top1: Top-1 accuracy.
        top5: Top-5 accuracy.
        classes: Scores of each class that occurs, in the order of the model's output.
        confusions: Confused pairs of classes, the most frequent first.
        mistakes: Wrong top-1 predictions, the most probable first.
        bins: Bins of the reliability diagram.
        calibration_error: Expected calibration error (ECE), in [0, 1].
        temperature: Temperature that fits these photos best; see `fit_temperature`.
    """

    model: str
    top1: Proportion
    top5: Proportion
    classes: tuple[ClassScore, ...]
    confusions: tuple[Confusion, ...]
    mistakes: tuple[Mistake, ...]
    bins: tuple[Bin, ...]
    calibration_error: float
    temperature: float

    def to_dict(self, limit: int = 20) -> dict[str, Any]:
        """Returns the evaluation as plain JSON values.

        Args:
            limit: Maximum number of confusions, and of mistakes.
        """
        return {
            "model": self.model,
            "top1": _proportion_to_dict(self.top1),
            "top5": _proportion_to_dict(self.top5),
            "calibration_error": self.calibration_error,
            "temperature": self.temperature,
            "reliability": [asdict(bin_) for bin_ in self.bins],
            "classes": [
                {
                    "wnid": score.label.wnid,
                    "label": score.label.label,
                    "count": score.top1.count,
                    "top1": score.top1.value,
                    "top5": score.top5.value,
                    "precision": score.precision.value if score.precision.count else None,
                }
                for score in self.classes
            ],
            "confusions": [
                {
                    "truth": confusion.truth.label,
                    "truth_wnid": confusion.truth.wnid,
                    "predicted": confusion.predicted.label,
                    "predicted_wnid": confusion.predicted.wnid,
                    "count": confusion.count,
                }
                for confusion in self.confusions[:limit]
            ],
            "mistakes": [
                {
                    "file": mistake.file,
                    "truth": mistake.truth.label,
                    "predicted": mistake.predicted.label,
                    "probability": mistake.predicted.probability,
                    "truth_probability": mistake.truth_probability,
                }
                for mistake in self.mistakes[:limit]
            ],
        }


def _proportion_to_dict(proportion: Proportion) -> dict[str, Any]:
    low, high = proportion.interval
    return {
        "correct": proportion.correct,
        "count": proportion.count,
        "value": proportion.value,
        "low": low,
        "high": high,
    }


class Evaluator:
    """Collects the predictions of one model on labeled photos.

    It stores all probabilities as float32: four bytes per class and photo.

    Attributes:
        spec: The model.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._labels = spec.classes
        self._files: list[str] = []
        self._truth: list[GroundTruth] = []
        self._predicted: list[int] = []
        self._truth_rank: list[int] = []
        self._probabilities: list[NDArray[np.float32]] = []

    def add(self, result: Classification, wnid: str) -> bool:
        """Adds the prediction for a labeled photo.

        Args:
            result: The prediction.
            wnid: WordNet ID of the true class, or of a more general synset.

        Returns:
            Whether the model has a class for it; if not, the photo is not evaluated.
        """
        return self.add_prediction(result.file, result.probabilities, wnid)

    def add_prediction(self, file: str, probabilities: NDArray[np.floating], wnid: str) -> bool:
        """Like `add`, with the name of the photo and its probabilities, float (classes,)."""
        truth = find_ground_truth(wnid, self._labels)
        if truth is None:
            return False
        ranked = np.argsort(-probabilities, kind="stable")
        self._predicted.append(int(ranked[0]))
        self._truth_rank.append(int(np.flatnonzero(np.isin(ranked, truth.indices))[0]))
        self._files.append(file)
        self._truth.append(truth)
        self._probabilities.append(probabilities.astype(np.float32))
        return True

    @property
    def count(self) -> int:
        """Number of photos added so far whose true class the model has."""
        return len(self._truth)

    def evaluate(self) -> Evaluation:
        """Returns the evaluation of all photos added so far."""
        rank = np.array(self._truth_rank, dtype=int)
        probabilities = np.array(self._probabilities).reshape(len(rank), len(self._labels))
        truth_probability = np.array(
            [
                row[list(truth.indices)].sum()
                for row, truth in zip(probabilities, self._truth, strict=True)
            ]
        )
        bins = reliability(probabilities.max(axis=1, initial=0), rank == 0)
        return Evaluation(
            model=self.spec.name,
            top1=_proportion(rank == 0),
            top5=_proportion(rank < 5),
            classes=self._class_scores(rank),
            confusions=self._confusions(),
            mistakes=self._mistakes(probabilities, truth_probability),
            bins=bins,
            calibration_error=expected_calibration_error(bins),
            temperature=_temperature(probabilities, self._truth),
        )

    def _class_scores(self, rank: NDArray[np.integer]) -> tuple[ClassScore, ...]:
        predicted = np.array(self._predicted, dtype=int)
        number_of = {truth: number for number, truth in enumerate(dict.fromkeys(self._truth))}
        numbers = np.array([number_of[truth] for truth in self._truth], dtype=int)
        return tuple(
            ClassScore(
                truth.label,
                _proportion(rank[numbers == number_of[truth]] == 0),
                _proportion(rank[numbers == number_of[truth]] < 5),
                _proportion(rank[np.isin(predicted, truth.indices)] == 0),
            )
            for truth in sorted(number_of, key=lambda truth: truth.indices)
        )

    def _confusions(self) -> tuple[Confusion, ...]:
        pairs = Counter(zip(self._truth, self._predicted, strict=True))
        return tuple(
            Confusion(truth.label, self._labels[predicted], count)
            for (truth, predicted), count in pairs.most_common()
            if predicted not in truth.indices
        )

    def _mistakes(
        self, probabilities: NDArray[np.float32], truth_probability: NDArray[np.floating]
    ) -> tuple[Mistake, ...]:
        highest = probabilities.max(axis=1, initial=0)
        wrong = np.flatnonzero(np.array(self._truth_rank, dtype=int) > 0)
        worst_first = wrong[np.argsort(-highest[wrong], kind="stable")]
        return tuple(
            Mistake(
                int(index),
                self._files[index],
                self._truth[index].label,
                Prediction(
                    rank=1,
                    index=self._predicted[index],
                    wnid=self._labels[self._predicted[index]].wnid,
                    label=self._labels[self._predicted[index]].label,
                    probability=float(highest[index]),
                ),
                float(truth_probability[index]),
            )
            for index in worst_first
        )


def _proportion(is_correct: NDArray[np.bool_]) -> Proportion:
    return Proportion(int(is_correct.sum()), len(is_correct))


def _temperature(probabilities: NDArray[np.float32], truth: Sequence[GroundTruth]) -> float:
    """Returns the temperature fitted on the photos with a single correct class; 1 if none."""
    exact = [index for index, entry in enumerate(truth) if len(entry.indices) == 1]
    if not exact:
        return 1.0
    smallest = np.finfo(np.float32).tiny  # probabilities may underflow to 0
    logits = np.log(np.maximum(probabilities[exact], smallest))
    return fit_temperature(logits, np.array([truth[index].indices[0] for index in exact]))
