"""Results of a training run: accuracy, mistakes, calibration, threshold and learning curve."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from vgg_demo.analysis.evaluation import Evaluation
from vgg_demo.models.bundle import Bundle, set_unknown_threshold
from vgg_demo.models.custom import MIN_PROBABILITY
from vgg_demo.reports import training_charts
from vgg_demo.training.jobs.training_run import TrainingResult, TrainingRun
from vgg_demo.training.validation import Threshold
from vgg_demo.ui.components.metrics import show_calibration, show_per_class, show_proportion
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color
from vgg_demo.ui.train.actions import show_actions
from vgg_demo.ui.train.confusion_matrix import (
    class_names,
    show_cell,
    show_confusion_matrix,
    show_worst_mistakes,
)
from vgg_demo.ui.train.inspection import call_and_rerun
from vgg_demo.ui.train.progress import show_history


def show_results(run: TrainingRun, result: TrainingResult) -> None:
    """Shows the results of a training run that produced a model."""
    evaluation = result.validation_report.evaluation
    show_metrics(run, result)
    show_actions(run, result)
    matrix, photos = st.columns([1, 1], gap="medium")
    with matrix:
        cell = show_confusion_matrix(result)
    with photos:
        show_cell(run, result, cell)
    show_worst_mistakes(run, result)
    calibration, threshold = st.columns(2, gap="medium")
    with calibration:
        show_calibration(evaluation)
        st.caption(
            f"Temperature {result.validation_report.temperature:.2f}: the model's logits are "
            "divided by it. It is fitted on the held-out photos (temperature scaling)."
        )
    with threshold:
        show_threshold(run, result)
    show_learning_curve(run, result)
    with st.expander(f"Per class ({len(evaluation.classes)})"):
        show_per_class(evaluation)
    show_history(run)
    show_record(run, result.bundle)


def show_metrics(run: TrainingRun, result: TrainingResult) -> None:
    validation_report = result.validation_report
    evaluation = validation_report.evaluation
    is_useful = evaluation.top1.interval[0] > validation_report.baseline.value
    state = "is ready" if is_useful else "is no better than the baseline yet"
    st.header(f"“{escape(run.name)}” {state}", anchor=False)
    st.markdown(summarize(evaluation, validation_report.baseline.value, len(run.dataset.classes)))
    if unvalidated := unvalidated_classes(result):
        st.warning(
            f"No held-out photos of {escape(', '.join(unvalidated))}: all photos of the class are "
            "near-duplicates or in one group. Its accuracy is unknown.",
            icon=":material/visibility_off:",
        )
    with st.container(horizontal=True):
        show_proportion("Validation accuracy", evaluation.top1, OPTIMISM_NOTE)
        st.metric(
            "Baseline",
            f"{validation_report.baseline.value:.1%}",
            border=True,
            height="stretch",
            help="Accuracy of always predicting the most frequent class. A useful model must be "
            "better.",
        )
        st.metric(
            "Calibration error",
            f"{evaluation.calibration_error:.1%}",
            border=True,
            height="stretch",
            help="Expected calibration error (ECE): the difference between the probability of the "
            "top predictions and their accuracy, averaged over 15 bins.",
        )
        st.metric(
            "Training time",
            f"{run.seconds:.0f} s",
            border=True,
            height="stretch",
            help=f"Time to train on {len(run.dataset.photos) - len(result.indices):,} photos, "
            "including loading the model and saving it.",
        )


def unvalidated_classes(result: TrainingResult) -> list[str]:
    """Returns the names of the classes without held-out photos."""
    validated = set(result.truth.tolist())
    return [name for index, name in enumerate(class_names(result)) if index not in validated]


def summarize(evaluation: Evaluation, baseline: float, classes: int) -> str:
    """Summarizes the validation results in one or two sentences.

    Args:
        evaluation: The evaluation on the held-out photos.
        baseline: Accuracy of always predicting the most frequent class, in [0, 1].
        classes: Number of classes.
    """
    low, _ = evaluation.top1.interval
    correct, count = evaluation.top1.correct, evaluation.top1.count
    if correct == count and low > baseline:
        return f"All {count} held-out photos are classified correctly."
    summary = f"{correct} of {count} held-out photos are classified correctly."
    if low <= baseline:
        return f"{summary} This is not significantly better than the baseline: add more photos."
    worst = evaluation.confusions[0]
    if worst.count > 1 and classes > 2:
        truth, predicted = escape(worst.truth.label), escape(worst.predicted.label)
        summary += f" Most frequent confusion: {truth} predicted as {predicted}."
    return summary


OPTIMISM_NOTE = (
    " The held-out photos were also used to choose the best epoch, the temperature and the "
    "threshold, so expect slightly lower accuracy on new photos."
)


def show_threshold(run: TrainingRun, result: TrainingResult) -> None:
    custom = result.bundle.spec.custom
    assert custom is not None  # noqa: S101  # true for every bundle
    st.markdown(
        "**Threshold for “not sure”**",
        help="If the top probability is below the threshold, the result is “not sure”. A higher "
        "threshold makes the remaining predictions more accurate, but fewer photos get one. The "
        "default is 50%, or higher if that withholds more wrong than correct predictions on the "
        "held-out photos.",
    )
    thresholds = result.validation_report.thresholds
    minimum, current = round(100 * MIN_PROBABILITY), 100 * custom.effective_threshold
    chart = st.container()
    chosen = st.slider("Threshold (%)", minimum, 99, round(current), key=f"threshold-{run.id}")
    description = describe_threshold(thresholds, chosen / 100)
    with chart:
        st.altair_chart(
            training_charts.threshold_chart(thresholds, chosen / 100, text_color()),
            alt=description,
        )
    st.caption(description)
    if chosen != round(current):
        if st.button(f"Set threshold to {chosen}%", key="train_threshold"):
            call_and_rerun(set_threshold, run, result, chosen / 100)
    else:
        st.caption(f":material/check: Predictions below {chosen}% are reported as “not sure”.")


def describe_threshold(thresholds: Sequence[Threshold], chosen: float) -> str:
    """Describes coverage and accuracy at the threshold nearest to the chosen one.

    Args:
        thresholds: The evaluated thresholds.
        chosen: A probability, in [0, 1].
    """
    nearest = min(thresholds, key=lambda threshold: abs(threshold.probability - chosen))
    if not nearest.coverage:
        return f"At {chosen:.0%}, none of the held-out photos gets a prediction."
    return (
        f"At {chosen:.0%}, {nearest.coverage:.0%} of the held-out photos get a prediction; "
        f"{nearest.accuracy:.1%} of these are correct."
    )


def set_threshold(run: TrainingRun, result: TrainingResult, unknown_threshold: float) -> None:
    run.replace_bundle(set_unknown_threshold(result.bundle, unknown_threshold))


def show_learning_curve(run: TrainingRun, result: TrainingResult) -> None:
    learning_curve = result.validation_report.learning_curve
    if not learning_curve:
        return
    st.markdown(
        "**Learning curve**",
        help="Validation accuracy of models trained on fewer photos. If the curve still rises at "
        "the end, more photos like these will help; if it is flat, they will not.",
    )
    frame = training_charts.learning_curve_frame(learning_curve)
    chart, table = st.columns(2, gap="medium")
    with chart:
        st.altair_chart(
            training_charts.learning_curve_chart(frame, text_color()),
            alt="Validation accuracy by number of training photos, as in the table",
        )
    with table:
        st.table(
            {
                "Training photos": [f"{point.photos:,}" for point in learning_curve],
                "Accuracy": [f"{point.accuracy.value:.1%}" for point in learning_curve],
                "95% interval": [
                    f"{point.accuracy.interval[0]:.0%} to {point.accuracy.interval[1]:.0%}"
                    for point in learning_curve
                ],
            },
            alt="Validation accuracy by number of training photos",
        )
        if run.fine_tuning:
            st.caption("New output layer only, before fine-tuning.")


def show_record(run: TrainingRun, bundle: Bundle) -> None:
    """Shows the training record of the model."""
    with st.expander("Training record", icon=":material/receipt_long:"):
        record = dict(bundle.record)
        data, weights, recipe = record["data"], record["backbone_weights"], dict(record["recipe"])
        if recipe["learning_rate"] is None:
            rate = f"{run.range_test.suggestion:.1e}, " if run.range_test is not None else ""
            recipe["learning_rate"] = f"{rate}found by the range test"
        rows = {
            "Model": bundle.spec.name,
            "SHA-256 of the model file": bundle.spec.weights.hash,
            "Backbone": f"{record['backbone']}, {record['feature_layer']}",
            "Backbone weights": f"{weights['file']}, SHA-256 {weights['sha256']}",
            "Photos": f"{data['photos']} ({data['training']} in the training set)",
            "Fingerprint of the photos": data["fingerprint"],
            "Recipe": ", ".join(f"{name} {value}" for name, value in recipe.items()),
            "Created": record["date"],
            "Versions": ", ".join(f"{name} {value}" for name, value in record["versions"].items()),
        }
        text = "\n".join(f"{name}: {value}" for name, value in rows.items())
        st.code(text, language=None, wrap_lines=True)
