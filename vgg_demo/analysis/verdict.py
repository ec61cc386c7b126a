"""Interprets class probabilities: how specific a prediction they justify, and how certain it is.

`most_specific_group` finds the most specific WordNet group whose total probability reaches a
threshold; `measure_certainty` measures how concentrated the probabilities are. `headline` and
`one_line` put both into words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vgg_demo.inference.results import Classification, percent
from vgg_demo.models.labels import ClassLabel, ancestors, definition, depth, lemma, with_article
from vgg_demo.models.registry import ModelSpec

GROUP_THRESHOLD = 0.8
"""Total probability that a group of classes must reach to be named in the headline."""

MAX_GROUP_SHARE = 0.55
"""Largest share of a model's classes that a group may cover; larger groups are uninformative."""

TECHNICAL_SYNSETS = frozenset(
    [
        "n03575240",  # instrumentality
        "n01886756",  # placental
        "n01466257",  # chordate
        "n00004475",  # organism
        "n00003553",  # whole
        "n00019128",  # natural object
        "n00020827",  # matter
    ]
)
"""Synsets with technical names; the headline uses a more general synset instead."""

PLAIN_NAMES = {"n00021939": "man-made object"}  # WordNet: artifact
"""Common names of synsets, by WordNet ID, that replace WordNet's own."""

MAX_LISTED = 30
"""Maximum number of classes that `describe_classes` lists by name."""

MIN_MARGIN = 0.3
"""Margin between the two highest probabilities below which a prediction is not sure."""

MAX_EFFECTIVE_CLASSES = 10.0
"""Number of effective classes (perplexity) above which a prediction is not sure."""


@dataclass(frozen=True, slots=True)
class Group:
    """A WordNet synset and the total probability of the classes under it.

    Attributes:
        wnid: WordNet ID of the synset.
        label: Its common name.
        definition: WordNet's definition.
        probability: Sum of the probabilities of its classes, in [0, 1].
        classes: Number of the model's classes under it.
    """

    wnid: str
    label: str
    definition: str
    probability: float
    classes: int


@dataclass(frozen=True, slots=True)
class Certainty:
    """How concentrated the probabilities of a prediction are.

    Attributes:
        margin: Highest probability minus the second highest, in [0, 1].
        effective_classes: Perplexity, exp(entropy) (Shannon 1948): 1 if one class has all the
            probability, n if n classes share it equally.
    """

    margin: float
    effective_classes: float

    @property
    def is_sure(self) -> bool:
        """Whether the margin is large enough and the perplexity is small enough."""
        return self.margin >= MIN_MARGIN and self.effective_classes <= MAX_EFFECTIVE_CLASSES


@dataclass(frozen=True, slots=True)
class Verdict:
    """The interpretation of a prediction.

    Attributes:
        group: The most specific group that reaches the threshold; it may be a single class.
            None if every group that reaches it is too general.
        winner: The most probable class of the group, or of all classes if there is no group.
        probability: Probability of `winner`, in [0, 1].
        certainty: How concentrated the probabilities are.
        threshold: For custom models, the unknown threshold in [0, 1]. None for all others.
    """

    group: Group | None
    winner: ClassLabel
    probability: float
    certainty: Certainty
    threshold: float | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether `winner` is below the unknown threshold of a custom model."""
        return self.threshold is not None and self.probability < self.threshold

    @property
    def is_sure(self) -> bool:
        """Whether there is a group and one class stands out.

        For custom models: whether `winner` reaches the unknown threshold.
        """
        if self.threshold is not None:
            return not self.is_unknown
        return self.group is not None and self.certainty.is_sure


def interpret(result: Classification) -> Verdict:
    """Returns the verdict for a classification."""
    custom = result.spec.custom
    threshold = custom.effective_threshold if custom is not None else None
    return interpret_probabilities(result.probabilities, result.spec.classes, threshold)


def interpret_probabilities(
    probabilities: NDArray[np.float64],
    labels: tuple[ClassLabel, ...],
    threshold: float | None = None,
) -> Verdict:
    """Returns the verdict for the probabilities of a model.

    Args:
        probabilities: float64 (classes,), summing to 1.
        labels: The classes in the same order.
        threshold: Unknown threshold of a custom model, in [0, 1]; None for all others.
    """
    group = most_specific_group(probabilities, labels, threshold or GROUP_THRESHOLD)
    indices = classes_by_group(labels)[group.wnid] if group else range(len(labels))
    best = max(indices, key=lambda index: probabilities[index])
    return Verdict(
        group=group,
        winner=labels[best],
        probability=float(probabilities[best]),
        certainty=measure_certainty(probabilities),
        threshold=threshold,
    )


def headline(verdict: Verdict) -> tuple[str, str]:
    """Returns a verdict in words: the headline and a second line, which may be empty.

    The headline names the group that reaches the threshold, or the most probable class if no
    group does.
    """
    winner = verdict.winner.phrase
    group = verdict.group
    if verdict.is_unknown:
        return (
            "Not sure that it is any of these classes",
            f"the closest is {winner}, {percent(verdict.probability)}",
        )
    if group is None:
        return f"Not sure – perhaps {winner}, {percent(verdict.probability)}", ""
    if group.wnid == verdict.winner.wnid:
        return f"{_capitalize(winner)}, {percent(verdict.probability)}", ""
    likely = "most likely" if verdict.is_sure else "perhaps"
    return (
        f"{_capitalize(with_article(group.label))}, {percent(group.probability)}",
        f"{likely} {winner}, {percent(verdict.probability)}",
    )


def one_line(verdict: Verdict) -> str:
    """Returns a verdict in words on one line, with a note if it is not sure."""
    first, second = headline(verdict)
    if not second:
        return first
    not_sure = "" if verdict.is_sure or verdict.is_unknown else "not sure which one, "
    return f"{first}; {not_sure}{second}"


def describe_classes(spec: ModelSpec) -> str:
    """Returns a sentence that lists the classes of a model with few classes.

    Returns:
        The sentence for Mini-VGG and custom models; empty for all others. The names are left
        out if there are more than `MAX_LISTED`.

    >>> from vgg_demo.models.registry import get_spec
    >>> describe_classes(get_spec("mini_vgg"))[:45]
    'Mini-VGG has only 10 classes: airplane, autom'
    """
    if not spec.is_embedded and spec.custom is None:
        return ""
    names = [label.label for label in spec.classes]
    classes = f"{len(names)} classes"
    if len(names) <= MAX_LISTED:
        classes += f": {', '.join(names)}"
    other_photos = (
        "Every photo is assigned to one of them."
        if spec.custom is None
        else "A photo of anything else may still be assigned to one of them."
    )
    return f"{spec.keras_name} has only {classes}. {other_photos}"


def most_specific_group(
    probabilities: NDArray[np.float64],
    labels: tuple[ClassLabel, ...],
    threshold: float = GROUP_THRESHOLD,
) -> Group | None:
    """Returns the most specific WordNet synset whose classes reach a total probability.

    Each class counts once for each of its ancestors, even if several paths lead to it (WordNet
    is not a tree). The most specific synset is the one with the fewest classes; ties go to the
    more probable, then to the deeper one.

    Args:
        probabilities: float64 (classes,), summing to 1.
        labels: The classes in the same order.
        threshold: Probability to reach, in (0, 1].

    Returns:
        The group, or None if no informative synset reaches the threshold (see
        `is_informative`).
    """
    synsets, indices, starts = _informative_synsets(labels)
    sums = np.add.reduceat(probabilities[indices], starts)
    reached = [
        (minus_size, float(sums[position]), synset_depth, wnid)
        for position in np.flatnonzero(sums >= threshold)
        for minus_size, synset_depth, wnid in [synsets[position]]
    ]
    if not reached:
        return None
    minus_size, probability, _, wnid = max(reached)
    return Group(
        wnid=wnid,
        label=common_name(wnid, labels),
        definition=definition(wnid),
        probability=min(1.0, probability),
        classes=-minus_size,
    )


@cache
def _informative_synsets(
    labels: tuple[ClassLabel, ...],
) -> tuple[tuple[tuple[int, int, str], ...], NDArray[np.intp], NDArray[np.intp]]:
    """Returns the informative synsets and the indices of their classes.

    Returns:
        For each synset, its negative number of classes, its depth and its WordNet ID; the class
        indices of all synsets, concatenated; and the offset of each synset in them, as
        `np.add.reduceat` expects.
    """
    groups = [
        (wnid, indices)
        for wnid, indices in classes_by_group(labels).items()
        if is_informative(wnid, len(indices), len(labels))
    ]
    synsets = tuple((-len(indices), depth(wnid), wnid) for wnid, indices in groups)
    starts = np.cumsum([0, *(len(indices) for _, indices in groups)])[:-1]
    return synsets, np.concatenate([indices for _, indices in groups]), starts


def measure_certainty(probabilities: NDArray[np.float64]) -> Certainty:
    """Returns the margin and the perplexity of probabilities.

    Args:
        probabilities: float64 (classes,), summing to 1; two classes or more.

    >>> measure_certainty(np.array([0.5, 0.5])).effective_classes
    2.0
    """
    second, first = np.sort(probabilities)[-2:]
    positive = probabilities[probabilities > 0]
    entropy = -float(np.sum(positive * np.log(positive)))
    return Certainty(margin=float(first - second), effective_classes=round(math.exp(entropy), 12))


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def is_informative(wnid: str, covered: int, classes: int) -> bool:
    """Returns whether a synset is worth naming: a common word that covers few enough classes.

    Args:
        wnid: WordNet ID of the synset.
        covered: Number of the model's classes under it.
        classes: Number of all classes of the model.
    """
    return covered <= MAX_GROUP_SHARE * classes and wnid not in TECHNICAL_SYNSETS


def common_name(wnid: str, labels: tuple[ClassLabel, ...]) -> str:
    """Returns the common name of a synset: its class label, or else WordNet's first lemma."""
    label = next((label.label for label in labels if label.wnid == wnid), None)
    return label or PLAIN_NAMES.get(wnid, lemma(wnid))


@cache
def classes_by_group(labels: tuple[ClassLabel, ...]) -> dict[str, tuple[int, ...]]:
    """Returns the indices of the classes under each synset, by WordNet ID."""
    indices_by_wnid: dict[str, list[int]] = {}
    for label in labels:
        for wnid in ancestors(label.wnid):
            indices_by_wnid.setdefault(wnid, []).append(label.index)
    return {wnid: tuple(indices) for wnid, indices in indices_by_wnid.items()}
