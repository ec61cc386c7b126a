"""A camera for many photos in a row; Streamlit's own takes one, and then has to be cleared."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

IN_A_ROW = 20
MAX_PHOTOS = 3 * IN_A_ROW  # of a message
MAX_PHOTO_BYTES = 1_000_000  # the browser sends about 60 kB

_HERE = Path(__file__).parent

_CAMERA = st.components.v2.component(
    "vgg_demo_camera",
    html="""
    <div class="camera" hidden>
    <div class="view" tabindex="-1">
      <video autoplay muted playsinline aria-label="What the camera sees"></video>
      <p class="words" role="status"></p>
    </div>
    <div class="buttons">
      <button type="button" class="many" disabled></button>
      <button type="button" class="one" disabled>Take one</button>
      <button type="button" class="stop" hidden>Stop</button>
      <button type="button" class="other" hidden>Other camera</button>
      <button type="button" class="again" hidden>Try again</button>
      <span class="count" aria-hidden="true"></span>
      <span class="told" role="status"></span>
    </div>
    </div>
    """,
    css=(_HERE / "camera.css").read_text(encoding="utf-8"),
    js=(_HERE / "camera.js").read_text(encoding="utf-8"),
)


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo from the camera.

    Attributes:
        row: Which row it was taken in; rows are numbered as they come.
        data: A file, JPEG if the browser is honest.
    """

    row: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """What has come from a camera.

    Attributes:
        id: Of the last photo; ids rise.
        row: That it was taken in.
    """

    id: int = 0
    row: int = 0


def show_camera(key: str, on_shots: Callable[[Sequence[Shot]], None], *, is_open: bool) -> None:
    """Shows the camera, or nothing where it is closed.

    It stays on the page when it is closed: else what it took last would find nobody who takes it.

    Args:
        key: Of the widget.
        is_open: Whether the camera is on.
        on_shots: Is given photos, each once.
    """
    memory = f"{key}-received"
    received: Received = st.session_state.setdefault(memory, Received())

    def take() -> None:
        # What is sent while the page is being left comes when nobody knows it any more.
        message = st.session_state[key].photos if key in st.session_state else None
        st.session_state[memory], shots = read_shots(message, st.session_state[memory])
        if shots:
            on_shots(shots)

    _CAMERA(
        # The browser sends photos again until it knows that they have come.
        data={
            "is_open": is_open,
            "row": IN_A_ROW,
            "received": received.id,
            "row_received": received.row,
        },
        key=key,
        on_photos_change=take,
        height="content",
    )


def read_shots(message: Any, received: Received) -> tuple[Received, list[Shot]]:
    """Reads what a browser sent; what is no photo, or has come already, is passed over.

    Args:
        message: Anything that JSON can say.
        received: What has come before.

    Returns:
        What has come now, and the new photos.
    """
    shots: list[Shot] = []
    for item in message if isinstance(message, list) else ():
        if len(shots) == MAX_PHOTOS:  # the browser will send the others again
            break
        match item:
            case {"id": int(number), "row": int(row), "jpeg": str(text)} if number > received.id:
                # Also if it is no photo: else it would be sent for ever.
                received = Received(number, row)
                if 0 < len(text) * 3 // 4 <= MAX_PHOTO_BYTES:
                    with suppress(ValueError):  # it is no Base64
                        shots.append(Shot(row, base64.b64decode(text, validate=True)))
    return received, shots
