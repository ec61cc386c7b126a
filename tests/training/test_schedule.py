"""Learning rates, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from vgg_demo.training.schedule import has_diverged, one_cycle, smooth, suggest_rates, sweep


def test_one_cycle_is_smiths() -> None:
    """Smith 2018: up and down in straight lines, then far below where it began."""
    paces = [one_cycle(step, 1001, 0.5) for step in range(1001)]
    rates, momenta = np.array([p.rate for p in paces]), np.array([p.momentum for p in paces])
    assert rates.argmax() == momenta.argmin() == 450
    assert rates.max() == pytest.approx(0.5)
    assert rates[0] == rates[900] == pytest.approx(0.5 / 25)
    assert rates[-1] == pytest.approx(0.5 / 25 / 1000)
    assert np.allclose(np.diff(rates[:451], 2), 0)
    assert np.allclose(np.diff(rates[450:901], 2), 0)
    assert np.allclose(np.diff(rates[901:], 2), 0)
    # The momentum is its mirror image.
    assert (momenta[0], momenta[450], momenta[900]) == pytest.approx((0.95, 0.85, 0.95))
    assert np.corrcoef(rates[:901], momenta[:901])[0, 1] == pytest.approx(-1)
    assert set(momenta[901:]) == {0.95}


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_short_trainings_have_sensible_rates(steps: int) -> None:
    for step in range(steps):
        assert 0 < one_cycle(step, steps, 1.0).rate <= 1


def test_a_sweep_grows_by_one_factor() -> None:
    rates = sweep(50, 1e-6, 10)
    assert (rates[0], rates[-1]) == pytest.approx((1e-6, 10))
    factors = rates[1:] / rates[:-1]
    assert factors == pytest.approx(factors[0])


def test_smoothing_is_adams_average() -> None:
    losses = [3.0, 1.0, 2.0]
    weights = np.array([0.95**2, 0.95, 1.0])
    expected = [np.average(losses[:n], weights=weights[3 - n :]) for n in (1, 2, 3)]
    assert smooth(losses, 0.95) == pytest.approx(expected)


def test_suggestions_are_where_they_should_be() -> None:
    """A loss that falls as a logistic curve of the rate's logarithm and then goes up."""
    rates = sweep(400, 1e-6, 10)
    log = np.log10(rates)
    losses = 3 - 2 / (1 + np.exp(-6 * (log + 3))) + np.where(log > -1, (log + 1) ** 2 * 5, 0)
    found = suggest_rates(rates, losses.tolist())
    # Smoothing shifts a curve by some steps to the right.
    assert -3.1 < np.log10(found.steepest) < -2.5
    assert -2.1 < np.log10(found.tenth) < -1.6
    assert found.suggestion == found.tenth


def test_what_is_no_number_ends_the_curve() -> None:
    found = suggest_rates(sweep(10), [3, 2.5, 2, 1.5, 1, float("nan"), 1, 1, 1, 1])
    assert len(found.rates) == len(found.losses) == 5


def test_divergence_is_noticed() -> None:
    assert not has_diverged([2.0, 1.0, 2.0])
    assert has_diverged([1.0] + [100.0] * 5)
    assert has_diverged([1.0, float("inf")])
