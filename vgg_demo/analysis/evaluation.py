"""How often models are right where the truth is known."""

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
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True, slots=True)
class Proportion:
    """How many of some were right.

    Attributes:
        right: Of them.
        count: All.
    """

    right: int
    count: int

    @property
    def value(self) -> float:
        """In [0, 1]; 0 of nothing."""
        return self.right / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share is, in 95 of 100 cases (Wilson 1927, JASA 22, 209–212).

        >>> [round(end, 3) for end in Proportion(8, 10).interval]
        [0.49, 0.943]
        """
        if not self.count:
            return 0.0, 1.0
        n, p, z = self.count, self.value, WILSON_Z
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        reach = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        # Where all or none are right an end is 1 or 0, but for the last digit.
        return min(p, max(0.0, middle - reach)), max(p, min(1.0, middle + reach))


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How a model does on one class.

    Attributes:
        label: The class.
        top1: How often it was the first answer where it was the truth.
        top5: How often it was among the first five.
        precision: How often it was the truth where it was the first answer.
    """

    label: ClassLabel
    top1: Proportion
    top5: Proportion
    precision: Proportion


@dataclass(frozen=True, slots=True)
class Confusion:
    """One class taken for another.

    Attributes:
        truth: What it is.
        answer: What it was taken for.
        count: How often.
    """

    truth: ClassLabel
    answer: ClassLabel
    count: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """A photo whose first answer is wrong.

    Attributes:
        place: Which of the photos that count it is, from 0.
        file: Its name.
        truth: What is on it.
        answer: The first answer.
        truth_probability: What the model gave the truth.
    """

    place: int
    file: str
    truth: ClassLabel
    answer: Prediction
    truth_probability: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How right a model is.

    Attributes:
        model: Its name.
        top1: How often the first answer is right.
        top5: How often one of the first five is.
        classes: How it does on each class that occurs, in the order of its output.
        confusions: What it takes for what, the most frequent first.
        mistakes: Wrong first answers, the most probable first.
        bins: How right answers of some probability are.
        calibration_error: How far the probabilities are from that on average.
        temperature: The one that fits these very photos best.
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

    def to_dict(self, most: int = 20) -> dict[str, Any]:
        """Returns the evaluation as plain JSON values, with so many confusions and mistakes."""
        return {
            "model": self.model,
            "top1": _proportion_to_dict(self.top1),
            "top5": _proportion_to_dict(self.top5),
            "calibration_error": self.calibration_error,
            "temperature": self.temperature,
            "reliability": [asdict(found) for found in self.bins],
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
                    "truth": found.truth.label,
                    "truth_wnid": found.truth.wnid,
                    "answer": found.answer.label,
                    "answer_wnid": found.answer.wnid,
                    "count": found.count,
                }
                for found in self.confusions[:most]
            ],
            "mistakes": [
                {
                    "file": found.file,
                    "truth": found.truth.label,
                    "answer": found.answer.label,
                    "probability": found.answer.probability,
                    "truth_probability": found.truth_probability,
                }
                for found in self.mistakes[:most]
            ],
        }


def _proportion_to_dict(proportion: Proportion) -> dict[str, Any]:
    low, high = proportion.interval
    return {
        "right": proportion.right,
        "count": proportion.count,
        "value": proportion.value,
        "low": low,
        "high": high,
    }


class Evaluator:
    """Counts how right one model is, photo by photo. Keeps four bytes for each class of each."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._labels = spec.classes
        self._files: list[str] = []
        self._truth: list[GroundTruth] = []
        self._first: list[int] = []
        self._rank: list[int] = []
        self._probabilities: list[NDArray[np.float32]] = []

    def add(self, result: Classification, wnid: str) -> bool:
        """Adds a photo that shows a thing. Returns whether the model has a class for it."""
        return self.add_prediction(result.file, result.probabilities, wnid)

    def add_prediction(self, file: str, probabilities: NDArray[np.floating], wnid: str) -> bool:
        """As `add`, by the probabilities alone: float (classes,)."""
        truth = find_ground_truth(wnid, self._labels)
        if truth is None:
            return False
        best = np.argsort(-probabilities, kind="stable")
        self._first.append(int(best[0]))
        self._rank.append(int(np.flatnonzero(np.isin(best, truth.indices))[0]))
        self._files.append(file)
        self._truth.append(truth)
        self._probabilities.append(probabilities.astype(np.float32))
        return True

    @property
    def count(self) -> int:
        """How many photos were added."""
        return len(self._truth)

    def evaluate(self) -> Evaluation:
        """Returns how right the model was on all photos so far."""
        rank = np.array(self._rank, dtype=int)
        probabilities = np.array(self._probabilities).reshape(len(rank), len(self._labels))
        of_truth = np.array(
            [probabilities[place, list(one.indices)].sum() for place, one in enumerate(self._truth)]
        )
        bins = reliability(probabilities.max(axis=1, initial=0), rank == 0)
        return Evaluation(
            model=self.spec.name,
            top1=_proportion(rank == 0),
            top5=_proportion(rank < 5),
            classes=self._classes(rank),
            confusions=self._confusions(),
            mistakes=self._mistakes(probabilities, of_truth),
            bins=bins,
            calibration_error=expected_calibration_error(bins),
            temperature=_temperature(probabilities, self._truth),
        )

    def _classes(self, rank: NDArray[np.integer]) -> tuple[ClassScore, ...]:
        first = np.array(self._first, dtype=int)
        place = {truth: number for number, truth in enumerate(dict.fromkeys(self._truth))}
        truths = np.array([place[truth] for truth in self._truth], dtype=int)
        return tuple(
            ClassScore(
                truth.label,
                _proportion(rank[truths == place[truth]] == 0),
                _proportion(rank[truths == place[truth]] < 5),
                _proportion(rank[np.isin(first, truth.indices)] == 0),
            )
            for truth in sorted(place, key=lambda truth: truth.indices)
        )

    def _confusions(self) -> tuple[Confusion, ...]:
        pairs = Counter(zip(self._truth, self._first, strict=True))
        return tuple(
            Confusion(truth.label, self._labels[answer], count)
            for (truth, answer), count in pairs.most_common()
            if answer not in truth.indices
        )

    def _mistakes(
        self, probabilities: NDArray[np.float32], of_truth: NDArray[np.floating]
    ) -> tuple[Mistake, ...]:
        highest = probabilities.max(axis=1, initial=0)
        wrong = np.flatnonzero(np.array(self._rank, dtype=int) > 0)
        worst = wrong[np.argsort(-highest[wrong], kind="stable")]
        return tuple(
            Mistake(
                int(place),
                self._files[place],
                self._truth[place].label,
                Prediction(
                    rank=1,
                    index=self._first[place],
                    wnid=self._labels[self._first[place]].wnid,
                    label=self._labels[self._first[place]].label,
                    probability=float(highest[place]),
                ),
                float(of_truth[place]),
            )
            for place in worst
        )


def _proportion(is_right: NDArray[np.bool_]) -> Proportion:
    return Proportion(int(is_right.sum()), len(is_right))


def _temperature(probabilities: NDArray[np.float32], truth: Sequence[GroundTruth]) -> float:
    """Fits a temperature on the photos whose truth is one class; 1 where there are none."""
    exact = [place for place, ground_truth in enumerate(truth) if len(ground_truth.indices) == 1]
    if not exact:
        return 1.0
    smallest = np.finfo(np.float32).tiny  # a probability too small for its number format
    logits = np.log(np.maximum(probabilities[exact], smallest))
    return fit_temperature(logits, np.array([truth[place].indices[0] for place in exact]))
