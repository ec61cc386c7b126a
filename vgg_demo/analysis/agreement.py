"""Agreement between models on one photo: consensus, ensemble and distances.

Models may have different classes: most have the 1000 ImageNet classes, Mini-VGG has ten.
Classes are matched through WordNet, never by label.
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
    classes_by_group,
    common_name,
    interpret,
    interpret_probabilities,
    is_informative,
)
from vgg_demo.inference.results import Classification, Prediction, rank
from vgg_demo.models.labels import ClassLabel, ancestors, definition, depth


@dataclass(frozen=True, slots=True)
class Consensus:
    """A synset that several models agree on.

    Attributes:
        wnid: WordNet ID of the most specific synset above all their predicted classes.
        label: Its common name.
        definition: WordNet's definition.
        models: Names of the models, in the order given.
    """

    wnid: str
    label: str
    definition: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """The average of the models: the mean of the probabilities of models with the same classes.

    Attributes:
        models: Names of the models.
        labels: Classes of the models.
        probabilities: float64 (classes,), summing to 1.
    """

    models: tuple[str, ...]
    labels: tuple[ClassLabel, ...]
    probabilities: NDArray[np.float64]

    def predictions(self, top: int = 5) -> tuple[Prediction, ...]:
        """Returns the most probable classes, best first."""
        return rank(self.probabilities, self.labels, top)

    def verdict(self) -> Verdict:
        """Returns the verdict for the mean probabilities."""
        return interpret_probabilities(self.probabilities, self.labels)


def find_consensus(results: Sequence[Classification]) -> tuple[Consensus, ...]:
    """Returns the synsets that models agree on: first all models, then smaller majorities.

    The prediction of each model is the winner of its verdict. A majority is more than half of
    the models. A smaller majority is listed only if it agrees on a more specific synset. The
    consensus of all models is missing if their predictions share no informative synset.

    Args:
        results: Classifications of one photo by different models.

    Returns:
        The consensus of the most models first, from general to specific; empty if no majority
        (both, of two models) agrees on an informative synset.
    """
    labels = _largest_label_set(results)
    groups = classes_by_group(labels)
    winners = {result.model: interpret(result).winner.wnid for result in results}
    votes = Counter(wnid for winner in winners.values() for wnid in ancestors(winner))
    sizes = {wnid: len(groups.get(wnid, ())) for wnid in votes}
    informative = [wnid for wnid in votes if is_informative(wnid, sizes[wnid], len(labels))]
    consensuses: list[Consensus] = []
    smallest = len(labels) + 1
    for count in range(len(results), max(1, len(results) // 2), -1):
        candidates = [
            (sizes[wnid], -depth(wnid), wnid) for wnid in informative if votes[wnid] == count
        ]
        if candidates and min(candidates)[0] < smallest:
            smallest, _, wnid = min(candidates)
            agreeing = tuple(name for name in winners if wnid in ancestors(winners[name]))
            label = common_name(wnid, labels)
            consensuses.append(Consensus(wnid, label, definition(wnid), agreeing))
    return tuple(consensuses)


def average_models(results: Sequence[Classification]) -> Ensemble | None:
    """Averages the probabilities of the models with the largest label set.

    Args:
        results: Classifications of one photo by different models.

    Returns:
        The ensemble, or None if fewer than two models have these classes.
    """
    labels = _largest_label_set(results)
    members = [result for result in results if result.spec.classes == labels]
    if len(members) < 2:
        return None
    return Ensemble(
        models=tuple(result.model for result in members),
        labels=labels,
        probabilities=np.mean([result.probabilities for result in members], axis=0),
    )


def pairwise_distances(results: Sequence[Classification]) -> NDArray[np.float64]:
    """Returns the Jensen–Shannon distances between the models' probabilities.

    Models with different classes are compared over the classes of the model that has fewer,
    plus one outcome for "none of these".

    Args:
        results: Classifications of one photo by different models.

    Returns:
        float64 (models, models) in [0, 1], symmetric: 0 for equal probabilities (and on the
        diagonal), 1 if no class has a positive probability in both models.
    """
    matrix = np.zeros((len(results), len(results)))
    for (i, first), (j, second) in combinations(enumerate(results), 2):
        matrix[i, j] = matrix[j, i] = jensen_shannon_distance(*_comparable(first, second))
    return matrix


def jensen_shannon_distance(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Returns the square root of the Jensen–Shannon divergence to base 2, in [0, 1].

    It is a metric (Endres & Schindelin 2003, IEEE Trans. Inf. Theory 49, 1858–1860).

    Args:
        p: float64 (classes,), summing to 1.
        q: float64 (classes,), summing to 1.

    >>> jensen_shannon_distance(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    1.0
    """
    mean = (p + q) / 2
    divergence = (_relative_entropy(p, mean) + _relative_entropy(q, mean)) / 2
    return float(np.sqrt(np.clip(divergence, 0, 1)))


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    positive = (p > 0) & (q > 0)  # q is 0 where the mean of p and 0 underflows
    return float(np.sum(p[positive] * np.log2(p[positive] / q[positive])))


def _largest_label_set(results: Sequence[Classification]) -> tuple[ClassLabel, ...]:
    label_sets = (result.spec.classes for result in results)
    return max(label_sets, key=len, default=())


def _comparable(
    first: Classification, second: Classification
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the probabilities of two models over the same outcomes."""
    label_sets = [result.spec.classes for result in (first, second)]
    if label_sets[0] == label_sets[1]:
        return first.probabilities, second.probabilities
    outcomes = min(label_sets, key=len)
    return (
        aggregate_outcomes(outcomes, first.probabilities, label_sets[0]),
        aggregate_outcomes(outcomes, second.probabilities, label_sets[1]),
    )


def aggregate_outcomes(
    outcomes: tuple[ClassLabel, ...],
    probabilities: NDArray[np.float64],
    labels: tuple[ClassLabel, ...],
) -> NDArray[np.float64]:
    """Sums class probabilities over coarser outcomes.

    Args:
        outcomes: Coarser classes: WordNet ancestors of the given classes.
        probabilities: float64 (classes,), summing to 1.
        labels: The classes in the same order.

    Returns:
        float64 (outcomes + 1,), summing to 1; the last element is for "none of these".
    """
    indices = _outcome_indices(labels, outcomes)
    return np.bincount(indices, probabilities, len(outcomes) + 1).astype(np.float64)


@cache
def _outcome_indices(
    labels: tuple[ClassLabel, ...], outcomes: tuple[ClassLabel, ...]
) -> tuple[int, ...]:
    """Returns for each class the index of its most specific outcome, or of "none of these"."""
    by_depth = sorted(outcomes, key=lambda outcome: depth(outcome.wnid), reverse=True)
    return tuple(
        next(
            (outcome.index for outcome in by_depth if outcome.wnid in ancestors(label.wnid)),
            len(outcomes),
        )
        for label in labels
    )
