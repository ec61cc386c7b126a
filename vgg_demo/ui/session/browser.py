"""Browser features: screen-reader announcements, scrolling, and IDs in local storage."""

from __future__ import annotations

import streamlit as st

_LIVE_REGION = st.components.v2.component(
    "vgg_demo_live_region",
    html='<div role="status" aria-live="polite" style="position: absolute; width: 1px; '
    'height: 1px; overflow: hidden; clip-path: inset(50%)"></div>',
    js="""
    export default function ({ data, parentElement }) {
      const status = parentElement.querySelector("[role=status]")
      if (status.textContent !== data.text) status.textContent = data.text
    }
    """,
)

_SCROLL_TARGET = st.components.v2.component(
    "vgg_demo_scroll_target",
    html='<div class="target" style="scroll-margin-top: 4.5rem"></div>',
    js="""
    export default function ({ data, parentElement }) {
      const target = parentElement.querySelector(".target")
      if (!data.token || target.dataset.token === data.token) return
      target.dataset.token = data.token
      const visible = target.getBoundingClientRect().top < window.innerHeight / 2
      if (visible) return
      const reduced = window.matchMedia("(prefers-reduced-motion: reduce)").matches
      target.scrollIntoView({ behavior: reduced ? "auto" : "smooth", block: "start" })
    }
    """,
)


_STORED_IDS = st.components.v2.component(
    "vgg_demo_stored_ids",
    html="<div></div>",
    js="""
    const KEY = "vgg-demo-trainings"
    export default function ({ data, parentElement, setStateValue }) {
      let stored = []
      try { stored = JSON.parse(localStorage.getItem(KEY)) ?? [] } catch { /* private window */ }
      const element = parentElement.querySelector("div")
      if (!element.dataset.sent) {
        element.dataset.sent = "yes"
        if (stored.some(id => !data.ids.includes(id))) setStateValue("ids", stored)
      }
      const all = [...new Set([...data.ids, ...stored])].slice(0, 20)
      try { localStorage.setItem(KEY, JSON.stringify(all)) } catch { /* private window */ }
    }
    """,
)


def announce(text: str) -> None:
    """Announces a sentence to screen readers when it changes. It is not visible on the page."""
    _LIVE_REGION(data={"text": text}, key="live_region", height="content")


def scroll_into_view(token: str) -> None:
    """Scrolls to this place, once for each new token, if it is in the lower half or below.

    On a phone, results would otherwise appear below the visible part of the page.
    """
    _SCROLL_TARGET(data={"token": token}, key="scroll_target", height="content")


def remember_ids(ids: list[str]) -> list[str]:
    """Adds IDs to the browser's local storage. Returns the IDs stored there by earlier visits.

    The stored IDs arrive one run after the component is first rendered; until then the list is
    empty.
    """
    result = _STORED_IDS(
        data={"ids": ids}, key="stored_ids", height="content", on_ids_change=lambda: None
    )
    return [str(stored_id)[:64] for stored_id in (result.ids or [])][:20]
