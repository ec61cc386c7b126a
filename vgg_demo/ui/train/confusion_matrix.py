"""Where a taught model fails, with the photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st

from vgg_demo.files.printable import printable
from vgg_demo.inference.results import percent
from vgg_demo.reports import training_charts
from vgg_demo.training.jobs.run import TrainingResult, TrainingRun
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color

MAX_CLASSES_DRAWN = 25
MAX_CELL = 24  # photos of a cell of the confusion matrix
MAX_LOSSES = 12

Cell = tuple[int, int]
"""The class that photos are of, and the one that they were taken for."""


def show_confusions(result: TrainingResult) -> Cell:
    """Shows what is taken for what. Returns the chosen cell."""
    names = class_names(result)
    answers = result.probabilities.argmax(axis=1)
    counts = Counter(zip(result.truth.tolist(), answers.tolist(), strict=True))
    st.markdown(
        "**What it takes for what**",
        help="Each row is a kind; the numbers say what its photos were taken for. On the diagonal "
        "it is right. A click on a cell shows its photos; the list below does the same.",
    )
    # Mistakes first, the most frequent at their head.
    cells = sorted(counts, key=lambda cell: (cell[0] == cell[1], -counts[cell], cell))
    if st.session_state.get("train_cell") not in counts:
        st.session_state["train_cell"] = cells[0]
    if len(names) <= MAX_CLASSES_DRAWN:
        truth, answer = st.session_state["train_cell"]
        frame = training_charts.confusion_frame(names, result.truth, answers)
        # A new chart after each click: else a second one on the same cell would undo the first.
        key = f"train_matrix-{st.session_state.setdefault('train_clicks', 0)}"
        st.altair_chart(
            training_charts.confusion_chart(
                frame, names, (names[truth], names[answer]), text_color()
            ),
            key=key,
            on_select=partial(take_cell, key, names, list(counts)),
            selection_mode="cell",
            alt="Confusion matrix; its cells are in the list below",
        )
    chosen: Cell = st.selectbox(
        "Photos of",
        cells,
        key="train_cell",
        format_func=lambda cell: f"{describe_cell(cell, names)} ({counts[cell]})",
    )
    return chosen


def class_names(result: TrainingResult) -> list[str]:
    return [label.label for label in result.bundle.spec.classes]


def describe_cell(cell: Cell, names: Sequence[str]) -> str:
    truth, answer = cell
    return (
        f"{names[truth]}, recognised"
        if truth == answer
        else (f"{names[truth]} taken for {names[answer]}")
    )


def take_cell(key: str, names: Sequence[str], filled: Sequence[Cell]) -> None:
    st.session_state["train_clicks"] += 1
    for picked in st.session_state[key]["selection"].get("cell") or ():
        cell = names.index(picked["truth"]), names.index(picked["answer"])
        if cell in filled:  # there is nothing to see in the others
            st.session_state["train_cell"] = cell


def show_cell(run: TrainingRun, result: TrainingResult, cell: Cell) -> None:
    truth, answer = cell
    answers = result.probabilities.argmax(axis=1)
    rows = np.flatnonzero((result.truth == truth) & (answers == answer))
    rows = rows[np.argsort(-result.probabilities[rows, answer], kind="stable")]
    described = escape(describe_cell(cell, class_names(result)))
    st.markdown(f"**{described}**: {len(rows)}, the surest first")
    captions = [percent(probability) for probability in result.probabilities[rows, answer]]
    show_photos(run, result, rows[:MAX_CELL].tolist(), captions)
    if len(rows) > MAX_CELL:
        st.caption(f"The first {MAX_CELL} of {len(rows)}.")


def show_photos(
    run: TrainingRun, result: TrainingResult, rows: Sequence[int], captions: Sequence[str]
) -> None:
    with st.grid(6, min_column_width=92, gap="xsmall"):
        for row, caption in zip(rows, captions, strict=False):
            one = run.dataset.photos[result.places[row]]
            with st.container(gap="xxsmall"):
                name = printable(one.photo.source.name)
                st.image(one.thumbnail, alt=f"{one.photo.label}: {name}", width="stretch")
                st.caption(caption)


def show_top_losses(run: TrainingRun, result: TrainingResult) -> None:
    names = class_names(result)
    answers = result.probabilities.argmax(axis=1)
    of_truth = result.probabilities[np.arange(len(answers)), result.truth]
    wrong = np.flatnonzero(answers != result.truth)
    worst = wrong[np.argsort(of_truth[wrong], kind="stable")][:MAX_LOSSES].tolist()
    if not worst:
        return
    st.markdown(
        "**The worst of all**",
        help="Photos of which it gave the truth least (“top losses”). Look whether the label is "
        "right: often it is the photo that is at fault.",
    )
    captions = [
        f"said **{escape(names[answers[row]])}** "
        f"{percent(result.probabilities[row, answers[row]])}, "
        f"is {escape(names[result.truth[row]])} {percent(of_truth[row])}"
        for row in worst
    ]
    show_photos(run, result, worst, captions)
