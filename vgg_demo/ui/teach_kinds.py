"""Photos to learn from, given kind by kind: uploads, and the camera."""

from __future__ import annotations

import hashlib
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

Kinds = dict[str, list[tuple[str, bytes]]]
"""Names and bytes of photos by what is on them."""


def offer_kinds() -> None:
    """Collects photos kind by kind, from uploads and the camera."""
    kinds: Kinds = st.session_state.setdefault("teach_kinds", {"Kind 1": [], "Kind 2": []})
    offer_camera(kinds)
    with st.grid(3, min_column_width=290, gap="small"):
        for place, name in enumerate(list(kinds)):
            show_kind(place, name, kinds)
    st.button(
        "Add a kind",
        icon=":material/add:",
        on_click=add_kind,
        args=(kinds,),
        disabled=len(kinds) >= MOST_KINDS,
    )
    filled = {name: photos for name, photos in kinds.items() if photos}
    size_bytes = sum(len(data) for photos in filled.values() for _, data in photos)
    reason = ""
    if len(filled) < 2:
        reason = "Give photos of two kinds of things or more."
    elif size_bytes > MOST_BYTES:
        reason = f"These are {size_bytes / 2**20:,.0f} MB; the limit is {MOST_BYTES // 2**20} MB."
    look_button(reason, take_kinds, filled, size_bytes)


def show_kind(place: int, name: str, kinds: Kinds) -> None:
    """Shows a kind: its name, its photos, and where to give more."""
    with st.container(border=True, gap="small", height="stretch"):
        with st.container(horizontal=True, vertical_alignment="bottom", wrap=False):
            key = f"teach-kind-{place}-{name}"
            st.text_input(
                "What is on these photos?",
                value=name,
                key=key,
                max_chars=40,
                on_change=rename_kind,
                args=(name, key, kinds),
            )
            st.button(
                "",
                key=f"teach-remove-{place}-{name}",
                icon=":material/delete:",
                help=f"Remove {name} and its photos",
                type="tertiary",
                on_click=remove_kind,
                args=(name, kinds),
                disabled=len(kinds) <= 2,
            )
        photos = kinds[name]
        generation = st.session_state.setdefault("teach_uploads", 0)
        upload = f"teach-photos-{name}-{generation}-{len(photos)}"
        st.file_uploader(
            f"Photos of {name}",
            type=list(SUFFIXES),
            accept_multiple_files=True,
            key=upload,
            label_visibility="collapsed",
            on_change=take_photos,
            args=(upload, photos),
        )
        st.caption(f"{len(photos)} photos" if photos else "No photos yet; 20 are a good beginning.")
        show_last(photos)


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


def rename_kind(old: str, key: str, kinds: Kinds) -> None:
    new = clean_label(st.session_state[key])
    if not new or new in kinds:
        st.session_state[key] = old
        return
    renamed = {new if name == old else name: photos for name, photos in kinds.items()}
    kinds.clear()
    kinds.update(renamed)


def remove_kind(name: str, kinds: Kinds) -> None:
    del kinds[name]


def add_kind(kinds: Kinds) -> None:
    number = len(kinds) + 1
    while f"Kind {number}" in kinds:
        number += 1
    kinds[f"Kind {number}"] = []


def take_photos(key: str, photos: list[tuple[str, bytes]]) -> None:
    uploads: list[UploadedFile] = st.session_state[key]
    photos += [(file.name, file.getvalue()) for file in uploads]
    shared.release(uploads)


def take_kinds(kinds: Kinds, size_bytes: int) -> None:
    labelled = [
        Labelled(Source(f"{kind}/{number:03} {name}", partial(bytes, data)), kind)
        for kind, photos in kinds.items()
        for number, (name, data) in enumerate(photos, start=1)
    ]
    limits = shared.get_settings().limits
    title = " or ".join(list(kinds)[:3])
    looking = begin(clean_label(title), Dataset(tuple(labelled)), size_bytes, limits)
    st.session_state["teach_photos"] = looking


def offer_camera(kinds: Kinds) -> None:
    """Shows the camera, if it is wanted; each photo goes to the kind that is chosen."""
    if not st.toggle("Use the camera", key="teach_camera"):
        return
    camera, choice = st.columns([5, 6], gap="medium")
    names = list(kinds)
    with choice:
        kind = st.pills(
            "The next photos show",
            names,
            default=names[0],
            required=True,
            format_func=lambda name: f"{name} ({len(kinds[name])})",
            key="teach_camera_kind-" + "-".join(names),
        )
        st.caption(
            "Turn the thing, move it, change what is behind it: photos that look the same teach "
            "little. Give each kind its name below."
        )
    with camera:
        # A widget of another name is a new one: so the camera is ready for the next photo at once.
        key = f"teach-shot-{st.session_state.setdefault('teach_shots', 0)}"
        st.camera_input(
            f"Take a photo of {kind}",
            key=key,
            on_change=take_shot,
            args=(key, kinds[kind or names[0]]),
            label_visibility="collapsed",
        )


def take_shot(key: str, photos: list[tuple[str, bytes]]) -> None:
    shot = st.session_state[key]
    if shot is not None:
        photos.append((f"camera {len(photos) + 1}.jpg", shot.getvalue()))
        shared.release([shot])
        st.session_state["teach_shots"] += 1
