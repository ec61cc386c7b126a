"""Confusion matrix and worst mistakes of a trained model, with the photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st

from vgg_demo.files.printable import printable
from vgg_demo.inference.results import percent
from vgg_demo.reports import training_charts
from vgg_demo.training.jobs.training_run import TrainingResult, TrainingRun
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color

MAX_CLASSES_IN_CHART = 25
MAX_CELL_PHOTOS = 24  # photos shown for a cell of the confusion matrix
MAX_MISTAKES = 12

Cell = tuple[int, int]
"""A cell of the confusion matrix: the true class and the predicted class."""


def show_confusion_matrix(result: TrainingResult) -> Cell:
    """Shows the confusion matrix. Returns the selected cell."""
    names = class_names(result)
    predictions = result.probabilities.argmax(axis=1)
    counts = Counter(zip(result.truth.tolist(), predictions.tolist(), strict=True))
    st.markdown(
        "**Confusion matrix**",
        help="Each row is a true class, each column a predicted class. Correct predictions are on "
        "the diagonal. Click a cell to see its photos, or select it under “Show photos of”.",
    )
    # Mistakes first, most frequent first.
    cells = sorted(counts, key=lambda cell: (cell[0] == cell[1], -counts[cell], cell))
    if st.session_state.get("train_cell") not in counts:
        st.session_state["train_cell"] = cells[0]
    if len(names) <= MAX_CLASSES_IN_CHART:
        truth, predicted = st.session_state["train_cell"]
        frame = training_charts.confusion_frame(names, result.truth, predictions)
        # A new chart after each click, so that a second click on a cell does not deselect it.
        key = f"train_matrix-{st.session_state.setdefault('train_clicks', 0)}"
        st.altair_chart(
            training_charts.confusion_chart(
                frame, names, (names[truth], names[predicted]), text_color()
            ),
            key=key,
            on_select=partial(select_cell, key, names, list(counts)),
            selection_mode="cell",
            alt="Confusion matrix; its cells are listed under “Show photos of”",
        )
    chosen: Cell = st.selectbox(
        "Show photos of",
        cells,
        key="train_cell",
        format_func=lambda cell: f"{describe_cell(cell, names)} ({counts[cell]})",
    )
    return chosen


def class_names(result: TrainingResult) -> list[str]:
    return [label.label for label in result.bundle.spec.classes]


def describe_cell(cell: Cell, names: Sequence[str]) -> str:
    truth, predicted = cell
    if truth == predicted:
        return f"{names[truth]} predicted correctly"
    return f"{names[truth]} predicted as {names[predicted]}"


def select_cell(key: str, names: Sequence[str], filled: Sequence[Cell]) -> None:
    """Selects the clicked cell of the chart, unless it is empty."""
    st.session_state["train_clicks"] += 1
    for picked in st.session_state[key]["selection"].get("cell") or ():
        cell = names.index(picked["true_class"]), names.index(picked["predicted_class"])
        if cell in filled:
            st.session_state["train_cell"] = cell


def show_cell(run: TrainingRun, result: TrainingResult, cell: Cell) -> None:
    """Shows the photos of a cell, most confident predictions first."""
    truth, predicted = cell
    predictions = result.probabilities.argmax(axis=1)
    rows = np.flatnonzero((result.truth == truth) & (predictions == predicted))
    rows = rows[np.argsort(-result.probabilities[rows, predicted], kind="stable")]
    described = escape(describe_cell(cell, class_names(result)))
    photos = "1 photo" if len(rows) == 1 else f"{len(rows)} photos, most confident first"
    st.markdown(f"**{described}**: {photos}")
    captions = [percent(probability) for probability in result.probabilities[rows, predicted]]
    show_photos(run, result, rows[:MAX_CELL_PHOTOS].tolist(), captions)
    if len(rows) > MAX_CELL_PHOTOS:
        st.caption(f"Showing the first {MAX_CELL_PHOTOS} of {len(rows)}.")


def show_photos(
    run: TrainingRun, result: TrainingResult, rows: Sequence[int], captions: Sequence[str]
) -> None:
    """Shows held-out photos with captions.

    Args:
        run: The training run.
        result: Its result.
        rows: Rows of `result.indices`.
        captions: One per row, as Markdown.
    """
    with st.grid(6, min_column_width=92, gap="xsmall"):
        for row, caption in zip(rows, captions, strict=False):
            photo = run.dataset.photos[result.indices[row]]
            with st.container(gap="xxsmall"):
                label, name = photo.photo.label, printable(photo.photo.source.name)
                st.image(photo.thumbnail, alt=f"{label}: {name}", width="stretch")
                st.caption(caption)


def show_worst_mistakes(run: TrainingRun, result: TrainingResult) -> None:
    names = class_names(result)
    predictions = result.probabilities.argmax(axis=1)
    true_probabilities = result.probabilities[np.arange(len(predictions)), result.truth]
    wrong = np.flatnonzero(predictions != result.truth)
    worst = wrong[np.argsort(true_probabilities[wrong], kind="stable")][:MAX_MISTAKES].tolist()
    if not worst:
        return
    st.markdown(
        "**Worst mistakes**",
        help="Held-out photos with a wrong prediction, lowest probability of the true class first "
        "(“top losses”). Check their labels: often the label is wrong, not the prediction.",
    )
    captions = [
        f"predicted **{escape(names[predictions[row]])}** "
        f"({percent(result.probabilities[row, predictions[row]])}), "
        f"true class {escape(names[result.truth[row]])} ({percent(true_probabilities[row])})"
        for row in worst
    ]
    show_photos(run, result, worst, captions)
