"""What was found in photos to learn from, shown with the photos."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from vgg_demo.errors import VggDemoError
from vgg_demo.files.printable import printable
from vgg_demo.reports import charts
from vgg_demo.training.data import InspectedDataset, summarize_inspection
from vgg_demo.training.dataset import Dataset, drop_rare_labels
from vgg_demo.training.inspection import InspectedPhoto
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color
from vgg_demo.ui.train.contact_sheet import show_photos
from vgg_demo.ui.train.findings import Finding, find
from vgg_demo.ui.train.inspection import Inspection

INPUT_SIZE = 224  # pixels; of nearly all networks
MAX_ROWS = 100  # of a table
MAX_CLASSES_SHOWN = 30


def review(inspection: Inspection) -> InspectedDataset | None:
    """Shows what was found. Returns what can be learned from, if anything can."""
    wanted = inspection.wanted()
    heading = st.container()
    counts, found = st.columns([5, 6], gap="medium")
    with counts:
        drawn = st.container()
        photos = Dataset(tuple(one.photo for one in wanted))
        fewest = choose_fewest(photos, inspection)
        dropped = drop_rare_labels(photos, fewest).dropped or {}
        if dropped:
            named = ", ".join(f"{label} ({count})" for label, count in dropped.items())
            st.caption(f"Left out, for having too few photos: {escape(named)}.")
        show_restore_button(inspection)
    key = fewest, inspection.left_out
    try:
        if key not in inspection.concluded:  # once, not each time that the page is drawn
            kept = [one for one in wanted if one.photo.label not in dropped]
            inspection.concluded = {
                key: summarize_inspection(kept, inspection.failures, INPUT_SIZE)
            }
    except VggDemoError as error:
        with heading:
            st.error(escape(error), icon=":material/error:")
        with found:
            show_unusable(inspection)
        return None
    inspected = inspection.concluded[key]
    with heading:
        count, kinds = len(inspected.photos), len(inspected.classes)
        st.header(f"{count:,} photos of {kinds} kinds", anchor=False)
    with drawn:
        show_counts(inspected)
    with found:
        show_findings(inspected, inspection)
    return inspected


def show_restore_button(inspection: Inspection) -> None:
    """Says how many photos the visitor has left out, and takes them back."""
    if count := len(inspection.left_out):
        with st.container(horizontal=True, vertical_alignment="center"):
            words = "1 photo is" if count == 1 else f"{count} photos are"
            st.caption(f"{words} left out by you.", width="content")
            st.button(
                "Take back",
                icon=":material/undo:",
                type="tertiary",
                on_click=inspection.take_back,
                key="train_restore",
            )


def choose_fewest(photos: Dataset, inspection: Inspection) -> int:
    """Offers to leave rare kinds out; two kinds are left in any case."""
    counts = sorted(photos.counts.values(), reverse=True)
    most = max(2, counts[1] if len(counts) > 1 else 2)
    inspection.fewest = int(
        st.number_input(
            "Leave out kinds with fewer photos than",
            min_value=2,
            max_value=most,
            value=min(inspection.fewest, most),
            key=f"train_fewest-{most}",
        )
    )
    return inspection.fewest


def show_findings(inspected: InspectedDataset, inspection: Inspection) -> None:
    st.markdown("**What to look at before it learns**")
    findings = find(inspected)
    for number, finding in enumerate(findings):
        show_finding(finding, inspected.photos, inspection, f"finding-{number}")
    show_unusable(inspection)
    if not findings and not inspection.failures:
        st.markdown(":material/check_circle: Nothing is wrong with these photos.")


def show_finding(
    finding: Finding, photos: Sequence[InspectedPhoto], inspection: Inspection, scope: str
) -> None:
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"{finding.icon} **{escape(finding.words)}.** {finding.advice}")
        if not finding.places:
            return
        # Its label stays as it is when one is left out: else it would close.
        with st.expander("Show them"):
            found = [photos[place] for place in finding.places]
            show_photos(found, inspection, scope)
            if finding.can_all_go:
                st.button(
                    f"Leave out all {len(found)}",
                    icon=":material/close:",
                    on_click=inspection.leave_out,
                    args=([inspection.place_of(one) for one in found],),
                )


def show_unusable(inspection: Inspection) -> None:
    """Shows what cannot be learned from at all."""
    dataset = inspection.dataset
    rows = [(failure.file, failure.message) for failure in inspection.failures]
    rows += [(name, "Nothing says what is on it.") for name in dataset.unlabeled]
    rows += [(name, "It is in the table, but there is no such photo.") for name in dataset.missing]
    if rows:
        with st.expander(f"What could not be used ({len(rows):,})", icon=":material/broken_image:"):
            st.table(
                {
                    "File": [escape(printable(name)) for name, _ in rows[:MAX_ROWS]],
                    "Why": [escape(why) for _, why in rows[:MAX_ROWS]],
                },
                alt="Files that could not be used, and why",
            )
            if len(rows) > MAX_ROWS:
                st.caption(f"The first {MAX_ROWS} of {len(rows):,}.")


def show_counts(inspected: InspectedDataset) -> None:
    counts = inspected.report.counts
    frame = pd.DataFrame(
        [
            {"wnid": label, "label": label, "count": count}
            for label, count in sorted(counts.items(), key=lambda item: -item[1])
        ]
    )
    if len(frame) <= MAX_CLASSES_SHOWN:
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
