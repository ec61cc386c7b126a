"""Results of the inspection: counts per class and possible issues, with the photos."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from vgg_demo.errors import VggDemoError
from vgg_demo.files.printable import printable
from vgg_demo.reports import charts
from vgg_demo.training.dataset import Dataset, drop_rare_labels
from vgg_demo.training.inspection import InspectedPhoto
from vgg_demo.training.records import InspectedDataset, summarize_inspection
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color
from vgg_demo.ui.train.contact_sheet import show_photos
from vgg_demo.ui.train.findings import Finding, find_issues
from vgg_demo.ui.train.inspection import Inspection

INPUT_SIZE = 224  # pixels; input size of nearly all backbones
MAX_ROWS = 100  # of a table
MAX_CLASSES_IN_CHART = 30


def review(inspection: Inspection) -> InspectedDataset | None:
    """Shows the inspection results. Returns the photos to train on; None if they are unusable."""
    included = inspection.included()
    heading = st.container()
    left, right = st.columns([5, 6], gap="medium")
    with left:
        chart = st.container()
        dataset = Dataset(tuple(inspected.photo for inspected in included))
        min_photos = choose_min_photos(dataset, inspection)
        dropped = drop_rare_labels(dataset, min_photos).dropped or {}
        if dropped:
            dropped_classes = ", ".join(f"{label} ({count})" for label, count in dropped.items())
            st.caption(f"Excluded classes with too few photos: {escape(dropped_classes)}.")
        show_restore_button(inspection)
    key = min_photos, inspection.excluded
    try:
        if key not in inspection.summary:  # once, not on every rerun
            photos = [photo for photo in included if photo.photo.label not in dropped]
            summary = summarize_inspection(photos, inspection.failures, INPUT_SIZE)
            inspection.summary = {key: summary}
    except VggDemoError as error:
        with heading:
            st.error(escape(error), icon=":material/error:")
        with right:
            show_unusable_files(inspection)
        return None
    summary = inspection.summary[key]
    with heading:
        st.header(f"{len(summary.photos):,} photos in {len(summary.classes)} classes", anchor=False)
    with chart:
        show_counts(summary)
    with right:
        show_findings(summary, inspection)
    return summary


def show_restore_button(inspection: Inspection) -> None:
    """Shows how many photos the visitor has excluded, and a button that restores them."""
    if count := len(inspection.excluded):
        with st.container(horizontal=True, vertical_alignment="center"):
            photos = "1 photo" if count == 1 else f"{count} photos"
            st.caption(f"You excluded {photos}.", width="content")
            st.button(
                "Restore",
                icon=":material/undo:",
                type="tertiary",
                on_click=inspection.restore,
                key="train_restore",
            )


def choose_min_photos(dataset: Dataset, inspection: Inspection) -> int:
    """Shows the minimum number of photos per class; at least two classes always remain."""
    counts = sorted(dataset.counts.values(), reverse=True)
    largest = max(2, counts[1] if len(counts) > 1 else 2)
    inspection.min_photos = int(
        st.number_input(
            "Minimum photos per class",
            min_value=2,
            max_value=largest,
            value=min(inspection.min_photos, largest),
            help="Classes with fewer photos are excluded from training.",
            key=f"train_min_photos-{largest}",
        )
    )
    return inspection.min_photos


def show_findings(inspected: InspectedDataset, inspection: Inspection) -> None:
    st.markdown("**Possible issues**")
    findings = find_issues(inspected)
    for number, finding in enumerate(findings):
        show_finding(finding, inspected.photos, inspection, f"finding-{number}")
    show_unusable_files(inspection)
    if not findings and not inspection.failures:
        st.markdown(":material/check_circle: No issues found.")


def show_finding(
    finding: Finding, photos: Sequence[InspectedPhoto], inspection: Inspection, scope: str
) -> None:
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"{finding.icon} **{escape(finding.summary)}.** {finding.advice}")
        if not finding.indices:
            return
        # The label must not contain the count, because a new label would close the expander.
        with st.expander("Show photos"):
            affected = [photos[index] for index in finding.indices]
            show_photos(affected, inspection, scope)
            if finding.can_exclude_all:
                st.button(
                    f"Exclude all {len(affected)}",
                    icon=":material/close:",
                    on_click=inspection.exclude,
                    args=([inspection.index_of(photo) for photo in affected],),
                )


def show_unusable_files(inspection: Inspection) -> None:
    """Shows the files that cannot be used for training, each with the reason."""
    dataset = inspection.dataset
    rows = [(failure.file, failure.message) for failure in inspection.failures]
    rows += [(name, "No label.") for name in dataset.unlabeled]
    rows += [(name, "In the table, but no photo has this name.") for name in dataset.missing]
    if rows:
        with st.expander(f"Unusable files ({len(rows):,})", icon=":material/broken_image:"):
            st.table(
                {
                    "File": [escape(printable(name)) for name, _ in rows[:MAX_ROWS]],
                    "Reason": [escape(reason) for _, reason in rows[:MAX_ROWS]],
                },
                alt="Unusable files and reasons",
            )
            if len(rows) > MAX_ROWS:
                st.caption(f"Showing the first {MAX_ROWS} of {len(rows):,}.")


def show_counts(inspected: InspectedDataset) -> None:
    counts = inspected.report.counts
    frame = pd.DataFrame(
        [
            {"wnid": label, "label": label, "count": count}
            for label, count in sorted(counts.items(), key=lambda item: -item[1])
        ]
    )
    if len(frame) <= MAX_CLASSES_IN_CHART:
        st.altair_chart(
            charts.class_counts_chart(frame, text_color(), is_clickable=False),
            alt="Photos per class: "
            + ", ".join(f"{label} {count}" for label, count in counts.items()),
        )
    with st.expander("Show as table"):
        st.dataframe(
            frame[["label", "count"]].rename(columns={"label": "Class", "count": "Photos"}),
            hide_index=True,
            alt="Photos per class",
        )
