"""How a training goes and what comes of it, as Altair charts."""

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
CELL = 44  # pixels; of a confusion matrix
MAX_UPRIGHT = 36  # letters below a confusion matrix, which fit on a phone
RIGHT_COLOR, WRONG_COLOR = "#4a86c8", "#d9694f"
LEARNED, KEPT_BACK = "learned from", "kept back"


def history_frame(epochs: Sequence[Epoch]) -> pd.DataFrame:
    """Returns a training as a table, an epoch a row."""
    return pd.DataFrame(
        {
            "epoch": [one.number for one in epochs],
            LEARNED: [one.loss for one in epochs],
            KEPT_BACK: [one.validation_loss for one in epochs],
            "accuracy": [one.validation_accuracy for one in epochs],
            "is_best": [one.is_best for one in epochs],
        }
    )


def loss_chart(frame: pd.DataFrame, epochs: int, text_color: str) -> alt.LayerChart:
    """Draws the loss on both kinds of photos, and marks the best epoch so far.

    Args:
        frame: From `history_frame`; not empty.
        epochs: How many there are to be.
        text_color: Of names and numbers, as CSS.
    """
    x = _epochs(epochs, text_color)
    long = frame.melt("epoch", [LEARNED, KEPT_BACK], var_name="of", value_name="loss").dropna()
    lines = (
        alt.Chart(long)
        .mark_line(point={"size": 30}, strokeWidth=2)
        .encode(
            x=x,
            y=alt.Y("loss:Q", axis=_axis("Loss", text_color)),
            color=alt.Color(
                "of:N",
                sort=[LEARNED, KEPT_BACK],
                legend=alt.Legend(title=None, orient="top", labelColor=text_color, labelLimit=220),
            ),
            strokeDash=alt.StrokeDash("of:N", sort=[LEARNED, KEPT_BACK], legend=None),
            tooltip=[
                "epoch:O",
                alt.Tooltip("of:N", title="Of"),
                alt.Tooltip("loss:Q", format=".3f"),
            ],
        )
    )
    best = frame[frame["is_best"]].tail(1)
    mark = (
        alt.Chart(best)
        .mark_point(shape="diamond", size=160, strokeWidth=2, color=text_color)
        .encode(x=x, y=f"{KEPT_BACK}:Q", tooltip=[alt.Tooltip("epoch:O", title="Best epoch")])
    )
    chart: alt.LayerChart = (lines + mark).properties(height=HEIGHT)
    return chart


def accuracy_chart(
    frame: pd.DataFrame, epochs: int, baseline: float, text_color: str
) -> alt.LayerChart:
    """Draws the share of the photos kept back that is right, and that of always the same answer.

    Args:
        frame: From `history_frame`; not empty.
        epochs: How many there are to be.
        baseline: Share that is right if the answer is always the most frequent kind, in [0, 1].
        text_color: Of names and numbers, as CSS.
    """
    x = _epochs(epochs, text_color)
    y = alt.Y(
        "accuracy:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=_axis("Right, of the photos kept back", text_color, format="%"),
    )
    line = (
        alt.Chart(frame)
        .mark_line(point={"size": 30}, strokeWidth=2)
        .encode(x=x, y=y, tooltip=["epoch:O", alt.Tooltip("accuracy:Q", format=".1%")])
    )
    always = pd.DataFrame({"accuracy": [baseline], "words": ["always the same answer"]})
    rule = alt.Chart(always).mark_rule(strokeDash=[5, 4], color=text_color, opacity=0.6).encode(y=y)
    words = (
        alt.Chart(always)
        .mark_text(align="left", dx=4, dy=-8, color=text_color, opacity=0.8)
        .encode(x=alt.value(0), y=y, text="words:N")
    )
    chart: alt.LayerChart = (line + rule + words).properties(height=HEIGHT)
    return chart


def range_chart(found: RangeTest, text_color: str) -> alt.LayerChart:
    """Draws the loss over learning rates, and the two rates that it suggests."""
    curve = pd.DataFrame({"rate": found.rates, "loss": found.losses})
    marks = pd.DataFrame(
        {
            "rate": [found.tenth, found.steepest],
            "words": ["a tenth of the lowest (taken)", "falls fastest"],
            "place": [12, 28],
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
            y=alt.Y("loss:Q", axis=_axis("Loss, smoothed", text_color)),
            tooltip=[alt.Tooltip("rate:Q", format=".2e"), alt.Tooltip("loss:Q", format=".3f")],
        )
    )
    rules = (
        alt.Chart(marks)
        .mark_rule(strokeDash=[5, 4], color=text_color)
        .encode(x=x, tooltip=["words:N", alt.Tooltip("rate:Q", format=".1e")])
    )
    words = (
        alt.Chart(marks)
        .mark_text(align="right", dx=-5, color=text_color)
        .encode(x=x, y=alt.Y("place:Q", scale=None), text="words:N")
    )
    chart: alt.LayerChart = (
        (line + rules + words).resolve_scale(y="independent").properties(height=HEIGHT)
    )
    return chart


def confusion_frame(
    names: Sequence[str], truth: NDArray[np.integer], answers: NDArray[np.integer]
) -> pd.DataFrame:
    """Returns a cell of the confusion matrix a row.

    Args:
        names: Of the classes.
        truth: int (N,): the class of each photo.
        answers: int (N,): the first answer.
    """
    size = len(names)
    counts = np.bincount(truth * size + answers, minlength=size * size).reshape(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return pd.DataFrame(
        {
            "truth": names[row],
            "answer": names[column],
            "count": int(counts[row, column]),
            "share": float(shares[row, column]),
        }
        for row in range(size)
        for column in range(size)
    )


def confusion_chart(
    frame: pd.DataFrame, names: Sequence[str], chosen: tuple[str, str], text_color: str
) -> alt.LayerChart:
    """Draws a confusion matrix; a click on a cell picks its ``truth`` and ``answer``.

    Args:
        frame: From `confusion_frame`.
        names: Of the classes, in their order.
        chosen: Truth and answer of the cell that is framed.
        text_color: Of the names, as CSS.
    """
    picked = alt.selection_point(name="cell", fields=["truth", "answer"])
    axis = alt.Axis(
        labelLimit=110,
        labelColor=text_color,
        titleColor=text_color,
        labelOverlap=False,
        ticks=False,
        domain=False,
    )
    fits = len(names) * max(map(len, names)) <= MAX_UPRIGHT
    below = alt.Axis(**axis.to_dict(), labelAngle=0 if fits else -45)
    base = alt.Chart(frame).encode(
        x=alt.X("answer:N", sort=list(names), title="What it said", axis=below),
        y=alt.Y("truth:N", sort=list(names), title="What it is", axis=axis),
        tooltip=[
            alt.Tooltip("truth:N", title="It is"),
            alt.Tooltip("answer:N", title="It said"),
            alt.Tooltip("count:Q", title="Photos"),
            alt.Tooltip("share:Q", title="Of this kind", format=".0%"),
        ],
    )
    here = frame[(frame["truth"] == chosen[0]) & (frame["answer"] == chosen[1])]
    framed = base.properties(data=here).mark_rect(fillOpacity=0, strokeWidth=3, stroke=text_color)
    # Over all, where it takes the clicks; the frame says what is chosen, also in other ways.
    clicks = base.mark_rect(cursor="pointer", fillOpacity=0).add_params(picked)
    chart: alt.LayerChart = (_shares(base, text_color) + framed + clicks).properties(
        height=110 + CELL * len(names)
    )
    return chart


def _shares(base: alt.Chart, text_color: str) -> alt.LayerChart:
    """Draws how many photos are in each cell, as numbers and as colours."""
    # As much of a colour as there are photos: on a dark page and on a bright one, much stands out.
    cells = (
        base.transform_filter("datum.count > 0")
        .transform_calculate(kind="datum.truth == datum.answer ? 'right' : 'wrong'")
        .mark_rect()
        .encode(
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=["right", "wrong"], range=[RIGHT_COLOR, WRONG_COLOR]),
                legend=None,
            ),
            opacity=alt.Opacity(
                "share:Q", scale=alt.Scale(domain=[0, 1], range=[0.15, 0.65]), legend=None
            ),
        )
    )
    numbers = (
        base.transform_filter("datum.count > 0")
        .mark_text(fontSize=13, color=text_color)
        .encode(text="count:Q")
    )
    both: alt.LayerChart = cells + numbers
    return both


def threshold_chart(
    thresholds: Sequence[Threshold], chosen: float, text_color: str
) -> alt.LayerChart:
    """Draws what comes of giving no answer below a probability, and where that is now."""
    answered, right = "gets an answer", "right, of the answers"
    thresholds = [one for one in thresholds if one.probability >= MIN_PROBABILITY]
    frame = (
        pd.DataFrame(
            {
                "threshold": [one.probability for one in thresholds],
                answered: [one.answered for one in thresholds],
                right: [one.accuracy if one.answered else np.nan for one in thresholds],
            }
        )
        .melt("threshold", var_name="of", value_name="share")
        .dropna()
    )
    x = alt.X(
        "threshold:Q",
        scale=alt.Scale(domain=[MIN_PROBABILITY, 1]),
        axis=_axis("No answer below this probability", text_color, format="%", tickCount=5),
    )
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2)
        .encode(
            x=x,
            y=alt.Y(
                "share:Q",
                scale=alt.Scale(domain=[0, 1]),
                axis=_axis("Share of the photos kept back", text_color, format="%"),
            ),
            color=alt.Color(
                "of:N",
                sort=[right, answered],
                legend=alt.Legend(title=None, orient="top", labelColor=text_color, labelLimit=200),
            ),
            strokeDash=alt.StrokeDash("of:N", sort=[right, answered], legend=None),
            tooltip=[
                alt.Tooltip("threshold:Q", format=".0%"),
                "of:N",
                alt.Tooltip("share:Q", format=".1%"),
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
    """Returns the learning curve as a table."""
    return pd.DataFrame(
        {
            "photos": [one.photos for one in learning_curve],
            "accuracy": [one.accuracy.value for one in learning_curve],
            "low": [one.accuracy.interval[0] for one in learning_curve],
            "high": [one.accuracy.interval[1] for one in learning_curve],
        }
    )


def learning_curve_chart(frame: pd.DataFrame, text_color: str) -> alt.LayerChart:
    """Draws accuracy against photos learned from, with its 95 % intervals.

    Args:
        frame: From `learning_curve_frame`.
        text_color: Of names and numbers, as CSS.
    """
    x = alt.X(
        "photos:Q",
        scale=alt.Scale(zero=True),
        axis=_axis("Photos learned from", text_color, tickCount=5),
    )
    scale = alt.Scale(domain=[0, 1])
    base = alt.Chart(frame).encode(x=x)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    line = base.mark_line(point={"size": 50}, strokeWidth=2).encode(
        y=alt.Y("accuracy:Q", scale=scale, axis=_axis("Right", text_color, format="%")),
        tooltip=["photos:Q", alt.Tooltip("accuracy:Q", format=".1%")],
    )
    chart: alt.LayerChart = (band + line).properties(height=HEIGHT)
    return chart


def _epochs(epochs: int, text_color: str) -> alt.X:
    return alt.X(
        "epoch:Q",
        scale=alt.Scale(domain=[0, epochs], nice=False),
        axis=_axis("Times gone through all photos", text_color, tickMinStep=1, format="d"),
    )


def _axis(title: str, color: str, **options: Any) -> alt.Axis:
    return alt.Axis(title=title, labelColor=color, titleColor=color, **options)
