"""A training while it goes on."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from vgg_demo.reports import training_charts
from vgg_demo.training.jobs.run import Stage, TrainingRun
from vgg_demo.training.progress import Epoch
from vgg_demo.ui.session import caches
from vgg_demo.ui.theme import text_color

UPDATE_SECONDS = 0.7

WORDS = {
    Stage.STARTING: "Getting ready …",
    Stage.FETCHING: "The network is fetched …",
    Stage.FEATURES: "The network looks at your photos, once …",
    Stage.RATE: "How fast to learn is tried …",
    Stage.LEARNING: "It learns …",
    Stage.CURVE: "Would more photos help? It learns from fewer, to see …",
    Stage.TUNING: "Now the end of the network learns, too …",
    Stage.SAVING: "It is judged and saved …",
}


@st.fragment(run_every=UPDATE_SECONDS)
def watch(run: TrainingRun) -> None:
    """Shows how a training stands, again and again, until it is over."""
    if run.stage.is_over:
        st.rerun(scope="app")
    show_stage(run)


def show_stage(run: TrainingRun) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(*describe_progress(run), width="stretch")
        label = "Stop, keep the best" if run.epochs else "Cancel"
        st.button(
            "Stopping …" if run.is_stopping else label,
            icon=":material/stop_circle:",
            on_click=run.stop,
            disabled=run.is_stopping or run.stage is Stage.SAVING,
            key="train_stop",
        )
    show_learning(run)
    st.caption("It goes on when you close this page; in this browser, the page leads back to it.")


def describe_progress(run: TrainingRun) -> tuple[float, str]:
    """Returns how far a stage is, in [0, 1], and what goes on."""
    if run.stage is Stage.WAITING:
        ahead = caches.get_training_queue().count_ahead(run)
        others = "Another one is" if ahead == 1 else f"{ahead} others are"
        waits = f"{others} before yours: one training or export goes on at a time."
        return 0.0, waits if ahead else "It begins …"
    words = WORDS.get(run.stage, "")
    epochs = run.tuning if run.stage is Stage.TUNING else run.epochs
    if run.stage is Stage.SAVING:
        return 1.0, words
    if run.stage in (Stage.LEARNING, Stage.TUNING) and epochs and epochs[-1].number:
        last = epochs[-1]
        left = last.seconds / last.number * (last.epochs - last.number)
        return last.number / last.epochs, (
            f"{words} {last.number} of {last.epochs} times through, "
            f"{last.examples_per_second:,.0f} photos a second, {left:.0f} s left"
        )
    done, total, seconds_left = run.done, run.total, run.seconds_left  # they change meanwhile
    if total:
        if run.stage is Stage.CURVE:
            words += f" {done} of {total}"
        elif run.stage is Stage.FETCHING:
            words += f" {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        else:
            words += f" {done:,} of {total:,} views"
        if seconds_left is not None:
            words += f", {seconds_left:.0f} s left"
        return min(1.0, done / total), words
    return 0.0, words


def show_learning(run: TrainingRun) -> None:
    """Draws what there is of a training, the fine-tuning in the place of the head once it began."""
    if not run.epochs:
        return
    color = text_color()
    is_tuned = len(run.tuning) > 0
    epochs = run.tuning if is_tuned else run.epochs
    frame = training_charts.history_frame(epochs)
    count = epochs[-1].epochs
    if is_tuned:
        st.markdown("**The end of the network learns**; 0 is how the new last layer left it.")
    loss, accuracy = st.columns(2, gap="medium")
    with loss:
        st.markdown(
            "**Loss**",
            help="How wrong it is, sureness included: smaller is better. When it rises on the "
            "photos kept back, it begins to learn by heart. The diamond is the best so far, "
            "which is kept.",
        )
        st.altair_chart(
            training_charts.loss_chart(frame, count, color),
            alt=f"Loss by epoch; the last one on the photos kept back is "
            f"{epochs[-1].validation_loss:.3f}",
        )
    with accuracy:
        st.markdown(
            "**Right**",
            help="Share of the photos kept back, which it does not learn from, whose first answer "
            "is right.",
        )
        st.altair_chart(
            training_charts.accuracy_chart(frame, count, baseline(run), color),
            alt=f"Share of right answers by epoch; the last one is "
            f"{epochs[-1].validation_accuracy:.1%}",
        )


def baseline(run: TrainingRun) -> float:
    """Returns how often always saying the most frequent kind would be right, in [0, 1]."""
    if run.result is not None:
        return run.result.validation_report.baseline.value
    counts = run.dataset.report.counts
    return max(counts.values()) / sum(counts.values())


def show_history(run: TrainingRun) -> None:
    """Shows how a training went, in detail."""
    details = st.expander("How it learned", icon=":material/show_chart:", on_change="rerun")
    if not details.open:
        return
    with details:
        show_learning(run)
        with st.expander("The same as a table"):
            show_table(run.epochs, "the new last layer")
            if run.tuning:
                show_table(run.tuning, "fine-tuning")
        if run.range_test is not None and run.job.recipe.rate is None:
            found = run.range_test
            st.markdown(
                "**How fast to learn**",
                help="Before it learned, learning rates were tried from very small to very large "
                "(Smith 2017). Where the loss is lowest, learning is about to fail; a tenth of "
                "that is taken. During the training the rate rises to it and falls again "
                "(“one-cycle”, Smith 2018).",
            )
            st.altair_chart(
                training_charts.range_chart(found, text_color()),
                alt=f"Loss over learning rates. It falls fastest at {found.steepest:.1e}; a tenth "
                f"of where it is lowest is {found.tenth:.1e}, which was taken",
            )
            st.caption(
                f"It falls fastest at {found.steepest:.1e}; a tenth of where it is lowest is "
                f"{found.tenth:.1e}, which was taken."
            )


def show_table(epochs: list[Epoch], words: str) -> None:
    frame = training_charts.history_frame(epochs)
    st.dataframe(
        pd.DataFrame(
            {
                "Time through": frame["epoch"],
                "Loss, learned from": frame[training_charts.LEARNED].round(4),
                "Loss, kept back": frame[training_charts.KEPT_BACK].round(4),
                "Right, %": (100 * frame["accuracy"]).round(1),
                "Best so far": frame["is_best"],
            }
        ),
        hide_index=True,
        placeholder="–",
        alt=f"Each time through the photos, {words}",
    )
