"""Which model answers: the choice, and what becomes of it until the model is here."""

from __future__ import annotations

import streamlit as st

from vgg_demo.errors import BundleError, UnknownModelError, WeightsMissingError
from vgg_demo.inference.background import Download, Status
from vgg_demo.models.registry import DEFAULT_MODEL, EMBEDDED_MODEL, ModelSpec, get_spec
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.session.warm_up import fetch_default_model
from vgg_demo.weights.local import check_weights_dir, how_to_place


def choose_model() -> ModelSpec:
    """Offers what is on this machine, then what can be downloaded; in each, VGG16 first.

    The URL holds the model's name as on the command line; a bound widget would write what
    the list shows.
    """
    try:
        check_weights_dir(caches.get_settings())
    except WeightsMissingError as error:
        st.warning(escape(error), icon=":material/folder_off:")
    models = available_models.get_models()
    here = [name for name in models if available_models.is_available(models[name])]
    names = sorted(models, key=lambda name: (name not in here, name != DEFAULT_MODEL))
    if "model" not in st.session_state:
        st.session_state["model_asked"] = st.query_params.get("model", "")
    wanted = asked_model(st.session_state["model_asked"])
    given = st.session_state.get("model")
    if given is not None and given not in models:
        st.warning(
            f"“{escape(given.partition('@')[0])}” was removed from this server. Choose "
            "another model.",
            icon=":material/link_off:",
        )
        wanted = DEFAULT_MODEL
        st.query_params.pop("model", None)
    # A value is given to the list only where it shows another one, or where its words change:
    # the browser knows the choice by them, and would lose it.
    is_given = given is not None and (bool(wanted) or st.session_state.get("here") != here)
    if is_given:
        st.session_state["model"] = wanted or given
    st.session_state["here"] = here

    def describe(name: str) -> str:
        spec = models[name]
        if spec.custom is not None:
            return f"{spec.keras_name} – taught, {len(spec.classes)} kinds"
        size = f"{spec.weights.size_bytes / 1e6:,.0f} MB to download"
        return f"{spec.keras_name} – {'here' if name in here else size}"

    def write_url() -> None:
        st.session_state["model_asked"] = ""
        st.query_params["model"] = st.session_state["model"]

    name = st.selectbox(
        "Model",
        names,
        index=0 if is_given else names.index(wanted or DEFAULT_MODEL),
        format_func=describe,
        key="model",
        on_change=write_url,
        width=320,
        help="First what is on this machine, then what can be downloaded.",
    )
    if wanted:  # and the list has it now
        st.session_state["model_asked"] = ""
    return models[name or DEFAULT_MODEL]


def asked_model(asked: str) -> str:
    """Returns the name of the model that the address asked for when the page was opened.

    One that is not there is looked for again each time, until another is chosen; see
    `available_models.asked_models`.

    Returns:
        The name; empty if none was asked for, or it is not there, which is said.
    """
    try:
        return available_models.find_model(asked).name if asked else ""
    except BundleError as error:
        st.warning(escape(error), icon=":material/link_off:")
    except UnknownModelError as error:
        near = " or ".join(error.near)
        hint = f" Did you mean {near}?" if near else ""
        st.warning(
            f"The address asks for a model that does not exist, "
            f"“{escape(error.name)}”.{hint} Choose one from the list; until then it is "
            f"{get_spec(DEFAULT_MODEL).keras_name}.",
            icon=":material/link_off:",
        )
    return ""


def announce_model(spec: ModelSpec) -> ModelSpec:
    """Says which model answers, and why it may not be the chosen one. Returns that model."""
    if spec.name == DEFAULT_MODEL:
        fetch_default_model()
    download = caches.get_downloads().get(spec)
    if download is not None and download.is_under_way:
        st.session_state["waited_for"] = spec.name
        show_download(spec)
    elif available_models.is_available(spec):
        waited = st.session_state.pop("waited_for", None) == spec.name
        if waited and download is not None and download.status is Status.DONE:
            st.toast(
                f"{spec.keras_name} is ready and answers from now on.", icon=":material/check:"
            )
        return spec
    else:
        show_unavailable(spec, str(download.error) if download and download.error else "")
    return get_spec(EMBEDDED_MODEL)


@st.fragment(run_every=1.0)
def show_download(spec: ModelSpec) -> None:
    download = caches.get_downloads().get(spec)
    if download is None or not download.is_under_way:
        st.rerun(scope="app")
    with st.container(border=True):
        st.markdown(
            f"**{spec.keras_name} is being fetched.** Until it is here, the small built-in "
            "Mini-VGG answers."
        )
        st.progress(*describe_progress(download))


def describe_progress(download: Download) -> tuple[float, str]:
    """Returns how far a download is, in [0, 1], and the same in words."""
    if download.status is Status.LOADING:
        return 1.0, "It is here and is being loaded …"
    progress = download.progress
    if progress is None:
        return 0.0, "Asking the server …"
    text = (
        f"{progress.received_bytes / 1e6:,.0f} of {progress.total_bytes / 1e6:,.0f} MB, "
        f"{progress.bytes_per_second / 1e6:.1f} MB/s"
    )
    remaining = progress.remaining_seconds
    return progress.fraction, text + (f", {remaining:.0f} s left" if remaining is not None else "")


def show_unavailable(spec: ModelSpec, error: str) -> None:
    """Says why a model is not here and what to do about it."""
    settings = caches.get_settings()
    with st.container(border=True):
        st.markdown(
            f"**{spec.keras_name} is not on this machine**, so the small built-in Mini-VGG answers."
        )
        if settings.offline:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(
                    ":material/cloud_off: Downloading is switched off on this server.",
                    width="content",
                )
                with st.popover("How to add it", type="tertiary"):
                    st.markdown(escape(how_to_place(spec, settings)))
        elif error:
            st.markdown(f":material/cloud_off: {escape(error)}")
        if not settings.offline:
            st.button(
                "Try again" if error else f"Download {spec.weights.size_bytes / 1e6:,.0f} MB",
                icon=":material/download:",
                on_click=caches.get_downloads().start,
                args=(spec,),
            )
