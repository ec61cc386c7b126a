"""The Train page: trains a custom model on the visitor's photos."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from vgg_demo.errors import BusyError, WeightsDownloadError, WeightsMissingError
from vgg_demo.settings import TrainingAccess
from vgg_demo.training.jobs.training_run import Stage, TrainingRun
from vgg_demo.training.records import InspectedDataset
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.session.browser import announce, scroll_into_view
from vgg_demo.ui.session.visitor import release_uploads
from vgg_demo.ui.train.class_folders import change_photos, delete_class_folders, link_run
from vgg_demo.ui.train.contact_sheet import get_view, show_contact_sheet
from vgg_demo.ui.train.inspection import (
    MAX_BYTES,
    Inspection,
    call_and_rerun,
    discard_inspection,
)
from vgg_demo.ui.train.progress import show_training_curves, watch
from vgg_demo.ui.train.results import show_results
from vgg_demo.ui.train.review import review
from vgg_demo.ui.train.settings import Plan, choose_plan, show_command
from vgg_demo.ui.train.uploads import show_photo_sources

UPDATE_SECONDS = 0.2  # between progress updates, since each one slows down the inspection
MAX_BUNDLE_BYTES = 200 * 2**20  # same as `maxUploadSize` in .streamlit/config.toml
MAX_NAME_LENGTH = 36  # characters of a model name, without the number added to make it unique
NEW = ""  # stands for a new training run in place of a run ID
MISSING_WEIGHTS_ERRORS = (WeightsDownloadError.__name__, WeightsMissingError.__name__)


def main() -> None:
    st.title("Train your own model", anchor=False)
    st.markdown(
        "Upload photos of your own classes and train a classifier on top of a pretrained model, "
        "usually in about a minute. Then review its mistakes and use it on every page."
    )
    if caches.get_settings().training_access is TrainingAccess.OFF:
        st.info(
            "Training is disabled on this server. Run VGG Demo on your own computer to train a "
            "model.",
            icon=":material/school:",
        )
        return
    with st.container(gap=None):  # holds only invisible elements
        available_models.restore_runs()
        live_region = st.container()
        scroll_target = st.container()
    run = choose_run()
    with scroll_target:
        scroll_into_view(f"{run.id} {run.stage.is_over}" if run is not None else "")
    if error := st.session_state.pop("train_error", ""):
        st.error(escape(error), icon=":material/error:")
    if run is None:
        show_new_run()
    else:
        show_run(run)
    with live_region:
        announce(describe_run(run) if run is not None else "")


def choose_run() -> TrainingRun | None:
    """Shows the visitor's training runs. Returns the selected one, or None for a new one."""
    runs = {run.id: run for run in available_models.visitor_runs()}
    if not runs:
        return None
    # Streamlit drops a widget's state when the visitor opens another page, so the session keeps
    # its own copy.
    selected = st.session_state.get("train_shown", NEW)
    st.session_state["train_run"] = selected if selected in runs else NEW
    names = name_runs(list(runs.values()))
    chosen = st.pills(
        "Your models",
        [*runs, NEW],
        format_func=lambda run_id: names[run_id],
        required=True,
        key="train_run",
        on_change=lambda: select_run(st.session_state["train_run"]),
    )
    return runs.get(chosen or NEW)


def select_run(run_id: str) -> None:
    st.session_state["train_shown"] = run_id


def name_runs(runs: Sequence[TrainingRun]) -> dict[str, str]:
    """Returns a unique display name for each run ID, since `st.pills` merges equal options.

    Args:
        runs: The runs, newest first. Runs of the same name are numbered, oldest first.
    """
    names = {NEW: ":material/add: New"}
    name_counts = Counter[str]()
    for run in reversed(runs):
        name_counts[run.name] += 1
        suffix = f" ({name_counts[run.name]})" if name_counts[run.name] > 1 else ""
        accuracy = ""
        if run.result is not None:
            accuracy = f" · {run.result.validation_report.evaluation.top1.value:.0%} accuracy"
        names[run.id] = escape(run.name) + suffix + accuracy
    return names


def show_new_run() -> None:
    """Shows the steps of a new training run: photos, inspection, settings."""
    inspection: Inspection | None = st.session_state.get("train_inspection")
    if inspection is None:
        show_photo_sources()
        show_bundle_upload()
        return
    if inspection.samples:
        st.button("Change photos", icon=":material/arrow_back:", on_click=change_photos)
    else:
        st.button("Choose other photos", icon=":material/arrow_back:", on_click=discard_inspection)
    if not inspection.is_done:
        inspect(inspection)
    if inspection.is_truncated:
        st.warning(
            f"Only the first {inspection.count:,} photos were loaded: the limit is "
            f"{MAX_BYTES // 2**20} MB of unpacked photos.",
            icon=":material/content_cut:",
        )
    inspected = review(inspection)
    if inspected is None:
        return
    contact_sheet = st.container()
    st.header("Training settings", anchor=False)
    plan = choose_plan(unused_name(inspection.title))
    with contact_sheet:
        show_contact_sheet(inspected, inspection, plan.backbone, plan.recipe.views)
    with st.container(horizontal=True):
        if st.button("Train", type="primary", icon=":material/school:", key="train_start"):
            call_and_rerun(start, plan, inspected, inspection)
        show_command(plan)


def unused_name(title: str) -> str:
    """Returns a model name that the visitor does not use yet."""
    used = {run.name for run in available_models.visitor_runs()}
    base = title or "my model"
    numbered = (f"{base[:MAX_NAME_LENGTH]} {number}" for number in count(2))
    return next(name for name in chain([base], numbered) if name not in used)


def inspect(inspection: Inspection) -> None:
    """Inspects photos and shows the progress, then reruns the page."""
    bar = st.empty()
    total, updated = len(inspection.dataset.photos), 0.0
    bar.progress(0.0, "Inspecting photos …")
    for _ in inspection.steps():
        if time.monotonic() - updated > UPDATE_SECONDS:
            updated = time.monotonic()
            text = f"Inspecting photos: {inspection.count:,} of {total:,} …"
            bar.progress(inspection.count / total, text)
    st.rerun()


def start(plan: Plan, inspected: InspectedDataset, inspection: Inspection) -> None:
    """Starts a training run.

    Raises:
        BusyError: If another run of this visitor is not over yet.
    """
    for other in available_models.visitor_runs():
        if not other.stage.is_over:
            raise BusyError(
                f"“{other.name}” is still training. Wait until it finishes, or stop it first.",
                retry_seconds=10,
            )
    run = caches.get_training_queue().start(
        plan.name, plan.backbone.name, plan.feature_layer, plan.recipe, inspected
    )
    st.session_state["runs"].insert(0, run.id)
    inspection.run_ids.append(run.id)
    if inspection.samples:
        link_run(run.id)
    select_run(run.id)


def show_run(run: TrainingRun) -> None:
    if not run.stage.is_over:
        watch(run)
    elif run.result is not None:
        show_results(run, run.result)
    else:
        show_failure(run)
    if run.stage.is_over:
        with st.container(horizontal=True):
            if st.session_state.get("train_inspection") is not None:
                st.button(
                    "Train again with other settings",
                    icon=":material/replay:",
                    on_click=select_run,
                    args=(NEW,),
                )
            else:
                st.caption("Upload the photos again to train with other settings.", width="content")
            with st.popover("Delete", icon=":material/delete:", type="tertiary"):
                st.markdown(
                    "This deletes the training run, its model and its photos from the server. "
                    "Published or downloaded copies of the model are kept, and so are photos that "
                    "your other training runs use."
                )
                st.button("Delete permanently", on_click=delete, args=(run,), key="train_delete")


def show_failure(run: TrainingRun) -> None:
    """Shows a training run that ended without a model."""
    if run.stage is Stage.STOPPED:
        st.warning(
            "Training was stopped before it produced a model.",
            icon=":material/stop_circle:",
        )
    else:
        st.error(escape(run.error), title="Training failed", icon=":material/error:")
    if run.error_type in MISSING_WEIGHTS_ERRORS:
        st.markdown(
            "Mini-VGG is included and needs no download: select it as the backbone. Its input is "
            "only 32 × 32 pixels, so it captures less detail."
        )
    if run.can_resume:
        st.markdown(
            "The best checkpoint was saved. Create a model from it, or train again: the features "
            "of your photos are cached, so training again is faster."
        )
        st.button(
            "Create model from best checkpoint",
            type="primary",
            icon=":material/restore:",
            on_click=caches.get_training_queue().resume,
            args=(run,),
            key="train_resume",
        )
    show_training_curves(run)


def delete(run: TrainingRun) -> None:
    """Deletes a training run, and the current photos if it was trained on them."""
    caches.get_training_queue().delete(run)
    ids: list[str] = st.session_state["runs"]
    if run.id in ids:  # not on a second click
        ids.remove(run.id)
    inspection: Inspection | None = st.session_state.get("train_inspection")
    if inspection is not None and run.id in inspection.run_ids:
        discard_inspection()
    delete_class_folders(run.id)
    get_view.clear()


def describe_run(run: TrainingRun) -> str:
    """Describes the state of a training run in one sentence for screen readers."""
    if run.result is not None:
        accuracy = run.result.validation_report.evaluation.top1.value
        return f"{run.name} is ready: {accuracy:.0%} validation accuracy."
    if run.stage is Stage.WAITING:
        return f"{run.name} is queued."
    if run.stage.is_over:
        return f"{run.name} ended without a model."
    return f"{run.name} is training."


def show_bundle_upload() -> None:
    """Shows an upload form for the bundle of a model trained earlier or elsewhere."""
    with st.expander("Upload a trained model", icon=":material/upload_file:"):
        st.markdown(
            "Upload a bundle: the ZIP file from “Download”. Only the weights are read from its "
            "model file; code in the file never runs."
        )
        generation = st.session_state.setdefault("train_bundles", 0)
        upload = st.file_uploader(
            "Bundle", type=["zip"], key=f"bundle-{generation}", label_visibility="collapsed"
        )
        if upload is not None and st.button("Add model", key="train_open"):
            call_and_rerun(add_bundle, upload)
        for spec in available_models.opened_models().values():
            st.markdown(
                f":material/check: **{escape(spec.keras_name)}** ({len(spec.classes)} classes) is "
                "now available to you on every page. SHA-256 of the model file: "
                f"`{spec.weights.hash}`"
            )


def add_bundle(upload: UploadedFile) -> None:
    bundle = caches.get_training_queue().open_archive(upload.name, upload, MAX_BUNDLE_BYTES)
    available_models.opened_models()[bundle.spec.name] = bundle.spec
    release_uploads([upload])
    st.session_state["train_bundles"] += 1


main()
