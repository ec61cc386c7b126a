"""How fast to learn: the learning-rate range test and the one-cycle policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WARM_UP, COOL_DOWN = 0.45, 0.45
"""Parts of a training in which the rate goes up and comes down; in the rest it dwindles."""

START_DIVISOR = 25.0
END_DIVISOR = 1000.0
HIGH_MOMENTUM, LOW_MOMENTUM = 0.95, 0.85

SMOOTHING = 0.95
DIVERGED = 4.0
"""A loss of so many times the best ends the range test."""


@dataclass(frozen=True, slots=True)
class ScheduleStep:
    """How a step is taken.

    Attributes:
        rate: Learning rate.
        momentum: In [0, 1).
    """

    rate: float
    momentum: float


def one_cycle(step: int, steps: int, max_rate: float) -> ScheduleStep:
    """Returns the pace of a step by the one-cycle policy (Smith 2018, arXiv 1803.09820, section 4).

    The rate rises linearly from a 25th of its maximum and falls back likewise; in the last tenth
    it goes down by three more orders of magnitude. The momentum goes the other way, from 0.95 to
    0.85 and back.

    Args:
        step: From 0.
        steps: All.
        max_rate: The highest rate.

    >>> [round(one_cycle(step, 101, 1.0).rate, 3) for step in (0, 45, 90, 100)]
    [0.04, 1.0, 0.04, 0.0]
    >>> [one_cycle(step, 101, 1.0).momentum for step in (0, 45, 90, 100)]
    [0.95, 0.85, 0.95, 0.95]
    """
    part = step / max(1, steps - 1)
    low = max_rate / START_DIVISOR
    if part <= WARM_UP + COOL_DOWN:
        height = part / WARM_UP if part <= WARM_UP else (WARM_UP + COOL_DOWN - part) / COOL_DOWN
        return ScheduleStep(
            rate=low + (max_rate - low) * height,
            momentum=HIGH_MOMENTUM - (HIGH_MOMENTUM - LOW_MOMENTUM) * height,
        )
    left = (1 - part) / (1 - WARM_UP - COOL_DOWN)
    end = low / END_DIVISOR
    return ScheduleStep(rate=end + (low - end) * left, momentum=HIGH_MOMENTUM)


def sweep(steps: int, lowest: float = 1e-5, highest: float = 1.0) -> NDArray[np.float64]:
    """Returns the rates of a range test, float64 (steps,), each the same factor over the last.

    >>> sweep(3, 0.01, 1.0).round(6).tolist()
    [0.01, 0.1, 1.0]
    """
    return np.geomspace(lowest, highest, steps)


def smooth(losses: Sequence[float], smoothing: float = SMOOTHING) -> NDArray[np.float64]:
    """Returns the exponential moving average of losses, corrected for its beginning at nothing.

    The correction is that of Adam (Kingma & Ba 2014, arXiv 1412.6980, section 3).

    Args:
        losses: Of each step.
        smoothing: Weight of what was before, in [0, 1).

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
    """What came of trying rates (Smith 2017, arXiv 1506.01186, section 3.3).

    Attributes:
        rates: float64 (N,), ascending.
        losses: float64 (N,), smoothed, at each rate.
        steepest: The rate at which the loss falls fastest, over the logarithm of the rate.
        tenth: A tenth of the rate at which the loss is lowest.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    steepest: float
    tenth: float

    @property
    def suggestion(self) -> float:
        """The rate to train with."""
        return self.tenth


def suggest_rates(rates: NDArray[np.float64], losses: Sequence[float]) -> RangeTest:
    """Reads suggestions from the losses of a range test.

    Args:
        rates: float64 (N,), ascending.
        losses: Of each step, as they came; what is not finite ends the curve.
    """
    finite = next((n for n, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    smoothed, rates = smooth(losses[:finite]), rates[:finite]
    best = int(np.argmin(smoothed))
    # The average of the first steps jumps; where it is steep there, that means nothing.
    begin = min(len(smoothed) // 10, best)
    slopes = _slopes(np.log(rates), smoothed)[begin : best + 1]
    return RangeTest(
        rates=rates,
        losses=smoothed,
        steepest=float(rates[begin + int(np.argmin(slopes))]),
        tenth=float(rates[best]) / 10,
    )


def _slopes(places: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns how steep a curve is, over stretches of a tenth of it: steps alone are noisy."""
    reach = max(1, len(values) // 20)
    before = np.maximum(np.arange(len(values)) - reach, 0)
    after = np.minimum(np.arange(len(values)) + reach, len(values) - 1)
    return (values[after] - values[before]) / np.maximum(places[after] - places[before], 1e-12)


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether a range test has seen enough."""
    smoothed = smooth(losses)
    return not math.isfinite(losses[-1]) or bool(smoothed[-1] > DIVERGED * smoothed.min())
