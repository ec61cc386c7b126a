"""Accuracy and calibration of a model."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from vgg_demo.analysis.evaluation import Evaluation, Proportion
from vgg_demo.reports import charts
from vgg_demo.ui.theme import text_color


def show_proportion(label: str, proportion: Proportion, note: str = "") -> None:
    low, high = proportion.interval
    st.metric(
        label,
        f"{proportion.value:.1%}",
        delta=f"{low:.0%} to {high:.0%}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help=f"{proportion.right} of {proportion.count}. With so few photos the true share may be anywhere "
        f"between the two numbers (Wilson's 95% interval).{note}",
    )


def show_calibration(evaluation: Evaluation) -> None:
    st.markdown(
        "**Can its probabilities be believed?**",
        help="Of the answers that it gave some probability, as many should be right. Points under "
        "the line: it was too sure. The larger the point, the more answers.",
    )
    frame = pd.DataFrame(
        [
            {"probability": one.probability, "accuracy": one.accuracy, "count": one.count}
            for one in evaluation.bins
            if one.count
        ]
    )
    st.altair_chart(
        charts.reliability_chart(frame, text_color()),
        alt="Share of right answers against their probability, as in the table below",
    )
    with st.expander("The same as a table"):
        st.table(
            {
                "Probability": [f"{value:.0%}" for value in frame["probability"]],
                "Right": [f"{value:.0%}" for value in frame["accuracy"]],
                "Answers": frame["count"].tolist(),
            },
            alt="Share of right answers by their probability",
        )


def show_each_class(evaluation: Evaluation) -> None:
    many = len(evaluation.classes) > 5  # of five, all are among the first five
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "class": score.label.label,
                    "photos": score.top1.count,
                    "top1": score.top1.value,
                    **({"top5": score.top5.value} if many else {}),
                    "precision": score.precision.value if score.precision.count else None,
                }
                for score in evaluation.classes
            ]
        ),
        hide_index=True,
        placeholder="–",
        column_config={
            "class": "Kind",
            "photos": "Photos",
            **{
                column: st.column_config.ProgressColumn(
                    label, format="percent", min_value=0, max_value=1, help=words
                )
                for column, label, words in (
                    ("top1", "First answer right", "Of the photos of this kind"),
                    *([("top5", "Among five", "Of the photos of this kind")] if many else []),
                    ("precision", "Right when said", "Of the photos that it took for this kind"),
                )
            },
        },
        alt="How often each kind was recognised",
    )
