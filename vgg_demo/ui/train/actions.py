"""Buttons that use, download, export or publish a trained model."""

from __future__ import annotations

import io
from pathlib import Path

import streamlit as st

from vgg_demo.errors import BundleError
from vgg_demo.models.bundle import Bundle
from vgg_demo.models.bundle_archive import pack_into, publish
from vgg_demo.training.jobs.training_run import TrainingResult, TrainingRun
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.train.exports import show_exports_menu
from vgg_demo.ui.train.inspection import call_and_rerun

MAX_PUBLISHED = 50  # models that visitors may publish on the server


def show_actions(run: TrainingRun, result: TrainingResult) -> None:
    """Shows a row of buttons for the trained model."""
    spec = result.bundle.spec
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button(
            "Classify", type="primary", icon=":material/image_search:", key="train_classify"
        ):
            st.switch_page("classify.py", query_params={"model": spec.name})
        if st.button("Compare", icon=":material/compare:", key="train_compare"):
            models = f"{spec.name},{run.job.backbone}"
            st.switch_page("compare.py", query_params={"models": models})
        if st.button("Batch", icon=":material/photo_library:", key="train_batch"):
            st.switch_page("batch.py", query_params={"models": spec.name})
        st.download_button(
            "Download",
            lambda: pack(result.bundle),
            file_name=f"{run.name}.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            help="The bundle: model, labels and training record. Use it on the command line "
            "(`vgg-demo bundle unpack`) or upload it on this page (up to 200 MB).",
        )
        show_exports_menu(run)
        show_publish_form(run, result.bundle)


def pack(bundle: Bundle) -> bytes:
    """Returns the bundle as a ZIP archive."""
    assert bundle.spec.custom is not None  # noqa: S101  # true for every bundle
    buffer = io.BytesIO()
    pack_into(bundle.spec.custom.bundle, buffer)
    return buffer.getvalue()


def show_publish_form(run: TrainingRun, bundle: Bundle) -> None:
    if not available_models.may_publish():
        return
    if published := published_name(bundle):
        st.markdown(f":material/check: Published as “{escape(published)}”", width="content")
        return
    settings = caches.get_settings()
    with st.popover("Publish", icon=":material/save:"):
        st.markdown(
            "Until you publish it, only you can use this model, and it is lost when the server "
            "restarts. A published model is kept and is **available to everyone who uses this "
            "server**, with its name and class names. Your photos are not included."
        )
        name = st.text_input("Name", value=run.name, max_chars=40, key=f"publish-name-{run.id}")
        if st.button("Publish model", type="primary", key=f"publish-{run.id}"):
            call_and_rerun(publish_bundle, bundle, settings.bundles_dir, name)
        if available_models.is_local():  # server paths are not shown to remote visitors
            st.caption(f"Folder: {escape(settings.bundles_dir)}")


def published_name(bundle: Bundle) -> str:
    """Returns the name under which a model is published on the server; empty if it is not."""
    digest = bundle.spec.name.rpartition("@")[2]
    published = (name.rpartition("@") for name in available_models.published_names())
    return next((name for name, _, published_digest in published if published_digest == digest), "")


def publish_bundle(bundle: Bundle, bundles_dir: Path, name: str) -> None:
    """Publishes a model for all visitors.

    Raises:
        BundleError: If the server already has `MAX_PUBLISHED` published models.
    """
    if len(available_models.published_names()) >= MAX_PUBLISHED:
        raise BundleError(
            f"{MAX_PUBLISHED} models are published on this server, which is the limit. The "
            f"server's operator can remove models from {bundles_dir}."
        )
    publish(bundle, bundles_dir, name)
