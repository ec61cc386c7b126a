"""What `teach` says: of photos, while it learns, and of what came of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from vgg_demo.analysis.evaluation import Proportion
from vgg_demo.cli.console import log, print_result
from vgg_demo.cli.evaluate import print_evaluation
from vgg_demo.inference.results import SCHEMA
from vgg_demo.training.data import InspectedDataset, TrainedModel
from vgg_demo.training.inspection import FEW, IMBALANCE

MAX_NAMED = 5


def log_inspection_report(inspected: InspectedDataset) -> None:
    report, photos = inspected.report, inspected.photos
    names = [one.photo.source.name for one in photos]
    if inspected.never_judged:
        log(
            f"All photos look alike, or belong together: {named(inspected.never_judged)}. So none "
            "can be kept back, and nobody will know how well it is recognised."
        )
    for group in report.contradictions:
        labels = " and ".join(sorted({photos[place].photo.label for place in group}))
        log(f"The same photo is called {labels}: {named([names[place] for place in group])}")
    for alike in report.alike:
        log(f"These labels differ in capitals only: {named(alike)}")
    same = [group for group in report.twins if group not in report.contradictions]
    if same:
        log(
            f"{sum(map(len, same)):,} photos look like another one ({len(same):,} groups); they "
            f"stay on one side of the split: {named([names[place] for place in same[0]])}"
        )
    if report.few:
        few = [f"{label} ({count})" for label, count in report.few.items()]
        log(f"Fewer than {FEW} photos: {named(few)}. Its answers will hardly be good.")
    if report.imbalance >= IMBALANCE:
        log(
            f"The most frequent label has {report.imbalance:.1f} times the photos of the rarest; "
            "rare ones count for more, to make up for it."
        )
    for places, what in ((report.small, "much smaller"), (report.long, "much longer one way")):
        if places:
            log(
                f"{len(places):,} photos are {what} than the network looks at: "
                f"{named([names[place] for place in places])}"
            )


def log_epoch(epoch: Any) -> None:
    best = "  best so far" if epoch.is_best else ""
    others = f"on the others {epoch.validation_loss:.3f}, right {epoch.validation_accuracy:.1%}"
    if epoch.number:
        log(f"  {epoch.number:>3} of {epoch.epochs}: loss {epoch.loss:.3f}, {others}{best}")
    else:
        log(f"  before: {others}")


def summary(trained: TrainedModel, out: Path) -> dict[str, Any]:
    record = dict(trained.bundle.record)
    return {
        "schema": SCHEMA,
        "bundle": str(out),
        "model": trained.bundle.spec.name,
        "labels": list(trained.training_data.classes),
        **record,
        "evaluation": trained.validation_report.evaluation.to_dict(),
        "thresholds": [dataclasses.asdict(one) for one in trained.validation_report.thresholds],
    }


def print_trained_model(trained: TrainedModel, out: Path) -> None:
    validation_report = trained.validation_report
    print_evaluation(validation_report.evaluation, MAX_NAMED)
    print_result(f"  always the same would be     {_percent(validation_report.baseline)}")
    learning_curve = ", ".join(
        f"{_percent(one.accuracy)} ({one.photos})" for one in validation_report.learning_curve
    )
    print_result(f"  learning from fewer photos   {learning_curve}")
    custom = trained.bundle.spec.custom
    assert custom is not None  # noqa: S101  # what a bundle is
    print_result(f"  not sure below               {custom.sure_from:.0%}")
    print_result(f"Saved {out}. Use it: vgg-demo classify PHOTO --model {out}")


def _percent(proportion: Proportion) -> str:
    return f"{proportion.value:.1%}"


def named(names: Any) -> str:
    listed = list(names)
    more = f" and {len(listed) - MAX_NAMED:,} more" if len(listed) > MAX_NAMED else ""
    return ", ".join(listed[:MAX_NAMED]) + more
