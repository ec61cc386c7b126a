"""What `teach` says: of photos, while it learns, and of what came of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from vgg_demo.analysis.evaluation import Share
from vgg_demo.cli.console import show, tell
from vgg_demo.cli.evaluate import show_evaluation
from vgg_demo.inference.results import SCHEMA
from vgg_demo.training.data import Checked, Learned
from vgg_demo.training.inspection import FEW, IMBALANCE

MOST_NAMED = 5


def tell_report(checked: Checked) -> None:
    report, looked = checked.report, checked.looked
    names = [one.photo.source.name for one in looked]
    if checked.never_judged:
        tell(
            f"All photos look alike, or belong together: {named(checked.never_judged)}. So none "
            "can be kept back, and nobody will know how well it is recognised."
        )
    for group in report.contradictions:
        labels = " and ".join(sorted({looked[place].photo.label for place in group}))
        tell(f"The same photo is called {labels}: {named([names[place] for place in group])}")
    for alike in report.alike:
        tell(f"These labels differ in capitals only: {named(alike)}")
    same = [group for group in report.twins if group not in report.contradictions]
    if same:
        tell(
            f"{sum(map(len, same)):,} photos look like another one ({len(same):,} groups); they "
            f"stay on one side of the split: {named([names[place] for place in same[0]])}"
        )
    if report.few:
        few = [f"{label} ({count})" for label, count in report.few.items()]
        tell(f"Fewer than {FEW} photos: {named(few)}. Its answers will hardly be good.")
    if report.imbalance >= IMBALANCE:
        tell(
            f"The most frequent label has {report.imbalance:.1f} times the photos of the rarest; "
            "rare ones count for more, to make up for it."
        )
    for places, what in ((report.small, "much smaller"), (report.long, "much longer one way")):
        if places:
            tell(
                f"{len(places):,} photos are {what} than the network looks at: "
                f"{named([names[place] for place in places])}"
            )


def tell_epoch(epoch: Any) -> None:
    best = "  best so far" if epoch.is_best else ""
    others = f"on the others {epoch.validation_loss:.3f}, right {epoch.validation_accuracy:.1%}"
    if epoch.number:
        tell(f"  {epoch.number:>3} of {epoch.epochs}: loss {epoch.loss:.3f}, {others}{best}")
    else:
        tell(f"  before: {others}")


def summary(learned: Learned, out: Path) -> dict[str, Any]:
    record = dict(learned.bundle.record)
    return {
        "schema": SCHEMA,
        "bundle": str(out),
        "model": learned.bundle.spec.name,
        "labels": list(learned.material.classes),
        **record,
        "evaluation": learned.judgement.evaluation.to_dict(),
        "thresholds": [dataclasses.asdict(one) for one in learned.judgement.thresholds],
    }


def show_learned(learned: Learned, out: Path) -> None:
    judgement = learned.judgement
    show_evaluation(judgement.evaluation, MOST_NAMED)
    show(f"  always the same would be     {_percent(judgement.baseline)}")
    lessons = ", ".join(f"{_percent(one.accuracy)} ({one.photos})" for one in judgement.lessons)
    show(f"  learning from fewer photos   {lessons}")
    taught = learned.bundle.spec.taught
    assert taught is not None  # noqa: S101  # what a bundle is
    show(f"  not sure below               {taught.sure_from:.0%}")
    show(f"Saved {out}. Use it: python -m vgg_demo classify PHOTO --model {out}")


def _percent(share: Share) -> str:
    return f"{share.value:.1%}"


def named(names: Any) -> str:
    listed = list(names)
    more = f" and {len(listed) - MOST_NAMED:,} more" if len(listed) > MOST_NAMED else ""
    return ", ".join(listed[:MOST_NAMED]) + more
