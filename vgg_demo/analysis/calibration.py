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


def fit_temperature(
    logits: NDArray[np.floating], truth: NDArray[np.integer], spread: float = 0.0
) -> float:
    """Returns the temperature of least cross-entropy (Guo et al. 2017, section 4.2).

    Scores divided by it give probabilities that can be taken at their word, as far as one
    number can achieve that: below 1 the network is too timid, above 1 too bold.

    Args:
        logits: float (N, classes): scores, or logarithms of probabilities.
        truth: int (N,): the right class of each.
        spread: Part of each truth that is spread over all classes, in [0, 1). Where all of a few
            answers are right, any sureness would fit them, the more the better; see
            `spread_for`.

    Returns:
        A number in [0.2, 5], to a thousandth.
    """
    # The loss is convex in 1 / temperature, so that halving the interval by its golden
    # section (Kiefer 1953) finds its only minimum.
    low, high = 1 / MAX_TEMPERATURE, MAX_TEMPERATURE
    while high / low > 1.001:
        left = high * (low / high) ** GOLDEN
        right = low * (high / low) ** GOLDEN
        losses = [
            cross_entropy(logits / temperature, truth, spread) for temperature in (left, right)
        ]
        if losses[0] <= losses[1]:
            high = right
        else:
            low = left
    return float(np.sqrt(low * high))


def spread_for(count: int) -> float:
    """Returns how much doubt so few answers leave, though they be right: 1 / (count + 2).

    It is what Laplace's rule of succession leaves for the next one to be wrong; Platt 1999
    (*Probabilistic Outputs for Support Vector Machines*, section 2.2) fits with such targets.

    >>> round(spread_for(8), 3), round(spread_for(998), 3)
    (0.1, 0.001)
    """
    return 1 / (count + 2)


def cross_entropy(
    logits: NDArray[np.floating], truth: NDArray[np.integer], spread: float = 0.0
) -> float:
    """Returns the mean cross-entropy in nats.

    Args:
        logits: float (N, classes).
        truth: int (N,).
        spread: Part of each truth that is spread over all classes, in [0, 1).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    of_truth = shifted[np.arange(len(truth)), truth]
    wanted = (1 - spread) * of_truth + spread * shifted.mean(axis=1)
    return float(np.mean(log_sum - wanted))
