"""A camera for many photos in a row; Streamlit's own takes one, and then has to be cleared."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st

IN_A_ROW = 20
MOST_PHOTOS = 200  # of a message
MOST_PHOTO_BYTES = 1_000_000  # the browser sends about 60 kB

_HERE = Path(__file__).parent

_CAMERA = st.components.v2.component(
    "vgg_demo_camera",
    html="""
    <div class="view">
      <video autoplay muted playsinline aria-label="What the camera sees"></video>
      <p class="words" role="status"></p>
    </div>
    <div class="buttons">
      <button type="button" class="many" disabled></button>
      <button type="button" class="one" disabled>Take one</button>
      <button type="button" class="other" hidden>Other camera</button>
      <button type="button" class="again" hidden>Try again</button>
      <span class="told" role="status"></span>
    </div>
    """,
    css=(_HERE / "camera.css").read_text(encoding="utf-8"),
    js=(_HERE / "camera.js").read_text(encoding="utf-8"),
)


def show_camera(key: str, on_photos: Callable[[list[bytes]], None]) -> None:
    """Shows the camera.

    Args:
        key: Of the widget.
        on_photos: Is given photos, each once: files, JPEG if the browser is honest.
    """
    received = f"{key}-received"

    def take() -> None:
        # What is sent while the camera is being closed comes when nobody knows it any more.
        message = st.session_state[key].photos if key in st.session_state else None
        last, photos = read_photos(message, st.session_state[received])
        st.session_state[received] = last
        if photos:
            on_photos(photos)

    _CAMERA(
        data={
            "row": IN_A_ROW,
            # The browser sends photos again until it knows that they have come.
            "received": st.session_state.setdefault(received, 0),
        },
        key=key,
        on_photos_change=take,
        height="content",
    )


def read_photos(message: Any, received: int) -> tuple[int, list[bytes]]:
    """Reads what a browser sent; what is no photo, or has come already, is passed over.

    Args:
        message: Anything that JSON can say.
        received: Id of the last photo that has come; ids rise.

    Returns:
        Id of the last photo that has come now, and the new photos.
    """
    photos = []
    for item in message[:MOST_PHOTOS] if isinstance(message, list) else ():
        match item:
            case {"id": int(number), "jpeg": str(text)} if number > received:
                if len(text) * 3 // 4 > MOST_PHOTO_BYTES:
                    continue
                with suppress(ValueError):  # it is no Base64
                    photos.append(base64.b64decode(text, validate=True))
                    received = number
    return received, photos
