"""What came of a batch: a gallery, a table, and files to take away."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd
import streamlit as st
from PIL import Image

from vgg_demo.analysis.verdict import common_name, interpret, is_informative, members
from vgg_demo.batch.pipeline import columns, flatten
from vgg_demo.files.printable import printable
from vgg_demo.files.sorting import safe_name
from vgg_demo.inference.results import percent
from vgg_demo.models.labels import ancestors
from vgg_demo.reports import charts
from vgg_demo.reports.annotate import annotate
from vgg_demo.reports.document import to_document
from vgg_demo.ui.batch.evaluation import show_evaluation
from vgg_demo.ui.batch.run import MAX_PHOTOS, BatchRun, Found
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color

PAGE = 24  # photos in a page of the gallery
THUMBNAIL_ROW = 60  # pixels
BARS = 15  # classes in the chart
ALL = ""

ORDERS = ("As given", "Least certain", "Disagreement")
GALLERY, TABLE = "Gallery", "Table"


def show_results(run: BatchRun, top: int) -> None:
    """Shows a batch that has ended."""
    show_summary(run)
    if not run.found:
        return
    overview, choices = st.columns([5, 6], gap="medium")
    with overview:
        show_classes(run)
    with choices:
        shown = in_order(run, matching(run, choose_kind(run)))
        view = st.segmented_control(
            "Show", [GALLERY, TABLE], default=GALLERY, required=True, key="batch_view"
        )
        show_downloads(run, top)
    if view == TABLE:
        show_table(run, shown)
    else:
        show_gallery(shown)
    show_evaluation(run)


def show_summary(run: BatchRun) -> None:
    words = f"{run.count} photos"
    if run.failures:
        words += f", {len(run.failures)} of them could not be used"
    st.header(words, anchor=False)
    cancelled = run.total is not None and run.count < min(run.total, MAX_PHOTOS)
    st.caption(
        (f"Cancelled; {run.total} were given. " if cancelled else "")
        + f"{run.per_second:.1f} photos a second with "
        + ", ".join(escape(spec.keras_name) for spec in run.specs)
        + "."
    )
    if run.was_cut:
        st.warning(
            f"Only the first {MAX_PHOTOS} photos were looked at. For more, use the command "
            "line: python -m vgg\\_demo batch.",
            icon=":material/content_cut:",
        )
    if run.failures:
        with st.expander(f"What could not be used ({len(run.failures)})"):
            st.dataframe(
                pd.DataFrame(
                    {
                        "File": [printable(failure.file) for failure in run.failures],
                        "Why": [failure.message for failure in run.failures],
                    }
                ),
                hide_index=True,
                alt="Files that could not be used, and why",
            )


def winner(found: Found) -> str:
    """Returns the WordNet ID of the first network's first answer."""
    return found.results[0].predictions(1)[0].wnid


def show_classes(run: BatchRun) -> None:
    """Shows how often each class is the answer; a click on a bar shows its photos."""
    labels = run.specs[0].classes
    count = Counter(winner(found) for found in run.found)
    frame = pd.DataFrame(
        [
            {"wnid": wnid, "label": common_name(wnid, labels), "count": number}
            for wnid, number in count.most_common(BARS)
        ]
    )
    st.markdown(
        f"**What {escape(run.specs[0].keras_name)} sees most**",
        help="Its first answers. A click on a bar shows its photos; the list beside does the same.",
    )
    st.altair_chart(
        charts.class_chart(frame, text_color()),
        key="batch_chart",
        on_select=take_bar,
        selection_mode="picked",
        alt="Bars: "
        + ", ".join(
            f"{label} {number}"
            for label, number in zip(frame["label"], frame["count"], strict=True)
        ),
    )
    if len(count) > BARS:
        st.caption(f"The {BARS} most frequent of {len(count)} classes.")


def take_bar() -> None:
    picked = st.session_state["batch_chart"]["selection"].get("picked") or []
    st.session_state["batch_kind"] = picked[0]["wnid"] if picked else ALL
    st.session_state["batch_page"] = 1


def choose_kind(run: BatchRun) -> str:
    """Offers kinds of things: classes, and what they are kinds of in WordNet."""
    labels = run.specs[0].classes
    under = members(labels)
    count = Counter(kind for found in run.found for kind in ancestors(winner(found)))
    classes = {label.wnid for label in labels}
    kinds = [
        kind
        for kind, _ in count.most_common()
        if kind in classes
        or (count[kind] > 1 and is_informative(kind, len(under[kind]), len(labels)))
    ]
    if st.session_state.get("batch_kind", ALL) not in kinds:
        st.session_state["batch_kind"] = ALL

    def describe(kind: str) -> str:
        if kind == ALL:
            return f"All photos ({len(run.found)})"
        return f"{common_name(kind, labels)} ({count[kind]})"

    return st.selectbox(
        "Only photos of",
        [ALL, *kinds],
        format_func=describe,
        key="batch_kind",
        on_change=to_first_page,
        help="By the first network's first answer; “bird” holds all kinds of birds.",
    )


def to_first_page() -> None:
    st.session_state["batch_page"] = 1


def matching(run: BatchRun, kind: str) -> list[Found]:
    if kind == ALL:
        return run.found
    return [found for found in run.found if kind in ancestors(winner(found))]


def in_order(run: BatchRun, found: list[Found]) -> list[Found]:
    """Offers orders, and returns photos in the chosen one."""
    offered = ORDERS if len(run.specs) > 1 else ORDERS[:2]
    order = st.segmented_control(
        "Order",
        offered,
        default=offered[0],
        required=True,
        key=f"batch_order_{len(offered)}",
        on_change=to_first_page,
    )
    if order == ORDERS[1]:
        return sorted(found, key=lambda one: max(one.results[0].probabilities))
    if order == ORDERS[2]:
        return sorted(found, key=lambda one: -one.disagreement)
    return found


def show_gallery(shown: Sequence[Found]) -> None:
    pages = math.ceil(len(shown) / PAGE)
    page = min(st.session_state.get("batch_page", 1), pages)
    with st.grid(6, min_column_width=140, gap="small"):
        for found in shown[(page - 1) * PAGE : page * PAGE]:
            show_card(found)
    if pages > 1:
        st.pagination(pages, key="batch_page")


def show_card(found: Found) -> None:
    with st.container(border=True, gap="xsmall", height="stretch"):
        name = printable(PurePosixPath(found.file).name)
        st.image(found.copies.picture, alt=f"Photo {name}", width="stretch")
        for result in found.results:
            (best,) = result.predictions(1)
            doubt = "" if interpret(result).is_sure else " :material/help:"
            st.markdown(f"**{escape(best.label)}** {percent(best.probability)}{doubt}")
        st.caption(escape(name))


def show_table(run: BatchRun, shown: Sequence[Found]) -> None:
    rows: dict[str, list[object]] = {
        "photo": [found.copies.thumbnail for found in shown],
        "file": [printable(found.file) for found in shown],
    }
    config = {
        "photo": st.column_config.ImageColumn("Photo", width="small"),
        "file": st.column_config.TextColumn("File", width="medium"),
    }
    for place, spec in enumerate(run.specs):
        best = [found.results[place].predictions(1)[0] for found in shown]
        rows[f"label_{spec.name}"] = [answer.label for answer in best]
        rows[f"probability_{spec.name}"] = [answer.probability for answer in best]
        config[f"label_{spec.name}"] = st.column_config.TextColumn(spec.keras_name)
        config[f"probability_{spec.name}"] = st.column_config.ProgressColumn(
            "Probability", format="percent", min_value=0, max_value=1
        )
    if len(run.specs) > 1:
        rows["apart"] = [found.disagreement for found in shown]
        config["apart"] = st.column_config.ProgressColumn(
            "Disagreement",
            format="%.2f",
            min_value=0,
            max_value=1,
            help="The largest distance between two networks' answers: 0 is the very same.",
        )
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config=config,
        height=520,
        row_height=THUMBNAIL_ROW,
        alt="The photos with the networks' first answers",
    )


def show_downloads(run: BatchRun, top: int) -> None:
    """Offers the results as files, which are made when they are asked for."""
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            lambda: to_csv(run, top),
            file_name="photos.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
        )
        st.download_button(
            "JSON",
            lambda: to_json(run, top),
            file_name="photos.json",
            mime="application/json",
            icon=":material/data_object:",
            on_click="ignore",
        )
        st.download_button(
            "Photos with answers",
            lambda: to_zip(run),
            file_name="photos.zip",
            mime="application/zip",
            icon=":material/folder_zip:",
            on_click="ignore",
            help="Small copies with the first network's answer written on them.",
        )


def to_csv(run: BatchRun, top: int) -> str:
    rows = [flat for row in run.kept for flat in flatten(row, run.specs, top)]
    frame = pd.DataFrame(rows, columns=list(columns(top)))
    # Spreadsheets take such names for formulas.
    formulas = frame["file"].str.match(r"[=+\-@]")
    frame["file"] = frame["file"].mask(formulas, "'" + frame["file"])
    return frame.to_csv(index=False)


def to_json(run: BatchRun, top: int) -> str:
    results = [result for found in run.found for result in found.results]
    return json.dumps(to_document(results, run.failures, top), indent=2)


def to_zip(run: BatchRun) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for number, found in enumerate(run.found, start=1):
            picture = annotate(Image.open(io.BytesIO(found.copies.picture)), found.results[0])
            encoded = io.BytesIO()
            picture.save(encoded, "JPEG", quality=90)
            stem = safe_name(PurePosixPath(found.file).stem)
            archive.writestr(f"{number:03}-{stem}.jpg", encoded.getvalue())
    return buffer.getvalue()
