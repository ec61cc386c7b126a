"""What came of a training: how good the model is, where it fails, and what to do with it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from vgg_demo import learning_charts
from vgg_demo.errors import BundleError
from vgg_demo.evaluation import Evaluation
from vgg_demo.printable import printable
from vgg_demo.results import percent
from vgg_demo.teach.bundle import Bundle, with_threshold
from vgg_demo.teach.classroom import Result, Run
from vgg_demo.teach.exchange import keep, pack_into
from vgg_demo.teach.judgement import Threshold
from vgg_demo.ui import shared
from vgg_demo.ui.evaluation import show_calibration, show_each_class, show_share
from vgg_demo.ui.teach_exports import offer_exports
from vgg_demo.ui.teach_looking import act
from vgg_demo.ui.teach_run import show_history

MOST_CLASSES_DRAWN = 25
MOST_CELL = 24  # photos of a cell of the confusion matrix
MOST_LOSSES = 12
MOST_KEPT = 50  # models that visitors may keep on the server


def show_results(run: Run, result: Result) -> None:
    """Shows a training that is done."""
    show_figures(run, result)
    show_uses(run, result)
    matrix, photos = st.columns([1, 1], gap="medium")
    with matrix:
        cell = show_confusions(result)
    with photos:
        show_cell(run, result, cell)
    show_top_losses(run, result)
    sureness, unknown = st.columns(2, gap="medium")
    with sureness:
        show_calibration(result.judgement.evaluation)
        st.caption(
            f"Its scores are divided by {result.judgement.temperature:.2f} (the “temperature”), "
            "found on the photos kept back, so that this fits."
        )
    with unknown:
        show_threshold(run, result)
    show_lessons(run, result)
    with st.expander(f"Each kind ({len(result.judgement.evaluation.classes)})"):
        show_each_class(result.judgement.evaluation)
    show_history(run)
    show_record(result.bundle)


def show_figures(run: Run, result: Result) -> None:
    judgement = result.judgement
    evaluation = judgement.evaluation
    st.header(f"“{shared.escape(run.name)}” can be used", anchor=False)
    st.markdown(words(evaluation, judgement.baseline.value, len(run.checked.classes)))
    if unjudged := never_judged(result):
        st.warning(
            f"No photo was kept back of {shared.escape(', '.join(unjudged))}: all look alike, or "
            "belong together. Nobody knows how well it is recognised.",
            icon=":material/visibility_off:",
        )
    with st.container(horizontal=True):
        show_share("Right on photos kept back", evaluation.top1, ALSO_CHOSE)
        st.metric(
            "Always the same answer",
            f"{judgement.baseline.value:.1%}",
            border=True,
            height="stretch",
            help="How often one is right who always says the most frequent kind: what it must "
            "beat.",
        )
        st.metric(
            "Probabilities off by",
            f"{evaluation.calibration_error:.1%}",
            border=True,
            height="stretch",
            help="The expected calibration error: how far the probability of its answers is from "
            "the share of them that are right, on average over 15 bins.",
        )
        st.metric(
            "It took",
            f"{run.seconds:.0f} s",
            border=True,
            height="stretch",
            help=f"To learn from {len(run.checked.looked) - len(result.places):,} photos, from the "
            "start of its process to the saved model.",
        )


def never_judged(result: Result) -> list[str]:
    """Returns the kinds of which no photo was kept back."""
    judged = set(result.truth.tolist())
    return [name for place, name in enumerate(class_names(result)) if place not in judged]


def words(evaluation: Evaluation, baseline: float, kinds: int) -> str:
    """Says in plain words how good a model is."""
    low, _ = evaluation.top1.interval
    right, count = evaluation.top1.right, evaluation.top1.count
    told = f"Of {count} photos kept back, which it did not learn from, it got {right} right"
    if low <= baseline:
        return f"{told}. That is not surely better than always saying the same: give more photos."
    if right == count:
        return f"{told}: all of them."
    worst = evaluation.confusions[0]
    mostly = (
        f"; most often it takes {shared.escape(worst.truth.label)} for "
        f"{shared.escape(worst.answer.label)}"
        if worst.count > 1 and kinds > 2
        else ""
    )
    return f"{told}{mostly}."


def show_uses(run: Run, result: Result) -> None:
    """Offers what can be done with the model."""
    spec = result.bundle.spec
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link(
            "classify.py",
            label="Use it",
            icon=":material/image_search:",
            query_params={"model": spec.name},
        )
        st.page_link(
            "compare.py",
            label="Compare it",
            icon=":material/compare:",
            query_params={"models": f"{spec.name},{run.job.backbone}"},
        )
        st.page_link("batch.py", label="Use it on many photos", icon=":material/photo_library:")
        st.download_button(
            "Download",
            lambda: packed(result.bundle),
            file_name=f"{run.name}.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            help="The bundle: network, labels, and how it came about. The command line takes it "
            "(`teach unpack`), and up to 200 MB so does this page.",
        )
        offer_exports(run)
        offer_keeping(run, result.bundle)


def packed(bundle: Bundle) -> bytes:
    assert bundle.spec.taught is not None  # noqa: S101  # what a bundle is
    buffer = io.BytesIO()
    pack_into(bundle.spec.taught.bundle, buffer)
    return buffer.getvalue()


def offer_keeping(run: Run, bundle: Bundle) -> None:
    if not shared.may_keep():
        return
    if kept := kept_as(bundle):
        st.markdown(
            f":material/check: Kept on this server as “{shared.escape(kept)}”", width="content"
        )
        return
    settings = shared.get_settings()
    with st.popover("Keep on this server", icon=":material/save:"):
        st.markdown(
            "Until now only you can use it, and it goes with this server's process. Kept, it "
            "stays, and **everybody who uses this server can use it** and sees its name and the "
            "names of its kinds. Your photos are not in it."
        )
        name = st.text_input("Name", value=run.name, max_chars=40, key=f"keep-{run.id}")
        if st.button("Keep it", type="primary", key=f"keep-it-{run.id}"):
            act(keep_here, bundle, settings.bundles_dir, name)
        st.caption(f"In {shared.escape(settings.bundles_dir)}.")


def kept_as(bundle: Bundle) -> str:
    """Returns the name under which a model is kept on the server; empty if it is not."""
    digest = bundle.spec.name.rpartition("@")[2]
    kept = (name.rpartition("@") for name in shared.kept_names())
    return next((name for name, _, other in kept if other == digest), "")


def keep_here(bundle: Bundle, bundles_dir: Path, name: str) -> None:
    if len(shared.kept_names()) >= MOST_KEPT:
        raise BundleError(
            f"{MOST_KEPT} models are kept on this server; that is the limit. Its owner can take "
            f"some out of {bundles_dir}."
        )
    keep(bundle, bundles_dir, name)


ALSO_CHOSE = (
    " These photos also decided when it was best, its temperature and its threshold: on new ones "
    "expect a little less."
)

Cell = tuple[int, int]
"""The class that photos are of, and the one that they were taken for."""


def show_confusions(result: Result) -> Cell:
    """Shows what is taken for what. Returns the chosen cell."""
    names = class_names(result)
    answers = result.probabilities.argmax(axis=1)
    counts = Counter(zip(result.truth.tolist(), answers.tolist(), strict=True))
    st.markdown(
        "**What it takes for what**",
        help="Each row is a kind; the numbers say what its photos were taken for. On the diagonal "
        "it is right. A click on a cell shows its photos; the list below does the same.",
    )
    if len(names) <= MOST_CLASSES_DRAWN:
        frame = learning_charts.confusion_frame(names, result.truth, answers)
        st.altair_chart(
            learning_charts.confusion_chart(frame, names, shared.text_color()),
            key="teach_matrix",
            on_select=partial(take_cell, names, list(counts)),
            selection_mode="cell",
            alt="Confusion matrix; its cells are in the list below",
        )
    # Mistakes first, the most frequent at their head.
    cells = sorted(counts, key=lambda cell: (cell[0] == cell[1], -counts[cell], cell))
    if st.session_state.get("teach_cell") not in counts:
        st.session_state["teach_cell"] = cells[0]
    chosen: Cell = st.selectbox(
        "Photos of",
        cells,
        key="teach_cell",
        format_func=lambda cell: f"{describe_cell(cell, names)} ({counts[cell]})",
    )
    return chosen


def class_names(result: Result) -> list[str]:
    return [label.label for label in result.bundle.spec.classes]


def describe_cell(cell: Cell, names: Sequence[str]) -> str:
    truth, answer = cell
    return (
        f"{names[truth]}, recognised"
        if truth == answer
        else (f"{names[truth]} taken for {names[answer]}")
    )


def take_cell(names: Sequence[str], filled: Sequence[Cell]) -> None:
    for picked in st.session_state["teach_matrix"]["selection"].get("cell") or ():
        cell = names.index(picked["truth"]), names.index(picked["answer"])
        if cell in filled:  # there is nothing to see in the others
            st.session_state["teach_cell"] = cell


def show_cell(run: Run, result: Result, cell: Cell) -> None:
    truth, answer = cell
    answers = result.probabilities.argmax(axis=1)
    rows = np.flatnonzero((result.truth == truth) & (answers == answer))
    rows = rows[np.argsort(-result.probabilities[rows, answer], kind="stable")]
    described = shared.escape(describe_cell(cell, class_names(result)))
    st.markdown(f"**{described}**: {len(rows)}, the surest first")
    captions = [percent(probability) for probability in result.probabilities[rows, answer]]
    show_photos(run, result, rows[:MOST_CELL].tolist(), captions)
    if len(rows) > MOST_CELL:
        st.caption(f"The first {MOST_CELL} of {len(rows)}.")


def show_photos(run: Run, result: Result, rows: Sequence[int], captions: Sequence[str]) -> None:
    with st.grid(6, min_column_width=92, gap="xsmall"):
        for row, caption in zip(rows, captions, strict=False):
            one = run.checked.looked[result.places[row]]
            with st.container(gap="xxsmall"):
                name = printable(one.photo.source.name)
                st.image(one.thumbnail, alt=f"{one.photo.label}: {name}", width="stretch")
                st.caption(caption)


def show_top_losses(run: Run, result: Result) -> None:
    names = class_names(result)
    answers = result.probabilities.argmax(axis=1)
    of_truth = result.probabilities[np.arange(len(answers)), result.truth]
    wrong = np.flatnonzero(answers != result.truth)
    worst = wrong[np.argsort(of_truth[wrong], kind="stable")][:MOST_LOSSES].tolist()
    if not worst:
        return
    st.markdown(
        "**The worst of all**",
        help="Photos of which it gave the truth least (“top losses”). Look whether the label is "
        "right: often it is the photo that is at fault.",
    )
    captions = [
        f"said **{shared.escape(names[answers[row]])}** "
        f"{percent(result.probabilities[row, answers[row]])}, "
        f"is {shared.escape(names[result.truth[row]])} {percent(of_truth[row])}"
        for row in worst
    ]
    show_photos(run, result, worst, captions)


def show_threshold(run: Run, result: Result) -> None:
    taught = result.bundle.spec.taught
    assert taught is not None  # noqa: S101  # what a bundle is
    st.markdown(
        "**When should it say “not sure”?**",
        help="Below some probability it is better to give no answer. The further to the right, the "
        "more of the answers are right, and the fewer photos get one. It was set where the wrong "
        "answers that are not given outnumber the right ones by most.",
    )
    thresholds = result.judgement.thresholds
    st.altair_chart(
        learning_charts.threshold_chart(thresholds, taught.unknown_below, shared.text_color()),
        alt=threshold_words(thresholds, taught.unknown_below),
    )
    key = f"threshold-{run.id}"
    chosen = st.slider("No answer below, %", 0, 99, round(100 * taught.unknown_below), key=key)
    st.caption(threshold_words(thresholds, chosen / 100))
    is_other = chosen != round(100 * taught.unknown_below)
    if is_other and st.button(f"Set it to {chosen}%", key="teach_threshold"):
        act(set_threshold, run, result, chosen / 100)


def threshold_words(thresholds: Sequence[Threshold], chosen: float) -> str:
    point = min(thresholds, key=lambda one: abs(one.probability - chosen))
    if not point.answered:
        return "No photo gets an answer."
    return (
        f"{point.answered:.0%} of the photos kept back get an answer, and {point.accuracy:.1%} of "
        "these answers are right."
    )


def set_threshold(run: Run, result: Result, unknown_below: float) -> None:
    run.change(with_threshold(result.bundle, unknown_below))


def show_lessons(run: Run, result: Result) -> None:
    lessons = result.judgement.lessons
    if not lessons:
        return
    st.markdown(
        "**Will more photos help?**",
        help="It learned from fewer, too. Where the line still rises at its end, more photos of "
        "the same kind will help; where it is flat, they will not.",
    )
    frame = learning_charts.lessons_frame(lessons)
    drawn, told = st.columns(2, gap="medium")
    with drawn:
        st.altair_chart(
            learning_charts.lessons_chart(frame, shared.text_color()),
            alt="Share of right answers by photos learned from, as in the table",
        )
    with told:
        st.table(
            {
                "Photos": [f"{one.photos:,}" for one in lessons],
                "Right": [f"{one.accuracy.value:.1%}" for one in lessons],
                "95% interval": [
                    f"{one.accuracy.interval[0]:.0%} to {one.accuracy.interval[1]:.0%}"
                    for one in lessons
                ],
            },
            alt="Share of right answers by photos learned from",
        )
        if run.tuning:
            st.caption("Of the new last layer alone, before the fine-tuning.")


def show_record(bundle: Bundle) -> None:
    """Shows how the model came about."""
    with st.expander("How it came about", icon=":material/receipt_long:"):
        record = dict(bundle.record)
        data, weights = record["data"], record["backbone_weights"]
        rows = {
            "Model": bundle.spec.name,
            "SHA-256 of its network": bundle.spec.weights.hash,
            "Built on": f"{record['backbone']}, {record['part']}",
            "Weights of that": f"{weights['file']}, SHA-256 {weights['sha256']}",
            "Photos": f"{data['photos']} ({data['training']} learned from)",
            "Fingerprint of the photos": data["fingerprint"],
            "Recipe": ", ".join(f"{name} {value}" for name, value in record["recipe"].items()),
            "Made": record["date"],
            "With": ", ".join(f"{name} {value}" for name, value in record["versions"].items()),
        }
        st.dataframe(
            pd.DataFrame({"What": list(rows), "": [str(value) for value in rows.values()]}),
            hide_index=True,
            alt="How the model came about",
        )
