"""Learning-rate schedules, compared with their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from vgg_demo.training.schedule import has_diverged, one_cycle, smooth, suggest_rates, sweep


def test_one_cycle_follows_the_paper() -> None:
    """Smith 2018: linear warm-up and cool-down, then annealing far below the initial rate."""
    steps = [one_cycle(step, 1001, 0.5) for step in range(1001)]
    rates = np.array([step.learning_rate for step in steps])
    momenta = np.array([step.momentum for step in steps])
    assert rates.argmax() == momenta.argmin() == 450
    assert rates.max() == pytest.approx(0.5)
    assert rates[0] == rates[900] == pytest.approx(0.5 / 25)
    assert rates[-1] == pytest.approx(0.5 / 25 / 1000)
    assert np.allclose(np.diff(rates[:451], 2), 0)
    assert np.allclose(np.diff(rates[450:901], 2), 0)
    assert np.allclose(np.diff(rates[901:], 2), 0)
    # The momentum mirrors the learning rate.
    assert (momenta[0], momenta[450], momenta[900]) == pytest.approx((0.95, 0.85, 0.95))
    assert np.corrcoef(rates[:901], momenta[:901])[0, 1] == pytest.approx(-1)
    assert set(momenta[901:]) == {0.95}


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_short_trainings_have_valid_learning_rates(steps: int) -> None:
    for step in range(steps):
        assert 0 < one_cycle(step, steps, 1.0).learning_rate <= 1


def test_a_sweep_is_geometric() -> None:
    rates = sweep(50, 1e-6, 10)
    assert (rates[0], rates[-1]) == pytest.approx((1e-6, 10))
    factors = rates[1:] / rates[:-1]
    assert factors == pytest.approx(factors[0])


def test_smoothing_is_a_bias_corrected_average() -> None:
    losses = [3.0, 1.0, 2.0]
    weights = np.array([0.95**2, 0.95, 1.0])
    expected = [np.average(losses[:n], weights=weights[3 - n :]) for n in (1, 2, 3)]
    assert smooth(losses, 0.95) == pytest.approx(expected)


def test_suggested_rates_match_the_shape_of_the_loss() -> None:
    """The loss falls as a logistic function of the rate's logarithm, then rises."""
    rates = sweep(400, 1e-6, 10)
    log = np.log10(rates)
    losses = 3 - 2 / (1 + np.exp(-6 * (log + 3))) + np.where(log > -1, (log + 1) ** 2 * 5, 0)
    range_test = suggest_rates(rates, losses.tolist())
    # Smoothing shifts the curve by some steps to the right.
    assert -3.1 < np.log10(range_test.steepest) < -2.5
    assert -2.1 < np.log10(range_test.tenth) < -1.6
    assert range_test.suggestion == range_test.tenth


def test_a_loss_that_is_not_finite_ends_the_curve() -> None:
    range_test = suggest_rates(sweep(10), [3, 2.5, 2, 1.5, 1, float("nan"), 1, 1, 1, 1])
    assert len(range_test.rates) == len(range_test.losses) == 5


def test_divergence_is_detected() -> None:
    assert not has_diverged([2.0, 1.0, 2.0])
    assert has_diverged([1.0] + [100.0] * 5)
    assert has_diverged([1.0, float("inf")])
