"""Two things that Streamlit has no command for: speaking to a screen reader, and scrolling."""

from __future__ import annotations

import streamlit as st

_SPOKEN = st.components.v2.component(
    "vgg_demo_spoken",
    html='<div role="status" aria-live="polite" style="position: absolute; width: 1px; '
    'height: 1px; overflow: hidden; clip-path: inset(50%)"></div>',
    js="""
    export default function ({ data, parentElement }) {
      const status = parentElement.querySelector("[role=status]")
      if (status.textContent !== data.text) status.textContent = data.text
    }
    """,
)

_ARRIVAL = st.components.v2.component(
    "vgg_demo_arrival",
    html='<div class="mark" style="scroll-margin-top: 4.5rem"></div>',
    js="""
    export default function ({ data, parentElement }) {
      const mark = parentElement.querySelector(".mark")
      if (!data.token || mark.dataset.token === data.token) return
      mark.dataset.token = data.token
      const visible = mark.getBoundingClientRect().top < window.innerHeight / 2
      if (visible) return
      const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches
      mark.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" })
    }
    """,
)


def say(text: str) -> None:
    """Has screen readers speak a sentence when it changes; nobody sees it."""
    _SPOKEN(data={"text": text}, key="spoken", height="content")


def scroll_here(token: str) -> None:
    """Brings this place into view once for each new token, if it is far down the page.

    On a phone, what answers a tap would otherwise be out of sight.
    """
    _ARRIVAL(data={"token": token}, key="arrival", height="content")
