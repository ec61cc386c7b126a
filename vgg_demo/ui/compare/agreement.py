"""Agreement of the models: majority, average and pairwise distances."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from vgg_demo.analysis.agreement import Ensemble
from vgg_demo.analysis.comparison import Comparison
from vgg_demo.analysis.verdict import one_line
from vgg_demo.models.labels import with_article
from vgg_demo.reports import charts
from vgg_demo.ui.components.prediction import describe_chart
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.theme import text_color

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def describe_agreement(comparison: Comparison) -> str:
    """Describes in one line what the models agree on; empty for fewer than two results."""
    count = len(comparison.results)
    if count < 2:
        return ""
    agreements = comparison.consensus()
    if not agreements:
        return (
            "The two models disagree"
            if count == 2
            else "The models disagree: no class has a majority"
        )
    parts: list[str] = []
    for consensus in agreements:
        agreeing = len(consensus.models)
        if agreeing == count:
            subject = "Both" if count == 2 else f"All {spell_out(count)}"
        else:
            subject = f"{spell_out(agreeing)} of {spell_out(count)}"
        parts.append(f"{subject}: {with_article(consensus.label)}")
    sentence = "; ".join(parts)
    return sentence[:1].upper() + sentence[1:]


def spell_out(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def show_agreement(comparison: Comparison, top: int, class_colors: Mapping[str, str]) -> None:
    """Shows what the models agree on, their average, and the distances between them."""
    text = describe_agreement(comparison)
    if not text:
        return
    st.header(escape(text), anchor=False)
    for consensus in comparison.consensus()[-1:]:
        if consensus.definition:
            st.markdown(f"*{escape(consensus.label)}*: {consensus.definition}.")
    ensemble_column, distance_column = st.columns([1, 1], gap="medium")
    with ensemble_column:
        if ensemble := comparison.ensemble():
            keras_names = {
                result.spec.name: result.spec.keras_name for result in comparison.results
            }
            names = ", ".join(keras_names[model] for model in ensemble.models)
            show_ensemble(ensemble, names, top, class_colors)
    with distance_column:
        show_distances(comparison)


def show_ensemble(
    ensemble: Ensemble, names: str, top: int, class_colors: Mapping[str, str]
) -> None:
    predictions = ensemble.predictions(top)
    st.markdown(
        "**Average of the models**",
        help=f"Average probabilities of the models with the same classes: {names}.",
    )
    st.markdown(escape(one_line(ensemble.verdict())))
    frame = charts.predictions_frame(predictions, ensemble.labels)
    st.altair_chart(
        charts.predictions_chart(frame, text_color(), class_colors),
        alt=f"Average of the models. {describe_chart(predictions)}",
    )


def show_distances(comparison: Comparison) -> None:
    """Shows the pairwise distances as a heat map and as a table."""
    names = [result.spec.keras_name for result in comparison.results]
    matrix = comparison.distances()
    st.markdown(
        "**Distance between models**",
        help="Jensen–Shannon distance between the probabilities of two models: 0 means "
        "identical, 1 means no overlap. If two models have different classes, they are compared "
        "on the classes of the model with fewer.",
    )
    st.altair_chart(
        charts.distance_chart(names, matrix, text_color()),
        alt="Distances between the models, as in the table",
    )
    with st.expander("Show as table"):
        st.table(
            pd.DataFrame(matrix, index=names, columns=names).map("{:.2f}".format),
            alt="Distances between the models",
        )
