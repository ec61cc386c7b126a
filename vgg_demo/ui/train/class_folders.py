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
from vgg_demo.training.class_folders import ClassFolder, Sample, to_dataset
from vgg_demo.training.inspection import square_thumbnail
from vgg_demo.ui.components.camera import Shot, show_camera
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.visitor import release_uploads
from vgg_demo.ui.train.inspection import (
    MAX_BYTES,
    MAX_PHOTOS,
    Inspection,
    begin,
    inspect_button,
    leave_photos,
)

MIN_CLASSES, MAX_CLASSES = 2, 20
LAST = 6  # photos of a kind that are shown


def offer_class_folders() -> None:
    """Collects photos kind by kind, from uploads and the camera."""
    class_folders: list[ClassFolder] = st.session_state.setdefault("train_classes", [])
    while len(class_folders) < MIN_CLASSES:
        add_class_folder(class_folders)
    with st.grid(3, min_column_width=290, gap="small"):
        for class_folder in list(class_folders):
            show_class_folder(class_folder, class_folders)
    st.button(
        "Add a kind",
        icon=":material/add:",
        on_click=add_class_folder,
        args=(class_folders,),
        disabled=len(class_folders) >= MAX_CLASSES,
    )
    filled = [class_folder for class_folder in class_folders if class_folder.photos]
    names = [class_folder.name.casefold() for class_folder in filled]
    reason = ""
    if len(filled) < MIN_CLASSES:
        reason = "Give photos of two kinds of things or more."
    elif len(set(names)) < len(names):
        reason = "Two kinds have the same name. Give each its own."
        st.error(reason, icon=":material/error:")
    inspect_button(reason, take_class_folders, filled)


def show_class_folder(class_folder: ClassFolder, class_folders: list[ClassFolder]) -> None:
    """Shows a kind: its name, its photos, and where to give more."""
    with st.container(border=True, gap="small", height="stretch"):
        with st.container(horizontal=True, vertical_alignment="bottom", wrap=False):
            key = f"train-kind-{class_folder.id}"
            st.text_input(
                "What is on these photos?",
                value=class_folder.name,
                key=key,
                max_chars=40,
                on_change=rename_class_folder,
                args=(class_folder, key),
            )
            show_remove_button(class_folder, class_folders)
        show_camera_input(class_folder, class_folders)
        upload = f"train-photos-{class_folder.id}-{class_folder.uploads}"
        st.file_uploader(
            f"Photos of {escape(class_folder.name)}",
            type=list(SUFFIXES),
            accept_multiple_files=True,
            key=upload,
            label_visibility="collapsed",
            on_change=take_photos,
            args=(upload, class_folder, class_folders),
        )
        st.caption(describe_count(len(class_folder.photos)))
        show_last(class_folder.photos)
        if last := class_folder.last_count:
            st.button(
                f"Take out the last {last}" if last > 1 else "Take out the last one",
                key=f"train-undo-{class_folder.id}",
                icon=":material/undo:",
                type="tertiary",
                on_click=class_folder.take_out_last,
            )


def show_remove_button(class_folder: ClassFolder, class_folders: list[ClassFolder]) -> None:
    """Offers to remove a kind; asks first if photos would go with it."""
    if len(class_folders) <= MIN_CLASSES:
        return
    what = f"Remove {escape(class_folder.name)}"
    if not class_folder.photos:
        st.button(
            "",
            key=f"train-remove-{class_folder.id}",
            icon=":material/delete:",
            help=what,
            type="tertiary",
            on_click=remove_class_folder,
            args=(class_folder, class_folders),
        )
        return
    with st.popover("", icon=":material/delete:", help=what, type="tertiary"):
        st.button(
            f"{what} and its {describe_count(len(class_folder.photos))}",
            key=f"train-remove-{class_folder.id}",
            on_click=remove_class_folder,
            args=(class_folder, class_folders),
        )


def remove_class_folder(class_folder: ClassFolder, class_folders: list[ClassFolder]) -> None:
    if class_folder in class_folders:  # else this is a second click
        class_folders.remove(class_folder)
        class_folder.photos = []  # Streamlit keeps what callbacks were given


def describe_count(photos: int) -> str:
    if not photos:
        return "No photos yet; 20 are a good beginning."
    return "1 photo" if photos == 1 else f"{photos:,} photos"


def rename_class_folder(class_folder: ClassFolder, key: str) -> None:
    class_folder.name = clean_label(st.session_state[key]) or class_folder.name
    st.session_state[key] = class_folder.name


def add_class_folder(class_folders: list[ClassFolder]) -> None:
    # Numbers are never used again: what belongs to a kind that was removed is not for others.
    number = st.session_state["train_classes_made"] = (
        st.session_state.get("train_classes_made", 0) + 1
    )
    names = {class_folder.name for class_folder in class_folders}
    free = (
        name for place in count(len(class_folders) + 1) if (name := f"Kind {place}") not in names
    )
    class_folders.append(ClassFolder(number, next(free)))


def take_photos(key: str, class_folder: ClassFolder, class_folders: list[ClassFolder]) -> None:
    """Takes uploads, as long as there is room for them."""
    # What was taken before comes once more as deleted, until the browser has drawn the page anew.
    uploads = [file for file in st.session_state[key] if isinstance(file, UploadedFile)]
    if not uploads:
        return
    class_folder.uploads += 1
    samples = (Sample(file.name, file.getvalue(), upload=class_folder.uploads) for file in uploads)
    add_photos(class_folder, class_folders, samples)
    release_uploads(uploads)


def add_photos(
    class_folder: ClassFolder, class_folders: Sequence[ClassFolder], samples: Iterable[Sample]
) -> None:
    """Adds photos to a kind, as long as there is room for them."""
    held = sum(len(one.photos) for one in class_folders)
    held_bytes = sum(one.size_bytes for one in class_folders)
    for photo in samples:
        held += 1
        held_bytes += len(photo.data)
        if held > MAX_PHOTOS or held_bytes > MAX_BYTES:
            st.session_state["train_error"] = (
                f"There is no room for {photo.name} and what comes after it: the limit is "
                f"{MAX_PHOTOS:,} photos and {MAX_BYTES // 2**20} MB."
            )
            return
        class_folder.photos.append(photo)


def take_class_folders(class_folders: list[ClassFolder]) -> None:
    title = " or ".join(class_folder.name for class_folder in class_folders[:3])
    inspection = begin(clean_label(title), to_dataset(class_folders), caches.get_settings().limits)
    inspection.samples = tuple(
        photo for class_folder in class_folders for photo in class_folder.photos
    )
    st.session_state["train_inspection"] = inspection


def change_photos() -> None:
    """Goes back to the kinds, without the photos that were left out."""
    inspection: Inspection | None = st.session_state.get("train_inspection")
    if inspection is None:  # this is a second click
        return
    samples = dict(zip(map(id, inspection.dataset.photos), inspection.samples, strict=True))
    left_out = {id(samples[id(inspection.photos[place].photo)]) for place in inspection.left_out}
    for class_folder in st.session_state["train_classes"]:
        class_folder.photos = [photo for photo in class_folder.photos if id(photo) not in left_out]
    leave_photos()


def note_run(run_id: str) -> None:
    """Notes that something was taught from these kinds."""
    st.session_state.setdefault("train_class_runs", []).append(run_id)


def forget_class_folders(run_id: str) -> None:
    """Lets go of the kinds if they are what a training was taught from."""
    small_copy.clear()
    if run_id in st.session_state.get("train_class_runs", ()):
        for class_folder in st.session_state.pop("train_classes", ()):
            class_folder.photos = []
        del st.session_state["train_class_runs"]


def show_last(photos: list[Sample]) -> None:
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


def show_camera_input(class_folder: ClassFolder, class_folders: Sequence[ClassFolder]) -> None:
    """Shows the camera for a kind, if it is wanted; for one kind at a time."""
    with st.container(gap=None):  # nobody sees a closed camera
        # A toggle's state goes when it is not drawn any more: no camera comes on by itself.
        is_open = st.toggle(
            "Use the camera",
            key=camera_key(class_folder),
            on_change=close_other_cameras,
            args=(class_folder, class_folders),
        )
        show_camera(
            f"train-camera-{class_folder.id}",
            partial(take_shots, class_folder, class_folders),
            is_open=is_open,
        )
    if is_open:
        st.caption(
            "Turn the thing, move it, change what is behind it, and take several rows: photos that "
            "look the same teach little."
        )


def camera_key(class_folder: ClassFolder) -> str:
    return f"train-use-camera-{class_folder.id}"


def close_other_cameras(class_folder: ClassFolder, class_folders: Sequence[ClassFolder]) -> None:
    for other in class_folders:
        if other is not class_folder:
            st.session_state[camera_key(other)] = False


def take_shots(
    class_folder: ClassFolder, class_folders: Sequence[ClassFolder], shots: Sequence[Shot]
) -> None:
    """Takes photos of the camera."""
    first = len(class_folder.photos) + 1
    samples = (
        Sample(f"camera {number}.jpg", shot.data, row=shot.row)
        for number, shot in enumerate(shots, start=first)
    )
    add_photos(class_folder, class_folders, samples)
