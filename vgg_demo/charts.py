"""Results as Altair charts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

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


def top_chart(frame: pd.DataFrame, text_color: str) -> alt.LayerChart:
    """Draws predictions as horizontal bars on an axis from 0 to 100 %, best first.

    Args:
        frame: From `predictions_frame`.
        text_color: Of the names and numbers, as CSS.
    """
    base = alt.Chart(frame).encode(
        x=alt.X(
            "probability:Q",
            title=None,
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(
                format="%", values=[0, 0.25, 0.5, 0.75, 1], labelFlush=True, labelColor=text_color
            ),
        ),
        tooltip=[
            alt.Tooltip("label:N", title="Answer"),
            alt.Tooltip("probability:Q", title="Probability", format=".2%"),
            alt.Tooltip("definition:N", title="Meaning"),
            alt.Tooltip("wnid:N", title="WordNet ID"),
        ],
    )
    bars = base.mark_bar(height=20, cornerRadiusEnd=4).encode(
        y=_rows(frame["rank"], frame["label"], text_color, labelLimit=180),
        opacity=alt.condition("datum.rank == 1", alt.value(1.0), alt.value(0.55)),
    )
    # The numbers stand in a column of their own: the labels of an axis on the right.
    percents = [f"{p:.1%}" for p in frame["probability"]]
    ends = base.mark_point(opacity=0).encode(
        y=_rows(frame["rank"], percents, text_color, orient="right")
    )
    chart: alt.LayerChart = (
        alt.layer(bars, ends)
        .resolve_axis(y="independent")
        .properties(height=BAR_HEIGHT * len(frame))
        .configure_view(stroke=None)
    )
    return chart


def _rows(ranks: Iterable[int], texts: Iterable[str], color: str, **axis: Any) -> alt.Y:
    """A row for each rank, since two classes may share a label, with a text of its own."""
    shown = json.dumps(dict(zip(ranks, texts, strict=True)))
    return alt.Y(
        "rank:O",
        title=None,
        axis=alt.Axis(
            labelExpr=f"{shown}[datum.value]",
            labelColor=color,
            labelFontSize=14,
            ticks=False,
            domain=False,
            **axis,
        ),
    )
