"""The main page: a photo in, a verdict out."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from vgg_demo.models.registry import ModelSpec
from vgg_demo.ui.components.code_snippets import classify_request, private_words, show_from_code
from vgg_demo.ui.components.model_picker import announce_model, choose_model
from vgg_demo.ui.components.options import choose_settings
from vgg_demo.ui.components.photo_input import chosen, offer_examples, offer_own
from vgg_demo.ui.components.prediction import show_result
from vgg_demo.ui.markdown import escape


def main() -> None:
    title = st.empty()
    st.markdown(
        "Give a photo. A neural network says what is on it and how sure it is, and shows the very "
        "pixels that it saw."
    )
    own, others = st.columns([5, 6], gap="medium")
    with own:
        offer_own()
    with others:
        offer_examples()
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            spec = choose_model()
            policy, top = choose_settings()
            photo = chosen()
            file = photo.file if photo is not None else "photo.jpg"
            request = classify_request(file, spec, policy, top)
            show_from_code(request, private_words([spec]))
    answering = announce_model(spec)
    ask(title, answering)
    result = show_result(photo, answering, policy, top)
    if result is not None and result.model != answering.name:
        ask(title, result.spec)


def ask(place: DeltaGenerator, spec: ModelSpec) -> None:
    """Writes the title, which names the model that really answers."""
    place.title(f"What does {escape(spec.keras_name)} see in your photo?", anchor=False)


main()
