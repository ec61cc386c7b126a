"""Photos to learn from, given kind by kind: uploads, and the camera."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from vgg_demo.errors import ImageError
from vgg_demo.files.printable import printable
from vgg_demo.images.decode import SUFFIXES
from vgg_demo.images.photo import open_photo
from vgg_demo.models.custom import clean_label
from vgg_demo.training.class_folders import Given, Kind, as_dataset
from vgg_demo.training.inspection import square_thumbnail
from vgg_demo.ui.components.camera import Shot, show_camera
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.visitor import release_uploads
from vgg_demo.ui.train.inspection import (
    MOST_BYTES,
    MOST_PHOTOS,
    Looking,
    begin,
    leave_photos,
    look_button,
)

FEWEST_KINDS, MOST_KINDS = 2, 20
LAST = 6  # photos of a kind that are shown


def offer_kinds() -> None:
    """Collects photos kind by kind, from uploads and the camera."""
    kinds: list[Kind] = st.session_state.setdefault("teach_kinds", [])
    while len(kinds) < FEWEST_KINDS:
        add_kind(kinds)
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
    reason = ""
    if len(filled) < FEWEST_KINDS:
        reason = "Give photos of two kinds of things or more."
    elif len(set(names)) < len(names):
        reason = "Two kinds have the same name. Give each its own."
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
            offer_removing(kind, kinds)
        offer_camera(kind, kinds)
        upload = f"teach-photos-{kind.id}-{kind.uploads}"
        st.file_uploader(
            f"Photos of {escape(kind.name)}",
            type=list(SUFFIXES),
            accept_multiple_files=True,
            key=upload,
            label_visibility="collapsed",
            on_change=take_photos,
            args=(upload, kind, kinds),
        )
        st.caption(count_words(len(kind.photos)))
        show_last(kind.photos)
        if last := kind.last_count:
            st.button(
                f"Take out the last {last}" if last > 1 else "Take out the last one",
                key=f"teach-undo-{kind.id}",
                icon=":material/undo:",
                type="tertiary",
                on_click=kind.take_out_last,
            )


def offer_removing(kind: Kind, kinds: list[Kind]) -> None:
    """Offers to remove a kind; asks first if photos would go with it."""
    if len(kinds) <= FEWEST_KINDS:
        return
    what = f"Remove {escape(kind.name)}"
    if not kind.photos:
        st.button(
            "",
            key=f"teach-remove-{kind.id}",
            icon=":material/delete:",
            help=what,
            type="tertiary",
            on_click=remove_kind,
            args=(kind, kinds),
        )
        return
    with st.popover("", icon=":material/delete:", help=what, type="tertiary"):
        st.button(
            f"{what} and its {count_words(len(kind.photos))}",
            key=f"teach-remove-{kind.id}",
            on_click=remove_kind,
            args=(kind, kinds),
        )


def remove_kind(kind: Kind, kinds: list[Kind]) -> None:
    if kind in kinds:  # else this is a second click
        kinds.remove(kind)
        kind.photos = []  # Streamlit keeps what callbacks were given


def count_words(photos: int) -> str:
    if not photos:
        return "No photos yet; 20 are a good beginning."
    return "1 photo" if photos == 1 else f"{photos:,} photos"


def rename_kind(kind: Kind, key: str) -> None:
    kind.name = clean_label(st.session_state[key]) or kind.name
    st.session_state[key] = kind.name


def add_kind(kinds: list[Kind]) -> None:
    # Numbers are never used again: what belongs to a kind that was removed is not for others.
    number = st.session_state["teach_kinds_made"] = st.session_state.get("teach_kinds_made", 0) + 1
    names = {kind.name for kind in kinds}
    free = (name for place in count(len(kinds) + 1) if (name := f"Kind {place}") not in names)
    kinds.append(Kind(number, next(free)))


def take_photos(key: str, kind: Kind, kinds: list[Kind]) -> None:
    """Takes uploads, as long as there is room for them."""
    # What was taken before comes once more as deleted, until the browser has drawn the page anew.
    uploads = [file for file in st.session_state[key] if isinstance(file, UploadedFile)]
    if not uploads:
        return
    kind.uploads += 1
    given = (Given(file.name, file.getvalue(), upload=kind.uploads) for file in uploads)
    add_photos(kind, kinds, given)
    release_uploads(uploads)


def add_photos(kind: Kind, kinds: Sequence[Kind], given: Iterable[Given]) -> None:
    """Adds photos to a kind, as long as there is room for them."""
    held = sum(len(one.photos) for one in kinds)
    held_bytes = sum(one.size_bytes for one in kinds)
    for photo in given:
        held += 1
        held_bytes += len(photo.data)
        if held > MOST_PHOTOS or held_bytes > MOST_BYTES:
            st.session_state["teach_error"] = (
                f"There is no room for {photo.name} and what comes after it: the limit is "
                f"{MOST_PHOTOS:,} photos and {MOST_BYTES // 2**20} MB."
            )
            return
        kind.photos.append(photo)


def take_kinds(kinds: list[Kind]) -> None:
    title = " or ".join(kind.name for kind in kinds[:3])
    looking = begin(clean_label(title), as_dataset(kinds), caches.get_settings().limits)
    looking.given = tuple(photo for kind in kinds for photo in kind.photos)
    st.session_state["teach_photos"] = looking


def change_photos() -> None:
    """Goes back to the kinds, without the photos that were left out."""
    looking: Looking | None = st.session_state.get("teach_photos")
    if looking is None:  # this is a second click
        return
    given = dict(zip(map(id, looking.dataset.photos), looking.given, strict=True))
    left_out = {id(given[id(looking.looked[place].photo)]) for place in looking.left_out}
    for kind in st.session_state["teach_kinds"]:
        kind.photos = [photo for photo in kind.photos if id(photo) not in left_out]
    leave_photos()


def note_run(run_id: str) -> None:
    """Notes that something was taught from these kinds."""
    st.session_state.setdefault("teach_kinds_runs", []).append(run_id)


def forget_kinds(run_id: str) -> None:
    """Lets go of the kinds if they are what a training was taught from."""
    small_copy.clear()
    if run_id in st.session_state.get("teach_kinds_runs", ()):
        for kind in st.session_state.pop("teach_kinds", ()):
            kind.photos = []
        del st.session_state["teach_kinds_runs"]


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
        image = open_photo(_data, limits=caches.get_settings().limits).image
    except ImageError:  # which is said when the photos are looked at
        return b""
    return square_thumbnail(image)


def offer_camera(kind: Kind, kinds: Sequence[Kind]) -> None:
    """Shows the camera for a kind, if it is wanted; for one kind at a time."""
    with st.container(gap=None):  # nobody sees a closed camera
        # A toggle's state goes when it is not drawn any more: no camera comes on by itself.
        is_open = st.toggle(
            "Use the camera",
            key=camera_key(kind),
            on_change=close_other_cameras,
            args=(kind, kinds),
        )
        show_camera(f"teach-camera-{kind.id}", partial(take_shots, kind, kinds), is_open=is_open)
    if is_open:
        st.caption(
            "Turn the thing, move it, change what is behind it, and take several rows: photos that "
            "look the same teach little."
        )


def camera_key(kind: Kind) -> str:
    return f"teach-use-camera-{kind.id}"


def close_other_cameras(kind: Kind, kinds: Sequence[Kind]) -> None:
    for other in kinds:
        if other is not kind:
            st.session_state[camera_key(other)] = False


def take_shots(kind: Kind, kinds: Sequence[Kind], shots: Sequence[Shot]) -> None:
    """Takes photos of the camera."""
    first = len(kind.photos) + 1
    given = (
        Given(f"camera {number}.jpg", shot.data, row=shot.row)
        for number, shot in enumerate(shots, start=first)
    )
    add_photos(kind, kinds, given)
