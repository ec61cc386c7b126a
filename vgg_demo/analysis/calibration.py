"""Calibration: reliability bins, expected calibration error (ECE) and temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Number of reliability bins, as in Guo et al. 2017, *On Calibration of Modern Neural Networks*,
arXiv 1706.04599.
"""

MAX_TEMPERATURE = 5.0
"""Highest temperature that `fit_temperature` returns; the lowest is its reciprocal."""

GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions whose probabilities lie in one interval.

    Attributes:
        low: Lower bound of the interval, in [0, 1].
        high: Upper bound of the interval, in [0, 1].
        count: Number of predictions.
        probability: Their mean probability, in [0, 1]; 0 if the bin is empty.
        accuracy: Proportion of correct predictions, in [0, 1]; 0 if the bin is empty.
    """

    low: float
    high: float
    count: int
    probability: float
    accuracy: float


def reliability(
    probability: NDArray[np.floating], is_correct: NDArray[np.bool_], bins: int = BINS
) -> tuple[Bin, ...]:
    """Returns the bins of a reliability diagram, of equal width, in ascending order.

    Args:
        probability: float (N,) in [0, 1]: probability of each top-1 prediction.
        is_correct: bool (N,): whether it is correct.
        bins: Number of bins.
    """
    position = np.minimum((probability * bins).astype(int), bins - 1)
    return tuple(
        Bin(
            low=number / bins,
            high=(number + 1) / bins,
            count=int(inside.sum()),
            probability=float(probability[inside].mean()) if inside.any() else 0.0,
            accuracy=float(is_correct[inside].mean()) if inside.any() else 0.0,
        )
        for number in range(bins)
        for inside in [position == number]
    )


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Returns the expected calibration error, in [0, 1] (Guo et al. 2017, eq. 3).

    It is the mean absolute difference between probability and accuracy, weighted by the number of
    predictions in each bin; 0 if there are none.
    """
    total = sum(bin_.count for bin_ in bins)
    gaps = sum(bin_.count * abs(bin_.accuracy - bin_.probability) for bin_ in bins)
    return gaps / total if total else 0.0


def fit_temperature(
    logits: NDArray[np.floating], truth: NDArray[np.integer], smoothing: float = 0.0
) -> float:
    """Returns the temperature with the lowest cross-entropy (Guo et al. 2017, section 4.2).

    Temperature scaling divides the logits by it before softmax. A value above 1 means that the
    model is overconfident, a value below 1 that it is underconfident.

    Args:
        logits: float (N, classes): logits, or logarithms of probabilities.
        truth: int (N,): index of the true class of each row.
        smoothing: Label smoothing, in [0, 1). Without it, the fit on a small set without
            mistakes always returns the lowest temperature; see `laplace_smoothing`.

    Returns:
        A number in [0.2, 5], accurate to one part in a thousand.
    """
    # The loss is convex in 1 / temperature, so golden-section search (Kiefer 1953) finds its
    # only minimum.
    low, high = 1 / MAX_TEMPERATURE, MAX_TEMPERATURE
    while high / low > 1.001:
        left = high * (low / high) ** GOLDEN_RATIO
        right = low * (high / low) ** GOLDEN_RATIO
        losses = [
            cross_entropy(logits / temperature, truth, smoothing) for temperature in (left, right)
        ]
        if losses[0] <= losses[1]:
            high = right
        else:
            low = left
    return float(np.sqrt(low * high))


def laplace_smoothing(count: int) -> float:
    """Returns the label smoothing for fitting a temperature on few photos: 1 / (count + 2).

    It is the probability of a mistake after `count` correct predictions by Laplace's rule of
    succession. Platt 1999 (*Probabilistic Outputs for Support Vector Machines*, section 2.2)
    uses such targets.

    Args:
        count: Number of photos.

    >>> round(laplace_smoothing(8), 3), round(laplace_smoothing(998), 3)
    (0.1, 0.001)
    """
    return 1 / (count + 2)


def cross_entropy(
    logits: NDArray[np.floating], truth: NDArray[np.integer], smoothing: float = 0.0
) -> float:
    """Returns the mean cross-entropy in nats.

    Args:
        logits: float (N, classes).
        truth: int (N,): index of the true class of each row.
        smoothing: Label smoothing: fraction of each target that is spread evenly over all classes,
            in [0, 1).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    truth_logit = shifted[np.arange(len(truth)), truth]
    target_logit = (1 - smoothing) * truth_logit + smoothing * shifted.mean(axis=1)
    return float(np.mean(log_sum - target_logit))
