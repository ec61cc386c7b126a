"""Accuracy, confusions and calibration, compared with values computed by hand or by R."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgg_demo.analysis.calibration import (
    cross_entropy,
    expected_calibration_error,
    fit_temperature,
    laplace_smoothing,
    reliability,
)
from vgg_demo.analysis.evaluation import Evaluation, Evaluator, Proportion
from vgg_demo.inference.classify import softmax
from vgg_demo.inference.results import Classification, Seconds
from vgg_demo.models.labels import load_labels
from vgg_demo.models.registry import get_spec
from vgg_demo.weights.local import LocalWeights

CAT, DOG, FROG, ELEPHANT = "n02121620", "n02084071", "n01639765", "n02504458"


def result(file: str, **probabilities: float) -> Classification:
    """Returns a classification by Mini-VGG; classes not given share the remaining probability."""
    labels = load_labels("cifar10")
    rest = (1 - sum(probabilities.values())) / (len(labels) - len(probabilities))
    return Classification(
        file, "", get_spec("mini_vgg"), LocalWeights("", "", verified=True), "float32", "crop",
        np.array([probabilities.get(label.label, rest) for label in labels]),
        Seconds(0, 0, 0),
    )  # fmt: skip


@pytest.fixture
def evaluation() -> Evaluation:
    evaluator = Evaluator(get_spec("mini_vgg"))
    for file, wnid, probabilities in (
        ("1", CAT, {"cat": 0.9}),
        ("2", CAT, {"dog": 0.8, "cat": 0.15}),
        ("3", "n02123045", {"dog": 0.99}),  # a tabby
        ("4", DOG, {"dog": 0.6}),
        ("5", FROG, {"ship": 0.5, "truck": 0.2, "cat": 0.1, "dog": 0.1, "bird": 0.09}),
    ):
        assert evaluator.add(result(file, **probabilities), wnid)
    assert not evaluator.add(result("6", cat=1.0), ELEPHANT)  # no class for it
    return evaluator.evaluate()


def test_accuracy_and_class_scores_equal_values_computed_by_hand(evaluation: Evaluation) -> None:
    assert (evaluation.top1, evaluation.top5) == (Proportion(2, 5), Proportion(4, 5))
    cat, dog, frog = evaluation.classes
    assert [score.label.label for score in evaluation.classes] == ["cat", "dog", "frog"]
    assert (cat.top1, cat.top5, cat.precision) == (
        Proportion(1, 3),
        Proportion(3, 3),
        Proportion(1, 1),
    )
    assert (dog.top1, dog.precision) == (Proportion(1, 1), Proportion(1, 3))
    assert (frog.top5, frog.precision) == (Proportion(0, 1), Proportion(0, 0))


def test_confusions_and_mistakes_are_sorted(evaluation: Evaluation) -> None:
    first, second = evaluation.confusions
    assert (first.truth.label, first.predicted.label, first.count) == ("cat", "dog", 2)
    assert (second.truth.label, second.predicted.label, second.count) == ("frog", "ship", 1)
    assert [mistake.file for mistake in evaluation.mistakes] == ["3", "2", "5"]
    worst = evaluation.mistakes[0]
    assert worst.predicted.probability == pytest.approx(0.99)
    assert worst.truth_probability == pytest.approx(0.01 / 9)


def test_every_breed_is_correct_for_a_photo_labeled_dog() -> None:
    evaluator = Evaluator(get_spec("mobilenet_v2"))
    labels = load_labels("imagenet")
    for probabilities in ({"golden retriever": 0.5, "Labrador retriever": 0.25}, {"tabby": 0.9}):
        values = np.full(1000, (1 - sum(probabilities.values())) / (1000 - len(probabilities)))
        for label in labels:
            values[label.index] = probabilities.get(label.label, values[label.index])
        assert evaluator.add(
            replace(result("1", cat=1.0), spec=get_spec("mobilenet_v2"), probabilities=values), DOG
        )
    evaluation = evaluator.evaluate()
    assert (evaluation.top1, evaluation.top5) == (Proportion(1, 2), Proportion(1, 2))
    (score,) = evaluation.classes
    assert (score.label.label, score.precision) == ("dog", Proportion(1, 1))
    (mistake,) = evaluation.mistakes
    assert (mistake.truth.label, mistake.predicted.label) == ("dog", "tabby")
    assert 0.01 < mistake.truth_probability < 0.02  # sum over 118 breeds
    assert evaluation.temperature == 1  # the breed is unknown, so there is nothing to fit


def test_to_dict_limits_confusions_and_mistakes(evaluation: Evaluation) -> None:
    document = evaluation.to_dict(limit=1)
    assert document["top1"] | {"low": 0, "high": 0} == {
        "correct": 2, "count": 5, "value": 0.4, "low": 0, "high": 0,
    }  # fmt: skip
    assert [len(document[key]) for key in ("classes", "confusions", "mistakes")] == [3, 1, 1]
    assert document["classes"][2]["precision"] is None
    assert sum(bin_["count"] for bin_ in document["reliability"]) == 5


def test_evaluation_without_photos_is_empty() -> None:
    empty = Evaluator(get_spec("mini_vgg")).evaluate()
    assert (empty.top1, empty.classes, empty.mistakes) == (Proportion(0, 0), (), ())
    assert (empty.calibration_error, empty.temperature) == (0.0, 1.0)
    assert Proportion(0, 0).interval == (0.0, 1.0)


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    # R's binom::binom.wilson(x, n), to four digits
    [(0, 10, 0.0, 0.2775), (8, 10, 0.4902, 0.9433), (81, 263, 0.2553, 0.3662), (1, 1, 0.2065, 1)],
)
def test_wilson_interval_equals_r(correct: int, count: int, low: float, high: float) -> None:
    assert Proportion(correct, count).interval == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_contains_the_proportion(counts: tuple[int, int]) -> None:
    proportion = Proportion(*counts)
    low, high = proportion.interval
    assert 0 <= low <= proportion.value <= high <= 1
    other_low, other_high = Proportion(
        proportion.count - proportion.correct, proportion.count
    ).interval
    assert (1 - other_high, 1 - other_low) == pytest.approx((low, high))


def test_reliability_bins_and_calibration_error_equal_values_computed_by_hand() -> None:
    probability = np.array([0.05, 0.31, 0.35, 0.999, 1.0])
    bins = reliability(probability, np.array([False, True, False, True, True]), bins=10)
    assert [bin_.count for bin_ in bins] == [1, 0, 0, 2, 0, 0, 0, 0, 0, 2]
    assert (bins[3].low, bins[3].high, bins[3].accuracy) == (0.3, 0.4, 0.5)
    assert bins[3].probability == pytest.approx(0.33)
    expected = (1 * 0.05 + 2 * 0.17 + 2 * 0.0005) / 5
    assert expected_calibration_error(bins) == pytest.approx(expected)


@pytest.mark.parametrize("count", [6, 60])
def test_smoothing_limits_confidence_after_few_correct_predictions(count: int) -> None:
    """If all predictions are correct, the best unsmoothed fit is the lowest temperature."""
    truth = np.arange(count) % 3
    logits = 2.0 * np.eye(3)[truth]
    unsmoothed = fit_temperature(logits, truth)
    smoothed = fit_temperature(logits, truth, laplace_smoothing(count))
    probability = np.exp(2 / smoothed) / (np.exp(2 / smoothed) + 2)
    assert unsmoothed == pytest.approx(0.2, rel=0.01)  # the lowest temperature
    assert probability == pytest.approx(1 - 2 / 3 / (count + 2), abs=0.01)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.3])
def test_fit_recovers_a_known_temperature(temperature: float) -> None:
    """The true classes are sampled from a model that is over- or underconfident by this factor."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 5)) * 3
    cumulative = softmax(logits).cumsum(axis=1)
    truth = (rng.random((20_000, 1)) > cumulative).sum(axis=1).clip(max=4)
    assert fit_temperature(logits * temperature, truth) == pytest.approx(temperature, rel=0.05)


def test_cross_entropy_does_not_overflow() -> None:
    assert cross_entropy(np.array([[1000.0, 0.0]]), np.array([0])) == 0
    assert cross_entropy(np.array([[1000.0, 0.0]]), np.array([1])) == 1000
