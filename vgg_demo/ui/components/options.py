"""Settings shared by all pages: the number of predictions and the resize method."""

from __future__ import annotations

import streamlit as st

from vgg_demo.models.preprocess import Resize
from vgg_demo.ui.components.text import RESIZE_DESCRIPTIONS


def choose_settings() -> tuple[Resize, int]:
    """Shows the settings in a popover. Returns the resize method and number of predictions."""
    with st.popover("Settings", icon=":material/tune:"):
        count = st.slider("Number of predictions", 1, 10, 5, key="top", bind="query-params")
        name = st.segmented_control(
            "Resize method",
            list(Resize),
            default=Resize.CROP,
            required=True,
            key="resize",
            bind="query-params",
            help="Models require square images. The resize method determines how your photo "
            "becomes square.",
        )
        resize = Resize(name or Resize.CROP)
        st.caption(f"{resize}: {RESIZE_DESCRIPTIONS[resize]}.")
    return resize, count
