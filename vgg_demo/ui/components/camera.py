"""A camera component that takes bursts of photos.

Streamlit's own camera takes a single photo, which must be cleared before the next one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

BURST_SIZE = 20
MAX_PHOTOS = 3 * BURST_SIZE  # per message
MAX_PHOTO_BYTES = 1_000_000  # photos from the browser have about 60 kB

_FOLDER = Path(__file__).parent

_CAMERA = st.components.v2.component(
    "vgg_demo_camera",
    html="""
    <div class="camera" hidden>
    <div class="preview" tabindex="-1">
      <video autoplay muted playsinline aria-label="Camera preview"></video>
      <p class="message" role="status"></p>
    </div>
    <div class="controls">
      <button type="button" class="take-burst" disabled></button>
      <button type="button" class="take-one" disabled>Take one</button>
      <button type="button" class="stop" hidden>Stop</button>
      <button type="button" class="switch" hidden>Switch camera</button>
      <button type="button" class="retry" hidden>Try again</button>
      <span class="count" aria-hidden="true"></span>
      <span class="status" role="status"></span>
    </div>
    </div>
    """,
    css=(_FOLDER / "camera.css").read_text(encoding="utf-8"),
    js=(_FOLDER / "camera.js").read_text(encoding="utf-8"),
)


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo from the camera.

    Attributes:
        burst: Number of the burst it belongs to, from 1.
        data: The file. It should be a JPEG, but the browser is not trusted.
    """

    burst: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LastReceived:
    """The last photo received from a camera.

    Attributes:
        id: ID of the photo; IDs increase. 0 if no photo was received yet.
        burst: Number of its burst, from 1; 0 if no photo was received yet.
    """

    id: int = 0
    burst: int = 0


def show_camera(key: str, on_shots: Callable[[Sequence[Shot]], None], *, is_open: bool) -> None:
    """Shows the camera if it is open; otherwise the component is invisible.

    Call this function also while the camera is closed: its last photos arrive after it closes and
    are lost if the component is no longer on the page.

    Args:
        key: Key of the widget.
        on_shots: Called with new photos; receives each photo once.
        is_open: Whether the camera is on.
    """
    received_key = f"{key}-received"
    received: LastReceived = st.session_state.setdefault(received_key, LastReceived())

    def receive() -> None:
        # If the visitor leaves the page, a message can arrive after the widget state was dropped.
        message = st.session_state[key].photos if key in st.session_state else None
        st.session_state[received_key], shots = read_shots(message, st.session_state[received_key])
        if shots:
            on_shots(shots)

    _CAMERA(
        # `received` confirms photos: the browser sends them again until they are confirmed.
        data={
            "is_open": is_open,
            "burst_size": BURST_SIZE,
            "received": received.id,
            "burst_received": received.burst,
        },
        key=key,
        on_photos_change=receive,
        height="content",
    )


def read_shots(message: Any, received: LastReceived) -> tuple[LastReceived, list[Shot]]:
    """Reads a message from the browser; skips invalid photos and those received before.

    Args:
        message: Any JSON value.
        received: The last photo received so far.

    Returns:
        The last photo received including this message, and the new photos.
    """
    shots: list[Shot] = []
    for item in message if isinstance(message, list) else ():
        if len(shots) == MAX_PHOTOS:  # the browser sends the remaining ones again
            break
        match item:
            case {"id": int(number), "burst": int(burst), "jpeg": str(text)} if (
                number > received.id
            ):
                # Invalid photos are confirmed too, or the browser would resend them forever.
                received = LastReceived(number, burst)
                if 0 < len(text) * 3 // 4 <= MAX_PHOTO_BYTES:
                    with suppress(ValueError):  # not Base64
                        shots.append(Shot(burst, base64.b64decode(text, validate=True)))
    return received, shots
