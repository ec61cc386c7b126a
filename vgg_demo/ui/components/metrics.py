"""Accuracy, calibration and per-class metrics of a model."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from vgg_demo.analysis.evaluation import Evaluation, Proportion
from vgg_demo.reports import charts
from vgg_demo.ui.theme import text_color


def show_proportion(label: str, proportion: Proportion, note: str = "") -> None:
    """Shows a proportion, such as the top-1 accuracy, with its 95% confidence interval."""
    low, high = proportion.interval
    st.metric(
        label,
        f"{proportion.value:.1%}",
        delta=f"{low:.0%} to {high:.0%}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help=f"{proportion.correct} of {proportion.count}. With this number of photos, the true "
        f"value probably lies in the range shown (95% Wilson score interval).{note}",
    )


def show_calibration(evaluation: Evaluation) -> None:
    """Shows the accuracy of predictions by their probability, as a chart and a table."""
    st.markdown(
        "**Calibration**",
        help="Of the predictions with a probability of 70%, about 70% should be correct. Points "
        "below the line: the model is overconfident. Larger points: more predictions.",
    )
    frame = pd.DataFrame(
        [
            {
                "probability": interval.probability,
                "accuracy": interval.accuracy,
                "count": interval.count,
            }
            for interval in evaluation.bins
            if interval.count
        ]
    )
    st.altair_chart(
        charts.reliability_chart(frame, text_color()),
        alt="Accuracy of predictions by probability, as in the table below",
    )
    with st.expander("Show as table"):
        st.table(
            {
                "Probability": [f"{value:.0%}" for value in frame["probability"]],
                "Accuracy": [f"{value:.0%}" for value in frame["accuracy"]],
                "Predictions": frame["count"].tolist(),
            },
            alt="Accuracy of predictions by probability",
        )


def show_per_class(evaluation: Evaluation) -> None:
    """Shows a table with the recall, top-5 accuracy and precision of each class."""
    has_top5 = len(evaluation.classes) > 5  # otherwise, the top-5 accuracy is always 100%
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "class": score.label.label,
                    "photos": score.top1.count,
                    "top1": score.top1.value,
                    **({"top5": score.top5.value} if has_top5 else {}),
                    "precision": score.precision.value if score.precision.count else None,
                }
                for score in evaluation.classes
            ]
        ),
        hide_index=True,
        placeholder="–",
        column_config={
            "class": "Class",
            "photos": "Photos",
            **{
                column: st.column_config.ProgressColumn(
                    label, format="percent", min_value=0, max_value=1, help=description
                )
                for column, label, description in (
                    ("top1", "Recall", "Top-1 accuracy on photos of this class"),
                    *(
                        [("top5", "Top-5", "Top-5 accuracy on photos of this class")]
                        if has_top5
                        else []
                    ),
                    (
                        "precision",
                        "Precision",
                        "Share of the photos predicted as this class that belong to it",
                    ),
                )
            },
        },
        alt="Recall and precision of each class",
    )
