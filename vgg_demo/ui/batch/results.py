"""Results of a batch: gallery, table, class filter and downloads."""

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

from vgg_demo.analysis.verdict import classes_by_group, common_name, interpret, is_informative
from vgg_demo.batch.pipeline import columns, flatten
from vgg_demo.files.printable import printable
from vgg_demo.files.sorting import safe_name
from vgg_demo.inference.results import percent
from vgg_demo.models.labels import ancestors
from vgg_demo.reports import charts
from vgg_demo.reports.annotate import annotate
from vgg_demo.reports.document import to_document
from vgg_demo.ui.batch.evaluation import show_evaluation
from vgg_demo.ui.batch.run import MAX_PHOTOS, BatchRun, ClassifiedPhoto
from vgg_demo.ui.components.text import count_photos
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color

PAGE_SIZE = 24  # photos on one page of the gallery
ROW_HEIGHT = 60  # pixels; rows of the table
MAX_BARS = 15  # classes in the chart
ALL = ""

UPLOAD_ORDER, UNCERTAINTY, DISAGREEMENT = "Upload order", "Uncertainty", "Disagreement"
GALLERY, TABLE = "Gallery", "Table"


def show_results(run: BatchRun, top: int) -> None:
    """Shows the results of a finished or canceled batch."""
    show_summary(run)
    if not run.photos:
        return
    overview, controls = st.columns([5, 6], gap="medium")
    with overview:
        show_class_counts(run)
    with controls:
        shown = choose_order(run, filter_photos(run, choose_class(run)))
        view = st.segmented_control(
            "View", [GALLERY, TABLE], default=GALLERY, required=True, key="batch_view"
        )
        show_downloads(run, top)
    if view == TABLE:
        show_table(run, shown)
    else:
        show_gallery(shown)
    show_evaluation(run)


def show_summary(run: BatchRun) -> None:
    """Shows the number of photos, the throughput and the unusable files."""
    title = count_photos(run.count)
    if run.failures:
        title += f", {len(run.failures)} unusable"
    st.header(title, anchor=False)
    is_canceled = run.total is not None and run.count < min(run.total, MAX_PHOTOS)
    st.caption(
        (f"Canceled; {run.total} photos were uploaded. " if is_canceled else "")
        + f"{run.per_second:.1f} photos per second with "
        + ", ".join(escape(spec.keras_name) for spec in run.specs)
        + "."
    )
    if run.was_truncated:
        st.warning(
            f"Only the first {MAX_PHOTOS} photos were classified. For more, use the command line: "
            "`vgg-demo batch`.",
            icon=":material/content_cut:",
        )
    if run.failures:
        with st.expander(f"Unusable files ({len(run.failures)})"):
            st.dataframe(
                pd.DataFrame(
                    {
                        "File": [printable(failure.file) for failure in run.failures],
                        "Reason": [failure.message for failure in run.failures],
                    }
                ),
                hide_index=True,
                alt="Files that could not be classified, and why",
            )


def top_wnid(photo: ClassifiedPhoto) -> str:
    """Returns the WordNet ID of the first model's top prediction."""
    return photo.results[0].predictions(1)[0].wnid


def show_class_counts(run: BatchRun) -> None:
    """Shows how often each class is predicted. Clicking a bar filters the photos."""
    labels = run.specs[0].classes
    counts = Counter(top_wnid(photo) for photo in run.photos)
    frame = pd.DataFrame(
        [
            {"wnid": wnid, "label": common_name(wnid, labels), "count": count}
            for wnid, count in counts.most_common(MAX_BARS)
        ]
    )
    st.markdown(
        f"**Most frequent predictions of {escape(run.specs[0].keras_name)}**",
        help="Counts top predictions. Click a bar to show only its photos, or use the filter.",
    )
    st.altair_chart(
        charts.class_counts_chart(frame, text_color()),
        key="batch_chart",
        on_select=filter_by_bar,
        selection_mode="picked",
        alt="Bars: "
        + ", ".join(
            f"{label} {count}" for label, count in zip(frame["label"], frame["count"], strict=True)
        ),
    )
    if len(counts) > MAX_BARS:
        st.caption(f"The {MAX_BARS} most frequent of {len(counts)} predicted classes.")


def filter_by_bar() -> None:
    picked = st.session_state["batch_chart"]["selection"].get("picked") or []
    st.session_state["batch_class"] = picked[0]["wnid"] if picked else ALL
    st.session_state["batch_page"] = 1


def choose_class(run: BatchRun) -> str:
    """Shows the class filter: predicted classes and their WordNet groups.

    Returns:
        The WordNet ID of the class or group, or `ALL`.
    """
    labels = run.specs[0].classes
    groups = classes_by_group(labels)
    counts = Counter(wnid for photo in run.photos for wnid in ancestors(top_wnid(photo)))
    class_wnids = {label.wnid for label in labels}
    options = [
        wnid
        for wnid, count in counts.most_common()
        if wnid in class_wnids
        or (count > 1 and is_informative(wnid, len(groups[wnid]), len(labels)))
    ]
    if st.session_state.get("batch_class", ALL) not in options:
        st.session_state["batch_class"] = ALL

    def describe(wnid: str) -> str:
        if wnid == ALL:
            return f"All photos ({len(run.photos)})"
        return f"{common_name(wnid, labels)} ({counts[wnid]})"

    return st.selectbox(
        "Predicted class",
        [ALL, *options],
        format_func=describe,
        key="batch_class",
        on_change=reset_page,
        help=f"The {name_top_prediction(run)}. Groups such as “bird” include all bird classes.",
    )


def name_top_prediction(run: BatchRun) -> str:
    """Returns "top prediction"; with several models, says which model's."""
    return "top prediction" if len(run.specs) == 1 else "first model's top prediction"


def reset_page() -> None:
    st.session_state["batch_page"] = 1


def filter_photos(run: BatchRun, wnid: str) -> list[ClassifiedPhoto]:
    """Returns the photos whose top prediction is a class or belongs to a group."""
    if wnid == ALL:
        return run.photos
    return [photo for photo in run.photos if wnid in ancestors(top_wnid(photo))]


def choose_order(run: BatchRun, photos: list[ClassifiedPhoto]) -> list[ClassifiedPhoto]:
    """Shows the sort orders and returns the photos in the selected one."""
    orders = [UPLOAD_ORDER, UNCERTAINTY, *([DISAGREEMENT] if len(run.specs) > 1 else [])]
    order = st.segmented_control(
        "Sort by",
        orders,
        default=UPLOAD_ORDER,
        required=True,
        key=f"batch_order_{len(orders)}",
        on_change=reset_page,
        help="Uncertainty: the lowest top probability first."
        + (" Disagreement: the largest distance between models first." if orders[2:] else ""),
    )
    if order == UNCERTAINTY:
        return sorted(photos, key=lambda photo: max(photo.results[0].probabilities))
    if order == DISAGREEMENT:
        return sorted(photos, key=lambda photo: -photo.disagreement)
    return photos


def show_gallery(photos: Sequence[ClassifiedPhoto]) -> None:
    pages = math.ceil(len(photos) / PAGE_SIZE)
    page = min(st.session_state.get("batch_page", 1), pages)
    with st.grid(6, min_column_width=140, gap="small"):
        for photo in photos[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]:
            show_card(photo)
    if pages > 1:
        st.pagination(pages, key="batch_page")


def show_card(photo: ClassifiedPhoto) -> None:
    with st.container(border=True, gap="xsmall", height="stretch"):
        name = printable(PurePosixPath(photo.file).name)
        st.image(photo.thumbnails.gallery, alt=f"Photo {name}", width="stretch")
        for result in photo.results:
            (best,) = result.predictions(1)
            not_sure = "" if interpret(result).is_sure else ", not sure"
            st.markdown(f"**{escape(best.label)}** {percent(best.probability)}{not_sure}")
        st.caption(escape(name))


def show_table(run: BatchRun, photos: Sequence[ClassifiedPhoto]) -> None:
    """Shows a row for each photo with the top prediction of each model."""
    rows: dict[str, list[object]] = {
        "photo": [photo.thumbnails.table_url for photo in photos],
        "file": [printable(photo.file) for photo in photos],
    }
    config = {
        "photo": st.column_config.ImageColumn("Photo", width="small"),
        "file": st.column_config.TextColumn("File", width="medium"),
    }
    for index, spec in enumerate(run.specs):
        best = [photo.results[index].predictions(1)[0] for photo in photos]
        rows[f"label_{spec.name}"] = [prediction.label for prediction in best]
        rows[f"probability_{spec.name}"] = [prediction.probability for prediction in best]
        config[f"label_{spec.name}"] = st.column_config.TextColumn(spec.keras_name)
        config[f"probability_{spec.name}"] = st.column_config.ProgressColumn(
            "Probability", format="percent", min_value=0, max_value=1
        )
    if len(run.specs) > 1:
        rows["disagreement"] = [photo.disagreement for photo in photos]
        config["disagreement"] = st.column_config.ProgressColumn(
            "Disagreement",
            format="%.2f",
            min_value=0,
            max_value=1,
            help="Largest Jensen–Shannon distance between the probabilities of two models: 0 "
            "means identical, 1 means no overlap.",
        )
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config=config,
        height=520,
        row_height=ROW_HEIGHT,
        alt="The photos with the top prediction of each model",
    )


def show_downloads(run: BatchRun, top: int) -> None:
    """Shows download buttons; the files are created on demand."""
    with st.container(horizontal=True):
        st.download_button(
            "Download CSV",
            lambda: to_csv(run, top),
            file_name="photos.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
        )
        st.download_button(
            "Download JSON",
            lambda: to_json(run, top),
            file_name="photos.json",
            mime="application/json",
            icon=":material/data_object:",
            on_click="ignore",
        )
        st.download_button(
            "Annotated photos",
            lambda: to_zip(run),
            file_name="photos.zip",
            mime="application/zip",
            icon=":material/folder_zip:",
            on_click="ignore",
            help=f"A ZIP of small versions of the photos with the {name_top_prediction(run)} "
            "drawn on each.",
        )


def to_csv(run: BatchRun, top: int) -> str:
    """Returns the results as CSV: a row for each photo and model."""
    rows = [flat for row in run.rows for flat in flatten(row, run.specs, top)]
    frame = pd.DataFrame(rows, columns=list(columns(top)))
    # Spreadsheets evaluate cells that start with these characters as formulas.
    formulas = frame["file"].str.match(r"[=+\-@]")
    frame["file"] = frame["file"].mask(formulas, "'" + frame["file"])
    return frame.to_csv(index=False)


def to_json(run: BatchRun, top: int) -> str:
    """Returns the results as the JSON document that the API and the command line return."""
    results = [result for photo in run.photos for result in photo.results]
    return json.dumps(to_document(results, run.failures, top), indent=2)


def to_zip(run: BatchRun) -> bytes:
    """Returns a ZIP of the gallery thumbnails, annotated with the first model's prediction."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for number, photo in enumerate(run.photos, start=1):
            thumbnail = Image.open(io.BytesIO(photo.thumbnails.gallery))
            encoded = io.BytesIO()
            annotate(thumbnail, photo.results[0]).save(encoded, "JPEG", quality=90)
            stem = safe_name(PurePosixPath(photo.file).stem)
            archive.writestr(f"{number:03}-{stem}.jpg", encoded.getvalue())
    return buffer.getvalue()
