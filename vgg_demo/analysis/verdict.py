"""From a thousand probabilities to one honest sentence.

Two questions are answered from the probabilities alone: *how specific* an answer do they
support (`most_specific_group`), and *how sure* is the network (`measure_certainty`).
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
"""Probability from which a group of classes is called the answer."""

MAX_GROUP_SHARE = 0.55
"""A group of more than this share of all classes says too little to be worth saying."""

TECHNICAL_NODES = frozenset(
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
"""Words that nobody uses for what they see; a more general node answers in their place."""

PLAIN_NAMES = {"n00021939": "man-made thing"}  # WordNet: artifact

MAX_LISTED = 30
"""Things that are listed where it is said that a model knows no others."""

MIN_MARGIN = 0.3
"""Lead of the first answer over the second below which the network is called unsure."""

MAX_EFFECTIVE_CLASSES = 10.0
"""Spread of the answer, in equally probable classes, above which it is called unsure."""


@dataclass(frozen=True, slots=True)
class Group:
    """A WordNet node and what the classes under it add up to.

    Attributes:
        wnid: WordNet ID of the node.
        label: WordNet's first name for it.
        definition: WordNet's definition.
        probability: Sum over the classes that are kinds of it, in [0, 1].
        classes: How many classes of the model those are.
    """

    wnid: str
    label: str
    definition: str
    probability: float
    classes: int


@dataclass(frozen=True, slots=True)
class Certainty:
    """How sure the network is.

    Attributes:
        margin: First probability minus the second, in [0, 1].
        effective_classes: exp(entropy): 1 when all is on one class, n when it is spread
            evenly over n (the perplexity; Shannon 1948).
    """

    margin: float
    effective_classes: float

    @property
    def is_sure(self) -> bool:
        return self.margin >= MIN_MARGIN and self.effective_classes <= MAX_EFFECTIVE_CLASSES


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to tell a person.

    Attributes:
        group: The most specific group above the threshold; None when only groups would
            qualify that say too little. It may be a single class.
        winner: The most probable class of the group, or of all where there is none.
        probability: Its probability.
        certainty: How sure the network is.
        threshold: Of a taught model, the probability from which it counts as sure. None for all
            others.
    """

    group: Group | None
    winner: ClassLabel
    probability: float
    certainty: Certainty
    threshold: float | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether a taught model had better say nothing."""
        return self.threshold is not None and self.probability < self.threshold

    @property
    def is_sure(self) -> bool:
        """Whether a group is found and one class in it stands out; of a taught model, whether the
        winner reaches its threshold.
        """
        if self.threshold is not None:
            return not self.is_unknown
        return self.group is not None and self.certainty.is_sure


def interpret(result: Classification) -> Verdict:
    """Judges a classification."""
    custom = result.spec.custom
    threshold = custom.sure_from if custom is not None else None
    return interpret_probabilities(result.probabilities, result.spec.classes, threshold)


def interpret_probabilities(
    probabilities: NDArray[np.float64],
    labels: tuple[ClassLabel, ...],
    threshold: float | None = None,
) -> Verdict:
    """Judges probabilities.

    Args:
        probabilities: float64 (classes,), summing to 1.
        labels: The classes in the same order.
        threshold: Of a taught model, whose classes are no kinds of anything.
    """
    group = most_specific_group(probabilities, labels, threshold or GROUP_THRESHOLD)
    indices = members(labels)[group.wnid] if group else range(len(labels))
    best = max(indices, key=lambda index: probabilities[index])
    return Verdict(
        group=group,
        winner=labels[best],
        probability=float(probabilities[best]),
        certainty=measure_certainty(probabilities),
        threshold=threshold,
    )


def headline(verdict: Verdict) -> tuple[str, str]:
    """Returns a verdict in words: the headline and the line under it, which may be empty.

    The headline is as specific as the probabilities allow: the group that reaches the
    threshold, or the winner where no group does.
    """
    winner = verdict.winner.phrase
    group = verdict.group
    if verdict.is_unknown:
        return (
            "Not sure that it is any of these",
            f"nearest is {winner}, {percent(verdict.probability)}",
        )
    if group is None:
        return f"Not sure – perhaps {winner}, {percent(verdict.probability)}", ""
    if group.wnid == verdict.winner.wnid:
        return f"{_capital(winner)}, {percent(verdict.probability)}", ""
    likely = "most likely" if verdict.is_sure else "perhaps"
    return (
        f"{_capital(with_article(group.label))}, {percent(group.probability)}",
        f"{likely} {winner}, {percent(verdict.probability)}",
    )


def one_line(verdict: Verdict) -> str:
    """Returns a verdict in words on one line; where the network is unsure, it says so."""
    first, second = headline(verdict)
    if not second:
        return first
    unsure = "" if verdict.is_sure or verdict.is_unknown else "unsure which one, "
    return f"{first}; {unsure}{second}"


def scope(spec: ModelSpec) -> str:
    """Names all that a model of a few classes can answer; empty for a model of many.

    >>> from vgg_demo.models.registry import get_spec
    >>> scope(get_spec("mini_vgg"))[:45]
    'Mini-VGG knows 10 things only: airplane, auto'
    """
    if not spec.is_embedded and spec.custom is None:
        return ""
    names = [label.label for label in spec.classes]
    things = f"{len(names)} things only"
    if len(names) <= MAX_LISTED:
        things += f": {', '.join(names)}"
    otherwise = (
        "Whatever you show it, it answers with one of them."
        if spec.custom is None
        else "It may not notice that something is none of them."
    )
    return f"{spec.keras_name} knows {things}. {otherwise}"


def most_specific_group(
    probabilities: NDArray[np.float64],
    labels: tuple[ClassLabel, ...],
    threshold: float = GROUP_THRESHOLD,
) -> Group | None:
    """Finds the most specific WordNet node that reaches a probability.

    Each class counts for all its ancestors; WordNet is no tree, and a class with two ways
    up to a node still counts once. "Most specific" is the node over the fewest classes;
    among equals the more probable, then the deeper one.

    Args:
        probabilities: float64 (classes,), summing to 1.
        labels: The classes in the same order.
        threshold: Probability to reach, in (0, 1].

    Returns:
        The node, or None if every one that reaches it covers more than `MAX_GROUP_SHARE`
        of the classes.
    """
    nodes, indices, starts = _nameable(labels)
    sums = np.add.reduceat(probabilities[indices], starts)
    reached = [
        (minus_size, float(sums[place]), node_depth, wnid)
        for place in np.flatnonzero(sums >= threshold)
        for minus_size, node_depth, wnid in [nodes[place]]
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
def _nameable(
    labels: tuple[ClassLabel, ...],
) -> tuple[tuple[tuple[int, int, str], ...], NDArray[np.intp], NDArray[np.intp]]:
    """Returns the nodes that may be named, and the indices of their classes one after the other.

    Returns:
        For each node minus the number of its classes, its depth and its ID; the indices of
        all their classes; and where each node's begin.
    """
    found = [
        (wnid, indices)
        for wnid, indices in members(labels).items()
        if is_informative(wnid, len(indices), len(labels))
    ]
    nodes = tuple((-len(indices), depth(wnid), wnid) for wnid, indices in found)
    starts = np.cumsum([0, *(len(indices) for _, indices in found)])[:-1]
    return nodes, np.concatenate([indices for _, indices in found]), starts


def measure_certainty(probabilities: NDArray[np.float64]) -> Certainty:
    """Measures the lead and the spread of an answer.

    >>> measure_certainty(np.array([0.5, 0.5])).effective_classes
    2.0
    """
    second, first = np.sort(probabilities)[-2:]
    positive = probabilities[probabilities > 0]
    entropy = -float(np.sum(positive * np.log(positive)))
    return Certainty(margin=float(first - second), effective_classes=round(math.exp(entropy), 12))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def is_informative(wnid: str, covered: int, classes: int) -> bool:
    """Whether a WordNet node is worth naming: a word people use, over not too many classes.

    Args:
        wnid: The node.
        covered: How many of the model's classes are kinds of it.
        classes: How many the model has.
    """
    return covered <= MAX_GROUP_SHARE * classes and wnid not in TECHNICAL_NODES


def common_name(wnid: str, labels: tuple[ClassLabel, ...]) -> str:
    """Returns what people call a WordNet node: the label of a class, or WordNet's own name."""
    label = next((label.label for label in labels if label.wnid == wnid), None)
    return label or PLAIN_NAMES.get(wnid, lemma(wnid))


@cache
def members(labels: tuple[ClassLabel, ...]) -> dict[str, tuple[int, ...]]:
    """Maps each WordNet node to the indices of the classes that are kinds of it."""
    found: dict[str, list[int]] = {}
    for label in labels:
        for wnid in ancestors(label.wnid):
            found.setdefault(wnid, []).append(label.index)
    return {wnid: tuple(indices) for wnid, indices in found.items()}
