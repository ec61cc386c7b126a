"""Photos to learn from, given kind by kind: uploads, and the camera."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from vgg_demo.errors import ImageError
from vgg_demo.images import SUFFIXES
from vgg_demo.photo import open_photo
from vgg_demo.printable import printable
from vgg_demo.sources import Source
from vgg_demo.taught import clean_label
from vgg_demo.teach.checks import square_thumbnail
from vgg_demo.teach.dataset import Dataset, Labelled
from vgg_demo.ui import shared
from vgg_demo.ui.camera import show_camera
from vgg_demo.ui.teach_looking import MOST_BYTES, begin, look_button

MOST_KINDS = 20
LAST = 6  # photos of a kind that are shown
TOGETHER = 5  # photos of the camera, one after the other: a bit more than a second
CAMERA_FOR = "teach_camera_for"


@dataclass(frozen=True, slots=True)
class Given:
    """A photo of a kind.

    Attributes:
        name: Of the file.
        data: Its bytes.
        group: What it stays together with; empty if it stands alone.
    """

    name: str
    data: bytes
    group: str = ""


@dataclass(eq=False)
class Kind:
    """Photos of one kind of thing.

    Attributes:
        id: Tells it from others, whatever it is called.
        name: What is on the photos.
        photos: What was given.
    """

    id: int
    name: str
    photos: list[Given] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(len(photo.data) for photo in self.photos)


def offer_kinds() -> None:
    """Collects photos kind by kind, from uploads and the camera."""
    beginning = [Kind(number, f"Kind {number}") for number in (1, 2)]
    kinds: list[Kind] = st.session_state.setdefault("teach_kinds", beginning)
    with st.grid(3, min_column_width=290, gap="small"):
        for kind in list(kinds):
            show_kind(kind, kinds)
    st.button(
        "Add a kind",
        icon=":material/add:",
        on_click=add_kind,
        args=(kinds,),
        disabled=len(kinds) >= MOST_KINDS,
    )
    filled = [kind for kind in kinds if kind.photos]
    names = [kind.name.casefold() for kind in filled]
    size_bytes = sum(kind.size_bytes for kind in filled)
    reason = ""
    if len(filled) < 2:
        reason = "Give photos of two kinds of things or more."
    elif len(set(names)) < len(names):
        reason = "Two kinds have the same name. Give each its own."
        st.error(reason, icon=":material/error:")
    elif size_bytes > MOST_BYTES:
        reason = f"These are {size_bytes / 2**20:,.0f} MB; the limit is {MOST_BYTES // 2**20} MB."
        st.error(reason, icon=":material/error:")
    look_button(reason, take_kinds, filled)


def show_kind(kind: Kind, kinds: list[Kind]) -> None:
    """Shows a kind: its name, its photos, and where to give more."""
    with st.container(border=True, gap="small", height="stretch"):
        with st.container(horizontal=True, vertical_alignment="bottom", wrap=False):
            key = f"teach-kind-{kind.id}"
            st.text_input(
                "What is on these photos?",
                value=kind.name,
                key=key,
                max_chars=40,
                on_change=rename_kind,
                args=(kind, key),
            )
            st.button(
                "",
                key=f"teach-remove-{kind.id}",
                icon=":material/delete:",
                help=f"Remove {shared.escape(kind.name)} and its photos",
                type="tertiary",
                on_click=kinds.remove,
                args=(kind,),
                disabled=len(kinds) <= 2,
            )
        offer_camera(kind, kinds)
        upload = f"teach-photos-{kind.id}-{len(kind.photos)}"
        st.file_uploader(
            f"Photos of {shared.escape(kind.name)}",
            type=list(SUFFIXES),
            accept_multiple_files=True,
            key=upload,
            label_visibility="collapsed",
            on_change=take_photos,
            args=(upload, kind, kinds),
        )
        count = len(kind.photos)
        st.caption(f"{count} photos" if count else "No photos yet; 20 are a good beginning.")
        show_last(kind.photos)


def rename_kind(kind: Kind, key: str) -> None:
    kind.name = clean_label(st.session_state[key]) or kind.name


def add_kind(kinds: list[Kind]) -> None:
    number = max(kind.id for kind in kinds) + 1
    kinds.append(Kind(number, f"Kind {number}"))


def take_photos(key: str, kind: Kind, kinds: list[Kind]) -> None:
    """Takes uploads, as long as there is room for them."""
    uploads: list[UploadedFile] = st.session_state[key]
    room = MOST_BYTES - sum(one.size_bytes for one in kinds)
    for file in uploads:
        room -= file.size
        if room < 0:
            st.session_state["teach_error"] = (
                f"There is no room for {file.name} and what comes after it: the limit is "
                f"{MOST_BYTES // 2**20} MB of photos."
            )
            break
        kind.photos.append(Given(file.name, file.getvalue()))
    shared.release(uploads)


def take_kinds(kinds: list[Kind]) -> None:
    labelled = tuple(
        Labelled(
            Source(f"{kind.name}/{number:03} {photo.name}", partial(bytes, photo.data)),
            kind.name,
            photo.group,
        )
        for kind in kinds
        for number, photo in enumerate(kind.photos, start=1)
    )
    title = " or ".join(kind.name for kind in kinds[:3])
    looking = begin(clean_label(title), Dataset(labelled), shared.get_settings().limits)
    st.session_state["teach_photos"] = looking


def show_last(photos: list[Given]) -> None:
    """Shows the photos that were given last."""
    if not photos:
        return
    with st.grid(LAST, wrap=False, min_column_width=32, gap="xsmall"):
        for photo in photos[-LAST:]:
            picture = small_copy(hashlib.sha256(photo.data).hexdigest(), _data=photo.data)
            if picture:
                st.image(picture, alt=f"Photo {printable(photo.name)}", width="stretch")


# Photos are for the session that brought them.
@st.cache_data(scope="session", max_entries=200, show_spinner=False)
def small_copy(sha256: str, *, _data: bytes) -> bytes:  # noqa: ARG001
    """Returns the middle of a photo as a small JPEG; empty if it is none that can be used."""
    try:
        image = open_photo(_data, limits=shared.get_settings().limits).image
    except ImageError:  # which is said when the photos are looked at
        return b""
    return square_thumbnail(image)


def offer_camera(kind: Kind, kinds: list[Kind]) -> None:
    """Shows the camera for a kind, if it is wanted; for one kind at a time."""
    is_open = st.session_state.get(CAMERA_FOR) == kind.id
    if is_open:
        show_camera(f"teach-camera-{kind.id}", partial(take_shots, kind, kinds))
    st.button(
        "Close the camera" if is_open else "Use the camera",
        key=f"teach-use-camera-{kind.id}",
        icon=":material/videocam_off:" if is_open else ":material/photo_camera:",
        on_click=open_camera,
        args=(None if is_open else kind.id,),
        width="stretch",
    )
    if is_open:
        st.caption(
            "Turn the thing, move it, change what is behind it: photos that look the same teach "
            "little."
        )


def open_camera(kind_id: int | None) -> None:
    st.session_state[CAMERA_FOR] = kind_id


def take_shots(kind: Kind, kinds: list[Kind], shots: Sequence[bytes]) -> None:
    """Takes photos of the camera, as long as there is room for them."""
    room = MOST_BYTES - sum(one.size_bytes for one in kinds)
    for shot in shots:
        room -= len(shot)
        if room < 0:
            st.session_state["teach_error"] = (
                f"There is no room for more photos: the limit is {MOST_BYTES // 2**20} MB."
            )
            break
        number = len(kind.photos)
        # What was taken in one go is alike: to be judged by what it has nearly seen, flatters.
        group = f"camera {kind.id} {number // TOGETHER}"
        kind.photos.append(Given(f"camera {number + 1}.jpg", shot, group))
