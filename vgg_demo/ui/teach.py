"""The page on which a network is taught a visitor's own kinds of things."""

from __future__ import annotations

import io
import time

import streamlit as st

from vgg_demo.errors import BundleError
from vgg_demo.settings import Teaching
from vgg_demo.teach.classroom import Run, Stage
from vgg_demo.teach.material import Checked
from vgg_demo.ui import shared
from vgg_demo.ui.live import remember, say, scroll_here
from vgg_demo.ui.teach_findings import review, show_sheet
from vgg_demo.ui.teach_looking import Looking, forget_photos, guarded
from vgg_demo.ui.teach_photos import offer_photos
from vgg_demo.ui.teach_results import show_results
from vgg_demo.ui.teach_run import show_learning, watch
from vgg_demo.ui.teach_settings import Plan, choose_plan, show_command

UPDATE_SECONDS = 0.2  # between two drawings of the progress: each takes time from the work
MOST_BUNDLE_BYTES = 300 * 10**6
NEW = ""


def main() -> None:
    st.title("Teach it your own things", anchor=False)
    st.markdown(
        "Give photos of what you want told apart: your mugs, your dogs, kinds of clothing. A "
        "network learns it, mostly in a minute; you see where it fails, and can use it everywhere "
        "here."
    )
    if shared.get_settings().teaching is Teaching.OFF:
        st.info(
            "Teaching is switched off on this server. On your own machine it is there.",
            icon=":material/school:",
        )
        return
    with st.container(gap=None):  # nobody sees what is in it
        come_back()
        spoken = st.container()
        arrival = st.container()
    run = choose_run()
    with arrival:
        scroll_here(f"{run.id} {run.stage.is_over}" if run is not None else "")
    if error := st.session_state.pop("teach_error", ""):
        st.error(shared.escape(error), icon=":material/error:")
    if run is None:
        begin_new()
    else:
        show_run(run)
    with spoken:
        say(run_words(run) if run is not None else "")


def come_back() -> None:
    """Finds the trainings that this browser has begun, in this window or an earlier one."""
    ids: list[str] = st.session_state.setdefault("runs", [])
    known = [run.id for run in shared.my_runs()]
    for run_id in remember(known):
        if run_id not in ids and shared.get_classroom().get(run_id) is not None:
            ids.append(run_id)
            st.session_state.setdefault("teach_run", run_id)


def choose_run() -> Run | None:
    """Offers the visitor's trainings. Returns the chosen one, or None for a new one."""
    runs = {run.id: run for run in shared.my_runs()}
    if not runs:
        return None
    if st.session_state.get("teach_run", NEW) not in runs:
        st.session_state["teach_run"] = NEW

    def describe(run_id: str) -> str:
        return "New" if run_id == NEW else runs[run_id].name

    chosen = st.pills(
        "Your models", [*runs, NEW], format_func=describe, required=True, key="teach_run"
    )
    return runs.get(chosen or NEW)


def begin_new() -> None:
    """Photos in, what was found in them, and how to teach."""
    looking: Looking | None = st.session_state.get("teach_photos")
    if looking is None:
        offer_photos()
        offer_bundle()
        return
    st.button("Other photos", icon=":material/arrow_back:", on_click=forget_photos)
    if not looking.is_done:
        look(looking)
    checked = review(looking)
    if checked is None:
        return
    sheet = st.container()
    st.header("How it is taught", anchor=False)
    plan = choose_plan(looking.title)
    with sheet:
        show_sheet(checked, plan.backbone, plan.recipe.views)
    with st.container(horizontal=True):
        st.button(
            "Teach it",
            type="primary",
            icon=":material/school:",
            on_click=guarded,
            args=(start, plan, checked, looking.data_bytes),
            key="teach_start",
        )
        show_command(plan)


def look(looking: Looking) -> None:
    """Looks at photos while it is watched."""
    place = st.empty()
    total, drawn = len(looking.dataset.photos), 0.0
    place.progress(0.0, "Looking at the photos …")
    for _ in looking.work():
        if time.monotonic() - drawn > UPDATE_SECONDS:
            drawn = time.monotonic()
            words = f"Looking at the photos, {looking.count:,} of {total:,} …"
            place.progress(looking.count / total, words)
    st.rerun()


def start(plan: Plan, checked: Checked, data_bytes: int) -> None:
    run = shared.get_classroom().start(
        plan.name, plan.backbone.name, plan.part, plan.recipe, checked, data_bytes
    )
    st.session_state["runs"].insert(0, run.id)
    st.session_state["teach_run"] = run.id


def show_run(run: Run) -> None:
    if not run.stage.is_over:
        watch(run)
    elif run.result is not None:
        show_results(run, run.result)
    else:
        show_end(run)
    if run.stage.is_over:
        with st.container(horizontal=True):
            if st.session_state.get("teach_photos") is not None:
                st.button(
                    "Teach again, other settings", icon=":material/replay:", on_click=choose_new
                )
            st.button(
                "Forget it",
                icon=":material/delete:",
                type="tertiary",
                on_click=forget,
                args=(run,),
                help="Takes this training, its model and its photos from the server; not what you "
                "kept or downloaded.",
            )


def show_end(run: Run) -> None:
    """Shows a training that ended without a model."""
    if run.stage is Stage.STOPPED:
        st.warning(
            "It was stopped before there was anything to keep. What the network said of your "
            "photos is kept, so that it is quicker the next time.",
            icon=":material/stop_circle:",
        )
    else:
        st.error(shared.escape(run.error), title="The training ended", icon=":material/error:")
    if run.can_go_on:
        st.markdown(
            "The best so far is kept. A model can be made of it, or you teach anew: what the "
            "network said of your photos need not be computed again."
        )
        st.button(
            "Make a model of the best so far",
            type="primary",
            icon=":material/restore:",
            on_click=shared.get_classroom().go_on,
            args=(run,),
            key="teach_go_on",
        )
    show_learning(run)


def choose_new() -> None:
    st.session_state["teach_run"] = NEW


def forget(run: Run) -> None:
    shared.get_classroom().forget(run)
    st.session_state["runs"].remove(run.id)


def run_words(run: Run) -> str:
    """Says how a training stands, for screen readers."""
    if run.result is not None:
        return f"{run.name} is ready: {run.result.judgement.evaluation.top1.value:.0%} right."
    return f"{run.name} ended without a model." if run.stage.is_over else f"{run.name} is taught."


def offer_bundle() -> None:
    """Takes a taught model that was downloaded here or elsewhere."""
    with st.expander("You have a model already?", icon=":material/upload_file:"):
        st.markdown(
            "Give its bundle, the ZIP that “Download” gives. Of its network only the numbers are "
            "read: what else a stranger may have written there is not run."
        )
        generation = st.session_state.setdefault("teach_bundles", 0)
        upload = st.file_uploader(
            "Bundle", type=["zip"], key=f"bundle-{generation}", label_visibility="collapsed"
        )
        if upload is not None:
            st.button(
                "Use it",
                on_click=guarded,
                args=(take_bundle, upload.name, upload.getvalue()),
                key="teach_open",
            )
        for spec in shared.opened_models().values():
            st.markdown(
                f":material/check: **{shared.escape(spec.keras_name)}** is on all pages, for you. "
                f"It knows {len(spec.classes)} kinds. SHA-256 of its network: "
                f"`{spec.weights.hash}`"
            )


def take_bundle(name: str, data: bytes) -> None:
    if len(data) > MOST_BUNDLE_BYTES:
        raise BundleError(
            f"The archive has {len(data) / 1e6:,.0f} MB; the limit is "
            f"{MOST_BUNDLE_BYTES / 1e6:,.0f} MB."
        )
    bundle = shared.get_classroom().open_archive(name, io.BytesIO(data), MOST_BUNDLE_BYTES)
    shared.opened_models()[bundle.spec.name] = bundle.spec
    st.session_state["teach_bundles"] += 1


main()
