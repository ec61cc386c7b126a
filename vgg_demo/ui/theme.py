"""Colors of the visitor's theme."""

from __future__ import annotations

import streamlit as st


def text_color() -> str:
    """Returns the theme's text color as CSS, for charts, whose default text is too pale."""
    theme = st.context.theme.type or "light"
    return str(st.get_option(f"theme.{theme}.textColor"))
