"""How many answers are shown, and how a photo is made square."""

from __future__ import annotations

import streamlit as st

from vgg_demo.models.preprocess import Resize
from vgg_demo.ui.components.text import RESIZE_DESCRIPTIONS


def choose_settings() -> tuple[Resize, int]:
    """Offers the settings that all pages share."""
    with st.popover("Settings", icon=":material/tune:"):
        count = st.slider("Answers shown", 1, 10, 5, key="top", bind="query-params")
        name = st.segmented_control(
            "Networks look at squares. Make it square by",
            list(Resize),
            default=Resize.CROP,
            required=True,
            key="resize",
            bind="query-params",
        )
        resize = Resize(name or Resize.CROP)
        st.caption(f"{resize}: {RESIZE_DESCRIPTIONS[resize]}.")
    return resize, count
