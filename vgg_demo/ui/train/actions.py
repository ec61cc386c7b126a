"""What can be done with a model that was taught."""

from __future__ import annotations

import io
from pathlib import Path

import streamlit as st

from vgg_demo.errors import BundleError
from vgg_demo.models.bundle import Bundle
from vgg_demo.models.bundle_archive import keep, pack_into
from vgg_demo.training.jobs.run import Result, Run
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.train.exports import offer_exports
from vgg_demo.ui.train.inspection import act

MOST_KEPT = 50  # models that visitors may keep on the server


def show_uses(run: Run, result: Result) -> None:
    """Offers what can be done with the model."""
    spec = result.bundle.spec
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("Use it", type="primary", icon=":material/image_search:", key="teach_use"):
            st.switch_page("classify.py", query_params={"model": spec.name})
        if st.button("Compare it", icon=":material/compare:", key="teach_compare"):
            models = f"{spec.name},{run.job.backbone}"
            st.switch_page("compare.py", query_params={"models": models})
        if st.button("Many photos", icon=":material/photo_library:", key="teach_many"):
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
        offer_exports(run)
        offer_keeping(run, result.bundle)


def packed(bundle: Bundle) -> bytes:
    assert bundle.spec.taught is not None  # noqa: S101  # what a bundle is
    buffer = io.BytesIO()
    pack_into(bundle.spec.taught.bundle, buffer)
    return buffer.getvalue()


def offer_keeping(run: Run, bundle: Bundle) -> None:
    if not available_models.may_keep():
        return
    if kept := kept_as(bundle):
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
            act(keep_here, bundle, settings.bundles_dir, name)
        if available_models.is_local():  # where folders are is nobody else's business
            st.caption(f"In {escape(settings.bundles_dir)}.")


def kept_as(bundle: Bundle) -> str:
    """Returns the name under which a model is kept on the server; empty if it is not."""
    digest = bundle.spec.name.rpartition("@")[2]
    kept = (name.rpartition("@") for name in available_models.kept_names())
    return next((name for name, _, other in kept if other == digest), "")


def keep_here(bundle: Bundle, bundles_dir: Path, name: str) -> None:
    if len(available_models.kept_names()) >= MOST_KEPT:
        raise BundleError(
            f"{MOST_KEPT} models are kept on this server; that is the limit. Its owner can take "
            f"some out of {bundles_dir}."
        )
    keep(bundle, bundles_dir, name)
