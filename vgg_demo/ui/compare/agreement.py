"""What the models have in common, above their cards."""

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
    """Says in a sentence what the models agree on; empty for fewer than two answers."""
    count = len(comparison.results)
    if count < 2:
        return ""
    found = comparison.consensus()
    if not found:
        return "The two have nothing in common" if count == 2 else "No majority agrees on anything"
    parts: list[str] = []
    for consensus in found:
        agreeing = len(consensus.models)
        if agreeing == count:
            who = "Both" if count == 2 else f"All {number(count)}"
        else:
            who = f"{number(agreeing)} of {'them' if parts else number(count)}"
        parts.append(f"{who}: {with_article(consensus.label)}")
    sentence = "; ".join(parts)
    return sentence[:1].upper() + sentence[1:]


def number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def show_agreement(comparison: Comparison, top: int, class_colors: Mapping[str, str]) -> None:
    """Shows what the models agree on, their mean, and how far apart they are."""
    words = describe_agreement(comparison)
    if not words:
        return
    st.header(escape(words), anchor=False)
    for consensus in comparison.consensus()[-1:]:
        if consensus.definition:
            st.markdown(f"*{escape(consensus.label)}*: {consensus.definition}.")
    mean, apart = st.columns([1, 1], gap="medium")
    with mean:
        if ensemble := comparison.ensemble():
            known = {result.spec.name: result.spec.keras_name for result in comparison.results}
            names = ", ".join(known[model] for model in ensemble.models)
            show_ensemble(ensemble, names, top, class_colors)
    with apart:
        show_distances(comparison)


def show_ensemble(
    ensemble: Ensemble, names: str, top: int, class_colors: Mapping[str, str]
) -> None:
    predictions = ensemble.predictions(top)
    st.markdown(
        "**Their mean**",
        help=f"The mean of the probabilities of those that know the same things: {names}.",
    )
    st.markdown(escape(one_line(ensemble.verdict())))
    frame = charts.predictions_frame(predictions, ensemble.labels)
    st.altair_chart(
        charts.top_chart(frame, text_color(), class_colors),
        alt=f"The mean. {describe_chart(predictions)}",
    )


def show_distances(comparison: Comparison) -> None:
    names = [result.spec.keras_name for result in comparison.results]
    matrix = comparison.distances()
    st.markdown(
        "**How far apart they are**",
        help="The Jensen–Shannon distance between two networks' probabilities: 0 is the very "
        "same answer, 1 is nothing in common. A network of fewer things is compared with the "
        "others over the things that it knows.",
    )
    st.altair_chart(
        charts.distance_chart(names, matrix, text_color()),
        alt="Distances between the networks, as in the table",
    )
    with st.expander("The same as a table"):
        st.table(
            pd.DataFrame(matrix, index=names, columns=names).map("{:.2f}".format),
            alt="Distances between the networks",
        )
