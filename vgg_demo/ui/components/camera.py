"""A camera that takes bursts of photos; Streamlit's own takes one, which must then be cleared."""

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
MAX_PHOTO_BYTES = 1_000_000  # the browser sends about 60 kB

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
        data: The file, normally a JPEG; the browser is not trusted.
    """

    burst: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """The last photo received from a camera.

    Attributes:
        id: Id of the photo; ids increase.
        burst: Number of its burst.
    """

    id: int = 0
    burst: int = 0


def show_camera(key: str, on_shots: Callable[[Sequence[Shot]], None], *, is_open: bool) -> None:
    """Shows the camera, or nothing while it is closed.

    Call it also while the camera is closed: its last photos arrive after it closes, and are lost
    if the component is no longer on the page.

    Args:
        key: Key of the widget.
        on_shots: Called with new photos; receives each photo once.
        is_open: Whether the camera is on.
    """
    received_key = f"{key}-received"
    received: Received = st.session_state.setdefault(received_key, Received())

    def receive() -> None:
        # A message sent while the visitor leaves the page arrives after its state was dropped.
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


def read_shots(message: Any, received: Received) -> tuple[Received, list[Shot]]:
    """Reads a message from the browser, and skips invalid photos and those received before.

    Args:
        message: Any JSON value.
        received: The last photo received before.

    Returns:
        The last photo received now, and the new photos.
    """
    shots: list[Shot] = []
    for item in message if isinstance(message, list) else ():
        if len(shots) == MAX_PHOTOS:  # the browser sends the others again
            break
        match item:
            case {"id": int(number), "burst": int(burst), "jpeg": str(text)} if (
                number > received.id
            ):
                # Confirms invalid photos too; otherwise, the browser would send them forever.
                received = Received(number, burst)
                if 0 < len(text) * 3 // 4 <= MAX_PHOTO_BYTES:
                    with suppress(ValueError):  # not Base64
                        shots.append(Shot(burst, base64.b64decode(text, validate=True)))
    return received, shots
