"""Possible issues in training photos, as text for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vgg_demo.training.inspection import IMBALANCE, RECOMMENDED_PHOTOS, InspectionReport
from vgg_demo.training.records import InspectedDataset

MAX_NAMED = 8  # names listed in a sentence


@dataclass(frozen=True, slots=True)
class Finding:
    """A possible issue in the photos.

    Attributes:
        icon: A Material icon.
        summary: What the issue is, without a final period.
        advice: What it means for training, or what to do about it.
        indices: Indices of the affected photos; empty if the issue concerns whole classes.
        can_exclude_all: Whether the page offers to exclude all affected photos at once.
    """

    icon: str
    summary: str
    advice: str
    indices: tuple[int, ...] = ()
    can_exclude_all: bool = False


def find_issues(inspected: InspectedDataset) -> list[Finding]:
    """Returns the possible issues, the most severe first."""
    return [
        *find_label_issues(inspected),
        *find_duplicates(inspected.report),
        *find_class_sizes(inspected.report),
        *find_image_sizes(inspected.report),
    ]


def find_label_issues(inspected: InspectedDataset) -> list[Finding]:
    report, photos = inspected.report, inspected.photos
    findings = []
    if report.conflicting_labels:
        indices = tuple(index for group in report.conflicting_labels for index in group)
        labels = sorted({photos[index].photo.label for index in indices})
        findings.append(
            Finding(
                ":material/error:",
                f"Near-duplicates with conflicting labels: {shorten(labels)}",
                "Exclude the mislabeled photos, or all of them.",
                indices,
                can_exclude_all=True,
            )
        )
    if inspected.unvalidated_classes:
        findings.append(
            Finding(
                ":material/visibility_off:",
                f"No held-out photos of {shorten(inspected.unvalidated_classes)}",
                "All photos of the class are near-duplicates or in one group, so its accuracy "
                "cannot be measured. Add photos from other scenes.",
            )
        )
    findings += [
        Finding(
            ":material/text_fields:",
            f"{' and '.join(group)} differ only in capitalization",
            "They are trained as separate classes. If they are the same, give them the same name.",
        )
        for group in report.similar_labels
    ]
    return findings


def find_duplicates(report: InspectionReport) -> list[Finding]:
    findings = []
    duplicates = [group for group in report.duplicates if group not in report.conflicting_labels]
    if duplicates:
        indices = tuple(index for group in duplicates for index in group)
        findings.append(
            Finding(
                ":material/content_copy:",
                f"{len(indices)} photos are near-duplicates",
                "Near-duplicates are kept together, either in the training set or in the "
                "validation set, so they do not inflate the validation accuracy.",
                indices,
            )
        )
    return findings


def find_class_sizes(report: InspectionReport) -> list[Finding]:
    findings = []
    if report.small_classes:
        classes = shorten([f"{label} ({count})" for label, count in report.small_classes.items()])
        findings.append(
            Finding(
                ":material/add_photo_alternate:",
                f"Fewer than {RECOMMENDED_PHOTOS} photos: {classes}",
                "The accuracy will probably be low. Aim for about 100 photos per class.",
            )
        )
    if report.imbalance >= IMBALANCE:
        findings.append(
            Finding(
                ":material/balance:",
                f"Imbalanced classes: the largest has {report.imbalance:.1f} times as many photos "
                "as the smallest",
                "Class weights, on by default, compensate for this.",
            )
        )
    return findings


def find_image_sizes(report: InspectionReport) -> list[Finding]:
    findings = []
    for indices, issue, advice in (
        (report.low_resolution, "much smaller than the model input", "Small photos are enlarged."),
        (
            report.extreme_aspect_ratio,
            "very long and narrow",
            "The center crop keeps little of such photos.",
        ),
    ):
        if indices:
            count = "1 photo is" if len(indices) == 1 else f"{len(indices):,} photos are"
            findings.append(Finding(":material/aspect_ratio:", f"{count} {issue}", advice, indices))
    return findings


def shorten(names: Sequence[str]) -> str:
    """Joins the first `MAX_NAMED` names and adds how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
