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

BAR_HEIGHT = 28  # pixels for a bar and its gap
AXIS_HEIGHT = 40  # pixels below the bars
PADDING = 20  # pixels of a chart's height that Streamlit leaves empty
NAME_WIDTH = 130  # pixels for the class names in charts side by side

CLASS_COLORS = (
    "#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#76b7b2", "#edc948", "#9c755f",
    "#ff9da7", "#86bcb6", "#a0cbe8", "#d4a6c8", "#8cd17d", "#d37295", "#499894", "#b6992d",
)  # fmt: skip
"""Tableau's palettes of ten and twenty colors, ordered so that neighboring colors differ."""

OTHER_COLOR = "#8a8f98"


def predictions_frame(
    predictions: Sequence[Prediction], labels: Sequence[ClassLabel]
) -> pd.DataFrame:
    """Returns predictions as a data frame, best first.

    Returns:
        Columns ``rank``, ``label``, ``probability`` (in [0, 1]), ``wnid`` and ``definition``.
    """
    return pd.DataFrame(
        {
            "rank": [p.rank for p in predictions],
            "label": [p.label for p in predictions],
            "probability": [p.probability for p in predictions],
            "wnid": [p.wnid for p in predictions],
            "definition": [labels[p.index].definition for p in predictions],
        }
    )


def predictions_chart(
    frame: pd.DataFrame, text_color: str, class_colors: Mapping[str, str] | None = None
) -> alt.LayerChart:
    """Returns a bar chart of predictions on an axis from 0 to 100%, best first.

    Args:
        frame: From `predictions_frame`.
        text_color: CSS color of names and numbers.
        class_colors: Color by WordNet ID, for charts side by side, whose bars are then aligned;
            other classes are gray. None highlights the top prediction instead.
    """
    name_width = {} if class_colors is None else {"minExtent": NAME_WIDTH, "maxExtent": NAME_WIDTH}
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
            alt.Tooltip("label:N", title="Class"),
            alt.Tooltip("probability:Q", title="Probability", format=".2%"),
            alt.Tooltip("definition:N", title="Definition"),
            alt.Tooltip("wnid:N", title="WordNet ID"),
        ],
    )
    bars = base.mark_bar(height=20, cornerRadiusEnd=4).encode(
        y=_rows(frame["rank"], frame["label"], text_color, labelLimit=180, **name_width)
    )
    if class_colors is None:
        is_best = alt.condition("datum.rank == 1", alt.value(1.0), alt.value(0.55))
        bars = bars.encode(opacity=is_best)
    else:
        colors = [class_colors.get(wnid, OTHER_COLOR) for wnid in frame["wnid"]]
        scale = alt.Scale(domain=frame["wnid"].tolist(), range=colors)
        bars = bars.encode(color=alt.Color("wnid:N", scale=scale, legend=None))
    # The probabilities are the labels of a second axis on the right, which aligns them. Vega
    # measures their width in another font; the trailing spaces compensate for that.
    percentages = [f"{p:.1%}\u00a0\u00a0" for p in frame["probability"]]
    probabilities = base.mark_point(opacity=0).encode(
        y=_rows(frame["rank"], percentages, text_color, orient="right")
    )
    chart: alt.LayerChart = (
        alt.layer(bars, probabilities)
        .resolve_axis(y="independent")
        .properties(height=BAR_HEIGHT * len(frame) + AXIS_HEIGHT)
        .configure_view(stroke=None)
    )
    return chart


def assign_class_colors(predictions: Iterable[Prediction]) -> dict[str, str]:
    """Assigns a color to each class, in the order of first appearance.

    Returns:
        Color by WordNet ID; gray once `CLASS_COLORS` are used up.
    """
    wnids = dict.fromkeys(prediction.wnid for prediction in predictions)
    return dict(zip(wnids, chain(CLASS_COLORS, repeat(OTHER_COLOR)), strict=False))


def distance_chart(
    names: Sequence[str], matrix: NDArray[np.float64], text_color: str
) -> alt.LayerChart:
    """Returns a heat map of the distances between models.

    Args:
        names: Display names of the models.
        matrix: float64 (models, models), in [0, 1].
        text_color: CSS color of the names.
    """
    frame = pd.DataFrame(
        {"first": first, "second": second, "distance": matrix[i, j]}
        for i, first in enumerate(names)
        for j, second in enumerate(names)
    )
    order = list(names)
    axis = alt.Axis(
        labelLimit=140, labelColor=text_color, labelOverlap=False, ticks=False, domain=False
    )
    slanted = alt.Axis(**axis.to_dict(), labelAngle=-40)
    base = alt.Chart(frame).encode(
        x=alt.X("second:N", sort=order, title=None, axis=slanted),
        y=alt.Y("first:N", sort=order, title=None, axis=axis),
        tooltip=[
            alt.Tooltip("first:N", title="First model"),
            alt.Tooltip("second:N", title="Second model"),
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


def class_counts_chart(
    frame: pd.DataFrame, text_color: str, *, is_clickable: bool = True
) -> alt.LayerChart:
    """Returns a bar chart of the number of photos per class.

    Args:
        frame: Columns ``wnid``, ``label`` and ``count``, the most frequent class first.
        text_color: CSS color of names and numbers.
        is_clickable: Whether a click on a bar selects its ``wnid`` (selection ``picked``).
    """
    ranked = frame.assign(rank=range(1, len(frame) + 1))
    base = alt.Chart(ranked).encode(
        x=alt.X("count:Q", title=None, axis=None),
        y=_rows(ranked["rank"], ranked["label"], text_color, labelLimit=180),
        tooltip=[alt.Tooltip("label:N", title="Class"), alt.Tooltip("count:Q", title="Photos")],
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
    """Returns a reliability diagram: accuracy by top-1 probability, with the ideal diagonal.

    Args:
        frame: A row per bin: ``probability`` and ``accuracy`` in [0, 1], and ``count``.
        text_color: CSS color of names and numbers.
    """

    def axis(title: str) -> alt.Axis:
        return alt.Axis(
            format="%", labelColor=text_color, titleColor=text_color, tickCount=5, title=title
        )

    scale = alt.Scale(domain=[0, 1])
    diagonal = pd.DataFrame({"probability": [0, 1], "accuracy": [0, 1]})
    x = alt.X("probability:Q", scale=scale, axis=axis("Probability of the top prediction"))
    y = alt.Y("accuracy:Q", scale=scale, axis=axis("Accuracy"))
    line = alt.Chart(diagonal).mark_line(strokeDash=[5, 4], opacity=0.6, color=text_color)
    points = alt.Chart(frame).mark_circle(opacity=0.85)
    bins = points.encode(
        x=x,
        y=y,
        size=alt.Size("count:Q", legend=None, scale=alt.Scale(range=[60, 500])),
        tooltip=[
            alt.Tooltip("probability:Q", title="Probability", format=".0%"),
            alt.Tooltip("accuracy:Q", title="Accuracy", format=".0%"),
            alt.Tooltip("count:Q", title="Predictions"),
        ],
    )
    chart: alt.LayerChart = (line.encode(x=x, y=y) + bins).properties(height=300)
    return chart


def latency_frame(results: Sequence[ModelResult]) -> pd.DataFrame:
    """Returns latency, accuracy and memory of the models with a published ImageNet accuracy.

    Returns:
        Columns ``model``, ``top1`` (percent), ``median_ms``, ``p95_ms``, ``memory_mb`` and
        ``on_front`` (whether the model is on the Pareto front).
    """
    return pd.DataFrame(
        [
            {
                "model": result.spec.keras_name,
                "top1": imagenet_top1(result.spec),
                "median_ms": 1000 * result.median_seconds,
                "p95_ms": 1000 * result.p95_seconds,
                "memory_mb": result.memory_bytes / 1e6,
                "on_front": result.classification.model in pareto_front(results),
            }
            for result in results
            if imagenet_top1(result.spec) is not None
        ]
    )


def latency_chart(frame: pd.DataFrame, text_color: str) -> alt.LayerChart:
    """Returns a chart of accuracy against latency, with the Pareto front.

    Whiskers end at the 95th percentile; the size of a point is the memory.

    Args:
        frame: From `latency_frame`.
        text_color: CSS color of names, numbers and titles.
    """
    x = alt.X(
        "median_ms:Q",
        title="Latency per photo (ms)",
        scale=alt.Scale(domain=[0, 1.1 * float(frame["p95_ms"].max())], nice=True),
        axis=alt.Axis(labelColor=text_color, titleColor=text_color, tickCount=6),
    )
    y = alt.Y(
        "top1:Q",
        title="Published top-1 accuracy (%)",
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
            title="Memory (MB)",
            scale=alt.Scale(range=[80, 900]),
            legend=alt.Legend(tickCount=3, labelColor=text_color, titleColor=text_color),
        ),
        tooltip=[
            alt.Tooltip("model:N", title="Model"),
            alt.Tooltip("top1:Q", title="Top-1 (%)", format=".1f"),
            alt.Tooltip("median_ms:Q", title="Median (ms)", format=".1f"),
            alt.Tooltip("p95_ms:Q", title="95th percentile (ms)", format=".1f"),
            alt.Tooltip("memory_mb:Q", title="Memory (MB)", format=",.0f"),
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
    """Returns a y axis with one row per rank, labeled with texts that need not be unique."""
    labels = json.dumps(dict(zip(ranks, texts, strict=True)))
    return alt.Y(
        "rank:O",
        title=None,
        axis=alt.Axis(
            labelExpr=f"{labels}[datum.value]",
            labelColor=color,
            labelFontSize=14,
            ticks=False,
            domain=False,
            **axis,
        ),
    )
