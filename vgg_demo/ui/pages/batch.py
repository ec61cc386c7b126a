"""The page for many photos at once."""

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
from vgg_demo.ui.batch.run import MAX_BYTES, MAX_PHOTOS, BatchRun, begin
from vgg_demo.ui.components.code_snippets import batch_request, describe_private_models, show_code
from vgg_demo.ui.components.options import choose_settings
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.session.browser import announce
from vgg_demo.ui.session.visitor import release_uploads

MAX_MODELS = 3
ASKED = "batch_asked"
CODE_NOTE = (
    "A request takes some photos and one network; the command line any number of photos, folders "
    "and archives."
)
UPDATE_SECONDS = 0.2  # between two drawings of the progress: each takes time from the work

FILES, FOLDER = "Photos or archives", "A folder"


def main() -> None:
    st.title("What is on all these photos?", anchor=False)
    st.markdown(
        "Give many photos, a folder or an archive. You get a table to sort, filter and take away; "
        "where file or folder names tell what is on the photos, also how often the networks are "
        "right."
    )
    uploading, choosing = st.columns([5, 6], gap="medium")
    with uploading:
        uploads = show_uploader()
    with choosing:
        specs = choose_models()
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            place = st.container(width="content")
            resize, top = choose_settings()
            if specs:
                note = " ".join((CODE_NOTE, describe_private_models(specs)))
                show_code(batch_request(specs, resize, top), note)
        with place:
            show_start_button(uploads, specs, resize)
    run: BatchRun | None = st.session_state.get("batch")
    spoken = st.container()
    if run is None:
        st.caption("The results will stand here.")
    elif not run.is_done:
        run_batch(run)
    if run is not None and run.is_done:
        show_results(run, top)
    with spoken:
        announce(f"{run.count} photos are done." if run is not None and run.is_done else "")


def show_uploader() -> list[UploadedFile]:
    """Shows the uploader. Returns what is in it."""
    kind = st.segmented_control(
        "Your photos", [FILES, FOLDER], default=FILES, required=True, key="batch_source"
    )
    generation = st.session_state.setdefault("batch_uploads", 0)
    files = st.file_uploader(
        "Upload photos",
        type=list(SUFFIXES) + (list(UPLOAD_SUFFIXES) if kind == FILES else []),
        accept_multiple_files=True if kind == FILES else "directory",
        key=f"batch-{kind}-{generation}",
        label_visibility="collapsed",
    )
    st.caption(
        f":material/lock: Up to {MAX_PHOTOS} photos and {MAX_BYTES // 2**20} MB at a time. "
        "Nothing is written to disk. When the networks have looked, only small copies stay in "
        "memory, while this tab is open."
    )
    return list(files or ())


def choose_models() -> tuple[ModelSpec, ...]:
    """Offers the networks that are on this machine."""
    models = available_models.get_models()
    here = [name for name in models if available_models.is_available(models[name])]
    known = [name for name in here if name in MODELS]
    preferred = DEFAULT_MODEL if DEFAULT_MODEL in here else max(known, key=accuracy)
    named = available_models.asked_models(ASKED, is_opened="batch_models" not in st.session_state)
    asked = [name for name in named if name in here][:MAX_MODELS]
    # Given only where it shows others: what is given while a run is interrupted gets lost.
    is_given = bool(asked) and "batch_models" in st.session_state
    if is_given:
        st.session_state["batch_models"] = asked
    chosen = st.pills(
        "Networks on this machine",
        here,
        selection_mode="multi",
        default=None if is_given else asked or [preferred],
        format_func=lambda name: escape(models[name].keras_name),
        key="batch_models",
        on_change=available_models.choose_others,
        args=(ASKED,),
        wrap=True,
    )
    if here == [EMBEDDED_MODEL]:
        st.caption(
            "Only the small built-in Mini-VGG is here, which knows ten things. On the pages "
            "Classify and Compare others can be downloaded."
        )
    return tuple(models[name] for name in here if name in chosen)


def accuracy(name: str) -> float:
    """Returns a network's published accuracy on ImageNet, as far as there is one."""
    return imagenet_top1(MODELS[name]) or 0.0


def show_start_button(
    uploads: list[UploadedFile], specs: tuple[ModelSpec, ...], resize: Resize
) -> None:
    """Offers to begin, or says what is missing."""
    size_bytes = sum(file.size for file in uploads)
    reason = ""
    if not uploads:
        reason = "Give some photos first."
    elif not specs:
        reason = "Choose a network."
    elif len(specs) > MAX_MODELS:
        reason = f"Choose up to {MAX_MODELS} networks."
    elif size_bytes > MAX_BYTES:
        reason = (
            f"These files have {size_bytes / 2**20:,.0f} MB; the limit is "
            f"{MAX_BYTES // 2**20} MB at a time. Take some out, or use the command line: "
            "vgg-demo batch."
        )
        st.error(reason, icon=":material/error:")
    st.button(
        "Look at them",
        type="primary",
        icon=":material/play_arrow:",
        on_click=start,
        args=(uploads, specs, resize),
        disabled=bool(reason),
        key="batch_start",
        help=reason or None,
    )


def start(uploads: list[UploadedFile], specs: tuple[ModelSpec, ...], resize: Resize) -> None:
    """Begins a batch, and empties the uploader: the batch has the files."""
    forget()
    settings, store = caches.get_settings(), caches.get_store()
    named = [(file.name, file) for file in uploads]
    st.session_state["batch"] = begin(named, specs, resize, store, settings.limits)
    st.session_state["batch_uploads"] += 1
    release_uploads(uploads)
    st.session_state["batch_page"] = 1
    st.session_state.pop("batch_kind", None)


def cancel() -> None:
    """Keeps what is done."""
    run: BatchRun = st.session_state["batch"]
    run.end()


def forget() -> None:
    run: BatchRun | None = st.session_state.pop("batch", None)
    if run is not None:
        run.end()


def run_batch(run: BatchRun) -> None:
    """Works a batch off while it is watched."""
    place = st.empty()
    place.progress(0.0, "Getting the networks ready …")
    st.button("Cancel", icon=":material/stop_circle:", on_click=cancel)
    drawn = 0.0
    try:
        for spec in run.specs:  # what loading takes is not the rate of the photos
            with caches.get_store().use(spec):
                pass
        for _ in run.work():
            if time.monotonic() - drawn > UPDATE_SECONDS:
                drawn = time.monotonic()
                place.progress(*describe_progress(run))
    except ModelError as error:
        run.end()
        st.error(escape(error), icon=":material/error:")
        return
    st.rerun()


def describe_progress(run: BatchRun) -> tuple[float, str]:
    """Returns how far a batch is, in [0, 1], and the same in words."""
    words = f"{run.count} photos"
    fraction = 0.0
    if run.total:
        total = min(run.total, MAX_PHOTOS)
        fraction = min(1.0, run.count / total)
        words = f"{run.count} of {total} photos"
    words += f", {run.per_second:.1f} a second"
    if run.total and run.per_second:
        words += f", {(min(run.total, MAX_PHOTOS) - run.count) / run.per_second:.0f} s left"
    if run.failures:
        words += f"; {len(run.failures)} could not be used"
    return fraction, words


main()
