"""Photo input: upload, camera or bundled example."""

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

TILE = (300, 190)  # pixels; width and height of an example's thumbnail


@dataclass(frozen=True, slots=True)
class ChosenPhoto:
    """The photo on the page. It is stored in the visitor's session only.

    Attributes:
        file: File name.
        data: The original bytes.
        sha256: SHA-256 of `data`, 64 hex digits.
        description: Alternative text.
        credit: Author and license; empty for the visitor's own photos.
        source: Key of the upload or camera widget; empty for an example.
    """

    file: str
    data: bytes
    sha256: str
    description: str
    credit: str = ""
    source: str = ""


def chosen_photo() -> ChosenPhoto | None:
    """Returns the photo on the page, or None."""
    photo: ChosenPhoto | None = st.session_state.get("photo")
    return photo


def photo_opener(photo: ChosenPhoto) -> Callable[[], Photo]:
    """Returns a function that decodes the photo, at most once per run."""

    @functools.cache
    def open_once() -> Photo:
        return open_photo(photo.data, file=photo.file, limits=caches.get_settings().limits)

    return open_once


def remove_photo() -> None:
    """Removes the photo and clears the uploader and the camera."""
    st.session_state.pop("photo", None)
    reset_inputs()


def show_photo_input() -> None:
    """Shows the uploader or the camera, and the privacy caption."""
    source = st.segmented_control(
        "Your photo", ["Upload", "Camera"], default="Upload", key="source", required=True
    )
    generation = st.session_state.setdefault("inputs", 0)
    if source == "Camera":
        key = f"camera-{generation}"
        st.camera_input(
            "Take a photo",
            key=key,
            on_change=use_upload,
            args=(key,),
            label_visibility="collapsed",
        )
    else:
        key = f"upload-{generation}"
        st.file_uploader(
            "Upload a photo",
            type=list(SUFFIXES),
            key=key,
            on_change=use_upload,
            args=(key,),
            label_visibility="collapsed",
            max_upload_size=caches.get_settings().limits.size_bytes // 2**20,
        )
    st.caption(
        ":material/lock: Your photo stays in this server's memory while this tab is open. "
        "It is never written to disk or shared."
    )


def use_upload(key: str) -> None:
    """Makes the photo of an upload or camera widget the photo on the page, or removes it."""
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
    elif (photo := chosen_photo()) is not None and photo.source == key:
        del st.session_state["photo"]  # removed in the widget


def reset_inputs() -> None:
    """Clears the uploader and the camera. A new key makes Streamlit create a new widget."""
    generation = st.session_state["inputs"]
    uploads = [st.session_state.get(f"{source}-{generation}") for source in ("upload", "camera")]
    release_uploads(file for file in uploads if file is not None)
    st.session_state["inputs"] += 1


def show_examples() -> None:
    """Shows the bundled photos as clickable thumbnails."""
    st.markdown("Or try an example")
    style_tiles(chosen_photo())
    with st.grid(6, min_column_width=78, gap="small"):
        for example in load_examples():
            with st.container(gap="xxsmall", key=f"tile-{stem(example.file)}"):
                st.image(thumbnail(example.file), width="stretch", alt=example.description)
                st.button(
                    example.title,
                    key=f"example-{example.file}",
                    width="stretch",
                    on_click=use_example,
                    args=(example,),
                )


TILE_STYLE = """
/* Makes the whole tile clickable: a transparent layer of the button covers the thumbnail. */
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
    """Makes the thumbnails clickable and marks the chosen one."""
    style = TILE_STYLE
    if photo is not None and not photo.source:
        style += CHOSEN_STYLE.replace("NAME", stem(photo.file))
    st.html(f"<style>{style}</style>")


def stem(file: str) -> str:
    """Returns the part of a file name before the first dot."""
    return file.partition(".")[0]


@st.cache_data(show_spinner=False)
def thumbnail(file: str) -> Image.Image:
    """Returns a bundled photo, center-cropped and scaled to `TILE`."""
    (example,) = (example for example in load_examples() if example.file == file)
    image = decode(example.read())
    width, height = TILE
    scale = max(width / image.width, height / image.height)
    box_width, box_height = width / scale, height / scale
    left, upper = (image.width - box_width) / 2, (image.height - box_height) / 2
    return image.resize(TILE, box=(left, upper, left + box_width, upper + box_height))


def use_example(example: Example) -> None:
    """Makes a bundled photo the photo on the page."""
    data = example.read()
    st.session_state["photo"] = ChosenPhoto(
        file=example.file,
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        description=example.description,
        credit=f"Photo: {example.author}, {example.license}",
    )
    reset_inputs()
