"""What came of a training: how good the model is, where it fails, and what to do with it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from vgg_demo.analysis.evaluation import Evaluation
from vgg_demo.models.bundle import Bundle, with_threshold
from vgg_demo.models.custom import MIN_PROBABILITY
from vgg_demo.reports import training_charts
from vgg_demo.training.jobs.run import TrainingResult, TrainingRun
from vgg_demo.training.validation import Threshold
from vgg_demo.ui.components.metrics import show_calibration, show_each_class, show_proportion
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color
from vgg_demo.ui.train.actions import show_uses
from vgg_demo.ui.train.confusion_matrix import (
    class_names,
    show_cell,
    show_confusions,
    show_top_losses,
)
from vgg_demo.ui.train.inspection import act
from vgg_demo.ui.train.progress import show_history


def show_results(run: TrainingRun, result: TrainingResult) -> None:
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
        show_calibration(result.validation_report.evaluation)
        st.caption(
            f"Its scores are divided by {result.validation_report.temperature:.2f} (the “temperature”), "
            "found on the photos kept back, so that this fits."
        )
    with unknown:
        show_threshold(run, result)
    show_learning_curve(run, result)
    with st.expander(f"Each kind ({len(result.validation_report.evaluation.classes)})"):
        show_each_class(result.validation_report.evaluation)
    show_history(run)
    show_record(result.bundle)


def show_figures(run: TrainingRun, result: TrainingResult) -> None:
    validation_report = result.validation_report
    evaluation = validation_report.evaluation
    is_useful = evaluation.top1.interval[0] > validation_report.baseline.value
    state = "can be used" if is_useful else "cannot tell them apart yet"
    st.header(f"“{escape(run.name)}” {state}", anchor=False)
    st.markdown(words(evaluation, validation_report.baseline.value, len(run.dataset.classes)))
    if unjudged := never_judged(result):
        st.warning(
            f"No photo was kept back of {escape(', '.join(unjudged))}: all look alike, or "
            "belong together. Nobody knows how well it is recognised.",
            icon=":material/visibility_off:",
        )
    with st.container(horizontal=True):
        show_proportion("Right on photos kept back", evaluation.top1, ALSO_CHOSE)
        st.metric(
            "Always the same answer",
            f"{validation_report.baseline.value:.1%}",
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
            help=f"To learn from {len(run.dataset.photos) - len(result.places):,} photos, from the "
            "start of its process to the saved model.",
        )


def never_judged(result: TrainingResult) -> list[str]:
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
        f"; most often it takes {escape(worst.truth.label)} for {escape(worst.answer.label)}"
        if worst.count > 1 and kinds > 2
        else ""
    )
    return f"{told}{mostly}."


ALSO_CHOSE = (
    " These photos also decided when it was best, its temperature and its threshold: on new ones "
    "expect a little less."
)


def show_threshold(run: TrainingRun, result: TrainingResult) -> None:
    custom = result.bundle.spec.custom
    assert custom is not None  # noqa: S101  # what a bundle is
    st.markdown(
        "**When should it say “not sure”?**",
        help="Below some probability it is better to give no answer. The further to the right, the "
        "more of the answers are right, and the fewer photos get one. It was set where the wrong "
        "answers that are not given outnumber the right ones by most.",
    )
    thresholds = result.validation_report.thresholds
    least, now = round(100 * MIN_PROBABILITY), 100 * custom.sure_from
    place = st.container()
    chosen = st.slider("No answer below, %", least, 99, round(now), key=f"threshold-{run.id}")
    with place:
        st.altair_chart(
            training_charts.threshold_chart(thresholds, chosen / 100, text_color()),
            alt=describe_threshold(thresholds, chosen / 100),
        )
    st.caption(describe_threshold(thresholds, chosen / 100))
    if chosen != round(now):
        if st.button(f"Set it to {chosen}%", key="train_threshold"):
            act(set_threshold, run, result, chosen / 100)
    else:
        st.caption(f":material/check: Below {chosen}% it says that it is not sure.")


def describe_threshold(thresholds: Sequence[Threshold], chosen: float) -> str:
    point = min(thresholds, key=lambda one: abs(one.probability - chosen))
    if not point.answered:
        return "No photo gets an answer."
    return (
        f"{point.answered:.0%} of the photos kept back get an answer, and {point.accuracy:.1%} of "
        "these answers are right."
    )


def set_threshold(run: TrainingRun, result: TrainingResult, unknown_below: float) -> None:
    run.change(with_threshold(result.bundle, unknown_below))


def show_learning_curve(run: TrainingRun, result: TrainingResult) -> None:
    learning_curve = result.validation_report.learning_curve
    if not learning_curve:
        return
    st.markdown(
        "**Will more photos help?**",
        help="It learned from fewer, too. Where the line still rises at its end, more photos of "
        "the same kind will help; where it is flat, they will not.",
    )
    frame = training_charts.learning_curve_frame(learning_curve)
    drawn, told = st.columns(2, gap="medium")
    with drawn:
        st.altair_chart(
            training_charts.learning_curve_chart(frame, text_color()),
            alt="Share of right answers by photos learned from, as in the table",
        )
    with told:
        st.table(
            {
                "Photos": [f"{one.photos:,}" for one in learning_curve],
                "Right": [f"{one.accuracy.value:.1%}" for one in learning_curve],
                "95% interval": [
                    f"{one.accuracy.interval[0]:.0%} to {one.accuracy.interval[1]:.0%}"
                    for one in learning_curve
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
            "Built on": f"{record['backbone']}, {record['feature_layer']}",
            "Weights of that": f"{weights['file']}, SHA-256 {weights['sha256']}",
            "Photos": f"{data['photos']} ({data['training']} learned from)",
            "Fingerprint of the photos": data["fingerprint"],
            "Recipe": ", ".join(f"{name} {value}" for name, value in record["recipe"].items()),
            "Made": record["date"],
            "With": ", ".join(f"{name} {value}" for name, value in record["versions"].items()),
        }
        text = "\n".join(f"{what}: {value}" for what, value in rows.items())
        st.code(text, language=None, wrap_lines=True)
