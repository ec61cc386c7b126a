"""Consensus, average of the models, and distances between models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vgg_demo.analysis.agreement import (
    aggregate_outcomes,
    average_models,
    find_consensus,
    jensen_shannon_distance,
    pairwise_distances,
)
from vgg_demo.inference.classify import softmax
from vgg_demo.inference.results import Classification, Seconds
from vgg_demo.models.labels import load_labels
from vgg_demo.models.registry import get_spec
from vgg_demo.weights.local import LocalWeights

IMAGENET = load_labels("imagenet")
BEAGLE, FOXHOUND, PUG, TABBY, AIRLINER, TEAPOT = 162, 167, 254, 281, 404, 849
FIVE = ("vgg16", "vgg19", "resnet50", "inception_v3", "xception")

scores = hnp.arrays(np.float64, 10, elements=st.floats(-800, 800))


def classification(model: str, index: int, probability: float = 0.95) -> Classification:
    """Returns a classification in which one class has a high probability."""
    classes = len(load_labels(get_spec(model).labels))
    probabilities = np.full(classes, (1 - probability) / (classes - 1))
    probabilities[index] = probability
    return Classification(
        file="",
        sha256="",
        spec=get_spec(model),
        weights=LocalWeights("", "", verified=False),
        precision="float32",
        resize="crop",
        probabilities=probabilities,
        seconds=Seconds(0, 0, 0),
    )


def consensus_of(winners: Sequence[int]) -> list[tuple[str, int]]:
    results = [classification(model, winner) for model, winner in zip(FIVE, winners, strict=False)]
    return [(consensus.label, len(consensus.models)) for consensus in find_consensus(results)]


def test_the_indices_in_this_file_are_the_expected_classes() -> None:
    indices = (BEAGLE, FOXHOUND, PUG, TABBY, AIRLINER, TEAPOT)
    assert [IMAGENET[index].label for index in indices] == [
        "beagle", "English foxhound", "pug", "tabby", "airliner", "teapot",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("winners", "expected"),
    [
        ([BEAGLE] * 5, [("beagle", 5)]),
        ([BEAGLE, BEAGLE, FOXHOUND, PUG, PUG], [("dog", 5), ("hound", 3)]),
        ([BEAGLE] * 3 + [PUG, TABBY], [("domestic animal", 5), ("dog", 4), ("beagle", 3)]),
        ([BEAGLE, BEAGLE, PUG, PUG, TABBY], [("domestic animal", 5), ("dog", 4)]),
        ([BEAGLE, PUG], [("dog", 2)]),
        ([BEAGLE] * 4 + [TEAPOT], [("beagle", 4)]),
        ([BEAGLE, TEAPOT], []),
        ([BEAGLE], []),
        ([], []),
    ],
)
def test_consensus_gets_more_specific_as_majorities_shrink(
    winners: list[int], expected: list[tuple[str, int]]
) -> None:
    assert consensus_of(winners) == expected


def test_consensus_names_the_agreeing_models() -> None:
    results = [
        classification("vgg16", BEAGLE),
        classification("vgg19", TABBY),
        classification("xception", BEAGLE),
    ]
    first, second = find_consensus(results)
    assert first.models == ("vgg16", "vgg19", "xception")
    assert second.models == ("vgg16", "xception")
    assert second.definition.startswith("a small short-legged")


def test_models_with_different_classes_agree_through_wordnet() -> None:
    airplane, ship = 0, 8
    (consensus,) = find_consensus(
        [classification("vgg16", AIRLINER), classification("mini_vgg", airplane)]
    )
    assert consensus.label == "airplane"
    (consensus,) = find_consensus(
        [classification("vgg16", AIRLINER), classification("mini_vgg", ship)]
    )
    assert consensus.label == "craft"


def test_models_with_different_classes_are_compared_over_the_fewer_classes() -> None:
    airplane, ship = 0, 8
    results = [
        classification("vgg16", AIRLINER, 1.0),
        classification("mini_vgg", airplane, 1.0),
        classification("mini_vgg", ship, 1.0),
        classification("vgg19", TEAPOT, 1.0),
    ]
    assert pairwise_distances(results).tolist() == [
        [0.0, 0.0, 1.0, 1.0],
        [0.0, 0.0, 1.0, 1.0],
        [1.0, 1.0, 0.0, 1.0],
        [1.0, 1.0, 1.0, 0.0],
    ]
    assert pairwise_distances([]).shape == (0, 0)


def test_average_uses_only_models_with_the_same_classes() -> None:
    ensemble = average_models(
        [
            classification("vgg16", BEAGLE, 0.9),
            classification("mini_vgg", 5, 0.9),
            classification("vgg19", PUG, 0.7),
        ]
    )
    assert ensemble is not None
    assert ensemble.models == ("vgg16", "vgg19")
    assert ensemble.probabilities.sum() == pytest.approx(1)
    first, second = ensemble.predictions(2)
    assert (first.label, second.label) == ("beagle", "pug")
    assert first.probability == pytest.approx(0.45, abs=1e-3)
    assert ensemble.verdict().group.label == "dog"


@pytest.mark.parametrize("models", [[], ["vgg16"], ["vgg16", "mini_vgg"]])
def test_average_of_fewer_than_two_models_is_none(models: list[str]) -> None:
    assert average_models([classification(model, 0) for model in models]) is None


@given(scores, scores)
def test_distance_is_symmetric_and_bounded(first: np.ndarray, second: np.ndarray) -> None:
    p, q = softmax(first), softmax(second)
    distance = jensen_shannon_distance(p, q)
    assert 0 <= distance <= 1
    assert distance == jensen_shannon_distance(q, p)
    assert jensen_shannon_distance(p, p) == 0


@given(scores, scores, scores)
def test_distance_obeys_the_triangle_inequality(
    first: np.ndarray, second: np.ndarray, third: np.ndarray
) -> None:
    p, q, r = softmax(first), softmax(second), softmax(third)
    detour = jensen_shannon_distance(p, r) + jensen_shannon_distance(r, q)
    assert jensen_shannon_distance(p, q) <= detour + 1e-6


@given(hnp.arrays(np.float64, 1000, elements=st.floats(-40, 40)))
def test_aggregated_probabilities_sum_to_one(scores: np.ndarray) -> None:
    outcomes = load_labels("cifar10")
    aggregated = aggregate_outcomes(outcomes, softmax(scores), IMAGENET)
    assert aggregated.shape == (11,)
    assert (aggregated >= 0).all()
    assert aggregated.sum() == pytest.approx(1)


def test_distance_equals_a_value_computed_by_hand() -> None:
    """Definition: H(1/2, 1/2) − H(3/4, 1/4)/2 − …, for p = (1, 0) and q = (1/2, 1/2)."""
    mean_entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    expected = np.sqrt(mean_entropy - (0 + 1) / 2)
    assert jensen_shannon_distance(np.array([1.0, 0]), np.array([0.5, 0.5])) == pytest.approx(
        expected
    )
