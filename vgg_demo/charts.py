"""Results as Altair charts."""

from __future__ import annotations

import json
from collections.abc import Sequence

import altair as alt
import pandas as pd

from vgg_demo.labels import ClassLabel
from vgg_demo.results import Prediction

BAR_HEIGHT = 34  # pixels for each bar and its gap


def predictions_frame(
    predictions: Sequence[Prediction], labels: Sequence[ClassLabel]
) -> pd.DataFrame:
    """Returns predictions as a table, best first."""
    return pd.DataFrame(
        {
            "rank": [p.rank for p in predictions],
            "label": [p.label for p in predictions],
            "probability": [p.probability for p in predictions],
            "wnid": [p.wnid for p in predictions],
            "definition": [labels[p.index].definition for p in predictions],
        }
    )


def top_chart(frame: pd.DataFrame) -> alt.LayerChart:
    """Draws predictions as horizontal bars on an axis from 0 to 100 %, best first.

    Args:
        frame: From `predictions_frame`.
    """
    order = frame["label"].tolist()
    percent = {label: f"{p:.1%}" for label, p in zip(order, frame["probability"], strict=True)}
    base = alt.Chart(frame).encode(
        x=alt.X(
            "probability:Q",
            title=None,
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], labelFlush=True),
        ),
        tooltip=[
            alt.Tooltip("label:N", title="Answer"),
            alt.Tooltip("probability:Q", title="Probability", format=".2%"),
            alt.Tooltip("definition:N", title="Meaning"),
            alt.Tooltip("wnid:N", title="WordNet ID"),
        ],
    )
    names = alt.Axis(labelLimit=180, labelFontSize=14, ticks=False, domain=False)
    # The numbers are the labels of an axis on the right: text marks, unlike axes, do not
    # take the colour of the theme.
    numbers = alt.Axis(
        orient="right",
        labelExpr=f"{json.dumps(percent)}[datum.label]",
        labelFontSize=14,
        ticks=False,
        domain=False,
    )
    bars = base.mark_bar(height=20, cornerRadiusEnd=4).encode(
        y=alt.Y("label:N", sort=order, title=None, axis=names),
        opacity=alt.condition("datum.rank == 1", alt.value(1.0), alt.value(0.55)),
    )
    ends = base.mark_point(opacity=0).encode(
        y=alt.Y("label:N", sort=order, title=None, axis=numbers)
    )
    chart: alt.LayerChart = (
        alt.layer(bars, ends)
        .resolve_axis(y="independent")
        .properties(height=BAR_HEIGHT * len(frame))
        .configure_view(stroke=None)
    )
    return chart
