"""Verdicts: the most specific group, certainty and wording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vgg_demo.analysis.verdict import (
    GROUP_THRESHOLD,
    MAX_GROUP_SHARE,
    describe_classes,
    headline,
    interpret_probabilities,
    measure_certainty,
    most_specific_group,
    one_line,
)
from vgg_demo.inference.classify import softmax
from vgg_demo.models.custom import CustomModel, FeatureLayer, custom_classes
from vgg_demo.models.labels import ancestors, load_labels
from vgg_demo.models.registry import get_spec

IMAGENET = load_labels("imagenet")
CIFAR10 = load_labels("cifar10")
TABBY, TIGER_CAT, PERSIAN_CAT, EGYPTIAN_CAT = 281, 282, 283, 285

logits = hnp.arrays(np.float64, 1000, elements=st.floats(-40, 40))


def probabilities_with(**given: float) -> np.ndarray:
    """Returns probabilities of the ImageNet classes: some by index, the rest uniform."""
    probabilities = np.full(1000, (1 - sum(given.values())) / (1000 - len(given)))
    for index, probability in given.items():
        probabilities[int(index.removeprefix("c"))] = probability
    return probabilities


def test_probabilities_of_cat_breeds_add_up_to_a_domestic_cat() -> None:
    group = most_specific_group(probabilities_with(c281=0.62, c282=0.2, c285=0.15), IMAGENET)
    assert group is not None
    assert group.label == "domestic cat"
    assert group.probability == pytest.approx(0.97, abs=0.001)


def test_a_single_probable_class_is_its_own_group() -> None:
    group = most_specific_group(probabilities_with(c281=0.9), IMAGENET)
    assert group is not None
    assert (group.label, group.classes) == ("tabby", 1)


def test_uniform_probabilities_have_no_group() -> None:
    assert most_specific_group(np.full(1000, 1e-3), IMAGENET) is None


def test_a_common_name_replaces_a_technical_one() -> None:
    placentals = [label.index for label in IMAGENET if "n01886756" in ancestors(label.wnid)]
    probabilities = np.zeros(1000)
    probabilities[placentals] = 1 / len(placentals)
    group = most_specific_group(probabilities, IMAGENET)
    assert group is not None
    assert group.label == "mammal"


def test_groups_work_for_ten_classes() -> None:
    probabilities = np.array([0.02, 0.48, 0, 0, 0, 0, 0, 0, 0, 0.5])
    group = most_specific_group(probabilities, CIFAR10)
    assert group is not None
    assert group.label == "motor vehicle"


@given(logits)
def test_a_group_always_reaches_the_threshold(scores: np.ndarray) -> None:
    probabilities = softmax(scores)
    group = most_specific_group(probabilities, IMAGENET)
    if group is not None:
        indices = [label.index for label in IMAGENET if group.wnid in ancestors(label.wnid)]
        assert len(indices) == group.classes <= MAX_GROUP_SHARE * 1000
        assert probabilities[indices].sum() == pytest.approx(group.probability)
        assert group.probability >= GROUP_THRESHOLD


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"c281": 0.9}, "A tabby, 90%"),
        (
            {"c281": 0.62, "c282": 0.2, "c285": 0.15},
            "A domestic cat, 97%; most likely a tabby, 62%",
        ),
        (
            {"c281": 0.42, "c282": 0.4, "c285": 0.15},
            "A domestic cat, 97%; not sure which one, perhaps a tabby, 42%",
        ),
        ({"c281": 0.3}, "Not sure – perhaps a tabby, 30%"),
    ],
    ids=["class", "group", "not sure which", "not sure"],
)
def test_verdict_is_worded_by_group_and_certainty(given: dict[str, float], words: str) -> None:
    verdict = interpret_probabilities(probabilities_with(**given), IMAGENET)
    assert one_line(verdict) == words
    first, second = headline(verdict)
    assert words.startswith(first)
    assert words.endswith(second)


def test_classes_are_listed_only_for_a_model_with_few_classes() -> None:
    assert "has only 10 classes: airplane, automobile, bird" in describe_classes(
        get_spec("mini_vgg")
    )
    assert describe_classes(get_spec("vgg16")) == ""


@given(logits)
def test_the_winner_belongs_to_the_group(scores: np.ndarray) -> None:
    probabilities = softmax(scores)
    verdict = interpret_probabilities(probabilities, IMAGENET)
    if verdict.group is None:
        assert verdict.probability == probabilities.max()
    else:
        assert verdict.group.wnid in ancestors(verdict.winner.wnid)
        assert verdict.probability <= verdict.group.probability


@given(logits)
def test_margin_and_effective_classes_are_in_range(scores: np.ndarray) -> None:
    certainty = measure_certainty(softmax(scores))
    assert 0 <= certainty.margin <= 1
    assert 0.999 <= certainty.effective_classes <= 1000.001


@given(logits)
def test_softmax_sums_to_one(scores: np.ndarray) -> None:
    probabilities = softmax(scores)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities >= 0).all()
    assert probabilities[np.argmax(scores)] == probabilities.max()


@pytest.mark.parametrize(
    ("probabilities", "sure"),
    [
        ([0.97, 0.02, 0.01], True),
        ([0.62, 0.3, 0.08], True),
        ([0.45, 0.40, 0.15], False),
        ([0.3] + [0.7 / 100] * 100, False),
    ],
)
def test_prediction_is_sure_if_the_margin_is_large_and_the_perplexity_small(
    probabilities: list[float], sure: bool
) -> None:
    assert measure_certainty(np.array(probabilities)).is_sure is sure


@pytest.mark.parametrize(
    ("unknown_threshold", "probability", "is_sure"),
    [
        (0.0, 0.49, False),
        (0.0, 0.51, True),
        (0.34, 0.49, False),
        (0.7, 0.69, False),
        (0.7, 0.71, True),
    ],
)
def test_a_custom_model_uses_its_unknown_threshold(
    unknown_threshold: float, probability: float, is_sure: bool
) -> None:
    classes = custom_classes(("mug", "cup", "glass"))
    custom = CustomModel(
        Path("x.bundle"), "vgg16", FeatureLayer.GLOBAL_POOLING, classes, 1.0, unknown_threshold
    )
    rest = (1 - probability) / 2
    verdict = interpret_probabilities(
        np.array([probability, rest, rest]), classes, custom.effective_threshold
    )
    assert verdict.is_sure is is_sure
    first, second = headline(verdict)
    expected = "Mug, " if is_sure else "Not sure that it is any of these classes"
    assert first.startswith(expected)
    assert second == ("" if is_sure else f"the closest is mug, {probability:.0%}")
