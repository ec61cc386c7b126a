"""What Streamlit has no command for: to speak to a screen reader, to scroll, to remember."""

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


_MEMORY = st.components.v2.component(
    "vgg_demo_memory",
    html="<div></div>",
    js="""
    const KEY = "vgg-demo-trainings"
    export default function ({ data, parentElement, setStateValue }) {
      let kept = []
      try { kept = JSON.parse(localStorage.getItem(KEY)) ?? [] } catch { /* private window */ }
      const mark = parentElement.querySelector("div")
      if (!mark.dataset.told) {
        mark.dataset.told = "yes"
        if (kept.some(id => !data.ids.includes(id))) setStateValue("ids", kept)
      }
      const all = [...new Set([...data.ids, ...kept])].slice(0, 20)
      try { localStorage.setItem(KEY, JSON.stringify(all)) } catch { /* likewise */ }
    }
    """,
)


def announce(text: str) -> None:
    """Has screen readers speak a sentence when it changes; nobody sees it."""
    _SPOKEN(data={"text": text}, key="spoken", height="content")


def scroll_here(token: str) -> None:
    """Brings this place into view once for each new token, if it is far down the page.

    On a phone, what answers a tap would otherwise be out of sight.
    """
    _ARRIVAL(data={"token": token}, key="arrival", height="content")


def remember(ids: list[str]) -> list[str]:
    """Has the browser remember ids, also when it is closed. Returns those of earlier visits."""
    result = _MEMORY(data={"ids": ids}, key="memory", height="content", on_ids_change=lambda: None)
    return [str(found)[:64] for found in (result.ids or [])][:20]
