"""What can be done with a model that was taught."""

from __future__ import annotations

import io
from pathlib import Path

import streamlit as st

from vgg_demo.errors import BundleError
from vgg_demo.models.bundle import Bundle
from vgg_demo.models.bundle_archive import pack_into, publish
from vgg_demo.training.jobs.run import TrainingResult, TrainingRun
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.train.exports import show_exports_menu
from vgg_demo.ui.train.inspection import act

MAX_PUBLISHED = 50  # models that visitors may keep on the server


def show_uses(run: TrainingRun, result: TrainingResult) -> None:
    """Offers what can be done with the model."""
    spec = result.bundle.spec
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button(
            "Use it", type="primary", icon=":material/image_search:", key="train_classify"
        ):
            st.switch_page("classify.py", query_params={"model": spec.name})
        if st.button("Compare it", icon=":material/compare:", key="train_compare"):
            models = f"{spec.name},{run.job.backbone}"
            st.switch_page("compare.py", query_params={"models": models})
        if st.button("Many photos", icon=":material/photo_library:", key="train_batch"):
            st.switch_page("batch.py", query_params={"models": spec.name})
        st.download_button(
            "Download",
            lambda: packed(result.bundle),
            file_name=f"{run.name}.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            help="The bundle: network, labels, and how it came about. The command line takes it "
            "(`teach unpack`), and up to 200 MB so does this page.",
        )
        show_exports_menu(run)
        show_publish_form(run, result.bundle)


def packed(bundle: Bundle) -> bytes:
    assert bundle.spec.custom is not None  # noqa: S101  # what a bundle is
    buffer = io.BytesIO()
    pack_into(bundle.spec.custom.bundle, buffer)
    return buffer.getvalue()


def show_publish_form(run: TrainingRun, bundle: Bundle) -> None:
    if not available_models.may_publish():
        return
    if kept := published_name(bundle):
        st.markdown(f":material/check: Kept on this server as “{escape(kept)}”", width="content")
        return
    settings = caches.get_settings()
    with st.popover("Keep on this server", icon=":material/save:"):
        st.markdown(
            "Until now only you can use it, and it goes with this server's process. Kept, it "
            "stays, and **everybody who uses this server can use it** and sees its name and the "
            "names of its kinds. Your photos are not in it."
        )
        name = st.text_input("Name", value=run.name, max_chars=40, key=f"keep-{run.id}")
        if st.button("Keep it", type="primary", key=f"keep-it-{run.id}"):
            act(publish_bundle, bundle, settings.bundles_dir, name)
        if available_models.is_local():  # where folders are is nobody else's business
            st.caption(f"In {escape(settings.bundles_dir)}.")


def published_name(bundle: Bundle) -> str:
    """Returns the name under which a model is kept on the server; empty if it is not."""
    digest = bundle.spec.name.rpartition("@")[2]
    kept = (name.rpartition("@") for name in available_models.published_names())
    return next((name for name, _, other in kept if other == digest), "")


def publish_bundle(bundle: Bundle, bundles_dir: Path, name: str) -> None:
    if len(available_models.published_names()) >= MAX_PUBLISHED:
        raise BundleError(
            f"{MAX_PUBLISHED} models are kept on this server; that is the limit. Its owner can take "
            f"some out of {bundles_dir}."
        )
    publish(bundle, bundles_dir, name)
