"""What teaching makes on its way from photos to a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vgg_demo.errors import DatasetError
from vgg_demo.inference.results import Failure
from vgg_demo.models.bundle import Bundle
from vgg_demo.training.dataset import check_classes
from vgg_demo.training.features import Views
from vgg_demo.training.inspection import InspectedPhoto, InspectionReport, report_issues
from vgg_demo.training.split import Split
from vgg_demo.training.validation import ValidationReport
from vgg_demo.weights.local import LocalWeights

if TYPE_CHECKING:
    from vgg_demo.training.head import FeatureSubset


@dataclass(frozen=True, slots=True)
class InspectionProgress:
    """How far the looking at photos has come.

    Attributes:
        done: Photos.
        total: All.
    """

    done: int
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class InspectedDataset:
    """What was found in the photos.

    Attributes:
        photos: Those that can be learned from.
        failures: Those that cannot be opened.
        report: What may be wrong with the others.
    """

    photos: tuple[InspectedPhoto, ...]
    failures: tuple[Failure, ...]
    report: InspectionReport

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of the model's outputs."""
        return tuple(self.report.counts)

    @property
    def labels(self) -> NDArray[np.integer]:
        """The class of each photo, int (photos,)."""
        place = {name: number for number, name in enumerate(self.classes)}
        return np.array([place[one.photo.label] for one in self.photos])

    @property
    def size_bytes(self) -> int:
        """Memory that the photos' files take."""
        return sum(one.size_bytes for one in self.photos)

    def groups(self) -> list[str]:
        """Returns which photos stay together: those of a group, and those that look the same."""
        groups = [
            f"group {one.photo.group}" if one.photo.group else f"photo {place}"
            for place, one in enumerate(self.photos)
        ]
        for twins in self.report.twins:
            # Whose twin is in another group brings the groups together.
            same = {groups[place] for place in twins}
            groups = [groups[twins[0]] if group in same else group for group in groups]
        return groups

    @property
    def never_judged(self) -> tuple[str, ...]:
        """Labels of which nothing can be kept back: all their photos belong together."""
        groups: dict[str, set[str]] = {label: set() for label in self.classes}
        for one, group in zip(self.photos, self.groups(), strict=True):
            groups[one.photo.label].add(group)
        return tuple(label for label, found in groups.items() if len(found) == 1)

    def fingerprint(self) -> str:
        """Returns a SHA-256 of all photos and their labels, whatever their order and names."""
        lines = sorted(f"{one.sha256} {one.photo.label}" for one in self.photos)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def summarize_inspection(
    photos: Sequence[InspectedPhoto], failures: Sequence[Failure], input_size: int
) -> InspectedDataset:
    """Says what may be wrong with photos that were looked at.

    Args:
        photos: Those that could be opened.
        failures: Those that could not.
        input_size: Height and width in pixels of what the network looks at.

    Raises:
        DatasetError: If nothing can be learned from them.
    """
    check_classes(sorted({one.photo.label for one in photos}))
    report = report_issues(photos, input_size)
    alone = [label for label, count in report.counts.items() if count < 2]
    if alone:
        raise DatasetError(
            f"Of {', '.join(map(repr, alone[:5]))} there is one photo; at least two are "
            "needed, one to learn from and one to judge by. Add photos, or drop rare labels."
        )
    return InspectedDataset(tuple(photos), tuple(failures), report)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Photos made ready to learn from.

    Attributes:
        dataset: What was found in them.
        labels: int (photos,): the class of each.
        split: Which are learned from.
        features: float32 (photos, views, features); of the validation photos only the first view
            is looked at.
    """

    dataset: InspectedDataset
    labels: NDArray[np.integer]
    split: Split
    features: Views

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of the model's outputs."""
        return self.dataset.classes

    def subset(self, places: Sequence[int]) -> FeatureSubset:
        """Returns some of the photos, whose features stay where they are."""
        from vgg_demo.training.head import FeatureSubset

        return FeatureSubset(self.features, self.labels, np.array(places, dtype=int))


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A network that was taught.

    Attributes:
        model: A `keras.Model`, from pixels to scores.
        logits: float32 (N, classes): its scores for the validation photos.
        body_weights: The file that its body began with.
    """

    model: Any
    logits: NDArray[np.float32]
    body_weights: LocalWeights


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """What came of it.

    Attributes:
        bundle: The model.
        validation_report: How good it is.
        training_data: What it learned from.
        logits: float32 (N, classes): its scores for the validation photos.
    """

    bundle: Bundle
    validation_report: ValidationReport
    training_data: TrainingData
    logits: NDArray[np.float32]
