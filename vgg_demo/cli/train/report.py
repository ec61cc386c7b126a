"""Output of `train` and `find-lr`: inspection report, epochs and result."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vgg_demo.analysis.evaluation import Proportion
from vgg_demo.cli.console import log, pluralize, print_result
from vgg_demo.cli.evaluate import print_evaluation
from vgg_demo.inference.results import SCHEMA
from vgg_demo.training.inspection import IMBALANCE, RECOMMENDED_PHOTOS
from vgg_demo.training.progress import Epoch
from vgg_demo.training.records import InspectedDataset, TrainedModel

MAX_NAMED = 5  # names listed in a message


def log_inspection_report(inspected: InspectedDataset) -> None:
    """Logs the possible issues in the photos."""
    report, photos = inspected.report, inspected.photos
    names = [photo.photo.source.name for photo in photos]
    if inspected.unvalidated_classes:
        log(
            f"No held-out photos of {abbreviate(inspected.unvalidated_classes)}: all photos of the "
            "class are near-duplicates or in one group. Its accuracy will be unknown."
        )
    for group in report.conflicting_labels:
        labels = " and ".join(sorted({photos[index].photo.label for index in group}))
        files = abbreviate(names[index] for index in group)
        log(f"Near-duplicates with conflicting labels ({labels}): {files}")
    for similar_labels in report.similar_labels:
        log(f"Labels that differ only in capitalization: {abbreviate(similar_labels)}")
    duplicates = [group for group in report.duplicates if group not in report.conflicting_labels]
    if duplicates:
        log(
            f"{sum(map(len, duplicates)):,} near-duplicates in "
            f"{pluralize(len(duplicates), 'group')}; each group is kept together, in the "
            "training set or in the validation set: "
            f"{abbreviate(names[index] for index in duplicates[0])}"
        )
    if report.small_classes:
        classes = [f"{label} ({count})" for label, count in report.small_classes.items()]
        log(
            f"Classes with fewer than {RECOMMENDED_PHOTOS} photos: {abbreviate(classes)}. Their "
            "accuracy may be low."
        )
    if report.imbalance >= IMBALANCE:
        log(
            f"The largest class has {report.imbalance:.1f} times as many photos as the "
            "smallest. Class weights, on by default, compensate for this."
        )
    for indices, problem in (
        (report.low_resolution, "much smaller than the model input"),
        (report.extreme_aspect_ratio, "very long and narrow"),
    ):
        if indices:
            log(
                f"{pluralize(len(indices), 'photo')} {problem}: "
                f"{abbreviate(names[index] for index in indices)}"
            )


def log_epoch(epoch: Epoch) -> None:
    """Logs the metrics of an epoch."""
    metrics = (
        f"validation loss {epoch.validation_loss:.3f}, "
        f"validation accuracy {epoch.validation_accuracy:.1%}"
    )
    if epoch.number:
        best = " (best so far)" if epoch.is_best else ""
        number = f"{epoch.number:>{len(str(epoch.epochs))}}/{epoch.epochs}"
        log(f"  Epoch {number}: loss {epoch.loss:.3f}, {metrics}{best}")
    else:
        log(f"  Before fine-tuning: {metrics}")


def to_document(trained: TrainedModel, out: Path) -> dict[str, Any]:
    """Returns the result of a training run as JSON values."""
    report = trained.validation_report
    return {
        "schema": SCHEMA,
        "bundle": str(out),
        "model": trained.bundle.spec.name,
        "labels": list(trained.training_data.classes),
        **trained.bundle.record,
        "evaluation": report.evaluation.to_dict(),
        "thresholds": [dataclasses.asdict(threshold) for threshold in report.thresholds],
    }


def print_trained_model(trained: TrainedModel, out: Path) -> None:
    """Prints the metrics of a trained model on the validation set."""
    report = trained.validation_report
    low, high = report.evaluation.top1.interval
    print_result(
        f"Validation accuracy {_format_percent(report.evaluation.top1)} "
        f"({report.evaluation.top1.correct:,} of {report.evaluation.top1.count:,}), "
        f"95% interval {low:.0%}–{high:.0%}"
    )
    print_evaluation(report.evaluation, MAX_NAMED)
    print_result(f"  baseline            {_format_percent(report.baseline)} (most frequent class)")
    if report.learning_curve:
        points = ", ".join(
            f"{_format_percent(point.accuracy)} ({point.photos:,} photos)"
            for point in report.learning_curve
        )
        print_result(f"  learning curve      {points}")
    custom = trained.bundle.spec.custom
    assert custom is not None  # noqa: S101  # every bundle holds a custom model
    print_result(f"  threshold           {custom.effective_threshold:.0%} (below it: not sure)")
    print_result(f"Saved {out}. To classify a photo: vgg-demo classify PHOTO --model {out}")


def _format_percent(proportion: Proportion) -> str:
    return f"{proportion.value:.1%}"


def abbreviate(names: Iterable[str]) -> str:
    """Joins the first `MAX_NAMED` names and adds how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - MAX_NAMED:,} more" if len(listed) > MAX_NAMED else ""
    return ", ".join(listed[:MAX_NAMED]) + more
