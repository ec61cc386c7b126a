"""The main page: a photo in, a verdict out."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from vgg_demo.preprocess import Resize
from vgg_demo.registry import ModelSpec, get_spec
from vgg_demo.ui.model_choice import announce_model, choose_model
from vgg_demo.ui.photo_input import chosen, offer_examples, offer_own
from vgg_demo.ui.result import RESIZE_WORDS, show_result


def main() -> None:
    title = st.empty()
    st.markdown(
        "Give a photo. A neural network says what is on it, how sure it is, and what it really "
        "looked at."
    )
    own, others = st.columns([5, 6], gap="medium")
    with own:
        offer_own()
    with others:
        offer_examples()
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            spec = choose_model()
            policy, top = choose_settings()
    answering = announce_model(spec)
    ask(title, answering)
    result = show_result(chosen(), answering, policy, top)
    if result is not None and result.model != answering.name:
        ask(title, get_spec(result.model))


def ask(place: DeltaGenerator, spec: ModelSpec) -> None:
    """Writes the title, which names the model that really answers."""
    place.title(f"What does {spec.keras_name} see in your photo?", anchor=False)


def choose_settings() -> tuple[Resize, int]:
    with st.popover("Settings", icon=":material/tune:"):
        count = st.slider("Answers shown", 1, 10, 5, key="top", bind="query-params")
        name = st.segmented_control(
            "Networks look at squares. Make it square by",
            list(Resize),
            default=Resize.CROP,
            required=True,
            key="resize",
            bind="query-params",
        )
        policy = Resize(name or Resize.CROP)
        st.caption(f"{policy}: {RESIZE_WORDS[policy]}.")
    return policy, count


main()
