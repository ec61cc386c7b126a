"""Which photos are learned from, and which are kept to judge by."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

VALIDATION_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Split:
    """Places of photos in a dataset.

    Attributes:
        training: Of those that are learned from, ascending.
        validation: Of those that are kept to judge by, ascending.
    """

    training: tuple[int, ...]
    validation: tuple[int, ...]


def split(
    labels: Sequence[str],
    groups: Sequence[Hashable] | None = None,
    share: float = VALIDATION_SHARE,
    seed: int = 0,
) -> Split:
    """Splits photos so that each label has about the same share on both sides.

    The photos of a group stay on one side. Groups are dealt out one by one, in an order that
    the seed decides, larger ones first; each goes to the side where its labels are missing most.
    Where a label would be left out of what is judged by, its smallest group goes there, unless it
    is all that there is of a label.

    Args:
        labels: What is on each photo.
        groups: Which belong together; None if none do.
        share: Part that is kept to judge by, in (0, 1).
        seed: The same gives the same.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for place in range(len(labels)):
        members[place if groups is None else groups[place]].append(place)
    order = np.random.default_rng(seed).permutation(len(members))
    shuffled = [list(members.values())[number] for number in order]
    whole = Counter(labels)
    wanted = {label: max(1.0, round(share * count)) for label, count in whole.items()}
    kept = Counter[str]()
    validation: list[int] = []
    for places in sorted(shuffled, key=len, reverse=True):
        brought = Counter(labels[place] for place in places)
        # How far the labels are from what is wanted, without this group and with it.
        without = sum(abs(wanted[label] - kept[label]) for label in brought)
        having = sum(abs(wanted[label] - kept[label] - more) for label, more in brought.items())
        leaves_none = any(kept[label] + more == whole[label] for label, more in brought.items())
        if having < without and not leaves_none:
            kept += brought
            validation += places
    # Of a label in few, large groups none may have come nearer to what is wanted.
    for places in sorted(shuffled, key=len):
        brought = Counter(labels[place] for place in places)
        leaves_none = any(kept[label] + more == whole[label] for label, more in brought.items())
        if any(not kept[label] for label in brought) and not leaves_none:
            kept += brought
            validation += places
    chosen = set(validation)
    return Split(
        training=tuple(place for place in range(len(labels)) if place not in chosen),
        validation=tuple(sorted(chosen)),
    )
