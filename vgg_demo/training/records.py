"""The values that training produces on the way from photos to a model."""

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
from vgg_demo.training.features import ViewFeatures
from vgg_demo.training.inspection import InspectedPhoto, InspectionReport, report_issues
from vgg_demo.training.split import Split
from vgg_demo.training.validation import ValidationReport
from vgg_demo.weights.local import LocalWeights

if TYPE_CHECKING:
    from vgg_demo.training.head import FeatureSubset


@dataclass(frozen=True, slots=True)
class InspectionProgress:
    """Progress of an inspection.

    Attributes:
        done: Number of inspected photos.
        total: Number of all photos.
    """

    done: int
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class InspectedDataset:
    """A dataset after inspection.

    Attributes:
        photos: The photos that could be opened.
        failures: The photos that could not.
        report: Possible issues in `photos`.
    """

    photos: tuple[InspectedPhoto, ...]
    failures: tuple[Failure, ...]
    report: InspectionReport

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the model's outputs."""
        return tuple(self.report.counts)

    @property
    def labels(self) -> NDArray[np.integer]:
        """The class index of each photo, int (photos,)."""
        indices = {name: index for index, name in enumerate(self.classes)}
        return np.array([indices[inspected.photo.label] for inspected in self.photos])

    @property
    def size_bytes(self) -> int:
        """Total size of the photos' files."""
        return sum(inspected.size_bytes for inspected in self.photos)

    def groups(self) -> list[str]:
        """Returns a group ID for each photo; photos of a group must stay together.

        Photos share an ID if they have the same `LabeledPhoto.group` or are duplicates.
        """
        groups = [
            f"group {inspected.photo.group}" if inspected.photo.group else f"photo {index}"
            for index, inspected in enumerate(self.photos)
        ]
        for duplicates in self.report.duplicates:
            # A duplicate in another group merges the two groups.
            merged = {groups[index] for index in duplicates}
            groups = [groups[duplicates[0]] if group in merged else group for group in groups]
        return groups

    @property
    def unvalidated_classes(self) -> tuple[str, ...]:
        """Classes without validation photos, because all their photos form a single group."""
        class_groups: dict[str, set[str]] = {label: set() for label in self.classes}
        for inspected, group in zip(self.photos, self.groups(), strict=True):
            class_groups[inspected.photo.label].add(group)
        return tuple(label for label, groups in class_groups.items() if len(groups) == 1)

    def fingerprint(self) -> str:
        """Returns the SHA-256 of all photos and labels, 64 hex digits.

        It does not depend on the order or the names of the photos.
        """
        lines = sorted(f"{inspected.sha256} {inspected.photo.label}" for inspected in self.photos)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def summarize_inspection(
    photos: Sequence[InspectedPhoto], failures: Sequence[Failure], input_size: int
) -> InspectedDataset:
    """Combines inspected photos into a dataset and reports possible issues.

    Args:
        photos: The photos that could be opened.
        failures: The photos that could not.
        input_size: Height and width of the model's input in pixels.

    Raises:
        DatasetError: If a model cannot be trained on the photos.
    """
    check_classes(sorted({inspected.photo.label for inspected in photos}))
    report = report_issues(photos, input_size)
    too_small = [label for label, count in report.counts.items() if count < 2]
    if too_small:
        raise DatasetError(
            "Each class needs at least two photos, one for training and one for validation; there "
            f"is one photo of {', '.join(map(repr, too_small[:5]))}. Add photos, or exclude "
            "rare classes."
        )
    return InspectedDataset(tuple(photos), tuple(failures), report)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Photos with their labels, features and train/validation split.

    Attributes:
        dataset: The inspected photos.
        labels: int (photos,): the class index of each photo.
        split: The train/validation split.
        features: float32 (photos, views, features). Only the first view of a validation photo is
            used.
    """

    dataset: InspectedDataset
    labels: NDArray[np.integer]
    split: Split
    features: ViewFeatures

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the model's outputs."""
        return self.dataset.classes

    def subset(self, indices: Sequence[int]) -> FeatureSubset:
        """Returns a subset of the photos, without copying features."""
        from vgg_demo.training.head import FeatureSubset

        return FeatureSubset(self.features, self.labels, np.array(indices, dtype=int))


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A trained Keras model, before validation.

    Attributes:
        model: A `keras.Model` from pixels to logits.
        logits: float32 (N, classes): logits of the validation photos.
        backbone_weights: The weight file that the backbone was initialized from.
    """

    model: Any
    logits: NDArray[np.float32]
    backbone_weights: LocalWeights


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A trained model and its validation.

    Attributes:
        bundle: The saved model.
        validation_report: Metrics on the validation set.
        training_data: The data that the model was trained on.
        logits: float32 (N, classes): logits of the validation photos.
    """

    bundle: Bundle
    validation_report: ValidationReport
    training_data: TrainingData
    logits: NDArray[np.float32]
