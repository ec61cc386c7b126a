"""What each model costs on this machine, against what it is known to achieve."""

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
    """Shows time against accuracy as a chart and a table, and offers the table as CSV."""
    if not comparison.results:
        return
    st.subheader("What it costs here", anchor=False)
    show_chart(comparison)
    rows = pd.DataFrame(comparison.rows())
    show_table(comparison, rows)
    with st.container(horizontal=True):
        st.download_button(
            "Table as CSV",
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
            help="Times are kept for all visitors. Where others were at work meanwhile, they are "
            "too long.",
        )


def show_chart(comparison: Comparison) -> None:
    """Shows accuracy against time, and which models are worth their time."""
    frame = charts.cost_frame(comparison.results)
    if len(frame) < 2:
        return
    front = pareto_front(comparison.results)
    known = {result.spec.name: escape(result.spec.keras_name) for result in comparison.results}
    names = ", ".join(known[name] for name in front)
    others = " For any other, one of these is at least as accurate, and faster."
    st.markdown(f"Worth their time: **{names}**.{others if len(front) < len(frame) else ''}")
    st.caption(
        "Each network's published accuracy against the time that it takes here: the median "
        "of a few runs, and a line to their 95th percentile. The larger the point, the more "
        "memory."
    )
    st.altair_chart(
        charts.cost_chart(frame, text_color()),
        alt="Published accuracy against measured time, as in the table below",
    )
    without = [result.spec for result in comparison.results if imagenet_top1(result.spec) is None]
    if without:
        names = ", ".join(escape(spec.keras_name) for spec in without)
        st.caption(f"Not in the chart, for want of a published ImageNet accuracy: {names}.")


def show_table(comparison: Comparison, rows: pd.DataFrame) -> None:
    """Shows what each model answers and costs, a row each."""
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
            "model": "Network",
            "label": "Most likely",
            "probability": st.column_config.ProgressColumn(
                "Probability", format="percent", min_value=0, max_value=1
            ),
            "median_ms": st.column_config.ProgressColumn(
                "Median, ms", format="%.1f", min_value=0, max_value=float(rows["median_ms"].max())
            ),
            "p95_ms": st.column_config.NumberColumn("95th percentile, ms", format="%.1f"),
            "memory_mb": st.column_config.ProgressColumn(
                "Memory, MB", format="%.0f", min_value=0, max_value=float(rows["memory_mb"].max())
            ),
            "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
            "weights_mb": st.column_config.NumberColumn("Weights, MB", format="%.0f"),
            "top1": st.column_config.NumberColumn(
                "Top-1, %", format="%.1f", help="Published, on ImageNet's validation photos"
            ),
        },
        alt="What each network answers and costs",
    )  # fmt: skip
