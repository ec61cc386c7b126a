"""Photos to learn from, given kind by kind: uploads, and the camera."""

from __future__ import annotations

import hashlib
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
from vgg_demo.ui.teach_looking import MOST_BYTES, begin, look_button

MOST_KINDS = 20
LAST = 6  # photos of a kind that are shown


@dataclass(eq=False)
class Kind:
    """Photos of one kind of thing.

    Attributes:
        id: Tells it from others, whatever it is called.
        name: What is on the photos.
        photos: Names and bytes.
    """

    id: int
    name: str
    photos: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for _, data in self.photos)


def offer_kinds() -> None:
    """Collects photos kind by kind, from uploads and the camera."""
    beginning = [Kind(number, f"Kind {number}") for number in (1, 2)]
    kinds: list[Kind] = st.session_state.setdefault("teach_kinds", beginning)
    offer_camera(kinds)
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
        kind.photos.append((file.name, file.getvalue()))
    shared.release(uploads)


def take_kinds(kinds: list[Kind]) -> None:
    sources = (
        (kind.name, Source(f"{kind.name}/{number:03} {name}", partial(bytes, data)))
        for kind in kinds
        for number, (name, data) in enumerate(kind.photos, start=1)
    )
    labelled = tuple(Labelled(source, name) for name, source in sources)
    title = " or ".join(kind.name for kind in kinds[:3])
    looking = begin(clean_label(title), Dataset(labelled), shared.get_settings().limits)
    st.session_state["teach_photos"] = looking


def show_last(photos: list[tuple[str, bytes]]) -> None:
    """Shows the photos that were given last."""
    if not photos:
        return
    with st.grid(LAST, wrap=False, min_column_width=32, gap="xsmall"):
        for name, data in photos[-LAST:]:
            picture = small_copy(hashlib.sha256(data).hexdigest(), _data=data)
            if picture:
                st.image(picture, alt=f"Photo {printable(name)}", width="stretch")


# Photos are for the session that brought them.
@st.cache_data(scope="session", max_entries=200, show_spinner=False)
def small_copy(sha256: str, *, _data: bytes) -> bytes:  # noqa: ARG001
    """Returns the middle of a photo as a small JPEG; empty if it is none that can be used."""
    try:
        image = open_photo(_data, limits=shared.get_settings().limits).image
    except ImageError:  # which is said when the photos are looked at
        return b""
    return square_thumbnail(image)


def offer_camera(kinds: list[Kind]) -> None:
    """Shows the camera, if it is wanted; each photo goes to the kind that is chosen."""
    if not st.toggle("Use the camera", key="teach_camera"):
        return
    camera, choice = st.columns([5, 6], gap="medium")
    found = {kind.id: kind for kind in kinds}
    if st.session_state.get("teach_camera_kind") not in found:
        st.session_state["teach_camera_kind"] = kinds[0].id

    def describe(kind_id: int) -> str:
        kind = found[kind_id]
        return f"{shared.escape(kind.name)} ({len(kind.photos)})"

    with choice:
        st.pills(
            "The next photos show",
            list(found),
            required=True,
            format_func=describe,
            key="teach_camera_kind",
        )
        st.caption(
            "Turn the thing, move it, change what is behind it: photos that look the same teach "
            "little. Give each kind its name below."
        )
    with camera:
        # A widget of another name is a new one: so the camera is ready for the next photo at once.
        key = f"teach-shot-{st.session_state.setdefault('teach_shots', 0)}"
        st.camera_input(
            "Take a photo",
            key=key,
            on_change=take_shot,
            args=(key, found),
            label_visibility="collapsed",
        )


def take_shot(key: str, kinds: dict[int, Kind]) -> None:
    """Adds the photo to the kind that is chosen now, though the page may not show it yet."""
    shot = st.session_state[key]
    kind = kinds.get(st.session_state["teach_camera_kind"])
    if shot is not None and kind is not None:
        kind.photos.append((f"camera {len(kind.photos) + 1}.jpg", shot.getvalue()))
        shared.release([shot])
        st.session_state["teach_shots"] += 1
