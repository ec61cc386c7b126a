"""Stratified, grouped train/validation split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

VALIDATION_FRACTION = 0.2
"""Default fraction of the photos that is held out for validation."""


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the training and validation photos.

    Attributes:
        training: Indices of the training photos, ascending.
        validation: Indices of the held-out photos, ascending.
    """

    training: tuple[int, ...]
    validation: tuple[int, ...]


def split(
    labels: Sequence[str],
    groups: Sequence[Hashable] | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    seed: int = 0,
) -> Split:
    """Splits photos so that each class has about the same fraction in the validation set.

    All photos of a group go to the same side. Groups are assigned one by one, the larger ones
    first, in an order that the seed decides; a group goes to the validation set if that brings the
    classes closer to the desired counts. A class that would have no validation photos gets its
    smallest group there, unless that would leave a class without training photos.

    Args:
        labels: Label of each photo.
        groups: Group of each photo; None if every photo is a group of its own.
        validation_fraction: Fraction of the photos that is held out, in (0, 1).
        seed: Random seed.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index in range(len(labels)):
        members[index if groups is None else groups[index]].append(index)
    order = np.random.default_rng(seed).permutation(len(members))
    shuffled = [list(members.values())[number] for number in order]
    totals = Counter(labels)
    targets = {
        label: max(1.0, round(validation_fraction * count)) for label, count in totals.items()
    }
    held_out = Counter[str]()
    validation: list[int] = []
    for group in sorted(shuffled, key=len, reverse=True):
        added = Counter(labels[index] for index in group)
        # Distances from the targets, without this group and with it.
        distance_without = sum(abs(targets[label] - held_out[label]) for label in added)
        distance_with = sum(
            abs(targets[label] - held_out[label] - count) for label, count in added.items()
        )
        leaves_none = any(
            held_out[label] + count == totals[label] for label, count in added.items()
        )
        if distance_with < distance_without and not leaves_none:
            held_out += added
            validation += group
    # If a class has only a few large groups, none of them may have come closer to the target.
    for group in sorted(shuffled, key=len):
        added = Counter(labels[index] for index in group)
        leaves_none = any(
            held_out[label] + count == totals[label] for label, count in added.items()
        )
        if any(not held_out[label] for label in added) and not leaves_none:
            held_out += added
            validation += group
    chosen = set(validation)
    return Split(
        training=tuple(index for index in range(len(labels)) if index not in chosen),
        validation=tuple(sorted(chosen)),
    )
