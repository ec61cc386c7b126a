"""What was found in photos to learn from, shown with the photos."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from vgg_demo.errors import VggDemoError
from vgg_demo.files.printable import printable
from vgg_demo.reports import charts
from vgg_demo.training.data import Checked, conclude
from vgg_demo.training.dataset import Dataset, drop_rare
from vgg_demo.training.inspection import Looked
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color
from vgg_demo.ui.train.contact_sheet import show_photos
from vgg_demo.ui.train.findings import Finding, find
from vgg_demo.ui.train.inspection import Looking

INPUT_SIZE = 224  # pixels; of nearly all networks
MOST_ROWS = 100  # of a table
MOST_KINDS_SHOWN = 30


def review(looking: Looking) -> Checked | None:
    """Shows what was found. Returns what can be learned from, if anything can."""
    wanted = looking.wanted()
    heading = st.container()
    counts, found = st.columns([5, 6], gap="medium")
    with counts:
        drawn = st.container()
        photos = Dataset(tuple(one.photo for one in wanted))
        fewest = choose_fewest(photos, looking)
        dropped = drop_rare(photos, fewest).dropped or {}
        if dropped:
            named = ", ".join(f"{label} ({count})" for label, count in dropped.items())
            st.caption(f"Left out, for having too few photos: {escape(named)}.")
        offer_taking_back(looking)
    key = fewest, looking.left_out
    try:
        if key not in looking.concluded:  # once, not each time that the page is drawn
            looked = [one for one in wanted if one.photo.label not in dropped]
            looking.concluded = {key: conclude(looked, looking.failures, INPUT_SIZE)}
    except VggDemoError as error:
        with heading:
            st.error(escape(error), icon=":material/error:")
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


def choose_fewest(photos: Dataset, looking: Looking) -> int:
    """Offers to leave rare kinds out; two kinds are left in any case."""
    counts = sorted(photos.counts.values(), reverse=True)
    most = max(2, counts[1] if len(counts) > 1 else 2)
    looking.fewest = int(
        st.number_input(
            "Leave out kinds with fewer photos than",
            min_value=2,
            max_value=most,
            value=min(looking.fewest, most),
            key=f"teach_fewest-{most}",
        )
    )
    return looking.fewest


def show_findings(checked: Checked, looking: Looking) -> None:
    st.markdown("**What to look at before it learns**")
    findings = find(checked)
    for number, finding in enumerate(findings):
        show_finding(finding, checked.looked, looking, f"finding-{number}")
    show_unusable(looking)
    if not findings and not looking.failures:
        st.markdown(":material/check_circle: Nothing is wrong with these photos.")


def show_finding(finding: Finding, looked: Sequence[Looked], looking: Looking, scope: str) -> None:
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"{finding.icon} **{escape(finding.words)}.** {finding.advice}")
        if not finding.places:
            return
        # Its label stays as it is when one is left out: else it would close.
        with st.expander("Show them"):
            found = [looked[place] for place in finding.places]
            show_photos(found, looking, scope)
            if finding.can_all_go:
                st.button(
                    f"Leave out all {len(found)}",
                    icon=":material/close:",
                    on_click=looking.leave_out,
                    args=([looking.place_of(one) for one in found],),
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
                    "File": [escape(printable(name)) for name, _ in rows[:MOST_ROWS]],
                    "Why": [escape(why) for _, why in rows[:MOST_ROWS]],
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
            charts.class_chart(frame, text_color(), is_clickable=False),
            alt="Photos of each kind: "
            + ", ".join(f"{label} {count}" for label, count in counts.items()),
        )
    with st.expander("The same as a table"):
        st.dataframe(
            frame[["label", "count"]].rename(columns={"label": "Kind", "count": "Photos"}),
            hide_index=True,
            alt="Photos of each kind",
        )
