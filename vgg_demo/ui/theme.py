"""Colors of the visitor's theme."""

from __future__ import annotations

import streamlit as st


def text_color() -> str:
    """Returns the colour of text in the visitor's theme, for what Streamlit draws paler."""
    kind = st.context.theme.type or "light"
    return str(st.get_option(f"theme.{kind}.textColor"))
