"""Results as Altair charts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vgg_demo.analysis.comparison import ModelResult, imagenet_top1, pareto_front
from vgg_demo.inference.results import Prediction
from vgg_demo.models.labels import ClassLabel

BAR_HEIGHT = 28  # pixels for each bar and its gap
AXIS_HEIGHT = 40  # pixels below bars
PADDING = 20  # pixels of a chart's height that Streamlit leaves empty
NAME_WIDTH = 130  # pixels for the names beside bars, where several charts are to be alike

CLASS_COLORS = (
    "#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#76b7b2", "#edc948", "#9c755f",
    "#ff9da7", "#86bcb6", "#a0cbe8", "#d4a6c8", "#8cd17d", "#d37295", "#499894", "#b6992d",
)  # fmt: skip
"""Tableau's palettes of ten and twenty colours, in an order that keeps neighbours apart."""

OTHER_COLOR = "#8a8f98"


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


def top_chart(
    frame: pd.DataFrame, text_color: str, class_colors: Mapping[str, str] | None = None
) -> alt.LayerChart:
    """Draws predictions as horizontal bars on an axis from 0 to 100 %, best first.

    Args:
        frame: From `predictions_frame`.
        text_color: Of the names and numbers, as CSS.
        class_colors: A colour for each WordNet ID (else grey), for charts side by side, whose
            bars then begin at the same place; without it the best stands out.
    """
    width = {} if class_colors is None else {"minExtent": NAME_WIDTH, "maxExtent": NAME_WIDTH}
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
        y=_rows(frame["rank"], frame["label"], text_color, labelLimit=180, **width)
    )
    if class_colors is None:
        is_best = alt.condition("datum.rank == 1", alt.value(1.0), alt.value(0.55))
        bars = bars.encode(opacity=is_best)
    else:
        colors = [class_colors.get(wnid, OTHER_COLOR) for wnid in frame["wnid"]]
        scale = alt.Scale(domain=frame["wnid"].tolist(), range=colors)
        bars = bars.encode(color=alt.Color("wnid:N", scale=scale, legend=None))
    # The numbers stand in a column of their own: the labels of an axis on the right.
    # Behind each is a space that counts: their width is measured in another font than they get.
    percents = [f"{p:.1%}\u00a0\u00a0" for p in frame["probability"]]
    ends = base.mark_point(opacity=0).encode(
        y=_rows(frame["rank"], percents, text_color, orient="right")
    )
    chart: alt.LayerChart = (
        alt.layer(bars, ends)
        .resolve_axis(y="independent")
        .properties(height=BAR_HEIGHT * len(frame) + AXIS_HEIGHT)
        .configure_view(stroke=None)
    )
    return chart


def color_classes(predictions: Iterable[Prediction]) -> dict[str, str]:
    """Gives each class a colour of its own, in the order of its first appearance.

    Returns:
        A colour for each WordNet ID; once `CLASS_COLORS` are used up, grey.
    """
    wnids = dict.fromkeys(prediction.wnid for prediction in predictions)
    return dict(zip(wnids, chain(CLASS_COLORS, repeat(OTHER_COLOR)), strict=False))


def distance_chart(
    names: Sequence[str], matrix: NDArray[np.float64], text_color: str
) -> alt.LayerChart:
    """Draws distances in [0, 1] between models as a heat map with the numbers in it.

    Args:
        names: Of the models, as people know them.
        matrix: float64 (models, models).
        text_color: Of the names, as CSS.
    """
    frame = pd.DataFrame(
        {"one": one, "other": other, "distance": matrix[i, j]}
        for i, one in enumerate(names)
        for j, other in enumerate(names)
    )
    order = list(names)
    axis = alt.Axis(
        labelLimit=140, labelColor=text_color, labelOverlap=False, ticks=False, domain=False
    )
    slanted = alt.Axis(**axis.to_dict(), labelAngle=-40)
    base = alt.Chart(frame).encode(
        x=alt.X("other:N", sort=order, title=None, axis=slanted),
        y=alt.Y("one:N", sort=order, title=None, axis=axis),
        tooltip=[
            alt.Tooltip("one:N", title="Model"),
            alt.Tooltip("other:N", title="and"),
            alt.Tooltip("distance:Q", title="Distance", format=".3f"),
        ],
    )
    cells = base.mark_rect().encode(
        color=alt.Color("distance:Q", scale=alt.Scale(domain=[0, 1], scheme="blues"), legend=None)
    )
    numbers = base.mark_text(fontSize=12).encode(
        text=alt.Text("distance:Q", format=".2f"),
        color=alt.condition("datum.distance > 0.55", alt.value("white"), alt.value("#0d131c")),
    )
    chart: alt.LayerChart = (cells + numbers).properties(height=90 + 44 * len(names))
    return chart


def class_chart(
    frame: pd.DataFrame, text_color: str, *, is_clickable: bool = True
) -> alt.LayerChart:
    """Draws how many photos there are of each class; a click on a bar picks its ``wnid``.

    Args:
        frame: With the columns ``wnid``, ``label`` and ``count``, the most frequent first.
        text_color: Of the names and numbers, as CSS.
        is_clickable: Whether it does.
    """
    ranked = frame.assign(rank=range(1, len(frame) + 1))
    base = alt.Chart(ranked).encode(
        x=alt.X("count:Q", title=None, axis=None),
        y=_rows(ranked["rank"], ranked["label"], text_color, labelLimit=180),
        tooltip=[alt.Tooltip("label:N", title="Kind"), alt.Tooltip("count:Q", title="Photos")],
    )
    bars = base.mark_bar(height=16, cornerRadiusEnd=4)
    if is_clickable:
        picked = alt.selection_point(name="picked", fields=["wnid"])
        bars = (
            base.mark_bar(height=16, cornerRadiusEnd=4, cursor="pointer")
            .encode(opacity=alt.condition(picked, alt.value(1.0), alt.value(0.4)))
            .add_params(picked)
        )
    numbers = base.mark_text(align="left", dx=6, color=text_color, fontSize=13).encode(
        text="count:Q"
    )
    chart: alt.LayerChart = (
        (bars + numbers).properties(height=26 * len(frame) + PADDING).configure_view(stroke=None)
    )
    return chart


def reliability_chart(frame: pd.DataFrame, text_color: str) -> alt.LayerChart:
    """Draws how many answers of some probability are right, and the line where all should lie.

    Args:
        frame: With the columns ``probability`` and ``accuracy``, in [0, 1], and ``count``.
        text_color: Of names and numbers, as CSS.
    """

    def axis(title: str) -> alt.Axis:
        return alt.Axis(
            format="%", labelColor=text_color, titleColor=text_color, tickCount=5, title=title
        )

    scale = alt.Scale(domain=[0, 1])
    ends = pd.DataFrame({"probability": [0, 1], "accuracy": [0, 1]})
    x = alt.X("probability:Q", scale=scale, axis=axis("Probability of the first answer"))
    y = alt.Y("accuracy:Q", scale=scale, axis=axis("Share that is right"))
    line = alt.Chart(ends).mark_line(strokeDash=[5, 4], opacity=0.6, color=text_color)
    points = alt.Chart(frame).mark_circle(opacity=0.85)
    results = points.encode(
        x=x,
        y=y,
        size=alt.Size("count:Q", legend=None, scale=alt.Scale(range=[60, 500])),
        tooltip=[
            alt.Tooltip("probability:Q", title="Probability", format=".0%"),
            alt.Tooltip("accuracy:Q", title="Right", format=".0%"),
            alt.Tooltip("count:Q", title="Answers"),
        ],
    )
    chart: alt.LayerChart = (line.encode(x=x, y=y) + results).properties(height=300)
    return chart


def cost_frame(results: Sequence[ModelResult]) -> pd.DataFrame:
    """Returns time, accuracy and memory of the models with a published ImageNet accuracy."""
    return pd.DataFrame(
        [
            {
                "model": answer.spec.keras_name,
                "top1": imagenet_top1(answer.spec),
                "median_ms": 1000 * answer.median_seconds,
                "p95_ms": 1000 * answer.p95_seconds,
                "memory_mb": answer.memory_bytes / 1e6,
                "on_front": answer.classification.model in pareto_front(results),
            }
            for answer in results
            if imagenet_top1(answer.spec) is not None
        ]
    )


def cost_chart(frame: pd.DataFrame, text_color: str) -> alt.LayerChart:
    """Draws accuracy against time, with whiskers, sizes by memory, and the Pareto front.

    Args:
        frame: From `cost_frame`.
        text_color: Of names, numbers and titles, as CSS.
    """
    x = alt.X(
        "median_ms:Q",
        title="Milliseconds for a photo",
        scale=alt.Scale(domain=[0, 1.1 * float(frame["p95_ms"].max())], nice=True),
        axis=alt.Axis(labelColor=text_color, titleColor=text_color, tickCount=6),
    )
    y = alt.Y(
        "top1:Q",
        title="Published top-1 accuracy, %",
        scale=alt.Scale(zero=False, padding=24),
        axis=alt.Axis(labelColor=text_color, titleColor=text_color, tickCount=6),
    )
    base = alt.Chart(frame).encode(x=x, y=y)
    front = (
        base.transform_filter("datum.on_front")
        .mark_line(strokeDash=[5, 4], opacity=0.7)
        .encode(order="median_ms:Q")
    )
    whiskers = base.mark_rule(strokeWidth=2, opacity=0.6, color=text_color).encode(x2="p95_ms:Q")
    points = base.mark_circle(opacity=0.85).encode(
        size=alt.Size(
            "memory_mb:Q",
            title="Memory, MB",
            scale=alt.Scale(range=[80, 900]),
            legend=alt.Legend(tickCount=3, labelColor=text_color, titleColor=text_color),
        ),
        tooltip=[
            alt.Tooltip("model:N", title="Model"),
            alt.Tooltip("top1:Q", title="Top-1, %", format=".1f"),
            alt.Tooltip("median_ms:Q", title="Median, ms", format=".1f"),
            alt.Tooltip("p95_ms:Q", title="95th percentile, ms", format=".1f"),
            alt.Tooltip("memory_mb:Q", title="Memory, MB", format=",.0f"),
        ],
    )
    names = base.mark_text(dy=-20, fontSize=13, color=text_color).encode(text="model:N")
    chart: alt.LayerChart = (
        alt.layer(front, whiskers, points, names)
        .properties(height=380)
        .configure_legend(orient="bottom")
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
