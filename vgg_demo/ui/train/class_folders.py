"""Class folders: photos collected class by class, from uploads and the camera."""

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
from vgg_demo.ui.components.text import count_photos
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.visitor import release_uploads
from vgg_demo.ui.train.inspection import (
    MAX_BYTES,
    MAX_PHOTOS,
    Inspection,
    discard_inspection,
    show_inspect_button,
    start_inspection,
)

MIN_CLASSES, MAX_CLASSES = 2, 20
MAX_THUMBNAILS = 6  # latest photos shown per class


def show_class_folders() -> None:
    """Collects photos class by class, from uploads and the camera."""
    class_folders: list[ClassFolder] = st.session_state.setdefault("train_classes", [])
    while len(class_folders) < MIN_CLASSES:
        add_class_folder(class_folders)
    with st.grid(3, min_column_width=290, gap="small"):
        for class_folder in list(class_folders):
            show_class_folder(class_folder, class_folders)
    st.button(
        "Add class",
        icon=":material/add:",
        on_click=add_class_folder,
        args=(class_folders,),
        disabled=len(class_folders) >= MAX_CLASSES,
    )
    filled = [class_folder for class_folder in class_folders if class_folder.photos]
    names = [class_folder.name.casefold() for class_folder in filled]
    reason = ""
    if len(filled) < MIN_CLASSES:
        reason = f"Add photos of at least {MIN_CLASSES} classes."
    elif len(set(names)) < len(names):
        reason = "Two classes have the same name. Give each class a different name."
        st.error(reason, icon=":material/error:")
    show_inspect_button(reason, inspect_class_folders, filled)


def show_class_folder(class_folder: ClassFolder, class_folders: list[ClassFolder]) -> None:
    """Shows a class: its name, its photos and ways to add more."""
    with st.container(border=True, gap="small", height="stretch"):
        with st.container(horizontal=True, vertical_alignment="bottom", wrap=False):
            key = f"train-class-{class_folder.id}"
            st.text_input(
                "Class name",
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
            on_change=add_uploads,
            args=(upload, class_folder, class_folders),
        )
        st.caption(describe_count(len(class_folder.photos)))
        show_thumbnails(class_folder.photos)
        if last := class_folder.last_count:
            st.button(
                f"Remove the last {last} photos" if last > 1 else "Remove the last photo",
                key=f"train-undo-{class_folder.id}",
                icon=":material/undo:",
                type="tertiary",
                on_click=class_folder.remove_last,
            )


def show_remove_button(class_folder: ClassFolder, class_folders: list[ClassFolder]) -> None:
    """Shows a button that removes the class; asks for confirmation if the class has photos."""
    if len(class_folders) <= MIN_CLASSES:
        return
    label = f"Remove {escape(class_folder.name)}"
    if not class_folder.photos:
        st.button(
            "",
            key=f"train-remove-{class_folder.id}",
            icon=":material/delete:",
            help=label,
            type="tertiary",
            on_click=remove_class_folder,
            args=(class_folder, class_folders),
        )
        return
    with st.popover("", icon=":material/delete:", help=label, type="tertiary"):
        st.button(
            f"{label} and its {describe_count(len(class_folder.photos))}",
            key=f"train-remove-{class_folder.id}",
            on_click=remove_class_folder,
            args=(class_folder, class_folders),
        )


def remove_class_folder(class_folder: ClassFolder, class_folders: list[ClassFolder]) -> None:
    if class_folder in class_folders:  # not on a second click
        class_folders.remove(class_folder)
        class_folder.photos = []  # Streamlit keeps the arguments of callbacks alive


def describe_count(photos: int) -> str:
    if not photos:
        return "No photos yet. Start with about 20."
    return count_photos(photos)


def rename_class_folder(class_folder: ClassFolder, key: str) -> None:
    class_folder.name = clean_label(st.session_state[key]) or class_folder.name
    st.session_state[key] = class_folder.name


def add_class_folder(class_folders: list[ClassFolder]) -> None:
    # IDs are never reused, so a new class does not inherit the widget state of a removed one.
    number = st.session_state["train_classes_made"] = (
        st.session_state.get("train_classes_made", 0) + 1
    )
    used = {class_folder.name for class_folder in class_folders}
    unused = (
        name for place in count(len(class_folders) + 1) if (name := f"Class {place}") not in used
    )
    class_folders.append(ClassFolder(number, next(unused)))


def add_uploads(key: str, class_folder: ClassFolder, class_folders: list[ClassFolder]) -> None:
    """Adds the uploaded photos to a class, up to the limits of the page."""
    # Until the browser renders the page again, earlier uploads are reported as `DeletedFile`.
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
    """Adds photos to a class, up to the limits of the page."""
    photos = sum(len(folder.photos) for folder in class_folders)
    size_bytes = sum(folder.size_bytes for folder in class_folders)
    for sample in samples:
        photos += 1
        size_bytes += len(sample.data)
        if photos > MAX_PHOTOS or size_bytes > MAX_BYTES:
            st.session_state["train_error"] = (
                f"{sample.name} and the photos after it were not added: the limit is "
                f"{MAX_PHOTOS:,} photos and {MAX_BYTES // 2**20} MB."
            )
            return
        class_folder.photos.append(sample)


def inspect_class_folders(class_folders: list[ClassFolder]) -> None:
    title = " or ".join(class_folder.name for class_folder in class_folders[:3])
    limits = caches.get_settings().limits
    inspection = start_inspection(clean_label(title), to_dataset(class_folders), limits)
    inspection.samples = tuple(
        photo for class_folder in class_folders for photo in class_folder.photos
    )
    st.session_state["train_inspection"] = inspection


def change_photos() -> None:
    """Returns to the class folders, without the photos that the visitor excluded."""
    inspection: Inspection | None = st.session_state.get("train_inspection")
    if inspection is None:  # on a second click
        return
    samples_by_id = dict(zip(map(id, inspection.dataset.photos), inspection.samples, strict=True))
    excluded = {
        id(samples_by_id[id(inspection.photos[index].photo)]) for index in inspection.excluded
    }
    for class_folder in st.session_state["train_classes"]:
        class_folder.photos = [photo for photo in class_folder.photos if id(photo) not in excluded]
    discard_inspection()


def link_run(run_id: str) -> None:
    """Records that a run is trained on the class folders; see `delete_class_folders`."""
    st.session_state.setdefault("train_class_runs", []).append(run_id)


def delete_class_folders(run_id: str) -> None:
    """Deletes the class folders if the run was trained on them."""
    get_thumbnail.clear()
    if run_id in st.session_state.get("train_class_runs", ()):
        for class_folder in st.session_state.pop("train_classes", ()):
            class_folder.photos = []
        del st.session_state["train_class_runs"]


def show_thumbnails(photos: list[Sample]) -> None:
    """Shows the latest photos of a class."""
    if not photos:
        return
    with st.grid(MAX_THUMBNAILS, wrap=False, min_column_width=32, gap="xsmall"):
        for photo in photos[-MAX_THUMBNAILS:]:
            thumbnail = get_thumbnail(hashlib.sha256(photo.data).hexdigest(), _data=photo.data)
            if thumbnail:
                st.image(thumbnail, alt=f"Photo {printable(photo.name)}", width="stretch")


# Cached per session, because photos are private to the session that uploaded them.
@st.cache_data(scope="session", max_entries=200, show_spinner=False)
def get_thumbnail(sha256: str, *, _data: bytes) -> bytes:  # noqa: ARG001
    """Returns the center square of a photo as a small JPEG; empty if it cannot be opened."""
    try:
        image = open_photo(_data, limits=caches.get_settings().limits).image
    except ImageError:  # reported by the inspection
        return b""
    return square_thumbnail(image)


def show_camera_input(class_folder: ClassFolder, class_folders: Sequence[ClassFolder]) -> None:
    """Shows the camera of a class if it is on; at most one camera is on at a time."""
    with st.container(gap=None):  # a camera that is off is invisible
        # The toggle state is not persisted, so that the camera never turns on without a click.
        is_open = st.toggle(
            "Use the camera",
            key=camera_key(class_folder),
            on_change=close_other_cameras,
            args=(class_folder, class_folders),
        )
        show_camera(
            f"train-camera-{class_folder.id}",
            partial(add_shots, class_folder, class_folders),
            is_open=is_open,
        )
    if is_open:
        st.caption(
            "Move and rotate the object, change the background, and take several bursts. "
            "Near-identical photos add little."
        )


def camera_key(class_folder: ClassFolder) -> str:
    return f"train-use-camera-{class_folder.id}"


def close_other_cameras(class_folder: ClassFolder, class_folders: Sequence[ClassFolder]) -> None:
    for other in class_folders:
        if other is not class_folder:
            st.session_state[camera_key(other)] = False


def add_shots(
    class_folder: ClassFolder, class_folders: Sequence[ClassFolder], shots: Sequence[Shot]
) -> None:
    """Adds photos from the camera to a class, up to the limits of the page."""
    first = len(class_folder.photos) + 1
    samples = (
        Sample(f"camera {number}.jpg", shot.data, burst=shot.burst)
        for number, shot in enumerate(shots, start=first)
    )
    add_photos(class_folder, class_folders, samples)
