"""Which models are compared: sets at hand, and pills to change them."""

from __future__ import annotations

import streamlit as st

from vgg_demo.models.registry import MODEL_SETS, MODELS, ModelSpec
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models

HERE = "On this machine"
ALL = "All"
ASKED = "models_asked"
PREFERRED = 5  # models of those on this machine that are chosen to begin with


def choose_models() -> list[ModelSpec]:
    """Offers sets of models, and the models of the chosen set as pills.

    The URL holds the names as on the command line, with commas between them.

    Returns:
        The chosen models in the order of the pills.
    """
    models = available_models.get_models()
    here = [name for name in models if available_models.is_available(models[name])]
    before = st.session_state.get("models")
    named = available_models.asked_models(ASKED, is_opened="model_set" not in st.session_state)
    if named or "models" not in st.session_state:
        st.session_state["models"] = named or here[:PREFERRED]
        st.session_state["models_were_chosen"] = bool(named)
    if st.session_state["models_were_chosen"] and not st.session_state[ASKED]:
        # Other pages take it out of the address.
        st.query_params["models"] = ",".join(st.session_state["models"])
    st.segmented_control(
        "Networks to compare",
        [HERE, *MODEL_SETS, ALL],
        default=HERE,
        required=True,
        key="model_set",
        on_change=take_set,
        args=(here,),
        wrap=True,
    )
    chosen = [name for name in st.session_state["models"] if name in models]
    offered = members(st.session_state["model_set"], here)
    shown = [*offered, *(name for name in chosen if name not in offered)]
    shown.sort(key=lambda name: name not in here)

    def describe(name: str) -> str:
        size = "" if name in here else f" · {models[name].weights.size_bytes / 1e6:,.0f} MB"
        return escape(models[name].keras_name) + size

    # A widget of its own for each set: its options are others.
    key = f"pills-{st.session_state['model_set']}"
    # Given only where it shows others: what is given while a run is interrupted gets lost.
    is_given = key in st.session_state and before != st.session_state["models"]
    if is_given:
        st.session_state[key] = chosen
    st.pills(
        "Networks",
        shown,
        selection_mode="multi",
        default=None if is_given else chosen,
        format_func=describe,
        key=key,
        on_change=take_pills,
        args=(key,),
        label_visibility="collapsed",
        wrap=True,
    )
    if any(name not in here for name in shown):
        st.caption("A size means that the network is not on this machine and is downloaded first.")
    return [models[name] for name in shown if name in st.session_state["models"]]


def members(name: str, here: list[str]) -> tuple[str, ...]:
    """Returns the names of the models of a set."""
    if name == HERE:
        return tuple(here)
    return tuple(MODELS) if name == ALL else MODEL_SETS[name]


def take_set(here: list[str]) -> None:
    """Chooses the models of the set, but never all: that would be 15 GB."""
    name = st.session_state["model_set"]
    if name == HERE:
        choose(here[:PREFERRED])
    elif name != ALL:
        choose(list(members(name, here)))
    st.session_state.pop(f"pills-{name}", None)


def take_pills(key: str) -> None:
    choose(st.session_state[key])


def choose(names: list[str]) -> None:
    available_models.choose_others(ASKED)
    st.session_state["models"] = names
    st.session_state["models_were_chosen"] = True
    st.session_state["comparing"] = False
