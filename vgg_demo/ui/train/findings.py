"""What may be wrong with photos to learn from, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vgg_demo.training.data import InspectedDataset
from vgg_demo.training.inspection import FEW, IMBALANCE, InspectionReport

MAX_NAMED = 8  # kinds in a sentence


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that may be wrong with photos.

    Attributes:
        icon: Of it.
        words: What, in a sentence.
        advice: What comes of it.
        places: The photos.
        can_all_go: Whether nothing is lost without them.
    """

    icon: str
    words: str
    advice: str
    places: tuple[int, ...] = ()
    can_all_go: bool = False


def find(inspected: InspectedDataset) -> list[Finding]:
    """Returns what may be wrong, the worst first."""
    return [
        *find_wrong_labels(inspected),
        *find_twins(inspected.report),
        *find_scarcity(inspected.report),
        *find_odd_sizes(inspected.report),
    ]


def find_wrong_labels(inspected: InspectedDataset) -> list[Finding]:
    report, photos = inspected.report, inspected.photos
    findings = []
    if report.contradictions:
        places = tuple(place for group in report.contradictions for place in group)
        labels = sorted({photos[place].photo.label for place in places})
        findings.append(
            Finding(
                ":material/error:",
                f"The same photos are called {some(labels, ' and ')}",
                "It cannot learn both. Leave out the wrong ones, or all.",
                places,
                can_all_go=True,
            )
        )
    if inspected.never_judged:
        findings.append(
            Finding(
                ":material/visibility_off:",
                f"All photos look alike, or belong together: {some(inspected.never_judged)}",
                "So none can be kept back, and nobody will know how well it is recognised. Add "
                "photos that were taken apart from these.",
            )
        )
    findings += [
        Finding(
            ":material/text_fields:",
            f"{' and '.join(group)} differ in capitals only",
            "They are learned as different kinds. If they are one, name them alike.",
        )
        for group in report.alike
    ]
    return findings


def find_twins(report: InspectionReport) -> list[Finding]:
    findings = []
    twins = [group for group in report.twins if group not in report.contradictions]
    if twins:
        places = tuple(place for group in twins for place in group)
        findings.append(
            Finding(
                ":material/content_copy:",
                f"{len(places)} photos look like another one",
                "They stay together, to be learned from or to be judged by: else it would be "
                "judged by what it knows already.",
                places,
            )
        )
    return findings


def find_scarcity(report: InspectionReport) -> list[Finding]:
    findings = []
    if report.few:
        named = some([f"{label} ({count})" for label, count in report.few.items()])
        findings.append(
            Finding(
                ":material/add_photo_alternate:",
                f"Fewer than {FEW} photos: {named}",
                "Its answers will hardly be good. A hundred of each kind are.",
            )
        )
    if report.imbalance >= IMBALANCE:
        findings.append(
            Finding(
                ":material/balance:",
                f"One kind has {report.imbalance:.1f} times the photos of another",
                "Rare ones count for more, to make up for it.",
            )
        )
    return findings


def find_odd_sizes(report: InspectionReport) -> list[Finding]:
    findings = []
    for places, words, advice in (
        (report.small, "much smaller than what networks look at", "They are scaled up."),
        (report.long, "very long", "Cutting out the centre leaves little of them."),
    ):
        if places:
            count = "1 photo is" if len(places) == 1 else f"{len(places):,} photos are"
            findings.append(Finding(":material/aspect_ratio:", f"{count} {words}", advice, places))
    return findings


def some(names: Sequence[str], between: str = ", ") -> str:
    """Writes the first of many names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return between.join(names[:MAX_NAMED]) + more
