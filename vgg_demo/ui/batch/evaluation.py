"""How right the networks were, where names tell what is on the photos."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from vgg_demo.analysis.evaluation import Evaluation, Evaluator, Mistake
from vgg_demo.files.printable import printable
from vgg_demo.inference.results import percent
from vgg_demo.models.registry import ModelSpec
from vgg_demo.ui.batch.run import BatchRun, Found
from vgg_demo.ui.components.metrics import show_calibration, show_each_class, show_proportion
from vgg_demo.ui.markdown import escape

MAX_MISTAKES = 6
MAX_CONFUSIONS = 10


def show_evaluation(run: BatchRun) -> None:
    """Shows how right each network was, if the truth is known for any photo."""
    known = [found for found in run.found if any(found.truths)]
    if not known:
        st.caption(
            "Name photos or their folders after what is on them (tabby.jpg, tabby/1.jpg or "
            "n02123045.jpg), and you also learn here how often the networks are right."
        )
        return
    st.header("How often they are right", anchor=False)
    others = len(run.found) - len(known)
    st.caption(
        f"The names of {len(known)} photos or of their folders tell what is on them."
        + (f" The other {others} do not count." if others else "")
    )
    specs = {spec.name: spec for spec in run.specs}
    name = run.specs[0].name
    if len(specs) > 1:
        name = st.segmented_control(
            "Network",
            list(specs),
            default=name,
            format_func=lambda one: escape(specs[one].keras_name),
            required=True,
            key="batch_evaluated",
        )
    show_model(run, specs[name])


def show_model(run: BatchRun, spec: ModelSpec) -> None:
    if spec.name not in run.evaluated:  # once, not each time that the page is drawn
        run.evaluated[spec.name] = evaluate(run, spec)
    evaluation, counted = run.evaluated[spec.name]
    without = sum(any(found.truths) for found in run.found) - len(counted)
    if without:
        name = escape(spec.keras_name)
        st.caption(f"{name} has no class for what is on {without} of them.")
    if not counted:
        return
    with st.container(horizontal=True):
        show_proportion("First answer right", evaluation.top1)
        show_proportion("Among the first five", evaluation.top5)
        st.metric(
            "Probabilities off by",
            f"{evaluation.calibration_error:.1%}",
            help="The expected calibration error: how far the probability of the first answers is "
            "from the share of them that are right, on average over 15 bins.",
            border=True,
            height="stretch",
        )
        st.metric(
            "Best temperature",
            f"{evaluation.temperature:.2f}",
            help="Dividing the network's scores by this number would make its probabilities fit "
            "these photos best. Below 1 it is too timid, above 1 too bold.",
            border=True,
            height="stretch",
        )
    show_mistakes(evaluation, counted)
    confused, calibrated = st.columns(2, gap="medium")
    with confused:
        show_confusions(evaluation)
    with calibrated:
        show_calibration(evaluation)
    with st.expander(f"Each class ({len(evaluation.classes)})"):
        show_each_class(evaluation)


def evaluate(run: BatchRun, spec: ModelSpec) -> tuple[Evaluation, list[Found]]:
    """Returns how right a network is, and the photos that count."""
    evaluator = Evaluator(spec)
    place = [one.name for one in run.specs].index(spec.name)
    counted = []
    for found in run.found:
        truth = found.truths[place]
        if truth is not None and evaluator.add(found.results[place], truth):
            counted.append(found)
    return evaluator.evaluate(), counted


def show_mistakes(evaluation: Evaluation, counted: list[Found]) -> None:
    """Shows the wrong answers that the network was surest of."""
    if not evaluation.mistakes:
        return
    st.markdown("**The worst mistakes**", help="Wrong answers, the most probable first.")
    with st.grid(6, min_column_width=140, gap="small"):
        for mistake in evaluation.mistakes[:MAX_MISTAKES]:
            with st.container(border=True, gap="xsmall", height="stretch"):
                st.image(
                    counted[mistake.place].copies.picture,
                    alt=f"Photo {printable(mistake.file)}",
                    width="stretch",
                )
                show_mistake(mistake)


def show_mistake(mistake: Mistake) -> None:
    answer, truth = escape(mistake.answer.label), escape(mistake.truth.label)
    st.markdown(f"**{answer}** {percent(mistake.answer.probability)}")
    st.caption(f"really: {truth}, {percent(mistake.truth_probability)}")


def show_confusions(evaluation: Evaluation) -> None:
    st.markdown("**Most often confused**")
    if not evaluation.confusions:
        st.caption("Nothing was.")
        return
    st.dataframe(
        pd.DataFrame(
            [
                {"What it is": one.truth.label, "Taken for": one.answer.label, "Times": one.count}
                for one in evaluation.confusions[:MAX_CONFUSIONS]
            ]
        ),
        hide_index=True,
        alt="The classes that are most often confused",
    )
