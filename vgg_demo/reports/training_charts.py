"""Altair charts of a training run and of its validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vgg_demo.models.custom import MIN_PROBABILITY
from vgg_demo.training.progress import Epoch
from vgg_demo.training.schedule import RangeTest
from vgg_demo.training.validation import LearningCurvePoint, Threshold

HEIGHT = 270  # pixels
CELL_HEIGHT = 44  # pixels of a confusion matrix
MAX_HORIZONTAL = 36  # characters below a confusion matrix that fit on a phone
CORRECT_COLOR, WRONG_COLOR = "#4a86c8", "#d9694f"
TRAINING_LOSS, VALIDATION_LOSS = "training", "validation"


def history_frame(epochs: Sequence[Epoch]) -> pd.DataFrame:
    """Returns the history of a training run, one row per epoch.

    Returns:
        Columns ``epoch``, ``training`` and ``validation`` (losses), ``accuracy`` (validation
        accuracy in [0, 1]) and ``is_best``.
    """
    return pd.DataFrame(
        {
            "epoch": [epoch.number for epoch in epochs],
            TRAINING_LOSS: [epoch.loss for epoch in epochs],
            VALIDATION_LOSS: [epoch.validation_loss for epoch in epochs],
            "accuracy": [epoch.validation_accuracy for epoch in epochs],
            "is_best": [epoch.is_best for epoch in epochs],
        }
    )


def loss_chart(frame: pd.DataFrame, epochs: int, text_color: str) -> alt.LayerChart:
    """Returns a chart of training and validation loss that marks the best epoch so far.

    Args:
        frame: From `history_frame`; not empty.
        epochs: Planned number of epochs.
        text_color: CSS color of names and numbers.
    """
    x = _epochs(epochs, text_color)
    long = frame.melt(
        "epoch", [TRAINING_LOSS, VALIDATION_LOSS], var_name="photos", value_name="loss"
    ).dropna()
    lines = (
        alt.Chart(long)
        .mark_line(point={"size": 30}, strokeWidth=2)
        .encode(
            x=x,
            y=alt.Y("loss:Q", axis=_axis("Loss", text_color)),
            color=alt.Color(
                "photos:N",
                sort=[TRAINING_LOSS, VALIDATION_LOSS],
                legend=alt.Legend(title=None, orient="top", labelColor=text_color, labelLimit=220),
            ),
            strokeDash=alt.StrokeDash(
                "photos:N", sort=[TRAINING_LOSS, VALIDATION_LOSS], legend=None
            ),
            tooltip=[
                alt.Tooltip("epoch:O", title="Epoch"),
                alt.Tooltip("photos:N", title="Photos"),
                alt.Tooltip("loss:Q", title="Loss", format=".3f"),
            ],
        )
    )
    best = frame[frame["is_best"]].tail(1)
    marker = (
        alt.Chart(best)
        .mark_point(shape="diamond", size=160, strokeWidth=2, color=text_color)
        .encode(x=x, y=f"{VALIDATION_LOSS}:Q", tooltip=[alt.Tooltip("epoch:O", title="Best epoch")])
    )
    chart: alt.LayerChart = (lines + marker).properties(height=HEIGHT)
    return chart


def accuracy_chart(
    frame: pd.DataFrame, epochs: int, baseline: float, text_color: str
) -> alt.LayerChart:
    """Returns a chart of the validation accuracy and the baseline.

    Args:
        frame: From `history_frame`; not empty.
        epochs: Planned number of epochs.
        baseline: Accuracy of always predicting the most frequent class, in [0, 1].
        text_color: CSS color of names and numbers.
    """
    x = _epochs(epochs, text_color)
    y = alt.Y(
        "accuracy:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=_axis("Validation accuracy", text_color, format="%"),
    )
    line = (
        alt.Chart(frame)
        .mark_line(point={"size": 30}, strokeWidth=2)
        .encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("epoch:O", title="Epoch"),
                alt.Tooltip("accuracy:Q", title="Validation accuracy", format=".1%"),
            ],
        )
    )
    reference = pd.DataFrame({"accuracy": [baseline], "text": ["baseline (most frequent class)"]})
    rule = (
        alt.Chart(reference).mark_rule(strokeDash=[5, 4], color=text_color, opacity=0.6).encode(y=y)
    )
    label = (
        alt.Chart(reference)
        .mark_text(align="left", dx=4, dy=-8, color=text_color, opacity=0.8)
        .encode(x=alt.value(0), y=y, text="text:N")
    )
    chart: alt.LayerChart = (line + rule + label).properties(height=HEIGHT)
    return chart


def range_test_chart(range_test: RangeTest, text_color: str) -> alt.LayerChart:
    """Returns a chart of a learning-rate range test: the loss, and the two suggested rates."""
    curve = pd.DataFrame({"rate": range_test.rates, "loss": range_test.losses})
    marks = pd.DataFrame(
        {
            "rate": [range_test.tenth, range_test.steepest],
            "text": ["one tenth of the lowest-loss rate (used)", "loss falls fastest"],
            "y": [12, 28],
        }
    )
    x = alt.X(
        "rate:Q",
        scale=alt.Scale(type="log"),
        axis=_axis("Learning rate", text_color, format="~e", tickCount=5, labelOverlap=True),
    )
    line = (
        alt.Chart(curve)
        .mark_line(strokeWidth=2)
        .encode(
            x=x,
            y=alt.Y("loss:Q", axis=_axis("Smoothed loss", text_color)),
            tooltip=[
                alt.Tooltip("rate:Q", title="Learning rate", format=".2e"),
                alt.Tooltip("loss:Q", title="Smoothed loss", format=".3f"),
            ],
        )
    )
    rules = (
        alt.Chart(marks)
        .mark_rule(strokeDash=[5, 4], color=text_color)
        .encode(
            x=x,
            tooltip=[
                alt.Tooltip("text:N", title="Suggestion"),
                alt.Tooltip("rate:Q", title="Learning rate", format=".1e"),
            ],
        )
    )
    labels = (
        alt.Chart(marks)
        .mark_text(align="right", dx=-5, color=text_color)
        .encode(x=x, y=alt.Y("y:Q", scale=None), text="text:N")
    )
    chart: alt.LayerChart = (
        (line + rules + labels).resolve_scale(y="independent").properties(height=HEIGHT)
    )
    return chart


def confusion_frame(
    names: Sequence[str], truth: NDArray[np.integer], predicted: NDArray[np.integer]
) -> pd.DataFrame:
    """Returns a confusion matrix in long format, one row per cell.

    Args:
        names: Names of the classes.
        truth: int (N,), index of the true class of each photo.
        predicted: int (N,), index of the top-1 class of each photo.

    Returns:
        Columns ``true_class`` and ``predicted_class``, ``count``, and
        ``fraction`` (of the photos of the true class, in [0, 1]).
    """
    size = len(names)
    counts = np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return pd.DataFrame(
        {
            "true_class": names[row],
            "predicted_class": names[column],
            "count": int(counts[row, column]),
            "fraction": float(fractions[row, column]),
        }
        for row in range(size)
        for column in range(size)
    )


def confusion_chart(
    frame: pd.DataFrame, names: Sequence[str], chosen: tuple[str, str], text_color: str
) -> alt.LayerChart:
    """Returns a confusion matrix; a click on a cell selects its classes.

    Args:
        frame: From `confusion_frame`.
        names: Names of the classes, in order.
        chosen: True and predicted class of the highlighted cell.
        text_color: CSS color of the names.
    """
    picked = alt.selection_point(name="cell", fields=["true_class", "predicted_class"])
    axis = alt.Axis(
        labelLimit=110,
        labelColor=text_color,
        titleColor=text_color,
        labelOverlap=False,
        ticks=False,
        domain=False,
    )
    fits = len(names) * max(map(len, names)) <= MAX_HORIZONTAL
    x_axis = alt.Axis(**axis.to_dict(), labelAngle=0 if fits else -45)
    base = alt.Chart(frame).encode(
        x=alt.X("predicted_class:N", sort=list(names), title="Predicted class", axis=x_axis),
        y=alt.Y("true_class:N", sort=list(names), title="True class", axis=axis),
        tooltip=[
            alt.Tooltip("true_class:N", title="True class"),
            alt.Tooltip("predicted_class:N", title="Predicted class"),
            alt.Tooltip("count:Q", title="Photos"),
            alt.Tooltip("fraction:Q", title="Fraction of the true class", format=".0%"),
        ],
    )
    cell = frame[(frame["true_class"] == chosen[0]) & (frame["predicted_class"] == chosen[1])]
    outline = base.properties(data=cell).mark_rect(fillOpacity=0, strokeWidth=3, stroke=text_color)
    # The top layer receives the clicks. The outline marks the chosen cell, which can also be
    # chosen outside of the chart.
    clicks = base.mark_rect(cursor="pointer", fillOpacity=0).add_params(picked)
    chart: alt.LayerChart = (_cells(base, text_color) + outline + clicks).properties(
        height=110 + CELL_HEIGHT * len(names)
    )
    return chart


def _cells(base: alt.Chart, text_color: str) -> alt.LayerChart:
    """Returns the cells with the number of photos, as text and as color."""
    # Opacity rather than lightness, so that high counts stand out in dark and in light themes.
    cells = (
        base.transform_filter("datum.count > 0")
        .transform_calculate(
            outcome="datum.true_class == datum.predicted_class ? 'correct' : 'wrong'"
        )
        .mark_rect()
        .encode(
            color=alt.Color(
                "outcome:N",
                scale=alt.Scale(domain=["correct", "wrong"], range=[CORRECT_COLOR, WRONG_COLOR]),
                legend=None,
            ),
            opacity=alt.Opacity(
                "fraction:Q", scale=alt.Scale(domain=[0, 1], range=[0.15, 0.65]), legend=None
            ),
        )
    )
    numbers = (
        base.transform_filter("datum.count > 0")
        .mark_text(fontSize=13, color=text_color)
        .encode(text="count:Q")
    )
    chart: alt.LayerChart = cells + numbers
    return chart


def threshold_chart(
    thresholds: Sequence[Threshold], chosen: float, text_color: str
) -> alt.LayerChart:
    """Returns a chart of coverage and accuracy by unknown threshold.

    Args:
        thresholds: Points of both curves; those below `MIN_PROBABILITY` are omitted.
        chosen: The chosen threshold, which is marked, in [0, 1].
        text_color: CSS color of names and numbers.
    """
    coverage, accuracy = "photos with a prediction", "accuracy of predictions"
    thresholds = [point for point in thresholds if point.probability >= MIN_PROBABILITY]
    frame = (
        pd.DataFrame(
            {
                "threshold": [point.probability for point in thresholds],
                coverage: [point.coverage for point in thresholds],
                accuracy: [point.accuracy if point.coverage else np.nan for point in thresholds],
            }
        )
        .melt("threshold", var_name="measure", value_name="fraction")
        .dropna()
    )
    x = alt.X(
        "threshold:Q",
        scale=alt.Scale(domain=[MIN_PROBABILITY, 1]),
        axis=_axis("Threshold for “not sure”", text_color, format="%", tickCount=5),
    )
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2)
        .encode(
            x=x,
            y=alt.Y(
                "fraction:Q",
                scale=alt.Scale(domain=[0, 1]),
                axis=_axis("Fraction of held-out photos", text_color, format="%"),
            ),
            color=alt.Color(
                "measure:N",
                sort=[accuracy, coverage],
                legend=alt.Legend(title=None, orient="top", labelColor=text_color, labelLimit=200),
            ),
            strokeDash=alt.StrokeDash("measure:N", sort=[accuracy, coverage], legend=None),
            tooltip=[
                alt.Tooltip("threshold:Q", title="Threshold", format=".0%"),
                alt.Tooltip("measure:N", title="Measure"),
                alt.Tooltip("fraction:Q", title="Fraction", format=".1%"),
            ],
        )
    )
    rule = (
        alt.Chart(pd.DataFrame({"threshold": [chosen]}))
        .mark_rule(strokeDash=[5, 4], color=text_color)
        .encode(x=x)
    )
    chart: alt.LayerChart = (lines + rule).properties(height=HEIGHT)
    return chart


def learning_curve_frame(learning_curve: Sequence[LearningCurvePoint]) -> pd.DataFrame:
    """Returns a learning curve, one row per number of photos.

    Returns:
        Columns ``photos``, ``accuracy``, ``low`` and ``high`` (bounds of the interval), all but
        the first in [0, 1].
    """
    return pd.DataFrame(
        {
            "photos": [point.photos for point in learning_curve],
            "accuracy": [point.accuracy.value for point in learning_curve],
            "low": [point.accuracy.interval[0] for point in learning_curve],
            "high": [point.accuracy.interval[1] for point in learning_curve],
        }
    )


def learning_curve_chart(frame: pd.DataFrame, text_color: str) -> alt.LayerChart:
    """Returns a chart of validation accuracy by number of training photos, with 95% intervals.

    Args:
        frame: From `learning_curve_frame`.
        text_color: CSS color of names and numbers.
    """
    x = alt.X(
        "photos:Q",
        scale=alt.Scale(zero=True),
        axis=_axis("Training photos", text_color, tickCount=5),
    )
    scale = alt.Scale(domain=[0, 1])
    base = alt.Chart(frame).encode(x=x)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    line = base.mark_line(point={"size": 50}, strokeWidth=2).encode(
        y=alt.Y(
            "accuracy:Q", scale=scale, axis=_axis("Validation accuracy", text_color, format="%")
        ),
        tooltip=[
            alt.Tooltip("photos:Q", title="Training photos"),
            alt.Tooltip("accuracy:Q", title="Validation accuracy", format=".1%"),
        ],
    )
    chart: alt.LayerChart = (band + line).properties(height=HEIGHT)
    return chart


def _epochs(epochs: int, text_color: str) -> alt.X:
    return alt.X(
        "epoch:Q",
        scale=alt.Scale(domain=[0, epochs], nice=False),
        axis=_axis("Epoch", text_color, tickMinStep=1, format="d"),
    )


def _axis(title: str, color: str, **options: Any) -> alt.Axis:
    return alt.Axis(title=title, labelColor=color, titleColor=color, **options)
