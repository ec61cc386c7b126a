"""Whether probabilities can be taken at their word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""As in Guo et al. 2017, *On Calibration of Modern Neural Networks*, arXiv 1706.04599."""


MAX_TEMPERATURE = 5.0
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same probability.

    Attributes:
        low: The lowest probability of the bin.
        high: The highest.
        count: How many answers are in it.
        probability: Their mean probability, in [0, 1]; 0 if there are none.
        accuracy: The share of them that are right, in [0, 1]; 0 if there are none.
    """

    low: float
    high: float
    count: int
    probability: float
    accuracy: float


def reliability(
    probability: NDArray[np.floating], is_right: NDArray[np.bool_], bins: int = BINS
) -> tuple[Bin, ...]:
    """Sorts answers into bins of equal width by their probability.

    Args:
        probability: float (N,), of each first answer.
        is_right: bool (N,), whether it is right.
        bins: How many.
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return tuple(
        Bin(
            low=number / bins,
            high=(number + 1) / bins,
            count=int(inside.sum()),
            probability=float(probability[inside].mean()) if inside.any() else 0.0,
            accuracy=float(is_right[inside].mean()) if inside.any() else 0.0,
        )
        for number in range(bins)
        for inside in [place == number]
    )


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Returns how far probabilities are from the truth on average (Guo et al. 2017, eq. 3)."""
    total = sum(found.count for found in bins)
    gaps = sum(found.count * abs(found.accuracy - found.probability) for found in bins)
    return gaps / total if total else 0.0


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Returns the temperature of least cross-entropy (Guo et al. 2017, section 4.2).

    Scores divided by it give probabilities that can be taken at their word, as far as one
    number can achieve that: below 1 the network is too timid, above 1 too bold.

    Args:
        logits: float (N, classes): scores, or logarithms of probabilities.
        truth: int (N,): the right class of each.

    Returns:
        A number in [0.2, 5], to a thousandth.
    """
    # The loss is convex in 1 / temperature, so that halving the interval by its golden
    # section (Kiefer 1953) finds its only minimum.
    low, high = 1 / MAX_TEMPERATURE, MAX_TEMPERATURE
    while high / low > 1.001:
        left = high * (low / high) ** GOLDEN
        right = low * (high / low) ** GOLDEN
        if cross_entropy(logits / left, truth) <= cross_entropy(logits / right, truth):
            high = right
        else:
            low = left
    return float(np.sqrt(low * high))


def cross_entropy(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Returns the mean cross-entropy in nats.

    Args:
        logits: float (N, classes).
        truth: int (N,).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_sum - shifted[np.arange(len(truth)), truth]))
