"""Where a photo comes from: an upload, the camera, or an example."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
from PIL import Image

from vgg_demo.images.decode import SUFFIXES, decode
from vgg_demo.images.examples import Example, load_examples
from vgg_demo.images.photo import Photo, open_photo
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.visitor import release_uploads

TILE = (300, 190)  # pixels; an example's picture


@dataclass(frozen=True, slots=True)
class ChosenPhoto:
    """The photo that the visitor is looking at. Lives in the session, nowhere else.

    Attributes:
        file: Its name.
        data: Its bytes, as they came.
        sha256: Of the bytes, 64 hex digits.
        description: Alternative text.
        credit: Whose it is; empty for the visitor's own.
        source: Key of the widget that it came through; empty for an example.
    """

    file: str
    data: bytes
    sha256: str
    description: str
    credit: str = ""
    source: str = ""


def chosen() -> ChosenPhoto | None:
    """Returns the visitor's photo, if there is one."""
    photo: ChosenPhoto | None = st.session_state.get("photo")
    return photo


def photo_opener(photo: ChosenPhoto) -> Callable[[], Photo]:
    """Returns a function that opens a photo when it is needed, once in this run."""

    @functools.cache
    def opened() -> Photo:
        return open_photo(photo.data, file=photo.file, limits=caches.get_settings().limits)

    return opened


def remove_photo() -> None:
    """Forgets the photo and empties the uploader and the camera."""
    st.session_state.pop("photo", None)
    renew_inputs()


def show_photo_input() -> None:
    """Shows the uploader or the camera."""
    source = st.segmented_control(
        "Your photo", ["Upload", "Camera"], default="Upload", key="source", required=True
    )
    generation = st.session_state.setdefault("inputs", 0)
    if source == "Camera":
        key = f"camera-{generation}"
        st.camera_input(
            "Take a photo",
            key=key,
            on_change=take_own,
            args=(key,),
            label_visibility="collapsed",
        )
    else:
        key = f"upload-{generation}"
        st.file_uploader(
            "Upload a photo",
            type=list(SUFFIXES),
            key=key,
            on_change=take_own,
            args=(key,),
            label_visibility="collapsed",
            max_upload_size=caches.get_settings().limits.size_bytes // 2**20,
        )
    st.caption(
        ":material/lock: Your photo stays in this server's memory while this tab is open. "
        "It is never written to disk or passed on."
    )


def take_own(key: str) -> None:
    uploaded = st.session_state[key]
    if uploaded is not None:
        data = uploaded.getvalue()
        st.session_state["photo"] = ChosenPhoto(
            file=uploaded.name,
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            description=f"Your photo {uploaded.name}",
            source=key,
        )
    elif (photo := chosen()) is not None and photo.source == key:
        del st.session_state["photo"]  # taken back by the visitor


def renew_inputs() -> None:
    """Empties the uploader and the camera: widgets of another name are new widgets."""
    generation = st.session_state["inputs"]
    held = [st.session_state.get(f"{kind}-{generation}") for kind in ("upload", "camera")]
    release_uploads(file for file in held if file is not None)
    st.session_state["inputs"] += 1


def show_examples() -> None:
    """Shows the bundled photos; one click chooses one."""
    st.markdown("Or try one of these")
    style_tiles(chosen())
    with st.grid(6, min_column_width=78, gap="small"):
        for example in load_examples():
            with st.container(gap="xxsmall", key=f"tile-{stem(example.file)}"):
                st.image(tile(example.file), width="stretch", alt=example.description)
                st.button(
                    example.title,
                    key=f"example-{example.file}",
                    width="stretch",
                    on_click=take_example,
                    args=(example,),
                )


TILE_STYLE = """
/* A click on an example's picture is a click on its button: an invisible layer of the button
   lies over the whole tile. */
[class*="st-key-tile-"] { position: relative; }
[class*="st-key-tile-"] [class*="st-key-example-"],
[class*="st-key-tile-"] [class*="st-key-example-"] * { position: static; }
[class*="st-key-tile-"] [class*="st-key-example-"] button::after {
  content: ""; position: absolute; inset: 0; z-index: 1; cursor: pointer; }
[class*="st-key-tile-"] [data-testid="stElementToolbar"] { display: none; }
"""

CHOSEN_STYLE = """
.st-key-tile-NAME [data-testid="stImage"] img { outline: 3px solid currentColor; }
.st-key-tile-NAME [data-testid="stImage"]::after {
  content: "✓"; position: absolute; top: 2px; right: 2px; width: 1.3rem; height: 1.3rem;
  border-radius: 50%; text-align: center; line-height: 1.3rem; font-weight: bold;
  color: white; background: #0d131c; }
"""


def style_tiles(photo: ChosenPhoto | None) -> None:
    """Makes the pictures clickable and marks the chosen one."""
    style = TILE_STYLE
    if photo is not None and not photo.source:
        style += CHOSEN_STYLE.replace("NAME", stem(photo.file))
    st.html(f"<style>{style}</style>")


def stem(file: str) -> str:
    return file.partition(".")[0]


@st.cache_data(show_spinner=False)
def tile(file: str) -> Image.Image:
    """Returns a bundled photo, cut to `TILE`."""
    (example,) = (example for example in load_examples() if example.file == file)
    image = decode(example.read())
    width, height = TILE
    scale = max(width / image.width, height / image.height)
    box_width, box_height = width / scale, height / scale
    left, upper = (image.width - box_width) / 2, (image.height - box_height) / 2
    return image.resize(TILE, box=(left, upper, left + box_width, upper + box_height))


def take_example(example: Example) -> None:
    data = example.read()
    st.session_state["photo"] = ChosenPhoto(
        file=example.file,
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        description=example.description,
        credit=f"Photo: {example.author}, {example.license}",
    )
    renew_inputs()
