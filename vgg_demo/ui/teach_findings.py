"""What was found in photos to learn from, shown with the photos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd
import streamlit as st
from PIL import Image

from vgg_demo import charts
from vgg_demo.errors import VggDemoError
from vgg_demo.photo import open_photo
from vgg_demo.preprocess import Resize
from vgg_demo.printable import printable
from vgg_demo.registry import ModelSpec
from vgg_demo.teach.augment import augmented
from vgg_demo.teach.checks import FEW, IMBALANCE, Looked, Report
from vgg_demo.teach.dataset import Dataset, drop_rare
from vgg_demo.teach.material import Checked, conclude
from vgg_demo.ui import shared
from vgg_demo.ui.teach_looking import Looking

INPUT_SIZE = 224  # pixels; of nearly all networks
MOST_NAMED = 8  # kinds in a sentence
MOST_SHOWN = 24  # photos at a time
MOST_ROWS = 100  # of a table
MOST_KINDS_SHOWN = 30
AUGMENTED = 4  # photos of a kind that are shown in all their views
VIEWS = 5

PLAIN, SEEN = "The photos", "What it is shown of them"


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


def review(looking: Looking) -> Checked | None:
    """Shows what was found. Returns what can be learned from, if anything can."""
    wanted = looking.wanted()
    heading = st.container()
    counts, found = st.columns([5, 6], gap="medium")
    with counts:
        drawn = st.container()
        photos = Dataset(tuple(one.photo for one in wanted))
        fewest = choose_fewest(photos)
        dropped = drop_rare(photos, fewest).dropped or {}
        if dropped:
            named = ", ".join(f"{label} ({count})" for label, count in dropped.items())
            st.caption(f"Left out, for having too few photos: {shared.escape(named)}.")
        offer_taking_back(looking)
    key = fewest, looking.left_out
    try:
        if key not in looking.concluded:  # once, not each time that the page is drawn
            looked = [one for one in wanted if one.photo.label not in dropped]
            looking.concluded = {key: conclude(looked, looking.failures, INPUT_SIZE)}
    except VggDemoError as error:
        with heading:
            st.error(shared.escape(error), icon=":material/error:")
        with found:
            show_unusable(looking)
        return None
    checked = looking.concluded[key]
    with heading:
        count, kinds = len(checked.looked), len(checked.classes)
        st.header(f"{count:,} photos of {kinds} kinds", anchor=False)
    with drawn:
        show_counts(checked)
    with found:
        show_findings(checked, looking)
    return checked


def offer_taking_back(looking: Looking) -> None:
    """Says how many photos the visitor has left out, and takes them back."""
    if count := len(looking.left_out):
        with st.container(horizontal=True, vertical_alignment="center"):
            words = "1 photo is" if count == 1 else f"{count} photos are"
            st.caption(f"{words} left out by you.", width="content")
            st.button(
                "Take back",
                icon=":material/undo:",
                type="tertiary",
                on_click=looking.take_back,
                key="teach_take_back",
            )


def choose_fewest(photos: Dataset) -> int:
    """Offers to leave rare kinds out; two kinds are left in any case."""
    counts = sorted(photos.counts.values(), reverse=True)
    most = max(2, counts[1] if len(counts) > 1 else 2)
    return int(
        st.number_input(
            "Leave out kinds with fewer photos than",
            min_value=2,
            max_value=most,
            value=2,
            key=f"teach_fewest-{most}",
        )
    )


def show_findings(checked: Checked, looking: Looking) -> None:
    st.markdown("**What to look at before it learns**")
    findings = find(checked)
    for number, finding in enumerate(findings):
        show_finding(finding, checked.looked, looking, f"finding-{number}")
    show_unusable(looking)
    if not findings and not looking.failures:
        st.markdown(":material/check_circle: Nothing is wrong with these photos.")


def find(checked: Checked) -> list[Finding]:
    """Returns what may be wrong, the worst first."""
    return [
        *find_wrong_labels(checked),
        *find_twins(checked.report),
        *find_scarcity(checked.report),
        *find_odd_sizes(checked.report),
    ]


def find_wrong_labels(checked: Checked) -> list[Finding]:
    report, looked = checked.report, checked.looked
    findings = []
    if report.contradictions:
        places = tuple(place for group in report.contradictions for place in group)
        labels = sorted({looked[place].photo.label for place in places})
        findings.append(
            Finding(
                ":material/error:",
                f"The same photos are called {some(labels, ' and ')}",
                "It cannot learn both. Leave out the wrong ones, or all.",
                places,
                can_all_go=True,
            )
        )
    if checked.never_judged:
        findings.append(
            Finding(
                ":material/visibility_off:",
                f"All photos look alike, or belong together: {some(checked.never_judged)}",
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


def find_twins(report: Report) -> list[Finding]:
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


def find_scarcity(report: Report) -> list[Finding]:
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


def find_odd_sizes(report: Report) -> list[Finding]:
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
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return between.join(names[:MOST_NAMED]) + more


def show_finding(finding: Finding, looked: Sequence[Looked], looking: Looking, scope: str) -> None:
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"{finding.icon} **{shared.escape(finding.words)}.** {finding.advice}")
        if not finding.places:
            return
        with st.expander(f"Show them ({len(finding.places)})"):
            shown = [looked[place] for place in finding.places[:MOST_SHOWN]]
            show_photos(shown, looking, scope)
            if len(finding.places) > MOST_SHOWN:
                st.caption(f"The first {MOST_SHOWN} of {len(finding.places):,}.")
            if finding.can_all_go:
                st.button(
                    f"Leave out all {len(finding.places)}",
                    icon=":material/close:",
                    on_click=looking.leave_out,
                    args=([looked[place] for place in finding.places],),
                )


def show_photos(
    looked: Iterable[Looked], looking: Looking, scope: str, *, columns: int = 5
) -> None:
    """Shows photos, each with its name and a button that leaves it out."""
    with st.grid(columns, min_column_width=96, gap="xsmall"):
        for one in looked:
            with st.container(gap="xxsmall"):
                name = printable(one.photo.source.name)
                st.image(one.thumbnail, alt=f"{one.photo.label}: {name}", width="stretch")
                st.caption(shared.escape(f"{one.photo.label}, {PurePosixPath(name).name}"))
                st.button(
                    "Leave out",
                    key=f"leave-out-{scope}-{looking.place_of(one)}",
                    help=f"Does not learn from {shared.escape(name)}",
                    type="tertiary",
                    on_click=looking.leave_out,
                    args=([one],),
                )


def show_unusable(looking: Looking) -> None:
    """Shows what cannot be learned from at all."""
    dataset = looking.dataset
    rows = [(failure.file, failure.message) for failure in looking.failures]
    rows += [(name, "Nothing says what is on it.") for name in dataset.unlabelled]
    rows += [(name, "It is in the table, but there is no such photo.") for name in dataset.missing]
    if rows:
        with st.expander(f"What could not be used ({len(rows):,})", icon=":material/broken_image:"):
            st.table(
                {
                    "File": [shared.escape(printable(name)) for name, _ in rows[:MOST_ROWS]],
                    "Why": [shared.escape(why) for _, why in rows[:MOST_ROWS]],
                },
                alt="Files that could not be used, and why",
            )
            if len(rows) > MOST_ROWS:
                st.caption(f"The first {MOST_ROWS} of {len(rows):,}.")


def show_counts(checked: Checked) -> None:
    counts = checked.report.counts
    frame = pd.DataFrame(
        [
            {"wnid": label, "label": label, "count": count}
            for label, count in sorted(counts.items(), key=lambda item: -item[1])
        ]
    )
    if len(frame) <= MOST_KINDS_SHOWN:
        st.altair_chart(
            charts.class_chart(frame, shared.text_color(), is_clickable=False),
            alt="Photos of each kind: "
            + ", ".join(f"{label} {count}" for label, count in counts.items()),
        )
    with st.expander("The same as a table"):
        st.dataframe(
            frame[["label", "count"]].rename(columns={"label": "Kind", "count": "Photos"}),
            hide_index=True,
            alt="Photos of each kind",
        )


def show_sheet(checked: Checked, looking: Looking, spec: ModelSpec, views: int) -> None:
    """Shows photos of each kind, as they are and as they are learned from."""
    sheet = st.expander("Photos of each kind", icon=":material/grid_view:", on_change="rerun")
    if not sheet.open:
        return
    with sheet:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            shown = st.segmented_control(
                "Show", [PLAIN, SEEN], default=PLAIN, required=True, key="teach_sheet"
            )
            label = st.selectbox("Kind", checked.classes, key="teach_sheet_kind", width=260)
        looked = [one for one in checked.looked if one.photo.label == label]
        if shown == PLAIN:
            show_photos(looked[:MOST_SHOWN], looking, "sheet", columns=8)
            if len(looked) > MOST_SHOWN:
                st.caption(f"The first {MOST_SHOWN} of {len(looked):,}.")
        else:
            show_views(looked[:AUGMENTED], spec, views)


def show_views(looked: Sequence[Looked], spec: ModelSpec, views: int) -> None:
    st.caption(
        f"A photo a row, as {spec.keras_name} is shown it while it learns: as it is, mirrored, and "
        f"from the third on cut out anew and made lighter or darker. Now it is shown {views} of "
        "these (“views” under More settings). So it learns the thing, and not its place."
    )
    for one in looked:
        with st.grid(VIEWS, wrap=False, min_column_width=56, gap="xsmall"):
            for view in range(VIEWS):
                st.image(
                    get_view(one.sha256, spec.name, view, _looked=one, _spec=spec),
                    alt=f"View {view + 1} of {printable(one.photo.source.name)}",
                    width="stretch",
                )


# Photos are for the session that brought them.
@st.cache_data(scope="session", max_entries=200, show_spinner=False)
def get_view(
    sha256: str,
    model: str,  # noqa: ARG001
    view: int,
    *,
    _looked: Looked,
    _spec: ModelSpec,
) -> Image.Image:
    """Returns a view of a photo, as `augmented` makes it for a network."""
    data = _looked.photo.source.read()
    photo = open_photo(data, limits=shared.get_settings().limits)
    return augmented(photo.image, _spec, Resize.CROP, view, sha256)
