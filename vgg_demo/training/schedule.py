"""Learning-rate schedules: the range test and the one-cycle policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WARM_UP, COOL_DOWN = 0.45, 0.45
"""Fractions of the training steps in which the learning rate rises and falls; in the remaining
steps it is annealed to nearly zero."""

START_DIVISOR = 25.0
"""Maximum learning rate over the initial one."""

END_DIVISOR = 1000.0
"""Initial learning rate over the final one."""

HIGH_MOMENTUM, LOW_MOMENTUM = 0.95, 0.85

SMOOTHING = 0.95
"""Weight of the previous average when losses are smoothed."""

DIVERGENCE_FACTOR = 4.0
"""The range test ends when the smoothed loss exceeds its minimum by this factor."""


@dataclass(frozen=True, slots=True)
class ScheduleStep:
    """Learning rate and momentum of a training step.

    Attributes:
        learning_rate: The learning rate.
        momentum: The momentum (Adam's beta_1), in [0, 1).
    """

    learning_rate: float
    momentum: float


def one_cycle(step: int, steps: int, max_rate: float) -> ScheduleStep:
    """Returns a step of the one-cycle policy (Smith 2018, arXiv 1803.09820, section 4).

    The learning rate rises linearly from 1/25 of its maximum and falls back symmetrically; in the
    last tenth it decreases by three more orders of magnitude. The momentum cycles inversely, from
    0.95 to 0.85 and back.

    Args:
        step: Index of the step, in [0, steps).
        steps: Total number of steps.
        max_rate: Maximum learning rate.

    >>> [round(one_cycle(step, 101, 1.0).learning_rate, 3) for step in (0, 45, 90, 100)]
    [0.04, 1.0, 0.04, 0.0]
    >>> [one_cycle(step, 101, 1.0).momentum for step in (0, 45, 90, 100)]
    [0.95, 0.85, 0.95, 0.95]
    """
    progress = step / max(1, steps - 1)
    low = max_rate / START_DIVISOR
    if progress <= WARM_UP + COOL_DOWN:
        height = (
            progress / WARM_UP
            if progress <= WARM_UP
            else (WARM_UP + COOL_DOWN - progress) / COOL_DOWN
        )
        return ScheduleStep(
            learning_rate=low + (max_rate - low) * height,
            momentum=HIGH_MOMENTUM - (HIGH_MOMENTUM - LOW_MOMENTUM) * height,
        )
    remaining = (1 - progress) / (1 - WARM_UP - COOL_DOWN)
    end = low / END_DIVISOR
    return ScheduleStep(learning_rate=end + (low - end) * remaining, momentum=HIGH_MOMENTUM)


def sweep(steps: int, lowest: float = 1e-5, highest: float = 1.0) -> NDArray[np.float64]:
    """Returns the geometrically spaced learning rates of a range test, float64 (steps,).

    >>> sweep(3, 0.01, 1.0).round(6).tolist()
    [0.01, 0.1, 1.0]
    """
    return np.geomspace(lowest, highest, steps)


def smooth(losses: Sequence[float], smoothing: float = SMOOTHING) -> NDArray[np.float64]:
    """Returns the bias-corrected exponential moving average of losses, float64 (N,).

    The correction is that of Adam (Kingma & Ba 2014, arXiv 1412.6980, section 3).

    Args:
        losses: Loss of each step.
        smoothing: Weight of the previous average, in [0, 1).

    >>> smooth([2.0, 2.0, 2.0]).round(6).tolist()
    [2.0, 2.0, 2.0]
    """
    average, averages = 0.0, []
    for count, loss in enumerate(losses, start=1):
        average = smoothing * average + (1 - smoothing) * loss
        averages.append(average / (1 - smoothing**count))
    return np.array(averages)


@dataclass(frozen=True, slots=True, eq=False)
class RangeTest:
    """Result of a learning-rate range test (Smith 2017, arXiv 1506.01186, section 3.3).

    Attributes:
        rates: Learning rates, float64 (N,), ascending.
        losses: Smoothed loss at each learning rate, float64 (N,).
        steepest: Learning rate at which the loss falls fastest, on a logarithmic axis.
        tenth: A tenth of the learning rate with the lowest loss.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    steepest: float
    tenth: float

    @property
    def suggestion(self) -> float:
        """The suggested maximum learning rate."""
        return self.tenth


def suggest_rates(rates: NDArray[np.float64], losses: Sequence[float]) -> RangeTest:
    """Evaluates a learning-rate range test.

    Args:
        rates: Learning rates, float64 (N,), ascending.
        losses: Loss of each step, not smoothed. The first value that is not finite ends the curve.
    """
    end = next((n for n, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    smoothed, rates = smooth(losses[:end]), rates[:end]
    best = int(np.argmin(smoothed))
    # The average of the first steps is noisy: ignore its slopes.
    first = min(len(smoothed) // 10, best)
    slopes = _slopes(np.log(rates), smoothed)[first : best + 1]
    return RangeTest(
        rates=rates,
        losses=smoothed,
        steepest=float(rates[first + int(np.argmin(slopes))]),
        tenth=float(rates[best]) / 10,
    )


def _slopes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the slopes of a curve, averaged over windows of a tenth of it to reduce noise."""
    half_window = max(1, len(y) // 20)
    start = np.maximum(np.arange(len(y)) - half_window, 0)
    end = np.minimum(np.arange(len(y)) + half_window, len(y) - 1)
    return (y[end] - y[start]) / np.maximum(x[end] - x[start], 1e-12)


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether the losses of a range test, one per step so far, have diverged."""
    smoothed = smooth(losses)
    return not math.isfinite(losses[-1]) or bool(smoothed[-1] > DIVERGENCE_FACTOR * smoothed.min())
