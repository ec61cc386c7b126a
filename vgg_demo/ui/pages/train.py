"""The page on which a network is taught a visitor's own kinds of things."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from vgg_demo.errors import BusyError, WeightsDownloadError, WeightsMissingError
from vgg_demo.settings import TrainingAccess
from vgg_demo.training.data import InspectedDataset
from vgg_demo.training.jobs.run import Stage, TrainingRun
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.session.browser import announce, scroll_here
from vgg_demo.ui.session.visitor import release_uploads
from vgg_demo.ui.train.class_folders import change_photos, forget_class_folders, note_run
from vgg_demo.ui.train.contact_sheet import get_view, show_sheet
from vgg_demo.ui.train.inspection import MAX_BYTES, Inspection, act, leave_photos
from vgg_demo.ui.train.progress import show_learning, watch
from vgg_demo.ui.train.results import show_results
from vgg_demo.ui.train.review import review
from vgg_demo.ui.train.settings import Plan, choose_plan, show_command
from vgg_demo.ui.train.uploads import show_photo_sources

UPDATE_SECONDS = 0.2  # between two drawings of the progress: each takes time from the work
MAX_BUNDLE_BYTES = 200 * 2**20  # as `maxUploadSize` in .streamlit/config.toml
MAX_NAME_LENGTH = 36  # of a name, before a number behind it
NEW = ""
NOT_HERE = (WeightsDownloadError.__name__, WeightsMissingError.__name__)


def main() -> None:
    st.title("Teach it your own things", anchor=False)
    st.markdown(
        "Give photos of what you want told apart: your mugs, your dogs, kinds of clothing. A "
        "network learns it, mostly in a minute; you see where it fails, and can use it everywhere "
        "here."
    )
    if caches.get_settings().training_access is TrainingAccess.OFF:
        st.info(
            "Teaching is switched off on this server. On your own machine it is there.",
            icon=":material/school:",
        )
        return
    with st.container(gap=None):  # nobody sees what is in it
        available_models.restore_runs()
        spoken = st.container()
        arrival = st.container()
    run = choose_run()
    with arrival:
        scroll_here(f"{run.id} {run.stage.is_over}" if run is not None else "")
    if error := st.session_state.pop("train_error", ""):
        st.error(escape(error), icon=":material/error:")
    if run is None:
        begin_new()
    else:
        show_run(run)
    with spoken:
        announce(describe_run(run) if run is not None else "")


def choose_run() -> TrainingRun | None:
    """Offers the visitor's trainings. Returns the chosen one, or None for a new one."""
    runs = {run.id: run for run in available_models.visitor_runs()}
    if not runs:
        return None
    # The session's own note, since a widget's state goes when another page is looked at.
    shown = st.session_state.get("train_shown", NEW)
    st.session_state["train_run"] = shown if shown in runs else NEW
    names = describe_runs(list(runs.values()))
    chosen = st.pills(
        "Your models",
        [*runs, NEW],
        format_func=lambda run_id: names[run_id],
        required=True,
        key="train_run",
        on_change=lambda: show(st.session_state["train_run"]),
    )
    return runs.get(chosen or NEW)


def show(run_id: str) -> None:
    st.session_state["train_shown"] = run_id


def describe_runs(runs: Sequence[TrainingRun]) -> dict[str, str]:
    """Returns what runs are called, each otherwise: what looks the same would be the same."""
    names = {NEW: ":material/add: New"}
    called = Counter[str]()
    for run in reversed(runs):  # the oldest keeps its name
        called[run.name] += 1
        which = f" ({called[run.name]})" if called[run.name] > 1 else ""
        right = ""
        if run.result is not None:
            right = f" · {run.result.validation_report.evaluation.top1.value:.0%} right"
        names[run.id] = escape(run.name) + which + right
    return names


def begin_new() -> None:
    """Photos in, what was found in them, and how to teach."""
    inspection: Inspection | None = st.session_state.get("train_inspection")
    if inspection is None:
        show_photo_sources()
        show_bundle_upload()
        return
    if inspection.samples:
        st.button("Change the photos", icon=":material/arrow_back:", on_click=change_photos)
    else:
        st.button("Other photos", icon=":material/arrow_back:", on_click=leave_photos)
    if not inspection.is_done:
        look(inspection)
    if inspection.was_cut:
        st.warning(
            f"Only the first {inspection.count:,} photos were taken: the limit is "
            f"{MAX_BYTES // 2**20} MB of photos, unpacked.",
            icon=":material/content_cut:",
        )
    inspected = review(inspection)
    if inspected is None:
        return
    sheet = st.container()
    st.header("How it is taught", anchor=False)
    plan = choose_plan(free_name(inspection.title))
    with sheet:
        show_sheet(inspected, inspection, plan.backbone, plan.recipe.views)
    with st.container(horizontal=True):
        if st.button("Teach it", type="primary", icon=":material/school:", key="train_start"):
            act(start, plan, inspected, inspection)
        show_command(plan)


def free_name(title: str) -> str:
    """Returns a name for a model that none of the visitor's has yet."""
    taken = {run.name for run in available_models.visitor_runs()}
    wanted = title or "my model"
    more = (f"{wanted[:MAX_NAME_LENGTH]} {number}" for number in count(2))
    return next(name for name in chain([wanted], more) if name not in taken)


def look(inspection: Inspection) -> None:
    """Looks at photos while it is watched."""
    place = st.empty()
    total, drawn = len(inspection.dataset.photos), 0.0
    place.progress(0.0, "Looking at the photos …")
    for _ in inspection.work():
        if time.monotonic() - drawn > UPDATE_SECONDS:
            drawn = time.monotonic()
            words = f"Looking at the photos, {inspection.count:,} of {total:,} …"
            place.progress(inspection.count / total, words)
    st.rerun()


def start(plan: Plan, inspected: InspectedDataset, inspection: Inspection) -> None:
    for going in available_models.visitor_runs():
        if not going.stage.is_over:
            raise BusyError(
                f"“{going.name}” is still being taught. Wait for it, or stop it first.",
                retry_seconds=10,
            )
    run = caches.get_training_queue().start(
        plan.name, plan.backbone.name, plan.feature_layer, plan.recipe, inspected
    )
    st.session_state["runs"].insert(0, run.id)
    inspection.runs.append(run.id)
    if inspection.samples:
        note_run(run.id)
    show(run.id)


def show_run(run: TrainingRun) -> None:
    if not run.stage.is_over:
        watch(run)
    elif run.result is not None:
        show_results(run, run.result)
    else:
        show_end(run)
    if run.stage.is_over:
        with st.container(horizontal=True):
            if st.session_state.get("train_inspection") is not None:
                st.button(
                    "Teach again, other settings",
                    icon=":material/replay:",
                    on_click=show,
                    args=(NEW,),
                )
            with st.popover("Forget it", icon=":material/delete:", type="tertiary"):
                st.markdown(
                    "This training, its model and its photos are taken from the server. What you "
                    "kept or downloaded is not, nor are photos that another training of yours has, "
                    "too."
                )
                st.button("Forget all of it", on_click=forget, args=(run,), key="train_delete")


def show_end(run: TrainingRun) -> None:
    """Shows a training that ended without a model."""
    if run.stage is Stage.STOPPED:
        st.warning(
            "It was stopped before there was anything to keep.",
            icon=":material/stop_circle:",
        )
    else:
        st.error(escape(run.error), title="The training ended", icon=":material/error:")
    if run.error_kind in NOT_HERE:
        st.markdown(
            "Mini-VGG comes with this program and needs no download: choose it as the network to "
            "build on. It sees less, since it looks at 32 × 32 pixels."
        )
    if run.can_resume:
        st.markdown(
            "The best so far is kept. A model can be made of it, or you teach anew: what the "
            "network said of your photos need not be computed again."
        )
        st.button(
            "Make a model of the best so far",
            type="primary",
            icon=":material/restore:",
            on_click=caches.get_training_queue().resume,
            args=(run,),
            key="train_resume",
        )
    show_learning(run)


def forget(run: TrainingRun) -> None:
    """Lets go of a training, and of the photos in hand if it was taught from them."""
    caches.get_training_queue().forget(run)
    ids: list[str] = st.session_state["runs"]
    if run.id in ids:  # else this is a second click
        ids.remove(run.id)
    inspection: Inspection | None = st.session_state.get("train_inspection")
    if inspection is not None and run.id in inspection.runs:
        leave_photos()
    forget_class_folders(run.id)
    get_view.clear()


def describe_run(run: TrainingRun) -> str:
    """Says how a training stands, for screen readers."""
    if run.result is not None:
        return (
            f"{run.name} is ready: {run.result.validation_report.evaluation.top1.value:.0%} right."
        )
    if run.stage is Stage.WAITING:
        return f"{run.name} waits for its turn."
    ended, goes_on = f"{run.name} ended without a model.", f"{run.name} is being taught."
    return ended if run.stage.is_over else goes_on


def show_bundle_upload() -> None:
    """Takes a taught model that was downloaded here or elsewhere."""
    with st.expander("You have a model already?", icon=":material/upload_file:"):
        st.markdown(
            "Give its bundle, the ZIP that “Download” gives. Of its network only the numbers are "
            "read: what else a stranger may have written there is not run."
        )
        generation = st.session_state.setdefault("train_bundles", 0)
        upload = st.file_uploader(
            "Bundle", type=["zip"], key=f"bundle-{generation}", label_visibility="collapsed"
        )
        if upload is not None and st.button("Use it", key="train_open"):
            act(take_bundle, upload)
        for spec in available_models.opened_models().values():
            st.markdown(
                f":material/check: **{escape(spec.keras_name)}** is on all pages, for you. "
                f"It knows {len(spec.classes)} kinds. SHA-256 of its network: "
                f"`{spec.weights.hash}`"
            )


def take_bundle(upload: UploadedFile) -> None:
    bundle = caches.get_training_queue().open_archive(upload.name, upload, MAX_BUNDLE_BYTES)
    available_models.opened_models()[bundle.spec.name] = bundle.spec
    release_uploads([upload])
    st.session_state["train_bundles"] += 1


main()
