"""Latency and memory of each model, measured on this machine, and its published accuracy."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from vgg_demo.analysis.comparison import Comparison, imagenet_top1, pareto_front
from vgg_demo.models.preprocess import Resize
from vgg_demo.reports import charts
from vgg_demo.ui.components.photo_input import ChosenPhoto
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.theme import text_color


def show_costs(comparison: Comparison, photo: ChosenPhoto, resize: Resize) -> None:
    """Shows accuracy against latency as a chart, and all measurements as a table and as CSV."""
    if not comparison.results:
        return
    st.subheader("Speed and memory on this machine", anchor=False)
    show_chart(comparison)
    rows = pd.DataFrame(comparison.rows())
    show_table(comparison, rows)
    with st.container(horizontal=True):
        st.download_button(
            "Download CSV",
            rows.to_csv(index=False),
            file_name=f"{photo.file.rsplit('.', 1)[0]}.comparison.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
        )
        st.button(
            "Measure again",
            icon=":material/timer:",
            on_click=caches.clear_model_results,
            args=(photo.sha256, [result.spec for result in comparison.results], resize),
            help="All visitors see the same measurements. If the server was busy, times may be "
            "too long: measure again.",
        )


def show_chart(comparison: Comparison) -> None:
    """Shows accuracy against latency, and the models on the Pareto front."""
    frame = charts.latency_frame(comparison.results)
    if len(frame) < 2:
        return
    keras_names = {
        result.spec.name: escape(result.spec.keras_name) for result in comparison.results
    }
    front = ", ".join(keras_names[name] for name in pareto_front(comparison.results))
    st.markdown(
        f"Pareto front: **{front}**",
        help="No other model here is both faster and more accurate than any of these.",
    )
    st.caption(
        "Published ImageNet accuracy against the median latency of a few runs. Lines extend to "
        "the 95th percentile; larger points mean more memory."
    )
    st.altair_chart(
        charts.latency_chart(frame, text_color()),
        alt="Published accuracy against measured latency, as in the table below",
    )
    not_in_chart = [
        result.spec for result in comparison.results if imagenet_top1(result.spec) is None
    ]
    if not_in_chart:
        names = ", ".join(escape(spec.keras_name) for spec in not_in_chart)
        st.caption(f"Not in the chart (no published ImageNet accuracy): {names}")


def show_table(comparison: Comparison, rows: pd.DataFrame) -> None:
    """Shows a row with the top prediction and the costs of each model."""
    shown = rows.assign(
        model=[result.spec.keras_name for result in comparison.results],
        top1=pd.Series([imagenet_top1(result.spec) for result in comparison.results], dtype=float),
    )
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        column_order=[
            "model", "label", "probability", "median_ms", "p95_ms", "memory_mb", "parameters",
            "weights_mb", "top1",
        ],
        column_config={
            "model": "Model",
            "label": "Top prediction",
            "probability": st.column_config.ProgressColumn(
                "Probability", format="percent", min_value=0, max_value=1
            ),
            "median_ms": st.column_config.ProgressColumn(
                "Median (ms)", format="%.1f", min_value=0, max_value=float(rows["median_ms"].max())
            ),
            "p95_ms": st.column_config.NumberColumn("95th percentile (ms)", format="%.1f"),
            "memory_mb": st.column_config.ProgressColumn(
                "Memory (MB)", format="%.0f", min_value=0, max_value=float(rows["memory_mb"].max())
            ),
            "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
            "weights_mb": st.column_config.NumberColumn("Weights (MB)", format="%.0f"),
            "top1": st.column_config.NumberColumn(
                "Top-1 (%)", format="%.1f", help="Published accuracy on the ImageNet validation set"
            ),
        },
        alt="Top prediction, latency, memory and size of each model",
    )  # fmt: skip
