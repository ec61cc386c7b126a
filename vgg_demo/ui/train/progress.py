"""Progress of a training run, and its training curves."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from vgg_demo.reports import training_charts
from vgg_demo.training.jobs.training_run import Stage, TrainingRun
from vgg_demo.training.progress import Epoch
from vgg_demo.ui.session import caches
from vgg_demo.ui.theme import text_color

UPDATE_SECONDS = 0.7

STAGE_DESCRIPTIONS = {
    Stage.STARTING: "Starting",
    Stage.DOWNLOADING: "Downloading the backbone",
    Stage.FEATURES: "Extracting features",
    Stage.LEARNING_RATE: "Finding the learning rate",
    Stage.TRAINING: "Training",
    Stage.LEARNING_CURVE: "Computing the learning curve",
    Stage.FINE_TUNING: "Fine-tuning the last blocks",
    Stage.SAVING: "Evaluating and saving",
}


@st.fragment(run_every=UPDATE_SECONDS)
def watch(run: TrainingRun) -> None:
    """Shows the progress of a run and updates it until the run is over."""
    if run.stage.is_over:
        st.rerun(scope="app")
    show_progress(run)


def show_progress(run: TrainingRun) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(*describe_progress(run), width="stretch")
        label = "Stop and keep the best" if run.epochs else "Cancel"
        st.button(
            "Stopping …" if run.is_stopping else label,
            icon=":material/stop_circle:",
            on_click=run.stop,
            disabled=run.is_stopping or run.stage is Stage.SAVING,
            key="train_stop",
        )
    show_training_curves(run)
    st.caption(
        "Training continues if you close this page. To see the result, open the page again in "
        "this browser."
    )


def describe_progress(run: TrainingRun) -> tuple[float, str]:
    """Returns the progress of the current stage, in [0, 1], and its description."""
    if run.stage is Stage.WAITING:
        ahead = caches.get_training_queue().count_ahead(run)
        jobs = "1 job" if ahead == 1 else f"{ahead} jobs"
        queued = f"Queued, {jobs} ahead. One training run or export runs at a time."
        return 0.0, queued if ahead else f"{STAGE_DESCRIPTIONS[Stage.STARTING]} …"
    text = STAGE_DESCRIPTIONS.get(run.stage, "")
    epochs = run.fine_tuning if run.stage is Stage.FINE_TUNING else run.epochs
    if run.stage is Stage.SAVING:
        return 1.0, f"{text} …"
    if run.stage in (Stage.TRAINING, Stage.FINE_TUNING) and epochs and epochs[-1].number:
        last = epochs[-1]
        remaining = last.seconds / last.number * (last.epochs - last.number)
        return last.number / last.epochs, (
            f"{text}: epoch {last.number} of {last.epochs}, "
            f"{last.examples_per_second:,.0f} photos/s, {remaining:.0f} s left"
        )
    # Read each value once, because the queue's thread may change it at any time.
    done, total, remaining_seconds = run.done, run.total, run.remaining_seconds
    if total:
        if run.stage is Stage.LEARNING_CURVE:
            text += f": {done} of {total}"
        elif run.stage is Stage.DOWNLOADING:
            text += f": {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        else:
            text += f": {done:,} of {total:,} views"
        if remaining_seconds is not None:
            text += f", {remaining_seconds:.0f} s left"
        return min(1.0, done / total), text
    return 0.0, f"{text} …" if text else ""


def show_training_curves(run: TrainingRun) -> None:
    """Draws loss and accuracy by epoch: of the fine-tuning if it has started, else of the head."""
    if not run.epochs:
        return
    color = text_color()
    is_fine_tuning = len(run.fine_tuning) > 0
    epochs = run.fine_tuning if is_fine_tuning else run.epochs
    frame = training_charts.history_frame(epochs)
    count = epochs[-1].epochs
    if is_fine_tuning:
        st.markdown("**Fine-tuning of the last blocks.** Epoch 0 is the model before fine-tuning.")
    loss, accuracy = st.columns(2, gap="medium")
    with loss:
        st.markdown(
            "**Loss**",
            help="Cross-entropy; lower is better. If it rises on the held-out photos, the model "
            "is overfitting. The diamond marks the best epoch so far, which is kept.",
        )
        st.altair_chart(
            training_charts.loss_chart(frame, count, color),
            alt=f"Loss by epoch. Latest validation loss: {epochs[-1].validation_loss:.3f}",
        )
    with accuracy:
        st.markdown(
            "**Accuracy**",
            help="Fraction of the held-out photos whose top prediction is correct. The model is "
            "not trained on these photos.",
        )
        st.altair_chart(
            training_charts.accuracy_chart(frame, count, baseline(run), color),
            alt=f"Validation accuracy by epoch. Latest: {epochs[-1].validation_accuracy:.1%}",
        )


def baseline(run: TrainingRun) -> float:
    """Returns the accuracy of always predicting the most frequent class, in [0, 1]."""
    if run.result is not None:
        return run.result.validation_report.baseline.value
    counts = run.dataset.report.counts
    return max(counts.values()) / sum(counts.values())


def show_history(run: TrainingRun) -> None:
    """Shows the training history: curves, table and learning-rate range test."""
    history = st.expander("Training history", icon=":material/show_chart:", on_change="rerun")
    if not history.open:
        return
    with history:
        show_training_curves(run)
        with st.expander("Show as table"):
            show_table(run.epochs, "new output layer")
            if run.fine_tuning:
                show_table(run.fine_tuning, "fine-tuning")
        if run.range_test is not None and run.job.recipe.learning_rate is None:
            range_test = run.range_test
            st.markdown(
                "**Learning-rate range test**",
                help="Before training, learning rates from very small to very large are tried "
                "(Smith 2017). Where the loss is lowest, training is about to diverge, so one "
                "tenth of the learning rate with the lowest loss is used. During training, the "
                "learning rate rises to it and falls again (one-cycle schedule, Smith 2018).",
            )
            summary = (
                f"The loss falls fastest at {range_test.steepest:.1e}. The learning rate used is "
                f"{range_test.tenth:.1e}, one tenth of the learning rate with the lowest loss."
            )
            st.altair_chart(
                training_charts.range_test_chart(range_test, text_color()),
                alt=f"Loss by learning rate. {summary}",
            )
            st.caption(summary)


def show_table(epochs: list[Epoch], part: str) -> None:
    frame = training_charts.history_frame(epochs)
    st.dataframe(
        pd.DataFrame(
            {
                "Epoch": frame["epoch"],
                "Training loss": frame[training_charts.TRAINING_LOSS].round(4),
                "Validation loss": frame[training_charts.VALIDATION_LOSS].round(4),
                "Validation accuracy (%)": (100 * frame["accuracy"]).round(1),
                "Best so far": frame["is_best"],
            }
        ),
        hide_index=True,
        placeholder="–",
        alt=f"Training history by epoch, {part}",
    )
