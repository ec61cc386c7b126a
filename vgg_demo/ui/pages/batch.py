"""The Batch page: classifies many photos at once."""

from __future__ import annotations

import time

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from vgg_demo.analysis.comparison import imagenet_top1
from vgg_demo.errors import ModelError
from vgg_demo.files.archives import UPLOAD_SUFFIXES
from vgg_demo.images.decode import SUFFIXES
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import DEFAULT_MODEL, EMBEDDED_MODEL, MODELS, ModelSpec
from vgg_demo.ui.batch.results import show_results
from vgg_demo.ui.batch.run import MAX_BYTES, MAX_PHOTOS, BatchRun, start_batch
from vgg_demo.ui.components.code_snippets import batch_request, describe_private_models, show_code
from vgg_demo.ui.components.options import choose_settings
from vgg_demo.ui.components.text import count_photos
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.session.browser import announce
from vgg_demo.ui.session.visitor import release_uploads

MAX_MODELS = 3
REQUESTED_MODELS = "batch_models_requested"  # session key: model names in the URL
CODE_NOTE = (
    "An API request accepts a few photos and one model; the command line accepts any number of "
    "photos, folders and archives."
)
UPDATE_SECONDS = 0.2  # between updates of the progress bar, since each one delays the batch

FILES, FOLDER = "Photos or archives", "Folder"


def main() -> None:
    st.title("Classify many photos", anchor=False)
    st.markdown(
        "Upload photos, a folder or an archive, then browse and download the results. If file or "
        "folder names contain labels, you also see how accurate the models are."
    )
    upload_column, model_column = st.columns([5, 6], gap="medium")
    with upload_column:
        uploads = show_uploader()
    with model_column:
        specs = choose_models()
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            button_place = st.container(width="content")
            resize, top = choose_settings()
            if specs:
                request = batch_request(specs, resize, top)
                show_code(request, CODE_NOTE, warning=describe_private_models(specs))
        with button_place:
            show_start_button(uploads, specs, resize)
    run: BatchRun | None = st.session_state.get("batch")
    live_region = st.container()
    if run is None:
        action = "Click “Classify photos”" if uploads else "Upload photos"
        st.caption(f"Results appear here. {action} to start.")
    elif not run.is_done:
        process_batch(run)
    if run is not None and run.is_done:
        show_results(run, top)
    with live_region:
        announce(f"Done: {count_photos(run.count)}" if run is not None and run.is_done else "")


def show_uploader() -> list[UploadedFile]:
    """Shows the uploader and returns the uploaded files."""
    source = st.segmented_control(
        "Your photos", [FILES, FOLDER], default=FILES, required=True, key="batch_source"
    )
    generation = st.session_state.setdefault("batch_uploads", 0)
    files = st.file_uploader(
        "Upload photos",
        type=list(SUFFIXES) + (list(UPLOAD_SUFFIXES) if source == FILES else []),
        accept_multiple_files=True if source == FILES else "directory",
        key=f"batch-{source}-{generation}",
        label_visibility="collapsed",
    )
    st.caption(
        f":material/lock: Up to {MAX_PHOTOS} photos and {MAX_BYTES // 2**20} MB at a time. "
        "Your photos are never written to disk. After classification, only thumbnails stay in "
        "memory while this tab is open."
    )
    return list(files or ())


def choose_models() -> tuple[ModelSpec, ...]:
    """Shows the installed models and returns the selected ones."""
    models = available_models.get_models()
    installed = [name for name in models if available_models.is_available(models[name])]
    pretrained = [name for name in installed if name in MODELS]
    default = DEFAULT_MODEL if DEFAULT_MODEL in installed else max(pretrained, key=accuracy)
    is_first_run = "batch_models" not in st.session_state
    requested_names = available_models.requested_models(REQUESTED_MODELS, is_first_run=is_first_run)
    requested = [name for name in requested_names if name in installed][:MAX_MODELS]
    # Assign only a changed selection: a value assigned during an interrupted run is lost.
    is_assigned = bool(requested) and not is_first_run
    if is_assigned:
        st.session_state["batch_models"] = requested
    selected = st.pills(
        "Installed models",
        installed,
        selection_mode="multi",
        default=None if is_assigned else requested or [default],
        format_func=lambda name: escape(models[name].keras_name),
        key="batch_models",
        on_change=available_models.clear_requested_models,
        args=(REQUESTED_MODELS,),
        wrap=True,
    )
    if installed == [EMBEDDED_MODEL]:
        st.caption(
            "Only the built-in Mini-VGG (10 classes) is installed. Download other models on the "
            "Classify or Compare page."
        )
    return tuple(models[name] for name in installed if name in selected)


def accuracy(name: str) -> float:
    """Returns a model's published top-1 accuracy on ImageNet in percent; 0 if there is none."""
    return imagenet_top1(MODELS[name]) or 0.0


def show_start_button(
    uploads: list[UploadedFile], specs: tuple[ModelSpec, ...], resize: Resize
) -> None:
    """Shows the start button; if it is disabled, its tooltip gives the reason."""
    size_bytes = sum(file.size for file in uploads)
    reason = ""
    if not uploads and "batch" in st.session_state:
        reason = "Upload the photos again to classify them with another model."
    elif not uploads:
        reason = "Upload photos first."
    elif not specs:
        reason = "Select a model."
    elif len(specs) > MAX_MODELS:
        reason = f"Select at most {MAX_MODELS} models."
    elif size_bytes > MAX_BYTES:
        reason = (
            f"These files are {size_bytes / 2**20:,.0f} MB in total; the limit is "
            f"{MAX_BYTES // 2**20} MB. Remove some, or use the command line: vgg-demo batch."
        )
        st.error(reason, icon=":material/error:")
    st.button(
        "Classify photos",
        type="primary",
        icon=":material/play_arrow:",
        on_click=start,
        args=(uploads, specs, resize),
        disabled=bool(reason),
        key="batch_start",
        help=reason or None,
    )


def start(uploads: list[UploadedFile], specs: tuple[ModelSpec, ...], resize: Resize) -> None:
    """Starts a batch and clears the uploader; the batch holds the files."""
    discard_batch()
    settings, store = caches.get_settings(), caches.get_store()
    files = [(file.name, file) for file in uploads]
    st.session_state["batch"] = start_batch(files, specs, resize, store, settings.limits)
    st.session_state["batch_uploads"] += 1
    release_uploads(uploads)
    st.session_state["batch_page"] = 1
    st.session_state.pop("batch_class", None)


def cancel() -> None:
    """Stops the batch and keeps the finished results."""
    run: BatchRun = st.session_state["batch"]
    run.stop()


def discard_batch() -> None:
    """Stops the current batch, if any, and removes its results."""
    run: BatchRun | None = st.session_state.pop("batch", None)
    if run is not None:
        run.stop()


def process_batch(run: BatchRun) -> None:
    """Processes a batch and shows its progress, then reruns the page."""
    progress_bar = st.empty()
    progress_bar.progress(0.0, "Loading models …")
    st.button("Cancel", icon=":material/stop_circle:", on_click=cancel)
    updated = 0.0
    try:
        for spec in run.specs:  # before timing starts, so that loading does not count
            with caches.get_store().use(spec):
                pass
        for _ in run.process():
            if time.monotonic() - updated > UPDATE_SECONDS:
                updated = time.monotonic()
                progress_bar.progress(*describe_progress(run))
    except ModelError as error:
        run.stop()
        st.error(escape(error), icon=":material/error:")
        return
    st.rerun()


def describe_progress(run: BatchRun) -> tuple[float, str]:
    """Returns the finished fraction of a batch, in [0, 1], and a description."""
    text = count_photos(run.count)
    fraction = 0.0
    if run.total:
        total = min(run.total, MAX_PHOTOS)
        fraction = min(1.0, run.count / total)
        text = f"{run.count} of {count_photos(total)}"
    text += f", {run.per_second:.1f} per second"
    if run.total and run.per_second:
        text += f", {(min(run.total, MAX_PHOTOS) - run.count) / run.per_second:.0f} s left"
    if run.failures:
        text += f"; {len(run.failures)} unusable"
    return fraction, text


main()
