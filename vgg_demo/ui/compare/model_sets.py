"""Selection of the models to compare: predefined sets, and pills to change the selection."""

from __future__ import annotations

import streamlit as st

from vgg_demo.models.registry import MODEL_SETS, MODELS, ModelSpec
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models

INSTALLED = "Installed"
ALL = "Choose from all"
REQUESTED_MODELS = "models_requested"  # session key: model names in the URL
DEFAULT_COUNT = 5  # number of installed models that are selected by default


def choose_models() -> list[ModelSpec]:
    """Shows the sets of models, and the models of the selected set as pills.

    The `models` parameter of the URL holds the selected model names, separated by commas.

    Returns:
        The selected models in the order of the pills.
    """
    models = available_models.get_models()
    installed = [name for name in models if available_models.is_available(models[name])]
    previous = st.session_state.get("models")
    requested = available_models.requested_models(
        REQUESTED_MODELS, is_first_run="model_set" not in st.session_state
    )
    if requested or "models" not in st.session_state:
        st.session_state["models"] = requested or installed[:DEFAULT_COUNT]
        st.session_state["models_were_chosen"] = bool(requested)
    if st.session_state["models_were_chosen"] and not st.session_state[REQUESTED_MODELS]:
        # Other pages remove the parameter from the URL.
        st.query_params["models"] = ",".join(st.session_state["models"])
    st.segmented_control(
        "Models to compare",
        [INSTALLED, *MODEL_SETS, ALL],
        default=INSTALLED,
        required=True,
        key="model_set",
        on_change=select_set,
        args=(installed,),
        wrap=True,
    )
    selected = [name for name in st.session_state["models"] if name in models]
    members = set_members(st.session_state["model_set"], installed)
    shown = [*members, *(name for name in selected if name not in members)]
    shown.sort(key=lambda name: name not in installed)

    def describe(name: str) -> str:
        is_installed = name in installed
        size = "" if is_installed else f" · {models[name].weights.size_bytes / 1e6:,.0f} MB"
        return escape(models[name].keras_name) + size

    # Each set has its own widget, because the options differ.
    key = f"pills-{st.session_state['model_set']}"
    # Assign only a changed selection: a value assigned during an interrupted run is lost.
    is_assigned = key in st.session_state and previous != st.session_state["models"]
    if is_assigned:
        st.session_state[key] = selected
    st.pills(
        "Models",
        shown,
        selection_mode="multi",
        default=None if is_assigned else selected,
        format_func=describe,
        key=key,
        on_change=select_pills,
        args=(key,),
        label_visibility="collapsed",
        wrap=True,
    )
    if any(name not in installed for name in shown):
        st.caption("Models listed with a size are not installed; they are downloaded first.")
    return [models[name] for name in shown if name in st.session_state["models"]]


def set_members(set_name: str, installed: list[str]) -> tuple[str, ...]:
    """Returns the names of the models in a set."""
    if set_name == INSTALLED:
        return tuple(installed)
    return tuple(MODELS) if set_name == ALL else MODEL_SETS[set_name]


def select_set(installed: list[str]) -> None:
    """Selects the models of the new set; `ALL` keeps the selection, since all models are 15 GB."""
    set_name = st.session_state["model_set"]
    if set_name == INSTALLED:
        select_models(installed[:DEFAULT_COUNT])
    elif set_name != ALL:
        select_models(list(set_members(set_name, installed)))
    st.session_state.pop(f"pills-{set_name}", None)


def select_pills(key: str) -> None:
    select_models(st.session_state[key])


def select_models(names: list[str]) -> None:
    """Sets the selection, which replaces the models requested in the URL."""
    available_models.clear_requested_models(REQUESTED_MODELS)
    st.session_state["models"] = names
    st.session_state["models_were_chosen"] = True
    st.session_state["comparing"] = False
