"""Accuracy of the models on photos whose file or folder names contain labels."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from vgg_demo.analysis.evaluation import Evaluation, Evaluator, Mistake
from vgg_demo.files.printable import printable
from vgg_demo.inference.results import percent
from vgg_demo.models.registry import ModelSpec
from vgg_demo.ui.batch.run import BatchRun, ClassifiedPhoto
from vgg_demo.ui.components.metrics import show_calibration, show_per_class, show_proportion
from vgg_demo.ui.components.text import count_photos
from vgg_demo.ui.markdown import escape

MAX_MISTAKES = 6
MAX_CONFUSIONS = 10


def show_evaluation(run: BatchRun) -> None:
    """Shows the accuracy of the models, or how to label photos if none has a label."""
    labeled = [photo for photo in run.photos if any(photo.true_wnids)]
    if not labeled:
        st.caption(
            "To measure accuracy, name photos or folders after their classes: tabby.jpg, "
            "tabby/1.jpg or n02123045.jpg."
        )
        return
    st.header("Accuracy", anchor=False)
    specs = {spec.name: spec for spec in run.specs}
    name = run.specs[0].name
    if len(specs) > 1:
        name = st.segmented_control(
            "Model",
            list(specs),
            default=name,
            format_func=lambda key: escape(specs[key].keras_name),
            required=True,
            key="batch_evaluated",
        )
    show_model_accuracy(run, specs[name])


def show_model_accuracy(run: BatchRun, spec: ModelSpec) -> None:
    """Shows the accuracy, mistakes, confusions and calibration of a model."""
    if spec.name not in run.evaluations:  # once, not on every rerun
        run.evaluations[spec.name] = evaluate(run, spec)
    evaluation, evaluated = run.evaluations[spec.name]
    labeled = sum(any(photo.true_wnids) for photo in run.photos)
    unlabeled = len(run.photos) - labeled
    st.caption(
        describe_measured(escape(spec.keras_name), len(evaluated), labeled)
        + (f" Not included: {count_photos(unlabeled)} without a label." if unlabeled else "")
    )
    if not evaluated:
        return
    with st.container(horizontal=True):
        show_proportion("Top-1 accuracy", evaluation.top1)
        show_proportion("Top-5 accuracy", evaluation.top5)
        st.metric(
            "Calibration error",
            f"{evaluation.calibration_error:.1%}",
            help="Expected calibration error (ECE): the difference between the probability of "
            "the top predictions and their accuracy, averaged over 15 bins.",
            border=True,
            height="stretch",
        )
        st.metric(
            "Temperature",
            f"{evaluation.temperature:.2f}",
            help="Temperature scaling: dividing the logits by this number gives the best-"
            "calibrated probabilities on these photos. Below 1, the model is underconfident; "
            "above 1, overconfident.",
            border=True,
            height="stretch",
        )
    show_mistakes(evaluation, evaluated)
    confusions, calibration = st.columns(2, gap="medium")
    with confusions:
        show_confusions(evaluation)
    with calibration:
        show_calibration(evaluation)
    with st.expander(f"Per class ({len(evaluation.classes)})"):
        show_per_class(evaluation)


def describe_measured(name: str, evaluated: int, labeled: int) -> str:
    """Describes the photos on which a model's accuracy was measured.

    Args:
        name: Display name of the model, as Markdown.
        evaluated: Number of photos whose label is a class of the model.
        labeled: Number of photos with a label.
    """
    if evaluated == labeled:
        return f"Measured on {count_photos(labeled)} with a label in the file or folder name."
    if not evaluated:
        return f"{name}: not measured; it has no class for the labels of these photos."
    others = "other" if labeled - evaluated == 1 else "others"
    return (
        f"{name}: measured on {evaluated} of {labeled} labeled photos; it has no class for the "
        f"{others}."
    )


def evaluate(run: BatchRun, spec: ModelSpec) -> tuple[Evaluation, list[ClassifiedPhoto]]:
    """Evaluates a model on the labeled photos.

    Returns:
        The evaluation and the photos included in it: those whose label is a class of the model.
    """
    evaluator = Evaluator(spec)
    index = [other.name for other in run.specs].index(spec.name)
    evaluated = []
    for photo in run.photos:
        wnid = photo.true_wnids[index]
        if wnid is not None and evaluator.add(photo.results[index], wnid):
            evaluated.append(photo)
    return evaluator.evaluate(), evaluated


def show_mistakes(evaluation: Evaluation, evaluated: list[ClassifiedPhoto]) -> None:
    """Shows the wrong predictions with the highest probability."""
    if not evaluation.mistakes:
        return
    st.markdown("**Worst mistakes**", help="Wrong predictions, highest probability first.")
    with st.grid(6, min_column_width=140, gap="small"):
        for mistake in evaluation.mistakes[:MAX_MISTAKES]:
            with st.container(border=True, gap="xsmall", height="stretch"):
                st.image(
                    evaluated[mistake.index].thumbnails.gallery,
                    alt=f"Photo {printable(mistake.file)}",
                    width="stretch",
                )
                show_mistake(mistake)


def show_mistake(mistake: Mistake) -> None:
    predicted, truth = escape(mistake.predicted.label), escape(mistake.truth.label)
    st.markdown(f"**{predicted}** {percent(mistake.predicted.probability)}")
    st.caption(f"True class: {truth} ({percent(mistake.truth_probability)})")


def show_confusions(evaluation: Evaluation) -> None:
    """Shows the most frequent pairs of a true class and a wrong prediction as a table."""
    st.markdown("**Most frequent confusions**")
    if not evaluation.confusions:
        st.caption("None: all top predictions are correct.")
        return
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "True class": confusion.truth.label,
                    "Predicted class": confusion.predicted.label,
                    "Count": confusion.count,
                }
                for confusion in evaluation.confusions[:MAX_CONFUSIONS]
            ]
        ),
        hide_index=True,
        alt="The most frequent confusions of two classes",
    )
