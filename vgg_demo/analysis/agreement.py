"""Where models agree about a photo, and how far apart their answers are.

Models may know different things: those of Keras a thousand, Mini-VGG ten. They are compared
through WordNet, never by the words of their labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vgg_demo.analysis.verdict import (
    Verdict,
    common_name,
    interpret,
    interpret_probabilities,
    is_informative,
    members,
)
from vgg_demo.inference.results import Classification, Prediction, rank
from vgg_demo.models.labels import ClassLabel, ancestors, definition, depth


@dataclass(frozen=True, slots=True)
class Consensus:
    """Something that several models say.

    Attributes:
        wnid: WordNet ID of the most specific thing that all of their answers are kinds of.
        label: What people call it.
        definition: WordNet's definition.
        models: Names of the models, in the order that they were given.
    """

    wnid: str
    label: str
    definition: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """The mean of the probabilities of models that know the same things.

    Attributes:
        models: Names of the models.
        labels: The classes.
        probabilities: float64 (classes,), summing to 1.
    """

    models: tuple[str, ...]
    labels: tuple[ClassLabel, ...]
    probabilities: NDArray[np.float64]

    def predictions(self, top: int = 5) -> tuple[Prediction, ...]:
        """Returns the most probable classes, best first."""
        return rank(self.probabilities, self.labels, top)

    def verdict(self) -> Verdict:
        """Judges the mean as if it were one model's answer."""
        return interpret_probabilities(self.probabilities, self.labels)


def find_consensus(results: Sequence[Classification]) -> tuple[Consensus, ...]:
    """Finds what the models agree on: what all say first, then what most say more exactly.

    Each model's answer is the winner of its verdict. "Most" is more than half. The first
    consensus is missing if all answers together have no name that says anything.

    Args:
        results: Answers of different models to one photo.

    Returns:
        From the most models and the most general thing to fewer and a more specific one;
        empty if no two of two, or no majority of more, agree on anything.
    """
    labels = _most_detailed(results)
    under = members(labels)
    winners = {result.model: interpret(result).winner.wnid for result in results}
    votes = Counter(wnid for winner in winners.values() for wnid in ancestors(winner))
    sizes = {wnid: len(under.get(wnid, ())) for wnid in votes}
    nameable = [wnid for wnid in votes if is_informative(wnid, sizes[wnid], len(labels))]
    found: list[Consensus] = []
    smallest = len(labels) + 1
    for count in range(len(results), max(1, len(results) // 2), -1):
        candidates = [
            (sizes[wnid], -depth(wnid), wnid) for wnid in nameable if votes[wnid] == count
        ]
        if candidates and min(candidates)[0] < smallest:
            smallest, _, wnid = min(candidates)
            agreeing = tuple(name for name in winners if wnid in ancestors(winners[name]))
            found.append(Consensus(wnid, common_name(wnid, labels), definition(wnid), agreeing))
    return tuple(found)


def average(results: Sequence[Classification]) -> Ensemble | None:
    """Returns the mean answer of the models that know the most things.

    Args:
        results: Answers of different models to one photo.

    Returns:
        The ensemble, or None if fewer than two models know the same things.
    """
    labels = _most_detailed(results)
    same = [result for result in results if result.spec.classes == labels]
    if len(same) < 2:
        return None
    return Ensemble(
        models=tuple(result.model for result in same),
        labels=labels,
        probabilities=np.mean([result.probabilities for result in same], axis=0),
    )


def distances(results: Sequence[Classification]) -> NDArray[np.float64]:
    """Measures how far apart the models' probabilities are, pair by pair.

    Two models of different classes are compared over those of the one that knows fewer,
    and "none of these".

    Args:
        results: Answers of different models to one photo.

    Returns:
        float64 (models, models) of Jensen–Shannon distances: symmetric, 0 on the diagonal
        and where two models say exactly the same, 1 where nothing that one thinks possible
        is possible to the other.
    """
    matrix = np.zeros((len(results), len(results)))
    for (i, one), (j, other) in combinations(enumerate(results), 2):
        matrix[i, j] = matrix[j, i] = jensen_shannon_distance(*_comparable(one, other))
    return matrix


def jensen_shannon_distance(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Returns the root of the Jensen–Shannon divergence to base 2, in [0, 1].

    It is a metric (Endres & Schindelin 2003, IEEE Trans. Inf. Theory 49, 1858–1860).

    >>> jensen_shannon_distance(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    1.0
    """
    mean = (p + q) / 2
    divergence = (_relative_entropy(p, mean) + _relative_entropy(q, mean)) / 2
    return float(np.sqrt(np.clip(divergence, 0, 1)))


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    possible = (p > 0) & (q > 0)  # half of the smallest number there is is 0
    return float(np.sum(p[possible] * np.log2(p[possible] / q[possible])))


def _most_detailed(results: Sequence[Classification]) -> tuple[ClassLabel, ...]:
    sets = (result.spec.classes for result in results)
    return max(sets, key=len, default=())


def _comparable(
    one: Classification, other: Classification
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns two models' probabilities over the same outcomes."""
    sets = [result.spec.classes for result in (one, other)]
    if sets[0] == sets[1]:
        return one.probabilities, other.probabilities
    fewer = min(sets, key=len)
    return (
        aggregate_outcomes(fewer, one.probabilities, sets[0]),
        aggregate_outcomes(fewer, other.probabilities, sets[1]),
    )


def aggregate_outcomes(
    outcomes: tuple[ClassLabel, ...],
    probabilities: NDArray[np.float64],
    labels: tuple[ClassLabel, ...],
) -> NDArray[np.float64]:
    """Adds probabilities up to coarser outcomes.

    Args:
        outcomes: Classes that the given ones may be kinds of.
        probabilities: float64 (classes,), summing to 1.
        labels: The classes in the same order.

    Returns:
        float64 (outcomes + 1,), summing to 1; the last is for "none of these".
    """
    outcome = _outcome_of(labels, outcomes)
    return np.bincount(outcome, probabilities, len(outcomes) + 1).astype(np.float64)


@cache
def _outcome_of(
    labels: tuple[ClassLabel, ...], outcomes: tuple[ClassLabel, ...]
) -> tuple[int, ...]:
    """Maps each class to the most specific outcome that it is a kind of, or to the last."""
    by_depth = sorted(outcomes, key=lambda outcome: depth(outcome.wnid), reverse=True)
    return tuple(
        next(
            (outcome.index for outcome in by_depth if outcome.wnid in ancestors(label.wnid)),
            len(outcomes),
        )
        for label in labels
    )
