"""Model choice, and the status of a model that is not installed yet."""

from __future__ import annotations

import streamlit as st

from vgg_demo.errors import BundleError, UnknownModelError, WeightsMissingError
from vgg_demo.inference.background import Download, Status
from vgg_demo.models.registry import DEFAULT_MODEL, EMBEDDED_MODEL, ModelSpec, get_spec
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.session.warm_up import fetch_default_model
from vgg_demo.weights.local import check_weights_dir, manual_install_instructions


def choose_model() -> ModelSpec:
    """Shows the model list: installed models, then downloads; VGG16 first in each group.

    The URL contains the model's name as used on the command line. (A widget with
    `bind="query-params"` would write the displayed text instead.)

    Returns:
        The chosen model.
    """
    try:
        check_weights_dir(caches.get_settings())
    except WeightsMissingError as error:
        st.warning(escape(error), icon=":material/folder_off:")
    models = available_models.get_models()
    installed = [name for name in models if available_models.is_available(models[name])]
    names = sorted(models, key=lambda name: (name not in installed, name != DEFAULT_MODEL))
    if "model" not in st.session_state:
        st.session_state["requested_model"] = st.query_params.get("model", "")
    requested = requested_model(st.session_state["requested_model"])
    current = st.session_state.get("model")
    if current is not None and current not in models:
        st.warning(
            f"“{escape(current.partition('@')[0])}” was removed from this server. Choose "
            "another model.",
            icon=":material/link_off:",
        )
        requested = DEFAULT_MODEL
        st.query_params.pop("model", None)
    # The widget's value is set only if another model is requested or the displayed texts change,
    # because the browser identifies the selection by its text and would lose it.
    is_set = current is not None and (
        bool(requested) or st.session_state.get("installed") != installed
    )
    if is_set:
        st.session_state["model"] = requested or current
    st.session_state["installed"] = installed

    def describe(name: str) -> str:
        spec = models[name]
        if spec.custom is not None:
            return f"{spec.keras_name} · custom, {len(spec.classes)} classes"
        size = f"{spec.weights.size_bytes / 1e6:,.0f} MB download"
        return f"{spec.keras_name} · {'installed' if name in installed else size}"

    def write_url() -> None:
        st.session_state["requested_model"] = ""
        st.query_params["model"] = st.session_state["model"]

    name = st.selectbox(
        "Model",
        names,
        index=0 if is_set else names.index(requested or DEFAULT_MODEL),
        format_func=describe,
        key="model",
        on_change=write_url,
        width=320,
        help="Installed models come first, then models that can be downloaded.",
    )
    if requested:  # the widget has the value now
        st.session_state["requested_model"] = ""
    return models[name or DEFAULT_MODEL]


def requested_model(request: str) -> str:
    """Returns the full name of the model that the URL requested when the page was opened.

    Shows a warning if there is no such model. The name is then looked up again on each run,
    until the visitor chooses a model; see `available_models.requested_models`.

    Args:
        request: The name in the URL; empty if there is none, or after the model was found.

    Returns:
        The name; empty if nothing was requested or the model was not found.
    """
    try:
        return available_models.find_model(request).name if request else ""
    except BundleError as error:
        st.warning(escape(error), icon=":material/link_off:")
    except UnknownModelError as error:
        near = " or ".join(error.near)
        hint = f" Did you mean {near}?" if near else ""
        st.warning(
            f"This link names an unknown model, “{escape(error.name)}”. "
            f"{get_spec(DEFAULT_MODEL).keras_name} is selected instead.{hint}",
            icon=":material/link_off:",
        )
    return ""


def show_model_status(spec: ModelSpec) -> ModelSpec:
    """Shows the progress of the chosen model's download, or why the model is unavailable.

    Returns:
        The model to use: the chosen model, or the built-in Mini-VGG until it is installed.
    """
    if spec.name == DEFAULT_MODEL:
        fetch_default_model()
    download = caches.get_downloads().get(spec)
    if download is not None and download.is_active:
        st.session_state["downloading_model"] = spec.name
        show_download(spec)
    elif available_models.is_available(spec):
        was_downloading = st.session_state.pop("downloading_model", None) == spec.name
        if was_downloading and download is not None and download.status is Status.DONE:
            st.toast(f"{spec.keras_name} is ready and in use.", icon=":material/check:")
        return spec
    else:
        show_unavailable(spec, str(download.error) if download and download.error else "")
    return get_spec(EMBEDDED_MODEL)


@st.fragment(run_every=1.0)
def show_download(spec: ModelSpec) -> None:
    """Shows the progress of a download, and reruns the page when it has ended."""
    download = caches.get_downloads().get(spec)
    if download is None or not download.is_active:
        st.rerun(scope="app")
    with st.container(border=True):
        st.markdown(
            f"**Downloading {spec.keras_name} …** Until it is ready, the small built-in Mini-VGG "
            "is used."
        )
        st.progress(*describe_progress(download))


def describe_progress(download: Download) -> tuple[float, str]:
    """Returns the progress of a download in [0, 1] and its description."""
    if download.status is Status.LOADING:
        return 1.0, "Downloaded. Loading the model …"
    progress = download.progress
    if progress is None:
        return 0.0, "Connecting …"
    text = (
        f"{progress.received_bytes / 1e6:,.0f} of {progress.total_bytes / 1e6:,.0f} MB, "
        f"{progress.bytes_per_second / 1e6:.1f} MB/s"
    )
    remaining = progress.remaining_seconds
    return progress.fraction, text + (f", {remaining:.0f} s left" if remaining is not None else "")


def show_unavailable(spec: ModelSpec, error: str) -> None:
    """Shows why a model is unavailable and how to install it."""
    settings = caches.get_settings()
    with st.container(border=True):
        st.markdown(
            f"**{spec.keras_name} is not installed.** The small built-in Mini-VGG is used instead."
        )
        if settings.offline:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(
                    ":material/cloud_off: Downloads are disabled on this server.",
                    width="content",
                )
                with st.popover("How to install it", type="tertiary"):
                    st.markdown(escape(manual_install_instructions(spec, settings)))
        elif error:
            st.markdown(f":material/cloud_off: {escape(error)}")
        if not settings.offline:
            st.button(
                "Try again" if error else f"Download {spec.weights.size_bytes / 1e6:,.0f} MB",
                icon=":material/download:",
                on_click=caches.get_downloads().start,
                args=(spec,),
            )
